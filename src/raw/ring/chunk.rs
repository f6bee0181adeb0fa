//! [`Chunk`]: which part of its file a growing ring uses, and [`Growth`]: how it comes to one.

use core::fmt;

use super::{RingError, narrow, wide};
use crate::sys::atomic::AtomicU64;

/// A chunk's length and place are multiples of so many words, 64 KiB.
#[cfg(not(all(test, loom)))]
pub(crate) const UNIT_WORDS: usize = 8 << 10;
#[cfg(all(test, loom))]
pub(crate) const UNIT_WORDS: usize = 6;

/// Words before a chunk's slots, which begin at a cache line.
#[cfg(not(all(test, loom)))]
pub(super) const HEAD_WORDS: usize = 8;
#[cfg(all(test, loom))]
pub(super) const HEAD_WORDS: usize = 2;

/// The most units a chunk has, unless one record takes more: 4 MiB.
pub(super) const USUAL_UNITS: u64 = 64;
/// The most units that a [`Chunk`] can say.
const MOST_UNITS: u64 = (1 << UNIT_BITS) - 1;
const PLACE_BITS: u32 = 32;
const UNIT_BITS: u32 = 16;

/// Where a chunk lies: `tag << 48 | units << 32 | place`, the last two in units of 64 KiB. 0 is the home ring, which lies
/// elsewhere. The tag is another one each time: chunks that follow each other at one place are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk(u64);

impl Chunk {
    pub(crate) const HOME: Self = Self(0);

    /// `None` if it lies beyond what can be said.
    pub(super) fn new(place: u64, units: u64, tag: u64) -> Option<Self> {
        let fits = place < 1 << PLACE_BITS && (1..=MOST_UNITS).contains(&units);
        fits.then_some(Self(tag << (PLACE_BITS + UNIT_BITS) | units << PLACE_BITS | place))
    }

    /// What a word of shared memory says, whatever it is.
    #[inline(always)]
    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub(super) fn to_word(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn is_home(self) -> bool {
        self.0 == 0
    }

    fn place(self) -> u64 {
        self.0 & ((1 << PLACE_BITS) - 1)
    }

    pub(super) fn units(self) -> u64 {
        self.0 >> PLACE_BITS & MOST_UNITS
    }

    /// The unit behind it.
    pub(super) fn end(self) -> u64 {
        self.place().wrapping_add(self.units())
    }

    /// Bytes from the file's start.
    pub(crate) fn offset(self) -> u64 {
        self.place().wrapping_mul(wide(UNIT_WORDS).wrapping_mul(8))
    }

    /// How many words it has.
    pub(crate) fn words(self) -> usize {
        narrow(self.units()).saturating_mul(UNIT_WORDS)
    }

    /// How many units a chunk needs for one record of so many words, and the mark behind it.
    pub(super) fn units_for(words: usize, slot_words: usize) -> u64 {
        let words = words.saturating_add(slot_words).saturating_add(HEAD_WORDS);
        wide(words.div_ceil(UNIT_WORDS)).max(1)
    }

    /// Bytes of the longest payload for which a chunk can be made.
    pub(crate) fn longest_payload(slot_words: usize) -> u64 {
        let words = narrow(MOST_UNITS).saturating_mul(UNIT_WORDS);
        let record = words.saturating_sub(HEAD_WORDS).saturating_sub(slot_words.saturating_mul(2));
        wide(record).saturating_mul(8).min(u64::from(u32::MAX))
    }
}

/// Memory for chunks, as the process has it whose operation it is.
pub(crate) trait Growth {
    /// The words of a chunk, or of the home ring; they stay mapped until the operation has ended.
    ///
    /// # Errors
    /// `OutOfMemory`; `Corrupt` if there is no such place; `Moved` if the operation has used too many, and has to begin
    /// again.
    fn words(&self, chunk: Chunk) -> Result<&[AtomicU64], RingError>;

    /// Gives a chunk its pages: all zero, if it had none.
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn reserve(&self, chunk: Chunk) -> Result<(), RingError>;

    /// Takes a chunk's pages, if it has any.
    fn release(&self, chunk: Chunk);

    /// Takes the pages of a chunk and of all places before it, where who was late may have touched some again.
    fn release_through(&self, chunk: Chunk);
}

impl fmt::Debug for dyn Growth + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Growth")
    }
}
