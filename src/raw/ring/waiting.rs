//! How an end of the ring is waited at.
#![allow(unsafe_code)]

use core::sync::atomic::{Ordering, compiler_fence};
use core::time::Duration;

use super::endpoint::{Access, Fences};
use super::{RingError, Room, slot};
use crate::raw::{AcquireError, Deadline, RawMutex};
use crate::sys::atomic::{AtomicU32, fence};
use crate::sys::robust::Thread;
use crate::sys::{futex, membarrier, slice};

/// Looks before the waiting room, about 1 us; pauses before the first and before each other. All of these are counts and
/// not times, so that a killed run can be repeated exactly.
#[cfg(not(all(test, loom)))]
const LOOKS_OUTSIDE: u32 = 20;
#[cfg(all(test, loom))]
const LOOKS_OUTSIDE: u32 = 0;
const FIRST_PAUSES: u32 = 4;
const PAUSES: u32 = 2;

/// Looks of the waiting room's holder before it yields, and yields before it sleeps (about 1 us and 50 us).
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

impl Wait {
    /// Whether there may be time for some looks more.
    #[inline(always)]
    pub(super) fn may_last(self) -> bool {
        matches!(self, Self::Until(_))
    }

    /// How long to wait for a lease, whose holder's step is bounded.
    pub(super) fn for_lease(self) -> Option<Deadline> {
        match self {
            Self::Never => Deadline::after(HOLDERS_STEP),
            Self::Until(deadline) => deadline,
        }
    }
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
    /// Nonzero: a sleeper could make no barrier in the thread of an exclusive endpoint.
    needs_fence: AtomicU32,
}

/// The release of a lease is a full barrier here, and the hint is looked at again behind it. Elsewhere, and in the model, the
/// first look comes behind a fence.
const RELEASE_IS_BARRIER: bool = cfg!(all(target_arch = "x86_64", not(all(test, loom))));

impl Hint {
    pub(super) fn new() -> Self {
        Self { tag: AtomicU32::new(0), needs_fence: AtomicU32::new(0) }
    }

    /// Makes the `change` that somebody who announced the tag of item `number` sleeps for on `word`, and wakes them. If the
    /// thread is killed after the change, the kernel does, for the word's thread-id bits are zero then.
    ///
    /// It is called with a lease held, and [`published`](Self::published) after the lease is released, if it is.
    #[inline(always)]
    pub(super) fn publish<'a>(
        &self,
        thread: Thread,
        access: Access,
        number: u64,
        word: impl Into<futex::Word<'a>>,
        change: impl FnOnce(),
    ) {
        self.publish_and_look(thread, number, word.into(), change, || match access {
            Access::Kept(fences) => {
                fences.fence();
                // Relaxed: once it is seen it stays.
                if fences == Fences::No && self.needs_fence.load(Ordering::Relaxed) != 0 {
                    Fences::Yes.fence();
                }
            }
            Access::Shared if RELEASE_IS_BARRIER => {}
            Access::Shared | Access::Keep | Access::Beside => Fences::Yes.fence(),
        });
    }

    /// [`publish`](Self::publish) of a change after which the word must not be touched again: nobody is looked for later.
    #[cold]
    pub(super) fn publish_at_once<'a>(
        &self,
        thread: Thread,
        number: u64,
        word: impl Into<futex::Word<'a>>,
        change: impl FnOnce(),
    ) {
        self.publish_and_look(thread, number, word.into(), change, || Fences::Yes.fence());
    }

    #[inline(always)]
    fn publish_and_look(
        &self,
        thread: Thread,
        number: u64,
        word: futex::Word<'_>,
        change: impl FnOnce(),
        barrier: impl FnOnce(),
    ) {
        thread.set_pending_word(word);
        change();
        // SYNC: <-> `announce`'s fence (R4): the sleeper is seen here, or the change there.
        barrier();
        // Relaxed: the barrier orders it. Without one, a sleeper is missed only if it came while the change was on its way
        // out of this processor.
        if self.tag.load(Ordering::Relaxed) == slot::tag(number) {
            wake(word);
        }
        thread.clear_pending();
    }

    /// [`published`](Self::published) where no lease is released.
    #[cold]
    pub(super) fn publish_rest(&self, first: u64, end: u64, wake: impl FnOnce(u64)) {
        // SYNC: SeqCst fence <-> `announce`'s (R4): the sleeper is seen here, or the change there.
        fence(Ordering::SeqCst);
        self.wake_one_of(first, end, wake);
    }

    /// Ends what was published for the items from `first` on, of which the last is before `end`: the lease is released.
    /// `wake` wakes who sleeps for an item.
    #[inline]
    pub(super) fn published(&self, first: u64, end: u64, wake: impl FnOnce(u64)) {
        if !RELEASE_IS_BARRIER {
            return;
        }
        // SYNC: the release's locked instruction <-> `announce`'s fence (R4): the sleeper is seen here, or the change there.
        compiler_fence(Ordering::SeqCst);
        self.wake_one_of(first, end, wake);
    }

    /// Behind a barrier.
    #[inline]
    fn wake_one_of(&self, first: u64, end: u64, wake: impl FnOnce(u64)) {
        if let Some(number) = slot::number_of(self.tag.load(Ordering::Relaxed), first, end) {
            wake(number);
        }
    }

    /// Announces a sleeper, which then looks once more before it sleeps, to the other end, whose room is `peer`.
    fn announce(&self, tag: u32, peer: &Room) {
        self.tag.store(tag, Ordering::Relaxed); // Relaxed: the fence orders it.
        // SYNC: SeqCst fence <-> `publish`'s (R4): the sleeper is seen there, or the change here; and `keep`'s.
        fence(Ordering::SeqCst);
        // SYNC: membarrier <-> `publish` of a keeper without fences (R4), as above.
        if peer.keeper.load(Ordering::Relaxed) != 0 && !membarrier::everywhere() {
            // What the keeper is about to publish may be missed until the slice ends; what it does later is not.
            self.needs_fence.store(1, Ordering::Relaxed);
        }
    }
}

#[cold]
pub(super) fn wake(word: futex::Word<'_>) {
    futex::wake(word, futex::ALL);
}

/// One end of a ring as a waiter sees it.
pub(super) struct End<'a> {
    pub(super) lease: &'a RawMutex,
    pub(super) room: &'a Room,
    pub(super) hint: &'a Hint,
    /// The other end's lease and room.
    pub(super) peer: (&'a RawMutex, &'a Room),
    pub(super) access: Access,
}

impl<'a> End<'a> {
    /// Runs `attempt`, which takes the lease, waiting for it as it is told, until it succeeds. While it waits, `promising`
    /// is a cheap guess whether it would; if it does not wait, `hopeless` is asked first where somebody else holds the
    /// lease, and must be right when it says so.
    #[inline(always)]
    pub(super) fn run<R>(
        &self,
        wait: Wait,
        promising: impl Fn() -> bool,
        hopeless: impl Fn() -> bool,
        mut attempt: impl FnMut(Wait) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        if !self.access.is_kept()
            && matches!(wait, Wait::Never)
            && self.is_held_elsewhere()
            && !self.room.is_kept(self.lease)
            && hopeless()
        {
            return Err(RingError::WouldBlock);
        }
        let mut waiter =
            Waiter { room: &self.room.lease, has_looked: false, in_room: false, looks: 0, announced: None };
        let mut was_alone = false;
        loop {
            // Under the lease, so the look is exact. The one after an announcement decides: whoever comes later wakes us.
            match attempt(wait) {
                Ok(Attempt::Done(done)) => return Ok(done),
                Ok(Attempt::NotYet(_)) if was_alone => return Err(RingError::PeerDied),
                // The last look was before the death, perhaps.
                Ok(Attempt::NotYet(_)) if self.access.is_kept() && self.is_alone() => was_alone = true,
                Ok(Attempt::NotYet(spot)) => match wait {
                    Wait::Never => return Err(RingError::WouldBlock),
                    Wait::Until(deadline) => waiter.wait(spot, self, deadline, &promising)?,
                },
                Err(RingError::TimedOut) if matches!(wait, Wait::Never) => return Err(RingError::Busy),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_held_elsewhere(&self) -> bool {
        self.lease.is_locked() && !self.lease.is_held()
    }
}

/// Whoever waits at an end, between two attempts.
struct Waiter<'a> {
    room: &'a RawMutex,
    /// Outside the room.
    has_looked: bool,
    in_room: bool,
    /// How often it has looked in the room.
    looks: u32,
    announced: Option<u32>,
}

impl Waiter<'_> {
    /// Waits until another attempt makes sense, which found this `spot` to wait at.
    #[cold]
    #[inline(never)]
    fn wait(
        &mut self,
        spot: Spot<'_>,
        end: &End<'_>,
        deadline: Option<Deadline>,
        promising: &impl Fn() -> bool,
    ) -> Result<(), RingError> {
        if !self.in_room {
            if !core::mem::replace(&mut self.has_looked, true) && Self::look_outside(promising) {
                return Ok(());
            }
            return self.enter_room(deadline);
        }
        while self.looks < SPINS.saturating_add(YIELDS) {
            self.looks = self.looks.saturating_add(1);
            if self.looks <= SPINS {
                core::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
            if promising() {
                return Ok(());
            }
        }
        if deadline.is_some_and(Deadline::has_passed) {
            return Err(RingError::TimedOut);
        }
        if self.announced == Some(spot.tag) {
            futex::wait(spot.word, spot.expected, slice::end_of_sleep(deadline));
        } else {
            end.hint.announce(spot.tag, end.peer.1);
            self.announced = Some(spot.tag);
        }
        Ok(())
    }

    /// Looks a few times before it goes to the room. The other end is often just ahead: each look takes the slot's line
    /// from it, so it is first given time for some items more.
    fn look_outside(promising: &impl Fn() -> bool) -> bool {
        let mut pauses = FIRST_PAUSES;
        (0..LOOKS_OUTSIDE).any(|_| {
            (0..pauses).for_each(|_| core::hint::spin_loop());
            pauses = PAUSES;
            promising()
        })
    }

    /// Takes the waiting room, or waits for it for a slice: then it is time to try past a holder of the room that may be
    /// stopped.
    fn enter_room(&mut self, deadline: Option<Deadline>) -> Result<(), RingError> {
        // The one before this attempt may have been the last.
        let late = deadline.is_some_and(Deadline::has_passed);
        // SAFETY: the ring stays mapped, as its operations ask, until the drop below has unlocked the room.
        match unsafe { self.room.lock(slice::end_of_sleep(deadline)) } {
            Ok(_) => {
                // The room guards nothing: after a death there is nothing to repair.
                self.room.recover();
                self.in_room = true;
                Ok(())
            }
            Err(AcquireError::TimedOut { .. }) if late => Err(RingError::TimedOut),
            Err(AcquireError::TimedOut { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Waiter<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.in_room {
            // `Corrupt` after a peer's scribble: the room is not held any more.
            let _ = self.room.unlock();
        }
    }
}
