//! [`LockError`]: why a lock was not taken, or what its holder must know first.

use std::fmt;

use crate::error::Error;
use crate::raw::{AcquireError, Acquired};

/// Why a lock was not taken; or, as [`OwnerDied`](Self::OwnerDied), that it was, with what it protects in doubt.
///
/// `G` is the guard. Converting into [`Error`] drops it: the lock is released and stays flagged.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::{Lock, LockError};
/// let lock = Lock::new()?;
/// // A thread that ends with the lock is as one that is killed with it.
/// std::thread::scope(|scope| {
///     scope.spawn(|| std::mem::forget(lock.lock()));
/// });
/// match lock.lock_timeout(Duration::from_secs(10)) {
///     Err(died @ LockError::OwnerDied(_)) => {
///         // Here what the lock protects is put in order.
///         drop(died.recover().map_err(multiproc::Error::from)?);
///     }
///     _ => unreachable!("the holder died"),
/// }
/// assert!(lock.lock().is_ok());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[non_exhaustive]
pub enum LockError<G> {
    /// The caller holds the lock, but a holder died with it. [`recover`](Self::recover) keeps the guard.
    OwnerDied(G),
    /// Somebody holds it, and the caller did not want to wait.
    WouldBlock,
    /// The time passed.
    TimedOut {
        /// The thread id of the holder at that moment.
        owner: u32,
    },
    /// The calling thread holds it already.
    Deadlock,
    /// The calling thread holds as many locks as a thread can.
    TooManyHeld,
    /// Another process overwrote the lock.
    Corrupt,
    /// Robust locks don't work here.
    Unsupported(&'static str),
}

/// A guard that can declare what it protects consistent. Sealed: it bounds a public method, and nobody else can name it.
pub trait Flagged {
    /// Clears the flag that a dead holder left.
    #[doc(hidden)]
    fn declare_consistent(&self);
}

impl<G> LockError<G> {
    /// What becomes of `acquired`, where `guard` unlocks it.
    #[inline]
    pub(crate) fn sort(
        acquired: Result<Acquired, AcquireError>,
        guard: impl FnOnce() -> G,
    ) -> Result<G, Self> {
        match acquired {
            Ok(Acquired::Consistent) => Ok(guard()),
            Ok(Acquired::OwnerDied) => Err(Self::OwnerDied(guard())),
            Err(AcquireError::WouldBlock) => Err(Self::WouldBlock),
            Err(AcquireError::TimedOut { owner }) => Err(Self::TimedOut { owner }),
            Err(AcquireError::Deadlock) => Err(Self::Deadlock),
            Err(AcquireError::TooManyHeld) => Err(Self::TooManyHeld),
            Err(AcquireError::Unsupported(what)) => Err(Self::Unsupported(what)),
            Err(AcquireError::Corrupt | AcquireError::NotHeld) => Err(Self::Corrupt),
        }
    }

    /// `locked` with `f` applied to the guard, whether its owner died or not.
    #[inline(always)] // Else the guard travels through memory once more.
    pub(crate) fn map_guard<H>(locked: Result<G, Self>, f: impl FnOnce(G) -> H) -> Result<H, LockError<H>> {
        match locked {
            Ok(guard) => Ok(f(guard)),
            Err(error) => Err(error.map(f)),
        }
    }

    /// The same with `f` applied to the guard.
    pub(crate) fn map<H>(self, f: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::OwnerDied(guard) => LockError::OwnerDied(f(guard)),
            Self::WouldBlock => LockError::WouldBlock,
            Self::TimedOut { owner } => LockError::TimedOut { owner },
            Self::Deadlock => LockError::Deadlock,
            Self::TooManyHeld => LockError::TooManyHeld,
            Self::Corrupt => LockError::Corrupt,
            Self::Unsupported(what) => LockError::Unsupported(what),
        }
    }
}

impl<G: Flagged> LockError<G> {
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
    /// let lock = multiproc::Lock::new()?;
    /// std::thread::scope(|scope| {
    ///     // It ends with the lock, as one that is killed.
    ///     scope.spawn(|| std::mem::forget(lock.lock()));
    /// });
    /// let guard = lock.lock().or_else(|error| error.recover()).map_err(multiproc::Error::from)?;
    /// drop(guard);
    /// assert!(lock.lock().is_ok()); // Nobody is told any more.
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn recover(self) -> Result<G, Self> {
        self.recover_after(|_| ())
    }

    /// As [`recover`](Self::recover), once `repair` has seen to what the lock protects.
    pub(crate) fn recover_after(self, repair: impl FnOnce(&mut G)) -> Result<G, Self> {
        match self {
            Self::OwnerDied(mut guard) => {
                repair(&mut guard);
                guard.declare_consistent();
                Ok(guard)
            }
            other => Err(other),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => {
                f.write_str("a holder of the lock died; what it protects may be half changed")
            }
            Self::WouldBlock => f.write_str("the lock is held"),
            Self::TimedOut { owner } => write!(f, "timed out: the lock is held by thread {owner}"),
            Self::Deadlock => f.write_str("the calling thread holds the lock already"),
            Self::TooManyHeld => f.write_str("the calling thread holds too many locks"),
            Self::Corrupt => f.write_str("the lock was overwritten by another process"),
            Self::Unsupported(what) => write!(f, "not supported here: {what}"),
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            Self::WouldBlock => f.write_str("WouldBlock"),
            Self::TimedOut { owner } => f.debug_struct("TimedOut").field("owner", owner).finish(),
            Self::Deadlock => f.write_str("Deadlock"),
            Self::TooManyHeld => f.write_str("TooManyHeld"),
            Self::Corrupt => f.write_str("Corrupt"),
            Self::Unsupported(what) => f.debug_tuple("Unsupported").field(what).finish(),
        }
    }
}

impl<G> std::error::Error for LockError<G> {}

impl<G> From<LockError<G>> for Error {
    fn from(error: LockError<G>) -> Self {
        Self::operation(error.map(drop))
    }
}
