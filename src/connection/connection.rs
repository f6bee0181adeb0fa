//! [`Connection`]: one end of a connection.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use super::error::ConnectionError;
use super::head::Kind;
use super::packets::Packets;
use super::patience::Patience;
use super::received::Received;
use super::stream::{Shared, Stream};
use crate::sys::poll;
use crate::{Error, Result};

/// One end of a connection between two processes, or two threads: it sends and receives messages, which are values or
/// bytes.
///
/// A handle: clones are the same end, in any thread. It travels in the arguments and results of a
/// [`Process`](crate::Process) and over other connections; the copy there and the one here are the same end. Any number
/// of threads and processes may send and receive at an end at once: each message goes whole, to one of the receivers.
///
/// A message has its place in a buffer of the system's of about 200 KB; beyond that, sending waits. A message beyond 64 KiB
/// also takes as much memory until it is received, and the sender keeps up to 8 MiB of that for its next ones.
///
/// Who waits for a message looks again for some 50 us before it sleeps, where that has paid the last times: to be woken
/// takes longer. Not over a network, nor with tokio.
///
/// Over a network ([`Client`](crate::Client), TCP) a message takes its time, and neither handles nor descriptors travel. A
/// sender that gives up, or dies, in the middle of a message ends the connection:
/// [`PartlySent`](ConnectionError::PartlySent), [`Broken`](ConnectionError::Broken), [`Truncated`](ConnectionError::Truncated).
///
/// | | waits | not at all | for a while | until a moment |
/// |---|---|---|---|---|
/// | a value | [`send`](Self::send) | [`try_send`](Self::try_send) | [`send_timeout`](Self::send_timeout) | [`send_deadline`](Self::send_deadline) |
/// | | [`recv`](Self::recv) | [`try_recv`](Self::try_recv) | [`recv_timeout`](Self::recv_timeout) | [`recv_deadline`](Self::recv_deadline) |
/// | bytes | [`send_bytes`](Self::send_bytes) | [`try_send_bytes`](Self::try_send_bytes) | [`send_bytes_timeout`](Self::send_bytes_timeout) | [`send_bytes_deadline`](Self::send_bytes_deadline) |
/// | | [`recv_bytes`](Self::recv_bytes) | [`try_recv_bytes`](Self::try_recv_bytes) | [`recv_bytes_timeout`](Self::recv_bytes_timeout) | [`recv_bytes_deadline`](Self::recv_bytes_deadline) |
/// | up to a length | [`recv_bytes_max`](Self::recv_bytes_max) | [`try_recv_bytes_max`](Self::try_recv_bytes_max) | [`recv_bytes_max_timeout`](Self::recv_bytes_max_timeout) | [`recv_bytes_max_deadline`](Self::recv_bytes_max_deadline) |
/// | into a buffer | [`recv_bytes_into`](Self::recv_bytes_into) | [`try_recv_bytes_into`](Self::try_recv_bytes_into) | [`recv_bytes_into_timeout`](Self::recv_bytes_into_timeout) | [`recv_bytes_into_deadline`](Self::recv_bytes_into_deadline) |
/// | is there something? | [`poll_wait`](Self::poll_wait) | [`poll`](Self::poll) | [`poll_timeout`](Self::poll_timeout) | [`poll_deadline`](Self::poll_deadline) |
///
/// # Process death
/// A process killed while it sends has sent the message or nothing; one killed while it receives has taken the message or
/// left it to the next receiver. What was sent stays there to be received, then follows [`ConnectionError::Eof`]: when *every*
/// copy of the other end is closed or has died, so drop those that nobody here uses. Over a network, a process killed in the
/// middle of a message ends the connection for all.
///
/// # Examples
/// ```
/// use multiproc::{Connection, Process, pipe};
///
/// fn double(connection: Connection) {
///     while let Ok(number) = connection.recv::<u64>() {
///         connection.send(&(number * 2)).expect("the parent listens");
///     }
/// }
///
/// let (here, there) = pipe()?;
/// let mut process = Process::spawn(double, there)?;
/// here.send(&21_u64)?;
/// assert_eq!(here.recv::<u64>()?, 42);
/// drop(here);
/// process.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Pipe")]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    channel: Channel,
    directions: Directions,
}

/// How messages travel.
enum Channel {
    Packets(Packets),
    Stream(Box<Stream>),
}

/// What an end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directions {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Directions {
    pub(super) const BOTH: Self = Self { readable: true, writable: true };
    pub(super) const READ: Self = Self { readable: true, writable: false };
    pub(super) const WRITE: Self = Self { readable: false, writable: true };
}

impl Connection {
    pub(super) fn of_packets(socket: OwnedFd, directions: Directions) -> Self {
        Self::new(Channel::Packets(Packets::new(socket)), directions)
    }

    fn new(channel: Channel, directions: Directions) -> Self {
        Self { inner: Arc::new(Inner { channel, directions }) }
    }

    /// The end of a connection that `socket` is: a Unix socket of type `SOCK_SEQPACKET`, or a connected socket of type
    /// `SOCK_STREAM`, whose other end is one of this crate's too. Nobody else uses a stream's descriptors.
    ///
    /// # Errors
    /// [`Error::Mismatch`]: another kind of descriptor. [`Error::Os`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Connection, pipe};
    /// use std::os::fd::AsFd;
    ///
    /// let (here, there) = pipe()?;
    /// let copy = Connection::from_fd(there.as_fd().try_clone_to_owned().expect("a free descriptor"))?;
    /// here.send(&"once")?;
    /// assert_eq!(copy.recv::<String>()?, "once");
    /// let file = std::fs::File::open("/dev/null").expect("it is there");
    /// assert!(Connection::from_fd(file.into()).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn from_fd(socket: OwnedFd) -> Result<Self> {
        Self::received(socket, Directions::BOTH, None)
    }

    /// An end that came from elsewhere. With a stream, whose users share something, comes that.
    pub(super) fn received(socket: OwnedFd, directions: Directions, shared: Option<Shared>) -> Result<Self> {
        let found = match (socket_domain(&socket), socket_type(&socket)) {
            (Ok(AddressFamily::UNIX), Ok(SocketType::SEQPACKET)) => {
                return Ok(Self::of_packets(socket, directions));
            }
            (
                Ok(AddressFamily::UNIX | AddressFamily::INET | AddressFamily::INET6),
                Ok(SocketType::STREAM),
            ) => {
                let shared = shared.map_or_else(Shared::new, Ok)?;
                return Ok(Self::new(Channel::Stream(Box::new(Stream::new(socket, shared)?)), directions));
            }
            (Err(Errno::NOTSOCK), _) => "no socket".to_owned(),
            (Err(errno), _) | (_, Err(errno)) => return Err(Error::os("open a connection", errno)),
            (Ok(domain), Ok(kind)) => format!("a socket of family {domain:?} and type {kind:?}"),
        };
        let expected = "a socket of packets (SOCK_SEQPACKET) or of a stream (SOCK_STREAM)".to_owned();
        Err(Error::Mismatch { object: "connection".to_owned(), expected, found })
    }

    /// What the users of a stream share.
    pub(super) fn shared(&self) -> Option<&Shared> {
        match &self.inner.channel {
            Channel::Packets(_) => None,
            Channel::Stream(stream) => Some(stream.shared()),
        }
    }

    /// Whether this end receives.
    ///
    /// # Examples
    /// ```
    /// let (receiver, sender) = multiproc::one_way_pipe()?;
    /// assert!(receiver.is_readable() && !receiver.is_writable());
    /// assert!(sender.is_writable() && !sender.is_readable());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "readable")]
    pub fn is_readable(&self) -> bool {
        self.inner.directions.readable
    }

    /// Whether this end sends.
    ///
    /// # Examples
    /// ```
    /// let (receiver, sender) = multiproc::one_way_pipe()?;
    /// assert!(sender.is_writable() && !receiver.is_writable());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "writable")]
    pub fn is_writable(&self) -> bool {
        self.inner.directions.writable
    }

    /// Whether there is something to receive, at once. The end of the connection counts: receiving then says so.
    ///
    /// # Errors
    /// [`ConnectionError::NotReadable`], [`ConnectionError::Io`].
    ///
    /// # Process death
    /// A killed peer is the end of the connection.
    ///
    /// # Examples
    /// ```
    /// let (here, there) = multiproc::pipe()?;
    /// assert!(!there.poll()?);
    /// here.send(&1)?;
    /// assert!(there.poll()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn poll(&self) -> Result<bool, ConnectionError> {
        self.poll_for(Patience::Never)
    }

    /// As [`poll`](Self::poll), after waiting for up to `timeout`.
    ///
    /// # Errors
    /// As `poll`.
    ///
    /// # Process death
    /// As `poll`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let (a, b) = multiproc::pipe()?;
    /// assert!(!b.poll_timeout(Duration::from_millis(1))?);
    /// a.send(&7)?;
    /// assert!(b.poll_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn poll_timeout(&self, timeout: Duration) -> Result<bool, ConnectionError> {
        self.poll_for(Patience::timeout(timeout))
    }

    /// As [`poll`](Self::poll), after waiting until `deadline` at most.
    ///
    /// # Errors
    /// As `poll`.
    ///
    /// # Process death
    /// As `poll`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// let (a, b) = multiproc::pipe()?;
    /// assert!(!b.poll_deadline(Instant::now())?);
    /// a.send(&7)?;
    /// assert!(b.poll_deadline(Instant::now())?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn poll_deadline(&self, deadline: Instant) -> Result<bool, ConnectionError> {
        self.poll_for(Patience::deadline(deadline))
    }

    /// Waits until there is something to receive.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    ///
    /// # Process death
    /// As `poll`.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = multiproc::pipe()?;
    /// a.send(&7)?;
    /// b.poll_wait()?;
    /// assert!(b.poll()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn poll_wait(&self) -> Result<(), ConnectionError> {
        self.poll_for(Patience::Forever).map(drop)
    }

    fn poll_for(&self, patience: Patience) -> Result<bool, ConnectionError> {
        if !self.is_readable() {
            return Err(ConnectionError::NotReadable);
        }
        poll::wait(&[(self.as_fd(), PollFlags::IN)], patience.until()).map_err(ConnectionError::os)
    }

    /// Closes this handle, as dropping it does. The end is closed when all its handles are, in every process.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ConnectionError, pipe};
    /// let (here, there) = pipe()?;
    /// here.close();
    /// assert!(matches!(there.recv::<u8>(), Err(ConnectionError::Eof)));
    /// assert!(matches!(there.send(&1), Err(ConnectionError::BrokenPipe)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(self) {}

    pub(super) fn send_message(
        &self,
        kind: Kind,
        bytes: &[u8],
        fds: &[OwnedFd],
        patience: Patience,
    ) -> Result<(), ConnectionError> {
        if !self.is_writable() {
            return Err(ConnectionError::NotWritable);
        }
        match &self.inner.channel {
            Channel::Packets(packets) => packets.send(kind, bytes, fds, patience),
            Channel::Stream(_) if !fds.is_empty() => Err(ConnectionError::NoDescriptors),
            Channel::Stream(stream) => stream.send(kind, bytes, patience),
        }
    }

    /// Receives a message of at most `max` bytes: its first into `body`, the next into `rest`.
    pub(super) fn receive_message(
        &self,
        kind: Kind,
        body: &mut [u8],
        rest: &mut Vec<u8>,
        max: u64,
        patience: Patience,
    ) -> Result<Received, ConnectionError> {
        if !self.is_readable() {
            return Err(ConnectionError::NotReadable);
        }
        let received = match &self.inner.channel {
            Channel::Packets(packets) => packets.receive(body, rest, max, patience),
            Channel::Stream(stream) => stream.receive(rest, max, patience),
        };
        received?.expect(kind)
    }

    /// The stream that it is, if it is one.
    #[cfg(feature = "tokio")]
    pub(super) fn stream(&self) -> Option<&Stream> {
        match &self.inner.channel {
            Channel::Packets(_) => None,
            Channel::Stream(stream) => Some(stream),
        }
    }

    pub(super) fn directions(&self) -> Directions {
        self.inner.directions
    }
}

/// For `poll` and the like. It becomes readable when there is something to receive.
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inner.channel {
            Channel::Packets(packets) => packets.socket(),
            Channel::Stream(stream) => stream.socket(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("fd", &std::os::fd::AsRawFd::as_raw_fd(&self.as_fd()))
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .finish()
    }
}
