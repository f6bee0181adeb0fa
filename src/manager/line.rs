//! [`Line`]: a connection between a client and a server, and the mailboxes beside it.
//!
//! On one machine the two also share 16 KiB of memory, which the server makes and sends with its greeting: a mailbox for
//! requests and one for replies (`raw/mailbox.rs`). Who has sent a message looks for a while for the answer, if that has paid
//! before (`sys/spin.rs`), then sleeps at the mailbox, and after a slice at the socket. A message to who looks or sleeps at the
//! mailbox goes there, if it is short enough, and every other one by the socket. So a conversation of two that are awake is
//! without a system call, and one of two that wake each other, as on one core, is by futex, in about half of the socket's time;
//! whatever becomes of either is seen at the socket, as it is without mailboxes, a slice later at most; and who has nothing to
//! do sleeps there.
//!
//! Requests of a pipeline in more than one message go by the socket, and so do their replies: one message in each direction is
//! what there is room for. A message is copied out before anybody looks at what is in it.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use crate::connection::Descriptor;
use crate::raw::mailbox::{Found, Mailbox};
use crate::sys::mapping::Mapping;
use crate::sys::region::Region;
use crate::sys::{Deadline, memfd, poll, spin};
use crate::{Connection, ConnectionError, Error};

/// Bytes of a mailbox, its word's line among them.
const MAILBOX: usize = 8 << 10;
/// The word, alone in its line.
const HEAD: usize = 64;
/// The longest message that goes by a mailbox.
pub(super) const ROOM: usize = MAILBOX - HEAD;

/// How long a sleep at a mailbox lasts at most, in milliseconds: so much later the death of the other end is seen. 0 forbids
/// such sleeps.
static SLICE_MILLIS: AtomicU32 = AtomicU32::new(100);

/// Which end of a line this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Server,
    Client,
}

/// The mailboxes of a line: that for requests, and that for replies.
pub(super) struct Mailboxes {
    memory: Mapping,
}

impl Mailboxes {
    /// New ones, and the descriptor to send.
    ///
    /// # Errors
    /// No memory, or no descriptor, is left.
    pub(super) fn create() -> crate::Result<(Self, Descriptor)> {
        let file = memfd::create("multiproc-mailboxes", 2 * MAILBOX as u64)?;
        let memory = Mapping::new(&file, 2 * MAILBOX)?;
        Ok((Self { memory }, Descriptor::from(file)))
    }

    /// Has who sleeps at the mailbox of this end go to the socket, because of something that was made known before.
    pub(super) fn ring(&self, end: End) {
        if let Some((mailbox, _)) = self.of(end) {
            mailbox.ring();
        }
    }

    /// The mailbox of an end: the first is the server's.
    fn of(&self, end: End) -> Option<(Mailbox<'_>, Region<'_>)> {
        let start = if end == End::Server { 0 } else { MAILBOX };
        let place = self.memory.region().slice(start, MAILBOX)?;
        Some((Mailbox { word: place.word(0)? }, place))
    }

    /// Those that came with a descriptor.
    ///
    /// # Errors
    /// It is another file, or there is no memory to map it.
    pub(super) fn open(descriptor: &Descriptor) -> crate::Result<Self> {
        let facts = memfd::facts(descriptor.as_fd())?;
        let bytes = 2 * MAILBOX as u64;
        // Sealed, so that the memory stays, and with all its pages.
        if !memfd::is_sealed_against_shrinking(descriptor) || facts.size != bytes || facts.reserved < bytes {
            return Err(Error::Decode("memory that is no mailboxes".to_owned()));
        }
        Ok(Self { memory: Mapping::new(descriptor, 2 * MAILBOX)? })
    }
}

/// Whether a connection can have mailboxes beside it.
pub(super) fn may_have_mailboxes(connection: &Connection) -> bool {
    socket_type(connection) == Ok(SocketType::SEQPACKET)
}

/// A connection, and the mailboxes beside it, if there are any.
pub(super) struct Line {
    pub(super) connection: Connection,
    mailboxes: Option<Arc<Mailboxes>>,
    end: End,
    /// Whether this end's mailbox is open.
    is_open: Cell<bool>,
    /// Whether the last message came by the socket, where there may be more.
    came_by_socket: Cell<bool>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// And the other end has not got the question.
    NotSent(ConnectionError),
    Lost(ConnectionError),
}

impl Line {
    pub(super) fn new(connection: Connection, mailboxes: Option<Arc<Mailboxes>>, end: End) -> Self {
        Self { connection, mailboxes, end, is_open: Cell::new(false), came_by_socket: Cell::new(false) }
    }

    /// Whether the other end has closed it although what is sent there seems to go well for now: over a network. By a mailbox
    /// that is seen a slice later, which is soon enough unless others have ended.
    pub(super) fn has_ended_unseen(&self, have_others: bool) -> bool {
        (have_others || self.mailboxes.is_none()) && poll::is_deserted(self.connection.as_fd())
    }

    /// Sends a message, and receives the one that answers it. Nothing else is under way.
    pub(super) fn ask(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.came_by_socket.set(false);
        self.send(message).map_err(Failure::NotSent)?;
        let mut answer = Vec::new();
        self.receive(&mut answer, usize::MAX, || false).map_err(|error| {
            let mailbox = self.outbox();
            let is_back = mailbox.is_some_and(|(mailbox, _)| mailbox.retract());
            if is_back { Failure::NotSent(error) } else { Failure::Lost(error) }
        })?;
        Ok(answer)
    }

    /// Sends a message to which there will be an answer, or that is one. Nothing else of this end's is under way.
    pub(super) fn send(&self, message: &[u8]) -> Result<(), ConnectionError> {
        if let Some((inbox, _)) = self.inbox()
            && !self.is_open.get()
        {
            let looks = spin::is_worth(inbox.word);
            if looks || slice().is_some() {
                inbox.open(looks);
                self.is_open.set(true);
            }
        }
        if self.post(message) { Ok(()) } else { self.send_by_socket(message) }
    }

    /// Sends a message while others of this end's are under way.
    pub(super) fn send_by_socket(&self, message: &[u8]) -> Result<(), ConnectionError> {
        self.connection.send_bytes(message)?;
        self.announce();
        Ok(())
    }

    /// Sends a message to which there is no answer, if there is room.
    pub(super) fn try_send_alone(&self, message: &[u8]) -> Result<(), ConnectionError> {
        self.connection.try_send_bytes(message)?;
        self.announce();
        Ok(())
    }

    fn announce(&self) {
        if let Some((mailbox, _)) = self.outbox() {
            mailbox.announce();
        }
    }

    fn post(&self, message: &[u8]) -> bool {
        let Some((mailbox, place)) = self.outbox() else { return false };
        let Some(length) = u32::try_from(message.len()).ok().filter(|_| message.len() <= ROOM) else {
            return false;
        };
        mailbox.post(length, || {
            // It is in the mapping, and so there is room.
            let _ = place.store(HEAD, message);
        })
    }

    /// Receives a message of at most `max` bytes, in the place of what is in `message`. One in the mailbox stays there, and its
    /// sender can take it back, if this end has hung up and `is_over` says so.
    pub(super) fn receive(
        &self,
        message: &mut Vec<u8>,
        max: usize,
        is_over: impl Fn() -> bool,
    ) -> Result<(), ConnectionError> {
        if let Some((inbox, place)) = self.inbox() {
            if self.is_open.get() && self.came_by_socket.get() {
                match self.connection.try_recv_bytes_max(max) {
                    Err(ConnectionError::WouldBlock) => {}
                    received => return received.map(|received| *message = received),
                }
            }
            match self.look(inbox, &is_over) {
                Found::Message(length) => {
                    let len = usize::try_from(length).unwrap_or(usize::MAX);
                    if len > ROOM {
                        return Err(malformed("a message that is longer than its mailbox"));
                    }
                    message.clear();
                    message.resize(len, 0);
                    // It is no longer than the mailbox.
                    let _ = place.load(HEAD, message);
                    if !is_over() && inbox.take(length) {
                        self.came_by_socket.set(false);
                        let (len, max) = (u64::from(length), max as u64);
                        return if len > max { Err(ConnectionError::TooLong { len, max }) } else { Ok(()) };
                    }
                    // One of the ends has given up, and hung up.
                }
                Found::Elsewhere => {}
                Found::Nothing | Found::Corrupt => return Err(malformed("what is no state of a mailbox")),
            }
        }
        self.came_by_socket.set(true);
        *message = self.connection.recv_bytes_max(max)?;
        Ok(())
    }

    /// Looks for a message in the open mailbox for as long as that seems worth while, sleeps for a slice, and closes it if there
    /// is none.
    fn look(&self, inbox: Mailbox<'_>, is_over: impl Fn() -> bool) -> Found {
        if !self.is_open.replace(false) {
            if !spin::is_worth(inbox.word) {
                // Counts this wait.
                let _ = spin::spin_awake(inbox.word, 1, || None::<()>);
            }
            return Found::Elsewhere;
        }
        let look = || Some(inbox.look()).filter(|found| *found != Found::Nothing);
        // What is there at once came while the core was the other's, as by a wake-up on the same core: that says nothing for
        // looking.
        let found = look().or_else(|| spin::spin_awake(inbox.word, 1, look));
        if let (None, Some(slice)) = (found, slice()) {
            let end = Deadline::after(slice);
            inbox.fall_asleep();
            while look().is_none() && !is_over() {
                inbox.sleep(end);
                if end.is_none_or(Deadline::has_passed) {
                    break;
                }
            }
        }
        match found {
            Some(Found::Message(length)) => Found::Message(length),
            _ => inbox.close(),
        }
    }

    fn inbox(&self) -> Option<(Mailbox<'_>, Region<'_>)> {
        self.mailboxes.as_ref()?.of(self.end)
    }

    fn outbox(&self) -> Option<(Mailbox<'_>, Region<'_>)> {
        self.mailboxes.as_ref()?.of(if self.end == End::Server { End::Client } else { End::Server })
    }
}

/// Who sleeps at the other end's mailbox looks at the socket, which is about to close.
impl Drop for Line {
    fn drop(&mut self) {
        self.announce();
    }
}

/// How long a sleep at a mailbox lasts at most, if there may be any.
fn slice() -> Option<Duration> {
    // Relaxed: a setting, it publishes nothing.
    match SLICE_MILLIS.load(Ordering::Relaxed) {
        0 => None,
        millis => Some(Duration::from_millis(u64::from(millis))),
    }
}

fn malformed(what: &str) -> ConnectionError {
    ConnectionError::Decode(Error::Decode(what.to_owned()))
}

/// For kill tests.
pub(crate) mod testing {
    use super::{
        Arc, Connection, ConnectionError, Duration, End, Failure, Found, Line, Mailboxes, Ordering,
        SLICE_MILLIS,
    };

    /// The most bytes that go by a mailbox.
    #[doc(hidden)]
    pub const MAILBOX_ROOM: usize = super::ROOM;

    /// Sets how long this process and its forks sleep at a mailbox; not at all, for 0.
    #[doc(hidden)]
    pub fn set_mailbox_sleep(slice: Duration) {
        SLICE_MILLIS.store(u32::try_from(slice.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Both ends of a line, in memory that forked copies share.
    #[doc(hidden)]
    pub struct MailboxLine {
        client: Option<Line>,
        server: Option<Line>,
    }

    impl MailboxLine {
        /// A new one.
        ///
        /// # Errors
        /// Those of a pipe and of memory.
        #[doc(hidden)]
        pub fn new() -> crate::Result<Self> {
            let (client, server): (Connection, Connection) = crate::pipe()?;
            let (mailboxes, descriptor) = Mailboxes::create()?;
            let there = Mailboxes::open(&descriptor)?;
            Ok(Self {
                client: Some(Line::new(client, Some(Arc::new(there)), End::Client)),
                server: Some(Line::new(server, Some(Arc::new(mailboxes)), End::Server)),
            })
        }

        /// This process is not the client.
        #[doc(hidden)]
        pub fn leave_client(&mut self) {
            self.client = None;
        }

        /// This process is not the server.
        #[doc(hidden)]
        pub fn leave_server(&mut self) {
            self.server = None;
        }

        /// Has the server look at its mailbox from here on, or sleep there.
        #[doc(hidden)]
        pub fn look(&self, looks: bool) {
            if let Some(server) = &self.server
                && let Some((inbox, _)) = server.inbox()
            {
                inbox.open(looks);
                server.is_open.set(true);
            }
        }

        /// Sends a message as a client.
        ///
        /// # Errors
        /// Those of a connection.
        #[doc(hidden)]
        pub fn send(&self, message: &[u8]) -> Result<(), ConnectionError> {
            self.client.as_ref().ok_or(ConnectionError::BrokenPipe)?.send(message)
        }

        /// Asks as a client.
        ///
        /// # Errors
        /// There is no answer; whether the server has not got the question.
        #[doc(hidden)]
        pub fn ask(&self, message: &[u8]) -> Result<Vec<u8>, bool> {
            let asked = self.client.as_ref().ok_or(true)?.ask(message);
            asked.map_err(|failure| matches!(failure, Failure::NotSent(_)))
        }

        /// Waits for a message as the server.
        ///
        /// # Errors
        /// Those of a connection.
        #[doc(hidden)]
        pub fn await_question(&self) -> Result<Vec<u8>, ConnectionError> {
            let mut message = Vec::new();
            let server = self.server.as_ref().ok_or(ConnectionError::BrokenPipe)?;
            server.receive(&mut message, usize::MAX, || false)?;
            Ok(message)
        }

        /// Answers as the server.
        ///
        /// # Errors
        /// Those of a connection.
        #[doc(hidden)]
        pub fn answer(&self, message: &[u8]) -> Result<(), ConnectionError> {
            self.server.as_ref().ok_or(ConnectionError::BrokenPipe)?.send(message)
        }

        /// Receives a message as the server, if there is one, and looks no more.
        ///
        /// # Errors
        /// Those of a connection.
        #[doc(hidden)]
        pub fn receive(&self) -> Result<Option<Vec<u8>>, ConnectionError> {
            let server = self.server.as_ref().ok_or(ConnectionError::BrokenPipe)?;
            let found = server.inbox().map(|(inbox, _)| inbox.look());
            if !matches!(found, Some(Found::Message(_))) && !server.connection.poll()? {
                let _ = server.inbox().map(|(inbox, _)| inbox.close());
                return Ok(None);
            }
            self.await_question().map(Some)
        }

        /// Takes a message back as a client; whether it was there still.
        #[doc(hidden)]
        pub fn take_back(&self) -> bool {
            self.client
                .as_ref()
                .and_then(|client| client.outbox())
                .is_some_and(|(mailbox, _)| mailbox.retract())
        }
    }
}
