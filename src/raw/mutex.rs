//! [`RawMutex`]: a lease that can be waited for.
//!
//! ```text
//! word (states of `lease.rs`)   a waiter
//! F FW D DW                     takes it
//! H, spinning                   looks again for up to PAUSES, unless others sleep
//! H                             CAS -> HW
//! HW                            FUTEX_WAIT_BITSET on HW; at death while the word is free, the kernel wakes another
//! H HW, one owner for ten slices takes it if that thread is dead (out of band, see `lease.rs`)
//! ```
//!
//! **Fairness.** None (see `lease.rs`); a waiter that sleeps is woken by each release until it gets the lock.
//!
//! **Ordering.** All of it is in the lease: acquiring a word is Acquire, giving it up is Release.
#![allow(unsafe_code)]

use core::hint::spin_loop;
use core::sync::atomic::Ordering;

use super::lease::{Lease, TID_MASK, WAITERS};
use super::{AcquireError, Acquired, Deadline};
use crate::sys::robust::Thread;
use crate::sys::watch::Watch;
use crate::sys::{futex, slice, spin};

/// Pauses before a sleep, about 8 us. A count and not a time, so that a killed run can be repeated exactly.
const PAUSES: u32 = 300;
/// The first of them, about 1.5 us: the looks grow rare, since each takes the word's cache line from a holder that may be
/// done at once.
const FIRST_PAUSES: u32 = 60;
/// The most pauses between two looks then. A holder that takes longer doesn't notice looks, and may want the lock back
/// as soon as it is released: they come after each pause.
const MOST_PAUSES: u32 = 16;

/// A robust process-shared mutex of 40 bytes. All-zero bytes are an unlocked one.
///
/// # Process death
/// When the holder dies, by SIGKILL at any instruction too, the next acquirer gets the mutex at once with
/// [`Acquired::OwnerDied`]. A waiter that dies takes no wake-up with it. In a [`Segment`](crate::Segment) that is true
/// also of the few deaths that the kernel does not mark (a thread that isn't the leader calls execve; the OOM killer),
/// within 1.5 s; elsewhere such a mutex stays locked, and timed waits name the dead thread.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use multiproc::raw::RawMutex;
/// let (mutex, count) = (RawMutex::new(), AtomicU64::new(0));
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             // SAFETY: `mutex` stays where it is until it is unlocked.
///             unsafe { mutex.lock(None) }.expect("nobody dies");
///             count.store(count.load(Relaxed) + 1, Relaxed);
///             mutex.unlock()
///         });
///     }
/// });
/// assert_eq!(count.load(Relaxed), 2);
/// ```
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct RawMutex {
    pub(super) lease: Lease,
}

impl RawMutex {
    /// An unlocked mutex.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::raw::RawMutex::new().is_locked());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { lease: Lease::new() }
    }

    /// Waits for the mutex until `deadline`, or for as long as it takes.
    ///
    /// # Errors
    /// `TimedOut`, `Deadlock` if the calling thread holds it, `TooManyHeld`, `Unsupported`.
    ///
    /// # Safety
    /// Until the calling thread has unlocked the mutex, its memory must stay mapped and in place.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Acquired, RawMutex};
    /// let mutex = RawMutex::new();
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert_eq!(unsafe { mutex.lock(None) }, Ok(Acquired::Consistent));
    /// assert_eq!(mutex.unlock(), Ok(()));
    /// ```
    #[inline(always)] // Else the result travels through memory, which costs a fifth of an uncontended lock + unlock.
    pub unsafe fn lock(&self, deadline: Option<Deadline>) -> Result<Acquired, AcquireError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.lock_by(deadline) }.map(|(acquired, _)| acquired)
    }

    /// [`lock`](RawMutex::lock), and the calling thread's id.
    ///
    /// # Safety
    /// As for [`RawMutex::lock`].
    #[inline(always)]
    pub(crate) unsafe fn lock_by(&self, deadline: Option<Deadline>) -> Result<(Acquired, u32), AcquireError> {
        let thread = self.lease.enter()?;
        match self.lease.claim(thread) {
            Ok(()) => {
                let acquired = self.lease.taken(thread, 0);
                thread.clear_pending();
                Ok((acquired, thread.tid()))
            }
            Err(seen) => {
                let acquired = self.lock_contended(thread, seen, deadline, &mut Watch::new())?;
                Ok((acquired, thread.tid()))
            }
        }
    }

    /// [`lock`](RawMutex::lock) by the calling thread, which is known; the deadline is asked for if there is a wait.
    ///
    /// # Safety
    /// As for [`RawMutex::lock`].
    #[inline(always)]
    pub(super) unsafe fn lock_for(
        &self,
        thread: Thread,
        deadline: impl FnOnce() -> Option<Deadline>,
    ) -> Result<Acquired, AcquireError> {
        self.lease.enter_for(thread)?;
        match self.lease.claim(thread) {
            Ok(()) => {
                let acquired = self.lease.taken(thread, 0);
                thread.clear_pending();
                Ok(acquired)
            }
            Err(seen) => self.lock_contended(thread, seen, deadline(), &mut Watch::new()),
        }
    }

    /// [`try_lock`](Self::try_lock) for the calling thread, which is known; `None` also where the lock is marked.
    ///
    /// # Safety
    /// As for [`lock`](Self::lock).
    #[inline(always)]
    pub(super) unsafe fn lock_at_once(&self, thread: Thread) -> Option<Acquired> {
        self.lease.enter_for(thread).ok()?;
        let taken = self.lease.claim(thread).is_ok().then(|| self.lease.taken(thread, 0));
        thread.clear_pending();
        taken
    }

    /// [`unlock`](RawMutex::unlock) by the calling thread, which is known.
    #[inline]
    pub(super) fn unlock_for(&self, thread: Thread) -> Result<(), AcquireError> {
        self.lease.release_by(thread)
    }

    /// [`RawMutex::lock`] in several parts: the watch remembers from one to the next how long one owner was seen.
    ///
    /// # Safety
    /// As for [`RawMutex::lock`].
    pub(super) unsafe fn lock_watching(
        &self,
        deadline: Option<Deadline>,
        watch: &mut Watch,
    ) -> Result<Acquired, AcquireError> {
        let thread = self.lease.enter()?;
        self.lock_contended(thread, 0, deadline, watch)
    }

    /// Takes the mutex if nobody alive holds it.
    ///
    /// # Errors
    /// `WouldBlock`, `Deadlock` if the calling thread holds it, `TooManyHeld`, `Unsupported`.
    ///
    /// # Safety
    /// As for [`RawMutex::lock`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, RawMutex};
    /// let mutex = RawMutex::new();
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert!(unsafe { mutex.try_lock() }.is_ok());
    /// std::thread::scope(|scope| {
    ///     // SAFETY: as above.
    ///     let other = scope.spawn(|| unsafe { mutex.try_lock() });
    ///     assert_eq!(other.join().expect("it does not panic"), Err(AcquireError::WouldBlock));
    /// });
    /// assert_eq!(mutex.unlock(), Ok(()));
    /// ```
    #[inline]
    pub unsafe fn try_lock(&self) -> Result<Acquired, AcquireError> {
        // SAFETY: the caller's promise is the one that `try_take` asks for.
        unsafe { self.lease.try_take() }
    }

    /// Unlocks the mutex.
    ///
    /// # Errors
    /// `NotHeld`. `Corrupt` if another process overwrote the word: the mutex is not held any more then.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, RawMutex};
    /// let mutex = RawMutex::new();
    /// assert_eq!(mutex.unlock(), Err(AcquireError::NotHeld));
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert!(unsafe { mutex.lock(None) }.is_ok());
    /// assert_eq!(mutex.unlock(), Ok(()));
    /// ```
    #[inline]
    pub fn unlock(&self) -> Result<(), AcquireError> {
        self.lease.release()
    }

    /// [`unlock`](RawMutex::unlock) if the calling thread is the thread `tid`: for guards, of which a forked child has a
    /// copy.
    #[inline]
    pub(crate) fn unlock_as(&self, tid: u32) -> Result<(), AcquireError> {
        self.lease.release_as(tid)
    }

    /// [`unlock_as`](RawMutex::unlock_as), and does `last` just before, if the calling thread is the thread `tid`.
    #[inline]
    pub(crate) fn unlock_as_after(&self, tid: u32, last: impl FnOnce()) -> Result<(), AcquireError> {
        self.lease.release_as_after(tid, last)
    }

    /// Declares the protected state consistent: later acquirers are no longer told that a holder died.
    /// For the holder; does nothing for others.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Acquired, RawMutex};
    /// let mutex = RawMutex::new();
    /// std::thread::scope(|scope| {
    ///     // It ends with the mutex, as one that is killed.
    ///     // SAFETY: `mutex` stays where it is.
    ///     scope.spawn(|| unsafe { mutex.lock(None) });
    /// });
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert_eq!(unsafe { mutex.lock(None) }, Ok(Acquired::OwnerDied));
    /// mutex.recover();
    /// assert_eq!(mutex.unlock(), Ok(()));
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { mutex.lock(None) }, Ok(Acquired::Consistent));
    /// # assert_eq!(mutex.unlock(), Ok(()));
    /// ```
    pub fn recover(&self) {
        self.lease.recover();
    }

    /// Whether the calling thread holds the mutex.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawMutex;
    /// let mutex = RawMutex::new();
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert!(unsafe { mutex.lock(None) }.is_ok() && mutex.is_held());
    /// assert!(mutex.unlock().is_ok() && !mutex.is_held());
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lease.is_held()
    }

    /// Whether anybody holds the mutex at this moment.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawMutex;
    /// let mutex = RawMutex::new();
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert!(unsafe { mutex.lock(None) }.is_ok() && mutex.is_locked());
    /// assert!(mutex.unlock().is_ok() && !mutex.is_locked());
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lease.holder().is_some()
    }

    /// Ends a [`lock`](RawMutex::lock) that has `seen` the word held, or free with marks on it.
    #[cold]
    fn lock_contended(
        &self,
        thread: Thread,
        seen: u32,
        deadline: Option<Deadline>,
        watch: &mut Watch,
    ) -> Result<Acquired, AcquireError> {
        let marked = self.lease.try_take_marked(thread, seen);
        let outcome = match marked.or_else(|| self.spin(thread)) {
            Some(acquired) => Ok(acquired),
            None => self.sleep(thread, deadline, watch),
        };
        thread.clear_pending();
        outcome
    }

    /// Sleeps until the mutex is free, and takes it.
    fn sleep(
        &self,
        thread: Thread,
        deadline: Option<Deadline>,
        watch: &mut Watch,
    ) -> Result<Acquired, AcquireError> {
        let word = self.lease.word();
        loop {
            // Asked before the word is looked at, so that it is seen held after the last sleep (L3).
            let late = deadline.is_some_and(Deadline::has_passed);
            if let Some(acquired) = self.lease.try_take_pending(thread) {
                return Ok(acquired);
            }
            let seen = word.load(Ordering::Relaxed);
            if seen & TID_MASK == 0 {
                continue;
            }
            if watch.is_due(seen & TID_MASK)
                && let Some(acquired) = self.lease.try_take_from_dead(thread, watch)
            {
                return Ok(acquired);
            }
            if late {
                return Err(AcquireError::TimedOut { owner: seen & TID_MASK });
            }
            // Relaxed: announces a sleeper; the kernel compares the word again under its own lock.
            let announced = seen & WAITERS != 0
                || word.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if announced {
                futex::wait(word, seen | WAITERS, slice::end_of_sleep(deadline));
                // Who is woken finds that somebody else was faster, and will often be done soon.
                if let Some(acquired) = self.spin(thread) {
                    return Ok(acquired);
                }
            }
        }
    }

    /// Waits a little without sleeping, unless others sleep already.
    fn spin(&self, thread: Thread) -> Option<Acquired> {
        let most = PAUSES.min(spin::looks());
        let (mut paused, mut pauses) = (0_u32, 1);
        while paused < most {
            let seen = self.lease.word().load(Ordering::Relaxed);
            if seen & WAITERS != 0 {
                return None;
            }
            if seen & TID_MASK == 0
                && let Some(acquired) = self.lease.try_take_pending(thread)
            {
                return Some(acquired);
            }
            (0..pauses).for_each(|_| spin_loop());
            paused = paused.saturating_add(pauses);
            pauses = if paused < FIRST_PAUSES { MOST_PAUSES.min(pauses.saturating_mul(2)) } else { 1 };
        }
        None
    }
}
