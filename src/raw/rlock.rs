//! [`RawRLock`]: a mutex that its holder may take again.
//!
//! ```text
//! word (states of `lease.rs`)   lock by another thread     lock by the holder    unlock by the holder
//! F FW D DW                     takes it, depth 0          -                     -
//! H HW, depth 0                 waits as for `mutex.rs`    depth 1               F, FW: the word is released
//! H HW, depth d > 0             waits                      depth d + 1           depth d - 1
//! ```
//!
//! The depth is kept beside the holder's private list of held words and not in shared memory: no other process can see or
//! change it, and it ends with the thread. A word is known by its address, so the lock nests across all handles of a
//! segment, which a process maps once.
//!
//! **Fairness.** None (see `lease.rs`): once it is free, whoever comes first has it.
//!
//! **Ordering.** The first `lock` and the last `unlock` are the lease's Acquire and Release; those between touch memory of
//! this thread only.
#![allow(unsafe_code)]

use super::{AcquireError, Acquired, Deadline, RawMutex, own_tid};

/// A robust process-shared mutex of 40 bytes that nests within a thread. All-zero bytes are an unlocked one.
///
/// # Process death
/// As for [`RawMutex`]; however deep the holder was, the lock is free when it has died.
///
/// # Examples
/// ```
/// use multiproc::raw::RawRLock;
/// let lock = RawRLock::new();
/// // SAFETY: `lock` stays where it is until it is unlocked as often.
/// let (outer, inner) = unsafe { (lock.lock(None), lock.lock(None)) };
/// assert!(outer.is_ok() && inner.is_ok());
/// assert_eq!(lock.depth(), Some(1)); // Once while it was held.
/// lock.unlock()?;
/// lock.unlock()?;
/// assert!(!lock.is_locked());
/// # Ok::<(), multiproc::raw::AcquireError>(())
/// ```
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct RawRLock {
    mutex: RawMutex,
}

impl RawRLock {
    /// An unlocked lock.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::raw::RawRLock::new().is_locked());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { mutex: RawMutex::new() }
    }

    /// Takes the lock once more if the calling thread holds it; else waits for it until `deadline`, or for as long as it
    /// takes. A nested acquisition says [`Acquired::OwnerDied`] too until the holder has recovered.
    ///
    /// # Errors
    /// `TimedOut`, `TooManyHeld` (also beyond a depth of 2^32 - 1), `Unsupported`.
    ///
    /// # Safety
    /// Until the calling thread has unlocked as often as it has locked, the memory must stay mapped and in place.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Acquired, RawRLock};
    /// let lock = RawRLock::new();
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// assert_eq!(unsafe { lock.lock(None) }, Ok(Acquired::Consistent));
    /// assert_eq!(lock.unlock(), Ok(()));
    /// ```
    #[inline]
    pub unsafe fn lock(&self, deadline: Option<Deadline>) -> Result<Acquired, AcquireError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.lock_by(deadline) }.map(|(acquired, _)| acquired)
    }

    /// [`lock`](RawRLock::lock), and the calling thread's id.
    ///
    /// # Safety
    /// As for [`RawRLock::lock`].
    #[inline(always)] // As for the mutex.
    pub(crate) unsafe fn lock_by(&self, deadline: Option<Deadline>) -> Result<(Acquired, u32), AcquireError> {
        if let Some(tid) = self.mutex.lease.nest() {
            return Ok((Acquired::Consistent, tid));
        }
        // SAFETY: the caller's promise is the one that the mutex asks for.
        match unsafe { self.mutex.lock_by(deadline) } {
            Err(AcquireError::Deadlock) => self.lock_held(),
            other => other,
        }
    }

    /// Ends a `lock` by the holder.
    #[cold]
    fn lock_held(&self) -> Result<(Acquired, u32), AcquireError> {
        Ok((self.deepen(1)?, own_tid().unwrap_or(0)))
    }

    /// Takes the lock if nobody alive, or the calling thread, holds it.
    ///
    /// # Errors
    /// `WouldBlock`, `TooManyHeld`, `Unsupported`.
    ///
    /// # Safety
    /// As for [`RawRLock::lock`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, RawRLock};
    /// let lock = RawRLock::new();
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// assert!(unsafe { lock.try_lock() }.is_ok());
    /// std::thread::scope(|scope| {
    ///     // SAFETY: as above.
    ///     let other = scope.spawn(|| unsafe { lock.try_lock() });
    ///     assert_eq!(other.join().expect("it does not panic"), Err(AcquireError::WouldBlock));
    /// });
    /// assert_eq!(lock.unlock(), Ok(()));
    /// ```
    #[inline]
    pub unsafe fn try_lock(&self) -> Result<Acquired, AcquireError> {
        // SAFETY: the caller's promise is the one that the mutex asks for.
        match unsafe { self.mutex.try_lock() } {
            Err(AcquireError::Deadlock) => self.deepen(1),
            other => other,
        }
    }

    /// Takes back one `lock` of the calling thread; the first of them unlocks.
    ///
    /// # Errors
    /// `NotHeld`. `Corrupt` if another process overwrote the word: the lock is not held any more then.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, RawRLock};
    /// let lock = RawRLock::new();
    /// assert_eq!(lock.unlock(), Err(AcquireError::NotHeld));
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// assert!(unsafe { lock.lock(None) }.is_ok());
    /// assert_eq!(lock.unlock(), Ok(()));
    /// ```
    #[inline]
    pub fn unlock(&self) -> Result<(), AcquireError> {
        self.mutex.lease.leave()
    }

    /// [`unlock`](RawRLock::unlock) if the calling thread is the thread `tid`: for guards, of which a forked child has a
    /// copy.
    #[inline]
    pub(crate) fn unlock_as(&self, tid: u32) -> Result<(), AcquireError> {
        self.mutex.lease.leave_as(tid)
    }

    /// Unlocks however deep the calling thread is in the lock, as a wait for a condition does, and says how deep it was:
    /// what [`RawRLock::deepen`] restores after the next `lock`.
    ///
    /// # Errors
    /// As for [`RawRLock::unlock`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// unsafe { lock.lock(None) }?;
    /// lock.deepen(2)?;
    /// lock.unlock_all()?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    pub fn unlock_all(&self) -> Result<u32, AcquireError> {
        let depth = self.mutex.lease.leave_all_levels()?;
        self.mutex.unlock().map(|()| depth)
    }

    /// Takes the lock `levels` times more. For the holder.
    ///
    /// # Errors
    /// `NotHeld`; `TooManyHeld` beyond a depth of 2^32 - 1.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// unsafe { lock.lock(None) }?;
    /// lock.deepen(2)?;
    /// assert_eq!(lock.depth(), Some(2));
    /// lock.unlock_all()?;
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    pub fn deepen(&self, levels: u32) -> Result<Acquired, AcquireError> {
        self.mutex.lease.enter_levels(levels)
    }

    /// How often the calling thread has taken the lock while it held it; `None` if it doesn't hold it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// assert_eq!(lock.depth(), None);
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// unsafe { lock.lock(None) }?;
    /// assert_eq!(lock.depth(), Some(0));
    /// lock.unlock()?;
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    #[must_use]
    pub fn depth(&self) -> Option<u32> {
        self.mutex.lease.level()
    }

    /// Declares the protected state consistent: later acquirers are no longer told that a holder died.
    /// For the holder; does nothing for others.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Acquired, RawRLock};
    /// let lock = RawRLock::new();
    /// std::thread::scope(|scope| {
    ///     // It ends with the lock, as one that is killed.
    ///     // SAFETY: `lock` stays where it is.
    ///     scope.spawn(|| unsafe { lock.lock(None) });
    /// });
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// assert_eq!(unsafe { lock.lock(None) }, Ok(Acquired::OwnerDied));
    /// lock.recover();
    /// assert_eq!(lock.unlock(), Ok(()));
    /// ```
    pub fn recover(&self) {
        self.mutex.recover();
    }

    /// Whether the calling thread holds the lock.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// assert!(unsafe { lock.lock(None) }.is_ok() && lock.is_held());
    /// assert!(lock.unlock().is_ok() && !lock.is_held());
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.mutex.is_held()
    }

    /// Whether anybody holds the lock at this moment.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// // SAFETY: `lock` stays where it is until it is unlocked.
    /// assert!(unsafe { lock.lock(None) }.is_ok() && lock.is_locked());
    /// assert!(lock.unlock().is_ok() && !lock.is_locked());
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.mutex.is_locked()
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn lock(lock: &RawRLock) -> Result<Acquired, AcquireError> {
        // SAFETY: the tests keep their locks in place and unlock them.
        unsafe { lock.try_lock() }
    }

    fn take(nested: &RawRLock) {
        assert_eq!(lock(nested), Ok(Acquired::Consistent));
    }

    #[test]
    fn a_lock_is_free_after_as_many_unlocks_as_locks() {
        let nested = RawRLock::new();
        for depth in 0..3 {
            take(&nested);
            assert_eq!(nested.depth(), Some(depth));
        }
        for _ in 0..3 {
            assert!(nested.is_locked());
            nested.unlock().unwrap();
        }
        assert!(!nested.is_locked());
        assert_eq!(nested.unlock(), Err(AcquireError::NotHeld));
    }

    #[test]
    fn another_thread_does_not_nest() {
        let nested = RawRLock::new();
        take(&nested);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(lock(&nested), Err(AcquireError::WouldBlock));
                assert_eq!(nested.unlock(), Err(AcquireError::NotHeld));
            });
        });
        nested.unlock().unwrap();
    }

    #[test]
    fn depths_stay_with_their_locks_whatever_the_order_of_unlocking() {
        let locks: [RawRLock; 4] = Default::default();
        for (levels, nested) in (0..).zip(&locks) {
            take(nested);
            let _ = nested.deepen(levels).unwrap();
        }
        let depths = || locks.each_ref().map(RawRLock::depth);
        assert_eq!(locks[1].unlock_all(), Ok(1));
        assert_eq!(depths(), [Some(0), None, Some(2), Some(3)]);
        assert_eq!(locks[3].unlock_all(), Ok(3));
        take(&locks[1]);
        assert_eq!(depths(), [Some(0), Some(0), Some(2), None]);
        for nested in [&locks[0], &locks[2], &locks[1]] {
            nested.unlock_all().unwrap();
        }
        take(&locks[0]);
        assert_eq!(depths(), [Some(0), None, None, None]);
        locks[0].unlock().unwrap();
    }

    #[test]
    fn a_depth_does_not_overflow() {
        let nested = RawRLock::new();
        take(&nested);
        let _ = nested.deepen(u32::MAX).unwrap();
        assert_eq!(lock(&nested), Err(AcquireError::TooManyHeld));
        assert_eq!(nested.unlock_all(), Ok(u32::MAX));
        assert!(!nested.is_locked());
    }

    #[test]
    fn a_thread_that_inherits_a_dead_ones_context_starts_at_depth_zero() {
        // Leaked: the kernel marks it when a thread dies that holds it.
        let nested: &'static RawRLock = Box::leak(Box::default());
        for _ in 0..20 {
            std::thread::spawn(move || {
                let _ = lock(nested).unwrap();
                assert_eq!(nested.depth(), Some(0));
                let _ = nested.deepen(7).unwrap();
            })
            .join()
            .unwrap();
        }
        assert_eq!(lock(nested), Ok(Acquired::OwnerDied));
        assert_eq!(lock(nested), Ok(Acquired::OwnerDied), "nested, and not recovered");
        nested.recover();
        assert_eq!(lock(nested), Ok(Acquired::Consistent));
        assert_eq!(nested.unlock_all(), Ok(2));
    }
}
