//! [`ChosenLock`]: an object's own lock, or a caller's in its place.

#![allow(unsafe_code)]

use super::lock::Lock;
use super::lock_guard::RawLock;
use super::rlock::RLock;
use crate::raw::{AcquireError, Acquired, Deadline, RawMutex, RawRLock};

/// The lock of an object, which travels with the object's handle.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum ChosenLock {
    /// The one in the object.
    Own,
    Lock(Lock),
    RLock(RLock),
}

impl ChosenLock {
    /// The lock as it lies in memory, where `own` is the one in the object.
    #[inline]
    pub(super) fn raw<'a>(&'a self, own: &'a RawRLock) -> ChosenRaw<'a> {
        match self {
            Self::Own => ChosenRaw::RLock(own),
            Self::Lock(lock) => ChosenRaw::Mutex(&lock.mutex),
            Self::RLock(lock) => ChosenRaw::RLock(&lock.lock),
        }
    }
}

/// Which lock that is, as it lies in memory.
#[derive(Clone, Copy)]
pub(super) enum ChosenRaw<'a> {
    RLock(&'a RawRLock),
    Mutex(&'a RawMutex),
}

impl RawLock for ChosenRaw<'_> {
    #[inline(always)] // As `RawMutex::lock`.
    unsafe fn lock_by(&self, deadline: Option<Deadline>) -> Result<(Acquired, u32), AcquireError> {
        match self {
            // SAFETY: the caller's promise.
            Self::RLock(lock) => unsafe { lock.lock_by(deadline) },
            // SAFETY: as above.
            Self::Mutex(lock) => unsafe { lock.lock_by(deadline) },
        }
    }
    #[inline]
    unsafe fn try_lock(&self) -> Result<Acquired, AcquireError> {
        match self {
            // SAFETY: as above.
            Self::RLock(lock) => unsafe { lock.try_lock() },
            // SAFETY: as above.
            Self::Mutex(lock) => unsafe { lock.try_lock() },
        }
    }
    #[inline]
    fn unlock_as(&self, tid: u32) -> Result<(), AcquireError> {
        match self {
            Self::RLock(lock) => lock.unlock_as(tid),
            Self::Mutex(lock) => lock.unlock_as(tid),
        }
    }
    #[inline]
    fn unlock_all(&self) -> Result<u32, AcquireError> {
        match self {
            Self::RLock(lock) => lock.unlock_all(),
            Self::Mutex(lock) => RawLock::unlock_all(*lock),
        }
    }
    #[inline]
    fn deepen(&self, levels: u32) -> Result<(), AcquireError> {
        match self {
            Self::RLock(lock) if levels > 0 => lock.deepen(levels).map(drop),
            _ => Ok(()),
        }
    }
    fn recover(&self) {
        match self {
            Self::RLock(lock) => lock.recover(),
            Self::Mutex(lock) => lock.recover(),
        }
    }
    #[inline]
    fn is_held(&self) -> bool {
        match self {
            Self::RLock(lock) => lock.is_held(),
            Self::Mutex(lock) => lock.is_held(),
        }
    }
}
