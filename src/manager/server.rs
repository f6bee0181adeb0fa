//! [`Server`]: where the objects of a manager live.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{Shutdown, shutdown};

use super::dispatch::{Peer, answer_message, push_reply};
use super::fault::Fault;
use super::host::Host;
use super::line::{End, Line, Mailboxes, may_have_mailboxes};
use super::refusal::Refusal;
use super::registry::Registry;
use super::wire::{self, Greeting, Unknown};
use crate::sys::poll;
use crate::{Address, AuthKey, Connection, ConnectionError, Listener, Result};

/// How long a client may take to prove its key, and then again to say hello, unless a server is told otherwise.
pub(super) const HELLO_TIME: Duration = Duration::from_secs(10);
/// How long calls may go on when the server ends. Less than who started it waits for its end.
const END_TIME: Duration = Duration::from_millis(500);
/// Where no thread can be started, and where the system fails, the server waits so long.
const PAUSE: Duration = Duration::from_millis(20);
/// Replies beyond this are not kept room for.
const SPARE: usize = 64 << 10;

/// Where the objects of a manager live: in this process, and not in one that [`Manager::start`](super::Manager::start) started.
///
/// It has a thread for each connection of its clients, which have one for each call that they make at a time; and with a client
/// on its machine 16 KiB of memory for each, in which short messages go to who is awake.
///
/// # Process death
/// What a killed client held goes to others within 1 s: locks, permits, tasks. Objects that only it referred to go within 3 s.
///
/// One that is [stopped](ServerStopper::stop) answers what it has begun.
///
/// # Examples
/// ```
/// use multiproc::{Address, AuthKey, Manager};
///
/// let key = AuthKey::random()?;
/// let builder = Manager::builder().address(Address::tcp("127.0.0.1:0")?).authkey(key.clone());
/// let server = builder.into_server()?;
/// let (address, stopper) = (server.address().clone(), server.stopper());
/// let serving = std::thread::spawn(move || server.serve_forever());
///
/// let manager = Manager::connect(address, key)?;
/// let numbers = manager.list([1, 2, 3])?;
/// numbers.push(&4)?;
/// assert_eq!(numbers.to_vec()?, [1, 2, 3, 4]);
/// stopper.stop();
/// serving.join().expect("it returns");
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Server {
    // Dropped first: who comes when the server ends is sent away at once.
    listener: Listener,
    hello_time: Duration,
    shared: Arc<Shared>,
    _ending: Ending,
}

struct Shared {
    host: Arc<Host>,
    /// What is open, so that it can be closed.
    connections: Mutex<Vec<Weak<Open>>>,
    /// Threads that may be in a call.
    serving: Mutex<usize>,
    ended: Condvar,
    wake: rustix::fd::OwnedFd,
}

/// An open connection, and the mailboxes beside it, once it has any.
struct Open {
    connection: Connection,
    mailboxes: OnceLock<Arc<Mailboxes>>,
}

/// What is done when the server is dropped.
struct Ending(Arc<Shared>);

/// Ends a [`Server`].
///
/// # Examples
/// ```
/// let server = multiproc::Manager::builder().into_server()?;
/// let stopper = server.stopper();
/// let serving = std::thread::spawn(move || server.serve_forever());
/// stopper.stop();
/// assert!(serving.join().is_ok());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct ServerStopper {
    shared: Arc<Shared>,
}

impl ServerStopper {
    /// Has [`Server::serve_forever`] return.
    ///
    /// Calls that have begun go on for up to half a second, and are answered. Those that wait, for a lock or an element of a
    /// queue, and those that come too late end with [`ManagerError::Stopping`](super::ManagerError::Stopping), and none of
    /// these was made.
    ///
    /// # Examples
    /// ```
    /// let server = multiproc::Manager::builder().into_server()?;
    /// let stopper = server.stopper();
    /// let serving = std::thread::spawn(move || server.serve_forever());
    /// stopper.stop();
    /// assert!(serving.join().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stop(&self) {
        self.shared.host.stop();
        // It never comes to its limit.
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
    }
}

impl Server {
    pub(super) fn bind(
        address: Address,
        key: AuthKey,
        registry: Registry,
        longest: u64,
        hello_time: Duration,
    ) -> Result<Self> {
        let options = Listener::options().authkey(key).handshake_timeout(hello_time).reports_silent(true);
        let listener = options.bind(address)?;
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let wake = rustix::event::eventfd(0, flags)
            .map_err(|errno| crate::Error::os("start a manager's server", errno))?;
        let host = Host::new(registry, longest)?;
        let shared = Arc::new(Shared {
            host,
            connections: Mutex::default(),
            serving: Mutex::default(),
            ended: Condvar::new(),
            wake,
        });
        Ok(Self { listener, hello_time, _ending: Ending(Arc::clone(&shared)), shared })
    }

    /// Where it is.
    ///
    /// # Examples
    /// ```
    /// let server = multiproc::Manager::builder().into_server()?;
    /// assert!(server.address().to_string().starts_with("abstract:multiproc-manager-"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// What ends it, from any thread.
    ///
    /// # Examples
    /// ```
    /// let server = multiproc::Manager::builder().into_server()?;
    /// let address = server.address().clone();
    /// server.stopper().stop();
    /// // It was stopped before it began.
    /// server.serve_forever();
    /// assert!(multiproc::Manager::connect(address, multiproc::current_process().authkey()?).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stopper(&self) -> ServerStopper {
        ServerStopper { shared: Arc::clone(&self.shared) }
    }

    /// Serves clients until it is [stopped](ServerStopper::stop).
    ///
    /// # Examples
    /// ```
    /// let server = multiproc::Manager::builder().into_server()?;
    /// let (address, stopper) = (server.address().clone(), server.stopper());
    /// let serving = std::thread::spawn(move || server.serve_forever());
    /// let manager = multiproc::Manager::connect(address, multiproc::current_process().authkey()?)?;
    /// assert_eq!(manager.list([1, 2])?.len()?, 2);
    /// stopper.stop();
    /// assert!(serving.join().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn serve_forever(self) {
        while !self.shared.host.is_stopping() {
            let ready = crate::connection::wait(&[&self.listener, &self.shared.wake], None);
            if ready.is_err() {
                // No memory.
                std::thread::sleep(PAUSE);
            }
            match self.listener.try_accept() {
                Ok(connection) => self.admit(connection),
                Err(ConnectionError::Authentication(why)) => self.shared.host.refuse(why.into()),
                Err(ConnectionError::WouldBlock) => {}
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn admit(&self, connection: Connection) {
        let open = Arc::new(Open { connection, mailboxes: OnceLock::new() });
        {
            let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
            if connections.len() == connections.capacity() {
                connections.retain(|connection| connection.strong_count() > 0);
            }
            connections.push(Arc::downgrade(&open));
        }
        let (serving, hello_time) = (Serving::begin(&self.shared), self.hello_time);
        let thread = std::thread::Builder::new().name("multiproc-serve".to_owned());
        // One that there is no thread for is closed: its client sees that.
        if thread.spawn(move || serve(serving, &open, hello_time)).is_err() {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Lets the calls that have begun end, and closes what is open.
impl Drop for Ending {
    fn drop(&mut self) {
        let Self(shared) = self;
        shared.host.stop();
        // Who reads finds the end after what has come by now.
        shared.shut(Shutdown::Read);
        shared.host.table.wake();
        if !shared.all_ended(END_TIME) {
            // They wait for a client that reads nothing, or are in a method that takes too long.
            shared.shut(Shutdown::Both);
        }
        shared.host.clear();
    }
}

impl Shared {
    fn shut(&self, how: Shutdown) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for open in connections.iter().filter_map(Weak::upgrade) {
            // The other end may have closed it.
            let _ = shutdown(open.connection.as_fd(), how);
            if let Some(mailboxes) = open.mailboxes.get() {
                mailboxes.ring(End::Server);
            }
        }
    }

    /// Waits until no thread is in a call, or for so long; whether there is none.
    fn all_ended(&self, patience: Duration) -> bool {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(serving, patience, |serving| *serving > 0);
        let (serving, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *serving == 0
    }
}

/// A thread that may be in a call.
struct Serving {
    shared: Arc<Shared>,
}

impl Serving {
    fn begin(shared: &Arc<Shared>) -> Self {
        *shared.serving.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self { shared: Arc::clone(shared) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut serving = self.shared.serving.lock().unwrap_or_else(PoisonError::into_inner);
        *serving -= 1;
        if *serving == 0 {
            self.shared.ended.notify_all();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", self.address()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerStopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerStopper").finish_non_exhaustive()
    }
}

/// What a thread of the server's does: everything for one connection, in the order in which it is asked.
fn serve(serving: Serving, open: &Open, hello_time: Duration) {
    let host = &Arc::clone(&serving.shared.host);
    let connection = &open.connection;
    let (id, session, line) = match greet(host, open, hello_time) {
        Ok(Some(known)) => known,
        Ok(None) => return,
        Err(refusal) => return host.refuse(refusal),
    };
    keep_watch(connection);
    let is_same_program =
        socket_peercred(connection).is_ok_and(|peer| host.runs_this_program(peer.pid.as_raw_nonzero().get()));
    let is_gone = || poll::is_deserted(connection.as_fd());
    let peer = Peer { host, session: &session, session_id: id, is_gone: &is_gone, is_same_program };
    let (mut message, mut replies) = (Vec::new(), Vec::new());
    // Too long for memory is too long for the server.
    let longest = usize::try_from(host.longest).unwrap_or(usize::MAX);
    loop {
        replies.clear();
        replies.shrink_to(SPARE);
        // A server that ends takes nothing more from the mailbox, and goes on to the end of the socket.
        let refusal = match line.receive(&mut message, longest, || host.is_stopping()) {
            Ok(()) => match answer_message(&peer, &message, &mut replies) {
                Ok(()) => None,
                Err(what) => Some(Refusal::Malformed(what)),
            },
            Err(ConnectionError::TooLong { len, max }) => Some(Refusal::TooLong { len, max }),
            Err(ConnectionError::Decode(error)) => Some(Refusal::Malformed(error.to_string())),
            // It has gone.
            Err(_) => break,
        };
        if let Some(refusal) = refusal {
            let fault = match &refusal {
                Refusal::TooLong { len, max } => Fault::TooLong { len: *len, max: *max },
                other => Fault::Malformed(other.to_string()),
            };
            push_reply(&mut replies, 0, Err(&fault), host.longest);
            host.refuse(refusal);
            // It may not wait for it.
            let _ = line.try_send_alone(&replies);
            break;
        }
        if !replies.is_empty() && line.send(&replies).is_err() {
            break;
        }
    }
    if host.is_stopping() {
        // All has been read, or else the client saw a broken connection before the last answer.
        let _ = shutdown(connection.as_fd(), Shutdown::Both);
    }
    drop(line);
    drop(serving);
    host.leave(id, &session);
}

type Known = (wire::SessionId, Arc<super::session::Session>, Line);

/// Lets a client in that speaks this version; `None` if it has gone.
fn greet(host: &Arc<Host>, open: &Open, hello_time: Duration) -> Result<Option<Known>, Refusal> {
    let connection = &open.connection;
    let hello = match connection.recv_bytes_max_timeout(wire::HELLO * 4, hello_time) {
        Ok(hello) => hello,
        Err(ConnectionError::TimedOut) => return Err(Refusal::Silent),
        Err(ConnectionError::TooLong { len, max }) => return Err(Refusal::TooLong { len, max }),
        Err(ConnectionError::Decode(error)) => return Err(Refusal::Malformed(error.to_string())),
        Err(_) => return Ok(None),
    };
    match wire::read_hello(&hello) {
        Ok(id) => {
            let (session, is_known) = host.enter(id);
            // Without them, for want of memory or of descriptors, it is a little slower.
            let made = if may_have_mailboxes(connection) { Mailboxes::create().ok() } else { None };
            let (mailboxes, descriptor) = made.unzip();
            let has_mailboxes = mailboxes.is_some();
            let (incarnation, longest) = (host.incarnation, host.longest);
            let greeting = Greeting { incarnation, longest, is_known, has_mailboxes };
            let sent = connection.send_bytes(&greeting.to_bytes());
            let sent =
                sent.and_then(|()| descriptor.map_or(Ok(()), |descriptor| connection.send(&descriptor)));
            if sent.is_err() {
                host.leave(id, &session);
                return Ok(None);
            }
            let mailboxes =
                mailboxes.map(|mailboxes| Arc::clone(open.mailboxes.get_or_init(|| Arc::new(mailboxes))));
            Ok(Some((id, session, Line::new(connection.clone(), mailboxes, End::Server))))
        }
        Err(unknown) => {
            // It learns the version, and that it is not let in.
            let _ = connection.try_send_bytes(&wire::refusal());
            Err(match unknown {
                Unknown::Version(theirs) => Refusal::Version { ours: wire::VERSION, theirs },
                Unknown::Malformed => Refusal::Malformed("no hello".to_owned()),
            })
        }
    }
}

/// Has the system find out that the machine of a client has gone, over a network. A Unix socket knows.
pub(super) fn keep_watch(connection: &Connection) {
    use rustix::net::sockopt;
    // Where a setting is not to be had, the system's own holds.
    if sockopt::socket_domain(connection).is_ok_and(|domain| domain != rustix::net::AddressFamily::UNIX) {
        let _ = sockopt::set_socket_keepalive(connection, true);
        let _ = sockopt::set_tcp_keepidle(connection, Duration::from_secs(2));
        let _ = sockopt::set_tcp_keepintvl(connection, Duration::from_secs(1));
        let _ = sockopt::set_tcp_keepcnt(connection, 3);
        let _ = sockopt::set_tcp_user_timeout(connection, 5_000);
    }
}
