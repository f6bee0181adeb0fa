//! [`Layout`]: how a queue lies in its object.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::raw::{Home, Quick, RawRing, RawTasks, Ring, RingError, RingShape, TaskEntry, Tasks};
use crate::segment::{ObjectType, Placed, Shape, Share, Site};

/// Bytes of an item that lie in its slot, where items differ in length; a slot is a cache line then. Longer ones lie in the
/// ring's data.
const INLINE_BYTES: usize = 48;
const LEAST_BYTES: usize = 512;
/// Of the home ring of an unbounded queue: its slots, and the data of a ring that has any.
const HOME_BYTES: usize = 64 << 10;
const HOME_DATA: usize = 32 << 10;
/// Items of one length lie in slots up to so many bytes; the longer ones of a queue that grows in its data.
const MOST_FIXED: usize = 4 << 10;

/// The head of a queue's object. Behind it: the ring's words, the task entries, the words of their payloads.
#[repr(C, align(64))]
pub(super) struct QueueHead {
    pub(super) ring: RawRing,
    pub(super) tasks: RawTasks,
    shape: [AtomicU64; 4],
    max_taken: AtomicU64,
    /// Words of a task's payload.
    task_words: AtomicU64,
    /// Bytes of the longest item of a queue that grows; 0 if it doesn't.
    longest: AtomicU64,
}

// SAFETY: repr(C) of raw primitives and atomics; any bytes are valid, and all-zero ones are the initial state.
unsafe impl Share for QueueHead {}

/// The sizes of a queue, as they were checked when this process attached to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    shape: RingShape,
    max_taken: usize,
    task_words: usize,
    /// Bytes of the longest item, if the queue grows.
    grows: Option<usize>,
    home: Home,
    /// Bytes of the longest encoded item.
    max_message: usize,
}

impl Layout {
    /// That of a new queue that grows, of items all of `bytes` or of up to `max_message`, with room for `max_taken` tasks;
    /// with `max_items`, its home ring has the slots for so many, as far as they fit into `ring_bytes`.
    pub(super) fn growing(
        max_items: usize,
        bytes: Option<usize>,
        max_message: usize,
        ring_bytes: usize,
        max_taken: usize,
    ) -> Result<Self> {
        let bytes = bytes.filter(|&bytes| bytes <= MOST_FIXED);
        let unbounded = max_items == usize::MAX;
        let slot = if bytes.is_some() { 8 + max_message.next_multiple_of(8) } else { INLINE_BYTES + 16 };
        let in_bytes = if unbounded { HOME_BYTES / slot } else { ring_bytes / slot };
        // One more, for the mark; and not rounded up to more than there are bytes for.
        let most = 1 << in_bytes.max(2).ilog2();
        let slots = most.min(max_items.saturating_add(1));
        let data = match max_message {
            _ if unbounded => HOME_DATA,
            longest => ring_bytes.max(longest.saturating_mul(2)),
        };
        let shape = match bytes.and_then(|bytes| u32::try_from(bytes).ok()) {
            Some(bytes) => RingShape::fixed(slots, bytes),
            None => {
                RingShape::varying(slots, INLINE_BYTES, if max_message <= INLINE_BYTES { 0 } else { data })
            }
        };
        let longest = shape.map_or(max_message, |shape| {
            usize::try_from(Ring::longest_of_growing(shape)).map_or(max_message, |most| most.min(max_message))
        });
        Self::with_tasks(shape, max_taken, longest, Some(longest))
    }

    /// Whether a ring of this layout holds `max_items` items, whatever their length.
    pub(super) fn holds(self, max_items: usize) -> bool {
        let data = match self.shape.fixed_bytes() {
            Some(_) => Some(0),
            None if self.max_message() <= INLINE_BYTES => Some(0),
            None => max_items.checked_mul(self.max_message()),
        };
        // What does not fit before the data's end goes to its start.
        self.shape.items() >= max_items
            && data.is_some_and(|data| data <= self.shape.data_words().saturating_mul(4))
    }

    /// That of a new queue of up to `max_items` items, all of `bytes` or of up to `max_message`, with room for `max_taken`
    /// tasks.
    pub(super) fn new(
        max_items: usize,
        bytes: Option<usize>,
        max_message: usize,
        ring_bytes: usize,
        max_taken: usize,
    ) -> Result<Self> {
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
        Self::with_tasks(shape, max_taken, max_message, None)
    }

    /// A ring of that shape, if there is one, and room for so many tasks of up to `longest` bytes.
    fn with_tasks(
        shape: Option<RingShape>,
        max_taken: usize,
        longest: usize,
        grows: Option<usize>,
    ) -> Result<Self> {
        let task_words = if max_taken > 0 { longest.div_ceil(8).next_multiple_of(8) } else { 0 };
        let layout = shape.map(|shape| Self::assemble(shape, max_taken, task_words, grows));
        layout
            .filter(|layout| layout.bytes().is_some())
            .ok_or_else(|| Error::beyond_addresses("create queue", u64::MAX))
    }

    fn assemble(shape: RingShape, max_taken: usize, task_words: usize, grows: Option<usize>) -> Self {
        let ring = match grows {
            Some(longest) => longest,
            None => usize::try_from(shape.max_payload()).unwrap_or(usize::MAX),
        };
        let max_message = if max_taken == 0 { ring } else { ring.min(task_words.saturating_mul(8)) };
        let home = Home::new(shape, grows.is_some());
        Self { shape, max_taken, task_words, grows, home, max_message }
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
            if let Some(longest) = self.grows {
                placed.ring.set_base(placed.segment().size() as u64);
                placed.longest.store(longest as u64, Ordering::Relaxed);
            }
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
        let layout = RingShape::from_words(words).map(|shape| {
            let grows = Some(read(&placed.longest)).filter(|&longest| longest > 0);
            Self::assemble(shape, read(&placed.max_taken), read(&placed.task_words), grows)
        });
        let grows = placed.segment().grows();
        let fits = |layout: &Self| {
            layout.bytes().is_some_and(|bytes| bytes <= room) && layout.grows.is_some() == grows
        };
        layout.filter(fits).ok_or_else(|| Error::Mismatch {
            object: "queue".to_owned(),
            expected: format!("a ring and a task table within {room} bytes"),
            found: format!("{words:?}, {layout:?}"),
        })
    }

    /// The ring of `placed`, which has this layout.
    #[inline]
    pub(super) fn ring(self, placed: &Placed<QueueHead>) -> Result<Ring<'_>, RingError> {
        placed.ring.with_words(self.shape, self.words(placed)?)
    }

    /// The home ring of `placed`, which has this layout, for operations the short way.
    #[inline(always)]
    pub(super) fn quick(self, placed: &Placed<QueueHead>) -> Option<Quick<'_>> {
        Some(placed.ring.quick(self.home, placed.tail_slice(0, self.home.words())?))
    }

    /// The words of the ring of `placed`, which has this layout; of its home ring, if it grows.
    #[inline]
    pub(super) fn words(self, placed: &Placed<QueueHead>) -> Result<&[AtomicU64], RingError> {
        placed.tail_slice(0, self.shape.words()).ok_or(RingError::Corrupt)
    }

    /// Whether the queue grows.
    pub(super) fn grows(self) -> bool {
        self.grows.is_some()
    }

    #[inline]
    pub(super) fn shape(self) -> RingShape {
        self.shape
    }

    /// The table of the tasks of `placed`, which has this layout.
    #[cfg(feature = "inspect")]
    pub(super) fn entries(self, placed: &Placed<QueueHead>) -> Option<&[TaskEntry]> {
        placed.tail_slice(self.entries_at()?, self.max_taken)
    }

    /// The tasks of `placed`, which has this layout and this ring.
    pub(super) fn tasks<'a>(
        self,
        placed: &'a Placed<QueueHead>,
        ring: Ring<'a>,
    ) -> Result<Tasks<'a>, RingError> {
        let slices = || {
            let entries = placed.tail_slice(self.entries_at()?, self.max_taken)?;
            Some((entries, placed.tail_slice(self.payloads_at()?, self.payload_words()?)?))
        };
        let (entries, payloads) = slices().ok_or(RingError::Corrupt)?;
        Ok(Tasks { ring, raw: &placed.tasks, entries, payloads })
    }

    /// Whether items can be taken as tasks.
    #[inline]
    pub(super) fn has_tasks(self) -> bool {
        self.max_taken != 0
    }

    /// Bytes of the longest encoded item.
    #[inline]
    pub(super) fn max_message(self) -> usize {
        self.max_message
    }
}
