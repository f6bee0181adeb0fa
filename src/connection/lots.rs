//! More descriptors than a packet takes: they lie in a socket, and that rides along.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::error::ConnectionError;
use crate::sys::packet::{self, LOT};

/// A socket in which `fds` wait to be received, in packets of one byte.
///
/// # Errors
/// [`ConnectionError::TooManyFiles`]: more than may be on their way at once.
pub(super) fn pack(fds: &[BorrowedFd<'_>]) -> Result<OwnedFd, ConnectionError> {
    let (outside, inside) = packet::pair().map_err(ConnectionError::os)?;
    for lot in fds.chunks(LOT) {
        // A full socket is the only reason to wait.
        packet::send(inside.as_fd(), &[0], &[], lot, false).map_err(|_| ConnectionError::TooManyFiles)?;
    }
    Ok(outside)
}

/// Receives `expected` descriptors from such a socket, without waiting.
///
/// # Errors
/// [`ConnectionError::TooManyFiles`], [`ConnectionError::Decode`].
pub(super) fn unpack(socket: &OwnedFd, expected: usize) -> Result<Vec<OwnedFd>, ConnectionError> {
    let mut fds = Vec::new();
    while fds.len() < expected {
        let before = fds.len();
        let received = packet::receive(socket.as_fd(), &mut [0], &mut [], &mut Vec::new(), &mut fds, false);
        match received {
            Err(rustix::io::Errno::MFILE) => return Err(ConnectionError::TooManyFiles),
            Ok(1) if fds.len() > before => {}
            _ => return Err(ConnectionError::malformed("descriptors are missing from a message")),
        }
    }
    Ok(fds)
}
