//! [`wait`]: for several at once.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::PollFlags;

use crate::sys::{Deadline, poll};
use crate::{Error, Result};

/// Waits until at least one of several is ready, for at most `timeout`; returns the places of all that are, in order. None is
/// after the timeout, which `None` makes endless.
///
/// A [`Connection`](crate::Connection) is ready when there is something to receive or nothing will come any more, a
/// [`Listener`](crate::Listener) when `accept` would not wait, a [`sentinel`](crate::Process::sentinel) when its process has
/// ended, any other descriptor when it can be read from. One may be named several times.
///
/// # Errors
/// [`Error::Os`]: more than the process may have open files (`RLIMIT_NOFILE`), or no memory.
///
/// # Process death
/// A connection whose peers were killed is ready, and so is a killed process.
///
/// # Examples
/// ```
/// use multiproc::{Process, connection, pipe};
/// use std::time::Duration;
///
/// let (here, there) = pipe()?;
/// let mut process = Process::spawn(|connection: multiproc::Connection| connection.recv::<u8>().unwrap(), there)?;
/// assert!(connection::wait(&[&here, &process.sentinel()], Some(Duration::from_millis(5)))?.is_empty());
/// here.send(&7_u8)?;
/// let ready = connection::wait(&[&process.sentinel()], None)?;
/// assert_eq!((ready, process.join()?), (vec![0], 7));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "select")]
pub fn wait(objects: &[&dyn AsFd], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let fds: Vec<(BorrowedFd<'_>, PollFlags)> =
        objects.iter().map(|object| (object.as_fd(), PollFlags::IN)).collect();
    poll::wait_for_all(&fds, timeout.and_then(Deadline::after))
        .map_err(|errno| Error::os("wait for connections", errno))
}
