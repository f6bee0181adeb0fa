//! The README's figures, renewed.
//!
//! A comment `<!-- FILE: TITLE -->` says which table the one below it is taken from: its heads, and of its rows those that
//! are named there. Below `<!-- FILE: machine -->` stands where and when the file was measured.

use crate::tables::{self, Tables};

/// The text with its figures as they were measured last.
///
/// # Errors
/// What is not among the tables.
pub(crate) fn renew(text: &str, tables: &Tables) -> Result<String, String> {
    let mut renewed = String::new();
    let mut push = |line: &str| {
        renewed.push_str(line);
        renewed.push('\n');
    };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        push(line);
        let Some((file, title)) = source(line) else { continue };
        if title == "machine" {
            lines.next();
            push(tables.machine(file).ok_or_else(|| format!("there is no {file}"))?);
            continue;
        }
        let table = tables.get(file, title).ok_or_else(|| format!("{file} has no table {title:?}"))?;
        let named: Vec<_> = std::iter::from_fn(|| lines.next_if(|line| line.starts_with('|'))).collect();
        table.lines.iter().take(2).for_each(|line| push(line));
        for name in named.iter().skip(2).filter_map(|line| tables::name(line)) {
            let row = table.lines.iter().skip(2).find(|line| tables::name(line) == Some(name));
            push(row.ok_or_else(|| format!("{file}, {title:?}, has no row {name:?}"))?);
        }
    }
    Ok(renewed)
}

/// The file and the title that a comment names.
fn source(line: &str) -> Option<(&str, &str)> {
    let named = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    named.split_once(": ").filter(|(file, _)| file.ends_with(".md"))
}
