//! [`Body`]: what is answered to a call, no longer than a message may be.
//!
//! A few bytes can ask for many: one key a thousand times, or all of a list. So what is long is measured before anything of it
//! is written, taken out of an object, or referred to for the client; and what is written beyond the limit is counted only.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::fault::Fault;
use super::served::Caller;
use super::table::Stored;
use super::wire::{Bytes, Item};
use crate::transfer;

/// More than a message may have, so that what could be put can be got, and what is short is always said.
const MARGIN: u64 = 32;
/// What may come beside what is measured: two numbers, and whether there is anything.
const BESIDE: u64 = 21;

/// What is answered to a call.
pub(super) struct Body {
    bytes: Vec<u8>,
    /// Bytes of the message before this.
    before: u64,
    longest: u64,
}

impl Body {
    /// One for messages of `longest` bytes.
    pub(super) fn new(longest: u64) -> Self {
        Self { bytes: Vec::new(), before: 0, longest }
    }

    /// Empties it for the next call, whose answer comes after `before` bytes.
    pub(super) fn clear(&mut self, before: u64) {
        self.bytes.clear();
        self.before = before;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether so many bytes fit, and a little beside them.
    ///
    /// # Errors
    /// [`Fault::TooLong`]: they don't.
    pub(super) fn check(&self, len: u64) -> Result<(), Fault> {
        if len.saturating_add(BESIDE) > self.room() {
            return Err(Fault::TooLong { len: self.before.saturating_add(len), max: self.longest });
        }
        Ok(())
    }

    /// Whether this value fits, before it is taken out of an object.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn check_item(&self, stored: Option<&Stored>) -> Result<(), Fault> {
        stored.map_or(Ok(()), |stored| self.check(stored.len()))
    }

    /// How many bytes may come in all.
    fn room(&self) -> u64 {
        self.longest.saturating_sub(self.before).saturating_add(MARGIN)
    }

    /// How many of these values fit, one after the other.
    pub(super) fn count<'s>(&self, stored: impl Iterator<Item = &'s Stored>) -> usize {
        let mut left = self.room().saturating_sub(BESIDE);
        stored
            .take_while(|stored| {
                let fits = left.checked_sub(stored.len());
                left = fits.unwrap_or(left);
                fits.is_some()
            })
            .count()
    }
}

/// Answers with `value`.
///
/// # Errors
/// [`Fault::TooLong`]: it is longer than may be.
pub(super) fn answer<T: Serialize + ?Sized>(reply: &mut Body, value: &T) -> Result<(), Fault> {
    let room = usize::try_from(reply.room()).unwrap_or(usize::MAX);
    let len = transfer::append_within(value, &mut reply.bytes, room);
    let len = len.map_err(|error| Fault::Malformed(error.to_string()))?;
    if len > room { reply.check(len as u64) } else { Ok(()) }
}

/// Answers with all of `elements`, as often as it is asked for them, of `len` bytes in all.
///
/// # Errors
/// As [`answer`].
pub(super) fn answer_all<I>(reply: &mut Body, len: u64, elements: impl Fn() -> I) -> Result<(), Fault>
where
    I: ExactSizeIterator<Item: Serialize>,
{
    reply.check(len)?;
    answer(reply, &Sequence(elements))
}

/// Answers with values that are kept, as [`answer_all`] does: the client gets references to what is in them if they fit.
///
/// # Errors
/// As [`answer`].
pub(super) fn answer_items<'s, I>(
    reply: &mut Body,
    caller: &Caller<'_>,
    stored: impl Fn() -> I,
) -> Result<(), Fault>
where
    I: ExactSizeIterator<Item = &'s Stored>,
{
    let len = stored().map(Stored::len).sum();
    answer_all(reply, len, || stored().map(|stored| caller.item(stored)))
}

/// Elements that are made while they are written.
pub(super) struct Sequence<F>(pub(super) F);

impl<F: Fn() -> I, I: ExactSizeIterator<Item: Serialize>> Serialize for Sequence<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let elements = (self.0)();
        let mut sequence = serializer.serialize_seq(Some(elements.len()))?;
        for element in elements {
            sequence.serialize_element(&element)?;
        }
        sequence.end()
    }
}

/// Bytes of a number in a message.
fn number_len(number: u64) -> u64 {
    u64::from((u64::BITS - (number | 1).leading_zeros()).div_ceil(7))
}

/// Bytes of bytes in a message.
pub(super) fn bytes_len(bytes: &[u8]) -> u64 {
    number_len(bytes.len() as u64) + bytes.len() as u64
}

impl Stored {
    /// Bytes of it in a message, as an [`Item`].
    pub(super) fn len(&self) -> u64 {
        let refs = self.refs();
        number_len(refs.len() as u64) + refs.map(number_len).sum::<u64>() + bytes_len(self.bytes().0)
    }
}

/// What a call and its answer would take more than a message may have, if so many copies of a value were kept.
///
/// # Errors
/// [`Fault::TooLong`].
pub(super) fn check_copies(item: &Item<'_>, count: usize, longest: u64) -> Result<(), Fault> {
    let Bytes(bytes) = item.bytes;
    let one = bytes_len(bytes) + item.refs.iter().copied().map(number_len).sum::<u64>() + 1;
    let len = one.saturating_mul(count as u64);
    if len > longest { Err(Fault::TooLong { len, max: longest }) } else { Ok(()) }
}
