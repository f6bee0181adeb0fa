//! [`Segment`]: memory that processes share.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::header::{CHECKED_BYTES, SegmentHeader, Surroundings};
use super::registry::{Handle, Key, Mapped, find_or_map};
use crate::error::{Error, Result};
use crate::sys::mapping::Mapping;
use crate::sys::region::Region;
use crate::sys::{memfd, system};

/// A span of memory that processes share: anonymous, of fixed size, with all its pages reserved.
///
/// A handle: cloning is cheap, every clone is the same memory, and the memory lives as long as a handle in any process.
/// A process maps a segment once, however often it receives it. Core dumps leave it out, and its file descriptor is
/// closed on exec.
///
/// # Process death
/// Nothing is left behind: the memory goes with its last user, however that one ends.
///
/// # Examples
/// ```
/// let segment = multiproc::Segment::anonymous(1 << 20)?;
/// assert_eq!(segment.size(), 1 << 20);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Segment {
    handle: Handle,
}

impl Segment {
    /// A new segment of `size` bytes, its header included, rounded up to whole pages.
    ///
    /// Its pages are reserved here, so that a lack of memory is an error now and not SIGBUS later. (A memory cgroup at
    /// its limit is the exception: the kernel kills instead of refusing.)
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for size 0, [`Error::OutOfMemory`] where memory or `RLIMIT_FSIZE` ends,
    /// [`Error::TooManyFiles`] if no descriptor is left, [`Error::Unsupported`] without `/proc`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// assert!(matches!(Segment::anonymous(0), Err(Error::InvalidArgument { .. })));
    /// assert!(matches!(Segment::anonymous(usize::MAX), Err(Error::OutOfMemory { .. })));
    /// ```
    pub fn anonymous(size: usize) -> Result<Self> {
        if size == 0 {
            return Err(Error::InvalidArgument {
                what: "segment size",
                expected: "at least 1 byte".to_owned(),
                found: "0".to_owned(),
            });
        }
        let out_of_memory = || Error::OutOfMemory {
            operation: "create segment",
            bytes: u64::try_from(size).unwrap_or(u64::MAX),
        };
        let len = size.checked_next_multiple_of(rustix::param::page_size()).ok_or_else(out_of_memory)?;
        let file = memfd::create("multiproc", u64::try_from(len).map_err(|_| out_of_memory())?)?;
        let facts = memfd::facts(file.as_fd())?;
        let header = SegmentHeader::new(&surroundings(facts.size)?, std::process::id());
        let handle = find_or_map(facts.key, || {
            let mapping = Mapping::new(&file, len)?;
            let bytes: [u8; CHECKED_BYTES] = bytemuck::cast(header);
            mapping.region().store(0, &bytes).ok_or_else(out_of_memory)?;
            Ok(Mapped::new(facts.key, file, mapping, header))
        })?;
        Ok(Self { handle })
    }

    /// The segment behind a descriptor that another process sent: mapped, or found mapped already.
    ///
    /// # Errors
    /// [`Error::Mismatch`], naming what was expected and found, if it is not sealed against shrinking (touching it could
    /// then raise SIGBUS), lacks pages, or has the header of another layout, boot, PID namespace or size.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let facts = memfd::facts(fd.as_fd())?;
        let mismatch = |what: &str, expected: String, found: String| Error::Mismatch {
            object: format!("segment, {what}"),
            expected,
            found,
        };
        let handle = find_or_map(facts.key, || {
            if !memfd::is_sealed_against_shrinking(&fd) {
                return Err(mismatch(
                    "seals",
                    "a memory file sealed against shrinking".to_owned(),
                    "an unsealed file".to_owned(),
                ));
            }
            if memfd::is_of_huge_pages(&fd) {
                return Err(mismatch("pages", "a file of plain pages".to_owned(), "huge pages".to_owned()));
            }
            // Sealed: from here on the file has at least this size.
            let facts = memfd::facts(fd.as_fd())?;
            let too_short = || mismatch("size", format!("{CHECKED_BYTES} or more"), facts.size.to_string());
            if facts.reserved < facts.size {
                let found = format!("{} of them", facts.reserved);
                return Err(mismatch("pages", format!("{} reserved bytes", facts.size), found));
            }
            let len = usize::try_from(facts.size).map_err(|_| too_short())?;
            if len < CHECKED_BYTES {
                return Err(too_short());
            }
            let mapping = Mapping::new(&fd, len)?;
            let mut bytes = [0; CHECKED_BYTES];
            mapping.region().load(0, &mut bytes).ok_or_else(too_short)?;
            let header = SegmentHeader::check(&bytes, &surroundings(facts.size)?)?;
            Ok(Mapped::new(facts.key, fd, mapping, header))
        })?;
        Ok(Self { handle })
    }

    /// Bytes that the segment is long, its header included.
    pub fn size(&self) -> usize {
        self.region().len()
    }

    /// What identifies the segment in this system: device and inode of its file.
    pub(crate) fn key(&self) -> Key {
        self.handle.key
    }

    /// All of it.
    pub(crate) fn region(&self) -> Region<'_> {
        self.handle.mapping.region()
    }
}

fn surroundings(size: u64) -> Result<Surroundings> {
    Ok(Surroundings { size, pid_namespace: system::pid_namespace()?, boot_id: system::boot_id()? })
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.file.as_fd()
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("size", &self.size())
            .field("creator", &self.handle.header.creator())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duplicate(segment: &Segment) -> OwnedFd {
        segment.as_fd().try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_segment_received_twice_is_mapped_once() {
        let segment = Segment::anonymous(1).unwrap();
        let received = Segment::from_fd(duplicate(&segment)).unwrap();
        assert_eq!(received.region().start(), segment.region().start());
        let fd = duplicate(&segment);
        drop((segment, received));
        let again = Segment::from_fd(fd).unwrap();
        assert_eq!(again.size(), rustix::param::page_size());
    }

    #[test]
    fn a_segment_dropped_and_received_at_once_is_never_lost_nor_mapped_twice() {
        let segment = Segment::anonymous(1).unwrap();
        let marked = segment.region().store(1024, b"mark");
        assert!(marked.is_some());
        let fds: Vec<OwnedFd> = (0..400).map(|_| duplicate(&segment)).collect();
        let (left, right) = fds.split_at(200);
        drop(segment);
        std::thread::scope(|scope| {
            for fds in [left, right] {
                scope.spawn(move || {
                    for fd in fds {
                        let one = Segment::from_fd(fd.try_clone().unwrap()).unwrap();
                        let two = Segment::from_fd(fd.try_clone().unwrap()).unwrap();
                        assert_eq!(one.region().start(), two.region().start());
                        let mut mark = [0; 4];
                        one.region().load(1024, &mut mark).unwrap();
                        assert_eq!(&mark, b"mark");
                    }
                });
            }
        });
    }

    #[test]
    fn a_file_of_huge_pages_is_refused() {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        // Some systems have none.
        if let Ok(fd) = memfd_create("huge", flags) {
            ftruncate(&fd, 1 << 30).unwrap();
            fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
            let error = Segment::from_fd(fd).unwrap_err().to_string();
            assert!(error.contains("expected a file of plain pages, found huge pages"), "{error}");
        }
    }

    #[test]
    fn a_peers_change_to_the_header_is_found_at_the_next_attach() {
        let segment = Segment::anonymous(1).unwrap();
        segment.region().store(12, &9u32.to_ne_bytes()).unwrap();
        let fd = duplicate(&segment);
        drop(segment);
        let error = Segment::from_fd(fd).unwrap_err().to_string();
        assert_eq!(error, "segment header, layout version: expected 1, found 9");
    }
}
