//! The README's figures are those that were measured.

use std::fs;
use std::path::Path;

fn lines(path: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_row_of_the_readmes_figures_is_one_that_was_measured() {
    let measured = ["LOCKS.md", "VALUE.md"].map(|file| lines(&format!("benches/compare/{file}"))).concat();
    let readme = lines("README.md");
    let section = readme.iter().skip_while(|line| *line != "## How fast").skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let rows: Vec<_> = section.filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10, "the section \"How fast\" has {} rows", rows.len());
    let strange: Vec<_> = rows.into_iter().filter(|row| !measured.contains(row)).collect();
    assert!(
        strange.is_empty(),
        "not in LOCKS.md or VALUE.md of benches/compare, copy them anew: {strange:#?}"
    );
}
