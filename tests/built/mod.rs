//! [`example`]: an example as its user has it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;

/// The example, built with the profile and features of the tests: after `cargo test`, which has built it so, there is
/// nothing to do.
pub(crate) fn example(name: &str) -> PathBuf {
    let all = [
        (cfg!(feature = "default"), "default"),
        (cfg!(feature = "serde"), "serde"),
        (cfg!(feature = "process"), "process"),
        (cfg!(feature = "auto-init"), "auto-init"),
        (cfg!(feature = "manager"), "manager"),
        (cfg!(feature = "tokio"), "tokio"),
        (cfg!(feature = "derive"), "derive"),
        (cfg!(feature = "raw_sync"), "raw_sync"),
        (cfg!(feature = "shared_memory"), "shared_memory"),
    ];
    let features: Vec<_> = all.iter().filter(|(on, _)| *on).map(|(_, feature)| *feature).collect();
    example_with(name, &features.join(","))
}

/// The example with no other features than these, and with the profile of the tests.
pub(crate) fn example_with(name: &str, features: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--no-default-features", "--example", name])
        .args(["--profile", if cfg!(debug_assertions) { "test" } else { "release" }])
        .args(["--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success());
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name)
}
