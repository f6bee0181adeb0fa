//! [`Fault`]: why the server did not do what it was asked.

use serde::{Deserialize, Serialize};

use crate::TaskError;

/// Why the server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    NoSuchObject,
    Mismatch {
        expected: String,
        found: String,
    },
    NotFound(String),
    AlreadyExists(String),
    Panicked(String),
    OutOfRange {
        index: u64,
        len: u64,
    },
    TimedOut,
    Full,
    Empty,
    Shutdown,
    NotHeld,
    OverReleased,
    BrokenBarrier,
    TaskDoneTooOften,
    PoolStillRunning,
    Task(TaskError),
    /// A message is longer than may be.
    TooLong {
        len: u64,
        max: u64,
    },
    /// Bytes that are no request of this object.
    Malformed(String),
    Refused(String),
    /// The client has gone meanwhile. Nobody reads it.
    Gone,
    /// The server ends.
    Stopping,
}

impl Fault {
    pub(super) fn malformed(error: &postcard::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}
