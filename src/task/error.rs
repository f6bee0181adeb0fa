//! [`TaskError`]: why a task has no result.

use std::any::Any;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Why a task has no result. What the task itself returned is a result, an `Err` too.
///
/// # Examples
/// ```
/// use multiproc::{Pool, TaskError};
/// let pool = Pool::new(1)?;
/// let killed = pool.apply(|()| -> () { std::process::abort() }, ());
/// assert!(matches!(killed, Err(TaskError::WorkerDied { signal: 6, .. })));
/// let failed = pool.apply(|n: u32| assert!(n > 7, "{n} is too small"), 3);
/// assert!(matches!(failed, Err(TaskError::Panicked { message, .. }) if message == "3 is too small"));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked. Its worker goes on.
    #[non_exhaustive]
    Panicked {
        /// What the panic said.
        message: String,
        /// Source file, line and column, of a task in another process.
        location: Option<String>,
        /// Where it came from, of a task in another process, if `RUST_BACKTRACE` asks for backtraces.
        backtrace: Option<String>,
    },
    /// A signal ended the process that had the task. No other task is touched by it.
    WorkerDied {
        /// The number that the process had.
        pid: u32,
        /// The signal; 9 is `SIGKILL`.
        signal: i32,
    },
    /// The process that had the task ended itself, by `std::process::exit` for instance.
    WorkerExited {
        /// The number that the process had.
        pid: u32,
        /// Its exit code, if it is known.
        code: Option<i32>,
    },
    /// The task took longer than a task may, and its worker was ended.
    TaskTimedOut,
    /// The task is not finished yet: the caller had waited long enough.
    WaitTimedOut,
    /// The pool was terminated before the task was finished.
    Terminated,
    /// The task was cancelled before a worker had begun it.
    Cancelled,
    /// The pool or executor takes no tasks any more.
    PoolClosed,
    /// The workers' initializer failed, and this is why. The pool is broken.
    Initializer(String),
    /// No worker could be started, and this is why. The pool is broken.
    NoWorkers(String),
    /// The arguments or the result could not be encoded.
    Encode(String),
    /// The arguments or the result could not be decoded.
    Decode(String),
    /// An option is outside what the operation takes.
    InvalidOption(String),
    /// The result can't be moved out: another handle of the same future is alive, and has it still.
    Shared,
}

impl TaskError {
    /// The error for a caught panic of a task in this process.
    pub(crate) fn from_panic(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked { message: text(payload).to_owned(), location: None, backtrace: None }
    }
}

/// What the payload of a panic says.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location: Some(location), .. } => {
                write!(f, "the task panicked at {location}: {message}")
            }
            Self::Panicked { message, location: None, .. } => write!(f, "the task panicked: {message}"),
            Self::WorkerDied { pid, signal } => {
                write!(f, "process {pid}, which had the task, was ended by signal {signal}")
            }
            Self::WorkerExited { pid, code: Some(code) } => {
                write!(f, "process {pid}, which had the task, exited with code {code}")
            }
            Self::WorkerExited { pid, code: None } => write!(f, "process {pid}, which had the task, ended"),
            Self::TaskTimedOut => f.write_str("the task took longer than a task may"),
            Self::WaitTimedOut => f.write_str("the task is not finished yet"),
            Self::Terminated => f.write_str("the pool was terminated before the task was finished"),
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::PoolClosed => f.write_str("the pool takes no tasks any more"),
            Self::Initializer(why) => write!(f, "the workers' initializer failed: {why}"),
            Self::NoWorkers(why) => write!(f, "no worker could be started: {why}"),
            Self::Encode(why) => write!(f, "a task's arguments or result could not be encoded: {why}"),
            Self::Decode(why) => write!(f, "a task's arguments or result could not be decoded: {why}"),
            Self::InvalidOption(why) => f.write_str(why),
            Self::Shared => f.write_str("another handle of the same future has the result"),
        }
    }
}

impl std::error::Error for TaskError {}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Self::operation(error)
    }
}

/// A pool is to be joined that is neither closed nor terminated.
///
/// # Examples
/// ```
/// use multiproc::{PoolStillRunning, threads};
/// assert_eq!(threads::Pool::new(1)?.join(), Err(PoolStillRunning));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStillRunning;

impl fmt::Display for PoolStillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is still running: close or terminate it first")
    }
}

impl std::error::Error for PoolStillRunning {}

impl From<PoolStillRunning> for Error {
    fn from(error: PoolStillRunning) -> Self {
        Self::operation(error)
    }
}
