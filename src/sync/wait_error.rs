//! [`WaitError`]: why a wait for a condition failed, or what its holder must know first.

use std::fmt;

use super::lock_error::Flagged;
use crate::error::Error;
use crate::raw::AcquireError;

/// Why a wait for a [`Condition`](crate::Condition) failed; or, as [`OwnerDied`](Self::OwnerDied), that it is over, with
/// what the lock protects in doubt.
///
/// `G` is what the wait would have returned: the guard, or the guard and whether it was notified. Where an error carries
/// none, the lock is not held. Converting into [`Error`] drops it: the lock is released.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::{ConditionOptions, WaitError};
/// let condition = ConditionOptions::new().max_waiters(1).create()?;
/// std::thread::scope(|scope| {
///     let first = scope.spawn(|| condition.lock().unwrap().wait().is_ok());
///     while condition.lock().unwrap().waiting() == 0 {
///         std::thread::yield_now();
///     }
///     let second = condition.lock().unwrap().wait_timeout(Duration::ZERO);
///     assert!(matches!(second, Err(WaitError::TooManyWaiters(_))));
///     drop(second);
///     condition.lock().unwrap().notify_all();
///     assert!(first.join().unwrap());
/// });
/// # Ok::<(), multiproc::Error>(())
/// ```
#[non_exhaustive]
pub enum WaitError<G> {
    /// The wait is over and the lock is held, but a holder died with it. [`recover`](Self::recover) keeps the guard.
    OwnerDied(G),
    /// Did not wait: as many wait for the condition as it has room for. The lock is held as before.
    TooManyWaiters(G),
    /// Did not wait: the calling thread holds as many locks as a thread can. The lock is held as before.
    TooManyHeld(G),
    /// The lock could not be taken again in the time given. A notification, if there was one, goes to another waiter.
    TimedOut {
        /// The thread id of the holder at that moment.
        owner: u32,
    },
    /// The guard is a copy in a forked child, which doesn't hold the lock.
    NotHeld,
    /// Another process overwrote the lock.
    Corrupt,
    /// Robust locks don't work here.
    Unsupported(&'static str),
}

impl<G> WaitError<G> {
    /// Why the lock could not be released, or taken again.
    pub(super) fn lost(error: AcquireError) -> Self {
        match error {
            AcquireError::TimedOut { owner } => Self::TimedOut { owner },
            AcquireError::NotHeld => Self::NotHeld,
            AcquireError::Unsupported(what) => Self::Unsupported(what),
            _ => Self::Corrupt,
        }
    }

    /// The same with `f` applied to what is carried.
    pub(super) fn map<H>(self, f: impl FnOnce(G) -> H) -> WaitError<H> {
        match self {
            Self::OwnerDied(guard) => WaitError::OwnerDied(f(guard)),
            Self::TooManyWaiters(guard) => WaitError::TooManyWaiters(f(guard)),
            Self::TooManyHeld(guard) => WaitError::TooManyHeld(f(guard)),
            Self::TimedOut { owner } => WaitError::TimedOut { owner },
            Self::NotHeld => WaitError::NotHeld,
            Self::Corrupt => WaitError::Corrupt,
            Self::Unsupported(what) => WaitError::Unsupported(what),
        }
    }

    /// What the error carries: the lock is held then.
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let held = match guard.wait_timeout(std::time::Duration::ZERO) {
    ///     Ok((guard, _notified)) => Some(guard),
    ///     Err(error) => error.into_guard().map(|(guard, _notified)| guard),
    /// };
    /// assert!(held.is_some());
    /// # drop(held);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_guard(self) -> Option<G> {
        match self {
            Self::OwnerDied(guard) | Self::TooManyWaiters(guard) | Self::TooManyHeld(guard) => Some(guard),
            _ => None,
        }
    }
}

impl<G: Flagged> WaitError<G> {
    /// After [`OwnerDied`](Self::OwnerDied): declares what the lock protects consistent, and keeps the guard.
    ///
    /// # Errors
    /// Any other error comes back.
    ///
    /// # Process death
    /// Until a holder has recovered, everybody who takes the lock is told that an owner died.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// let waited = guard.wait_timeout(Duration::ZERO).or_else(|error| error.recover());
    /// let (guard, notified) = waited.map_err(multiproc::Error::from)?;
    /// assert!(!notified);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recover(self) -> Result<G, Self> {
        match self {
            Self::OwnerDied(guard) => {
                guard.declare_consistent();
                Ok(guard)
            }
            other => Err(other),
        }
    }
}

impl<G> fmt::Display for WaitError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => {
                f.write_str("a holder of the lock died; what it protects may be half changed")
            }
            Self::TooManyWaiters(_) => f.write_str("the condition has no room for another waiter"),
            Self::TooManyHeld(_) => f.write_str("the calling thread holds too many locks"),
            Self::TimedOut { owner } => {
                write!(f, "timed out taking the lock again: it is held by thread {owner}")
            }
            Self::NotHeld => f.write_str("the lock is not held: the guard was copied by a fork"),
            Self::Corrupt => f.write_str("the lock was overwritten by another process"),
            Self::Unsupported(what) => write!(f, "not supported here: {what}"),
        }
    }
}

impl<G> fmt::Debug for WaitError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            Self::TooManyWaiters(_) => f.write_str("TooManyWaiters(..)"),
            Self::TooManyHeld(_) => f.write_str("TooManyHeld(..)"),
            Self::TimedOut { owner } => f.debug_struct("TimedOut").field("owner", owner).finish(),
            Self::NotHeld => f.write_str("NotHeld"),
            Self::Corrupt => f.write_str("Corrupt"),
            Self::Unsupported(what) => f.debug_tuple("Unsupported").field(what).finish(),
        }
    }
}

impl<G> std::error::Error for WaitError<G> {}

impl<G> From<WaitError<G>> for Error {
    fn from(error: WaitError<G>) -> Self {
        Self::operation(error.map(drop))
    }
}
