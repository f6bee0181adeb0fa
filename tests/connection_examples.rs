//! The examples of connections as their users run them.
#![cfg(feature = "auto-init")]

mod built;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use built::example;

const KEY: &str = "REMOTE_COUNTER_KEY";

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A program that is killed and reaped when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // It has ended already, or ends now.
        let _ = self.0.wait();
    }
}

#[test]
fn the_children_of_pipe_chat_hear_the_same() {
    let said = said(&Command::new(example("pipe_chat")).output().unwrap());
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert_eq!(lines[0], "alice: Is anybody there?");
    assert_eq!(lines[3], "bob: This pipe, and nothing else.");
    assert_eq!(lines[5], "5 lines, heard alike by both");
}

#[test]
fn remote_counter_counts_what_its_children_add() {
    let said = said(&Command::new(example("remote_counter")).output().unwrap());
    assert!(said.ends_with("the counter is 300\n"), "{said}");
    assert!(said.contains("a stranger: the other end has another key"), "{said}");
}

#[test]
fn remote_counter_counts_what_other_programs_add() {
    let program = example("remote_counter");
    let mut server = Command::new(&program);
    server.args(["serve", "tcp:127.0.0.1:0"]).env(KEY, "secret").stdout(Stdio::piped());
    let mut server = Server(server.spawn().unwrap());
    let mut printed = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening at ").expect(&line).to_owned();

    let run = |key: &str, arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        Command::new(&program).arg(command).arg(&address).args(rest).env(KEY, key).output().unwrap()
    };
    assert_eq!(said(&run("secret", &["add", "5"])), "the counter is 5\n");
    assert_eq!(said(&run("secret", &["add", "-7"])), "the counter is -2\n");
    let refused = run("wrong", &["add", "1"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another key"), "{refused:?}");
    assert_eq!(said(&run("secret", &["stop"])), "the counter was -2\n");

    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "the counter is -2\n");
    assert!(server.0.wait().unwrap().success());
}
