//! [`Line`]: a connection between a client and a server, and the mailboxes beside it.
//!
//! On one machine the two also share 16 KiB of memory, which the server makes and sends with its greeting: a mailbox for requests and
//! one for replies (`raw/mailbox.rs`). Who has sent a message looks for a while for the answer, if that has paid before
//! (`sys/spin.rs`), then sleeps at the socket. A message to who looks goes by the mailbox, if it is short enough, and
//! every other one by the socket. So a conversation of two that are awake is without a system call; and whatever becomes of either is seen at the socket, as it is without mailboxes.
//!
//! Requests of a pipeline in more than one message go by the socket, and so do their replies: one message in each direction is
//! what there is room for. A message is copied out before anybody looks at what is in it.

use std::cell::Cell;
use std::os::fd::AsFd;

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use crate::connection::Descriptor;
use crate::raw::mailbox::{Found, Mailbox};
use crate::sys::mapping::Mapping;
use crate::sys::region::Region;
use crate::sys::{memfd, poll, spin};
use crate::{Connection, ConnectionError, Error};

/// Bytes of a mailbox, its word's line among them.
const MAILBOX: usize = 8 << 10;
/// The word, alone in its line.
const HEAD: usize = 64;
/// The longest message that goes by a mailbox.
pub(super) const ROOM: usize = MAILBOX - HEAD;

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
    mailboxes: Option<Mailboxes>,
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
    pub(super) fn new(connection: Connection, mailboxes: Option<Mailboxes>, end: End) -> Self {
        Self { connection, mailboxes, end, is_open: Cell::new(false), came_by_socket: Cell::new(false) }
    }

    /// Whether the other end has closed it although what is sent there seems to go well: over a network.
    pub(super) fn has_ended_unseen(&self) -> bool {
        self.mailboxes.is_none() && poll::is_deserted(self.connection.as_fd())
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
            && spin::is_worth(inbox.word)
        {
            inbox.open();
            self.is_open.set(true);
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
        is_over: impl FnOnce() -> bool,
    ) -> Result<(), ConnectionError> {
        if let Some((inbox, place)) = self.inbox() {
            if self.is_open.get() && self.came_by_socket.get() {
                match self.connection.try_recv_bytes_max(max) {
                    Err(ConnectionError::WouldBlock) => {}
                    received => return received.map(|received| *message = received),
                }
            }
            match self.look(inbox) {
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

    /// Looks for a message in the open mailbox for as long as that seems worth while, and closes it if there is none.
    fn look(&self, inbox: Mailbox<'_>) -> Found {
        if !self.is_open.replace(false) {
            if !spin::is_worth(inbox.word) {
                // Counts this wait.
                let _ = spin::spin_awake(inbox.word, 1, || None::<()>);
            }
            return Found::Elsewhere;
        }
        let found =
            spin::spin_awake(inbox.word, 1, || Some(inbox.look()).filter(|found| *found != Found::Nothing));
        match found {
            Some(Found::Message(length)) => Found::Message(length),
            _ => inbox.close(),
        }
    }

    fn inbox(&self) -> Option<(Mailbox<'_>, Region<'_>)> {
        self.mailbox(self.end)
    }

    fn outbox(&self) -> Option<(Mailbox<'_>, Region<'_>)> {
        self.mailbox(if self.end == End::Server { End::Client } else { End::Server })
    }

    /// The mailbox of an end: the first is the server's.
    fn mailbox(&self, end: End) -> Option<(Mailbox<'_>, Region<'_>)> {
        let start = if end == End::Server { 0 } else { MAILBOX };
        let place = self.mailboxes.as_ref()?.memory.region().slice(start, MAILBOX)?;
        Some((Mailbox { word: place.word(0)? }, place))
    }
}

fn malformed(what: &str) -> ConnectionError {
    ConnectionError::Decode(Error::Decode(what.to_owned()))
}

/// For kill tests.
pub(crate) mod testing {
    use super::{Connection, ConnectionError, End, Found, Line, Mailboxes};

    /// The most bytes that go by a mailbox.
    #[doc(hidden)]
    pub const MAILBOX_ROOM: usize = super::ROOM;

    /// Both ends of a line, in memory that forked copies share.
    #[doc(hidden)]
    pub struct MailboxLine {
        client: Line,
        server: Line,
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
                client: Line::new(client, Some(there), End::Client),
                server: Line::new(server, Some(mailboxes), End::Server),
            })
        }

        /// Has the server look at its mailbox from here on.
        #[doc(hidden)]
        pub fn look(&self) {
            if let Some((inbox, _)) = self.server.inbox() {
                inbox.open();
                self.server.is_open.set(true);
            }
        }

        /// Sends a message as a client.
        ///
        /// # Errors
        /// Those of a connection.
        #[doc(hidden)]
        pub fn send(&self, message: &[u8]) -> Result<(), ConnectionError> {
            self.client.send(message)
        }

        /// Receives a message as the server, if there is one, and looks no more.
        ///
        /// # Errors
        /// Those of a connection.
        #[doc(hidden)]
        pub fn receive(&self) -> Result<Option<Vec<u8>>, ConnectionError> {
            let found = self.server.inbox().map(|(inbox, _)| inbox.look());
            if !matches!(found, Some(Found::Message(_))) && !self.server.connection.poll()? {
                let _ = self.server.inbox().map(|(inbox, _)| inbox.close());
                return Ok(None);
            }
            let mut message = Vec::new();
            self.server.receive(&mut message, usize::MAX, || false)?;
            Ok(Some(message))
        }

        /// Takes a message back as a client; whether it was there still.
        #[doc(hidden)]
        pub fn take_back(&self) -> bool {
            self.client.outbox().is_some_and(|(mailbox, _)| mailbox.retract())
        }
    }
}
