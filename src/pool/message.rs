//! What travels in the rings between a pool and its workers.
//!
//! ```text
//! task     TaskHead, then the arguments of its items, one after the other; or, Beside, nothing: they are asked for on the wire
//! result   ResultHead, then runs of items: how many results follow, and they; or ITEM_FAILED and a `Failure`
//! ```

use crate::process::Failure;
use crate::task::TaskError;

/// In front of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskHead {
    /// The entry's index, and in the upper half its generation.
    pub(super) id: u64,
    /// Where in the image the wrapper lies that knows the types, and the function.
    pub(super) runner: u32,
    pub(super) function: u32,
    pub(super) items: u32,
    /// The arguments are asked for on the wire.
    pub(super) is_beside: bool,
}

/// In front of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResultHead {
    /// That of the task.
    pub(super) id: u64,
    /// One of the kinds below.
    pub(super) kind: u32,
    /// The worker's seat.
    pub(super) seat: u32,
}

/// The results of a task's items follow.
pub(super) const RESULTS: u32 = 1;
/// The task was withdrawn before it was begun.
pub(super) const SKIPPED: u32 = 2;
/// The results could not be sent; a text follows that says why.
pub(super) const UNSENT: u32 = 5;
/// From the pool itself: whatever the worker of this seat had to say was said, it has ended.
pub(super) const ENDED: u32 = 3;
/// From the pool itself: whoever reads is to look at something else.
pub(super) const NUDGE: u32 = 4;

/// Instead of the number of results in a run: one item has failed.
pub(super) const ITEM_FAILED: u64 = u64::MAX;

pub(super) const TASK_HEAD: usize = 3 * WORD;
pub(super) const RESULT_HEAD: usize = 2 * WORD;

/// Heads are written and read in words, as the ring does: what was just written in parts a processor can't read as a whole
/// before all of it has left for its cache.
const WORD: usize = size_of::<u64>();

impl TaskHead {
    /// Writes it over the first bytes of a message.
    #[inline]
    pub(super) fn write(self, message: &mut [u8]) {
        let Self { id, runner, function, items, is_beside } = self;
        let words = [id, pair(runner, function), pair(items, u32::from(is_beside))];
        let (places, _) = message.as_chunks_mut::<WORD>();
        places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_ne_bytes());
    }

    /// The head in front of a task, and what is behind it.
    #[inline]
    pub(super) fn split(message: &[u8]) -> Option<(Self, &[u8])> {
        let ([id, code, rest], arguments) = words(message)?;
        let ((runner, function), (items, is_beside)) = (halves(code), halves(rest));
        Some((Self { id, runner, function, items, is_beside: is_beside != 0 }, arguments))
    }
}

impl ResultHead {
    pub(super) fn to_words(self) -> [u64; 2] {
        [self.id, pair(self.kind, self.seat)]
    }

    /// A message that is this head, and a text.
    pub(super) fn with_text(self, text: &str) -> Vec<u8> {
        let mut message = Vec::with_capacity(RESULT_HEAD + text.len());
        push_words(&mut message, self.to_words());
        message.extend_from_slice(text.as_bytes());
        message
    }

    /// The head in front of a result, and what is behind it.
    #[inline]
    pub(super) fn split(message: &[u8]) -> Option<(Self, &[u8])> {
        let ([id, rest], results) = words(message)?;
        let (kind, seat) = halves(rest);
        Some((Self { id, kind, seat }, results))
    }
}

/// Puts words behind `bytes`.
#[inline]
pub(super) fn push_words<const N: usize>(bytes: &mut Vec<u8>, words: [u64; N]) {
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
}

#[inline]
fn words<const N: usize>(message: &[u8]) -> Option<([u64; N], &[u8])> {
    let (head, rest) = message.split_at_checked(N * WORD)?;
    let (chunks, _) = head.as_chunks::<WORD>();
    let mut words = [0; N];
    words.iter_mut().zip(chunks).for_each(|(word, bytes)| *word = u64::from_ne_bytes(*bytes));
    Some((words, rest))
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A worker's failure, for the caller.
pub(super) fn error_of(failure: Failure) -> TaskError {
    match failure {
        Failure::Panicked { message, location, backtrace } => {
            TaskError::Panicked { message, location, backtrace }
        }
        Failure::Arguments(why) => TaskError::Decode(why),
        Failure::Encode(why) => TaskError::Encode(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were() {
        let task = TaskHead { id: u64::MAX - 1, runner: 2, function: u32::MAX, items: 4, is_beside: true };
        let mut message = [7; TASK_HEAD + 1];
        task.write(&mut message);
        assert_eq!(TaskHead::split(&message), Some((task, &[7][..])));
        assert_eq!(TaskHead::split(&message[1..TASK_HEAD]), None);
        let result = ResultHead { id: 1 << 40 | 3, kind: RESULTS, seat: u32::MAX };
        let message = result.with_text("why");
        assert_eq!(ResultHead::split(&message), Some((result, &b"why"[..])));
        assert_eq!(ResultHead::split(&message[..RESULT_HEAD - 1]), None);
    }
}
