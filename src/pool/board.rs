//! [`Board`]: what a pool and its workers tell each other beside the messages.
//!
//! **Claims**, one word for each entry of the pool's table: `generation << 32 | state`. The pool writes a new generation
//! PENDING before it puts the task in the ring; after that each side changes the word by compare-and-swap only:
//!
//! ```text
//! PENDING     a worker begins the task     BEGUN + seat
//! PENDING     the pool withdraws it        WITHDRAWN: whoever takes it out of the ring skips it, and says so
//! BEGUN       nobody changes it; the entry is free when the result has come or the worker has died
//! ```
//! So a task is begun at most once, and one that was withdrawn, or is in the ring twice after a death, never.
//!
//! **Seats**, a line for each worker: which task it has in its hands, `id + 1` or 0, written before the task leaves the ring
//! and cleared after its result is in the other; when it began it; whether the worker has come as far as taking tasks. The
//! pool reads the line of a worker that has ended, after all results it put: a task that is still in its hands is lost.

use serde::{Deserialize, Serialize};

use super::message::{entry_of, id_of};
use crate::{RawArray, Result};

const PENDING: u32 = 0;
const WITHDRAWN: u32 = 1;
const BEGUN: u32 = 2;

/// Words of a seat: a cache line.
const SEAT: usize = 8;
const IN_HAND: usize = 0;
const SINCE: usize = 1;
const IS_READY: usize = 2;

/// Words in shared memory. Every access is to a word that exists, or is of no effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Board {
    claims: RawArray<u64>,
    seats: RawArray<u64>,
}

impl Board {
    pub(super) fn new(entries: usize, seats: usize) -> Result<Self> {
        Ok(Self { claims: RawArray::zeroed(entries)?, seats: RawArray::zeroed(seats * SEAT)? })
    }

    /// A new task is about to be put in the ring.
    pub(super) fn offer(&self, id: u64) {
        let (index, generation) = entry_of(id);
        let _ = self.claims.store(index as usize, id_of(PENDING, generation));
    }

    /// The worker of a seat begins a task; `false` if it is not to.
    pub(super) fn begin(&self, id: u64, seat: u32) -> bool {
        self.change(id, BEGUN.saturating_add(seat))
    }

    /// The pool takes a task back; `false` if a worker has begun it.
    pub(super) fn withdraw(&self, id: u64) -> bool {
        self.change(id, WITHDRAWN)
    }

    fn change(&self, id: u64, state: u32) -> bool {
        let (index, generation) = entry_of(id);
        let (pending, new) = (id_of(PENDING, generation), id_of(state, generation));
        matches!(self.claims.compare_exchange(index as usize, pending, new), Ok(Ok(_)))
    }

    /// Which worker has begun a task, by its seat.
    pub(super) fn begun_by(&self, id: u64) -> Option<u32> {
        let (index, generation) = entry_of(id);
        let word = self.claims.load(index as usize).ok()?;
        let (state, of) = entry_of(word);
        if of == generation { state.checked_sub(BEGUN) } else { None }
    }

    /// A worker has a task in its hands, or none.
    pub(super) fn set_in_hand(&self, seat: u32, id: Option<u64>) {
        let _ = self.seats.store(word(seat, IN_HAND), id.map_or(0, |id| id.wrapping_add(1)));
    }

    pub(super) fn in_hand(&self, seat: u32) -> Option<u64> {
        self.seats.load(word(seat, IN_HAND)).ok()?.checked_sub(1)
    }

    /// When a worker began its task, in nanoseconds; 0 while it has none.
    pub(super) fn set_since(&self, seat: u32, nanos: u64) {
        let _ = self.seats.store(word(seat, SINCE), nanos);
    }

    pub(super) fn since(&self, seat: u32) -> u64 {
        self.seats.load(word(seat, SINCE)).unwrap_or(0)
    }

    /// A worker's initializer has returned.
    pub(super) fn set_ready(&self, seat: u32) {
        let _ = self.seats.store(word(seat, IS_READY), 1);
    }

    pub(super) fn is_ready(&self, seat: u32) -> bool {
        self.seats.load(word(seat, IS_READY)).is_ok_and(|ready| ready != 0)
    }

    /// The seat is as for a new worker.
    pub(super) fn vacate(&self, seat: u32) {
        for of in [IN_HAND, SINCE, IS_READY] {
            let _ = self.seats.store(word(seat, of), 0);
        }
    }
}

fn word(seat: u32, of: usize) -> usize {
    seat as usize * SEAT + of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_begun_once_or_withdrawn() {
        let board = Board::new(4, 2).unwrap();
        let id = id_of(3, 7);
        assert!(!board.begin(id, 0), "it was never offered");
        board.offer(id);
        assert_eq!(board.begun_by(id), None);
        assert!(board.begin(id, 1) && !board.begin(id, 0) && !board.withdraw(id));
        assert_eq!(board.begun_by(id), Some(1));
        let next = id_of(3, 8);
        board.offer(next);
        assert!(!board.begin(id, 0), "of an earlier generation");
        assert!(board.withdraw(next) && !board.begin(next, 0));
        assert_eq!((board.begun_by(id), board.begun_by(next)), (None, None));
    }

    #[test]
    fn words_that_do_not_exist_are_nobodys() {
        let board = Board::new(1, 1).unwrap();
        let id = id_of(9, 0);
        board.offer(id);
        assert!(!board.begin(id, 0) && board.begun_by(id).is_none());
        board.set_in_hand(5, Some(id));
        assert_eq!(board.in_hand(5), None);
        board.set_in_hand(0, Some(0));
        assert_eq!(board.in_hand(0), Some(0));
        board.vacate(0);
        assert_eq!((board.in_hand(0), board.since(0), board.is_ready(0)), (None, 0, false));
    }
}
