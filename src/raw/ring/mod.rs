//! [`RawRing`]: a bounded many-to-many queue of records of varying size.
//!
//! Producers serialise on one lease, consumers on another, only while an item moves and never across a sleep. The commit
//! of an item is one store, in the header of its own record.
//!
//! ```text
//! header at a position   a producer (holds `producing`)             a consumer (holds `consuming`)
//! NotReady               writes the payload, the next header        empty: sleeps on this header
//!                        NotReady, then commits: Ready
//! Ready                  full: sleeps on this header                copies the payload, then frees: Freed
//! Freed                  its free cursor passes the record          -
//! Closed                 refuses                                    drained: refuses
//! ```
//!
//! A record that does not fit before the ring's end goes to its start, complete, and a *pad* at the end is committed in
//! its stead: its commit makes both visible. Closing commits a last record, so no item committed before it is lost.
//!
//! **Positions** are counted in words from the beginning of time. Each end's own lie beside its lease and are stored
//! after every record, so that after a holder's death at most one record (and a pad) is ahead of them:
//! - `tail` (producers): the header there is NotReady, but for the dead holder's commit: repaired by walking on.
//! - `head` (consumers): the header there is not Freed, but for the dead holder's free: repaired by walking on, or, if the
//!   producers have passed it already and reused its words, from their free cursor.
//! - `free` (producers): everything before it may be overwritten. Stored before anything is.
//!
//! **Counts.** Every header, the NotReady one too, carries the number of its item: puts is the number at the tail, gets
//! the number at the head.
//!
//! **Waiting.** Whoever finds nothing to do goes to its end's waiting room, a lease whose only holder spins, then sleeps
//! on the header that it waits for; the others sleep on the lease, and the kernel passes it on at a death. What is waited
//! for changes the very word that is slept on, so that a waiter who comes late does not fall asleep; and it leaves the
//! word's thread-id bits zero while the other end has it *pending*, so that a waiter who sleeps is woken by the kernel
//! if the other end is killed before its wake. After each slice those in the room's queue look for themselves, so that a
//! *stopped* holder of the room delays them by no more than that.
//!
//! **Fairness.** None: whoever comes while an item is ready gets it (barging). Items of one producer keep their order.
//!
//! **Ordering.** (R1) commit Release -> consumer's Acquire: the payload. (R2) free Release -> producer's Acquire: the
//! payload has been read. (R3) free cursor, Release fence -> the Acquire fence of who reads a header without its lease:
//! if it sees reused words, it sees the cursor. (R4) commit or free, SeqCst fence, hint <-> hint, SeqCst fence, header: the
//! sleeper is seen, or what it sleeps for.
//!
//! # References
//! D. Vyukov's bounded MPMC queue (the sequence in the slot is the commit) and Aeron's log buffers (records and pads).

mod consumer;
mod error;
mod producer;
mod record;
#[cfg(all(test, not(loom)))]
mod tests;
mod waiting;

use core::sync::atomic::Ordering;

use super::RawMutex;
use crate::sys::atomic::{AtomicU32, AtomicU64, fence};
use crate::sys::futex::{self, Half};
pub(crate) use consumer::{Consuming, Item};
use error::Corrupt;
pub use error::RingError;
use record::{Extent, GRANULE, HEADER, Halves, State};

pub(super) use record::{read, write};
use waiting::Hint;
pub(crate) use waiting::{Attempt, Spot, Wait};

/// Looks for a moment at which a position stands still; a count read in none of them is a little off.
const LOOKS: u32 = 1000;

/// A waiting room: its holder alone sleeps on a header.
#[repr(C, align(64))]
#[derive(Debug)]
struct Room {
    lease: RawMutex,
}

/// The producers' lease and what only its holder writes.
#[repr(C, align(64))]
#[derive(Debug)]
struct ProducerLine {
    lease: RawMutex,
    tail: AtomicU64,
    free: AtomicU64,
    /// The number of the item at `free`; recomputed after a holder's death.
    freed: AtomicU64,
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
    /// Nonzero: nobody puts any more, and whoever can commits the last record.
    closing: AtomicU32,
}

/// The control part of a ring, 448 bytes; its words lie elsewhere and are passed to every operation. All-zero bytes are
/// an empty ring that takes no item, until [`RawRing::set_max_items`].
///
/// # Process death
/// A producer killed before its commit leaves nothing, a consumer killed before it freed an item leaves it to the next.
/// Whoever sleeps is woken for what the dead one had committed.
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
}

/// A ring together with its words.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    ring: &'a RawRing,
    /// One for each granule of `words`.
    states: &'a [AtomicU64],
    /// The records: a power of two of words.
    words: &'a [AtomicU64],
}

/// The first item that was not got, or where the next one goes.
#[derive(Clone, Copy)]
struct Front {
    position: u64,
    /// Items before it.
    number: u64,
}

/// The header at a position.
#[derive(Clone, Copy)]
struct Slot<'a> {
    /// Where the state is.
    word: &'a AtomicU64,
    halves: Halves,
    state: State,
    /// Empty unless there is a record.
    extent: Extent,
    /// Of the item.
    number: u64,
    /// The index of its first word.
    at: usize,
}

impl RawRing {
    /// An empty ring for at most `max_items` items at a time.
    #[must_use]
    pub fn new(max_items: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            producing: ProducerLine { lease: RawMutex::new(), tail: zero(), free: zero(), freed: zero() },
            consuming: ConsumerLine { lease: RawMutex::new(), head: zero(), got: [zero(), zero()] },
            producers_room: Room { lease: RawMutex::new() },
            consumers_room: Room { lease: RawMutex::new() },
            producer_sleeps: Hint::new(),
            consumer_sleeps: Hint::new(),
            settings: Settings { max_items: AtomicU64::new(max_items), closing: AtomicU32::new(0) },
        }
    }

    /// The lease of the consumers' waiting room.
    #[cfg(all(test, loom))]
    pub(super) fn consumers_room(&self) -> &RawMutex {
        &self.consumers_room.lease
    }

    /// Sets the bound of a ring that nobody else uses yet.
    pub fn set_max_items(&self, max_items: u64) {
        self.settings.max_items.store(max_items, Ordering::Relaxed); // Relaxed: before it is shared.
    }

    /// How many items fit at a time, if they are small enough.
    #[must_use]
    pub fn max_items(&self) -> u64 {
        self.settings.max_items.load(Ordering::Relaxed) // Relaxed: it never changes.
    }

    /// Whether the ring is closed, or being closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.settings.closing.load(Ordering::Relaxed) != 0 // Relaxed: what it leads to takes a lease.
    }

    /// The ring with its words: 5/4 of a power of two of them, which is how many hold records. More are of no use.
    ///
    /// # Errors
    /// `Corrupt` if there are fewer than 10 of them.
    pub fn with_words<'a>(&'a self, words: &'a [AtomicU64]) -> Result<Ring<'a>, RingError> {
        let capacity =
            words.len().saturating_mul(4).wrapping_div(5).checked_ilog2().map_or(0, |log| 1 << log.min(32));
        let parts = || {
            let (states, records) = words.split_at_checked(capacity / 4)?;
            Some((states, records.get(..capacity)?))
        };
        match parts() {
            Some((states, words)) if capacity >= 8 => Ok(Ring { ring: self, states, words }),
            _ => Err(RingError::Corrupt),
        }
    }
}

impl<'a> Ring<'a> {
    /// The largest payload, in bytes, that always fits into an empty ring: a record of half the words, up to 4 GiB.
    /// Records are never split, so before one of w words up to w - 4 may be a pad, and the next header's granule follows.
    #[must_use]
    pub fn max_payload(self) -> u64 {
        (self.capacity() / 2).saturating_sub(HEADER).saturating_mul(8).min(u64::from(u32::MAX))
    }

    /// The ring without its words.
    #[must_use]
    pub fn raw(self) -> &'a RawRing {
        self.ring
    }

    /// Items in the ring at one moment, also after a death.
    ///
    /// # Errors
    /// `Corrupt`.
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
        Ok(len.min(self.ring.max_items()))
    }

    /// Whether [`len`](Self::len) is 0.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_empty(self) -> Result<bool, RingError> {
        Ok(self.len()? == 0)
    }

    /// Items that were ever put.
    pub(crate) fn puts(self) -> Result<u64, Corrupt> {
        let tail = &self.ring.producing.tail;
        let mut puts = 0;
        for _ in 0..LOOKS {
            // SYNC: Acquire <- the producer's Release of the tail: the header there is initialised.
            let at = tail.load(Ordering::Acquire);
            let slot = self.slot(at);
            // SYNC: Acquire fence <- the producer's Release fence (R3): a reused header shows a tail that has moved.
            fence(Ordering::Acquire);
            if tail.load(Ordering::Relaxed) == at {
                // A dead producer's commit may be ahead of the tail; a pad carries the number of the item behind it.
                let slot = slot?;
                let ahead = matches!(slot.state, State::Ready | State::Freed);
                return Ok(slot.number.wrapping_add(u64::from(ahead)));
            }
            puts = slot.map_or(puts, |slot| slot.number);
        }
        Ok(puts)
    }

    /// Items that were ever got or taken.
    pub(crate) fn gets(self) -> Result<u64, Corrupt> {
        let mut gets = 0;
        for _ in 0..LOOKS {
            match self.front()? {
                Some(front) => return Ok(front.number),
                None => {
                    gets = self
                        .slot(self.ring.consuming.head.load(Ordering::Relaxed))
                        .map_or(gets, |slot| slot.number)
                }
            }
        }
        Ok(gets)
    }

    /// Where the ring begins; `None` if it moved during the look.
    fn front(self) -> Result<Option<Front>, Corrupt> {
        let (head, free) = (&self.ring.consuming.head, &self.ring.producing.free);
        // SYNC: Acquire <- the consumer's Release of the head: the header there is initialised.
        let at = head.load(Ordering::Acquire);
        // SYNC: Acquire <- the producer's Release of the cursor: the header there is initialised.
        let cursor = free.load(Ordering::Acquire);
        // A dead consumer's free may be ahead of the head; where its words are reused, the cursor is the head.
        let position = at.max(cursor);
        let slot = self.slot(position);
        // SYNC: Acquire fence <- the producer's Release fence (R3): a reused header shows a cursor that has moved.
        fence(Ordering::Acquire);
        if head.load(Ordering::Relaxed) != at || free.load(Ordering::Relaxed) != cursor {
            return Ok(None);
        }
        let slot = slot?;
        Ok(Some(match slot.state {
            // A pad carries the number of the item behind it.
            State::Freed => {
                let number = slot.number.wrapping_add(u64::from(!slot.extent.pad));
                Front { position: slot.end(position), number }
            }
            _ => Front { position, number: slot.number },
        }))
    }

    /// Of those, the ones that were not taken as tasks.
    pub(super) fn got(self) -> Result<u64, Corrupt> {
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
    pub(super) fn nudge_consumers(self) {
        let head = self.ring.consuming.head.load(Ordering::Relaxed); // Relaxed: a hint.
        if let Ok(slot) = self.slot(head) {
            futex::wake(futex::half(slot.word, Half::Low), futex::ALL);
        }
    }

    /// The header at `position`; with nonsense in it, perhaps, if the caller has no lease that keeps it in place.
    fn slot(self, position: u64) -> Result<Slot<'a>, Corrupt> {
        let at = self.index(position)?;
        let word = self.state(at);
        // SYNC: Acquire <- the commit's or the free's Release (R1, R2): the payload, or that it has been read.
        let halves = Halves::from_word(word.load(Ordering::Acquire));
        let state = halves.state()?;
        // Relaxed: both were written before the state, or before the position was stored.
        let number = self.word(at).load(Ordering::Relaxed);
        let extent = match state {
            State::NotReady | State::Closed => Extent::EMPTY,
            State::Ready | State::Freed => {
                Extent::from_word(self.word(at.wrapping_add(1)).load(Ordering::Relaxed))?
            }
        };
        if extent.words() > self.capacity().saturating_sub(wide(at)) {
            return Err(Corrupt);
        }
        Ok(Slot { word, halves, state, extent, number, at })
    }

    /// Where `position` lies among the words.
    fn index(self, position: u64) -> Result<usize, Corrupt> {
        if !position.is_multiple_of(GRANULE) {
            return Err(Corrupt);
        }
        usize::try_from(position & self.capacity().wrapping_sub(1)).map_err(|_| Corrupt)
    }

    /// The state of the record at index `at`.
    fn state(self, at: usize) -> &'a AtomicU64 {
        // The fallback is never taken: there is a state for each granule of the words.
        self.states.get(at / 4).unwrap_or(&self.ring.producing.tail)
    }

    /// The word at index `at`, which wraps.
    fn word(self, at: usize) -> &'a AtomicU64 {
        let mask = self.words.len().wrapping_sub(1);
        // The fallback is never taken: the mask keeps the index within.
        self.words.get(at & mask).unwrap_or(&self.ring.producing.tail)
    }

    /// The payload's words of the record of `words` at index `at`.
    fn payload(self, at: usize, words: u64) -> Result<&'a [AtomicU64], Corrupt> {
        let header = usize::try_from(HEADER).map_err(|_| Corrupt)?;
        let words = usize::try_from(words).map_err(|_| Corrupt)?;
        self.words.get(at.saturating_add(header)..at.saturating_add(words)).ok_or(Corrupt)
    }

    fn capacity(self) -> u64 {
        wide(self.words.len())
    }
}

impl Slot<'_> {
    /// The position behind the record at `position`.
    fn end(&self, position: u64) -> u64 {
        position.wrapping_add(self.extent.words())
    }
}

/// A length or index as the ring counts, without loss on 64-bit machines.
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
