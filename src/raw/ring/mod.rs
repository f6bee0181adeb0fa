//! [`RawRing`]: a many-to-many queue of items, bounded, or growing by chunks (`growth.rs`).
//!
//! Producers serialise on one lease, consumers on another, only while an item moves and never across a sleep. Item n has
//! slot n modulo the number of slots. The commit of an item is one store, in the first word of its slot, and so is its
//! free: the state word, which lies beside the payload, is all that travels.
//!
//! ```text
//! slot of item n   a producer (holds `producing`)               a consumer (holds `consuming`)
//! NotReady(n)      writes the payload, then commits: Ready(n)   empty: sleeps on this slot
//! Ready(n)         full: sleeps on the slot of the oldest item  copies the payload, then frees: NotReady(n + slots)
//! Closed(n)        refuses                                      drained: refuses
//! Moved(n)         goes on in the next chunk                    drained: goes on in the next chunk
//! ```
//!
//! **Payloads** lie in their slots if they fit. Longer ones lie whole in the *data*, a second ring of words in which each
//! follows the one put before it; one that does not fit before its end goes to its start. The word behind the state says
//! how long the payload is, and where its data begins (or the next one's would), so what lies between the oldest item's
//! beginning and the end of the newest one is in use. In a ring for payloads of one length there is neither that word nor
//! data.
//!
//! **Positions** are numbers of items. Each end's own lie beside its lease and are stored after every item, so that after
//! a holder's death at most one item is ahead of them:
//! - `tail` (producers): its slot is NotReady, but for the dead holder's commit: repaired by one step.
//! - `head` (consumers): its slot is the item's own, but for the dead holder's free: repaired by one step.
//! - `free` (producers): every item before it was freed. Moved on when the ring seems full.
//! - `data_tail`, `data_free` (producers): where the next data goes; all before may be overwritten. Stored before `tail`,
//!   and repaired from the header of the item that was committed.
//!
//! States carry numbers, so that one look at a slot says what has become of its item, whatever has happened since the
//! position was read. Puts are the tail, or one more if its item is committed; gets the same of the head.
//!
//! **Waiting.** Whoever finds nothing to do goes to its end's waiting room, a lease whose only holder spins, then sleeps
//! on the slot that it waits for; the others sleep on the lease, and the kernel passes it on at a death. What is waited
//! for changes the very word that is slept on, so that a waiter who comes late does not fall asleep; and it leaves the
//! word's thread-id bits zero while the other end has it *pending*, so that a waiter who sleeps is woken by the kernel
//! if the other end is killed before its wake. After each slice those in the room's queue look for themselves, so that a
//! *stopped* holder of the room delays them by no more than that. A slot's state is never anything else, whatever lap the
//! ring is in: a thread may die with it pending long after, and the kernel then changes a word in which it finds the
//! thread's id.
//!
//! **The short way** (`quick.rs`) comes first in every put and get of one item: the same steps, and nothing else. Where anything
//! is unusual it does nothing, and the long way follows. Those of an exclusive endpoint come with what it knows (`cursor.rs`).
//!
//! **Fairness.** None: whoever comes while an item is ready gets it (barging). Items of one producer keep their order.
//!
//! **Ordering.** (R1) commit Release -> consumer's Acquire: the payload. (R2) free Release -> producer's Acquire: the
//! payload has been read. (R3) free seen, Release fence, header overwritten -> header, Acquire fence, state: who reads a
//! header without a lease and finds it reused sees that the state has moved. (R4) commit or free, barrier, hint <-> hint,
//! SeqCst fence, slot: the sleeper is seen, or what it sleeps for. On x86-64 the barrier is the release of the lease.
//! (R5) is of exclusive endpoints, which keep a lease (`endpoint.rs`).
//!
//! # References
//! D. Vyukov's bounded MPMC queue (the sequence in the slot is the commit).

mod bulk;
mod chunk;
mod consumer;
mod cursor;
mod endpoint;
mod error;
mod growth;
mod producer;
mod quick;
mod shape;
mod slot;
#[cfg(all(test, not(loom)))]
mod tests;
mod waiting;

use core::sync::atomic::Ordering;

use super::RawMutex;
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::futex::{self, Half};
pub(crate) use bulk::{read as read_item, read_to as read_item_to, write as write_item};
use chunk::HEAD_WORDS;
pub(crate) use chunk::{Chunk, Growth};
pub(crate) use consumer::{Consuming, Item};
pub(crate) use cursor::Cursor;
use endpoint::Access;
pub(crate) use endpoint::Fences;
use error::Corrupt;
pub use error::RingError;
use growth::Chain;
pub(crate) use quick::{Home, Quick};
pub use shape::RingShape;
pub(crate) use slot::read_whole as read_whole_words;
use slot::{Header, State};
pub(crate) use slot::{read, write};
use waiting::Hint;
pub(crate) use waiting::{Attempt, Spot, Wait};

/// Looks for a moment at which a position stands still; a count read in none of them is a little off.
const LOOKS: u32 = 1000;

/// A waiting room: its holder alone sleeps on a slot.
#[repr(C, align(64))]
#[derive(Debug)]
struct Room {
    lease: RawMutex,
    /// Who keeps the room's end for itself, if somebody does.
    keeper: AtomicU32,
}

impl Room {
    fn new() -> Self {
        Self { lease: RawMutex::new(), keeper: AtomicU32::new(0) }
    }
}

/// The producers' lease and what only its holder writes.
#[repr(C, align(64))]
#[derive(Debug)]
struct ProducerLine {
    lease: RawMutex,
    tail: AtomicU64,
    free: AtomicU64,
    /// Both in words, modulo 2^32.
    data_tail: AtomicU32,
    data_free: AtomicU32,
}

/// The consumers' lease and what only its holder writes.
#[repr(C, align(64))]
#[derive(Debug)]
struct ConsumerLine {
    lease: RawMutex,
    head: AtomicU64,
    /// How many of the items before number n were *got* and not taken as tasks, at index n & 1.
    got: [AtomicU64; 2],
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Settings {
    max_items: AtomicU64,
    /// Nonzero: nobody puts any more, and whoever can commits the end.
    closing: AtomicU32,
    /// The chunk that the producers fill, and the one that the consumers drain: 0 at home. Written under the end's lease.
    tail_chunk: AtomicU64,
    head_chunk: AtomicU64,
}

/// The control part of a ring, 512 bytes; its words lie elsewhere and are passed to every operation. All-zero bytes are
/// an empty ring that takes no item, until [`RawRing::set_max_items`].
///
/// # Process death
/// A producer killed before its commit leaves nothing, a consumer killed before it freed an item leaves it to the next.
/// Whoever sleeps is woken for what the dead one had committed.
///
/// # Examples
/// ```
/// use std::sync::atomic::AtomicU64;
/// use multiproc::raw::{RawRing, RingShape};
/// let shape = RingShape::fixed(4, 8).expect("it is small");
/// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
/// let raw = RawRing::new(4);
/// let ring = raw.with_words(shape, &words)?;
/// // SAFETY: the ring and its words stay where they are.
/// unsafe { ring.put(&7_u64.to_ne_bytes(), None) }?;
/// let mut payload = Vec::new();
/// // SAFETY: as above.
/// unsafe { ring.get(&mut payload, None) }?;
/// assert_eq!(payload, 7_u64.to_ne_bytes());
/// # Ok::<(), multiproc::raw::RingError>(())
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub struct RawRing {
    producing: ProducerLine,
    consuming: ConsumerLine,
    producers_room: Room,
    consumers_room: Room,
    producer_sleeps: Hint,
    consumer_sleeps: Hint,
    settings: Settings,
    chain: Chain,
}

/// A ring together with its words; of one that grows, with those of one of its chunks.
///
/// # Examples
/// ```
/// use std::sync::atomic::AtomicU64;
/// use multiproc::raw::{RawRing, RingShape};
/// let shape = RingShape::fixed(4, 8).expect("it is small");
/// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
/// let raw = RawRing::new(4);
/// let ring = raw.with_words(shape, &words)?;
/// // SAFETY: the ring and its words stay where they are.
/// unsafe { ring.put(&[7; 8], None) }?;
/// assert_eq!(ring.len()?, 1);
/// # Ok::<(), multiproc::raw::RingError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    ring: &'a RawRing,
    slots: &'a [AtomicU64],
    /// A power of two of words, or none; in a chunk, where no place is used twice, the slots' words.
    data: &'a [AtomicU64],
    shape: RingShape,
    /// How operations come to their end's lease.
    access: Access,
    /// The number of the first item in a chunk.
    base: u64,
    chunk: Chunk,
    /// What comes before the slots of a chunk.
    head: Option<&'a [AtomicU64; HEAD_WORDS]>,
    /// If it grows.
    growth: Option<&'a dyn Growth>,
}

/// The slot of an item.
#[derive(Clone, Copy)]
struct Slot<'a> {
    state: &'a AtomicU64,
    /// What follows the state: a header, if the ring has them, and the payload.
    rest: &'a [AtomicU64],
}

impl RawRing {
    /// An empty ring for at most `max_items` items at a time.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawRing::new(4).max_items(), 4);
    /// ```
    #[must_use]
    pub fn new(max_items: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            producing: ProducerLine {
                lease: RawMutex::new(),
                tail: zero(),
                free: zero(),
                data_tail: AtomicU32::new(0),
                data_free: AtomicU32::new(0),
            },
            consuming: ConsumerLine { lease: RawMutex::new(), head: zero(), got: [zero(), zero()] },
            producers_room: Room::new(),
            consumers_room: Room::new(),
            producer_sleeps: Hint::new(),
            consumer_sleeps: Hint::new(),
            settings: Settings {
                max_items: AtomicU64::new(max_items),
                closing: AtomicU32::new(0),
                tail_chunk: zero(),
                head_chunk: zero(),
            },
            chain: Chain::new(),
        }
    }

    /// What says which chunk the consumers drain.
    #[cfg(all(test, not(loom), feature = "serde"))]
    pub(crate) fn head_chunk_word(&self) -> u64 {
        self.head_chunk().to_word()
    }

    /// The producers' lease.
    #[cfg(all(test, loom))]
    pub(super) fn producers_lease(&self) -> &RawMutex {
        &self.producing.lease
    }

    /// The lease of the consumers' waiting room.
    #[cfg(all(test, loom))]
    pub(super) fn consumers_room(&self) -> &RawMutex {
        &self.consumers_room.lease
    }

    /// Sets the bound of a ring that nobody else uses yet.
    ///
    /// # Examples
    /// ```
    /// let ring = multiproc::raw::RawRing::new(0);
    /// ring.set_max_items(4);
    /// assert_eq!(ring.max_items(), 4);
    /// ```
    pub fn set_max_items(&self, max_items: u64) {
        self.settings.max_items.store(max_items, Ordering::Relaxed); // Relaxed: before it is shared.
    }

    /// How many items there may be at a time, if there are slots for so many.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawRing::new(4).max_items(), 4);
    /// ```
    #[must_use]
    #[inline]
    pub fn max_items(&self) -> u64 {
        self.settings.max_items.load(Ordering::Relaxed) // Relaxed: it never changes.
    }

    /// Whether the ring is closed, or being closed.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::raw::RawRing::new(4).is_closed());
    /// ```
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.settings.closing.load(Ordering::Relaxed) != 0 // Relaxed: what it leads to takes a lease.
    }

    /// The ring with its words, at first all zero, and the same shape at each call. More words than the shape has are of
    /// no use.
    ///
    /// # Errors
    /// `Corrupt` if there are fewer.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// assert!(ring.is_empty()?);
    /// assert!(raw.with_words(shape, &words[1..]).is_err());
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[inline]
    pub fn with_words<'a>(&'a self, shape: RingShape, words: &'a [AtomicU64]) -> Result<Ring<'a>, RingError> {
        let parts = || {
            let (slots, data) = words.split_at_checked(shape.slot_area())?;
            Some((slots, data.get(..shape.data_words())?))
        };
        let (slots, data) = parts().ok_or(RingError::Corrupt)?;
        let (access, chunk) = (Access::Shared, Chunk::HOME);
        Ok(Ring { ring: self, slots, data, shape, access, base: 0, chunk, head: None, growth: None })
    }

    /// Sets where the chunks of a ring begin that nobody else uses yet, in bytes of its file.
    pub(crate) fn set_base(&self, bytes: u64) {
        self.chain.set_base(bytes);
    }

    /// Whether somebody seems to wait at the producers' end, and at the consumers'.
    pub(crate) fn waiters(&self) -> (bool, bool) {
        (self.producers_room.lease.is_locked(), self.consumers_room.lease.is_locked())
    }

    /// Adds to `seen` those leases of both ends and their waiting rooms that are not free.
    #[cfg(feature = "inspect")]
    pub(crate) fn look(&self, seen: &mut Vec<super::LeaseInfo>) {
        self.producing.lease.look("producer", seen);
        self.consuming.lease.look("consumer", seen);
        self.producers_room.lease.look("waits for room", seen);
        self.consumers_room.lease.look("waits for an item", seen);
    }

    /// The chunk that the producers fill.
    #[inline]
    pub(crate) fn tail_chunk(&self) -> Chunk {
        // SYNC: Acquire <- `enter`'s Release: the chunk's header.
        Chunk::from_word(self.settings.tail_chunk.load(Ordering::Acquire))
    }

    /// The chunk that the consumers drain.
    #[inline]
    pub(crate) fn head_chunk(&self) -> Chunk {
        // SYNC: Acquire <- `step`'s Release: the chunk's header.
        Chunk::from_word(self.settings.head_chunk.load(Ordering::Acquire))
    }

    /// The ring, which grows, with the words of one of its chunks; `shape` is that of its home ring.
    ///
    /// # Errors
    /// Those of [`Growth::words`].
    #[inline]
    pub(crate) fn growing<'a>(
        &'a self,
        shape: RingShape,
        chunk: Chunk,
        growth: &'a dyn Growth,
    ) -> Result<Ring<'a>, RingError> {
        let words = growth.words(chunk)?;
        if chunk.is_home() {
            return Ok(Ring { growth: Some(growth), ..self.with_words(shape, words)? });
        }
        let (head, words) = words.split_first_chunk::<HEAD_WORDS>().ok_or(RingError::Corrupt)?;
        let [_, first, ..] = head;
        // SYNC: Acquire <- the kernel's punch, and `prepare`'s Release after it: whoever is late sees that the name has changed
        // (G1). Looked at again under the lease.
        let base = first.load(Ordering::Acquire);
        let (access, head, growth) = (Access::Shared, Some(head), Some(growth));
        Ok(Ring { ring: self, slots: words, data: words, shape, access, base, chunk, head, growth })
    }
}

impl<'a> Ring<'a> {
    /// Bytes of the longest payload, which always fits into an empty ring.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// assert_eq!(ring.max_payload(), 8);
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn max_payload(self) -> u64 {
        if self.growth.is_some() && self.shape.fixed_bytes().is_none() {
            return Self::longest_of_growing(self.shape);
        }
        self.shape.max_payload()
    }

    /// Bytes of the longest payload that goes into a chunk of a ring that grows, whose home ring has this shape.
    pub(crate) fn longest_of_growing(shape: RingShape) -> u64 {
        Chunk::longest_payload(shape.slot_words())
    }

    /// The ring without its words.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// assert_eq!(ring.raw().max_items(), 4);
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[must_use]
    pub fn raw(self) -> &'a RawRing {
        self.ring
    }

    /// Items in the ring at one moment, also after a death.
    ///
    /// # Errors
    /// `Corrupt`.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// assert_eq!(ring.len()?, 0);
    /// // SAFETY: the ring and its words stay where they are.
    /// unsafe { ring.try_put(&[7; 8]) }?;
    /// assert_eq!(ring.len()?, 1);
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    pub fn len(self) -> Result<u64, RingError> {
        let mut gets = self.gets()?;
        let mut len = 0;
        for _ in 0..LOOKS {
            len = self.puts()?.saturating_sub(gets);
            // If nothing was got meanwhile, that is what there was when the puts were counted.
            let now = self.gets()?;
            if now == gets {
                break;
            }
            gets = now;
        }
        // Chunks are no bound.
        Ok(len.min(if self.growth.is_some() { self.ring.max_items() } else { self.bound() }))
    }

    /// Whether [`len`](Self::len) is 0.
    ///
    /// # Errors
    /// `Corrupt`.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// assert!(ring.is_empty()?);
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    pub fn is_empty(self) -> Result<bool, RingError> {
        Ok(self.len()? == 0)
    }

    /// Items that were ever put.
    pub(crate) fn puts(&self) -> Result<u64, RingError> {
        // An item that is there counts, and a slot that has gone on to a later lap had it.
        let is_put = |state| matches!(state, State::Ready | State::Later);
        self.in_chunk(&self.ring.settings.tail_chunk, |ring| ring.passed(&ring.ring.producing.tail, is_put))
    }

    /// Items that were ever got or taken.
    pub(crate) fn gets(&self) -> Result<u64, RingError> {
        let is_got = |state| state == State::Later;
        self.in_chunk(&self.ring.settings.head_chunk, |ring| ring.passed(&ring.ring.consuming.head, is_got))
    }

    /// A position, or one more if its item `is_past` too: a dead holder's last step may be ahead of it.
    fn passed(&self, position: &AtomicU64, is_past: impl Fn(State) -> bool) -> Result<u64, Corrupt> {
        let mut passed = 0;
        for _ in 0..LOOKS {
            // SYNC: Acquire <- the holder's Release of the position: the states of all items before it are seen.
            let at = position.load(Ordering::Acquire);
            let (_, state) = self.look(at)?;
            if !is_past(state) {
                return Ok(at);
            }
            // The next one's turn comes when the position has moved.
            if position.load(Ordering::Relaxed) == at {
                return Ok(at.wrapping_add(1));
            }
            passed = at.wrapping_add(1);
        }
        Ok(passed)
    }

    /// Of the gets, the ones that were not taken as tasks.
    pub(super) fn got(&self) -> Result<u64, RingError> {
        let [even, odd] = &self.ring.consuming.got;
        let mut gets = self.gets()?;
        let mut got = 0;
        for _ in 0..LOOKS {
            let place = if gets.is_multiple_of(2) { even } else { odd };
            // SYNC: Acquire <- `Consuming::free`'s Release: a place that was reused, two gets later, shows the gets.
            got = place.load(Ordering::Acquire);
            let now = self.gets()?;
            if now == gets {
                break;
            }
            gets = now;
        }
        Ok(got)
    }

    /// Wakes a consumer that sleeps, to look for something else than an item. One that is just falling asleep may miss
    /// it until its slice ends.
    pub(super) fn nudge_consumers(&self) {
        let head = self.ring.consuming.head.load(Ordering::Relaxed); // Relaxed: a hint.
        if let Ok(slot) = self.in_chunk(&self.ring.settings.head_chunk, |ring| ring.slot(head)) {
            futex::wake(futex::half(slot.state, Half::Low), futex::ALL);
        }
    }

    /// How many items there may be at a time, in the home ring if it grows: a slot is for the mark then.
    #[inline(always)]
    fn bound(&self) -> u64 {
        let mark = u64::from(self.growth.is_some());
        self.ring.max_items().min(wide(self.shape.items()).wrapping_sub(mark))
    }

    /// The slot of item `number`.
    #[inline(always)]
    fn slot(&self, number: u64) -> Result<Slot<'a>, Corrupt> {
        let mask = if self.chunk.is_home() { wide(self.shape.items()).wrapping_sub(1) } else { u64::MAX };
        let index = usize::try_from(number.wrapping_sub(self.base) & mask).map_err(|_| Corrupt)?;
        let words = self.shape.slot_words();
        let at = index.wrapping_mul(words);
        let (state, rest) =
            self.slots.get(at..at.wrapping_add(words)).and_then(<[_]>::split_first).ok_or(Corrupt)?;
        Ok(Slot { state, rest })
    }

    /// What has become of item `number`, and the state word that says so.
    #[inline(always)]
    fn look(&self, number: u64) -> Result<(u64, State), Corrupt> {
        // SYNC: Acquire <- the commit's or the free's Release (R1, R2): the payload, or that it has been read.
        let word = self.slot(number)?.state.load(Ordering::Acquire);
        Ok((word, slot::state(word, number)?))
    }

    /// Where the payload in `slot` lies, and its bytes. For who has a lease that keeps the header, or writes it.
    #[inline(always)]
    fn payload(&self, slot: Slot<'a>, header: Header) -> Result<(&'a [AtomicU64], usize), Corrupt> {
        let length = usize::try_from(header.length).map_err(|_| Corrupt)?;
        if self.shape.fixed_bytes().is_some() {
            return Ok((slot.rest, length));
        }
        if length > self.shape.inline_bytes() {
            return Ok((self.data(header.start, length)?, length));
        }
        let (_, inline) = slot.rest.split_first().ok_or(Corrupt)?;
        Ok((inline, length))
    }

    /// The header in `slot`.
    #[inline(always)]
    fn header(&self, slot: Slot<'a>) -> Result<Header, Corrupt> {
        match self.shape.fixed_bytes() {
            Some(length) => Ok(Header { length, start: 0 }),
            // Relaxed: written before the item was committed, which who asks has seen.
            None => Ok(Header::from_word(slot.rest.first().ok_or(Corrupt)?.load(Ordering::Relaxed))),
        }
    }

    /// The words of the data that begin at a position and hold so many bytes.
    fn data(&self, start: u32, length: usize) -> Result<&'a [AtomicU64], Corrupt> {
        let mask =
            if self.chunk.is_home() { self.data.len().checked_sub(1).ok_or(Corrupt)? } else { usize::MAX };
        let at = usize::try_from(start).map_err(|_| Corrupt)? & mask;
        self.data.get(at..at.wrapping_add(length.div_ceil(8))).ok_or(Corrupt)
    }

    /// Where data of so many bytes begins and ends that is put when the last one's ended at `tail`.
    fn place(&self, tail: u32, length: usize) -> Result<(u32, u32), Corrupt> {
        let capacity = self.data_capacity();
        let words = u32::try_from(length.div_ceil(8)).map_err(|_| Corrupt)?;
        // Zero or a power of two.
        let to_end = capacity.wrapping_sub(tail & capacity.wrapping_sub(1));
        let start = if words > to_end { tail.wrapping_add(to_end) } else { tail };
        Ok((start, start.wrapping_add(words)))
    }

    fn data_capacity(&self) -> u32 {
        // The shape bounds it.
        u32::try_from(self.data.len()).unwrap_or(0)
    }
}

/// The other way round, as long as there is no such thing.
fn narrow(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// A length or index as the ring counts, without loss on 64-bit machines.
#[inline]
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
