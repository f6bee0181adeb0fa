//! Tables and targets, printed and kept as Markdown.

use std::fmt::Write;

/// How a figure is to compare with the peer's.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// What was measured.
#[derive(Default)]
pub(crate) struct Report {
    text: String,
}

impl Report {
    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        let _ = writeln!(self.text, "{line}"); // Into a string: it can't fail.
    }

    pub(crate) fn section(&mut self, title: &str, about: &str) {
        self.line(&format!("\n{title}\n\n{about}\n"));
    }

    /// A table; `rows` begin with their names.
    pub(crate) fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        self.line(&format!("| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len())));
        for row in rows {
            self.line(&format!("| {} |", row.join(" | ")));
        }
    }

    pub(crate) fn targets(&mut self, targets: &[(String, f64, Goal)]) {
        self.line("");
        for (what, measured, goal) in targets {
            let (met, sign, bound) = match *goal {
                Goal::AtMost(bound) => (*measured <= bound, "at most", bound),
                Goal::AtLeast(bound) => (*measured >= bound, "at least", bound),
            };
            let verdict = if met { "met" } else { "**missed**" };
            self.line(&format!("- {verdict}: {what}: {measured:.2}, target {sign} {bound}"));
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
