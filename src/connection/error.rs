//! [`ConnectionError`]: why a message was not sent or received.

use std::{fmt, io};

use rustix::io::Errno;

use super::authentication_error::AuthenticationError;
use crate::Error;

/// Why a message was not sent or received.
///
/// After [`Eof`](Self::Eof), [`Reset`](Self::Reset), [`BrokenPipe`](Self::BrokenPipe), [`Truncated`](Self::Truncated),
/// [`PartlySent`](Self::PartlySent) and [`Broken`](Self::Broken) there is nothing more to receive, or to send; after the others
/// the connection goes on.
///
/// # Examples
/// ```
/// use multiproc::{ConnectionError, pipe};
/// let (a, b) = pipe()?;
/// assert!(matches!(b.try_recv::<u32>(), Err(ConnectionError::WouldBlock)));
/// drop(a);
/// assert!(matches!(b.recv::<u32>(), Err(ConnectionError::Eof)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// Receiving: every copy of the other end is closed, and all that it sent has been received.
    Eof,
    /// Receiving: as `Eof`, but the other end was closed before it had received all that was sent to it.
    Reset,
    /// Sending: every copy of the other end is closed.
    BrokenPipe,
    /// Receiving: the message ends before its length. Only a byte stream (TCP) or a peer that breaks the rules does that.
    Truncated,
    /// There is nothing to receive, or no room to send, and the caller did not want to wait.
    WouldBlock,
    /// The time passed.
    TimedOut,
    /// Receiving: the message is longer than the caller takes. It is gone; the next one can be received.
    #[non_exhaustive]
    TooLong {
        /// Its bytes.
        len: u64,
        /// The most that the caller takes.
        max: u64,
    },
    /// Receiving: the message is longer than the caller's buffer. Here it is, whole.
    BufferTooShort(Vec<u8>),
    /// This end only sends.
    NotReadable,
    /// This end only receives.
    NotWritable,
    /// Sending by a byte stream (TCP): the time passed in the middle of the message. The receiver will find it truncated.
    #[non_exhaustive]
    PartlySent {
        /// Bytes of the message that are on their way.
        sent: u64,
        /// Its bytes.
        len: u64,
    },
    /// A byte stream (TCP) on which a message was left half sent, or half received by another process.
    Broken,
    /// The process, or the system, has no room for the descriptors of a message.
    TooManyFiles,
    /// Sending: descriptors, and so handles, don't travel over a network.
    NoDescriptors,
    /// There is no memory for a message of so many bytes.
    OutOfMemory(u64),
    /// Connecting or accepting: the other end is not one to talk to.
    Authentication(AuthenticationError),
    /// Sending: the value can't be encoded.
    Encode(Error),
    /// Receiving: the message is not what was asked for. It is gone; the next one can be received.
    Decode(Error),
    /// The system refused.
    Io(io::Error),
}

impl ConnectionError {
    /// A message that nobody would have sent.
    pub(super) fn malformed(what: &str) -> Self {
        Self::Decode(Error::Decode(what.to_owned()))
    }

    /// The error for a failed system call.
    pub(super) fn os(errno: Errno) -> Self {
        match errno {
            Errno::PIPE => Self::BrokenPipe,
            Errno::CONNRESET => Self::Reset,
            Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS => Self::TooManyFiles,
            errno => Self::Io(errno.into()),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eof => "the other end is closed",
            Self::Reset => "the other end was closed before it had received everything",
            Self::BrokenPipe => "the other end is closed, and receives nothing",
            Self::Truncated => "the message ends before its length",
            Self::WouldBlock => "the operation would have to wait",
            Self::TimedOut => "timed out",
            Self::TooLong { len, max } => {
                return write!(f, "message: expected at most {max} bytes, found {len}");
            }
            Self::BufferTooShort(message) => {
                return write!(f, "the buffer is too short for a message of {} bytes", message.len());
            }
            Self::NotReadable => "this end of the connection only sends",
            Self::NotWritable => "this end of the connection only receives",
            Self::PartlySent { sent, len } => {
                return write!(f, "timed out after {sent} of a message's {len} bytes were sent");
            }
            Self::Broken => "an earlier message was left half sent or half received",
            Self::TooManyFiles => "too many open files for a message's descriptors",
            Self::NoDescriptors => "handles and descriptors don't travel over a network",
            Self::OutOfMemory(bytes) => return write!(f, "no memory for a message of {bytes} bytes"),
            Self::Authentication(error) => return error.fmt(f),
            Self::Encode(error) | Self::Decode(error) => return error.fmt(f),
            Self::Io(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Authentication(error) => Some(error),
            Self::Encode(error) | Self::Decode(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<AuthenticationError> for ConnectionError {
    fn from(error: AuthenticationError) -> Self {
        Self::Authentication(error)
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        Self::operation(error)
    }
}
