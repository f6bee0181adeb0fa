//! The example of embedding as its user runs it: the survivor repairs what the killed program left, and nothing is left.
#![cfg(feature = "derive")]

mod built;

use std::path::Path;
use std::process::{Command, Stdio};

use built::example;

#[test]
fn the_survivor_repairs_the_ledger_and_removes_the_segment() {
    let output = Command::new(example("embedding")).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {said}{complaints}", output.status);

    let (name, rest) = said.split_once('\n').unwrap();
    let name = name.strip_prefix("segment: ").unwrap();
    assert!(name.starts_with("embedding-"), "{name}");
    assert_eq!(
        rest,
        "first program: 1 deposits, a balance of 5\n\
         second program: halfway true, signal: 9 (SIGKILL)\n\
         the holder died: 2 deposits, but a balance of 5\n\
         recovered: 2 deposits, a balance of 10\n\
         first program: 3 deposits, a balance of 15\n"
    );
    assert!(!Path::new("/dev/shm").join(format!("multiproc-{name}")).exists());
}
