//! [`ManagerError`]: why an operation on a remote object failed.

use std::fmt;

use super::fault::Fault;
use crate::connection::AuthenticationError;
use crate::{ConnectionError, Error, TaskError};

/// Why an operation on a remote object failed.
///
/// After [`Disconnected`](Self::Disconnected), and after every other, the next call is made over a new connection if it needs
/// one: no error spoils a proxy.
///
/// # Examples
/// ```
/// use multiproc::manager::ManagerError;
/// let manager = multiproc::Manager::start()?;
/// let queue = manager.queue::<u32>(0)?;
/// match queue.try_get() {
///     Err(ManagerError::Empty) => {}
///     other => panic!("{other:?}"),
/// }
/// manager.shutdown()?;
/// assert!(matches!(queue.put(&1), Err(ManagerError::Disconnected | ManagerError::Unreachable(_))));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ManagerError {
    /// There is no connection to the server, and none can be made: it has ended, or its address is another.
    Unreachable(ConnectionError),
    /// The other end is not one to talk to: it has another key, or none, or wants one.
    Authentication(AuthenticationError),
    /// The server speaks another version.
    #[non_exhaustive]
    Version {
        /// This process's.
        ours: u16,
        /// The server's.
        theirs: u16,
    },
    /// The connection ended in the middle of the call: whether it took place is not known. As a rule the server was killed.
    Disconnected,
    /// The server ends: the call was not begun, or what it waited for does not come any more.
    Stopping,
    /// At the address there is another server than the one that had the object.
    Restarted,
    /// A request or a reply is longer than the server takes messages. Nothing was done if it is the request; and nothing that
    /// the reply was to bring is lost: an element that is too long to be taken stays where it is.
    #[non_exhaustive]
    TooLong {
        /// Its bytes.
        len: u64,
        /// The most that are allowed.
        max: u64,
    },
    /// A value can't be encoded: handles of shared memory, for one, don't travel to a server.
    Encode(Error),
    /// A value is not what was asked for.
    Decode(Error),
    /// The server has no such object any more: nobody had a reference to it.
    NoSuchObject,
    /// The object is not what was asked for.
    #[non_exhaustive]
    Mismatch {
        /// What was asked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// There is no object, attribute or type of that name.
    NotFound(String),
    /// There is an object of that name already.
    AlreadyExists(String),
    /// A method of the object's panicked on the server; the text says with what. Only this call failed.
    Panicked(String),
    /// There is no element at this place.
    #[non_exhaustive]
    OutOfRange {
        /// The place.
        index: u64,
        /// The elements that there are.
        len: u64,
    },
    /// The time passed.
    TimedOut,
    /// The queue is full.
    Full,
    /// The queue is empty.
    Empty,
    /// The queue was shut down, and is drained if this is getting.
    Shutdown,
    /// The lock, permit or task is not this client's: the connection was lost meanwhile, and it was released.
    NotHeld,
    /// The semaphore would have more permits than at the start.
    OverReleased,
    /// The barrier is broken: a party gave up, died or aborted it.
    BrokenBarrier,
    /// More tasks were said to be done than were got.
    TaskDoneTooOften,
    /// The pool is to be joined, and neither closed nor terminated.
    PoolStillRunning,
    /// A task of a pool has no result.
    Task(TaskError),
    /// The manager was not started here: only who started a server shuts it down.
    NotStartedHere,
    /// The server does not do that; the text says why.
    Refused(String),
}

impl ManagerError {
    /// An error of a connection on which nothing was sent.
    pub(super) fn unreachable(error: ConnectionError) -> Self {
        match error {
            // It ended while it let this client in.
            ConnectionError::Authentication(AuthenticationError::HungUp) => Self::Unreachable(error),
            ConnectionError::Authentication(error) => Self::Authentication(error),
            error => Self::Unreachable(error),
        }
    }

    pub(super) fn decode(error: &postcard::Error) -> Self {
        Self::Decode(Error::Decode(error.to_string()))
    }
}

impl From<Fault> for ManagerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSuchObject => Self::NoSuchObject,
            Fault::Mismatch { expected, found } => Self::Mismatch { expected, found },
            Fault::NotFound(what) => Self::NotFound(what),
            Fault::AlreadyExists(what) => Self::AlreadyExists(what),
            Fault::Panicked(message) => Self::Panicked(message),
            Fault::OutOfRange { index, len } => Self::OutOfRange { index, len },
            Fault::TimedOut => Self::TimedOut,
            Fault::Full => Self::Full,
            Fault::Empty => Self::Empty,
            Fault::Shutdown => Self::Shutdown,
            Fault::NotHeld => Self::NotHeld,
            Fault::OverReleased => Self::OverReleased,
            Fault::BrokenBarrier => Self::BrokenBarrier,
            Fault::TaskDoneTooOften => Self::TaskDoneTooOften,
            Fault::PoolStillRunning => Self::PoolStillRunning,
            Fault::Task(error) => Self::Task(error),
            Fault::TooLong { len, max } => Self::TooLong { len, max },
            Fault::Malformed(what) => Self::Refused(format!("the request is malformed: {what}")),
            Fault::Refused(why) => Self::Refused(why),
            Fault::Gone => Self::Disconnected,
            Fault::Stopping => Self::Stopping,
        }
    }
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable(error) => return write!(f, "the manager's server can't be reached: {error}"),
            Self::Authentication(error) => return error.fmt(f),
            Self::Version { ours, theirs } => {
                return write!(f, "the manager's server speaks version {theirs}, this process {ours}");
            }
            Self::Disconnected => "the manager's server hung up in the middle of a call",
            Self::Stopping => "the manager's server ends, and the call was not made",
            Self::Restarted => "the manager's server is another one than before",
            Self::TooLong { len, max } => {
                return write!(f, "message to or from a manager: expected at most {max} bytes, found {len}");
            }
            Self::Encode(error) | Self::Decode(error) => return error.fmt(f),
            Self::NoSuchObject => "the manager's server has no such object any more",
            Self::Mismatch { expected, found } => {
                return write!(f, "remote object: expected {expected}, found {found}");
            }
            Self::NotFound(what) => return write!(f, "the manager's server has no {what}"),
            Self::AlreadyExists(what) => return write!(f, "the manager's server already has {what}"),
            Self::Panicked(message) => return write!(f, "the remote object panicked: {message}"),
            Self::OutOfRange { index, len } => {
                return write!(f, "place: expected one below {len}, found {index}");
            }
            Self::TimedOut => "timed out",
            Self::Full => "the queue is full",
            Self::Empty => "the queue is empty",
            Self::Shutdown => "the queue was shut down",
            Self::NotHeld => "what is to be released is not held by this client",
            Self::OverReleased => "the semaphore has all its permits already",
            Self::BrokenBarrier => "the barrier is broken",
            Self::TaskDoneTooOften => "more tasks are done than were got",
            Self::PoolStillRunning => "the pool is still running: close or terminate it first",
            Self::Task(error) => return error.fmt(f),
            Self::NotStartedHere => "the manager's server was not started here",
            Self::Refused(why) => why,
        })
    }
}

impl std::error::Error for ManagerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error),
            Self::Authentication(error) => Some(error),
            Self::Encode(error) | Self::Decode(error) => Some(error),
            Self::Task(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ManagerError> for Error {
    fn from(error: ManagerError) -> Self {
        Self::operation(error)
    }
}
