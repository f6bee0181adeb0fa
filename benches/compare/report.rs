//! Tables and targets, printed and kept as Markdown.

use std::fmt::Write;

use crate::cpython::CPython;

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
    /// What it is about, by which benchmark it was made, and where.
    pub(crate) fn head(&mut self, title: &str, bench: &str, python: Option<&CPython>) {
        self.line(&format!("# {title}\n"));
        self.line(&format!("Made by `cargo bench --bench {bench}` in this directory. Ours are in bold.\n"));
        self.line(&machine(python));
    }

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

    /// Keeps it in this directory.
    pub(crate) fn write(&self, file: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::write(path, &self.text).expect("the report is writable");
    }
}

/// What the figures depend on.
fn machine(python: Option<&CPython>) -> String {
    let first = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let python = python.map_or("no CPython".to_owned(), |python| format!("CPython {}", python.version));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cores} cores; Linux {}; {}; {python}.",
        first("/proc/cpuinfo", "model name"),
        first("/proc/sys/kernel/osrelease", ""),
        env!("RUSTC_VERSION"),
    )
}
