//! [`Layout`]: how a queue lies in its object.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::raw::{RawRing, RawTasks, Ring, RingError, RingShape, TaskEntry, Tasks};
use crate::segment::{ObjectType, Placed, Shape, Share, Site};

/// Bytes of an item that lie in its slot, where items differ in length; a slot is a cache line then. Longer ones lie in the
/// ring's data.
const INLINE_BYTES: usize = 48;
const LEAST_BYTES: usize = 512;

/// The head of a queue's object. Behind it: the ring's words, the task entries, the words of their payloads.
#[repr(C, align(64))]
pub(super) struct QueueHead {
    pub(super) ring: RawRing,
    pub(super) tasks: RawTasks,
    shape: [AtomicU64; 4],
    max_taken: AtomicU64,
    /// Words of a task's payload.
    task_words: AtomicU64,
}

// SAFETY: repr(C) of raw primitives and atomics; any bytes are valid, and all-zero ones are the initial state.
unsafe impl Share for QueueHead {}

/// The sizes of a queue, as they were checked when this process attached to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    shape: RingShape,
    max_taken: usize,
    task_words: usize,
}

impl Layout {
    /// That of a new queue of up to `max_items` items, all of `bytes` or of up to `max_message`, with room for `max_taken`
    /// tasks.
    pub(super) fn new(
        max_items: usize,
        bytes: Option<usize>,
        max_message: usize,
        ring_bytes: usize,
        max_taken: usize,
    ) -> Result<Self> {
        let too_large = || Error::beyond_addresses("create queue", u64::MAX);
        // Room for two of the longest.
        let ring_bytes = ring_bytes.max(max_message.saturating_mul(2)).max(LEAST_BYTES);
        let slots = |slot_bytes: usize| max_items.min(ring_bytes / slot_bytes).max(1);
        let shape = match bytes.and_then(|bytes| u32::try_from(bytes).ok()) {
            Some(bytes) => RingShape::fixed(slots(8 + max_message), bytes),
            // No data if every item fits into its slot.
            None if max_message <= INLINE_BYTES => {
                RingShape::varying(slots(INLINE_BYTES + 16), INLINE_BYTES, 0)
            }
            None => RingShape::varying(slots(INLINE_BYTES + 16), INLINE_BYTES, ring_bytes),
        };
        let task_words = if max_taken > 0 { max_message.div_ceil(8).next_multiple_of(8) } else { 0 };
        let layout = Self { shape: shape.ok_or_else(too_large)?, max_taken, task_words };
        layout.bytes().ok_or_else(too_large)?;
        Ok(layout)
    }

    /// Bytes behind the head.
    fn bytes(self) -> Option<usize> {
        self.payloads_at()?.checked_add(self.payload_words()?.checked_mul(8)?)
    }

    fn entries_at(self) -> Option<usize> {
        self.shape.words().checked_mul(8)
    }

    fn payloads_at(self) -> Option<usize> {
        self.entries_at()?.checked_add(self.max_taken.checked_mul(size_of::<TaskEntry>())?)
    }

    fn payload_words(self) -> Option<usize> {
        self.max_taken.checked_mul(self.task_words)
    }

    /// Makes a queue of this layout, for up to `max_items` items.
    pub(super) fn create(
        self,
        site: Site<'_>,
        ty: ObjectType,
        max_items: usize,
        (max_attempts, max_dead): (u32, u32),
    ) -> Result<Placed<QueueHead>> {
        let bytes = self.bytes().ok_or_else(|| Error::beyond_addresses("create queue", u64::MAX))?;
        let shape = Shape::new::<QueueHead>(ty, 1, bytes, 64);
        Placed::make(site, shape, |placed: &Placed<QueueHead>| {
            placed.ring.set_max_items(max_items as u64);
            placed.tasks.set_limits(max_attempts, max_dead);
            for (to, from) in placed.shape.iter().zip(self.shape.to_words()) {
                to.store(from, Ordering::Relaxed);
            }
            placed.max_taken.store(self.max_taken as u64, Ordering::Relaxed);
            placed.task_words.store(self.task_words as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    /// That of a queue which another process made, checked against the memory that is there.
    pub(super) fn of(placed: &Placed<QueueHead>) -> Result<Self> {
        let read = |value: &AtomicU64| usize::try_from(value.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let words = placed.shape.each_ref().map(|word| word.load(Ordering::Relaxed));
        let room = placed.tail().len();
        let layout = RingShape::from_words(words).map(|shape| Self {
            shape,
            max_taken: read(&placed.max_taken),
            task_words: read(&placed.task_words),
        });
        let fits = |layout: &Self| layout.bytes().is_some_and(|bytes| bytes <= room);
        layout.filter(fits).ok_or_else(|| Error::Mismatch {
            object: "queue".to_owned(),
            expected: format!("a ring and a task table within {room} bytes"),
            found: format!("{words:?}, {layout:?}"),
        })
    }

    /// The ring of `placed`, which has this layout.
    #[inline]
    pub(super) fn ring(self, placed: &Placed<QueueHead>) -> Result<Ring<'_>, RingError> {
        let words = placed.tail_slice(0, self.shape.words()).ok_or(RingError::Corrupt)?;
        placed.ring.with_words(self.shape, words)
    }

    /// The tasks of `placed`, which has this layout.
    pub(super) fn tasks(self, placed: &Placed<QueueHead>) -> Result<Tasks<'_>, RingError> {
        let slices = || {
            let entries = placed.tail_slice(self.entries_at()?, self.max_taken)?;
            Some((entries, placed.tail_slice(self.payloads_at()?, self.payload_words()?)?))
        };
        let (entries, payloads) = slices().ok_or(RingError::Corrupt)?;
        Ok(Tasks { ring: self.ring(placed)?, raw: &placed.tasks, entries, payloads })
    }

    /// Whether items can be taken as tasks.
    #[inline]
    pub(super) fn has_tasks(self) -> bool {
        self.max_taken != 0
    }

    /// Bytes of the longest encoded item.
    #[inline]
    pub(super) fn max_message(self) -> usize {
        let ring = usize::try_from(self.shape.max_payload()).unwrap_or(usize::MAX);
        if self.max_taken == 0 { ring } else { ring.min(self.task_words.saturating_mul(8)) }
    }
}
