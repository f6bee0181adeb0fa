//! Waiting for file descriptors.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::Deadline;

/// Waits until one of `fds` is ready for what stands beside it (an end or an error counts); `false` at the deadline.
///
/// # Errors
/// What `poll` fails with; an interrupting signal isn't an error.
pub(crate) fn wait(fds: &[(BorrowedFd<'_>, PollFlags)], deadline: Option<Deadline>) -> Result<bool, Errno> {
    if let [(fd, flags)] = fds {
        return until_ready(&mut [PollFd::from_borrowed_fd(*fd, *flags)], deadline);
    }
    until_ready(&mut watched(fds), deadline)
}

/// As [`wait`], and says which are ready: none at the deadline.
///
/// # Errors
/// As `wait`.
pub(crate) fn wait_for_all(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Option<Deadline>,
) -> Result<Vec<usize>, Errno> {
    let mut watched = watched(fds);
    until_ready(&mut watched, deadline)?;
    let ready = watched.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(place, _)| place).collect())
}

/// Waits until the first or the second is ready; whether each is. Allocates nothing.
///
/// # Errors
/// As [`wait`].
pub(crate) fn wait_for_two(fds: [(BorrowedFd<'_>, PollFlags); 2]) -> Result<[bool; 2], Errno> {
    let mut watched = fds.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
    until_ready(&mut watched, None)?;
    Ok(watched.map(|fd| !fd.revents().is_empty()))
}

fn watched<'a>(fds: &[(BorrowedFd<'a>, PollFlags)]) -> Vec<PollFd<'a>> {
    fds.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect()
}

fn until_ready(fds: &mut [PollFd<'_>], deadline: Option<Deadline>) -> Result<bool, Errno> {
    loop {
        let timeout = deadline.map(|deadline| {
            // A time that doesn't fit is beyond any clock: the longest wait there is will do.
            Timespec::try_from(deadline.remaining()).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        match rustix::event::poll(fds, timeout.as_ref()) {
            Ok(0) if deadline.is_none_or(Deadline::has_passed) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether whoever was at the other end of the socket `fd` sends nothing any more, be it that it can't be asked.
#[cfg(feature = "manager")]
pub(crate) fn is_deserted(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    loop {
        match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => {
                return fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
            }
        }
    }
}

/// Whether the other end of the socket `fd` is gone; what it sent before may still be there to read.
pub(crate) fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    loop {
        match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return fds[0].revents().intersects(PollFlags::HUP),
        }
    }
}
