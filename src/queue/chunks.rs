//! [`Chunks`]: the chunks of a queue that grows, as this process has them mapped.
#![allow(unsafe_code)]

use std::cell::OnceCell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::{Layout, QueueHead};
use crate::error::Error;
use crate::raw::{Chunk, Growth, RingError};
use crate::segment::Placed;
use crate::sys::mapping::Mapping;
use crate::sys::memfd;

/// How many an operation uses: its own, the one that it links, the one with the oldest item.
const KEPT: usize = 3;

/// A part of the queue's file, mapped.
struct Mapped {
    offset: u64,
    words: usize,
    mapping: Mapping,
}

/// Those that were used last, the producers' and the consumers' as a rule: an operation that uses another keeps it for itself.
#[derive(Default)]
pub(super) struct Chunks {
    recent: Mutex<[Option<Arc<Mapped>>; 2]>,
}

/// A queue's memory during one operation.
pub(super) struct Growing<'a> {
    placed: &'a Placed<QueueHead>,
    layout: Layout,
    chunks: &'a Chunks,
    kept: [OnceCell<Arc<Mapped>>; KEPT],
}

impl<'a> Growing<'a> {
    #[inline]
    pub(super) fn new(placed: &'a Placed<QueueHead>, layout: Layout, chunks: &'a Chunks) -> Self {
        Self { placed, layout, chunks, kept: [const { OnceCell::new() }; KEPT] }
    }

    #[cold]
    fn chunk(&self, chunk: Chunk) -> Result<&[AtomicU64], RingError> {
        let (offset, words) = (chunk.offset(), chunk.words());
        let is_it = |mapped: &Mapped| mapped.offset == offset && mapped.words == words;
        for kept in &self.kept {
            let mapped = match kept.get() {
                Some(mapped) if !is_it(mapped) => continue,
                Some(mapped) => mapped,
                None => {
                    let mapped = self.find(offset, words)?;
                    kept.get_or_init(|| mapped)
                }
            };
            let region = mapped.mapping.region();
            // SAFETY: the mapping is `words` words long, begins at a page, and lives as long as `self`, which keeps it; its
            // words change through atomics only, and any bytes are valid ones (I3).
            return Ok(unsafe { std::slice::from_raw_parts(region.start().cast().as_ptr(), words) });
        }
        Err(RingError::Moved)
    }

    /// The chunk, mapped before or now.
    fn find(&self, offset: u64, words: usize) -> Result<Arc<Mapped>, RingError> {
        let mut recent = self.chunks.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut *recent;
        let is_it = |mapped: &Option<Arc<Mapped>>| {
            mapped.as_ref().is_some_and(|mapped| mapped.offset == offset && mapped.words == words)
        };
        if !is_it(first) {
            if !is_it(second) {
                *second = Some(Arc::new(self.map(offset, words)?));
            }
            std::mem::swap(first, second);
        }
        first.clone().ok_or(RingError::Corrupt)
    }

    /// For a look without a lease the chunk may have been drained meanwhile: it gets no pages again, but for one that is touched.
    fn map(&self, offset: u64, words: usize) -> Result<Mapped, RingError> {
        let file = self.placed.segment().descriptor().ok_or(RingError::Corrupt)?;
        let bytes = words.checked_mul(size_of::<AtomicU64>()).ok_or(RingError::Corrupt)?;
        let end = u64::try_from(bytes).ok().and_then(|bytes| offset.checked_add(bytes));
        let begin = u64::try_from(self.placed.segment().size()).map_err(|_| RingError::Corrupt)?;
        let long = memfd::facts(file).map_err(|_| RingError::Corrupt)?.size;
        // Behind the queue's object, and within the file, which is sealed against shrinking: else SIGBUS.
        if bytes == 0 || offset < begin || end.is_none_or(|end| end > long) {
            return Err(RingError::Corrupt);
        }
        let mapping = Mapping::part(file, offset, bytes).map_err(|_| RingError::OutOfMemory)?;
        Ok(Mapped { offset, words, mapping })
    }
}

impl Growth for Growing<'_> {
    #[inline]
    fn words(&self, chunk: Chunk) -> Result<&[AtomicU64], RingError> {
        if chunk.is_home() { self.layout.words(self.placed) } else { self.chunk(chunk) }
    }

    fn reserve(&self, chunk: Chunk) -> Result<(), RingError> {
        let file = self.placed.segment().descriptor().ok_or(RingError::Corrupt)?;
        memfd::reserve_part(file, chunk.offset(), bytes(chunk)).map_err(|error| match error {
            Error::OutOfMemory { .. } => RingError::OutOfMemory,
            _ => RingError::Unsupported("fallocate of a memory file"),
        })
    }

    fn release(&self, chunk: Chunk) {
        self.punch(chunk.offset(), chunk);
    }

    fn release_through(&self, chunk: Chunk) {
        self.punch(0, chunk);
    }
}

impl Growing<'_> {
    /// Takes the pages from `start` on, or from where chunks may begin, to the end of `chunk`.
    fn punch(&self, start: u64, chunk: Chunk) {
        let segment = self.placed.segment();
        let begin = u64::try_from(segment.size()).unwrap_or(u64::MAX).max(start);
        let Some(length) = chunk.offset().saturating_add(bytes(chunk)).checked_sub(begin) else { return };
        let Some(file) = segment.descriptor().filter(|_| length > 0) else { return };
        // Where that fails the pages stay.
        let _ = memfd::release_part(file, begin, length);
        let mut recent = self.chunks.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for mapped in &mut *recent {
            mapped.take_if(|mapped| mapped.offset == chunk.offset());
        }
    }
}

fn bytes(chunk: Chunk) -> u64 {
    u64::try_from(chunk.words()).unwrap_or(u64::MAX).saturating_mul(8)
}
