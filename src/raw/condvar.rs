//! [`RawCondvar`]: waiting for a notification while a lock is released.
//!
//! ```text
//! operation  who             what
//! wait       holds the lock  enlists in the table, unlocks, sleeps on its entry, locks, leaves the table
//! notify(n)  holds the lock  marks and wakes the n oldest waiters that live, one system call for each that sleeps
//! and unlock                 the same; a single one is marked, and woken after the unlock
//! ```
//!
//! The states of an entry are in `waiters.rs`, with how a notification survives its waiter.
//!
//! **Fairness.** The oldest waiter that lives is notified first; who then gets the lock first is the lock's affair.
//!
//! **Ordering.** All of it is the lock's: a notification carries no data of its own.
#![allow(unsafe_code)]

use super::waiters::{Debt, Waiter, Waiters};
use super::{AcquireError, Acquired, Deadline, RawMutex, WaitError};
use crate::sys::atomic::AtomicU32;

/// A process-shared condition variable with room for `N` waiters: 8 bytes and 80 for each. All-zero bytes are one for
/// which nobody waits.
///
/// It is used with one lock, always the same, which its waiters and notifiers hold.
///
/// # Process death
/// A notification whose waiter dies before it has the lock again goes to another that waited when it was made, within a
/// slice. A notifier that dies has notified some of those it was to notify, and those wake. Notifiers never wait for
/// waiters.
///
/// # Examples
/// ```
/// use multiproc::raw::{RawCondvar, RawMutex};
/// let (mutex, condvar) = (RawMutex::new(), RawCondvar::<2>::new());
/// std::thread::scope(|scope| {
///     // SAFETY: `mutex` and `condvar` stay where they are until it is unlocked.
///     unsafe { mutex.lock(None) }.expect("nobody dies");
///     scope.spawn(|| {
///         // SAFETY: as above.
///         unsafe { mutex.lock(None) }.expect("nobody dies");
///         condvar.notify(1);
///         mutex.unlock()
///     });
///     // SAFETY: as above.
///     let (_, notified) = unsafe { condvar.wait(&mutex, None) }.expect("nobody dies");
///     assert!(notified);
///     assert_eq!(mutex.unlock(), Ok(()));
/// });
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct RawCondvar<const N: usize = 64> {
    next_ticket: AtomicU32,
    used: AtomicU32,
    waiters: [Waiter; N],
}

impl<const N: usize> RawCondvar<N> {
    /// A condition variable for which nobody waits.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawCondvar::<2>::new().waiting(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            next_ticket: AtomicU32::new(0),
            used: AtomicU32::new(0),
            waiters: core::array::from_fn(|_| Waiter::default()),
        }
    }

    /// Releases `mutex`, waits to be notified, and takes it again, however long that takes; true if it was notified,
    /// false if `deadline` passed first.
    ///
    /// # Errors
    /// `TooManyWaiters`; `NotWaited(NotHeld)` if the calling thread doesn't hold the mutex; `LockLost`.
    ///
    /// # Safety
    /// As for [`RawMutex::lock`], and for this condition variable the same.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Acquired, Deadline, RawCondvar, RawMutex};
    /// let (mutex, condvar) = (RawMutex::new(), RawCondvar::<2>::new());
    /// // SAFETY: `mutex` and `condvar` stay where they are until it is unlocked.
    /// let waited = unsafe { mutex.lock(None).map(|_| condvar.wait(&mutex, Some(Deadline::now()))) };
    /// assert_eq!(waited, Ok(Ok((Acquired::Consistent, false))));
    /// assert_eq!(mutex.unlock(), Ok(()));
    /// ```
    pub unsafe fn wait(
        &self,
        mutex: &RawMutex,
        deadline: Option<Deadline>,
    ) -> Result<(Acquired, bool), WaitError> {
        if !mutex.is_held() {
            return Err(WaitError::NotWaited(AcquireError::NotHeld));
        }
        // SAFETY: the caller promises that the memory stays mapped and in place.
        let mut waiter = unsafe { self.table().enlist() }?;
        if let Err(error) = mutex.unlock() {
            waiter.abandon();
            return Err(WaitError::LockLost(error));
        }
        waiter.sleep(deadline);
        // SAFETY: the caller promises what `lock` asks for.
        match unsafe { mutex.lock(None) } {
            Ok(acquired) => Ok((acquired, waiter.leave())),
            Err(error) => {
                waiter.abandon();
                Err(WaitError::LockLost(error))
            }
        }
    }

    /// Notifies the `count` longest waiting threads, or as many as wait, and says how many that were. For the holder of
    /// the lock that is waited with.
    ///
    /// # Examples
    /// ```
    /// let condvar = multiproc::raw::RawCondvar::<2>::new();
    /// assert_eq!(condvar.notify(1), 0); // Nobody waits.
    /// ```
    pub fn notify(&self, count: usize) -> usize {
        self.table().notify(count)
    }

    /// [`notify`](RawCondvar::notify), and unlocks `mutex`, which the calling thread holds. Who is notified alone is woken
    /// after that, and finds the mutex free: as fast as one futex wakes another, which `notify` before `unlock` is not.
    ///
    /// # Errors
    /// Those of [`RawMutex::unlock`]; `NotHeld` notifies nobody.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, RawCondvar, RawMutex};
    /// let (mutex, condvar) = (RawMutex::new(), RawCondvar::<2>::new());
    /// assert_eq!(condvar.notify_and_unlock(&mutex, 1), Err(AcquireError::NotHeld));
    /// // SAFETY: `mutex` stays where it is until it is unlocked.
    /// assert!(unsafe { mutex.lock(None) }.is_ok());
    /// assert_eq!(condvar.notify_and_unlock(&mutex, 1), Ok(0)); // Nobody waits.
    /// assert!(!mutex.is_locked());
    /// ```
    pub fn notify_and_unlock(&self, mutex: &RawMutex, count: usize) -> Result<usize, AcquireError> {
        if !mutex.is_held() {
            return Err(AcquireError::NotHeld);
        }
        // SAFETY: the memory is borrowed until the debt is paid.
        let (notified, debt) = unsafe { self.table().notify_owing(count) };
        let unlocked = mutex.unlock();
        debt.into_iter().for_each(Debt::pay);
        unlocked.map(|()| notified)
    }

    /// How many wait and are not yet notified, at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawCondvar::<2>::new().waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.table().count()
    }

    pub(super) fn table(&self) -> Waiters<'_> {
        Waiters { next_ticket: &self.next_ticket, used: &self.used, entries: &self.waiters }
    }
}

impl<const N: usize> Default for RawCondvar<N> {
    fn default() -> Self {
        Self::new()
    }
}
