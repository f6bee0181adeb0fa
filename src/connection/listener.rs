//! [`Listener`]: where clients connect.

use std::collections::VecDeque;
use std::fmt;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::Pid;

use super::address::Address;
use super::authentication_error::AuthenticationError;
use super::authkey::AuthKey;
use super::connection::Connection;
use super::doorkeeper::Doorkeeper;
use super::error::ConnectionError;
use super::listener_options::ListenerOptions;
use super::patience::Patience;
use super::socket_file::SocketFile;
use crate::sys::poll;
use crate::{Error, Result};

const OPERATION: &str = "listen for connections";
/// Clients that the system lets wait before they are greeted.
const BACKLOG: i32 = 128;
/// Connections that wait to be accepted before further clients are left to wait.
pub(super) const WAITING: usize = 128;
/// Refused clients that wait to be reported. Of more, the first are.
const REPORTS: usize = 32;

/// Where clients connect: `accept` hands out the connections, in the order in which their handshakes end.
///
/// A thread of the listener's greets the clients, all at once: one that is silent delays nobody, and is turned away after 10 s,
/// or [another time](ListenerOptions::handshake_timeout). With a key, both ends prove that they have it before anything else is
/// said (`HMAC-SHA256`); what is sent afterwards is neither encrypted nor authenticated, so a network must be one to trust.
///
/// Dropped, it is closed, its socket file removed, and the connections that nobody has accepted are closed.
///
/// # Process death
/// A killed listener leaves its socket file, which the next listener of that address replaces; a client is refused meanwhile.
/// A client killed while it is greeted is forgotten.
///
/// # Examples
/// ```
/// use multiproc::{Address, AuthKey, Client, Listener, Process};
///
/// fn client((address, key): (Address, AuthKey)) -> String {
///     let connection = Client::connect(address, Some(key)).unwrap();
///     connection.send(&"hello").unwrap();
///     connection.recv().unwrap()
/// }
///
/// let key = AuthKey::random()?;
/// let listener = Listener::bind(Address::tcp("127.0.0.1:0")?, Some(key.clone()))?;
/// let mut process = Process::spawn(client, (listener.address().clone(), key))?;
/// let connection = listener.accept()?;
/// connection.send(&connection.recv::<String>()?.to_uppercase())?;
/// assert_eq!(process.join()?, "HELLO");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "Server")]
pub struct Listener {
    address: Address,
    door: Arc<Door>,
    /// `None` once it has been waited for. Not of this process if that was forked.
    keeper: ManuallyDrop<Option<JoinHandle<()>>>,
    owner: Pid,
    /// Removed after all else.
    _file: Option<SocketFile>,
}

/// What the listener and its thread share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) socket: OwnedFd,
    pub(super) options: ListenerOptions,
    outcomes: Mutex<Outcomes>,
    /// Counts the outcomes.
    ready: OwnedFd,
    /// Wakes the thread.
    pub(super) wake: OwnedFd,
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Outcomes {
    queue: VecDeque<Result<Connection, AuthenticationError>>,
    refused: usize,
}

impl Listener {
    /// Listens at `address`. With a `key`, only clients that have it get in, and they know that this is who has it.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]: somebody listens there, or the file is none of a dead listener's.
    /// [`Error::TooManyFiles`], [`Error::Os`].
    ///
    /// # Process death
    /// Killed here, a process leaves at most a socket file, which the next listener replaces.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Error, Listener};
    /// let path = std::env::temp_dir().join(format!("multiproc-example-{}", std::process::id()));
    /// let listener = Listener::bind(Address::Unix(path.clone()), None)?;
    /// let second = Listener::bind(Address::Unix(path.clone()), None);
    /// assert!(matches!(second, Err(Error::AlreadyExists { .. })));
    /// drop(listener);
    /// assert!(!path.exists());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn bind(address: Address, key: Option<AuthKey>) -> Result<Self> {
        Self::with_options(address, ListenerOptions { key, ..Self::options() })
    }

    /// How a listener is to be made: its key, and how long a handshake may take.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Listener};
    /// let listener = Listener::options().bind(Address::tcp("localhost:0")?)?;
    /// assert!(matches!(listener.address(), Address::Tcp(_)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn options() -> ListenerOptions {
        ListenerOptions::new()
    }

    pub(super) fn with_options(address: Address, options: ListenerOptions) -> Result<Self> {
        let (socket, address, file) = listen_at(address)?;
        let os = |errno: Errno| Error::os(OPERATION, errno);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let door = Arc::new(Door {
            socket,
            options,
            outcomes: Mutex::default(),
            ready: eventfd(0, flags | EventfdFlags::SEMAPHORE).map_err(os)?,
            wake: eventfd(0, flags).map_err(os)?,
            closing: AtomicBool::new(false),
        });
        let keeper = Doorkeeper::new(Arc::clone(&door));
        let thread = std::thread::Builder::new().name("multiproc-door".to_owned());
        let thread = thread.spawn(move || keeper.run()).map_err(|error| Error::os(OPERATION, error))?;
        let owner = rustix::process::getpid();
        Ok(Self { address, door, keeper: ManuallyDrop::new(Some(thread)), owner, _file: file })
    }

    /// Where it listens: with the port that was free, if any would do.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// assert!(matches!(listener.address(), Address::Tcp(address) if address.port() != 0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next client that has come through its handshake.
    ///
    /// # Errors
    /// [`Authentication`](ConnectionError::Authentication): a client was turned away, and why; the next one can be accepted.
    /// Clients that hang up are not reported, and those that stay silent [if it is asked for](ListenerOptions::reports_silent).
    /// [`Io`](ConnectionError::Io).
    ///
    /// # Process death
    /// A client that has died since is accepted; its connection says so.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Client, Listener};
    /// let listener = Listener::bind(Address::Abstract("multiproc-accept".to_owned()), None)?;
    /// let client = Client::connect(listener.address().clone(), None)?;
    /// client.send(&7_u8)?;
    /// assert_eq!(listener.accept()?.recv::<u8>()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn accept(&self) -> Result<Connection, ConnectionError> {
        self.accept_for(Patience::Forever)
    }

    /// As [`accept`](Self::accept), if there is one now.
    ///
    /// # Errors
    /// As `accept`, and [`WouldBlock`](ConnectionError::WouldBlock).
    ///
    /// # Process death
    /// As `accept`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, ConnectionError, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// assert!(matches!(listener.try_accept(), Err(ConnectionError::WouldBlock)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_accept(&self) -> Result<Connection, ConnectionError> {
        self.accept_for(Patience::Never)
    }

    /// As [`accept`](Self::accept), waiting for at most `timeout`.
    ///
    /// # Errors
    /// As `accept`, and [`TimedOut`](ConnectionError::TimedOut).
    ///
    /// # Process death
    /// As `accept`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Address, ConnectionError, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// let nobody = listener.accept_timeout(Duration::from_millis(1));
    /// assert!(matches!(nobody, Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection, ConnectionError> {
        self.accept_for(Patience::timeout(timeout))
    }

    /// As [`accept`](Self::accept), waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`accept_timeout`](Self::accept_timeout).
    ///
    /// # Process death
    /// As `accept`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::{Address, ConnectionError, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// assert!(matches!(listener.accept_deadline(Instant::now()), Err(ConnectionError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn accept_deadline(&self, deadline: Instant) -> Result<Connection, ConnectionError> {
        self.accept_for(Patience::deadline(deadline))
    }

    fn accept_for(&self, patience: Patience) -> Result<Connection, ConnectionError> {
        loop {
            match rustix::io::read(&self.door.ready, &mut [0; 8]) {
                Ok(_) => {
                    if let Some(outcome) = self.door.take() {
                        return outcome.map_err(ConnectionError::Authentication);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match poll::wait(&[(self.as_fd(), PollFlags::IN)], patience.until()) {
                    Ok(true) => {}
                    Ok(false) => return Err(patience.is_over()),
                    Err(errno) => return Err(ConnectionError::os(errno)),
                },
                Err(errno) => return Err(ConnectionError::os(errno)),
            }
        }
    }

    /// Closes it, as dropping it does.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Address, Client, Listener};
    /// let listener = Listener::bind(Address::tcp("localhost:0")?, None)?;
    /// let address = listener.address().clone();
    /// listener.close();
    /// assert!(Client::connect(address, None).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(self) {}
}

impl Door {
    /// What has become of a client.
    pub(super) fn put(&self, outcome: Result<Connection, AuthenticationError>) {
        let mut outcomes = self.outcomes();
        if outcome.is_err() {
            if outcomes.refused == REPORTS {
                return;
            }
            outcomes.refused += 1;
        }
        outcomes.queue.push_back(outcome);
        drop(outcomes);
        add(&self.ready);
    }

    fn take(&self) -> Option<Result<Connection, AuthenticationError>> {
        let mut outcomes = self.outcomes();
        let was_full = outcomes.is_full();
        let outcome = outcomes.queue.pop_front()?;
        outcomes.refused -= usize::from(outcome.is_err());
        drop(outcomes);
        if was_full {
            add(&self.wake);
        }
        Some(outcome)
    }

    /// Whether further clients are to wait.
    pub(super) fn is_full(&self) -> bool {
        self.outcomes().is_full()
    }

    pub(super) fn is_closing(&self) -> bool {
        // SYNC: Acquire <- the Release in `drop`: none but the order of the flag and the wake-up, which is a system call.
        self.closing.load(Ordering::Acquire)
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcomes {
    fn is_full(&self) -> bool {
        self.queue.len() - self.refused >= WAITING
    }
}

/// Adds one to a counter of the kernel's, which never comes to its limit.
fn add(counter: &OwnedFd) {
    let _ = rustix::io::write(counter, &1_u64.to_ne_bytes());
}

/// Binds a socket and listens; the address with its real port; the file.
fn listen_at(address: Address) -> Result<(OwnedFd, Address, Option<SocketFile>)> {
    let os = |errno: Errno| Error::os(OPERATION, errno);
    let packets = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(os)
    };
    let in_use = |address: &Address| Error::AlreadyExists { what: address.to_string() };
    match &address {
        Address::Unix(path) => {
            let socket = packets()?;
            let file = SocketFile::listen(&socket, path, BACKLOG)?;
            Ok((socket, address, Some(file)))
        }
        Address::Abstract(name) => {
            let socket = packets()?;
            let name = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(os)?;
            bind(&socket, &name).map_err(|errno| match errno {
                Errno::ADDRINUSE => in_use(&address),
                errno => os(errno),
            })?;
            listen(&socket, BACKLOG).map_err(os)?;
            Ok((socket, address, None))
        }
        Address::Tcp(wanted) => {
            let listener = TcpListener::bind(wanted).map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => in_use(&address),
                _ => Error::os(OPERATION, error),
            })?;
            let io = |error: std::io::Error| Error::os(OPERATION, error);
            listener.set_nonblocking(true).map_err(io)?;
            let found = listener.local_addr().map_err(io)?;
            Ok((listener.into(), Address::Tcp(found), None))
        }
    }
}

/// For `poll` and the like. It becomes readable when [`accept`](Listener::accept) would not wait.
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.door.ready.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.owner != rustix::process::getpid() {
            // The thread is another process's.
            return;
        }
        // SYNC: Release -> the Acquire in `is_closing`.
        self.door.closing.store(true, Ordering::Release);
        add(&self.door.wake);
        if let Some(keeper) = self.keeper.take() {
            // It has not panicked; if it had, its socket would be closed by now.
            let _ = keeper.join();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}
