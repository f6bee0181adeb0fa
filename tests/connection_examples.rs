//! The examples of connections as their users run them.
#![cfg(feature = "auto-init")]

mod built;

use built::{Served, said_by};

#[test]
fn the_children_of_pipe_chat_hear_the_same() {
    let said = said_by("pipe_chat", &[]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert_eq!(lines[0], "alice: Is anybody there?");
    assert_eq!(lines[3], "bob: This pipe, and nothing else.");
    assert_eq!(lines[5], "5 lines, heard alike by both");
}

#[test]
fn remote_counter_counts_what_its_children_add() {
    let said = said_by("remote_counter", &[]);
    assert!(said.ends_with("the counter is 300\n"), "{said}");
    assert!(said.contains("a stranger: the other end has another key"), "{said}");
}

#[test]
fn remote_counter_counts_what_other_programs_add() {
    let server = Served::new("remote_counter", "REMOTE_COUNTER_KEY");
    assert_eq!(server.says("add", &["5"]), "the counter is 5\n");
    assert_eq!(server.says("add", &["-7"]), "the counter is -2\n");
    server.refuses("add", &["1"]);
    assert_eq!(server.says("stop", &[]), "the counter was -2\n");
    assert_eq!(server.last_words(), "the counter is -2\n");
}
