//! [`WaitError`]: why a wait for a notification did not happen, or ended without the lock.

use core::fmt;

use super::AcquireError;

/// Why a wait for a notification did not happen, or ended without the lock.
///
/// # Examples
/// ```
/// use multiproc::raw::{AcquireError, RawCondvar, RawMutex, WaitError};
/// let (mutex, condvar) = (RawMutex::new(), RawCondvar::<2>::new());
/// // SAFETY: `mutex` and `condvar` stay where they are.
/// let without = unsafe { condvar.wait(&mutex, None) };
/// assert_eq!(without, Err(WaitError::NotWaited(AcquireError::NotHeld)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The table of waiters is full: the caller did not wait, and holds the lock as before.
    TooManyWaiters,
    /// The caller did not wait, and holds the lock if it did before: `NotHeld`, `TooManyHeld`, `Unsupported`.
    NotWaited(AcquireError),
    /// The lock could not be released or taken again: the caller does not hold it. A notification that it may have had
    /// goes to another waiter.
    LockLost(AcquireError),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWaiters => f.write_str("the condition has no room for another waiter"),
            Self::NotWaited(error) => write!(f, "did not wait: {error}"),
            Self::LockLost(error) => write!(f, "the lock was not taken again: {error}"),
        }
    }
}

impl core::error::Error for WaitError {}
