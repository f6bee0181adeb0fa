//! The example of managers as its users run it.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod built;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use built::example;

const KEY: &str = "WORD_INDEX_KEY";

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
fn word_index_is_filled_by_its_children() {
    let said = said(&Command::new(example("word_index")).output().unwrap());
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("12 words"), "{said}");
    assert_eq!(lines[1..], ["hamlet:1", "lear:2", "lear:1"], "{said}");
}

#[test]
fn word_index_is_filled_by_processes_of_two_programs() {
    let program = example("word_index");
    let mut server = Command::new(&program);
    server.args(["serve", "tcp:127.0.0.1:0"]).env(KEY, "secret").stdout(Stdio::piped());
    let mut server = Server(server.spawn().unwrap());
    let mut printed = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("serving at ").expect(&line).to_owned();

    let directory = std::env::temp_dir().join(format!("multiproc-word-index-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let files: Vec<_> = ["one", "two", "three"].map(|name| directory.join(name)).into();
    std::fs::write(&files[0], "the lock\nand the key").unwrap();
    std::fs::write(&files[1], "The door").unwrap();
    std::fs::write(&files[2], "a\nb\nthe c").unwrap();
    let run = |key: &str, arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        Command::new(&program).arg(command).arg(&address).args(rest).env(KEY, key).output().unwrap()
    };
    let path = |n: usize| files[n].to_str().unwrap();
    // Two programs that were started separately, the second with two processes.
    assert_eq!(said(&run("secret", &["fill", path(0)])), "5 words added\n");
    assert_eq!(said(&run("secret", &["fill", path(1), path(2)])), "6 words added\n");
    let found = said(&run("secret", &["find", "the"]));
    std::fs::remove_dir_all(&directory).unwrap();
    let mut expected = vec![format!("{}:1", path(0)), format!("{}:2", path(0))];
    expected.extend([format!("{}:1", path(1)), format!("{}:3", path(2))]);
    expected.sort();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    let refused = run("wrong", &["find", "the"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another key"), "{refused:?}");
    said(&run("secret", &["stop"]));

    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "8 words\n");
    assert!(server.0.wait().unwrap().success());
}
