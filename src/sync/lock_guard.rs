//! [`LockGuard`]: a lock that is held, one that nests or one that doesn't.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use super::lock_error::{Flagged, LockError};
use crate::raw::{AcquireError, Acquired, Deadline, RawMutex, RawRLock, own_tid};
use crate::segment::{Placed, Share};

/// A [`Lock`](crate::Lock) that is held, or as [`RLockGuard`](crate::RLockGuard) an [`RLock`](crate::RLock). Dropping it
/// unlocks, on the thread that locked: what the kernel sees die is a thread.
///
/// In a forked child it is not held, and dropping it there does nothing.
///
/// # Examples
/// ```
/// let lock = multiproc::Lock::new()?;
/// let guard = lock.lock().map_err(multiproc::Error::from)?;
/// assert!(lock.is_locked());
/// drop(guard);
/// assert!(!lock.is_locked());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct LockGuard<'a, R: RawLock = RawMutex> {
    raw: &'a R,
    /// Who holds it: a forked child has a copy of the guard, and may take the lock itself.
    tid: u32,
    thread_bound: PhantomData<*const ()>,
}

/// A lock as it lies in memory. Sealed: it bounds a public type, and nobody else can name it.
#[doc(hidden)]
pub trait RawLock {
    /// Locks, and says who the calling thread is.
    ///
    /// # Errors
    /// Those of the lock.
    ///
    /// # Safety
    /// Until the calling thread has unlocked, the memory must stay mapped and in place.
    unsafe fn lock_by(&self, deadline: Option<Deadline>) -> Result<(Acquired, u32), AcquireError>;
    /// # Errors
    /// Those of the lock.
    ///
    /// # Safety
    /// As for `lock_by`.
    unsafe fn try_lock(&self) -> Result<Acquired, AcquireError>;
    /// Unlocks if the calling thread is the thread `tid`.
    ///
    /// # Errors
    /// Those of the lock.
    fn unlock_as(&self, tid: u32) -> Result<(), AcquireError>;
    /// Unlocks at whatever depth, and says how deep it was beyond the first level.
    ///
    /// # Errors
    /// Those of the lock.
    fn unlock_all(&self) -> Result<u32, AcquireError>;
    /// Restores that depth, after `lock_by`.
    ///
    /// # Errors
    /// Those of the lock.
    fn deepen(&self, levels: u32) -> Result<(), AcquireError>;
    fn recover(&self);
    fn is_held(&self) -> bool;
}

/// What locking ends with.
pub(crate) type Locked<'a, R> = Result<LockGuard<'a, R>, LockError<LockGuard<'a, R>>>;

impl<'a, R: RawLock> LockGuard<'a, R> {
    /// The guard of `raw`, which the calling thread has just taken.
    pub(crate) fn new(raw: &'a R) -> Self {
        Self { raw, tid: own_tid().unwrap_or(0), thread_bound: PhantomData }
    }

    /// The thread that took the lock.
    #[inline]
    pub(crate) fn tid(&self) -> u32 {
        self.tid
    }

    /// Takes the lock, waiting until `deadline`.
    #[inline(always)] // As `RawMutex::lock`.
    pub(super) fn lock(raw: &'a Placed<R>, deadline: Option<Deadline>) -> Locked<'a, R>
    where
        R: Share,
    {
        // SAFETY: a handle keeps the memory mapped.
        unsafe { Self::lock_raw(raw, deadline) }
    }

    /// Takes the lock if nobody alive holds it.
    #[inline]
    pub(super) fn try_lock(raw: &'a Placed<R>) -> Locked<'a, R>
    where
        R: Share,
    {
        // SAFETY: a handle keeps the memory mapped.
        unsafe { Self::try_lock_raw(raw) }
    }

    /// [`lock`](Self::lock) for a lock that is a part of an object.
    ///
    /// # Safety
    /// `raw` lies in the mapping of a segment, which what is borrowed for `'a` keeps.
    #[inline(always)] // Else the result travels through memory, which costs more than the lock.
    pub(crate) unsafe fn lock_raw(raw: &'a R, deadline: Option<Deadline>) -> Locked<'a, R> {
        // SAFETY: the guard borrows what keeps the memory mapped; a leaked guard leaks the mapping (I5).
        let acquired = unsafe { raw.lock_by(deadline) };
        let tid = acquired.map_or(0, |(_, tid)| tid);
        let guard = || Self { raw, tid, thread_bound: PhantomData };
        LockError::sort(acquired.map(|(acquired, _)| acquired), guard)
    }

    /// [`try_lock`](Self::try_lock) for a lock that is a part of an object.
    ///
    /// # Safety
    /// As for [`lock_raw`](Self::lock_raw).
    #[inline]
    pub(crate) unsafe fn try_lock_raw(raw: &'a R) -> Locked<'a, R> {
        // SAFETY: as in `lock_raw`.
        let acquired = unsafe { raw.try_lock() };
        LockError::sort(acquired, || Self::new(raw))
    }

    /// Takes the lock; if a holder died, repairs first.
    pub(super) fn lock_or_recover(raw: &'a Placed<R>, repair: impl FnOnce(&mut Self)) -> Locked<'a, R>
    where
        R: Share,
    {
        Self::lock(raw, None).or_else(|error| error.recover_after(repair))
    }
}

impl LockGuard<'_> {
    /// Unlocks, and does `last` just before; neither in a forked child.
    #[inline]
    pub(crate) fn unlock_after(self, last: impl FnOnce()) {
        let guard = ManuallyDrop::new(self);
        // As in `drop`.
        let _ = guard.raw.unlock_as_after(guard.tid, last);
    }
}

impl<R: RawLock> Flagged for LockGuard<'_, R> {
    fn declare_consistent(&self) {
        self.raw.recover();
    }
}

impl<R: RawLock> Drop for LockGuard<'_, R> {
    #[inline]
    fn drop(&mut self) {
        // `NotHeld` in a forked child, `Corrupt` after a peer's scribble: in neither case is there anything left to do.
        let _ = self.raw.unlock_as(self.tid);
    }
}

impl<R: RawLock> fmt::Debug for LockGuard<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}

impl RawLock for RawMutex {
    #[inline(always)] // As `RawMutex::lock`.
    unsafe fn lock_by(&self, deadline: Option<Deadline>) -> Result<(Acquired, u32), AcquireError> {
        // SAFETY: the caller's promise.
        unsafe { RawMutex::lock_by(self, deadline) }
    }
    #[inline]
    unsafe fn try_lock(&self) -> Result<Acquired, AcquireError> {
        // SAFETY: the caller's promise.
        unsafe { RawMutex::try_lock(self) }
    }
    #[inline]
    fn unlock_as(&self, tid: u32) -> Result<(), AcquireError> {
        RawMutex::unlock_as(self, tid)
    }
    fn unlock_all(&self) -> Result<u32, AcquireError> {
        RawMutex::unlock(self).map(|()| 0)
    }
    fn deepen(&self, _levels: u32) -> Result<(), AcquireError> {
        Ok(())
    }
    fn recover(&self) {
        RawMutex::recover(self);
    }
    fn is_held(&self) -> bool {
        RawMutex::is_held(self)
    }
}

impl RawLock for RawRLock {
    #[inline(always)] // As `RawMutex::lock`.
    unsafe fn lock_by(&self, deadline: Option<Deadline>) -> Result<(Acquired, u32), AcquireError> {
        // SAFETY: the caller's promise.
        unsafe { RawRLock::lock_by(self, deadline) }
    }
    #[inline]
    unsafe fn try_lock(&self) -> Result<Acquired, AcquireError> {
        // SAFETY: the caller's promise.
        unsafe { RawRLock::try_lock(self) }
    }
    #[inline]
    fn unlock_as(&self, tid: u32) -> Result<(), AcquireError> {
        RawRLock::unlock_as(self, tid)
    }
    fn unlock_all(&self) -> Result<u32, AcquireError> {
        RawRLock::unlock_all(self)
    }
    fn deepen(&self, levels: u32) -> Result<(), AcquireError> {
        RawRLock::deepen(self, levels).map(|_| ())
    }
    fn recover(&self) {
        RawRLock::recover(self);
    }
    fn is_held(&self) -> bool {
        RawRLock::is_held(self)
    }
}
