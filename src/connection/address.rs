//! [`Address`]: where a listener listens.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where a [`Listener`](crate::Listener) listens. As text: `unix:/run/jobs`, `abstract:jobs`, `tcp:127.0.0.1:4000`.
///
/// # Examples
/// ```
/// use multiproc::Address;
/// let address: Address = "tcp:127.0.0.1:4000".parse()?;
/// assert_eq!(address, Address::tcp("127.0.0.1:4000")?);
/// assert_eq!(Address::Unix("/run/jobs".into()).to_string(), "unix:/run/jobs");
/// assert!("/run/jobs".parse::<Address>().is_err());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Address {
    /// A socket file at this path, of at most 107 bytes. Only this user may connect.
    Unix(PathBuf),
    /// An address of a network. Port 0 is one that is free: [`Listener::address`](crate::Listener::address) tells which.
    Tcp(SocketAddr),
    /// A name of at most 107 bytes, which is no file, and which any process in this network namespace may connect to: give
    /// a key.
    Abstract(String),
}

impl Address {
    /// The first address of `host`, as `"localhost:4000"`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]: not a host and a port. [`Error::Os`]: no address is known.
    ///
    /// # Examples
    /// ```
    /// let address = multiproc::Address::tcp("localhost:4000")?;
    /// assert!(address.to_string().ends_with(":4000"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn tcp(host: &str) -> Result<Self> {
        let found = host.to_socket_addrs().map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => invalid(host),
            _ => Error::os("look up an address", error),
        });
        found?.next().map(Self::Tcp).ok_or_else(|| invalid(host))
    }
}

fn invalid(found: &str) -> Error {
    let expected = "unix:PATH, abstract:NAME or tcp:HOST:PORT".to_owned();
    Error::InvalidArgument { what: "address", expected, found: found.to_owned() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Abstract(name) => write!(f, "abstract:{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("abstract", name)) if !name.is_empty() => Ok(Self::Abstract(name.to_owned())),
            Some(("tcp", host)) => Self::tcp(host),
            _ => Err(invalid(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text() {
        for text in ["unix:/a/b c", "unix:relative", "abstract:x:y", "tcp:127.0.0.1:80", "tcp:[::1]:8080"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "unix:", "abstract:", "tcp:", "tcp:127.0.0.1", "/run/x", "udp:127.0.0.1:1", "tcp:1:x"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
