//! How a record lies in the ring's words.
//!
//! ```text
//! state    low half, consumers sleep on it    high half, producers sleep on it
//!          NotReady  TAG | number             TAG | number
//!          Ready     1 << 30                  TAG | number
//!          Freed     1 << 30                  1 << 31
//!          Closed    1 << 30                  0
//! word 0   number of the item: how many were put before it
//! word 1   bits 0-31 length of the payload in bytes (of a pad: of all that follows the header) | bit 32 pad
//! word 2.. payload, the record filled up to a multiple of 4 words
//! ```
//! The states lie before the records, one for each 4 words, so that a state's word is never a payload's: a thread may
//! die with it *pending* long after its record was overwritten, and the kernel then changes a word in which it finds the
//! thread's id.
//!
//! Both halves are futex words, and each change that somebody sleeps for changes the half that they sleep on. The numbers
//! (modulo 2^26) make a value differ from that of another item at the same place, for whoever is late to fall asleep.
//! After such a change the half's thread-id bits are zero, so that the kernel wakes a sleeper if whoever made it is
//! killed before it could. TAG is bit 29, beyond every thread id: the kernel never takes a half for a lock held.

use core::sync::atomic::Ordering;

use super::Corrupt;
use crate::sys::atomic::AtomicU64;

/// Records are a multiple of so many words, and each so many words have a state.
pub(super) const GRANULE: u64 = 4;
/// Words of a record before its payload.
pub(super) const HEADER: u64 = 2;
/// Bytes of a word.
const WORD: u64 = 8;

const TAG: u32 = 1 << 29;
const NUMBER: u32 = (1 << 26) - 1;
/// Added to a producers' half to wake them for another reason than a free.
const NUDGE: u32 = 1 << 26;
const NUDGES: u32 = 0b111 << 26;
const COMMITTED: u32 = 1 << 30;
const FREED: u32 = 1 << 31;
const PAD: u64 = 1 << 32;

/// What can be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The producers' next record goes here.
    NotReady,
    /// Committed.
    Ready,
    /// Taken: the producers may reuse its words.
    Freed,
    /// Nothing comes any more.
    Closed,
}

/// The state of a record: its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Halves {
    /// The low half.
    pub(super) for_consumers: u32,
    /// The high half.
    pub(super) for_producers: u32,
}

impl Halves {
    /// Those of the record of item `number`.
    pub(super) fn of(state: State, number: u64) -> Self {
        let tagged = tag(number);
        let (for_consumers, for_producers) = match state {
            State::NotReady => (tagged, tagged),
            State::Ready => (COMMITTED, tagged),
            State::Freed => (COMMITTED, FREED),
            State::Closed => (COMMITTED, 0),
        };
        Self { for_consumers, for_producers }
    }

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.for_producers) << 32 | u64::from(self.for_consumers)
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self { for_consumers: low(word), for_producers: low(word >> 32) }
    }

    /// What they say, if the protocol can have written them.
    pub(super) fn state(self) -> Result<State, Corrupt> {
        let tagged = |half: u32| half & !(NUMBER | NUDGES) == TAG;
        match (self.for_consumers, self.for_producers) {
            (consumers, producers) if tagged(consumers) && tagged(producers) => Ok(State::NotReady),
            (COMMITTED, producers) if tagged(producers) => Ok(State::Ready),
            (COMMITTED, FREED) => Ok(State::Freed),
            (COMMITTED, 0) => Ok(State::Closed),
            // The words of a new ring.
            (0, 0) => Ok(State::NotReady),
            _ => Err(Corrupt),
        }
    }

    /// The same with a producers' half that differs: who sleeps on it, or is about to, looks again.
    pub(super) fn nudged(self) -> Self {
        let nudges = self.for_producers.wrapping_add(NUDGE) & NUDGES;
        Self { for_producers: (self.for_producers & !NUDGES) | nudges, ..self }
    }
}

/// What whoever waits for something to happen to item `number` announces; never 0.
pub(super) fn tag(number: u64) -> u32 {
    TAG | low(number & u64::from(NUMBER))
}

/// Word 1 of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) pad: bool,
    /// Payload bytes.
    pub(super) length: u32,
}

impl Extent {
    pub(super) const EMPTY: Self = Self { pad: false, length: 0 };

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.length) | if self.pad { PAD } else { 0 }
    }

    pub(super) fn from_word(word: u64) -> Result<Self, Corrupt> {
        let length = u32::try_from(word & !PAD).map_err(|_| Corrupt)?;
        Ok(Self { pad: word & PAD != 0, length })
    }

    /// Words of the whole record.
    pub(super) fn words(self) -> u64 {
        words(u64::from(self.length))
    }
}

/// Words of a record whose payload is `bytes` long.
pub(super) fn words(bytes: u64) -> u64 {
    bytes.div_ceil(WORD).saturating_add(HEADER).next_multiple_of(GRANULE)
}

/// Copies `bytes` into `words`, which are long enough.
pub(in crate::raw) fn write(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut words = words.iter();
    for (bytes, word) in whole.iter().zip(words.by_ref()) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed); // Relaxed: published by the commit.
    }
    if let (Some(word), false) = (words.next(), rest.is_empty()) {
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        word.store(u64::from_le_bytes(last), Ordering::Relaxed); // Relaxed: as above.
    }
}

/// Copies `length` bytes out of `words`, which hold them, to the end of `bytes`.
pub(in crate::raw) fn read(words: &[AtomicU64], length: usize, bytes: &mut Vec<u8>) {
    let end = bytes.len().saturating_add(length);
    bytes.reserve(length.next_multiple_of(8));
    for word in words.iter().take(length.div_ceil(8)) {
        // Relaxed: ordered by the Acquire that found the record ready.
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes.truncate(end);
}

/// The low 32 bits.
fn low(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0)
}
