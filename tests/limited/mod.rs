//! Tests that run alone in a process of their own, under limits.
#![allow(dead_code)]

use std::process::Command;

const VARIABLE: &str = "LIMITED";

/// Whether this process is one that [`passes_under`] started.
pub(crate) fn is_limited() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Runs the test `name` of this binary after `limit`, commands of the shell, and returns what it printed.
pub(crate) fn passes_under(limit: &str, name: &str) -> String {
    passes(Command::new("sh"), limit, name)
}

/// [`passes_under`] by `shell`, which ends in `sh`.
pub(crate) fn passes(mut shell: Command, limit: &str, name: &str) -> String {
    let script = format!("{limit}; exec \"$0\" --exact {name} --nocapture --test-threads 1");
    let program = std::env::current_exe().unwrap();
    let output = shell.args(["-c", &script]).arg(program).env(VARIABLE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    said
}

/// Open descriptors and mappings of this process.
pub(crate) fn footprint() -> (usize, usize) {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (fds, maps.lines().count())
}

/// Bytes of memory that this process has in use.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
