//! Anonymous memory files: created, filled with pages and sealed, so that a mapping of one can't raise SIGBUS.
//!
//! # References
//! memfd_create(2), fallocate(2), fcntl(2) "File Sealing", getrlimit(2) on `RLIMIT_FSIZE`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Result};
use crate::sys::system;

/// What a segment's file is sealed against: growing, shrinking, and other seals.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// What the file of a queue that grows is sealed against: shrinking, and other seals.
const GROWING: SealFlags = SealFlags::SHRINK.union(SealFlags::SEAL);

/// From this size on, what the system has left is asked first. Asking costs more than reserving less.
const LARGE: u64 = 16 << 20;
/// The same for a part of a file that grows, of which there may be many.
const LARGE_PART: u64 = 1 << 20;

/// What is known of a file before it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Device and inode: the file's identity.
    pub(crate) key: (u64, u64),
    /// Bytes that the file is long.
    pub(crate) size: u64,
    /// Bytes of it that have a page.
    pub(crate) reserved: u64,
}

/// Makes a close-on-exec memory file of `bytes` zero bytes, all with their pages, which can't be resized.
///
/// # Errors
/// [`Error::OutOfMemory`] where a limit, the memory or the file system ends; [`Error::TooManyFiles`].
pub(crate) fn create(name: &str, bytes: u64) -> Result<OwnedFd> {
    create_sealed(name, bytes, FIXED_SIZE)
}

/// Makes a close-on-exec memory file of `bytes` zero bytes, all with their pages, which can grow and not shrink.
///
/// # Errors
/// As for [`create`].
pub(crate) fn create_growing(name: &str, bytes: u64) -> Result<OwnedFd> {
    create_sealed(name, bytes, GROWING)
}

fn create_sealed(name: &str, bytes: u64, seals: SealFlags) -> Result<OwnedFd> {
    const OPERATION: &str = "create segment";
    refuse_what_limits_forbid(OPERATION, bytes)?;
    let fd = create_empty(name).map_err(|errno| refused(OPERATION, bytes, errno))?;
    reserve(fd.as_fd(), OPERATION, bytes)?;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(|errno| refused(OPERATION, bytes, errno))?;
    Ok(fd)
}

/// Refuses what a file can't be made of without a signal, or what the system has no memory for.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn refuse_what_limits_forbid(operation: &'static str, bytes: u64) -> Result<()> {
    if i64::try_from(bytes).is_err() {
        return Err(Error::out_of_memory(operation, bytes, "a file has at most 2^63 - 1"));
    }
    refuse_beyond_fsize(operation, bytes, bytes)?;
    if bytes >= LARGE {
        refuse_beyond_memory(operation, bytes)?;
    }
    Ok(())
}

/// Refuses a file that ends beyond RLIMIT_FSIZE: there ftruncate and fallocate raise SIGXFSZ, whose default action ends the
/// process.
fn refuse_beyond_fsize(operation: &'static str, bytes: u64, end: u64) -> Result<()> {
    match getrlimit(Resource::Fsize).current.filter(|&limit| end > limit) {
        Some(limit) => Err(Error::out_of_memory(operation, bytes, format!("RLIMIT_FSIZE is {limit}"))),
        None => Ok(()),
    }
}

/// Refuses what the system has no memory for: a memory file has no size limit of its own, and fallocate goes on until the
/// OOM killer comes.
fn refuse_beyond_memory(operation: &'static str, bytes: u64) -> Result<()> {
    let available = system::available_memory()?;
    if available < bytes {
        return Err(Error::out_of_memory(operation, bytes, format!("the system has {available} left")));
    }
    Ok(())
}

/// Makes a file `bytes` long, all with their pages.
///
/// # Errors
/// [`Error::OutOfMemory`], [`Error::Os`].
pub(crate) fn reserve(fd: BorrowedFd<'_>, operation: &'static str, bytes: u64) -> Result<()> {
    let refused = |errno| refused(operation, bytes, errno);
    rustix::fs::ftruncate(fd, bytes).map_err(refused)?;
    retry_interrupted(|| rustix::fs::fallocate(fd, FallocateFlags::empty(), 0, bytes)).map_err(refused)
}

/// Gives a part of a file its pages, zero bytes where it had none; the file grows if it is shorter.
///
/// # Errors
/// [`Error::OutOfMemory`] where a limit, the memory or the file system ends; [`Error::Os`].
pub(crate) fn reserve_part(fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<()> {
    const OPERATION: &str = "grow queue";
    let end = offset.checked_add(bytes).ok_or_else(|| Error::beyond_addresses(OPERATION, bytes))?;
    refuse_beyond_fsize(OPERATION, bytes, end)?;
    // Asking costs more than reserving less.
    if bytes >= LARGE_PART {
        refuse_beyond_memory(OPERATION, bytes)?;
    }
    retry_interrupted(|| rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, bytes))
        .map_err(|errno| refused(OPERATION, bytes, errno))
}

/// Takes the pages of a part of a file: it reads as zero then, if anybody still looks.
///
/// # Errors
/// [`Error::Os`].
pub(crate) fn release_part(fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    retry_interrupted(|| rustix::fs::fallocate(fd, mode, offset, bytes))
        .map_err(|errno| refused("shrink queue", bytes, errno))
}

fn refused(operation: &'static str, bytes: u64, errno: Errno) -> Error {
    match errno {
        Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT => {
            Error::out_of_memory(operation, bytes, errno.to_string())
        }
        _ => Error::os(operation, errno),
    }
}

/// A close-on-exec memory file without pages or seals. `vm.memfd_noexec = 2` refuses files that could be executed; kernels
/// before 6.3 don't know the flag.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub(crate) fn create_empty(name: &str) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
}

fn retry_interrupted(mut call: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether `fd` is sealed against shrinking. A file that can't be sealed at all is not.
pub(crate) fn is_sealed_against_shrinking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// Whether `fd` consists of huge pages, which a system may run out of while a mapping is used.
pub(crate) fn is_of_huge_pages(fd: impl AsFd) -> bool {
    /// `HUGETLBFS_MAGIC`, statfs(2).
    const HUGETLBFS: u64 = 0x9584_58f6;
    rustix::fs::fstatfs(fd).is_ok_and(|facts| facts.f_type.cast_unsigned() & 0xffff_ffff == HUGETLBFS)
}

/// The identity and the true size of `fd`.
///
/// # Errors
/// [`Error::Os`] if the system can't say.
pub(crate) fn facts(fd: BorrowedFd<'_>) -> Result<FileFacts> {
    /// The unit of `st_blocks`, stat(3type).
    const BLOCK: u64 = 512;
    let stat = rustix::fs::fstat(fd).map_err(|errno| Error::os("inspect segment", errno))?;
    Ok(FileFacts {
        key: (stat.st_dev, stat.st_ino),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        reserved: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK),
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_has_its_size_its_pages_and_its_seals() {
        let fd = create("memfd-test", 8192).unwrap();
        let facts = facts(fd.as_fd()).unwrap();
        assert_eq!(facts.size, 8192);
        assert!(facts.reserved >= 8192);
        assert!(is_sealed_against_shrinking(&fd));
        assert_eq!(rustix::fs::ftruncate(&fd, 4096), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 16384), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE), Err(Errno::PERM));
    }

    #[test]
    fn a_file_is_closed_on_exec() {
        let fd = create("memfd-test", 4096).unwrap();
        assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn more_than_a_file_can_hold_is_out_of_memory() {
        for bytes in [u64::MAX, 1 << 63, i64::MAX.unsigned_abs(), 1 << 46] {
            let error = create("memfd-test", bytes).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { bytes: asked, .. } if asked == bytes), "{error}");
        }
    }

    #[test]
    fn a_file_without_seals_may_shrink() {
        let plain = rustix::fs::memfd_create("plain", MemfdFlags::CLOEXEC).unwrap();
        assert!(!is_sealed_against_shrinking(&plain));
        let (read, _write) = std::io::pipe().unwrap();
        assert!(!is_sealed_against_shrinking(&read));
    }
}
