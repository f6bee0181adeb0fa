//! [`Refusal`]: why a server turned a client away.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::connection::AuthenticationError;

/// Why a server turned a client away, or hung up on one.
///
/// # Examples
/// ```
/// use multiproc::{Client, Manager};
/// use multiproc::manager::Refusal;
/// let manager = Manager::start()?;
/// let without_key = Client::connect(manager.address().clone(), None);
/// assert!(without_key.is_err());
/// while manager.refusals()?.is_empty() {
///     std::thread::yield_now();
/// }
/// assert_eq!(manager.refusals()?, [Refusal::KeyMissing]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// It has another key.
    WrongKey,
    /// It has no key, and this server has one.
    KeyMissing,
    /// It has a key, and this server has none.
    KeyRequired,
    /// It speaks another version.
    #[non_exhaustive]
    Version {
        /// The server's.
        ours: u16,
        /// The client's.
        theirs: u16,
    },
    /// It said too little for too long: at first, or after it proved its key.
    Silent,
    /// It sent a message that is longer than may be.
    #[non_exhaustive]
    TooLong {
        /// Its bytes.
        len: u64,
        /// The most that are allowed.
        max: u64,
    },
    /// It does not keep to the protocol; the text says in what.
    Malformed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongKey => "a client has another key",
            Self::KeyMissing => "a client has no key",
            Self::KeyRequired => "a client has a key, and the server has none",
            Self::Version { ours, theirs } => {
                return write!(f, "a client speaks version {theirs}, the server {ours}");
            }
            Self::Silent => "a client says nothing",
            Self::TooLong { len, max } => {
                return write!(f, "a client's message: expected at most {max} bytes, found {len}");
            }
            Self::Malformed(what) => return write!(f, "a client sends {what}"),
        })
    }
}

impl From<AuthenticationError> for Refusal {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::WrongKey | AuthenticationError::Rejected => Self::WrongKey,
            AuthenticationError::KeyMissing => Self::KeyMissing,
            AuthenticationError::KeyRequired => Self::KeyRequired,
            AuthenticationError::Version { ours, theirs } => Self::Version { ours, theirs },
            AuthenticationError::Silent => Self::Silent,
            error => Self::Malformed(error.to_string()),
        }
    }
}
