//! A descriptor that tokio watches.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Duplicates never land on a standard stream that happens to be closed.
const FIRST_FD: i32 = 3;

/// Has tokio watch a duplicate of `fd`, so that one file can be watched several times.
///
/// # Errors
/// `EMFILE`, and what epoll fails with.
///
/// # Panics
/// Outside of a tokio runtime, or in one without `enable_io`.
pub(crate) fn register(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let own = fcntl_dupfd_cloexec(fd, FIRST_FD)?;
    // SAFETY: an `OwnedFd` is the same open descriptor until it is dropped, and nothing takes it out of the `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(own, interest) }.map_err(io::Error::from)
}
