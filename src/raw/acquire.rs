//! [`Acquired`] and [`AcquireError`]: how taking a lease ends.

use core::fmt;

/// How a lease or mutex was acquired: in either case the caller holds it now.
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
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquired {
    /// What the lock protects is as the last holder left it.
    Consistent,
    /// A holder died, and nobody has declared the protected state consistent since. Every further acquirer is told
    /// until a holder calls `recover`.
    OwnerDied,
}

/// Why a lease or mutex was not acquired or released.
///
/// # Examples
/// ```
/// use multiproc::raw::{AcquireError, Acquired, RawMutex};
/// let mutex = RawMutex::new();
/// assert_eq!(mutex.unlock(), Err(AcquireError::NotHeld));
/// // SAFETY: `mutex` stays where it is until it is unlocked.
/// let (first, second) = unsafe { (mutex.lock(None), mutex.lock(None)) };
/// assert_eq!((first, second), (Ok(Acquired::Consistent), Err(AcquireError::Deadlock)));
/// # assert_eq!(mutex.unlock(), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// Somebody holds it, and the caller did not want to wait.
    WouldBlock,
    /// The deadline passed.
    TimedOut {
        /// The thread id found in the word.
        owner: u32,
    },
    /// The calling thread holds it already.
    Deadlock,
    /// The calling thread holds as many leases as a thread can.
    TooManyHeld,
    /// The calling thread does not hold it.
    NotHeld,
    /// The word is not what the protocol can have written: another process scribbled over it.
    Corrupt,
    /// Robust lists don't work here; the text says what is missing.
    Unsupported(&'static str),
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("the lock is held"),
            Self::TimedOut { owner } => write!(f, "timed out: the lock is held by thread {owner}"),
            Self::Deadlock => f.write_str("the calling thread holds the lock already"),
            Self::TooManyHeld => f.write_str("the calling thread holds too many locks"),
            Self::NotHeld => f.write_str("the calling thread does not hold the lock"),
            Self::Corrupt => f.write_str("the lock's word was overwritten by another process"),
            Self::Unsupported(what) => write!(f, "not supported here: {what}"),
        }
    }
}

impl core::error::Error for AcquireError {}
