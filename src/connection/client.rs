//! [`Client`]: connecting to a listener.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::address::Address;
use super::authkey::AuthKey;
use super::connection::Connection;
use super::doorkeeper::HANDSHAKE;
use super::error::ConnectionError;
use super::greeting::Greeting;
use super::handshake::Role;
use super::patience::Patience;

/// The least that the system waits for. Zero would be for ever.
const LEAST: Duration = Duration::from_millis(1);

/// Connects to a [`Listener`](crate::Listener).
///
/// # Examples
/// ```
/// use multiproc::{Address, Client, Listener};
/// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
/// let client = Client::connect(listener.address().clone(), None)?;
/// client.send(&"hello")?;
/// assert_eq!(listener.accept()?.recv::<String>()?, "hello");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
pub struct Client(());

impl Client {
    /// Connects to the listener at `address`. With a `key`, only to one that has it too.
    ///
    /// Waits until the system has made the connection, and then at most 10 s for the listener's answers.
    ///
    /// # Errors
    /// [`Authentication`](ConnectionError::Authentication): the other end is no such listener, or one without this key.
    /// [`TimedOut`](ConnectionError::TimedOut). [`Io`](ConnectionError::Io), of kind `NotFound` or `ConnectionRefused` where
    /// nobody listens.
    ///
    /// # Process death
    /// A listener killed meanwhile is an error: nobody waits for it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::connection::AuthenticationError;
    /// use multiproc::{Address, AuthKey, Client, ConnectionError, Listener};
    ///
    /// let address = Address::Abstract("multiproc-connect".to_owned());
    /// let listener = Listener::bind(address.clone(), Some(AuthKey::new("right")))?;
    /// let refused = Client::connect(address.clone(), Some(AuthKey::new("wrong")));
    /// assert!(matches!(refused, Err(ConnectionError::Authentication(AuthenticationError::Rejected))));
    /// assert!(matches!(
    ///     listener.accept(),
    ///     Err(ConnectionError::Authentication(AuthenticationError::WrongKey))
    /// ));
    /// let client = Client::connect(address, Some(AuthKey::new("right")))?;
    /// client.send(&1)?;
    /// assert_eq!(listener.accept()?.recv::<i32>()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn connect(address: Address, key: Option<AuthKey>) -> Result<Connection, ConnectionError> {
        Self::connect_for(address, key, Patience::Forever)
    }

    /// As [`connect`](Self::connect), waiting for at most `timeout` in all.
    ///
    /// # Errors
    /// As `connect`.
    ///
    /// # Process death
    /// As `connect`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Address, Client, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// let client = Client::connect_timeout(listener.address().clone(), None, Duration::from_secs(60))?;
    /// assert!(client.is_readable() && client.is_writable());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn connect_timeout(
        address: Address,
        key: Option<AuthKey>,
        timeout: Duration,
    ) -> Result<Connection, ConnectionError> {
        Self::connect_for(address, key, Patience::timeout(timeout))
    }

    /// As [`connect`](Self::connect), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As `connect`.
    ///
    /// # Process death
    /// As `connect`.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// use multiproc::{Address, Client, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// let soon = Instant::now() + Duration::from_secs(60);
    /// assert!(Client::connect_deadline(listener.address().clone(), None, soon).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn connect_deadline(
        address: Address,
        key: Option<AuthKey>,
        deadline: Instant,
    ) -> Result<Connection, ConnectionError> {
        Self::connect_for(address, key, Patience::deadline(deadline))
    }

    fn connect_for(
        address: Address,
        key: Option<AuthKey>,
        patience: Patience,
    ) -> Result<Connection, ConnectionError> {
        let socket = match address {
            Address::Unix(path) => connect_unix(&SocketAddrUnix::new(path), patience),
            Address::Abstract(name) => {
                connect_unix(&SocketAddrUnix::new_abstract_name(name.as_bytes()), patience)
            }
            Address::Tcp(address) => connect_tcp(&address, patience),
        }?;
        let patience = if patience.is_forever() { Patience::timeout(HANDSHAKE) } else { patience };
        Greeting::begin(socket, Role::Client, key)?.finish(patience)
    }
}

fn connect_unix(
    address: &Result<SocketAddrUnix, Errno>,
    patience: Patience,
) -> Result<OwnedFd, ConnectionError> {
    let address = address.as_ref().map_err(|errno| ConnectionError::os(*errno))?;
    let os = ConnectionError::os;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(os)?;
    loop {
        // Where the listener's backlog is full, connecting waits as long as sending may.
        let timeout = patience.until().map(|deadline| deadline.remaining().max(LEAST));
        set_socket_timeout(&socket, Timeout::Send, timeout).map_err(os)?;
        match connect(&socket, address) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(patience.is_over()),
            Err(errno) => return Err(ConnectionError::Io(errno.into())),
        }
    }
    set_socket_timeout(&socket, Timeout::Send, None).map_err(os)?;
    Ok(socket)
}

fn connect_tcp(address: &SocketAddr, patience: Patience) -> Result<OwnedFd, ConnectionError> {
    let connected = match patience.until() {
        None => TcpStream::connect(address),
        Some(deadline) => TcpStream::connect_timeout(address, deadline.remaining().max(LEAST)),
    };
    let stream = connected.map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => ConnectionError::TimedOut,
        _ => ConnectionError::Io(error),
    })?;
    stream.set_nodelay(true).map_err(ConnectionError::Io)?;
    Ok(stream.into())
}
