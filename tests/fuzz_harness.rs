//! The example `fuzz_harness` finds the crash that is planted in its parser.
#![cfg(feature = "auto-init")]

mod built;

use std::process::Command;

use built::example;

#[test]
fn the_planted_crash_is_found_and_executions_are_counted() {
    let output = Command::new(example("fuzz_harness")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let crash = said.lines().last().and_then(|line| line.strip_prefix("crash: ")).expect(&said);
    assert!(crash.split(';').any(|entry| entry.starts_with("crash=7")), "{said}");
    let executions: u64 =
        said.lines().rev().nth(1).and_then(|line| line.split(' ').next()?.parse().ok()).unwrap();
    assert!(executions > 0 && said.contains(" per second"), "{said}");
}
