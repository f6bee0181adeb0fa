//! [`Hold`]: the lock of plain data, held, whichever lock that is.
#![allow(unsafe_code)]

use super::claim::Claim;
use crate::raw::{Deadline, RawMutex, own_tid};
use crate::segment::{Placed, Share};
use crate::sync::{ChosenLock, Flagged, LockError, LockGuard, RLockGuard};

/// The head of an object that has a lock in it.
pub(super) trait OwnLock: Share {
    /// Unless the object is under somebody else's.
    fn own_lock(&self) -> &RawMutex;
}

/// The lock of a value or an array, held by the calling thread, which works on the object nowhere else.
pub(super) enum Hold<'a> {
    Mutex(LockGuard<'a>),
    RLock(RLockGuard<'a>, #[expect(dead_code, reason = "held until the guard is dropped")] Claim),
}

/// What a flag on an object's own lock means, which a holder that died left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// Somebody must look first: the object is changed in place.
    Told,
    /// Nothing: the object is consistent at any instruction. It is cleared.
    Cleared,
}

/// That the lock of an object was taken, for the methods that may be called only then.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    /// By whom.
    tid: u32,
}

impl Taken {
    /// Whether by the calling thread: not so in a forked child.
    #[inline]
    pub(super) fn is_own(self) -> bool {
        own_tid() == Some(self.tid)
    }
}

type Held<'a> = Result<Hold<'a>, LockError<Hold<'a>>>;

impl<'a> Hold<'a> {
    /// Takes the lock of `object`, waiting until `deadline`.
    #[inline(always)]
    pub(super) fn lock<H: OwnLock>(
        lock: &'a ChosenLock,
        object: &'a Placed<H>,
        flag: Flag,
        deadline: Option<Deadline>,
    ) -> Held<'a> {
        if !matches!(lock, ChosenLock::Own) {
            return Self::lock_elsewhere(lock, object, deadline);
        }
        // SAFETY: the lock lies in `object`, which is borrowed and keeps the memory mapped.
        match unsafe { LockGuard::lock_raw(object.own_lock(), deadline) } {
            Ok(guard) => Ok(Self::Mutex(guard)),
            Err(error) => Self::flagged(error, flag),
        }
    }

    /// Takes the lock of `object` if nobody alive holds it.
    pub(super) fn try_lock<H: OwnLock>(lock: &'a ChosenLock, object: &'a Placed<H>, flag: Flag) -> Held<'a> {
        let locked = match lock {
            // SAFETY: as above.
            ChosenLock::Own => unsafe { LockGuard::try_lock_raw(object.own_lock()) },
            ChosenLock::Lock(lock) => {
                return lock.try_lock().map(Self::Mutex).map_err(|e| e.map(Self::Mutex));
            }
            ChosenLock::RLock(lock) => return Self::nested(object, || lock.try_lock()),
        };
        match locked {
            Ok(guard) => Ok(Self::Mutex(guard)),
            Err(error) => Self::flagged(error, flag),
        }
    }

    /// Runs `body` under the lock of `object`.
    ///
    /// The same as with a [`Hold`], which is moved about: that costs more than the lock.
    #[inline(always)]
    pub(super) fn during<H: OwnLock, R>(
        lock: &'a ChosenLock,
        object: &'a Placed<H>,
        flag: Flag,
        body: impl FnOnce(Taken) -> R,
    ) -> Result<R, LockError<()>> {
        let held = if matches!(lock, ChosenLock::Own) {
            // SAFETY: as above.
            match unsafe { LockGuard::lock_raw(object.own_lock(), None) } {
                Ok(guard) => return Ok(body(Taken { tid: guard.tid() })),
                Err(error) => Self::flagged(error, flag),
            }
        } else {
            Self::lock_elsewhere(lock, object, None)
        };
        let hold = held.map_err(|error| error.map(drop))?;
        Ok(body(hold.taken()))
    }

    /// [`during`](Self::during), and then `commit`s what `body` made, unless `body` has forked and this is the child.
    #[inline(always)]
    pub(super) fn change<H: OwnLock, R, C>(
        lock: &'a ChosenLock,
        object: &'a Placed<H>,
        flag: Flag,
        body: impl FnOnce(Taken) -> (R, C),
        commit: impl FnOnce(C),
    ) -> Result<R, LockError<()>> {
        let held = if matches!(lock, ChosenLock::Own) {
            // SAFETY: as above.
            match unsafe { LockGuard::lock_raw(object.own_lock(), None) } {
                Ok(guard) => {
                    let (result, made) = body(Taken { tid: guard.tid() });
                    // Asked once whose lock it is, and not twice: that costs a tenth of the whole.
                    guard.unlock_after(|| commit(made));
                    return Ok(result);
                }
                Err(error) => Self::flagged(error, flag),
            }
        } else {
            Self::lock_elsewhere(lock, object, None)
        };
        let hold = held.map_err(|error| error.map(drop))?;
        let (result, made) = body(hold.taken());
        if hold.taken().is_own() {
            commit(made);
        }
        Ok(result)
    }

    #[inline]
    pub(super) fn taken(&self) -> Taken {
        let tid = match self {
            Self::Mutex(guard) => guard.tid(),
            Self::RLock(guard, _) => guard.tid(),
        };
        Taken { tid }
    }

    /// What else somebody else's lock protects is not known here, so its flag stays.
    #[cold]
    #[inline(never)]
    fn lock_elsewhere<H: OwnLock>(
        lock: &'a ChosenLock,
        object: &'a Placed<H>,
        deadline: Option<Deadline>,
    ) -> Held<'a> {
        match lock {
            // SAFETY: the lock lies in `object`, which is borrowed and keeps the memory mapped.
            ChosenLock::Own => unsafe { LockGuard::lock_raw(object.own_lock(), deadline) }
                .map(Self::Mutex)
                .map_err(|error| error.map(Self::Mutex)),
            ChosenLock::Lock(lock) => {
                lock.lock_until(deadline).map(Self::Mutex).map_err(|error| error.map(Self::Mutex))
            }
            ChosenLock::RLock(lock) => Self::nested(object, || lock.lock_until(deadline)),
        }
    }

    fn nested<H: OwnLock>(
        object: &Placed<H>,
        lock: impl FnOnce() -> Result<RLockGuard<'a>, LockError<RLockGuard<'a>>>,
    ) -> Held<'a> {
        let Some(claim) = Claim::new(object.head().addr().get()) else {
            return Err(LockError::Deadlock);
        };
        LockError::map_guard(lock(), |guard| Self::RLock(guard, claim))
    }

    /// What becomes of an object's own lock that was not simply taken.
    #[cold]
    #[inline(never)]
    fn flagged(error: LockError<LockGuard<'a>>, flag: Flag) -> Held<'a> {
        let error = error.map(Self::Mutex);
        if flag == Flag::Cleared { error.recover() } else { Err(error) }
    }
}

impl Flagged for Hold<'_> {
    fn declare_consistent(&self) {
        match self {
            Self::Mutex(guard) => guard.declare_consistent(),
            Self::RLock(guard, _) => guard.declare_consistent(),
        }
    }
}
