//! [`Snapshot`]: a private copy of what says what is in a segment, for who only looks.
//!
//! The file is read, not mapped: nothing can be written by mistake, a file that shrinks is an error and not SIGBUS, and
//! what a peer writes meanwhile is in the copy or not. All checks and looks are those of an attached segment, at the copy.
//! A large array costs no more than its header: what isn't asked for is not read.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::directory::{BUCKETS, DIRECTORY_OFFSET, HEADS, LINE, NAME_BYTES, NEXT, first_object};
use super::header::{CHECKED_BYTES, REAPER_OFFSET};
use super::info::ObjectInfo;
use super::object::{HEADER_BYTES, ObjectHeader, ObjectType, TYPE_NAME_BYTES};
use super::registry::find_or_map;
use super::segment::{Segment, attach, size_in, too_short};
use crate::error::{Error, Result};
use crate::raw::LeaseInfo;
use crate::sys::mapping::Mapping;
use crate::sys::memfd;
use crate::sys::region::Region;

/// Bytes that are read at a time.
const STEP: usize = 64 << 10;
/// Most lines between two objects without a name: those of memory that small objects share.
const MOST_GAP: usize = (64 << 10) / LINE;
/// An object's header with the longest names.
const NAMED_HEADER: usize = HEADER_BYTES + TYPE_NAME_BYTES + NAME_BYTES;

/// A copy of parts of a segment.
pub(crate) struct Snapshot {
    segment: Segment,
    file: OwnedFd,
}

/// An object in a snapshot.
pub(crate) struct Found {
    /// Where its header lies.
    pub(crate) offset: usize,
    /// What it says of itself.
    pub(crate) info: ObjectInfo,
    pub(crate) ty: ObjectType,
    /// Bytes of the object.
    pub(crate) bytes: u64,
    /// From the header's start to the object's end.
    span: usize,
}

impl Snapshot {
    /// Copies the header and the directory of the segment in `file`, which may be read.
    ///
    /// # Errors
    /// [`Error::Mismatch`], naming what was expected and found, if it has no header, or that of another layout, boot, PID
    /// namespace or size; [`Error::OutOfMemory`]; [`Error::Os`].
    pub(crate) fn new(file: OwnedFd) -> Result<Self> {
        let facts = memfd::facts(file.as_fd())?;
        let size = size_in(&file).filter(|&size| size <= facts.size).unwrap_or(facts.size);
        let len = usize::try_from(size).map_err(|_| too_short(size))?;
        if len < HEADS {
            return Err(too_short(len));
        }
        if facts.reserved < size {
            return Err(Error::Mismatch {
                object: "segment, pages".to_owned(),
                expected: format!("{size} reserved bytes"),
                found: format!("{} of them", facts.reserved),
            });
        }
        let mapping = Mapping::of_zeroes(len)?;
        copy(file.as_fd(), mapping.region(), 0, HEADS)?;
        // Checked by `attach`, which then finds no more chains than were copied.
        let buckets = mapping.region().word(BUCKETS).map_or(0, |word| word.load(Ordering::Relaxed));
        if let Some(first) =
            usize::try_from(buckets).ok().and_then(first_object).filter(|&first| first <= len)
        {
            copy(file.as_fd(), mapping.region(), HEADS, first.saturating_sub(HEADS))?;
        }
        // No file has device 0.
        let address = u64::try_from(mapping.region().start().as_ptr().addr()).unwrap_or(0);
        let key = (0, address);
        let handle = find_or_map(key, || attach(key, None, mapping))?;
        Ok(Self { segment: Segment { handle }, file })
    }

    /// The copy as a segment. What was not read is zero in it.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The process that made it.
    pub(crate) fn creator(&self) -> u32 {
        self.segment.handle.header.creator()
    }

    /// The segment's file.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The segment's own leases that are not free.
    pub(crate) fn leases(&self) -> Vec<LeaseInfo> {
        let mut seen = Vec::new();
        for (at, role) in [(DIRECTORY_OFFSET, "names an object"), (REAPER_OFFSET, "reaper")] {
            let mut word = [0; 4];
            if self.segment.region().load(at, &mut word).is_some() {
                LeaseInfo::read(u32::from_ne_bytes(word), role, 0, &mut seen);
            }
        }
        seen
    }

    /// The objects: those that have names, or else all.
    ///
    /// # Errors
    /// [`Error::Os`] if the file can't be read, or is shorter than it was.
    pub(crate) fn objects(&self) -> Result<Vec<Found>> {
        let offsets = match self.segment.handle.buckets {
            0 => self.nameless()?,
            buckets => self.named(buckets)?,
        };
        let mut objects: Vec<_> = offsets.into_iter().filter_map(|offset| self.describe(offset)).collect();
        objects.sort_by(|one, other| (&one.info.name, one.offset).cmp(&(&other.info.name, other.offset)));
        Ok(objects)
    }

    /// Copies an object, or its first `most` bytes, its header included, anew.
    ///
    /// # Errors
    /// As for [`objects`](Self::objects).
    pub(crate) fn load(&self, object: &Found, most: usize) -> Result<()> {
        self.copy(object.offset, object.span.min(most))
    }

    /// Where the headers lie that the chains of the directory lead to.
    fn named(&self, buckets: usize) -> Result<BTreeSet<usize>> {
        let mut offsets = BTreeSet::new();
        for bucket in 0..buckets {
            let at = bucket.checked_mul(8).and_then(|at| at.checked_add(HEADS));
            let mut link = at.map_or(0, |at| self.word(at));
            // A peer could make a chain a ring, or make chains meet.
            while let Some(offset) = self.place(link).filter(|&offset| offsets.insert(offset)) {
                self.copy(offset, NAMED_HEADER)?;
                link = self.word(offset.saturating_add(ObjectHeader::NEXT_OFFSET));
            }
        }
        Ok(offsets)
    }

    /// Where headers lie, one object behind the other. A process killed while it makes one leaves a gap.
    fn nameless(&self) -> Result<BTreeSet<usize>> {
        let mut offsets = BTreeSet::new();
        let end = usize::try_from(self.word(NEXT)).unwrap_or(usize::MAX).min(self.segment.size());
        let (mut at, mut gap) = (first_object(0).unwrap_or(end), 0);
        while at < end && gap < MOST_GAP {
            self.copy(at, NAMED_HEADER)?;
            let header = self.segment.directory().header(at);
            let span = header.and_then(|header| header.span()).filter(|&span| span <= end.saturating_sub(at));
            if let Some(span) = span {
                offsets.insert(at);
                (at, gap) = (at.saturating_add(span.next_multiple_of(LINE)), 0);
            } else {
                (at, gap) = (at.saturating_add(LINE), gap.saturating_add(1));
            }
        }
        Ok(offsets)
    }

    fn describe(&self, offset: usize) -> Option<Found> {
        let header = self.segment.directory().header(offset)?;
        let ty = ObjectType::from_header(&header, &self.segment.type_name(offset))?;
        let info = self.segment.describe_object(offset)?;
        Some(Found { offset, info, ty, bytes: header.bytes(), span: header.span()? })
    }

    fn copy(&self, offset: usize, len: usize) -> Result<()> {
        copy(self.file(), self.segment.region(), offset, len.min(self.segment.size().saturating_sub(offset)))
    }

    fn word(&self, at: usize) -> u64 {
        // Relaxed, here and in `new`: the copy is this thread's own.
        self.segment.region().word(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The offset that a link names, if an object can begin there.
    fn place(&self, link: u64) -> Option<usize> {
        let offset = usize::try_from(link).ok()?;
        let fits = offset != 0 && offset.is_multiple_of(LINE) && offset < self.segment.size();
        fits.then_some(offset)
    }
}

/// Copies `len` bytes at `offset` of a file to the same place of `to`.
fn copy(file: BorrowedFd<'_>, to: Region<'_>, offset: usize, len: usize) -> Result<()> {
    let mut buffer = vec![0; len.min(STEP)];
    let end = offset.saturating_add(len);
    let mut at = offset;
    while at < end {
        let most = end.saturating_sub(at).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let read = read_at(file, part, at)?;
        let stored = part.get(..read).and_then(|part| to.store(at, part));
        stored.ok_or_else(|| Error::os("read segment", Errno::FAULT))?;
        at = at.saturating_add(read);
    }
    Ok(())
}

/// Reads bytes at `offset`, at least one.
///
/// # Errors
/// [`Error::Os`], also if the file ends there.
pub(crate) fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: usize) -> Result<usize> {
    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
    loop {
        match rustix::io::pread(file, &mut *buffer, offset) {
            Ok(0) => return Err(Error::os("read segment", std::io::ErrorKind::UnexpectedEof)),
            Ok(read) => return Ok(read),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os("read segment", errno)),
        }
    }
}

const _: () = assert!(CHECKED_BYTES <= HEADS);
