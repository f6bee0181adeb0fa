//! [`ListenerOptions`]: how a listener is made.

use std::time::Duration;

use super::address::Address;
use super::authkey::AuthKey;
use super::doorkeeper::HANDSHAKE;
use super::listener::Listener;
use crate::Result;

/// What a new listener is like.
///
/// # Examples
/// ```
/// use multiproc::{Address, AuthKey, Listener};
/// use std::time::Duration;
/// let options = Listener::options().authkey(AuthKey::random()?).handshake_timeout(Duration::from_secs(1));
/// let listener = options.bind(Address::Abstract("multiproc-options".to_owned()))?;
/// assert_eq!(listener.address().to_string(), "abstract:multiproc-options");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options make nothing by themselves"]
pub struct ListenerOptions {
    pub(super) key: Option<AuthKey>,
    pub(super) handshake_timeout: Duration,
    pub(super) reports_silent: bool,
}

impl ListenerOptions {
    /// Those of a listener without a key.
    pub(super) fn new() -> Self {
        Self { key: None, handshake_timeout: HANDSHAKE, reports_silent: false }
    }

    /// Only clients that have this key get in, and they know that this is who has it. Default: anybody.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, AuthKey, Client, Listener};
    /// let listener = Listener::options().authkey(AuthKey::random()?).bind(Address::tcp("localhost:0")?)?;
    /// assert!(Client::connect(listener.address().clone(), None).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn authkey(mut self, key: AuthKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How long a client may take for its handshake, from when it is let in. Default 10 s.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Address, Client, Listener};
    /// let options = Listener::options().handshake_timeout(Duration::from_secs(60));
    /// let listener = options.bind(Address::tcp("localhost:0")?)?;
    /// assert!(Client::connect(listener.address().clone(), None).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Whether [`accept`](Listener::accept) tells of a client that is turned away since its time is over, with
    /// [`AuthenticationError::Silent`](super::AuthenticationError::Silent). Default: no.
    ///
    /// # Examples
    /// ```
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use multiproc::connection::AuthenticationError::Silent;
    /// use multiproc::{Address, ConnectionError, Listener};
    /// let options = Listener::options().handshake_timeout(Duration::from_millis(10)).reports_silent(true);
    /// let listener = options.bind(Address::tcp("localhost:0")?)?;
    /// let Address::Tcp(address) = listener.address() else { panic!("another address") };
    /// let _says_nothing = TcpStream::connect(address).expect("it listens");
    /// assert!(matches!(listener.accept(), Err(ConnectionError::Authentication(Silent))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn reports_silent(mut self, reports: bool) -> Self {
        self.reports_silent = reports;
        self
    }

    /// Listens at `address`.
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    ///
    /// # Process death
    /// As for `Listener::bind`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Client, Listener};
    /// let listener = Listener::options().bind(Address::tcp("localhost:0")?)?;
    /// assert!(Client::connect(listener.address().clone(), None).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn bind(self, address: Address) -> Result<Listener> {
        Listener::with_options(address, self)
    }
}
