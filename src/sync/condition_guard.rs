//! [`ConditionGuard`]: the lock of a condition, held: the right to wait and to notify.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use super::condition::Condition;
use super::lock_error::Flagged;
use super::lock_guard::RawLock;
use super::wait_error::WaitError;
use crate::raw::{self, AcquireError, Acquired, Deadline, Debt, own_tid};

/// The lock of a [`Condition`], held. Dropping it unlocks, on the thread that locked: what the kernel sees die is a thread.
///
/// In a forked child it is not held: dropping it there, or notifying, does nothing.
///
/// # Examples
/// ```
/// let condition = multiproc::Condition::new()?;
/// let guard = condition.lock().map_err(multiproc::Error::from)?;
/// assert_eq!(guard.notify_all(), 0); // Nobody waits.
/// # drop(guard);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct ConditionGuard<'a> {
    condition: &'a Condition,
    /// Who holds the lock: a forked child has a copy of the guard, and may take the lock itself.
    tid: u32,
    /// Whoever is to be woken when the lock is released: woken before, it would only sleep again, for the lock.
    debt: Cell<Option<Debt<'a>>>,
    thread_bound: PhantomData<*const ()>,
}

type Waited<'a> = Result<ConditionGuard<'a>, WaitError<ConditionGuard<'a>>>;
type TimedWait<'a> = Result<(ConditionGuard<'a>, bool), WaitError<(ConditionGuard<'a>, bool)>>;

impl<'a> ConditionGuard<'a> {
    /// The guard of `condition`, whose lock the calling thread has just taken.
    pub(super) fn new(condition: &'a Condition) -> Self {
        Self::by(condition, own_tid().unwrap_or(0))
    }

    /// The guard of `condition`, whose lock the calling thread, which has this id, has just taken.
    #[inline]
    pub(super) fn by(condition: &'a Condition, tid: u32) -> Self {
        Self { condition, tid, debt: Cell::new(None), thread_bound: PhantomData }
    }

    /// Releases the lock, at all its levels, waits to be notified, and takes it again.
    ///
    /// # Errors
    /// [`WaitError::OwnerDied`] with the guard; [`WaitError::TooManyWaiters`] with the guard, without having waited; and
    /// those that leave the lock lost.
    ///
    /// # Process death
    /// Waits for ever if everybody who could notify has died: give such waits a time. A waiter that dies passes its
    /// notification on, within 200 ms.
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| condition.lock().unwrap().notify_one());
    ///     let guard = guard.wait().unwrap();
    ///     assert_eq!(guard.waiting(), 0);
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(self) -> Waited<'a> {
        guard_of(self.wait_until(None, None))
    }

    /// As [`wait`](Self::wait), for up to `timeout`; false if the time passed without a notification.
    ///
    /// Taking the lock again comes on top of the time, for as long as that takes.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Process death
    /// As for [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let (guard, notified) = guard.wait_timeout(Duration::from_millis(1)).map_err(multiproc::Error::from)?;
    /// assert!(!notified);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> TimedWait<'a> {
        self.wait_until(Deadline::after(timeout), None)
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let (guard, notified) = guard.wait_deadline(Instant::now()).map_err(multiproc::Error::from)?;
    /// assert!(!notified);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_deadline(self, deadline: Instant) -> TimedWait<'a> {
        self.wait_until(Deadline::at(deadline), None)
    }

    /// As [`wait_timeout`](Self::wait_timeout), and gives up if the lock can't be taken again within `relock` after that.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] if so: the lock is not held, nor by guards further out on this thread, and a
    /// notification goes to another waiter. Otherwise as for [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let waited = guard.wait_timeout_relock(Duration::from_millis(1), Duration::from_secs(1));
    /// let (guard, notified) = waited.map_err(multiproc::Error::from)?;
    /// assert!(!notified);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout_relock(self, timeout: Duration, relock: Duration) -> TimedWait<'a> {
        self.wait_until(Deadline::after(timeout), Some(relock))
    }

    /// Waits until `predicate`, which is asked under the lock, first at once, is true.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Process death
    /// As for [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// let (condition, ready) = (multiproc::Condition::new()?, multiproc::Value::new(0u8)?);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let guard = condition.lock().unwrap();
    ///         ready.set(1).unwrap();
    ///         guard.notify_all();
    ///     });
    ///     let guard = condition.lock().unwrap();
    ///     drop(guard.wait_for(|| ready.get() == 1).unwrap());
    /// });
    /// assert_eq!(ready.get(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_for(self, predicate: impl FnMut() -> bool) -> Waited<'a> {
        guard_of(self.wait_for_until(None, predicate))
    }

    /// As [`wait_for`](Self::wait_for), for up to `timeout` in all; returns what the predicate said last.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let waited = guard.wait_for_timeout(Duration::from_millis(1), || false);
    /// let (guard, met) = waited.map_err(multiproc::Error::from)?;
    /// assert!(!met);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_for_timeout(self, timeout: Duration, predicate: impl FnMut() -> bool) -> TimedWait<'a> {
        self.wait_for_until(Deadline::after(timeout), predicate)
    }

    /// As [`wait_for_timeout`](Self::wait_for_timeout), until `deadline`.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let (guard, met) = guard.wait_for_deadline(Instant::now(), || true).map_err(multiproc::Error::from)?;
    /// assert!(met);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_for_deadline(self, deadline: Instant, predicate: impl FnMut() -> bool) -> TimedWait<'a> {
        self.wait_for_until(Deadline::at(deadline), predicate)
    }

    /// Notifies the `n` threads that have waited longest, or as many as wait, and says how many that were. Never waits.
    /// None of them goes on before the lock is free; a single one may not even be woken before that.
    ///
    /// # Process death
    /// A waiter that has died is passed over; if one dies with the notification, another that waits now gets it. Killed
    /// here, a process has notified some of the `n`.
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(guard.notify(3), 0, "nobody waits, and nothing is remembered");
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn notify(&self, n: usize) -> usize {
        if !self.is_held() {
            return 0;
        }
        let waiters = self.condition.waiters();
        if self.debt.get().is_some() {
            return waiters.notify(n);
        }
        // SAFETY: the guard borrows the handle, which keeps the memory mapped; a leaked guard leaks the mapping (I5).
        let (notified, debt) = unsafe { waiters.notify_owing(n) };
        self.debt.set(debt);
        notified
    }

    /// Notifies the thread that has waited longest, if one waits, and says whether one did. Never waits.
    ///
    /// # Process death
    /// As for [`notify`](Self::notify).
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// assert!(!guard.notify_one());
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn notify_one(&self) -> bool {
        self.notify(1) != 0
    }

    /// Notifies everybody who waits, and says how many that were. Never waits.
    ///
    /// # Process death
    /// As for [`notify`](Self::notify).
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(guard.notify_all(), 0);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "notifyAll")]
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// How many threads wait and have not been notified.
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(guard.waiting(), 0);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.condition.waiters().count()
    }

    fn is_held(&self) -> bool {
        own_tid() == Some(self.tid) && self.condition.raw_lock().is_held()
    }

    fn wait_for_until(
        self,
        deadline: Option<Deadline>,
        mut predicate: impl FnMut() -> bool,
    ) -> TimedWait<'a> {
        let mut guard = self;
        loop {
            let late = deadline.is_some_and(Deadline::has_passed);
            let met = predicate();
            if met || late {
                return Ok((guard, met));
            }
            (guard, _) = guard.wait_until(deadline, None)?;
        }
    }

    /// Waits until `deadline`, and up to `relock` more for the lock, or for as long as it takes.
    fn wait_until(self, deadline: Option<Deadline>, relock: Option<Duration>) -> TimedWait<'a> {
        if !self.is_held() {
            return Err(WaitError::NotHeld);
        }
        // SAFETY: the handle, which the guard borrows, keeps the memory mapped; a leaked guard leaks the mapping (I5).
        let mut waiter = match unsafe { self.condition.waiters().enlist() } {
            Ok(waiter) => waiter,
            Err(raw::WaitError::TooManyWaiters) => return Err(WaitError::TooManyWaiters((self, false))),
            Err(raw::WaitError::NotWaited(AcquireError::TooManyHeld)) => {
                return Err(WaitError::TooManyHeld((self, false)));
            }
            Err(raw::WaitError::NotWaited(error) | raw::WaitError::LockLost(error)) => {
                return Err(WaitError::lost(error));
            }
        };
        let guard = ManuallyDrop::new(self);
        let (condition, debt) = (guard.condition, guard.debt.take());
        let lock = condition.raw_lock();
        let unlocked = lock.unlock_all();
        debt.into_iter().for_each(Debt::pay);
        let levels = match unlocked {
            Ok(levels) => levels,
            Err(error) => {
                waiter.abandon();
                return Err(WaitError::lost(error));
            }
        };
        waiter.sleep(deadline);
        // SAFETY: as above.
        match unsafe { lock.lock_by(relock.and_then(Deadline::after)) } {
            Ok((acquired, tid)) => {
                // It was that deep before.
                let _ = lock.deepen(levels);
                let outcome = (Self::by(condition, tid), waiter.leave());
                match acquired {
                    Acquired::Consistent => Ok(outcome),
                    Acquired::OwnerDied => Err(WaitError::OwnerDied(outcome)),
                }
            }
            Err(error) => {
                waiter.abandon();
                Err(WaitError::lost(error))
            }
        }
    }
}

/// A wait without a deadline ends with a notification.
fn guard_of(waited: TimedWait<'_>) -> Waited<'_> {
    match waited {
        Ok((guard, _)) => Ok(guard),
        Err(error) => Err(error.map(|(guard, _)| guard)),
    }
}

impl Flagged for ConditionGuard<'_> {
    fn declare_consistent(&self) {
        self.condition.raw_lock().recover();
    }
}

impl Flagged for (ConditionGuard<'_>, bool) {
    fn declare_consistent(&self) {
        self.0.declare_consistent();
    }
}

impl Drop for ConditionGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // `NotHeld` in a forked child, `Corrupt` after a peer's scribble: in neither case is there anything left to do.
        let _ = self.condition.raw_lock().unlock_as(self.tid);
        if let Some(debt) = self.debt.take() {
            debt.pay();
        }
    }
}

impl fmt::Debug for ConditionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionGuard").finish_non_exhaustive()
    }
}
