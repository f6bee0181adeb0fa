//! Unix stream sockets between a process and its child.
#![allow(unsafe_code)]

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Two connected stream sockets, both close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// The process that connected the other end, or made the pair: its number in this process's namespace, 0 if it has none.
///
/// # Errors
/// `ENOTSOCK`, `EBADF` and the like: `fd` is no Unix socket.
///
/// # References
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), `SO_PEERCRED`
// Not rustix's: its type for the number can't hold the 0 of a peer outside of this PID namespace.
pub(crate) fn peer_pid(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let mut found = MaybeUninit::<libc::ucred>::zeroed();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `found` has room for the `len` bytes that the kernel may write; `fd` is open.
    let failed = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            found.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if failed != 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    // SAFETY: three integers, zeroed before and written by the kernel.
    let found = unsafe { found.assume_init() };
    Ok(found.pid)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::poll::hung_up;
    use super::*;

    #[test]
    fn the_peer_of_a_pair_is_its_maker() {
        let (left, _right) = pair().unwrap();
        assert_eq!(peer_pid(left.as_fd()).unwrap(), rustix::process::getpid().as_raw_nonzero().get());
    }

    #[test]
    fn a_file_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(peer_pid(file.as_fd()), Err(Errno::NOTSOCK));
    }

    #[test]
    fn a_closed_peer_hangs_up() {
        let (left, right) = pair().unwrap();
        assert!(!hung_up(left.as_fd()));
        drop(right);
        assert!(hung_up(left.as_fd()));
    }
}
