//! [`PutError`]: why an item was not put, with the item.

use std::fmt;

use crate::error::Error;
use crate::raw::RingError;

/// Why an item was not put. The queue is unchanged; the item is in the error.
///
/// Converting into [`Error`] drops the item.
///
/// # Examples
/// ```
/// use multiproc::{PutError, Queue};
/// let queue = Queue::bounded(1)?;
/// queue.put("first".to_owned())?;
/// match queue.try_put("second".to_owned()) {
///     Err(PutError::Full(item)) => assert_eq!(item, "second"), // It comes back.
///     _ => unreachable!("it is full"),
/// }
/// # Ok::<(), multiproc::Error>(())
/// ```
#[non_exhaustive]
pub enum PutError<T> {
    /// There is no room, and the caller did not want to wait.
    Full(T),
    /// The time passed.
    TimedOut(T),
    /// Encoded, the item is longer than the queue's `max_message`.
    TooLarge(T),
    /// The item can't be encoded; the text says why.
    Encode(T, String),
    /// The queue was shut down.
    Shutdown(T),
    /// Another producer is stopped in the middle of its put.
    Busy(T),
    /// Another thread has the producers' end for itself ([`Queue::producer`](super::Queue::producer)).
    Exclusive(T),
    /// The queue is full, and the exclusive consumer died that drained it. Said to exclusive producers, until somebody else
    /// gets.
    ConsumerDied(T),
    /// The calling thread is putting into this queue already, or has its producers' end for itself.
    Deadlock(T),
    /// The calling thread holds as many locks as a thread can.
    TooManyHeld(T),
    /// The queue is full and has to grow, and there is no memory, or `RLIMIT_FSIZE` forbids it.
    OutOfMemory(T),
    /// Another process overwrote the queue.
    Corrupt(T),
    /// Robust locks don't work here; the text says what is missing.
    Unsupported(T, &'static str),
}

impl<T> PutError<T> {
    /// The item that was not put.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(1)?;
    /// queue.put(1)?;
    /// assert_eq!(queue.try_put(2).unwrap_err().into_inner(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        self.split().0
    }

    pub(super) fn new(item: T, error: RingError) -> Self {
        match error {
            RingError::WouldBlock => Self::Full(item),
            RingError::TimedOut => Self::TimedOut(item),
            RingError::TooLarge => Self::TooLarge(item),
            RingError::Closed => Self::Shutdown(item),
            RingError::Busy => Self::Busy(item),
            RingError::Exclusive => Self::Exclusive(item),
            RingError::PeerDied => Self::ConsumerDied(item),
            RingError::Deadlock => Self::Deadlock(item),
            RingError::TooManyHeld => Self::TooManyHeld(item),
            RingError::OutOfMemory => Self::OutOfMemory(item),
            // `Moved` is for the queue, which tries again.
            RingError::Corrupt | RingError::Moved => Self::Corrupt(item),
            RingError::Unsupported(what) => Self::Unsupported(item, what),
        }
    }

    fn split(self) -> (T, PutError<()>) {
        match self {
            Self::Full(item) => (item, PutError::Full(())),
            Self::TimedOut(item) => (item, PutError::TimedOut(())),
            Self::TooLarge(item) => (item, PutError::TooLarge(())),
            Self::Encode(item, why) => (item, PutError::Encode((), why)),
            Self::Shutdown(item) => (item, PutError::Shutdown(())),
            Self::Busy(item) => (item, PutError::Busy(())),
            Self::Exclusive(item) => (item, PutError::Exclusive(())),
            Self::ConsumerDied(item) => (item, PutError::ConsumerDied(())),
            Self::Deadlock(item) => (item, PutError::Deadlock(())),
            Self::TooManyHeld(item) => (item, PutError::TooManyHeld(())),
            Self::OutOfMemory(item) => (item, PutError::OutOfMemory(())),
            Self::Corrupt(item) => (item, PutError::Corrupt(())),
            Self::Unsupported(item, what) => (item, PutError::Unsupported((), what)),
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::TimedOut(_) => "timed out: the queue is full",
            Self::TooLarge(_) => {
                "encoded, the item is longer than the queue's max_message, which QueueOptions sets"
            }
            Self::Encode(_, why) => return write!(f, "the item can't be encoded: {why}"),
            Self::Shutdown(_) => "the queue was shut down",
            Self::Busy(_) => "another producer is stopped in the middle of its put",
            Self::Exclusive(_) => "another thread is the only producer of the queue",
            Self::ConsumerDied(_) => "the queue is full and its exclusive consumer died",
            Self::Deadlock(_) => "the calling thread is putting into this queue already",
            Self::TooManyHeld(_) => "the calling thread holds too many locks",
            Self::OutOfMemory(_) => "the queue is full, and there is no memory for it to grow",
            Self::Corrupt(_) => "the queue was overwritten by another process",
            Self::Unsupported(_, what) => return write!(f, "not supported here: {what}"),
        })
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::TimedOut(_) => "TimedOut",
            Self::TooLarge(_) => "TooLarge",
            Self::Encode(_, why) => return write!(f, "Encode(.., {why:?})"),
            Self::Shutdown(_) => "Shutdown",
            Self::Busy(_) => "Busy",
            Self::Exclusive(_) => "Exclusive",
            Self::ConsumerDied(_) => "ConsumerDied",
            Self::Deadlock(_) => "Deadlock",
            Self::TooManyHeld(_) => "TooManyHeld",
            Self::OutOfMemory(_) => "OutOfMemory",
            Self::Corrupt(_) => "Corrupt",
            Self::Unsupported(_, what) => return write!(f, "Unsupported(.., {what:?})"),
        };
        write!(f, "{name}(..)")
    }
}

impl<T> std::error::Error for PutError<T> {}

impl<T> From<PutError<T>> for Error {
    fn from(error: PutError<T>) -> Self {
        Self::operation(error.split().1)
    }
}
