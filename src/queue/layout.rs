//! [`Layout`]: how a queue lies in its object.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::raw::{RawRing, RawTasks, Ring, RingError, TaskEntry, Tasks};
use crate::segment::{ObjectType, Placed, Shape, Share, Site};

/// The head of a queue's object. Behind it: the ring's words, the task entries, the words of their payloads.
#[repr(C, align(64))]
pub(super) struct QueueHead {
    pub(super) ring: RawRing,
    pub(super) tasks: RawTasks,
    ring_words: AtomicU64,
    max_taken: AtomicU64,
    /// Words of a task's payload.
    task_words: AtomicU64,
}

// SAFETY: repr(C) of raw primitives and atomics; any bytes are valid, and all-zero ones are the initial state.
unsafe impl Share for QueueHead {}

/// The sizes of a queue, as they were checked when this process attached to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    ring_words: usize,
    max_taken: usize,
    task_words: usize,
}

impl Layout {
    /// That of a new queue, with room for `max_taken` tasks of `max_message` bytes.
    pub(super) fn new(max_message: usize, ring_bytes: usize, max_taken: usize) -> Result<Self> {
        // A record takes half of the ring at most, its header of two words included.
        let least = max_message.div_ceil(8).saturating_add(2).next_multiple_of(4).saturating_mul(2);
        let words = least.max(ring_bytes.div_ceil(8)).max(64);
        let too_large = || Error::OutOfMemory { operation: "create queue", bytes: u64::MAX };
        let records = words.checked_next_power_of_two().filter(|&words| words <= 1 << 32);
        let ring_words = records.map(|words| words + words / 4);
        let task_words = if max_taken > 0 { max_message.div_ceil(8).next_multiple_of(8) } else { 0 };
        let layout = Self { ring_words: ring_words.ok_or_else(too_large)?, max_taken, task_words };
        layout.bytes().ok_or_else(too_large)?;
        Ok(layout)
    }

    /// Bytes behind the head.
    fn bytes(self) -> Option<usize> {
        self.payloads_at()?.checked_add(self.payload_words()?.checked_mul(8)?)
    }

    fn entries_at(self) -> Option<usize> {
        self.ring_words.checked_mul(8)
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
        let bytes = self.bytes().ok_or(Error::OutOfMemory { operation: "create queue", bytes: u64::MAX })?;
        let shape = Shape::new::<QueueHead>(ty, 1, bytes, 64);
        Placed::make(site, shape, |placed: &Placed<QueueHead>| {
            placed.ring.set_max_items(max_items as u64);
            placed.tasks.set_limits(max_attempts, max_dead);
            placed.ring_words.store(self.ring_words as u64, Ordering::Relaxed);
            placed.max_taken.store(self.max_taken as u64, Ordering::Relaxed);
            placed.task_words.store(self.task_words as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    /// That of a queue which another process made, checked against the memory that is there.
    pub(super) fn of(placed: &Placed<QueueHead>) -> Result<Self> {
        let read = |value: &AtomicU64| usize::try_from(value.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let layout = Self {
            ring_words: read(&placed.ring_words),
            max_taken: read(&placed.max_taken),
            task_words: read(&placed.task_words),
        };
        let room = placed.tail().len();
        let is_ring = layout.record_words() + layout.record_words() / 4 == layout.ring_words;
        if layout.ring_words == 0 || !is_ring || layout.bytes().is_none_or(|bytes| bytes > room) {
            return Err(Error::Mismatch {
                object: "queue".to_owned(),
                expected: format!("a ring and a task table within {room} bytes"),
                found: format!("{layout:?}"),
            });
        }
        Ok(layout)
    }

    /// The ring of `placed`, which has this layout.
    pub(super) fn ring(self, placed: &Placed<QueueHead>) -> Result<Ring<'_>, RingError> {
        let words = placed.tail_slice(0, self.ring_words).ok_or(RingError::Corrupt)?;
        placed.ring.with_words(words)
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

    /// How many of the ring's words hold records; the others are the records' states. 0 if they make no ring.
    fn record_words(self) -> usize {
        let words = self.ring_words / 5 * 4;
        if words.is_power_of_two() && (8..=1 << 32).contains(&words) { words } else { 0 }
    }

    /// Whether items can be taken as tasks.
    pub(super) fn has_tasks(self) -> bool {
        self.max_taken != 0
    }

    /// Bytes of the longest encoded item.
    pub(super) fn max_message(self) -> usize {
        let ring = ((self.record_words() / 2 - 2) * 8).min(u32::MAX as usize);
        if self.max_taken == 0 { ring } else { ring.min(self.task_words.saturating_mul(8)) }
    }
}
