//! A process by descriptor: no number to be reused, no signal handler, and it polls.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// What is known of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It runs, or is stopped.
    Running,
    /// It ended by itself with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It isn't a child of this process, or somebody else has already waited for it.
    Unknown,
}

/// Opens the process with this number, whichever it is now. The descriptor is close-on-exec.
///
/// # Errors
/// `ESRCH`, `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSYS`.
///
/// # References
/// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
pub(crate) fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    pidfd_open(pid, PidfdFlags::empty())
}

/// Sends `signal`; to a process that has ended, that is no error.
///
/// # Errors
/// `EPERM`, when the process has taken another identity.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    match pidfd_send_signal(pidfd, signal) {
        Err(Errno::SRCH) => Ok(()),
        sent => sent,
    }
}

/// The child's state; one that has ended is reaped, and only this call learns how.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Status {
    look(pidfd, WaitIdOptions::empty())
}

/// The child's state; one that has ended stays to be reaped.
pub(crate) fn peek(pidfd: BorrowedFd<'_>) -> Status {
    look(pidfd, WaitIdOptions::NOWAIT)
}

fn look(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Status {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        return match waitid(WaitId::PidFd(pidfd), options) {
            Ok(None) => Status::Running,
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Status::Exited(code),
                (None, Some(signal)) => Status::Signaled(signal),
                (None, None) => Status::Unknown,
            },
            Err(Errno::INTR) => continue,
            Err(_) => Status::Unknown,
        };
    }
}
