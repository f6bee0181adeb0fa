//! [`BrokenBarrier`]: why a wait at a barrier failed.

use std::fmt;

use crate::error::Error;
use crate::raw::{AcquireError, BarrierError};

/// Why a wait at a [`Barrier`](crate::Barrier) failed.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::{Barrier, BrokenBarrier};
/// let barrier = Barrier::new(2)?;
/// let alone = barrier.wait_timeout(Duration::from_millis(1));
/// assert!(matches!(alone, Err(BrokenBarrier::TimedOut)));
/// assert!(matches!(barrier.wait(), Err(BrokenBarrier::Broken)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenBarrier {
    /// A party that waited died, gave up, or panicked in the action; or somebody aborted or reset the barrier.
    Broken,
    /// The time passed. If this party had arrived, the barrier is broken for the others now.
    TimedOut,
    /// The calling thread holds as many locks as a thread can.
    TooManyHeld,
    /// Another process overwrote the barrier.
    Corrupt,
    /// Robust locks don't work here.
    Unsupported(&'static str),
}

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the barrier is broken"),
            Self::TimedOut => f.write_str("timed out: not all parties came to the barrier"),
            Self::TooManyHeld => f.write_str("the calling thread holds too many locks"),
            Self::Corrupt => f.write_str("the barrier was overwritten by another process"),
            Self::Unsupported(what) => write!(f, "not supported here: {what}"),
        }
    }
}

impl std::error::Error for BrokenBarrier {}

impl From<BarrierError> for BrokenBarrier {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Broken => Self::Broken,
            BarrierError::TimedOut => Self::TimedOut,
            BarrierError::Mutex(AcquireError::TooManyHeld) => Self::TooManyHeld,
            BarrierError::Mutex(AcquireError::Unsupported(what)) => Self::Unsupported(what),
            BarrierError::Mutex(_) => Self::Corrupt,
        }
    }
}

impl From<BrokenBarrier> for Error {
    fn from(error: BrokenBarrier) -> Self {
        Self::operation(error)
    }
}
