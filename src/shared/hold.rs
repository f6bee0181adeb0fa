//! [`Hold`]: the lock of plain data, held, whichever lock that is.
#![allow(unsafe_code)]

use super::claim::Claim;
use crate::raw::{Deadline, RawMutex};
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

type Held<'a> = Result<Hold<'a>, LockError<Hold<'a>>>;

impl<'a> Hold<'a> {
    /// Takes the lock of `object`, waiting until `deadline`.
    #[inline]
    pub(super) fn lock<H: OwnLock>(
        lock: &'a ChosenLock,
        object: &'a Placed<H>,
        deadline: Option<Deadline>,
    ) -> Held<'a> {
        match lock {
            // SAFETY: the lock lies in `object`, which is borrowed and keeps the memory mapped.
            ChosenLock::Own => Self::of_mutex(unsafe { LockGuard::lock_raw(object.own_lock(), deadline) }),
            ChosenLock::Lock(lock) => Self::of_mutex(lock.lock_until(deadline)),
            ChosenLock::RLock(lock) => Self::nested(object, || lock.lock_until(deadline)),
        }
    }

    /// Takes the lock of `object` if nobody alive holds it.
    pub(super) fn try_lock<H: OwnLock>(lock: &'a ChosenLock, object: &'a Placed<H>) -> Held<'a> {
        match lock {
            // SAFETY: as above.
            ChosenLock::Own => Self::of_mutex(unsafe { LockGuard::try_lock_raw(object.own_lock()) }),
            ChosenLock::Lock(lock) => Self::of_mutex(lock.try_lock()),
            ChosenLock::RLock(lock) => Self::nested(object, || lock.try_lock()),
        }
    }

    /// Whether the calling thread holds the lock: not so in a forked child.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        match self {
            Self::Mutex(guard) => guard.is_held(),
            Self::RLock(guard, _) => guard.is_held(),
        }
    }

    #[inline]
    fn of_mutex(locked: Result<LockGuard<'a>, LockError<LockGuard<'a>>>) -> Held<'a> {
        match locked {
            Ok(guard) => Ok(Self::Mutex(guard)),
            Err(error) => Err(error.map(Self::Mutex)),
        }
    }

    #[cold]
    fn nested<H: OwnLock>(
        object: &Placed<H>,
        lock: impl FnOnce() -> Result<RLockGuard<'a>, LockError<RLockGuard<'a>>>,
    ) -> Held<'a> {
        let Some(claim) = Claim::new(object.head().addr().get()) else {
            return Err(LockError::Deadlock);
        };
        match lock() {
            Ok(guard) => Ok(Self::RLock(guard, claim)),
            Err(error) => Err(error.map(|guard| Self::RLock(guard, claim))),
        }
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
