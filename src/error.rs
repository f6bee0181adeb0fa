//! [`Error`]: what can go wrong while something is set up, and the type that every other error converts into.
//!
//! Errors a caller branches on live beside the type whose operation returns them.

use std::{fmt, io};

use rustix::process::{Resource, getrlimit};

/// `Result<T, multiproc::Error>`.
///
/// # Examples
/// ```
/// fn squares() -> multiproc::Result<u64> {
///     let queue = multiproc::Queue::bounded(4)?;
///     queue.put(3_u64)?;
///     Ok(queue.get()?.pow(2))
/// }
/// assert_eq!(squares().ok(), Some(9));
/// # Ok::<(), multiproc::Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure to set something up, or another error of this crate, or of input and output, that was converted with `?`.
///
/// A function in another process may return a [`Result`] with it: it travels as its text, and arrives as
/// [`Operation`](Self::Operation).
///
/// # Examples
/// ```
/// use multiproc::{Error, Queue, Segment};
///
/// fn full() -> multiproc::Result<()> {
///     let queue = Queue::bounded(1)?;
///     queue.try_put(1)?;
///     queue.try_put(2)?;
///     Ok(())
/// }
///
/// assert!(matches!(full(), Err(Error::Operation(_))));
/// let Err(error) = Segment::open("no such segment") else { unreachable!("there is none") };
/// assert!(matches!(error, Error::NotFound { .. }) && error.to_string().contains("no such segment"));
///
/// // From another process its text comes.
/// let opened = multiproc::Process::spawn(|name: String| Segment::open(&name).map(drop), "none".to_owned())?.join()?;
/// assert!(opened.is_err_and(|error| error.to_string().contains("none")));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call.
    Os {
        /// What was attempted, for instance `"create segment"`.
        operation: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The process or the system has no file descriptor left.
    TooManyFiles {
        /// What was attempted.
        operation: &'static str,
        /// The limit that is reached, with its value where it is this process's own: `RLIMIT_NOFILE is 1024`.
        limit: String,
    },
    /// There is no memory for a segment, or a limit (`RLIMIT_FSIZE`, a full file system) forbids it.
    OutOfMemory {
        /// What was attempted.
        operation: &'static str,
        /// Bytes that were asked for.
        bytes: u64,
        /// What there is instead, or the limit that is reached: `RLIMIT_FSIZE is 4096`.
        limit: String,
    },
    /// This kernel, libc or sandbox lacks something the crate stands on.
    Unsupported {
        /// What is missing.
        what: String,
    },
    /// An argument is outside what the operation takes.
    InvalidArgument {
        /// The argument.
        what: &'static str,
        /// What would have been accepted.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A segment or an object in it is not what was asked for.
    Mismatch {
        /// The segment or object.
        object: String,
        /// What was asked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// There is no segment, or no object in it, of that name.
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// There is a segment, or an object in it, of that name already.
    AlreadyExists {
        /// What was to be made.
        what: String,
    },
    /// A segment that others could change or take away at any time: another user's, or one that others may write.
    Denied {
        /// The segment.
        object: String,
        /// What would have been accepted.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A descriptor's file is not sealed against shrinking: touching its memory could raise SIGBUS.
    Unsealed,
    /// A handle was serialised where it can't travel: handles go in process arguments and results and over connections.
    NotInTransfer,
    /// A value could not be encoded.
    Encode(String),
    /// Bytes could not be decoded into the type asked for.
    Decode(String),
    /// An operation's own error, converted by `?`: a `PutError`, a `GetError`, a `ProcessError`, a `LockError`, an
    /// [`io::Error`].
    Operation(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The error for a failed system call: exhausted descriptors and memory get their own variants.
    pub(crate) fn os(operation: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.raw_os_error() {
            Some(libc::EMFILE) => Self::too_many_files(operation),
            Some(libc::ENFILE) => {
                Self::TooManyFiles { operation, limit: "fs.file-max of the system".to_owned() }
            }
            _ => Self::Os { operation, source },
        }
    }

    /// The error for a process that has, or sends, as many descriptors as it may.
    pub(crate) fn too_many_files(operation: &'static str) -> Self {
        let limit = match getrlimit(Resource::Nofile).current {
            Some(most) => format!("RLIMIT_NOFILE is {most}"),
            None => "the kernel's limit for one process".to_owned(),
        };
        Self::TooManyFiles { operation, limit }
    }

    /// The error where there is no memory for so many bytes.
    pub(crate) fn out_of_memory(
        operation: &'static str,
        bytes: impl TryInto<u64>,
        limit: impl Into<String>,
    ) -> Self {
        Self::OutOfMemory { operation, bytes: bytes.try_into().unwrap_or(u64::MAX), limit: limit.into() }
    }

    /// The error for a length that no address space has room for, of so many bytes or more.
    pub(crate) fn beyond_addresses(operation: &'static str, bytes: impl TryInto<u64>) -> Self {
        Self::out_of_memory(operation, bytes, "that is beyond the address space")
    }

    /// Its text, for an error that says by itself that a value could not be encoded or decoded.
    #[cfg(feature = "process")]
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Encode(why) | Self::Decode(why) => why,
            error => error.to_string(),
        }
    }

    /// Refuses 0 for the argument `what`.
    pub(crate) fn unless_positive(what: &'static str, value: usize) -> Result<()> {
        match value {
            0 => {
                Err(Self::InvalidArgument { what, expected: "at least 1".to_owned(), found: "0".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// An error of one's own, in a function that returns a [`Result`]: an [`Operation`](Self::Operation).
    ///
    /// # Examples
    /// ```
    /// use multiproc::Error;
    /// assert_eq!(Error::other("no such command").to_string(), "no such command");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Operation(error.into())
    }

    /// Wraps an operation's own error.
    pub(crate) fn operation(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Operation(Box::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { operation, source } => write!(f, "{operation}: {source}"),
            Self::TooManyFiles { operation, limit } => {
                write!(f, "{operation}: too many open files: {limit}")
            }
            Self::OutOfMemory { operation, bytes, limit } => {
                write!(f, "{operation}: no memory for {bytes} bytes: {limit}")
            }
            Self::Unsupported { what } => write!(f, "not supported here: {what}"),
            Self::InvalidArgument { what, expected, found } => {
                write!(f, "{what}: expected {expected}, found {found}")
            }
            Self::Mismatch { object, expected, found } => {
                write!(f, "{object}: expected {expected}, found {found}")
            }
            Self::NotFound { what } => write!(f, "there is no {what}"),
            Self::AlreadyExists { what } => write!(f, "there is already: {what}"),
            Self::Denied { object, expected, found } => {
                write!(f, "{object}: expected {expected}, found {found}")
            }
            Self::Unsealed => f.write_str(
                "segment: expected a memory file sealed against shrinking, found an unsealed file",
            ),
            Self::NotInTransfer => {
                f.write_str("a handle travels only in process arguments and results or over a connection")
            }
            Self::Encode(why) => write!(f, "encode: {why}"),
            Self::Decode(why) => write!(f, "decode: {why}"),
            Self::Operation(error) => error.fmt(f),
        }
    }
}

/// What else a function meets that uses this crate: as [`Error::Operation`].
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::operation(error)
    }
}

/// It goes as its text.
#[cfg(feature = "serde")]
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// It comes as [`Error::Operation`], with the text of the one that was sent.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Error {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        Ok(Self::Operation(text.into()))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            Self::Operation(error) => error.source(),
            _ => None,
        }
    }
}
