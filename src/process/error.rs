//! [`ProcessError`]: how a process ended when not by returning.

use std::fmt;

use crate::Error;

/// Why there is no result of a [`Process`](crate::Process).
///
/// # Examples
/// ```
/// use multiproc::{Process, ProcessError};
/// let mut process = Process::spawn(|n: u32| assert!(n > 7, "{n} is too small"), 3)?;
/// match process.join() {
///     Err(ProcessError::Panicked { message, .. }) => assert_eq!(message, "3 is too small"),
///     other => unreachable!("{other:?}"),
/// }
/// assert_eq!(process.exit_code(), Some(1));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked.
    #[non_exhaustive]
    Panicked {
        /// What the panic said.
        message: String,
        /// Source file, line and column.
        location: Option<String>,
        /// Where it came from, if `RUST_BACKTRACE` asks for backtraces.
        backtrace: Option<String>,
    },
    /// The process ended itself with this code before the function returned.
    Exited(i32),
    /// This signal ended the process.
    Signaled(i32),
    /// The process still runs.
    TimedOut,
    /// An earlier `join` returned the result.
    ResultTaken,
    /// The process ended and somebody else in this program waited for it, so how is not known.
    Unknown,
    /// The process could not decode the arguments.
    Arguments(String),
    /// The function returned, but its result could not be encoded.
    Encode(String),
    /// The result could not be received or decoded.
    Decode(Error),
    /// The system refused to wait.
    Wait(Error),
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location: Some(location), .. } => {
                write!(f, "the process panicked at {location}: {message}")
            }
            Self::Panicked { message, location: None, .. } => write!(f, "the process panicked: {message}"),
            Self::Exited(code) => {
                write!(f, "the process exited with code {code} before its function returned")
            }
            Self::Signaled(signal) => write!(f, "the process was ended by signal {signal}"),
            Self::TimedOut => f.write_str("the process still runs"),
            Self::ResultTaken => f.write_str("an earlier join returned the result"),
            Self::Unknown => f.write_str("the process ended, and somebody else waited for it"),
            Self::Arguments(why) => write!(f, "the process could not read its arguments: {why}"),
            Self::Encode(why) => write!(f, "the process could not send its result: {why}"),
            Self::Decode(error) => write!(f, "the result of the process: {error}"),
            Self::Wait(error) => write!(f, "wait for the process: {error}"),
        }
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) | Self::Wait(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ProcessError> for Error {
    fn from(error: ProcessError) -> Self {
        Self::operation(error)
    }
}
