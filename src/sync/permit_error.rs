//! [`PermitError`]: why a permit was not taken.

use std::fmt;

use crate::error::Error;
use crate::raw::AcquireError;

/// Why a permit was not taken.
///
/// # Examples
/// ```
/// use multiproc::{PermitError, Permits};
/// let permits = Permits::new(1)?;
/// let only = permits.acquire()?;
/// let other = std::thread::scope(|scope| scope.spawn(|| permits.try_acquire().map(drop)).join());
/// assert_eq!(other.expect("it does not panic"), Err(PermitError::WouldBlock));
/// # drop(only);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PermitError {
    /// All permits are taken, and the caller did not want to wait.
    WouldBlock,
    /// The time passed.
    TimedOut {
        /// The thread id of one of the holders at that moment.
        owner: u32,
    },
    /// The calling thread holds all permits itself.
    Deadlock,
    /// The calling thread holds as many locks and permits as a thread can.
    TooManyHeld,
    /// Robust locks don't work here.
    Unsupported(&'static str),
}

impl From<AcquireError> for PermitError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::TimedOut { owner } => Self::TimedOut { owner },
            AcquireError::Deadlock => Self::Deadlock,
            AcquireError::TooManyHeld => Self::TooManyHeld,
            AcquireError::Unsupported(what) => Self::Unsupported(what),
            // The last two are said by releases only.
            AcquireError::WouldBlock | AcquireError::NotHeld | AcquireError::Corrupt => Self::WouldBlock,
        }
    }
}

impl fmt::Display for PermitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("all permits are taken"),
            Self::TimedOut { owner } => {
                write!(f, "timed out: all permits are taken, one of them by thread {owner}")
            }
            Self::Deadlock => f.write_str("the calling thread holds all permits"),
            Self::TooManyHeld => f.write_str("the calling thread holds too many locks and permits"),
            Self::Unsupported(what) => write!(f, "not supported here: {what}"),
        }
    }
}

impl std::error::Error for PermitError {}

impl From<PermitError> for Error {
    fn from(error: PermitError) -> Self {
        Self::operation(error)
    }
}
