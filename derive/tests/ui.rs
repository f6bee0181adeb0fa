//! What does not compile, and what the message says. The `.stderr` files are those of the compiler in `rust-version`;
//! `TRYBUILD=overwrite cargo test` writes them anew.

use std::process::Command;

#[test]
fn what_can_not_be_shared_is_refused_with_a_reason() {
    let pinned = env!("CARGO_PKG_RUST_VERSION");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let is_pinned = version.starts_with(&format!("rustc {pinned}.")) && !version.contains("-nightly");
    if !is_pinned {
        println!("not compared: the messages are those of {pinned}, this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
