//! Every public item has an example that asserts something.
//!
//! The compiler's lint `unreachable_pub` sees to it that what says `pub` in the source can be reached by users: it is found
//! by the text. Fields, variants and trait implementations are parts of their item.

mod source;

use std::collections::BTreeSet;

/// What users can't call, or even name, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("plain/c_type.rs Sealed", "seals `CType`"),
    ("shared/raw_integer.rs Sealed", "seals `RawInteger`"),
    ("sync/lock_error.rs Flagged", "bounds a public method, and can't be named"),
    ("sync/lock_guard.rs lock_by", "of `RawLock`"),
    ("sync/lock_guard.rs try_lock", "of `RawLock`"),
    ("sync/lock_guard.rs unlock_as", "of `RawLock`"),
    ("sync/lock_guard.rs unlock_all", "of `RawLock`"),
    ("sync/lock_guard.rs deepen", "of `RawLock`"),
    ("sync/lock_guard.rs recover", "of `RawLock`"),
    ("sync/lock_guard.rs is_held", "of `RawLock`"),
    ("raw/tasks.rs TaskEntry", "has a place in a layout, and no operations of its own"),
    ("raw/tasks.rs RawTasks", "has a place in a layout, and no operations of its own"),
    ("manager/proxy.rs Mark", "of `Proxy`, and can't be named"),
    ("manager/proxy.rs KIND", "of `Mark`"),
    ("manager/proxy.rs of", "of `Mark`"),
    ("manager/proxy.rs remote", "of `Proxy`"),
    ("manager/proxy.rs of_typed", "of `Proxy`"),
    ("manager/wire.rs Kind", "of `Mark`"),
    ("manager/dispatch.rs answer_requests", "for this crate's own fuzzing"),
    ("connection/handshake.rs handshake", "for this crate's own fuzzing"),
    ("sys/frame.rs read_frames", "for this crate's own fuzzing"),
    ("queue/testing.rs queue_file", "for this crate's own fuzzing"),
    ("queue/testing.rs try_get_many", "for this crate's own fuzzing"),
    ("queue/testing.rs try_get_with", "for this crate's own fuzzing"),
    ("queue/testing.rs try_put_with", "for this crate's own fuzzing"),
    ("sys/slice.rs set_sleep_slice", "for this crate's own tests"),
    ("sys/spin.rs set_spins", "for this crate's own tests"),
];

/// A public item: its name, and what is said about it.
#[derive(Debug, PartialEq)]
struct Item {
    name: String,
    docs: Vec<String>,
}

impl Item {
    /// Whether a block of Rust code among the docs has an assertion in it.
    fn has_asserting_example(&self) -> bool {
        let mut fence = None;
        self.docs.iter().any(|line| match (line.strip_prefix("```"), fence) {
            (Some(kind), None) => {
                fence = Some(matches!(kind, "" | "no_run" | "should_panic"));
                false
            }
            (Some(_), Some(_)) => {
                fence = None;
                false
            }
            (None, is_code) => is_code == Some(true) && line.contains("assert"),
        })
    }
}

/// The item that a line declares, if it is one of those that want an example.
fn declared(line: &str, in_trait: bool) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    if words.next_if(|word| *word == "pub").is_none() && !in_trait {
        return None;
    }
    while words.next_if(|word| ["unsafe", "async"].contains(word)).is_some() {}
    let kind = match words.next()? {
        "const" if words.peek() == Some(&"fn") || words.peek() == Some(&"unsafe") => {
            words.find(|word| *word == "fn")?
        }
        kind => kind,
    };
    let is_item = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"].contains(&kind);
    let name = words.next().filter(|_| is_item)?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// The public items of a source file, without its test module.
fn items(source: &str) -> Vec<Item> {
    let end = source.find("\nmod tests {").unwrap_or(source.len());
    let (mut items, mut docs, mut hidden) = (Vec::new(), Vec::new(), false);
    let (mut in_trait, mut in_attribute) = (false, false);
    for line in source[..end].lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if in_attribute {
            in_attribute = !code.ends_with(")]");
        } else if let Some(text) = code.strip_prefix("///") {
            docs.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
        } else if code.starts_with("#[") {
            hidden |= code.starts_with("#[doc(hidden)");
            in_attribute = !code.trim_end().ends_with(']');
        } else if code.starts_with("//") {
            // Between docs and item.
        } else {
            if indent == 0 && code.starts_with('}') {
                in_trait = false;
            }
            if let Some(name) = declared(code, in_trait && indent == 4).filter(|_| !hidden) {
                items.push(Item { name: name.to_owned(), docs: docs.clone() });
            }
            if indent == 0 && (code.starts_with("pub trait ") || code.starts_with("pub unsafe trait ")) {
                in_trait = true;
            }
            docs.clear();
            hidden = false;
        }
    }
    items
}

#[test]
fn every_public_item_has_an_asserting_example() {
    let exceptions: BTreeSet<_> = EXCEPTIONS.iter().map(|(item, _)| (*item).to_owned()).collect();
    let mut count = 0;
    let mut without = BTreeSet::new();
    for (path, source) in source::files() {
        for item in items(&source) {
            count += 1;
            if !item.has_asserting_example() {
                without.insert(format!("{} {}", path.display(), item.name));
            }
        }
    }
    assert!(count > 500, "only {count} items were found");
    let missing: Vec<_> = without.difference(&exceptions).collect();
    assert!(missing.is_empty(), "{} public items without an asserting example: {missing:#?}", missing.len());
    let superfluous: Vec<_> = exceptions.difference(&without).collect();
    assert!(superfluous.is_empty(), "have an example, or are gone: {superfluous:#?}");
}

#[test]
fn items_are_found() {
    let source = "
/// Of a struct.
///
/// ```
/// assert!(true);
/// ```
#[derive(
    Debug,
)]
pub struct Whole<T>(T);

impl Whole {
    /// ```
    /// let nothing = 1;
    /// ```
    pub const fn new() -> Self {}

    fn own() {}

    #[doc(hidden)]
    pub fn hidden() {}
}

pub trait Some: Send {
    /// ```compile_fail
    /// assert!(true);
    /// ```
    fn required(&self);
}

pub(crate) fn internal() {}
pub use whole::Whole;
";
    let found = items(source);
    let names: Vec<_> = found.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["Whole", "new", "Some", "required"]);
    let asserting: Vec<_> = found.iter().map(Item::has_asserting_example).collect();
    assert_eq!(asserting, [true, false, false, false]);
}

#[test]
fn kinds_of_items_are_told_apart() {
    assert_eq!(declared("pub unsafe fn from_fd(fd: OwnedFd) -> Self {", false), Some("from_fd"));
    assert_eq!(declared("pub const ALL: [Self; 14] = [", false), Some("ALL"));
    assert_eq!(declared("pub unsafe trait Share: Send {", false), Some("Share"));
    assert_eq!(declared("pub type PlainQueue<T> = Queue<T, Plain>;", false), Some("PlainQueue"));
    assert_eq!(declared("pub item: T,", false), None);
    assert_eq!(declared("pub mod raw;", false), None);
    assert_eq!(declared("fn own() {}", false), None);
    assert_eq!(declared("type Buffer: Buffer;", true), Some("Buffer"));
}
