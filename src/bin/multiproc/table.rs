//! [`Table`]: aligned columns of text.

use std::io::{self, Write};

/// Rows of cells under a heading. Columns of numbers are aligned to the right.
pub(crate) struct Table {
    heading: Vec<&'static str>,
    numbers: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns, of which some are `numbers`.
    pub(crate) fn new(heading: &[&'static str], numbers: &'static [&'static str]) -> Self {
        Self { heading: heading.to_vec(), numbers, rows: Vec::new() }
    }

    /// Adds a row. What a peer may have written is escaped, so that it can't confuse a terminal.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heading.len());
        self.rows.push(cells.iter().map(|cell| cell.escape_debug().to_string()).collect());
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.heading[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.heading.len()).map(width).collect();
        let heading = self.heading.iter().map(|&cell| cell.to_owned()).collect();
        for row in [&heading].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&self.heading).zip(&widths).map(|((cell, heading), &width)| {
                if self.numbers.contains(heading) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
