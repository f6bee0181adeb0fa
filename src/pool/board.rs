//! [`Board`]: what a pool and its workers tell each other beside the messages.
//!
//! Which worker has which task: see [`Claims`]. **Seats**, a line for each worker: the task in its hand; when it began it;
//! whether the worker has come as far as taking tasks; and a line that says how many of them look for tasks: see [`Shift`], and
//! where the caller is that waits for results: see [`Place`](super::place::Place).
//! **Bells**, one for each worker: it sleeps on its own while it does not look.

use serde::{Deserialize, Serialize};

use crate::raw::claims::{Claims, SEAT, Words};
use crate::raw::shift::Shift;
use crate::{Event, RawArray, Result};

// The first word is the hand.
const SINCE: usize = 1;
const IS_READY: usize = 2;
// Behind the shift's word.
const CALLER: usize = 1;

/// Words in shared memory. Every access is to a word that exists, or is of no effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Board {
    claims: RawArray<u64>,
    seats: RawArray<u64>,
    bells: Vec<Event>,
}

impl Board {
    pub(super) fn new(entries: usize, seats: usize) -> Result<Self> {
        let board = Self {
            claims: RawArray::zeroed(entries)?,
            seats: RawArray::zeroed((seats + 1) * SEAT)?,
            bells: (0..seats).map(|_| Event::new()).collect::<Result<_>>()?,
        };
        // All look, at first.
        let _ = board.seats.store(seats * SEAT, seats as u64);
        Ok(board)
    }

    /// How many workers look for tasks.
    pub(super) fn shift(&self) -> Shift<'_, RawArray<u64>> {
        Shift { words: &self.seats, at: self.bells.len() * SEAT }
    }

    /// Tasks were put in the ring; so many workers are to look for them.
    pub(super) fn need(&self, workers: u32) {
        self.shift().need(workers, |seat| {
            if let Some(bell) = self.bell(seat) {
                bell.set();
            }
        });
    }

    /// A caller waits on this processor. It is seldom another one than before: the workers' copies of the line stay good.
    pub(super) fn set_caller(&self, processor: usize) {
        if self.caller() != Some(processor) {
            let _ = self.seats.store(self.bells.len() * SEAT + CALLER, processor as u64 + 1);
        }
    }

    /// The processor on which a caller last waited.
    pub(super) fn caller(&self) -> Option<usize> {
        let caller = self.seats.load(self.bells.len() * SEAT + CALLER).ok()?;
        usize::try_from(caller.checked_sub(1)?).ok()
    }

    pub(super) fn bell(&self, seat: u32) -> Option<&Event> {
        self.bells.get(seat as usize)
    }

    /// Which worker has which task.
    pub(super) fn claims(&self) -> Claims<'_, RawArray<u64>> {
        Claims { claims: &self.claims, seats: &self.seats }
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
        self.claims().set_in_hand(seat, None);
        for of in [SINCE, IS_READY] {
            let _ = self.seats.store(word(seat, of), 0);
        }
    }
}

impl Words for RawArray<u64> {
    fn load(&self, index: usize) -> Option<u64> {
        self.load(index).ok()
    }

    fn store(&self, index: usize, value: u64) {
        self.publish(index, value);
    }

    fn change(&self, index: usize, current: u64, new: u64) -> bool {
        matches!(self.compare_exchange(index, current, new), Ok(Ok(_)))
    }
}

fn word(seat: u32, of: usize) -> usize {
    seat as usize * SEAT + of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::claims::id_of;

    #[test]
    fn a_task_is_begun_once_or_withdrawn() {
        let board = Board::new(4, 2).unwrap();
        let id = id_of(3, 7);
        assert!(!board.claims().begin(id, 0), "it was never offered");
        board.claims().offer(id);
        assert_eq!(board.claims().begun_by(id), None);
        assert!(board.claims().begin(id, 1) && !board.claims().begin(id, 0) && !board.claims().withdraw(id));
        assert_eq!(board.claims().begun_by(id), Some(1));
        let next = id_of(3, 8);
        board.claims().offer(next);
        assert!(!board.claims().begin(id, 0), "of an earlier generation");
        assert!(board.claims().withdraw(next) && !board.claims().begin(next, 0));
        assert_eq!((board.claims().begun_by(id), board.claims().begun_by(next)), (None, None));
    }

    #[test]
    fn words_that_do_not_exist_are_nobodys() {
        let board = Board::new(1, 1).unwrap();
        let id = id_of(9, 0);
        board.claims().offer(id);
        assert!(!board.claims().begin(id, 0) && board.claims().begun_by(id).is_none());
        board.claims().set_in_hand(5, Some(id));
        assert_eq!(board.claims().in_hand(5), None);
        board.claims().set_in_hand(0, Some(0));
        assert_eq!(board.claims().in_hand(0), Some(0));
        board.vacate(0);
        assert_eq!((board.claims().in_hand(0), board.since(0), board.is_ready(0)), (None, 0, false));
    }
}
