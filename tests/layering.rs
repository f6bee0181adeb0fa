//! The tree is the diagram: imports go only downward, and within a layer only to the left of a `<`.

mod source;

use std::collections::BTreeMap;
use std::path::Path;

/// From the bottom up. Within a layer, the folders of one group do not know each other, and each group knows those
/// before it: `[["a", "b"], ["c"]]` is a, b < c.
const LAYERS: &[&[&[&str]]] = &[
    &[&["error"]],
    &[&["sys", "plain"]],
    &[&["raw"]],
    &[&["transfer"], &["segment"]],
    &[&["sync", "compat"], &["shared", "queue"]],
    &[&["connection"], &["process"]],
    &[&["task"], &["pool"], &["futures", "threads"], &["manager"]],
    &[&["guide"]],
];

/// A name in `use crate::..`, by its first segment, and where it stands.
#[derive(Debug, PartialEq)]
struct Import {
    line: usize,
    first: String,
}

/// (layer, group) of a folder, or of the file that stands for one.
fn place(folder: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, groups)| {
        groups.iter().position(|group| group.contains(&folder)).map(|group| (layer, group))
    })
}

fn is_allowed(from: &str, to: &str) -> bool {
    match (place(from), place(to)) {
        (Some(above), Some(below)) => from == to || below < above,
        _ => false,
    }
}

/// The source with comments blanked, and without its test module, which may use everything.
fn code(source: &str) -> String {
    let end = source.find("\nmod tests {").unwrap_or(source.len());
    let lines = source[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// What follows each `crate::`, with braces taken apart.
fn imports(code: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let firsts = if rest.starts_with('{') { members(rest) } else { vec![first_segment(rest)] };
        imports.extend(firsts.into_iter().map(|first| Import { line, first }));
    }
    imports
}

/// The first segments of the members of a brace group.
fn members(group: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => {
                depth += 1;
                start = if depth == 1 { at + 1 } else { start };
            }
            ',' | '}' if depth == 1 => {
                members.push(first_segment(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn first_segment(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Which folder each name at the crate's root comes from: `pub use process::{Process, ..}` in lib.rs.
fn root_names(lib: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let code = code(lib);
    for (at, _) in code.match_indices("\npub use ") {
        let rest = &code[at + "\npub use ".len()..];
        let folder = first_segment(rest);
        let Some(rest) = rest[folder.len()..].strip_prefix("::") else { continue };
        let found = if rest.starts_with('{') { members(rest) } else { vec![first_segment(rest)] };
        names.extend(found.into_iter().map(|name| (name, folder.clone())));
    }
    names
}

/// What is wrong with a file of a folder: each import that does not go downward, and each that does not say `crate`.
fn violations(folder: &str, source: &str, root: &BTreeMap<String, String>) -> Vec<String> {
    found_in(folder, source, root, "super::super::")
}

/// The same for the file that stands for the folder: there `super` is the crate already.
fn violations_at_top(folder: &str, source: &str, root: &BTreeMap<String, String>) -> Vec<String> {
    found_in(folder, source, root, "super::")
}

fn found_in(folder: &str, source: &str, root: &BTreeMap<String, String>, around: &str) -> Vec<String> {
    let code = code(source);
    let upward = imports(&code).into_iter().filter_map(|Import { line, first }| {
        let to = root.get(&first).unwrap_or(&first);
        (!is_allowed(folder, to)).then(|| format!("{line}: {folder} imports crate::{first}"))
    });
    let lines = code.lines().enumerate().filter(|(_, line)| line.contains(around));
    let around =
        lines.map(|(index, _)| format!("{}: {around} leads out of the folder, say crate::", index + 1));
    upward.chain(around).collect()
}

/// Test code and models of kernels in files of their own.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    name == "tests" || name.starts_with("loom_")
}

#[test]
fn imports_go_only_downward() {
    let files = source::files();
    let (_, lib) = files.iter().find(|(path, _)| path == Path::new("lib.rs")).unwrap();
    let root = root_names(lib);
    assert_eq!(root.get("Process").map(String::as_str), Some("process"), "lib.rs was not understood");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, source) in files.iter().filter(|(path, _)| !is_test(path) && path != Path::new("lib.rs")) {
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let folder = first.trim_end_matches(".rs");
        assert!(place(folder).is_some(), "src/{first} has no place in LAYERS");
        count += imports(&code(source)).len();
        let is_top = path.components().count() == 1 || path == &Path::new(folder).join("mod.rs");
        let check = if is_top { violations_at_top } else { violations };
        let found = check(folder, source, &root);
        wrong.extend(found.into_iter().map(|violation| format!("src/{}:{violation}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "only {count} imports were found");
}

#[test]
fn an_upward_import_is_caught() {
    let root = BTreeMap::from([("Lock".to_owned(), "sync".to_owned())]);
    let caught = |folder, source| violations(folder, source, &root).len();
    assert_eq!(caught("sys", "use crate::raw::RawMutex;"), 1);
    assert_eq!(caught("raw", "use crate::{\n    error::{Error, Result},\n    segment::Segment,\n};"), 1);
    assert_eq!(caught("segment", "fn f() { crate::Lock::new(); }"), 1, "by its name at the root");
    assert_eq!(caught("segment", "fn f() -> crate::process::Process { }"), 1);
    assert_eq!(caught("queue", "use crate::shared::Value;"), 1, "neither is left of the other");
    assert_eq!(caught("sync", "use crate::shared::Value;"), 1, "to the right");
    assert_eq!(caught("raw", "use super::super::segment;"), 1, "around");
    assert_eq!(violations_at_top("raw", "use super::segment::Segment;", &root).len(), 1, "around");
    assert_eq!(caught("raw", "use crate::unheard_of::X;"), 1);
}

#[test]
fn a_downward_import_is_not() {
    let root = BTreeMap::from([("Lock".to_owned(), "sync".to_owned())]);
    let caught = |folder, source| violations(folder, source, &root);
    for (folder, source) in [
        ("process", "use crate::{Lock, error::Error};\npub(crate) use crate::sys::poll;"),
        ("shared", "use crate::sync::LockError;"),
        ("segment", "use crate::transfer;"),
        ("raw", "use crate::raw::Lease;"),
        ("sys", "// `crate::raw` is above\n#[cfg(test)]\nmod tests {\n    use crate::raw::RawMutex;\n}"),
    ] {
        assert_eq!(caught(folder, source), Vec::<String>::new(), "{folder}");
    }
}
