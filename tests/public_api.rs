//! PUBLIC_API.txt: what the crate offers, so that no change to it goes unnoticed. `UPDATE_API=1 cargo test --test public_api`
//! writes it anew; a line that goes or changes is a breaking change, and belongs in CHANGELOG.md under the next version.
//!
//! The source is read, formatted as `cargo fmt` leaves it: what is `pub` can be reached from outside, for the lint
//! `unreachable_pub` forbids it elsewhere, and no macro makes public items. So the listing needs no build and no other
//! toolchain; types stand in it as they are written.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One item, as a line of the listing, and what it belongs to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    folder: String,
    /// The heading of the `impl`, `struct`, `enum` or `trait` around it; empty for an item of a module.
    around: String,
    text: String,
}

/// Lines of code, without comments and attributes' text that doesn't matter, up to the file's test module.
fn code(source: &str) -> Vec<&str> {
    let end = source.find("\n#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let end = source.find("\n#[cfg(all(test").filter(|&at| source[at..].contains("mod tests {")).map_or(
        end,
        |at| {
            let opens = source[at + 1..].lines().nth(1).is_some_and(|line| line == "mod tests {");
            if opens { end.min(at) } else { end }
        },
    );
    source[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect()
}

/// What of an attribute is part of the interface.
fn is_shown(attribute: &str) -> bool {
    attribute == "#[non_exhaustive]"
        || attribute.starts_with("#[derive(")
        || attribute.starts_with("#[cfg(") && attribute.contains("feature")
        || attribute.starts_with("#[doc(hidden)")
}

/// The statement that begins at line `at`, on one line and without its body, and where it ends.
fn statement(lines: &[&str], at: usize, ends: &[char]) -> (String, usize) {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate().skip(at) {
        let line = line.split(" // ").next().unwrap().trim();
        if !text.is_empty()
            && !text.ends_with('(')
            && !text.ends_with('<')
            && !line.starts_with([')', '>', '.'])
        {
            text.push(' ');
        }
        text.push_str(line);
        let open = text.matches(['(', '[']).count() > text.matches([')', ']']).count();
        if !open && text.ends_with(ends) {
            return (text.trim_end_matches(['{', ';', ',']).trim().to_owned(), index);
        }
        // A body on the same line.
        if !open && let Some(body) = text.find(" {").filter(|_| text.ends_with('}')) {
            return (text[..body].to_owned(), index);
        }
    }
    (text, lines.len())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The public items of one file.
fn items(folder: &str, source: &str) -> Vec<Item> {
    let lines = code(source);
    let mut found = Vec::new();
    let mut around = String::new();
    let mut attributes: Vec<String> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let depth = indent(line);
        let trimmed = line.trim_start();
        if line == "}" {
            around.clear();
        }
        if trimmed.starts_with("#[") {
            let (attribute, end) = statement(&lines, at, &[']']);
            if is_shown(&attribute) {
                attributes.push(attribute);
            }
            at = end + 1;
            continue;
        }
        let shown = std::mem::take(&mut attributes);
        let is_open = around.starts_with("pub trait") || around.starts_with("pub enum");
        let is_heading = depth == 0 && (trimmed.starts_with("impl") || trimmed.starts_with("unsafe impl"));
        let is_item = depth == 0 && trimmed.starts_with("pub ");
        let is_member = depth == 4
            && !around.is_empty()
            && (trimmed.starts_with("pub ") || is_open || around.contains(" for "))
            && !trimmed.starts_with(['}', ')'])
            // What a trait's method does is nobody's business.
            && (!around.contains(" for ") || trimmed.starts_with("type ") || trimmed.starts_with("const "));
        if !(is_heading || is_item || is_member) {
            at += 1;
            continue;
        }
        let is_variant = is_member && around.starts_with("pub enum");
        let ends: &[char] = if is_variant || is_member && around.starts_with("pub struct") {
            &[',', '{']
        } else if trimmed.starts_with("pub use") {
            &[';']
        } else {
            &['{', ';']
        };
        let (mut text, mut end) = statement(&lines, at, ends);
        // A tuple struct ends with a semicolon; a variant with fields, with its brace.
        if is_variant && lines[end].ends_with('{') {
            let fields: Vec<_> = lines[end + 1..].iter().take_while(|line| indent(line) > 4).collect();
            end += fields.len();
            let fields: Vec<_> = fields.iter().map(|line| line.trim()).collect();
            text = format!("{text} {{ {} }}", fields.join(" "));
        }
        if !shown.iter().any(|attribute| attribute.contains("hidden")) {
            let text = [shown.join(" "), text.clone()].join(" ").trim().to_owned();
            found.push(Item { folder: folder.to_owned(), around: around.clone(), text });
        }
        if depth == 0 {
            let opens = lines[end.min(lines.len() - 1)].ends_with('{');
            around =
                if opens && !shown.iter().any(|one| one.contains("hidden")) { text } else { String::new() };
        }
        at = end + 1;
    }
    found
}

/// The name of the type that an `impl` is for.
fn target(heading: &str) -> &str {
    let rest = heading.rsplit(" for ").next().unwrap();
    let rest = rest.trim_start_matches("unsafe ").trim_start_matches("impl");
    // Behind the parameters.
    let mut depth = 0;
    let start = rest.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && (c.is_alphanumeric() || c == '_')
    });
    let rest = &rest[start.map_or(0, |(at, _)| at)..];
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// The name that an item defines.
fn defined(text: &str) -> Option<&str> {
    let text = &text[text.find("pub ")?..];
    let words = ["pub struct ", "pub enum ", "pub trait ", "pub unsafe trait ", "pub type "];
    let rest = words.iter().find_map(|word| text.strip_prefix(word))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn listing() -> String {
    let mut all = BTreeSet::new();
    let mut private = BTreeSet::new();
    for (path, source) in source::files() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_test = ["tests", "testing", "hostile", "out_of_band", "self_test"].contains(&name);
        if path.starts_with("bin") || path.starts_with("sys/model") || is_test || name.starts_with("loom_") {
            continue;
        }
        let folder = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        private.extend(source.lines().filter_map(|line| {
            let rest = ["pub(super) trait ", "pub(crate) trait ", "trait "]
                .iter()
                .find_map(|t| line.strip_prefix(t))?;
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
        }));
        all.extend(items(folder, &source));
    }
    let types: BTreeSet<_> =
        all.iter().filter(|item| item.around.is_empty()).filter_map(|item| defined(&item.text)).collect();
    let is_public = |heading: &str| {
        let named = heading.split(" for ").next().unwrap();
        let words: Vec<_> = named.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        types.contains(target(heading)) && !words.iter().any(|word| private.contains(*word))
    };
    let mut text =
        format!("# multiproc {}: what is public, by folder of the source\n", env!("CARGO_PKG_VERSION"));
    for Item { folder, around, text: item } in &all {
        let (heading, is_impl) = match (around.as_str(), item.as_str()) {
            ("", item) => (item, item.contains("impl")),
            (around, _) => (around, around.contains("impl")),
        };
        // An `impl` without a trait says nothing by itself.
        let says = !around.is_empty() || !is_impl || item.contains(" for ");
        let is_shown = !is_impl || item.starts_with("pub use") || is_public(heading);
        if says && is_shown {
            let around = if around.is_empty() { String::new() } else { format!("{around} | ") };
            text += &format!("{folder} | {around}{item}\n");
        }
    }
    text
}

#[test]
fn the_public_interface_is_the_one_that_is_listed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PUBLIC_API.txt");
    let now = listing();
    assert!(now.lines().count() > 800, "{now}");
    if std::env::var_os("UPDATE_API").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    let (listed, now): (BTreeSet<_>, BTreeSet<_>) = (listed.lines().collect(), now.lines().collect());
    let gone: Vec<_> = listed.difference(&now).map(|line| format!("- {line}")).collect();
    let new: Vec<_> = now.difference(&listed).map(|line| format!("+ {line}")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "PUBLIC_API.txt is not what the source says (UPDATE_API=1 writes it anew; lines that go break users):\n{}\n{}",
        gone.join("\n"),
        new.join("\n")
    );
}

#[test]
fn the_reader_of_the_source_sees_what_is_public_and_nothing_else() {
    let source = "//! Head.\n\n#[derive(Clone)]\n#[non_exhaustive]\npub struct A<T> {\n    pub a: u32,\n    b: T,\n}\n\n\
        impl<T> A<T> {\n    /// Doc.\n    #[must_use]\n    pub fn new(\n        a: u32,\n        b: T,\n    ) -> Self {\n        \
        let pub_x = 1;\n    }\n\n    pub(crate) fn hidden(&self) {}\n\n    #[doc(hidden)]\n    pub fn secret(&self) {}\n\n    \
        pub const ONE: u32 = 1;\n}\n\npub enum E {\n    /// Doc.\n    One,\n    Two {\n        a: u8,\n    },\n    Three(u8),\n}\n\n\
        impl Iterator for A<u8> {\n    type Item = u8;\n\n    fn next(&mut self) -> Option<u8> {\n        None\n    }\n}\n\n\
        pub trait T {\n    fn required(&self);\n    fn given(&self) {}\n}\n\n#[cfg(test)]\nmod tests {\n    pub fn test() {}\n}\n";
    let found: Vec<_> =
        items("x", source).into_iter().map(|item| format!("{} | {}", item.around, item.text)).collect();
    assert_eq!(
        found,
        [
            " | #[derive(Clone)] #[non_exhaustive] pub struct A<T>",
            "pub struct A<T> | pub a: u32",
            " | impl<T> A<T>",
            "impl<T> A<T> | pub fn new(a: u32, b: T,) -> Self",
            "impl<T> A<T> | pub const ONE: u32 = 1",
            " | pub enum E",
            "pub enum E | One",
            "pub enum E | Two { a: u8, }",
            "pub enum E | Three(u8)",
            " | impl Iterator for A<u8>",
            "impl Iterator for A<u8> | type Item = u8",
            " | pub trait T",
            "pub trait T | fn required(&self)",
            "pub trait T | fn given(&self)",
        ]
    );
    assert_eq!(target("impl<T: X<Y>> Queue<T, C>"), "Queue");
    assert_eq!(target("unsafe impl Send for Placed<H>"), "Placed");
}
