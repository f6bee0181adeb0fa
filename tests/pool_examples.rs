//! The examples of pools and executors as their users run them.
#![cfg(feature = "auto-init")]

mod built;

use std::process::Command;

use built::example;

fn said_by(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(example(name)).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn prime_pool_counts_the_primes() {
    assert_eq!(said_by("prime_pool", &["100000", "2"]), "9592 primes below 100000\n");
    assert_eq!(said_by("prime_pool", &["3", "1"]), "1 primes below 3\n");
}

#[test]
fn both_executors_agree() {
    let expected = "threads: (6171, 261)\nprocesses: (6171, 261)\ntogether: [(27, 111), (97, 118)]\n";
    assert_eq!(said_by("both_executors", &[]), expected);
}
