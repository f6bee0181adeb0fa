//! How an end of the ring is waited at.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::RingError;
use crate::raw::{AcquireError, Deadline, RawMutex};
use crate::sys::atomic::{AtomicU32, fence};
use crate::sys::robust::Thread;
use crate::sys::{futex, slice};

/// Looks of the waiting room's holder before it yields, and yields before it sleeps (about 1 us and 50 us). Counts and
/// not times, so that a killed run can be repeated exactly.
#[cfg(not(all(test, loom)))]
const SPINS: u32 = 40;
#[cfg(not(all(test, loom)))]
const YIELDS: u32 = 50;
/// Spinning adds interleavings to a model and shows nothing.
#[cfg(all(test, loom))]
const SPINS: u32 = 0;
#[cfg(all(test, loom))]
const YIELDS: u32 = 0;

/// How long an operation that does not wait gives the lease's holder, whose step is bounded, to finish it.
#[cfg(not(all(test, loom)))]
pub(super) const HOLDERS_STEP: Duration = Duration::from_millis(1);
/// No clock decides in a model, where nobody is stopped.
#[cfg(all(test, loom))]
pub(super) const HOLDERS_STEP: Duration = Duration::MAX;

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Not at all.
    Never,
    /// Until the deadline, or for as long as it takes.
    Until(Option<Deadline>),
}

/// What became of an attempt.
pub(crate) enum Attempt<'a, R> {
    /// It succeeded.
    Done(R),
    /// It may succeed once this word has changed.
    NotYet(Spot<'a>),
}

/// A word to sleep on, and the value that it had when there was reason to.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) word: futex::Word<'a>,
    pub(crate) expected: u32,
    /// What is waited for, as [`Hint`] takes it.
    pub(crate) tag: u32,
}

/// On a line of its own: the tag of what the waiting room's holder sleeps for, or is about to; or of what it last slept for.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Hint {
    tag: AtomicU32,
}

impl Hint {
    pub(super) fn new() -> Self {
        Self { tag: AtomicU32::new(0) }
    }

    /// Makes the `change` that somebody who announced `tag` sleeps for on `word`, and wakes them. If the thread is killed
    /// after the change, the kernel does, for the word's thread-id bits are zero then.
    #[inline]
    pub(super) fn publish<'a>(
        &self,
        thread: Thread,
        tag: u32,
        word: impl Into<futex::Word<'a>>,
        change: impl FnOnce(),
    ) {
        let word = word.into();
        thread.set_pending_word(word);
        change();
        // SYNC: SeqCst fence <-> `announce`'s (R4): the sleeper is seen here, or the change there.
        fence(Ordering::SeqCst);
        if self.tag.load(Ordering::Relaxed) == tag {
            futex::wake(word, futex::ALL);
        }
        thread.clear_pending();
    }

    /// Announces a sleeper, which then looks once more before it sleeps.
    fn announce(&self, tag: u32) {
        self.tag.store(tag, Ordering::Relaxed); // Relaxed: the fence orders it.
        // SYNC: SeqCst fence <-> `publish`'s (R4): the sleeper is seen there, or the change here.
        fence(Ordering::SeqCst);
    }
}

/// One end of a ring as a waiter sees it.
pub(super) struct End<'a> {
    pub(super) lease: &'a RawMutex,
    pub(super) room: &'a RawMutex,
    pub(super) hint: &'a Hint,
}

impl<'a> End<'a> {
    /// Runs `attempt`, which takes the lease until the deadline it is given, until it succeeds. While it waits,
    /// `promising` is a cheap guess whether it would; if it does not wait, `hopeless` is asked first where somebody else
    /// holds the lease, and must be right when it says so.
    pub(super) fn run<R>(
        &self,
        wait: Wait,
        promising: impl Fn() -> bool,
        hopeless: impl Fn() -> bool,
        mut attempt: impl FnMut(Option<Deadline>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        let deadline = match wait {
            Wait::Until(deadline) => deadline,
            Wait::Never => return self.run_once(hopeless, attempt),
        };
        if let Attempt::Done(done) = attempt(deadline)? {
            return Ok(done);
        }
        if let Some(done) = self.enter_room(deadline, &mut attempt)? {
            return Ok(done);
        }
        let outcome = self.wait_in_room(deadline, promising, attempt);
        // `Corrupt` after a peer's scribble: the room is not held any more.
        let _ = self.room.unlock();
        outcome
    }

    fn run_once<R>(
        &self,
        hopeless: impl Fn() -> bool,
        mut attempt: impl FnMut(Option<Deadline>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        if self.lease.is_locked() && !self.lease.is_held() && hopeless() {
            return Err(RingError::WouldBlock);
        }
        match attempt(Deadline::after(HOLDERS_STEP)) {
            Ok(Attempt::Done(done)) => Ok(done),
            Ok(Attempt::NotYet(_)) => Err(RingError::WouldBlock),
            Err(RingError::TimedOut) => Err(RingError::Busy),
            Err(error) => Err(error),
        }
    }

    /// Takes the waiting room. After each slice it tries for itself, past a holder of the room that may be stopped:
    /// that is the other way to return.
    fn enter_room<R>(
        &self,
        deadline: Option<Deadline>,
        attempt: &mut impl FnMut(Option<Deadline>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<Option<R>, RingError> {
        loop {
            // SAFETY: the ring stays mapped, as its operations ask, until `run` has unlocked the room.
            match unsafe { self.room.lock(slice::end_of_sleep(deadline)) } {
                Ok(_) => {
                    // The room guards nothing: after a death there is nothing to repair.
                    self.room.recover();
                    return Ok(None);
                }
                Err(AcquireError::TimedOut { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if let Attempt::Done(done) = attempt(deadline)? {
                return Ok(Some(done));
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Err(RingError::TimedOut);
            }
        }
    }

    fn wait_in_room<R>(
        &self,
        deadline: Option<Deadline>,
        promising: impl Fn() -> bool,
        mut attempt: impl FnMut(Option<Deadline>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        for look in 0..SPINS.saturating_add(YIELDS) {
            if promising()
                && let Attempt::Done(done) = attempt(deadline)?
            {
                return Ok(done);
            }
            if look < SPINS {
                core::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let mut announced = None;
        loop {
            // Under the lease, so the look is exact. The one after the announcement decides: whoever comes later wakes us.
            let spot = match attempt(deadline)? {
                Attempt::Done(done) => return Ok(done),
                Attempt::NotYet(spot) => spot,
            };
            if deadline.is_some_and(Deadline::has_passed) {
                return Err(RingError::TimedOut);
            }
            if announced == Some(spot.tag) {
                futex::wait(spot.word, spot.expected, slice::end_of_sleep(deadline));
            } else {
                self.hint.announce(spot.tag);
                announced = Some(spot.tag);
            }
        }
    }
}
