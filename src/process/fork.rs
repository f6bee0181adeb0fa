//! [`Process::fork`](crate::Process::fork): a copy of this process that runs a closure.
#![allow(unsafe_code)]

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getppid, kill_process, waitpid};
use rustix::stdio::dup2_stdin;

use super::child::Child;
use super::current::{self, Parent, current_process, next_number};
use super::exit::{end, flush};
use super::launch::{OPERATION, Started, check_may_start, open_own};
use super::report::Failure;
use super::work::run;
use super::{children, lifeline, reporter, zygote};
use crate::sys::robust::Thread;
use crate::sys::{socket, system};
use crate::transfer::Message;
use crate::{Error, Result};

/// Why a process was not forked.
///
/// # Examples
/// ```
/// use multiproc::{ForkError, Process};
/// let forked = std::thread::scope(|scope| {
///     scope.spawn(|| std::thread::park_timeout(std::time::Duration::from_secs(60)));
///     let forked = Process::fork(|| 7);
///     assert!(matches!(forked, Err(ForkError::Threads)));
/// # std::process::exit(0)
/// });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ForkError {
    /// This process has other threads: what they have locked would stay locked in the copy.
    Threads,
    /// The calling thread holds locks, permits or tasks of this crate, which its copy would not.
    #[non_exhaustive]
    Holding {
        /// How many.
        held: usize,
    },
    /// The process could not be started.
    Start(Error),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads => f.write_str("fork: the process has other threads, which the copy would lack"),
            Self::Holding { held } => {
                write!(f, "fork: the thread holds {held} locks, which the copy would not hold")
            }
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ForkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => error.source(),
            Self::Threads | Self::Holding { .. } => None,
        }
    }
}

impl From<Error> for ForkError {
    fn from(error: Error) -> Self {
        Self::Start(error)
    }
}

impl From<ForkError> for Error {
    fn from(error: ForkError) -> Self {
        match error {
            ForkError::Start(error) => error,
            error => Self::operation(error),
        }
    }
}

/// Runs `body` in a copy of this process.
///
/// # Errors
/// [`ForkError`].
pub(super) fn fork(body: impl FnOnce() -> Result<Message, Failure>) -> Result<Arc<Child>, ForkError> {
    if !system::has_one_thread() {
        return Err(ForkError::Threads);
    }
    let held = Thread::enrolled().map_or(0, |thread| thread.held());
    if held > 0 {
        return Err(ForkError::Holding { held });
    }
    let failed = |errno: Errno| Error::os(OPERATION, errno);
    check_may_start()?;
    let number = next_number();
    let name = format!("Process-{number}");
    let null =
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let (ours, theirs) = socket::pair().map_err(failed)?;
    // What has been printed is not printed by both.
    flush();
    // SAFETY: there is no other thread, so nothing is locked in the child that stays so.
    match unsafe { libc::fork() } {
        0 => {
            // They are the parent's, and closed here.
            drop(ours);
            lifeline::sweep();
            zygote::sweep();
            children::sweep();
            // The parent has ended already, or there are no descriptors: then it is not known.
            let parent = getppid().and_then(|pid| Parent::open(pid).ok().flatten());
            let parent_name = current_process().name().to_owned();
            current::become_fork(name, number, parent.map(|parent| (parent, parent_name)));
            reporter::open(theirs);
            end(run(|| {
                dup2_stdin(&null).map_err(|errno| Failure::Arguments(format!("standard input: {errno}")))?;
                drop(null);
                body()
            }))
        }
        -1 => Err(Error::os(OPERATION, std::io::Error::last_os_error()).into()),
        pid => {
            drop(theirs);
            let pid = Pid::from_raw(pid).ok_or_else(|| failed(Errno::SRCH))?;
            match open_own(pid, ours.as_fd()) {
                Ok(pidfd) => {
                    let child = Child::new(Started { pid, pidfd, socket: ours }, (name, false));
                    let child = Arc::new(child);
                    children::add(Arc::clone(&child));
                    Ok(child)
                }
                Err(errno) => {
                    // Nobody could wait for it later without the risk of meeting another process under its number.
                    let _ = kill_process(pid, Signal::KILL);
                    let _ = waitpid(Some(pid), WaitOptions::empty());
                    Err(failed(errno).into())
                }
            }
        }
    }
}
