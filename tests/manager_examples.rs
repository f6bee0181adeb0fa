//! The example of managers as its users run it.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod built;

use std::path::PathBuf;

use built::{Served, said_by};

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn word_index_is_filled_by_its_children() {
    let said = said_by("word_index", &[]);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("12 words"), "{said}");
    assert_eq!(lines[1..], ["hamlet:1", "lear:2", "lear:1"], "{said}");
}

#[test]
fn word_index_is_filled_by_processes_of_two_programs() {
    let server = Served::new("word_index", "WORD_INDEX_KEY");
    let directory = std::env::temp_dir().join(format!("multiproc-word-index-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let directory = Directory(directory);
    let files: Vec<_> = ["one", "two", "three"].map(|name| directory.0.join(name)).into();
    std::fs::write(&files[0], "the lock\nand the key").unwrap();
    std::fs::write(&files[1], "The door").unwrap();
    std::fs::write(&files[2], "a\nb\nthe c").unwrap();
    let path = |n: usize| files[n].to_str().unwrap();
    // Two programs that were started separately, the second with two processes.
    assert_eq!(server.says("fill", &[path(0)]), "5 words added\n");
    assert_eq!(server.says("fill", &[path(1), path(2)]), "6 words added\n");
    let found = server.says("find", &["the"]);
    let mut expected = vec![format!("{}:1", path(0)), format!("{}:2", path(0))];
    expected.extend([format!("{}:1", path(1)), format!("{}:3", path(2))]);
    expected.sort();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    server.refuses("find", &["the"]);
    server.says("stop", &[]);
    assert_eq!(server.last_words(), "8 words\n");
}
