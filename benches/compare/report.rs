//! Tables and targets, printed and kept as Markdown.

mod target;

use std::fmt::Write;
use std::process::Command;

use crate::cpython::CPython;
pub(crate) use target::Goal;
use target::Target;

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
            let target = Target { what: what.clone(), measured: *measured, goal: *goal };
            self.line(&target.to_string());
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
    let today = Command::new("date").arg("-I").output().map(|output| output.stdout).unwrap_or_default();
    format!(
        "{}, {cores} cores; Linux {}; {}; {python}; {}.",
        first("/proc/cpuinfo", "model name"),
        first("/proc/sys/kernel/osrelease", ""),
        env!("RUSTC_VERSION"),
        String::from_utf8_lossy(&today).trim(),
    )
}
