//! Processes that use the shared object while the victim dies, and have to go on afterwards.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long a survivor may take, unless the scenario says otherwise.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// A child process that runs one closure and reports its result. It is killed and reaped when dropped.
pub(crate) struct Witness {
    pid: libc::pid_t,
    result: File,
}

/// What a witness has come to, see [`Witness::settle`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    /// It sleeps in a futex.
    Asleep,
    /// It has reported its result, or died.
    Finished,
}

impl Witness {
    /// Forks a process that runs `f`.
    pub(crate) fn spawn(f: impl FnOnce() -> u64) -> Result<Witness, String> {
        let (result, mut report) = pipe()?;
        let pid = fork(|| {
            let value = f();
            if report.write_all(&value.to_ne_bytes()).is_ok() { 0 } else { 102 }
        })?;
        Ok(Witness { pid, result })
    }

    /// Waits until it sleeps in a futex, or has finished.
    pub(crate) fn settle(&self) -> Result<Settled, String> {
        let end = Instant::now() + BOUND;
        loop {
            if readable(&self.result, Duration::ZERO)? {
                return Ok(Settled::Finished);
            }
            if blocking_call(self.pid) == Some(libc::SYS_futex) {
                return Ok(Settled::Asleep);
            }
            if Instant::now() > end {
                return Err(format!("witness neither asleep nor finished after {BOUND:?}"));
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Waits until it sleeps in a futex; an error if it finishes instead.
    pub(crate) fn wait_until_asleep(&self) -> Result<(), String> {
        match self.settle()? {
            Settled::Asleep => Ok(()),
            Settled::Finished => Err("witness finished instead of going to sleep".to_owned()),
        }
    }

    /// Its result, if it comes within `bound`.
    pub(crate) fn finish_within(mut self, bound: Duration) -> Result<u64, String> {
        if !readable(&self.result, bound)? {
            let call = blocking_call(self.pid);
            let place = if call == Some(libc::SYS_futex) { ", asleep in a futex" } else { "" };
            return Err(format!("witness hangs: not finished after {bound:?}{place}"));
        }
        let mut value = [0; 8];
        self.result.read_exact(&mut value).map_err(|_| "witness died without a result".to_owned())?;
        Ok(u64::from_ne_bytes(value))
    }

    /// Whether it stays asleep for all of `time`: what the negative twins are expected to do.
    pub(crate) fn hangs_for(&self, time: Duration) -> Result<bool, String> {
        Ok(!readable(&self.result, time)? && blocking_call(self.pid) == Some(libc::SYS_futex))
    }

    /// Whether it has not finished after `time`, asleep or not.
    pub(crate) fn stays_for(&self, time: Duration) -> Result<bool, String> {
        Ok(!readable(&self.result, time)?)
    }

    /// Takes it off the CPU, and returns once it is.
    pub(crate) fn stop(&self) -> Result<(), String> {
        self.signal(libc::SIGSTOP)?;
        let mut status = 0;
        // SAFETY: `status` is a writable int; the process is a child of this one and not reaped before `drop`.
        if unsafe { libc::waitpid(self.pid, &raw mut status, libc::WUNTRACED) } != self.pid {
            return Err(format!("waitpid: {}", std::io::Error::last_os_error()));
        }
        if libc::WIFSTOPPED(status) { Ok(()) } else { Err("witness died before it stopped".to_owned()) }
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub(crate) fn cont(&self) -> Result<(), String> {
        self.signal(libc::SIGCONT)
    }

    /// Kills it where it is.
    pub(crate) fn kill(self) {}

    fn signal(&self, signal: libc::c_int) -> Result<(), String> {
        // SAFETY: the kernel checks the arguments; the pid is that of a child which only `drop` reaps.
        if unsafe { libc::kill(self.pid, signal) } == 0 {
            return Ok(());
        }
        Err(format!("kill: {}", std::io::Error::last_os_error()))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        kill_and_reap(self.pid);
    }
}

/// A witness that holds a lock until it is told to give it back.
pub(crate) struct Holder {
    witness: Witness,
    release: Gate,
    /// What `acquire` returned.
    pub(crate) acquired: u64,
}

impl Holder {
    /// Forks a process that runs `acquire`, and returns once it has. `release` follows when the test says so.
    pub(crate) fn spawn(acquire: impl FnOnce() -> u64, release: impl FnOnce()) -> Result<Holder, String> {
        let (acquired, go) = (Gate::new()?, Gate::new()?);
        let witness = Witness::spawn(|| {
            let value = acquire();
            acquired.open(value + 1);
            if go.pass(4 * BOUND).is_ok() {
                release();
            }
            value
        })?;
        let value = acquired.pass(BOUND).map_err(|_| format!("no lock for the holder within {BOUND:?}"))?;
        Ok(Holder { witness, release: go, acquired: value - 1 })
    }

    /// Lets it give the lock back, and returns once it has and its process is gone.
    pub(crate) fn release(self) -> Result<(), String> {
        self.release.open(1);
        self.witness.finish_within(BOUND).map(|_| ())
    }
}

/// A counter in the kernel that one process waits for and another opens.
pub(crate) struct Gate(File);

impl Gate {
    pub(crate) fn new() -> Result<Gate, String> {
        // SAFETY: makes a new descriptor from plain numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        owned(fd).map(Gate)
    }

    pub(crate) fn open(&self, value: u64) {
        // A gate that can't be opened is a time-out in `pass`.
        let _ = (&self.0).write_all(&value.to_ne_bytes());
    }

    pub(crate) fn pass(&self, bound: Duration) -> Result<u64, String> {
        if !readable(&self.0, bound)? {
            return Err(format!("gate not opened after {bound:?}"));
        }
        let mut value = [0; 8];
        (&self.0).read_exact(&mut value).map_err(|error| format!("eventfd: {error}"))?;
        Ok(u64::from_ne_bytes(value))
    }
}

/// Forks a child that runs `f` and exits with the code it returns; 101 for a panic. The child dies with this process.
pub(crate) fn fork(f: impl FnOnce() -> i32) -> Result<libc::pid_t, String> {
    let parent = std::process::id();
    // SAFETY: this process has one thread, so the child may do whatever this process could.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: takes plain numbers and changes the disposition of this new process only.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                if std::os::unix::process::parent_id() == parent { f() } else { 103 }
            }));
            // SAFETY: ends the process without running the destructors and exit handlers it shares with its parent.
            unsafe { libc::_exit(code.unwrap_or(101)) }
        }
        pid => Ok(pid),
    }
}

/// Ends a child that has not been reaped yet.
pub(crate) fn kill_and_reap(pid: libc::pid_t) {
    // SAFETY: `pid` is a child of this process that nobody has reaped, so it names no other process.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let mut status = 0;
    loop {
        // SAFETY: `status` is a writable int.
        let got = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        // A stop that happened before the kill may be reported first.
        if got != pid || libc::WIFSIGNALED(status) || libc::WIFEXITED(status) {
            return;
        }
    }
}

/// The number of the system call in which process `pid` sleeps, if it sleeps in one.
pub(crate) fn blocking_call(pid: libc::pid_t) -> Option<libc::c_long> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let number = line.split_ascii_whitespace().next()?.parse().ok().filter(|number| *number >= 0)?;
    // A process that is about to be woken, or is stopped by its tracer, has a system call too, but another state.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, state) = stat.rsplit_once(") ")?;
    state.starts_with('S').then_some(number)
}

fn pipe() -> Result<(File, File), String> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(format!("pipe: {}", std::io::Error::last_os_error()));
    }
    Ok((owned(fds[0])?, owned(fds[1])?))
}

fn owned(fd: libc::c_int) -> Result<File, String> {
    if fd < 0 {
        return Err(format!("no descriptor: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made `fd` for the caller, and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Whether `file` has something to read, or its writers are gone, within `bound`.
fn readable(file: &File, bound: Duration) -> Result<bool, String> {
    let end = Instant::now() + bound;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut entry = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: `entry` is one writable pollfd, as the count says.
        let ready = unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
        match ready {
            1.. => return Ok(true),
            0 => return Ok(false),
            _ => {
                let error = std::io::Error::last_os_error();
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(format!("poll: {error}"));
                }
            }
        }
    }
}
