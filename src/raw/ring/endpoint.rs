//! Exclusive endpoints: an end whose lease one thread keeps, so that its operations take none.
//!
//! ```text
//! keeper (beside the end's waiting room)   the end's lease     who puts or gets elsewhere
//! 0                                        as in `lease.rs`    takes it
//! TID                                      held by TID         Exclusive
//! TID | BUSY                               held by TID         Exclusive; its put is under way
//! TID, with or without BUSY                OWNER_DIED          takes it, repairs what was under way, clears the keeper
//! ```
//! The keeper is written by the holder of the lease only.
//!
//! **Ordering.** Nothing is released after an operation, so the barrier of (R4) is another one: a sleeper that finds a keeper
//! at the other end has a barrier made in its thread (`sys/membarrier.rs`), between its announcement and its last look. Where
//! the endpoint can't be reached by one it has a fence in each operation, and so it does once a sleeper that can't
//! make one has said so (`Hint`).
//!
//! **Closing.** (R5) keeper BUSY, barrier, `closing` <-> `closing`, barrier, keeper: a put finds the ring closed, or who
//! closes it finds the put and waits for its end. Once the keeper was seen without BUSY no put comes any more, and the tail
//! stands still: who closes commits the end in the keeper's place. The barrier of who closes is one in the keeper's thread,
//! as above; whoever can't make one leaves the closing to the keeper.
#![allow(unsafe_code)]

use core::sync::atomic::{Ordering, compiler_fence};

use super::producer::Producing;
use super::waiting::{End, Wait};
use super::{RawRing, Ring, RingError, Room};
use crate::raw::lease::TID_MASK;
use crate::raw::{AcquireError, Acquired, Deadline, RawMutex};
use crate::sys::atomic::fence;
use crate::sys::robust::Thread;
use crate::sys::watch::Watch;
use crate::sys::{membarrier, slice, spin};

/// A put of the keeper's is under way.
const BUSY: u32 = 1 << 31;

/// How an operation comes to its end's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It takes the lease, and gives it back.
    Shared,
    /// It takes the lease, and keeps it.
    Keep,
    /// The calling thread keeps it.
    Kept(Fences),
    /// Somebody else keeps it, and does not use it any more.
    Beside,
}

/// Whether an exclusive endpoint needs fences because nobody else's barrier reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fences {
    No,
    Yes,
}

impl Access {
    #[inline(always)]
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

impl Fences {
    /// What an endpoint of this process's needs.
    fn needed() -> Self {
        if membarrier::register() { Self::No } else { Self::Yes }
    }

    /// Between the stores before it and the loads behind it.
    #[inline(always)]
    pub(super) fn fence(self) {
        match self {
            // SYNC: SeqCst fence <-> that of `announce`, of `close_beside` (R4, R5).
            Self::Yes => fence(Ordering::SeqCst),
            // SYNC: <-> membarrier in `announce`, in `close_beside` (R4, R5); the compiler keeps the order too.
            Self::No => compiler_fence(Ordering::SeqCst),
        }
    }
}

impl Room {
    /// Whether `lease`, the one of this room's end, is in the hands of an endpoint, alive as far as is known.
    pub(super) fn is_kept(&self, lease: &RawMutex) -> bool {
        let keeper = self.keeper.load(Ordering::Relaxed) & TID_MASK; // Relaxed: compared with the lease.
        keeper != 0 && lease.lease.holder() == Some(keeper)
    }

    /// Whether an endpoint died that had `lease`, and nobody has taken its place.
    pub(super) fn is_orphaned(&self, lease: &RawMutex) -> bool {
        // Relaxed: cleared by who takes its place.
        self.keeper.load(Ordering::Relaxed) != 0 && lease.lease.is_orphaned()
    }

    /// The calling thread, which has just taken the end's lease, keeps it.
    pub(super) fn keep(&self, thread: Thread) {
        self.keeper.store(thread.tid(), Ordering::Relaxed); // Relaxed: the fence orders it.
        // SYNC: SeqCst fence <-> `announce`'s (R4): a sleeper that did not see the keeper is seen by its first operation.
        fence(Ordering::SeqCst);
    }

    /// The end's lease is kept no more, by its holder or a dead one.
    #[cold]
    pub(super) fn leave(&self) {
        self.keeper.store(0, Ordering::Relaxed); // Relaxed: the fence orders it.
        // SYNC: SeqCst fence <-> `close_beside`'s (R5): whoever has the end next finds the ring closed, or who closes it finds
        // it kept no more.
        fence(Ordering::SeqCst);
    }

    /// Whether `thread` keeps the end.
    pub(super) fn is_kept_by(&self, thread: Thread) -> bool {
        self.keeper.load(Ordering::Relaxed) & TID_MASK == thread.tid() // Relaxed: its own word.
    }

    /// The keeper begins a put.
    #[inline(always)]
    pub(super) fn begin(&self, thread: Thread, fences: Fences) {
        self.keeper.store(thread.tid() | BUSY, Ordering::Relaxed); // Relaxed: the barrier orders it.
        fences.fence();
    }

    /// The keeper's put has ended.
    #[inline(always)]
    pub(super) fn end(&self, thread: Thread) {
        // SYNC: Release -> `close_beside`'s Acquire: what was committed.
        self.keeper.store(thread.tid(), Ordering::Release);
    }

    /// Ends a `lock_for` of `lease` that was not patient enough, or found it kept.
    #[cold]
    pub(super) fn take_slowly(
        &self,
        lease: &RawMutex,
        thread: Thread,
        wait: Wait,
    ) -> Result<Acquired, RingError> {
        // For all slices: a holder whose death nobody was told of is found out after some.
        let mut watch = Watch::new();
        loop {
            if self.is_kept(lease) {
                // Its thread may have died without the kernel's telling.
                lease.lease.free_from_dead(thread);
                // SAFETY: as for the `lock_for` that comes before, whose caller unlocks this one too.
                return match unsafe { lease.try_lock() } {
                    Err(AcquireError::WouldBlock) if self.is_kept(lease) => Err(RingError::Exclusive),
                    Err(AcquireError::WouldBlock) => continue,
                    taken => Ok(taken?),
                };
            }
            match wait {
                Wait::Never => return Err(RingError::TimedOut),
                Wait::Until(Some(deadline)) if deadline.has_passed() => return Err(RingError::TimedOut),
                Wait::Until(_) => {}
            }
            // SAFETY: as above.
            match unsafe { lease.lock_watching(self.patience(lease, wait), &mut watch) } {
                Err(AcquireError::TimedOut { .. }) => {}
                taken => return Ok(taken?),
            }
        }
    }

    /// How long to wait for `lease` before it is time for [`take_slowly`](Self::take_slowly).
    pub(super) fn patience(&self, lease: &RawMutex, wait: Wait) -> Option<Deadline> {
        if self.is_kept(lease) { Some(Deadline::now()) } else { slice::end_of_sleep(wait.for_lease()) }
    }
}

impl End<'_> {
    /// Whether the endpoint of the other end died.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        let (lease, room) = self.peer;
        room.is_orphaned(lease)
    }
}

impl RawRing {
    /// Gives back the producers' end, if the calling thread keeps it.
    pub(crate) fn leave_producers_end(&self) {
        Self::give_back(&self.producing.lease, &self.producers_room);
    }

    /// Gives back the consumers' end, if the calling thread keeps it.
    pub(crate) fn leave_consumers_end(&self) {
        Self::give_back(&self.consuming.lease, &self.consumers_room);
    }

    fn give_back(lease: &RawMutex, room: &Room) {
        if lease.is_held() {
            room.leave();
            // `Corrupt` after a peer's scribble: the lease is not held any more.
            let _ = lease.unlock();
        }
    }
}

impl<'a> Ring<'a> {
    /// The same ring, for operations of the calling thread's on an end that it keeps.
    #[inline(always)]
    pub(crate) fn of_keeper(self, fences: Fences) -> Self {
        Self { access: Access::Kept(fences), ..self }
    }

    /// Takes the producers' end for the calling thread, which keeps it until
    /// [`RawRing::leave_producers_end`].
    ///
    /// # Errors
    /// `Exclusive`, `Deadlock`, `TooManyHeld`, `Corrupt`, `Unsupported`, `Moved`.
    ///
    /// # Safety
    /// Until then, the ring must stay mapped and in place.
    pub(crate) unsafe fn keep_producers_end(self) -> Result<Fences, RingError> {
        let fences = Fences::needed();
        let keeping = Self { access: Access::Keep, ..self };
        Producing::hold(&keeping, Wait::Until(None), |producing| {
            self.ring.producers_room.keep(producing.thread);
            Ok(fences)
        })
    }

    /// Takes the consumers' end for the calling thread, which keeps it until
    /// [`RawRing::leave_consumers_end`].
    ///
    /// # Errors
    /// As for [`keep_producers_end`](Self::keep_producers_end).
    ///
    /// # Safety
    /// As for [`keep_producers_end`](Self::keep_producers_end).
    pub(crate) unsafe fn keep_consumers_end(self) -> Result<Fences, RingError> {
        let fences = Fences::needed();
        let keeping = Self { access: Access::Keep, ..self };
        super::Consuming::hold(&keeping, Wait::Until(None), |consuming| {
            if consuming.owner_died {
                consuming.recover();
            }
            self.ring.consumers_room.keep(consuming.thread);
            Ok(fences)
        })
    }

    /// Commits the end in the place of the producers' end's keeper; false if that is kept no more.
    ///
    /// # Errors
    /// `TimedOut` if a put of the keeper's lasts until `deadline`, or no barrier can be made in its thread; `Deadlock` if the
    /// put is the calling thread's; `Moved`.
    #[cold]
    pub(super) fn close_beside(&self, deadline: Option<Deadline>) -> Result<bool, RingError> {
        let (lease, room) = (&self.ring.producing.lease, &self.ring.producers_room);
        let thread = Thread::current().map_err(AcquireError::from)?;
        // SYNC: SeqCst fence <-> `Fences::fence` in `begin`, and `leave`'s (R5).
        fence(Ordering::SeqCst);
        if !membarrier::everywhere() {
            return Err(RingError::TimedOut);
        }
        loop {
            // SYNC: Acquire <- `end`'s Release: what was committed before.
            match room.keeper.load(Ordering::Acquire) {
                0 => return Ok(false),
                keeper if keeper & BUSY == 0 => break,
                _ if lease.lease.is_held_by(thread) => return Err(RingError::Deadlock),
                _ if !room.is_kept(lease) => return Ok(false),
                _ if deadline.is_some_and(Deadline::has_passed) => return Err(RingError::TimedOut),
                _ => spin::give_way(),
            }
        }
        Producing::beside(&Self { access: Access::Beside, ..*self }, thread)?;
        Ok(true)
    }

    /// The same ring, for an operation that takes the lease that it needs.
    pub(super) fn shared(&self) -> Self {
        Self { access: Access::Shared, ..*self }
    }
}
