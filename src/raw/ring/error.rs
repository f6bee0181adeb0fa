//! [`RingError`]: why an item was not put or got.

use core::fmt;

use crate::raw::AcquireError;

/// The ring's memory says what the protocol can't have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// Why an item was not put or got.
///
/// # Examples
/// ```
/// use multiproc::raw::{RawRing, RingError, RingShape};
/// let ring = RawRing::new(4);
/// let shape = RingShape::fixed(4, 8).expect("it is small");
/// assert!(matches!(ring.with_words(shape, &[]), Err(RingError::Corrupt)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// There is no room (put), or no item (get), and the caller did not want to wait.
    WouldBlock,
    /// The deadline passed.
    TimedOut,
    /// The payload is longer than [`Ring::max_payload`](super::Ring::max_payload).
    TooLarge,
    /// The ring is closed; of gets, closed and drained.
    Closed,
    /// The end is held, and its holder did not finish its step within a millisecond: it is stopped.
    Busy,
    /// The end belongs to an exclusive endpoint of somebody else's.
    Exclusive,
    /// Of an exclusive endpoint: that of the other end died, and nobody has gone on in its place.
    PeerDied,
    /// The calling thread is in an operation on this end already, or has an endpoint there.
    Deadlock,
    /// The calling thread holds as many leases as a thread can.
    TooManyHeld,
    /// A growing ring is full, and there is no memory for its next chunk; or a chunk can't be mapped.
    OutOfMemory,
    /// Another process overwrote the ring.
    Corrupt,
    /// Robust lists don't work here; the text says what is missing.
    Unsupported(&'static str),
    /// Of a growing ring, to this crate: its end has gone on to another chunk. Nothing was done.
    #[doc(hidden)]
    Moved,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WouldBlock => "the ring is full, or empty",
            Self::TimedOut => "timed out",
            Self::TooLarge => "the payload is longer than the ring takes",
            Self::Closed => "the ring is closed",
            Self::Busy => "the holder of this end does not move",
            Self::Exclusive => "the end belongs to an exclusive endpoint",
            Self::PeerDied => "the exclusive endpoint of the other end died",
            Self::Deadlock => "the calling thread is in an operation on this end already",
            Self::TooManyHeld => "the calling thread holds too many locks",
            Self::OutOfMemory => "no memory for the next chunk",
            Self::Corrupt => "the ring was overwritten by another process",
            Self::Unsupported(what) => what,
            Self::Moved => "the ring goes on in another chunk",
        })
    }
}

impl core::error::Error for RingError {}

impl From<Corrupt> for RingError {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}

impl From<AcquireError> for RingError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::WouldBlock => Self::WouldBlock,
            AcquireError::TimedOut { .. } => Self::TimedOut,
            AcquireError::Deadlock => Self::Deadlock,
            AcquireError::TooManyHeld => Self::TooManyHeld,
            AcquireError::Unsupported(what) => Self::Unsupported(what),
            AcquireError::Corrupt | AcquireError::NotHeld => Self::Corrupt,
        }
    }
}
