//! [`GetError`]: why no item was got.

use std::fmt;

use crate::error::Error;
use crate::raw::RingError;

/// Why no item was got.
///
/// # Examples
/// ```
/// use multiproc::{GetError, Queue};
/// let queue = Queue::<u32>::bounded(4)?;
/// assert_eq!(queue.try_get(), Err(GetError::Empty));
/// queue.shutdown();
/// assert_eq!(queue.get(), Err(GetError::Shutdown));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// There is no item, and the caller did not want to wait.
    Empty,
    /// The time passed.
    TimedOut,
    /// The queue was shut down and nothing is left in it.
    Shutdown,
    /// An item was got whose bytes are no value of the queue's type; the text says why. The item is gone.
    Decode(String),
    /// Another consumer is stopped in the middle of its get.
    Busy,
    /// Another thread has the consumers' end for itself ([`Queue::consumer`](super::Queue::consumer)).
    Exclusive,
    /// The queue is empty, and the exclusive producer died that fed it. Said to exclusive consumers, until somebody else puts.
    ProducerDied,
    /// The calling thread is getting from this queue already, or has its consumers' end for itself.
    Deadlock,
    /// The calling thread holds as many locks as a thread can.
    TooManyHeld,
    /// A chunk of the queue, which grows, can't be mapped: address space or mappings are exhausted. The item stays.
    OutOfMemory,
    /// Another process overwrote the queue.
    Corrupt,
    /// Robust locks don't work here; the text says what is missing.
    Unsupported(&'static str),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::TimedOut => "timed out: the queue is empty",
            Self::Shutdown => "the queue was shut down and is empty",
            Self::Decode(why) => return write!(f, "the item can't be decoded: {why}"),
            Self::Busy => "another consumer is stopped in the middle of its get",
            Self::Exclusive => "another thread is the only consumer of the queue",
            Self::ProducerDied => "the queue is empty and its exclusive producer died",
            Self::Deadlock => "the calling thread is getting from this queue already",
            Self::TooManyHeld => "the calling thread holds too many locks",
            Self::OutOfMemory => "a part of the queue can't be mapped",
            Self::Corrupt => "the queue was overwritten by another process",
            Self::Unsupported(what) => return write!(f, "not supported here: {what}"),
        })
    }
}

impl std::error::Error for GetError {}

impl From<GetError> for Error {
    fn from(error: GetError) -> Self {
        Self::operation(error)
    }
}

impl From<RingError> for GetError {
    fn from(error: RingError) -> Self {
        match error {
            RingError::WouldBlock => Self::Empty,
            RingError::TimedOut => Self::TimedOut,
            RingError::Closed => Self::Shutdown,
            RingError::Busy => Self::Busy,
            RingError::Exclusive => Self::Exclusive,
            RingError::PeerDied => Self::ProducerDied,
            RingError::Deadlock => Self::Deadlock,
            RingError::TooManyHeld => Self::TooManyHeld,
            RingError::Unsupported(what) => Self::Unsupported(what),
            RingError::OutOfMemory => Self::OutOfMemory,
            // `Moved` is for the queue, which tries again.
            RingError::Corrupt | RingError::TooLarge | RingError::Moved => Self::Corrupt,
        }
    }
}
