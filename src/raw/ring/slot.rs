//! What the first word of a slot says: its state.
//!
//! ```text
//! state of the slot of item n   low half, consumers sleep on it   high half, producers sleep on it
//! NotReady                      TAG | n                           1 << 31
//! Ready                         1 << 30                           TAG | n
//! Closed                        1 << 31                           TAG | n
//! Moved                         1 << 31 | 1 << 30                 TAG | n
//! ```
//! All-zero bytes are NotReady: a slot that was never used.
//!
//! Both halves are futex words, and each change that somebody sleeps for changes the half that they sleep on. The numbers
//! (modulo 2^26) tell one lap of the ring from another, for whoever is late to fall asleep and for whoever looks without
//! the lease. After such a change the half's thread-id bits are zero, so that the kernel wakes a sleeper if whoever made it
//! is killed before it could. TAG is bit 29, beyond every thread id: the kernel never takes a half for a lock held.

use core::sync::atomic::Ordering;

use super::Corrupt;
use crate::sys::atomic::AtomicU64;

const TAG: u32 = 1 << 29;
const NUMBER: u32 = (1 << 26) - 1;
/// Added to a producers' half to wake them for another reason than a free.
const NUDGE: u32 = 1 << 26;
const NUDGES: u32 = 0b111 << 26;
const COMMITTED: u32 = 1 << 30;
const CLOSED: u32 = 1 << 31;
const MOVED: u32 = CLOSED | COMMITTED;
const FREE: u32 = 1 << 31;

/// Laps of a ring of so many slots can be told apart.
pub(super) const MOST_SLOTS: usize = 1 << 24;

/// What can be done with the slot of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The item is not there yet: the producers put it here.
    NotReady,
    /// The item is here.
    Ready,
    /// Neither this item nor a later one comes any more.
    Closed,
    /// This item and the later ones come in the next chunk.
    Moved,
    /// An item of an earlier lap is still here.
    Earlier,
    /// The item was freed; a later one may be here.
    Later,
}

/// What a slot says in which item `number` may be put.
#[inline]
pub(super) fn not_ready(number: u64) -> u64 {
    halves(tag(number), FREE)
}

/// What a slot says that has item `number` in it.
#[inline]
pub(super) fn ready(number: u64) -> u64 {
    halves(COMMITTED, tag(number))
}

/// What a slot says in which item `number` would have been put.
pub(super) fn closed(number: u64) -> u64 {
    halves(CLOSED, tag(number))
}

/// What a slot says in which item `number` would have been put, had its chunk not been full.
pub(super) fn moved(number: u64) -> u64 {
    halves(MOVED, tag(number))
}

/// What `word`, the state of the slot of item `number`, means for that item.
///
/// # Errors
/// `Corrupt` if the protocol can't have written it.
#[inline(always)]
pub(super) fn state(word: u64, number: u64) -> Result<State, Corrupt> {
    if word == ready(number) {
        Ok(State::Ready)
    } else if word == not_ready(number) || word == 0 {
        Ok(State::NotReady)
    } else {
        rarer_state(word, number)
    }
}

#[cold]
fn rarer_state(word: u64, number: u64) -> Result<State, Corrupt> {
    let (low, high) = (for_consumers(word), for_producers(word));
    let (own, said) = match low {
        COMMITTED => (State::Ready, high & !NUDGES),
        CLOSED => (State::Closed, high),
        MOVED => (State::Moved, high),
        _ if high == FREE => (State::NotReady, low),
        _ => return Err(Corrupt),
    };
    if said & !NUMBER != TAG {
        return Err(Corrupt);
    }
    // How far ahead the number is that the slot says; far more than a lap is behind.
    match said.wrapping_sub(tag(number)) & NUMBER {
        0 => Ok(own),
        ahead if ahead <= NUMBER / 2 => Ok(State::Later),
        _ => Ok(State::Earlier),
    }
}

/// The half that consumers sleep on.
pub(super) fn for_consumers(word: u64) -> u32 {
    low(word)
}

/// The half that producers sleep on.
pub(super) fn for_producers(word: u64) -> u32 {
    low(word >> 32)
}

/// The same with a producers' half that differs: who sleeps on it, or is about to, looks again.
pub(super) fn nudged(word: u64) -> u64 {
    let high = for_producers(word);
    halves(low(word), (high & !NUDGES) | (high.wrapping_add(NUDGE) & NUDGES))
}

/// What whoever waits for something to happen to item `number` announces; never 0.
#[inline]
pub(super) fn tag(number: u64) -> u32 {
    TAG | (low(number) & NUMBER)
}

/// The latest number before `end` that has this tag, if it is `first` or later.
#[inline]
pub(super) fn number_of(tag: u32, first: u64, end: u64) -> Option<u64> {
    let back = u64::from(low(end).wrapping_sub(tag).wrapping_sub(1) & NUMBER).wrapping_add(1);
    (tag & TAG != 0 && back <= end.wrapping_sub(first)).then(|| end.wrapping_sub(back))
}

#[inline]
fn halves(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The low 32 bits.
#[inline]
pub(super) fn low(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0)
}

/// The word behind the state in a ring of payloads of varying length: how long the payload is, and where in the ring's
/// data it begins; or, of one in the slot itself, where the next one will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// In bytes.
    pub(super) length: u32,
    /// In words, modulo 2^32.
    pub(super) start: u32,
}

impl Header {
    #[inline]
    pub(super) fn to_word(self) -> u64 {
        halves(self.length, self.start)
    }

    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self { length: low(word), start: low(word >> 32) }
    }
}

/// Copies `bytes` into `words`, which are long enough.
#[inline]
pub(crate) fn write(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut words = words.iter();
    for (bytes, word) in whole.iter().zip(words.by_ref()) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed); // Relaxed: published by the commit.
    }
    if let (Some(word), false) = (words.next(), rest.is_empty()) {
        word.store(last_word(rest), Ordering::Relaxed); // Relaxed: as above.
    }
}

/// A word that begins with `rest`, 1 to 7 bytes, and is 0 behind it. They are loaded in pieces of the word that they often were
/// stored as, which such loads need not wait for.
#[inline]
fn last_word(rest: &[u8]) -> u64 {
    let shift = |at: usize| (at & 7).wrapping_mul(8);
    if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << shift(rest.len().wrapping_sub(4));
        return u64::from(u32::from_le_bytes(*first)) | last;
    }
    let byte = |at: usize| u64::from(rest.get(at).copied().unwrap_or(0)) << shift(at);
    byte(0) | byte(1) | byte(2)
}

/// Copies `length` bytes out of `words`, which hold them, to the end of `bytes`.
#[inline]
pub(crate) fn read(words: &[AtomicU64], length: usize, bytes: &mut Vec<u8>) {
    let end = bytes.len().saturating_add(length);
    bytes.reserve(length.next_multiple_of(8));
    for word in words.iter().take(length.div_ceil(8)) {
        // Relaxed: ordered by the Acquire that found the item ready.
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes.truncate(end);
}

/// Copies the words that hold `length` bytes to the start of `room`: as many of them as there are whole ones in it.
#[inline(always)]
pub(crate) fn read_whole(words: &[AtomicU64], length: usize, room: &mut [u8]) {
    let (room, _) = room.as_chunks_mut::<8>();
    for (bytes, word) in room.iter_mut().zip(words).take(length.div_ceil(8)) {
        // Relaxed: ordered by the Acquire that found the item ready.
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
}

/// Copies the first bytes of `words` to all of `bytes`.
#[inline]
pub(crate) fn read_to(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    let mut words = words.iter();
    for (bytes, word) in whole.iter_mut().zip(words.by_ref()) {
        // Relaxed, here and below: ordered by the Acquire that found the item ready.
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let (Some(word), false) = (words.next(), rest.is_empty()) {
        rest.iter_mut().zip(word.load(Ordering::Relaxed).to_le_bytes()).for_each(|(to, from)| *to = from);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_its_own_items_and_no_other_ones() {
        for number in [0, 1, 5, (1 << 26) - 1, 1 << 26, (1 << 26) + 5, u64::MAX] {
            for (word, expected) in [
                (not_ready(number), State::NotReady),
                (ready(number), State::Ready),
                (closed(number), State::Closed),
                (moved(number), State::Moved),
                (nudged(ready(number)), State::Ready),
                (nudged(nudged(ready(number))), State::Ready),
            ] {
                assert_eq!(state(word, number), Ok(expected));
                assert_eq!(state(word, number.wrapping_add(8)), Ok(State::Earlier));
                assert_eq!(state(word, number.wrapping_sub(8)), Ok(State::Later));
                assert_eq!(state(word ^ 1 << 29, number), Err(Corrupt));
            }
            assert_ne!(nudged(ready(number)), ready(number));
            assert_eq!(state(0, number), Ok(State::NotReady));
        }
    }

    #[test]
    fn a_tag_is_found_in_a_range_of_numbers() {
        for first in [0, 7, (1 << 26) - 2, 1 << 32, u64::MAX - 1] {
            for count in 0..5 {
                let end = first.wrapping_add(count);
                for number in 0..8 {
                    let asked = first.wrapping_sub(2).wrapping_add(number);
                    let within = (2..2_u64.wrapping_add(count)).contains(&number);
                    assert_eq!(number_of(tag(asked), first, end), within.then_some(asked));
                }
                assert_eq!(number_of(0, first, end), None);
            }
        }
    }
}
