//! [`Worker`]: a spawned process that does not outlive its test.
#![allow(dead_code)]

use std::time::{Duration, Instant};

use multiproc::{Process, ProcessError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longer than anything takes that works, on a loaded machine too.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Waits until it is so, for as long as a test may.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The children of all threads of a process.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = || tasks().map(|task| std::fs::read_to_string(task?.path().join("children"))).collect();
    let lists: Vec<String> = loop {
        match lists() {
            Ok(lists) => break lists,
            // A thread has ended meanwhile, and its children are another's.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    lists.iter().flat_map(|list| list.split_whitespace()).map(|pid| pid.parse().unwrap()).collect()
}

/// A process that is killed and reaped when dropped.
pub(crate) struct Worker<R: Serialize + DeserializeOwned> {
    process: Process<R>,
    reaped: bool,
}

impl<R: Serialize + DeserializeOwned> Worker<R> {
    pub(crate) fn spawn<A: Serialize + DeserializeOwned>(f: fn(A) -> R, args: A) -> Self {
        Self { process: Process::spawn(f, args).unwrap(), reaped: false }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The result, which comes soon.
    pub(crate) fn join(mut self) -> R {
        let result = self.process.join_timeout(SOON);
        self.reaped = !matches!(result, Err(ProcessError::TimedOut));
        result.unwrap()
    }

    /// Ends it by SIGKILL, if it works until then; when this returns, the kernel has released what it held.
    pub(crate) fn kill(mut self) {
        if let Some(Err(error @ ProcessError::Panicked { .. })) = self.end() {
            panic!("{error}");
        }
    }

    /// Stops it until [`go_on`](Self::go_on).
    pub(crate) fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
        self.wait_for_state('T');
    }

    pub(crate) fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Waits until its main thread sleeps; the caller knows of one place only where it does.
    pub(crate) fn wait_until_asleep(&self) {
        self.wait_for_state('S');
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.process.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn wait_for_state(&self, state: char) {
        let begun = Instant::now();
        let path = format!("/proc/{}/stat", self.process.pid());
        loop {
            let stat = std::fs::read_to_string(&path).unwrap();
            if stat.rsplit(") ").next().unwrap().starts_with(state) {
                return;
            }
            assert!(begun.elapsed() < SOON, "never in state {state}: {stat}");
            std::thread::yield_now();
        }
    }

    fn end(&mut self) -> Option<Result<R, ProcessError>> {
        if std::mem::replace(&mut self.reaped, true) {
            return None;
        }
        let _ = self.process.kill();
        Some(self.process.join())
    }
}

impl<R: Serialize + DeserializeOwned> Drop for Worker<R> {
    fn drop(&mut self) {
        self.end();
    }
}
