//! SAFETY.md against the source: which files contain unsafe code, and which invariants there are.

mod source;

use std::collections::BTreeSet;
use std::path::Path;

fn document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SAFETY.md")).unwrap()
}

/// Path below `src/`, and text, of each source file.
fn sources() -> Vec<(String, String)> {
    source::files().into_iter().map(|(path, text)| (path.to_str().unwrap().to_owned(), text)).collect()
}

/// The first cells of the table in the section with this heading, without backquotes.
fn first_cells(document: &str, heading: &str) -> BTreeSet<String> {
    let section = document.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let cells: Vec<_> = rows.map(|row| row.split('|').next().unwrap().trim().replace('`', "")).collect();
    let distinct: BTreeSet<_> = cells.iter().cloned().collect();
    assert_eq!(distinct.len(), cells.len(), "a row of \"{heading}\" stands twice");
    distinct
}

/// The invariants that comments name in parentheses: `(L4)`, `(I3, I4)`.
fn citations(source: &str) -> BTreeSet<String> {
    let is_invariant = |word: &str| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        (1..=2).contains(&letters.len())
            && letters.chars().all(|c| c.is_ascii_uppercase())
            && word.len() > letters.len()
    };
    let comments = source.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| comment);
    let mut cited = BTreeSet::new();
    for comment in comments {
        let groups = comment.split('(').skip(1).filter_map(|rest| rest.split_once(')'));
        for (group, _) in groups {
            let words: Vec<_> = group.split([',', ' ']).filter(|word| !word.is_empty()).collect();
            if !words.is_empty() && words.iter().all(|word| is_invariant(word)) {
                cited.extend(words.into_iter().map(str::to_owned));
            }
        }
    }
    cited
}

fn allows_unsafe(source: &str) -> bool {
    source.lines().any(|line| line.starts_with("#![allow(") && line.contains("unsafe_code"))
}

#[test]
fn every_file_with_unsafe_code_is_in_the_inventory() {
    let document = document();
    let listed = first_cells(&document, "3. Inventory");
    let sources = sources();
    let allowed = sources.iter().filter(|(_, source)| allows_unsafe(source)).map(|(name, _)| name.clone());
    let allowed: BTreeSet<_> = allowed.collect();
    assert!(allowed.len() > 10, "only {} files were found", allowed.len());
    let missing: Vec<_> = allowed.difference(&listed).collect();
    let superfluous: Vec<_> = listed.difference(&allowed).collect();
    assert!(missing.is_empty(), "SAFETY.md does not list {missing:?}");
    assert!(superfluous.is_empty(), "SAFETY.md lists {superfluous:?}, which contain no unsafe code");
}

#[test]
fn unsafe_code_is_allowed_by_whole_files_only() {
    for (name, source) in sources() {
        let inner = source.lines().any(|line| line.trim_start().starts_with("#[allow(unsafe_code"));
        assert!(
            !inner || allows_unsafe(&source),
            "src/{name} allows unsafe code without saying so at its head"
        );
    }
}

#[test]
fn every_invariant_that_is_cited_is_defined() {
    let document = document();
    let defined = first_cells(&document, "2. Invariants");
    let mut used = BTreeSet::new();
    for (name, source) in sources() {
        let cited = citations(&source);
        let undefined: Vec<_> = cited.difference(&defined).collect();
        assert!(undefined.is_empty(), "src/{name} cites {undefined:?}, which SAFETY.md does not define");
        used.extend(cited);
    }
    let unused: Vec<_> = defined.difference(&used).collect();
    assert!(unused.is_empty(), "no source file cites {unused:?}");
}

#[test]
fn citations_are_found() {
    let cited = citations("// SAFETY: aligned (I4), kept (I3, L1); see (this).\nlet f = g(X1); // (V2)");
    assert_eq!(cited, ["I3", "I4", "L1", "V2"].map(str::to_owned).into());
}

#[test]
fn a_file_that_allows_unsafe_code_is_recognised() {
    assert!(allows_unsafe("//! Head.\n#![allow(unsafe_code, clippy::unwrap_used)]\n"));
    assert!(!allows_unsafe("//! Says #![allow(unsafe_code)]\n#![deny(unsafe_code)]\n"));
}
