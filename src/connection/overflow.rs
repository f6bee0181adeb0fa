//! What of a message does not fit in its packet: bytes in a memory file.
//!
//! A fresh file costs three times as much as its bytes: each page is found, cleared and given back. So a connection keeps a
//! few files for its next messages. Whether a receiver still reads one, the kernel knows: the descriptor that rides along
//! is of an open file of its own, which holds a shared `flock(2)` that ends with its last descriptor: when the receiver has
//! closed it, died, or never received it. A file without such a lock is free. Nobody has to tell anybody anything.
//!
//! A receiver reads by `pread(2)`: it has no mapping that a sender could shrink or change under it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::error::ConnectionError;
use crate::Error;
use crate::sys::memfd;

/// The most files that a connection keeps.
const KEPT: usize = 6;
/// The most bytes that it keeps in them.
const KEPT_BYTES: usize = 8 << 20;

/// The files that a connection keeps.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: Vec<File>,
    /// The process that made them. One that was forked shares them, and leaves them alone.
    owner: Option<Pid>,
}

#[derive(Debug)]
struct File {
    fd: OwnedFd,
    /// Bytes that have pages.
    len: usize,
}

impl Overflow {
    /// A descriptor to ride along, of a file that begins with `bytes`.
    ///
    /// # Errors
    /// [`ConnectionError::OutOfMemory`], [`ConnectionError::TooManyFiles`], [`ConnectionError::Io`].
    pub(super) fn hold(&self, bytes: &[u8]) -> Result<OwnedFd, ConnectionError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        memfd::refuse_what_limits_forbid("send a message", len).map_err(|error| match error {
            Error::OutOfMemory { bytes, .. } => ConnectionError::OutOfMemory(bytes),
            error => ConnectionError::Io(std::io::Error::other(error)),
        })?;
        let mut file = match self.take_free() {
            Some(file) => file,
            None => {
                File { fd: memfd::create_empty("multiproc-message").map_err(ConnectionError::os)?, len: 0 }
            }
        };
        write_all(&file.fd, bytes)?;
        file.len = file.len.max(bytes.len());
        match reopen(&file.fd) {
            Ok(riding) => {
                self.keep(file);
                Ok(riding)
            }
            // Without /proc there is one open file, and no telling when it is free again.
            Err(_) => Ok(file.fd),
        }
    }

    /// A file that nobody reads.
    fn take_free(&self) -> Option<File> {
        let mut kept = self.kept();
        let at = kept.files.iter().position(|file| {
            let alone = rustix::fs::flock(&file.fd, FlockOperation::NonBlockingLockExclusive).is_ok();
            alone && rustix::fs::flock(&file.fd, FlockOperation::Unlock).is_ok()
        });
        at.map(|at| kept.files.remove(at))
    }

    fn keep(&self, file: File) {
        let mut kept = self.kept();
        let bytes: usize = kept.files.iter().map(|file| file.len).sum();
        if kept.files.len() < KEPT && bytes + file.len <= KEPT_BYTES {
            // The first free one is taken: the fewer are used, the more of them stay in the processor's caches.
            kept.files.insert(0, file);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let own = rustix::process::getpid();
        if kept.owner != Some(own) {
            *kept = Kept { files: Vec::new(), owner: Some(own) };
        }
        kept
    }
}

/// An open file of its own on the same memory, with a lock that ends with it.
fn reopen(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let riding = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&riding, FlockOperation::NonBlockingLockShared)?;
    Ok(riding)
}

fn write_all(fd: &OwnedFd, bytes: &[u8]) -> Result<(), ConnectionError> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pwrite(fd, rest, written as u64) {
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => {
                return Err(ConnectionError::OutOfMemory(bytes.len() as u64));
            }
            Err(errno) => return Err(ConnectionError::os(errno)),
        }
    }
    Ok(())
}

/// Checks that `fd` is a memory file of at least `len` bytes: reading one doesn't wait.
///
/// # Errors
/// [`ConnectionError::Decode`].
pub(super) fn check(fd: &OwnedFd, len: usize) -> Result<(), ConnectionError> {
    let is_memory = rustix::fs::fcntl_get_seals(fd).is_ok();
    let long_enough = rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && usize::try_from(stat.st_size).is_ok_and(|size| size >= len)
    });
    if is_memory && long_enough {
        return Ok(());
    }
    Err(ConnectionError::malformed("a long message came without the memory that holds it"))
}

/// Appends the first `len` bytes of `fd`.
///
/// # Errors
/// [`ConnectionError::Truncated`], [`ConnectionError::OutOfMemory`], [`ConnectionError::Io`].
pub(super) fn append(fd: &OwnedFd, len: usize, to: &mut Vec<u8>) -> Result<(), ConnectionError> {
    let begin = to.len();
    to.try_reserve_exact(len).map_err(|_| ConnectionError::OutOfMemory(len as u64))?;
    while to.len() - begin < len {
        let offset = (to.len() - begin) as u64;
        advance(rustix::io::pread(fd.as_fd(), rustix::buffer::spare_capacity(to), offset))?;
    }
    // There may have been more room, and an older message behind this one.
    to.truncate(begin + len);
    Ok(())
}

/// Fills `to` with the first bytes of `fd`.
///
/// # Errors
/// As [`append`].
pub(super) fn read(fd: &OwnedFd, to: &mut [u8]) -> Result<(), ConnectionError> {
    let mut filled = 0;
    while let Some(rest) = to.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += advance(rustix::io::pread(fd.as_fd(), rest, filled as u64))?;
    }
    Ok(())
}

/// How far a read came: one that ends before it was to has met a file that was shortened.
fn advance(read: Result<usize, Errno>) -> Result<usize, ConnectionError> {
    match read {
        Ok(0) => Err(ConnectionError::Truncated),
        Err(Errno::INTR) => Ok(0),
        read => read.map_err(ConnectionError::os),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(fd: &OwnedFd) -> u8 {
        let mut byte = [0];
        read(fd, &mut byte).unwrap();
        byte[0]
    }

    #[test]
    fn a_file_is_used_again_when_its_reader_has_closed_it() {
        let overflow = Overflow::default();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let one = overflow.hold(&[1; 100]).unwrap();
        let two = overflow.hold(&[2; 100]).unwrap();
        assert_ne!(inode(&one), inode(&two));
        assert_eq!((first(&one), first(&two)), (1, 2));
        let was = inode(&one);
        let copy = one.try_clone().unwrap();
        drop(one);
        let three = overflow.hold(&[3; 100]).unwrap();
        assert_ne!(inode(&three), was, "a copy is still read");
        drop(copy);
        let four = overflow.hold(&[4; 100]).unwrap();
        assert_eq!((inode(&four), first(&four)), (was, 4));
        assert_eq!((first(&two), first(&three)), (2, 3));
    }

    #[test]
    fn no_more_than_a_limit_is_kept() {
        let overflow = Overflow::default();
        let bytes = vec![0; KEPT_BYTES / 2 + 1];
        let held: Vec<_> = (0..3).map(|_| overflow.hold(&bytes).unwrap()).collect();
        assert_eq!(overflow.kept().files.len(), 1);
        drop(held);
        let held: Vec<_> = (0..2 * KEPT).map(|_| overflow.hold(&[0; 10]).unwrap()).collect();
        assert_eq!(overflow.kept().files.len(), KEPT);
        drop(held);
    }

    #[test]
    fn what_was_there_before_is_not_read() {
        let overflow = Overflow::default();
        drop(overflow.hold(&[7; 100]).unwrap());
        let fd = overflow.hold(&[8; 10]).unwrap();
        let mut bytes = vec![0];
        append(&fd, 10, &mut bytes).unwrap();
        assert_eq!(bytes, [&[0][..], &[8; 10]].concat());
    }

    #[test]
    fn a_file_that_was_shortened_is_truncated() {
        let fd = memfd::create_empty("short").unwrap();
        rustix::fs::ftruncate(&fd, 10).unwrap();
        check(&fd, 10).unwrap();
        assert!(matches!(check(&fd, 11), Err(ConnectionError::Decode(_))));
        assert!(matches!(append(&fd, 11, &mut Vec::new()), Err(ConnectionError::Truncated)));
        assert!(matches!(read(&fd, &mut [0; 11]), Err(ConnectionError::Truncated)));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(check(&null.into(), 0), Err(ConnectionError::Decode(_))));
    }
}
