//! [`Directory`]: the objects of a segment, and where the next one goes.
//!
//! ```text
//! 128  mutex     40 bytes, of who names an object
//! 168  next      u64, where the next object goes, a multiple of 64
//! 176  buckets   u64, how many chains there are: 0 or a power of two
//! 184  reserved  u64, 0
//! 192  heads     u64 for each chain: its newest object's offset, 0 for none
//! ```
//! Room is taken by moving `next`, and never given back: a process that is killed before it has linked its object leaves a
//! gap, and no half-made name (D1). An object is linked when it is whole, by one store of its chain's head; headers in a chain
//! don't change any more, so whoever looks a name up takes no lock.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::object::ObjectHeader;
use crate::error::{Error, Result};
use crate::raw::{AcquireError, Deadline, RawMutex};
use crate::sys::region::Region;

/// Where the directory lies in a segment.
pub(crate) const DIRECTORY_OFFSET: usize = 128;
/// Objects begin at multiples of this, a cache line.
pub(crate) const LINE: usize = 64;
/// Most bytes of an object's name.
pub(crate) const NAME_BYTES: usize = 255;

pub(super) const NEXT: usize = DIRECTORY_OFFSET + size_of::<RawMutex>();
pub(super) const BUCKETS: usize = NEXT + 8;
pub(super) const HEADS: usize = 192;
/// Naming takes microseconds; whoever takes longer was stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directory of a mapped segment.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    segment: Region<'a>,
    /// As it was checked when the segment was mapped.
    buckets: usize,
}

/// The right to name an object.
pub(crate) struct Naming<'a> {
    directory: Directory<'a>,
    mutex: &'a RawMutex,
}

/// How many chains a segment of `size` bytes gets for its names: one for each 512 bytes.
pub(crate) fn buckets_for(size: usize) -> usize {
    (size / 512).next_power_of_two()
}

/// Where the first object goes behind a directory of `buckets` chains.
pub(crate) fn first_object(buckets: usize) -> Option<usize> {
    HEADS.checked_add(buckets.checked_mul(size_of::<u64>())?)?.checked_next_multiple_of(LINE)
}

impl<'a> Directory<'a> {
    /// Makes the directory of a new segment, whose bytes are all zero; `None` if it has no room for one.
    pub(crate) fn set_up(segment: Region<'a>, buckets: usize) -> Option<Self> {
        let first = first_object(buckets)?;
        segment.slice(0, first)?;
        segment.word(NEXT)?.store(u64::try_from(first).ok()?, Ordering::Relaxed);
        segment.word(BUCKETS)?.store(u64::try_from(buckets).ok()?, Ordering::Relaxed);
        Some(Self { segment, buckets })
    }

    /// The directory of a segment that another process made.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it does not lie within the segment.
    pub(crate) fn check(segment: Region<'a>) -> Result<Self> {
        let checked = || {
            let found = segment.word(BUCKETS)?.load(Ordering::Relaxed);
            let buckets =
                usize::try_from(found).ok().filter(|&count| count == 0 || count.is_power_of_two())?;
            (first_object(buckets)? <= segment.len()).then_some(buckets)
        };
        let buckets = checked().ok_or_else(|| Error::Mismatch {
            object: "segment directory".to_owned(),
            expected: format!("0 or 2^n chains within {} bytes", segment.len()),
            found: segment.word(BUCKETS).map_or(0, |found| found.load(Ordering::Relaxed)).to_string(),
        })?;
        Ok(Self { segment, buckets })
    }

    /// A copy for the same segment, borrowed anew.
    pub(crate) fn at(segment: Region<'a>, buckets: usize) -> Self {
        Self { segment, buckets }
    }

    pub(crate) fn buckets(self) -> usize {
        self.buckets
    }

    /// Takes room for `bytes` at a multiple of `align`, a power of two; `None` if there is none, or a peer overwrote `next`.
    pub(crate) fn allocate(self, bytes: usize, align: usize) -> Option<usize> {
        let first = first_object(self.buckets)?;
        let next = self.segment.word(NEXT)?;
        let mut seen = next.load(Ordering::Relaxed);
        loop {
            let free = usize::try_from(seen).ok().filter(|&free| free >= first)?;
            let start = free.checked_next_multiple_of(align.max(LINE))?;
            let end = start.checked_add(bytes)?.checked_next_multiple_of(LINE)?;
            // The last object of a segment need not end at a line.
            if start.checked_add(bytes)? > self.segment.len() {
                return None;
            }
            // Relaxed: the bytes behind `next` are zero, and nobody's but whose store succeeds.
            match next.compare_exchange(seen, u64::try_from(end).ok()?, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(start),
                Err(now) => seen = now,
            }
        }
    }

    /// The bytes that are left at this moment.
    pub(crate) fn room(self) -> usize {
        let next = self.segment.word(NEXT).map_or(u64::MAX, |next| next.load(Ordering::Relaxed));
        self.segment.len().saturating_sub(usize::try_from(next).unwrap_or(usize::MAX))
    }

    /// Waits for the right to name objects.
    ///
    /// # Errors
    /// [`Error::Operation`] if somebody keeps it for ten seconds, or this thread can hold no more locks;
    /// [`Error::Unsupported`]; [`Error::Mismatch`] for a segment that has no names.
    pub(crate) fn lock(self) -> Result<Naming<'a>> {
        let without_names = || Error::Mismatch {
            object: "segment".to_owned(),
            expected: "a directory of names".to_owned(),
            found: "none".to_owned(),
        };
        let memory = self.segment.slice(DIRECTORY_OFFSET, size_of::<RawMutex>()).ok_or_else(without_names)?;
        if self.buckets == 0 {
            return Err(without_names());
        }
        // SAFETY: the bytes lie in the mapping, at a multiple of 8 (a mapping begins at a page); any bytes are a valid
        // mutex, which changes through atomics only; the region's lifetime keeps it mapped (I3).
        let mutex: &'a RawMutex = unsafe { memory.start().cast().as_ref() };
        // SAFETY: `Naming` borrows the region, which keeps the memory mapped, and unlocks when dropped.
        match unsafe { mutex.lock(Deadline::after(PATIENCE)) } {
            // What a dead holder left is whole: a link is one store.
            Ok(_) => mutex.recover(),
            Err(AcquireError::Unsupported(what)) => return Err(Error::Unsupported { what: what.to_owned() }),
            Err(error) => return Err(Error::operation(error)),
        }
        Ok(Naming { directory: self, mutex })
    }

    /// Where the header of the object `name` lies.
    pub(crate) fn find(self, name: &str) -> Option<usize> {
        self.chain(self.bucket_of(name)?).find(|&offset| self.is_named(offset, name).unwrap_or(false))
    }

    /// Where the headers of all named objects lie.
    pub(crate) fn objects(self) -> impl Iterator<Item = usize> {
        // A peer could make chains meet: no more objects than there is room for.
        let most = self.segment.len() / LINE;
        (0..self.buckets).flat_map(move |bucket| self.chain(bucket)).take(most)
    }

    /// A copy of the header at `offset`, which a peer may have written.
    pub(crate) fn header(self, offset: usize) -> Option<ObjectHeader> {
        let mut bytes = [0; size_of::<ObjectHeader>()];
        self.segment.load(offset, &mut bytes)?;
        Some(bytemuck::cast(bytes))
    }

    /// The objects of one chain, newest first.
    fn chain(self, bucket: usize) -> impl Iterator<Item = usize> {
        let follow = move |link: &AtomicU64| {
            // SYNC: Acquire <- `Naming::link`'s Release store: the object's header is seen whole. A later link of the
            // chain was read by its writer under the mutex, so it is seen too.
            let offset = usize::try_from(link.load(Ordering::Acquire)).ok()?;
            (offset != 0 && offset.is_multiple_of(LINE)).then_some(offset)
        };
        let head = bucket
            .checked_mul(size_of::<u64>())
            .and_then(|at| self.segment.word(HEADS.checked_add(at)?))
            .and_then(follow);
        let next = move |&offset: &usize| {
            let link = offset.checked_add(ObjectHeader::NEXT_OFFSET)?;
            self.segment.word(link).and_then(follow)
        };
        // A peer could make a chain a ring.
        std::iter::successors(head, next).take(self.segment.len() / LINE)
    }

    fn is_named(self, offset: usize, name: &str) -> Option<bool> {
        let header = self.header(offset)?;
        if header.name_len() != name.len() {
            return Some(false);
        }
        let mut bytes = [0; NAME_BYTES];
        let found = bytes.get_mut(..name.len())?;
        self.segment.load(offset.checked_add(header.name_offset())?, found)?;
        Some(found == name.as_bytes())
    }

    fn bucket_of(self, name: &str) -> Option<usize> {
        let mask = self.buckets.checked_sub(1)?;
        usize::try_from(hash(name)).ok().map(|hash| hash & mask)
    }
}

impl Naming<'_> {
    /// Gives the whole object at `offset`, whose header has the name, its name. Nobody else has that name.
    pub(crate) fn link(&self, offset: usize, name: &str) -> Option<()> {
        let Directory { segment, .. } = self.directory;
        let head = HEADS.checked_add(self.directory.bucket_of(name)?.checked_mul(size_of::<u64>())?)?;
        let head = segment.word(head)?;
        let next = segment.word(offset.checked_add(ObjectHeader::NEXT_OFFSET)?)?;
        next.store(head.load(Ordering::Relaxed), Ordering::Relaxed);
        // SYNC: Release -> `chain`'s Acquire: publishes the object and its header (D1).
        head.store(u64::try_from(offset).ok()?, Ordering::Release);
        Some(())
    }
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        // `Corrupt` after a peer's scribble: it is not held any more then.
        let _ = self.mutex.unlock();
    }
}

/// FNV-1a, so that each program finds what another one named.
fn hash(name: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = name.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The low bits choose the chain.
    hash ^ (hash >> 32)
}
