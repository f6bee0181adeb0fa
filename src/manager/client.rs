//! [`Client`]: this process's connections to a server, and what it refers to there.
//!
//! A call takes a connection that nobody uses, or makes one, sends a message, receives one, and puts the connection back: as many
//! are open as calls were made at once. All of them are one *session*, by which the server knows this process. A connection that
//! turns out to be closed before anything was sent is replaced, once; one that ends afterwards fails the call, and that alone.
//! Who connects under a new session takes references to all that the proxies here refer to.
//!
//! A forked copy of this process has the proxies, and makes a session of its own at its first call.

use std::collections::BTreeMap;
use std::mem::take;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::line::{End, Failure, Line, Mailboxes};
use super::server::keep_watch;
use super::wire::{self, Bytes, Greeting, Reply, Request, SERVER, ServerCall, SessionId, Unknown};
use crate::connection::nonce;
use crate::sys::own_pid::own_pid;
use crate::{Address, AuthKey, Connection, ConnectionError, Error, transfer};

/// How long a server may take to let a client in.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// Connections that are kept although nobody uses them.
const IDLE: usize = 8;

/// This process's connections to a server.
pub(super) struct Client {
    pub(super) address: Address,
    key: AuthKey,
    /// The server's. 0 until it is known.
    incarnation: Mutex<Option<Greeting>>,
    link: Mutex<Link>,
    /// Held while a connection is made, so that a new session is complete before it is used.
    connecting: Mutex<()>,
}

/// What this process, and no forked copy of it, has of a server.
struct Link {
    pid: u32,
    session: SessionId,
    idle: Vec<Line>,
    number: u64,
    /// Objects that are referred to.
    held: BTreeMap<u64, Held>,
    /// References to give back with the next call.
    unwanted: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Held {
    /// Proxies here.
    proxies: u64,
    /// References that the server counts for this session.
    references: u64,
}

/// The clients of this process, so that proxies that come from elsewhere use the connections that there are.
static CLIENTS: Mutex<Vec<Weak<Client>>> = Mutex::new(Vec::new());

/// A message from the server, and where in it the body is that was asked for.
pub(super) struct Answer {
    message: Vec<u8>,
    body: Range<usize>,
}

impl Answer {
    pub(super) fn body(&self) -> &[u8] {
        self.message.get(self.body.clone()).unwrap_or_default()
    }

    /// What the body is.
    pub(super) fn read<'a, R: Deserialize<'a>>(&'a self) -> Result<R, ManagerError> {
        postcard::from_bytes(self.body()).map_err(|error| ManagerError::decode(&error))
    }
}

impl Client {
    /// The client of the server at `address`: the one that there is, or a new one, which is connected.
    pub(super) fn at(address: &Address, key: Option<AuthKey>) -> Result<Arc<Self>, ManagerError> {
        if let Some(client) = Self::known(address)
            && key.as_ref().is_none_or(|key| *key == client.key)
        {
            return Ok(client);
        }
        let own_key = || crate::current_process().authkey().map_err(ManagerError::Encode);
        Self::connect(address.clone(), key.map_or_else(own_key, Ok)?)
    }

    fn known(address: &Address) -> Option<Arc<Self>> {
        let clients = lock(&CLIENTS);
        // The last one is the server's that is there now.
        clients.iter().rev().filter_map(Weak::upgrade).find(|client| client.address == *address)
    }

    /// A new client, which is connected.
    pub(super) fn connect(address: Address, key: AuthKey) -> Result<Arc<Self>, ManagerError> {
        let link = Link {
            pid: own_pid(),
            session: new_session()?,
            idle: Vec::new(),
            number: 0,
            held: BTreeMap::new(),
            unwanted: Vec::new(),
        };
        let client = Arc::new(Self {
            address,
            key,
            incarnation: Mutex::default(),
            link: Mutex::new(link),
            connecting: Mutex::new(()),
        });
        let line = client.open()?;
        client.put_back(line);
        let mut clients = lock(&CLIENTS);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&client));
        drop(clients);
        Ok(client)
    }

    /// What tells this server from others at the same address.
    pub(super) fn incarnation(&self) -> u64 {
        lock(&self.incarnation).map_or(0, |greeting| greeting.incarnation)
    }

    pub(super) fn longest(&self) -> u64 {
        lock(&self.incarnation).map_or(wire::LONGEST, |greeting| greeting.longest)
    }

    /// Asks an object for something, and waits for the answer.
    pub(super) fn call<C: Serialize>(&self, object: u64, call: &C) -> Result<Answer, ManagerError> {
        let mut body = Vec::new();
        transfer::append(call, &mut body).map_err(ManagerError::Encode)?;
        let mut message = Vec::with_capacity(body.len() + 32);
        let (number, idle) = self.begin(&mut message)?;
        push_request(&mut message, number, object, &body)?;
        let message = self.exchange_on(idle, &message)?;
        self.find(message, number)
    }

    /// As [`call`](Self::call), of what is decoded at once.
    pub(super) fn ask<C: Serialize, R: DeserializeOwned>(
        &self,
        object: u64,
        call: &C,
    ) -> Result<R, ManagerError> {
        self.call(object, call)?.read()
    }

    /// As `ask`, of the server itself.
    pub(super) fn ask_server<R: DeserializeOwned>(&self, call: &ServerCall<'_>) -> Result<R, ManagerError> {
        self.ask(SERVER, call)
    }

    /// Begins a message, with the references to give back; a number for its first request, and a line that nobody uses.
    fn begin(&self, message: &mut Vec<u8>) -> Result<(u64, Option<Line>), ManagerError> {
        let (unwanted, number, idle) = {
            let mut link = self.link()?;
            link.number += 1;
            (take(&mut link.unwanted), link.number, link.idle.pop())
        };
        if !unwanted.is_empty() {
            push_release(message, unwanted);
        }
        Ok((number, idle))
    }

    /// Sends a message and receives the one that answers it.
    pub(super) fn exchange(&self, message: &[u8]) -> Result<Vec<u8>, ManagerError> {
        let idle = self.link()?.idle.pop();
        self.exchange_on(idle, message)
    }

    fn exchange_on(&self, idle: Option<Line>, message: &[u8]) -> Result<Vec<u8>, ManagerError> {
        let (len, max) = (message.len() as u64, self.longest());
        if len > max {
            if let Some(line) = idle {
                self.put_back(line);
            }
            return Err(ManagerError::TooLong { len, max });
        }
        let (line, reply) = self.on_a_line(idle, |line| line.ask(message))?;
        self.put_back(line);
        Ok(reply)
    }

    /// Sends a message that others follow.
    pub(super) fn send_first(&self, message: &[u8]) -> Result<Line, ManagerError> {
        let idle = self.link()?.idle.pop();
        let sent = self.on_a_line(idle, |line| line.send_by_socket(message).map_err(Failure::NotSent))?;
        Ok(sent.0)
    }

    /// Sends something on a line that works: this one, another, or a new one.
    fn on_a_line<R>(
        &self,
        mut idle: Option<Line>,
        send: impl Fn(&Line) -> Result<R, Failure>,
    ) -> Result<(Line, R), ManagerError> {
        let mut has_one_ended = false;
        loop {
            let is_new = idle.is_none();
            let line = idle.map_or_else(|| self.open(), Ok)?;
            if !is_new && line.has_ended_unseen(has_one_ended) {
                idle = self.link()?.idle.pop();
                continue;
            }
            match send(&line) {
                Ok(sent) => return Ok((line, sent)),
                // It was closed while nobody used it, and so, perhaps, were the others.
                Err(Failure::NotSent(_)) if !is_new => has_one_ended = true,
                Err(Failure::NotSent(error)) => return Err(ManagerError::unreachable(error)),
                Err(Failure::Lost(error)) => return Err(lost(error)),
            }
            idle = self.link()?.idle.pop();
        }
    }

    pub(super) fn put_back(&self, line: Line) {
        if let Ok(mut link) = self.link()
            && link.idle.len() < IDLE
        {
            link.idle.push(line);
        }
    }

    /// The reply of this number in a message.
    fn find(&self, message: Vec<u8>, number: u64) -> Result<Answer, ManagerError> {
        let (reply, _) =
            postcard::take_from_bytes::<Reply<'_>>(&message).map_err(|error| ManagerError::decode(&error))?;
        let body = reply.outcome?.0;
        if reply.number != number {
            return Err(ManagerError::Refused("the server answers something else".to_owned()));
        }
        let start = body.as_ptr().addr() - message.as_ptr().addr();
        let body = start..start + body.len();
        Ok(Answer { message, body })
    }

    /// Makes a connection. Under a new session it takes references to what is referred to.
    fn open(&self) -> Result<Line, ManagerError> {
        let _turn = lock(&self.connecting);
        let session = self.link()?.session;
        let connection =
            crate::Client::connect_timeout(self.address.clone(), Some(self.key.clone()), HELLO_TIME)
                .map_err(ManagerError::unreachable)?;
        keep_watch(&connection);
        connection.send_bytes(&wire::hello(session)).map_err(ManagerError::unreachable)?;
        let greeting = connection
            .recv_bytes_max_timeout(wire::GREETING * 4, HELLO_TIME)
            .map_err(ManagerError::unreachable)?;
        let greeting = Greeting::read(&greeting).map_err(|unknown| match unknown {
            Unknown::Version(theirs) => ManagerError::Version { ours: wire::VERSION, theirs },
            Unknown::Malformed => {
                ManagerError::Refused("what is at the address is no manager's server".into())
            }
        })?;
        let mailboxes = if greeting.has_mailboxes { Some(receive_mailboxes(&connection)?) } else { None };
        let before = *lock(&self.incarnation).get_or_insert(greeting);
        if before.incarnation != greeting.incarnation {
            return Err(ManagerError::Restarted);
        }
        if !greeting.is_known {
            self.attach_all(&connection)?;
        }
        Ok(Line::new(connection, mailboxes.flatten().map(Arc::new), End::Client))
    }

    fn attach_all(&self, connection: &Connection) -> Result<(), ManagerError> {
        let numbers: Vec<u64> = {
            let mut link = self.link()?;
            // The server has forgotten them.
            link.unwanted.clear();
            link.held.keys().copied().collect()
        };
        if numbers.is_empty() {
            return Ok(());
        }
        let (mut body, mut message) = (Vec::new(), Vec::new());
        transfer::append(&ServerCall::Attach(numbers.clone()), &mut body).map_err(ManagerError::Encode)?;
        push_request(&mut message, 1, SERVER, &body)?;
        connection.send_bytes(&message).map_err(lost)?;
        let reply = connection.recv_bytes().map_err(lost)?;
        let attached: Vec<bool> = self.find(reply, 1)?.read()?;
        let mut link = self.link()?;
        for (number, is_there) in numbers.iter().zip(attached) {
            if let Some(held) = link.held.get_mut(number) {
                held.references = u64::from(is_there);
            }
        }
        Ok(())
    }

    /// Notes references that the server has counted for this session.
    pub(super) fn referred(&self, numbers: &[u64]) {
        if numbers.is_empty() {
            return;
        }
        if let Ok(mut link) = self.link() {
            for &number in numbers {
                link.held.entry(number).or_default().references += 1;
            }
        }
    }

    /// Gives back references of objects that no proxy came to be of.
    pub(super) fn sweep(&self, numbers: &[u64]) {
        if numbers.is_empty() {
            return;
        }
        if let Ok(mut link) = self.link() {
            for number in numbers {
                link.drop_if_unused(*number);
            }
        }
    }

    /// One more proxy of an object.
    pub(super) fn add_proxy(&self, number: u64) {
        if let Ok(mut link) = self.link() {
            link.held.entry(number).or_default().proxies += 1;
        }
    }

    /// One proxy less. The last one gives the references back: now, if there is a connection to say so.
    pub(super) fn remove_proxy(&self, number: u64) {
        let Ok(mut link) = self.link() else { return };
        if let Some(held) = link.held.get_mut(&number) {
            held.proxies = held.proxies.saturating_sub(1);
            link.drop_if_unused(number);
        }
        if !link.unwanted.is_empty()
            && let Some(line) = link.idle.pop()
        {
            let unwanted = take(&mut link.unwanted);
            drop(link);
            let mut message = Vec::new();
            push_release(&mut message, unwanted.clone());
            match line.try_send_alone(&message) {
                Ok(()) => self.put_back(line),
                Err(ConnectionError::WouldBlock) => {
                    self.put_back(line);
                    if let Ok(mut link) = self.link() {
                        link.unwanted.extend(unwanted);
                    }
                }
                // The server has hung up, and forgotten them.
                Err(_) => {}
            }
        }
    }

    /// The link of this process: a forked copy makes a new one, in which the same proxies are.
    fn link(&self) -> Result<MutexGuard<'_, Link>, ManagerError> {
        let mut link = lock(&self.link);
        let pid = own_pid();
        if link.pid != pid {
            link.session = new_session()?;
            link.pid = pid;
            link.number = 0;
            link.idle.clear();
            link.unwanted.clear();
        }
        Ok(link)
    }
}

impl Link {
    fn drop_if_unused(&mut self, number: u64) {
        if let Some(held) = self.held.get(&number).copied().filter(|held| held.proxies == 0) {
            self.held.remove(&number);
            if held.references > 0 {
                self.unwanted.push((number, held.references));
            }
        }
    }
}

/// The mailboxes that a server sends; `None` if there is no memory to map them.
fn receive_mailboxes(connection: &Connection) -> Result<Option<Mailboxes>, ManagerError> {
    let descriptor = connection.recv_timeout(HELLO_TIME).map_err(ManagerError::unreachable)?;
    match Mailboxes::open(&descriptor) {
        Ok(mailboxes) => Ok(Some(mailboxes)),
        Err(Error::Decode(what)) => Err(ManagerError::Refused(what)),
        Err(_) => Ok(None),
    }
}

/// What the end of a connection in the middle of a call is.
pub(super) fn lost(error: ConnectionError) -> ManagerError {
    match error {
        ConnectionError::OutOfMemory(_) | ConnectionError::TooManyFiles | ConnectionError::Decode(_) => {
            ManagerError::Decode(Error::from(error))
        }
        _ => ManagerError::Disconnected,
    }
}

pub(super) fn push_request(
    message: &mut Vec<u8>,
    number: u64,
    object: u64,
    body: &[u8],
) -> Result<(), ManagerError> {
    transfer::append(&Request { number, object, body: Bytes(body) }, message).map_err(ManagerError::Encode)
}

fn push_release(message: &mut Vec<u8>, references: Vec<(u64, u64)>) {
    let mut body = Vec::new();
    // Numbers can be encoded.
    let _ = transfer::append(&ServerCall::Release(references), &mut body);
    let _ = push_request(message, 0, SERVER, &body);
}

fn new_session() -> Result<SessionId, ManagerError> {
    nonce::random().map_err(ManagerError::Encode)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
