//! [`example`]: an example as its user has it, and what it says.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// All features of the manifest, and which of them this test was built with.
const FEATURES: &[(bool, &str)] = &[
    (cfg!(feature = "default"), "default"),
    (cfg!(feature = "serde"), "serde"),
    (cfg!(feature = "process"), "process"),
    (cfg!(feature = "auto-init"), "auto-init"),
    (cfg!(feature = "tokio"), "tokio"),
    (cfg!(feature = "manager"), "manager"),
    (cfg!(feature = "inspect"), "inspect"),
    (cfg!(feature = "cli"), "cli"),
    (cfg!(feature = "derive"), "derive"),
    (cfg!(feature = "raw_sync"), "raw_sync"),
    (cfg!(feature = "shared_memory"), "shared_memory"),
];

/// The example, built with the profile and features of the tests: after `cargo test`, which has built it so, there is
/// nothing to do.
pub(crate) fn example(name: &str) -> PathBuf {
    assert_eq!(FEATURES.iter().map(|(_, feature)| *feature).collect::<Vec<_>>(), features_of_the_manifest());
    let features: Vec<_> = FEATURES.iter().filter(|(on, _)| *on).map(|(_, feature)| *feature).collect();
    let profile = if cfg!(debug_assertions) { "test" } else { "release" };
    example_with(name, &features.join(","), profile)
}

/// With another set of features the library is built once more.
fn features_of_the_manifest() -> Vec<&'static str> {
    let manifest = include_str!("../../Cargo.toml");
    let features = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let features = features.take_while(|line| !line.starts_with('['));
    features
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect()
}

/// The example with no other features than these, and with a profile that has the tests' directory.
pub(crate) fn example_with(name: &str, features: &str, profile: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--no-default-features", "--example", name])
        .args(["--profile", profile, "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success());
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name)
}

/// What a program printed that has ended well.
pub(crate) fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What an example prints.
pub(crate) fn said_by(name: &str, arguments: &[&str]) -> String {
    said(&Command::new(example(name)).args(arguments).output().unwrap())
}

/// An example that serves at a port, which is killed and reaped when dropped.
pub(crate) struct Served {
    program: PathBuf,
    key: &'static str,
    child: Child,
    printed: BufReader<ChildStdout>,
    address: String,
}

impl Served {
    /// Runs `serve` of an example, which finds its key, "secret", in the variable `key` and prints its address.
    pub(crate) fn new(name: &str, key: &'static str) -> Self {
        let program = example(name);
        let mut server = Command::new(&program);
        server.args(["serve", "tcp:127.0.0.1:0"]).env(key, "secret").stdout(Stdio::piped());
        let mut child = server.spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let mut served = Self { program, key, child, printed, address: String::new() };
        let mut line = String::new();
        served.printed.read_line(&mut line).unwrap();
        served.address = line.trim().split_once(" at ").expect(&line).1.to_owned();
        served
    }

    /// Runs another command of the example, for this server.
    pub(crate) fn run(&self, key: &str, command: &str, arguments: &[&str]) -> Output {
        let mut client = Command::new(&self.program);
        client.args([command, &self.address]).args(arguments).env(self.key, key).output().unwrap()
    }

    /// What a command prints that has the key.
    pub(crate) fn says(&self, command: &str, arguments: &[&str]) -> String {
        said(&self.run("secret", command, arguments))
    }

    /// A command that has another key says so.
    pub(crate) fn refuses(&self, command: &str, arguments: &[&str]) {
        let refused = self.run("wrong", command, arguments);
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("another key"), "{refused:?}");
    }

    /// What it prints last, as it ends by itself.
    pub(crate) fn last_words(mut self) -> String {
        let mut rest = String::new();
        self.printed.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It has ended already, or ends now.
        let _ = self.child.wait();
    }
}
