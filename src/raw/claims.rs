//! [`Claims`]: which worker of a pool has which task.
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
//! **Hands**, a word for each worker: which task it has, `id + 1` or 0, written before the task leaves the ring and cleared
//! after its result is in the other. The pool reads the hand of a worker that has ended, after all results it put: a task
//! that is still there is lost, unless somebody else has begun it.
//!
//! A store is Release, so that a hand is set before the task leaves the ring, and empty after the result is in the other;
//! everything else is sequentially consistent, which tells more than is needed. What a task is lies in the rings.

const PENDING: u32 = 0;
const WITHDRAWN: u32 = 1;
const BEGUN: u32 = 2;

/// Words in shared memory. Every access is to a word that exists, or is of no effect.
pub(crate) trait Words {
    fn load(&self, index: usize) -> Option<u64>;

    /// Release.
    fn store(&self, index: usize, value: u64);

    /// Makes `new` of `current`; whether it was that.
    fn change(&self, index: usize, current: u64, new: u64) -> bool;
}

/// Which worker has which task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims<'a, W> {
    pub(crate) claims: &'a W,
    /// A line for each worker.
    pub(crate) seats: &'a W,
}

/// Words of a worker's line, a cache line; the first is its hand.
pub(crate) const SEAT: usize = 8;

impl<W: Words> Claims<'_, W> {
    /// A new task is about to be put in the ring.
    pub(crate) fn offer(&self, id: u64) {
        let (index, generation) = entry_of(id);
        self.claims.store(at(index), id_of(PENDING, generation));
    }

    /// The worker of a seat begins a task; `false` if it is not to.
    pub(crate) fn begin(&self, id: u64, seat: u32) -> bool {
        self.change(id, BEGUN.saturating_add(seat))
    }

    /// The pool takes a task back; `false` if a worker has begun it.
    pub(crate) fn withdraw(&self, id: u64) -> bool {
        self.change(id, WITHDRAWN)
    }

    fn change(&self, id: u64, state: u32) -> bool {
        let (index, generation) = entry_of(id);
        self.claims.change(at(index), id_of(PENDING, generation), id_of(state, generation))
    }

    /// Which worker has begun a task, by its seat.
    pub(crate) fn begun_by(&self, id: u64) -> Option<u32> {
        let (index, generation) = entry_of(id);
        let (state, of) = entry_of(self.claims.load(at(index))?);
        if of == generation { state.checked_sub(BEGUN) } else { None }
    }

    /// A worker has a task in its hand, or none.
    pub(crate) fn set_in_hand(&self, seat: u32, id: Option<u64>) {
        self.seats.store(hand(seat), id.map_or(0, |id| id.wrapping_add(1)));
    }

    pub(crate) fn in_hand(&self, seat: u32) -> Option<u64> {
        self.seats.load(hand(seat))?.checked_sub(1)
    }

    /// Of a worker that has ended, when all results it put are in: the task that is lost with it, if that has no result.
    /// Nobody begins it any more.
    pub(crate) fn lost(&self, seat: u32) -> Option<u64> {
        let id = self.in_hand(seat)?;
        match self.begun_by(id) {
            // Another one took it out of the ring.
            Some(other) if other != seat => None,
            Some(_) => Some(id),
            // It is in nobody's hands, or somebody is about to begin it.
            None if self.withdraw(id) => Some(id),
            // Withdrawn by a caller; or begun just now by another one.
            None => self.begun_by(id).is_none().then_some(id),
        }
    }
}

/// The index of an entry, and its generation.
pub(crate) fn entry_of(id: u64) -> (u32, u32) {
    (low(id), low(id.wrapping_shr(32)))
}

pub(crate) fn id_of(index: u32, generation: u32) -> u64 {
    u64::from(generation).wrapping_shl(32) | u64::from(index)
}

#[allow(clippy::as_conversions)]
fn low(word: u64) -> u32 {
    (word & u64::from(u32::MAX)) as u32
}

fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn hand(seat: u32) -> usize {
    at(seat).saturating_mul(SEAT)
}
