//! [`Slots`]: which parts of a sender's memory hold a message that is still to be read.
//!
//! A word for each slot, in memory that a sender shares with whoever receives:
//!
//! ```text
//! FREE     a sender is to fill it; one of several has it                  TAKEN
//! TAKEN    its message has been read, or could not be sent                FREE
//! ```
//! Which slot a message lies in goes through a socket, and reaches one receiver. Who dies in between leaves a slot TAKEN
//! for good. Nobody waits for one: a message that finds none takes another way.
//!
//! A slot is freed by a Release store and taken by a sequentially consistent compare-and-swap: what was in it has been read
//! before it is written over. That a message is written before it is read is the socket's doing.

use super::claims::Words;

const FREE: u64 = 0;
const TAKEN: u64 = 1;

/// The words of a memory's slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots<'a, W> {
    pub(crate) words: &'a W,
}

impl<W: Words> Slots<'_, W> {
    /// Takes a slot; `false` if it is not free.
    pub(crate) fn take(&self, index: usize) -> bool {
        self.words.change(index, FREE, TAKEN)
    }

    /// Frees a slot, of whoever has taken it or its message.
    pub(crate) fn free(&self, index: usize) {
        self.words.store(index, FREE);
    }
}
