//! A Python process that measures itself.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Python is slow and steady: it does one of so many operations.
const SHARE: u64 = 20;

pub(crate) struct CPython {
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    process: Child,
    pub(crate) version: String,
}

impl CPython {
    /// `None` where there is no python3.
    pub(crate) fn start() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cpython.py");
        let mut command = Command::new("python3");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().ok()?;
        let orders = process.stdin.take()?;
        let mut answers = BufReader::new(process.stdout.take()?);
        let mut version = String::new();
        answers.read_line(&mut version).ok()?;
        let version = version.trim().to_owned();
        (!version.is_empty()).then_some(Self { pipes: RefCell::new((orders, answers)), process, version })
    }

    /// The nanoseconds of so many operations.
    pub(crate) fn run(&self, operation: &str, operations: u64) -> u64 {
        self.run_some(operation, operations, (operations / SHARE).max(20))
    }

    /// The same for operations that take milliseconds.
    #[allow(dead_code)] // Each benchmark uses a part.
    pub(crate) fn run_few(&self, operation: &str, operations: u64) -> u64 {
        self.run_some(operation, operations, (operations / SHARE).max(1))
    }

    /// The same, all of them.
    #[allow(dead_code)]
    pub(crate) fn run_all(&self, operation: &str, operations: u64) -> u64 {
        self.run_some(operation, operations, operations)
    }

    fn run_some(&self, operation: &str, operations: u64, own: u64) -> u64 {
        let (orders, answers) = &mut *self.pipes.borrow_mut();
        writeln!(orders, "{operation} {own}").expect("Python listens");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("Python answers");
        let nanos: u64 = answer.trim().parse().expect("nanoseconds");
        nanos * operations / own
    }
}

impl Drop for CPython {
    fn drop(&mut self) {
        // Killed, it would leave its workers and their semaphores behind.
        let (orders, answers) = self.pipes.get_mut();
        let _ = writeln!(orders, "shutdown 1").and_then(|()| answers.read_line(&mut String::new()));
        let _ = self.process.kill(); // It has ended already, or ends now.
        let _ = self.process.wait();
    }
}
