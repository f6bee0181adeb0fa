//! [`Queue::get_many`].
#![allow(unsafe_code)]

use super::codec::{Buffer, Codec, Payload};
use super::queue::by;
use super::{GetError, Queue};
use crate::raw::{Fences, Wait};

impl<T: 'static, C: Codec<T>> Queue<T, C> {
    /// Gets up to `max` items to the end of `items`: as many as there are, and at least one, for which it waits. Says how many.
    /// Faster than one by one.
    ///
    /// # Errors
    /// As for [`get`](Self::get). Of items that can't be decoded the first is reported, when the others are in `items`.
    ///
    /// # Process death
    /// Killed here, the items are still in the queue, or the first so many of them are gone with the caller.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(8)?;
    /// queue.put_many(0..5)?;
    /// let mut items = Vec::new();
    /// assert_eq!(queue.get_many(&mut items, 3)?, 3);
    /// assert_eq!(items, [0, 1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_many(&self, items: &mut Vec<T>, max: usize) -> Result<usize, GetError> {
        self.get_many_of(None, items, max)
    }

    /// [`get_many`](Self::get_many), also by who keeps the end.
    pub(super) fn get_many_of(
        &self,
        keeper: Option<Fences>,
        items: &mut Vec<T>,
        max: usize,
    ) -> Result<usize, GetError> {
        let mut buffers = Vec::new();
        let mut fill = |payload: Payload<'_>| {
            let mut buffer = C::Buffer::default();
            buffer.fill(payload);
            buffers.push(buffer);
        };
        if self.layout.has_tasks() {
            for nth in 0..max {
                let wait = if nth == 0 { Wait::Until(None) } else { Wait::Never };
                match self.get_by(wait, |words, length| fill(Payload::in_words(words, length))) {
                    Err(_) if nth > 0 => break,
                    got => got?,
                }
            }
        } else {
            let mut fill = |words: &_, length| fill(Payload::in_words(words, length));
            self.at_head(|ring| {
                let ring = by(keeper, ring);
                // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
                unsafe { ring.get_many(Wait::Until(None), max, &mut fill) }
            })?;
        }
        let got = buffers.len();
        let mut failed = Ok(got);
        for buffer in buffers {
            match C::decode(buffer) {
                Ok(item) => items.push(item),
                Err(why) => failed = failed.and(Err(GetError::Decode(why))),
            }
        }
        failed
    }
}
