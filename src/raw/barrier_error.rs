//! [`BarrierError`]: why a wait at a barrier failed.

use core::fmt;

use super::AcquireError;

/// Why a wait at a barrier failed.
///
/// # Examples
/// ```
/// use multiproc::raw::{BarrierError, Deadline, RawBarrier};
/// let barrier = RawBarrier::<2>::new(2);
/// // SAFETY: `barrier` stays where it is.
/// let alone = unsafe { barrier.wait(Some(Deadline::now()), || ()) };
/// assert_eq!(alone, Err(BarrierError::TimedOut));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is or was broken: a party that waited died, gave up or panicked in the action, or somebody aborted or
    /// reset it.
    Broken,
    /// The deadline passed; if the caller had arrived, the barrier is broken now.
    TimedOut,
    /// No lease could be taken, or not the barrier's own mutex.
    Mutex(AcquireError),
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the barrier is broken"),
            Self::TimedOut => f.write_str("timed out: not all parties came to the barrier"),
            Self::Mutex(error) => write!(f, "the barrier's own mutex: {error}"),
        }
    }
}

impl core::error::Error for BarrierError {}
