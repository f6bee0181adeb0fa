//! [`Chart`]: figures as an SVG picture. Ours stand out, the peers step back.

use std::fmt::Write;

/// What a picture shows: of each series one value for each label.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// Of the values, and which are better.
    pub(crate) unit: &'static str,
    pub(crate) labels: Vec<String>,
    pub(crate) series: Vec<Series>,
    pub(crate) is_logarithmic: bool,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) is_ours: bool,
}

const OURS: [&str; 4] = ["#c2410c", "#ea8a2f", "#9f1239", "#d9578a"];
const PEERS: [&str; 9] =
    ["#1d4ed8", "#0f766e", "#64748b", "#0ea5e9", "#4d7c0f", "#7c3aed", "#94a3b8", "#14b8a6", "#57534e"];
const FONT: &str = "font-family=\"system-ui, sans-serif\"";
const WIDTH: f64 = 760.0;
const HEAD: f64 = 56.0;

impl Chart {
    /// A line for each series over the labels.
    pub(crate) fn lines(&self) -> String {
        const LEFT: f64 = 64.0;
        const RIGHT: f64 = 530.0;
        const BOTTOM: f64 = 380.0;
        let mut svg = self.begin(BOTTOM + 40.0);
        let (low, high) = self.range();
        let steps = self.labels.len().saturating_sub(1).max(1) as f64;
        let x = |index: usize| LEFT + (RIGHT - LEFT) * index as f64 / steps;
        let y = |value: f64| BOTTOM - (BOTTOM - HEAD) * self.part(value, low, high);
        for tick in self.ticks(low, high) {
            let (at, value) = (y(tick), short(tick));
            svg += &format!("<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#e2e8f0\"/>\n");
            svg += &text(LEFT - 8.0, at + 4.0, "end", "#475569", &value);
        }
        for (index, label) in self.labels.iter().enumerate() {
            svg += &text(x(index), BOTTOM + 20.0, "middle", "#475569", label);
        }
        for (place, (series, color)) in self.by_last_value().into_iter().enumerate() {
            let points =
                series.values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
            let points: Vec<_> =
                points.map(|(index, value)| format!("{:.1},{:.1}", x(index), y(value))).collect();
            let width = if series.is_ours { 3.0 } else { 1.5 };
            let shape = format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"");
            svg += &format!("<polyline points=\"{}\" {shape}/>\n", points.join(" "));
            let at = HEAD + 12.0 + 20.0 * place as f64;
            svg += &format!(
                "<path d=\"M{} {at}h18\" stroke=\"{color}\" stroke-width=\"{width}\"/>\n",
                RIGHT + 16.0
            );
            svg += &text(RIGHT + 40.0, at + 4.0, "start", color, &series.name);
        }
        svg + "</svg>\n"
    }

    /// A bar for each series under each label.
    pub(crate) fn bars(&self) -> String {
        const LEFT: f64 = 230.0;
        const RIGHT: f64 = 680.0;
        const BAR: f64 = 18.0;
        let has_heads = self.labels.len() > 1;
        let rows = |label: usize| self.series.iter().filter(move |series| series.values[label].is_some());
        let rows_of_all: usize = (0..self.labels.len()).map(|label| rows(label).count()).sum();
        let heads = if has_heads { self.labels.len() as f64 * 30.0 } else { 0.0 };
        let mut svg = self.begin(HEAD + heads + BAR * rows_of_all as f64 + 16.0);
        let (low, high) = self.range();
        let low = if self.is_logarithmic { low } else { 0.0 };
        let mut at = HEAD;
        for (index, label) in self.labels.iter().enumerate() {
            if has_heads {
                svg += &text(16.0, at + 18.0, "start", "#0f172a", label);
                at += 30.0;
            }
            for series in rows(index) {
                let value = series.values[index].unwrap_or_default();
                let length = ((RIGHT - LEFT) * self.part(value, low, high)).max(1.0);
                let color = if series.is_ours { OURS[0] } else { "#94a3b8" };
                svg += &text(LEFT - 8.0, at + 11.0, "end", "#334155", &series.name);
                let shape = format!("height=\"{}\" width=\"{length:.1}\" fill=\"{color}\"", BAR - 5.0);
                svg += &format!("<rect x=\"{LEFT}\" y=\"{at}\" {shape}/>\n");
                svg += &text(LEFT + length + 6.0, at + 11.0, "start", "#334155", &short(value));
                at += BAR;
            }
        }
        svg + "</svg>\n"
    }

    fn begin(&self, height: f64) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-size=\"12\" {FONT}>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        let _ =
            writeln!(svg, "<text x=\"16\" y=\"24\" font-size=\"16\" fill=\"#0f172a\">{}</text>", self.title);
        let scale = if self.is_logarithmic { "; logarithmic" } else { "" };
        svg + &text(16.0, 42.0, "start", "#475569", &format!("{}{scale}", self.unit))
    }

    /// The least and the greatest end of the scale.
    fn range(&self) -> (f64, f64) {
        let values = || self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        if self.is_logarithmic {
            // Half a decade of room, so that the least has a length too.
            (low.max(1e-9) / 3.0, high * 1.2)
        } else {
            (0.0, high)
        }
    }

    /// Where a value lies between both ends, from 0 to 1.
    fn part(&self, value: f64, low: f64, high: f64) -> f64 {
        let part =
            if self.is_logarithmic { (value.max(low) / low).ln() / (high / low).ln() } else { value / high };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        if self.is_logarithmic {
            let decades = low.log10().ceil() as i32..=high.log10().floor() as i32;
            decades.map(|decade| 10_f64.powi(decade)).collect()
        } else {
            (0..=4).map(|quarter| high * f64::from(quarter) / 4.0).collect()
        }
    }

    /// The series and their colours, in the order in which their lines end.
    fn by_last_value(&self) -> Vec<(&Series, &'static str)> {
        let (mut ours, mut peers) = (OURS.iter().cycle(), PEERS.iter().cycle());
        let color = |series: &Series| if series.is_ours { ours.next() } else { peers.next() };
        let colors: Vec<_> = self.series.iter().map(color).collect();
        let mut all: Vec<_> =
            self.series.iter().zip(colors).filter_map(|(series, color)| Some((series, *color?))).collect();
        let last = |series: &Series| series.values.iter().flatten().last().copied().unwrap_or_default();
        all.sort_by(|one, other| last(other.0).total_cmp(&last(one.0)));
        all
    }
}

fn text(x: f64, y: f64, anchor: &str, color: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\">{words}</text>\n")
}

/// A number with its thousands as letters.
fn short(value: f64) -> String {
    let (scaled, letter) = match value {
        value if value >= 1e9 => (value / 1e9, " G"),
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e4 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let digits = match scaled {
        scaled if scaled >= 100.0 => format!("{scaled:.0}"),
        scaled if scaled >= 10.0 => format!("{scaled:.1}"),
        scaled => format!("{scaled:.2}"),
    };
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{letter}")
}
