//! [`AuthenticationError`]: why two ends did not become a connection.

use std::fmt;

/// Why a listener and a client did not become a connection.
///
/// # Examples
/// ```
/// use multiproc::connection::AuthenticationError;
/// use multiproc::{Address, AuthKey, Client, ConnectionError, Listener};
/// let key = AuthKey::random()?;
/// let listener = Listener::bind(Address::tcp("localhost:0")?, Some(key))?;
/// let without = Client::connect(listener.address().clone(), None);
/// assert!(matches!(without, Err(ConnectionError::Authentication(AuthenticationError::KeyRequired))));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The other end has a key, and this end was given none.
    KeyRequired,
    /// This end was given a key, and the other end has none.
    KeyMissing,
    /// The other end's key is not this end's.
    WrongKey,
    /// The other end says that this end's key is not its own.
    Rejected,
    /// The other end speaks another version.
    #[non_exhaustive]
    Version {
        /// This end's.
        ours: u16,
        /// The other end's.
        theirs: u16,
    },
    /// The other end sends back what this end said.
    Reflected,
    /// The other end does not keep to the protocol; the text says in what.
    Malformed(&'static str),
    /// The other end hung up.
    HungUp,
    /// The other end was silent, or slow, for as long as a handshake may take.
    Silent,
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyRequired => "the other end has a key, and none was given here",
            Self::KeyMissing => "the other end has no key",
            Self::WrongKey => "the other end has another key",
            Self::Rejected => "the other end has another key, and says so",
            Self::Version { ours, theirs } => {
                return write!(f, "the other end speaks version {theirs}, this end {ours}");
            }
            Self::Reflected => "the other end sends back what this end said",
            Self::Malformed(what) => return write!(f, "the other end sends {what}"),
            Self::HungUp => "the other end hung up before the connection was made",
            Self::Silent => "the other end said too little for too long",
        })
    }
}

impl std::error::Error for AuthenticationError {}
