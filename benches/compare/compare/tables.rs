//! [`Tables`]: what the benchmarks have written.

use std::path::Path;
use std::{fs, io};

/// The tables of all Markdown files of a directory.
pub(crate) struct Tables {
    files: Vec<File>,
}

struct File {
    name: String,
    /// The line that says on what machine it was measured.
    machine: String,
    tables: Vec<Table>,
}

/// The first table under a heading.
pub(crate) struct Table {
    title: String,
    /// As they stand: the heads, the line under them, the rows.
    pub(crate) lines: Vec<String>,
}

impl Tables {
    /// # Errors
    /// Those of reading the files.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                files.push(File::parse(&fs::read_to_string(directory.join(&name))?, name));
            }
        }
        Ok(Self { files })
    }

    /// The table under the heading `title` of a file.
    pub(crate) fn get(&self, file: &str, title: &str) -> Option<&Table> {
        self.file(file)?.tables.iter().find(|table| table.title == title)
    }

    /// The headings of a file.
    pub(crate) fn titles(&self, file: &str) -> Vec<&str> {
        let tables = self.file(file).map(|file| &file.tables);
        tables.into_iter().flatten().map(|table| table.title.as_str()).collect()
    }

    /// Where and when a file was measured.
    pub(crate) fn machine(&self, file: &str) -> Option<&str> {
        Some(&self.file(file)?.machine)
    }

    fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl File {
    fn parse(text: &str, name: String) -> Self {
        let machine =
            text.lines().find(|line| line.contains(" cores; Linux ")).unwrap_or_default().to_owned();
        let mut tables: Vec<Table> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
                Some(title) => tables.push(Table { title: title.to_owned(), lines: Vec::new() }),
                None if line.starts_with('|') => {
                    if let Some(table) = tables.last_mut() {
                        table.lines.push(line.to_owned());
                    }
                }
                None => {}
            }
        }
        Self { name, machine, tables }
    }
}

impl Table {
    /// The heads of the columns behind that of the names.
    pub(crate) fn heads(&self) -> Vec<&str> {
        self.lines.first().map(|line| cells(line).skip(1).collect()).unwrap_or_default()
    }

    /// Each row: its name and the cells behind it.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.lines.iter().skip(2).filter_map(|line| {
            let mut cells = cells(line);
            Some((cells.next()?, cells.collect()))
        })
    }
}

/// A row's name.
pub(crate) fn name(line: &str) -> Option<&str> {
    cells(line).next()
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.trim_matches('|').split('|').map(str::trim)
}

/// The number in a cell: `1.2 M` is 1,200,000.
pub(crate) fn number(cell: &str) -> Option<f64> {
    let (digits, factor) = match cell.split_once(' ') {
        Some((digits, "k")) => (digits, 1e3),
        Some((digits, "M")) => (digits, 1e6),
        Some((digits, "%")) => (digits, 0.01),
        _ => (cell, 1.0),
    };
    Some(digits.parse::<f64>().ok()? * factor)
}
