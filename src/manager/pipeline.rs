//! [`Pipeline`]: calls that are sent without waiting for each other's answers.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::{Client, lost, push_request};
use super::dict::DictProxy;
use super::dict_object::DictCall;
use super::error::ManagerError;
use super::fault::Fault;
use super::line::Line;
use super::list::ListProxy;
use super::list_object::ListCall;
use super::object::ObjectProxy;
use super::proxy::{Named, Remote, with_key};
use super::queue::QueueCall;
use super::queue_proxy::QueueProxy;
use super::registry::RemoteObject;
use super::wire::{Bytes, Item, Reply};
use crate::transfer;

/// Bytes after which a message is complete.
const MESSAGE: usize = 8 << 10;
/// Bytes that are on their way at most before an answer is waited for. The system has room for them, so that neither end waits
/// for the other to read.
const WINDOW: usize = 48 << 10;

/// Calls that are sent without waiting for each other's answers, in messages of many. The server makes them one after the
/// other, in their order; other clients' come in between. Nothing is sent before [`run`](Self::run).
///
/// # Process death
/// A client killed in it has made some of the calls, the first ones.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let squares = manager.dict::<u64, u64>()?;
/// let mut pipeline = manager.pipeline();
/// for n in 0..1000 {
///     pipeline.set(&squares, &n, &(n * n))?;
/// }
/// let seven = pipeline.get(&squares, &7)?;
/// let none = pipeline.get(&squares, &7000)?;
/// let answers = pipeline.run()?;
/// assert_eq!((answers.take(seven)?, answers.take(none)?), (Some(49), None));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "nothing is sent before `run`"]
pub struct Pipeline<'a> {
    client: &'a Arc<Client>,
    /// Complete messages, and how many calls are in each.
    messages: Vec<(Vec<u8>, usize)>,
    calls: usize,
    body: Vec<u8>,
}

/// What will be answered to a call of a [`Pipeline`]: [`Answers::take`].
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let squares = manager.dict::<u64, u64>()?;
/// let mut pipeline = manager.pipeline();
/// let ticket = pipeline.get(&squares, &7)?;
/// assert_eq!(pipeline.run()?.take(ticket)?, None);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Ticket<'a, R> {
    place: usize,
    remote: &'a Remote,
    read: fn(&Remote, &[u8]) -> Result<R, ManagerError>,
    result: PhantomData<fn() -> R>,
}

/// What was answered to the calls of a [`Pipeline`].
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let squares = manager.dict::<u64, u64>()?;
/// let mut pipeline = manager.pipeline();
/// pipeline.set(&squares, &3, &9)?;
/// let answers = pipeline.run()?;
/// answers.check()?;
/// assert_eq!(answers.len(), 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Answers {
    messages: Vec<Vec<u8>>,
    /// The message, and where in it the answer is.
    outcomes: Vec<Result<(usize, Range<usize>), Fault>>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(client: &'a Arc<Client>) -> Self {
        Self { client, messages: Vec::new(), calls: 0, body: Vec::new() }
    }

    /// [`DictProxy::get`].
    ///
    /// # Errors
    /// [`ManagerError::Encode`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let squares = manager.dict::<u64, u64>()?;
    /// squares.set(&3, &9)?;
    /// let mut pipeline = manager.pipeline();
    /// let (three, four) = (pipeline.get(&squares, &3)?, pipeline.get(&squares, &4)?);
    /// let answers = pipeline.run()?;
    /// assert_eq!((answers.take(three)?, answers.take(four)?), (Some(9), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get<'p, K, V>(
        &mut self,
        dict: &'p DictProxy<K, V>,
        key: &K,
    ) -> Result<Ticket<'p, Option<V>>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        let read = |remote: &Remote, body: &[u8]| {
            let item: Option<Item<'_>> = parse(body)?;
            remote.unpack_option(item.as_ref())
        };
        with_key(key, |key| self.push(Named::remote(dict), &DictCall::Get(Bytes(key)), read))?
    }

    /// [`DictProxy::set`].
    ///
    /// # Errors
    /// [`ManagerError::Encode`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let squares = manager.dict::<u64, u64>()?;
    /// let mut pipeline = manager.pipeline();
    /// for n in 0..10 {
    ///     pipeline.set(&squares, &n, &(n * n))?;
    /// }
    /// pipeline.run()?.check()?;
    /// assert_eq!(squares.get(&7)?, Some(49));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set<'p, K, V>(
        &mut self,
        dict: &'p DictProxy<K, V>,
        key: &K,
        value: &V,
    ) -> Result<Ticket<'p, ()>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        let remote: &Remote = Named::remote(dict);
        let value = remote.pack(value)?;
        with_key(key, |key| {
            self.push(remote, &DictCall::Set(Bytes(key), value.item()), |_, body| parse(body))
        })?
    }

    /// [`ListProxy::push`].
    ///
    /// # Errors
    /// [`ManagerError::Encode`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let list = manager.list([1])?;
    /// let mut pipeline = manager.pipeline();
    /// pipeline.append(&list, &2)?;
    /// pipeline.run()?.check()?;
    /// assert_eq!(list.to_vec()?, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn append<'p, T>(&mut self, list: &'p ListProxy<T>, value: &T) -> Result<Ticket<'p, ()>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        let remote: &Remote = Named::remote(list);
        self.push(remote, &ListCall::Push(remote.pack(value)?.item()), |_, body| parse(body))
    }

    /// [`QueueProxy::put`]. One that waits for room keeps those behind it waiting.
    ///
    /// # Errors
    /// [`ManagerError::Encode`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue(0)?;
    /// let mut pipeline = manager.pipeline();
    /// pipeline.put(&queue, &7)?;
    /// pipeline.run()?.check()?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put<'p, T>(&mut self, queue: &'p QueueProxy<T>, value: &T) -> Result<Ticket<'p, ()>, ManagerError>
    where
        T: Serialize + DeserializeOwned,
    {
        let remote: &Remote = Named::remote(queue);
        self.push(remote, &QueueCall::Put(remote.pack(value)?.item(), None), |_, body| parse(body))
    }

    /// [`ObjectProxy::call`].
    ///
    /// # Errors
    /// [`ManagerError::Encode`].
    ///
    /// # Examples
    /// ```
    /// # use multiproc::manager::RemoteObject;
    /// # struct Sum(u64);
    /// # impl RemoteObject for Sum {
    /// #     type Args = u64;
    /// #     type Request = u64;
    /// #     type Reply = u64;
    /// #     const NAME: &'static str = "Sum";
    /// #     fn new(start: u64) -> Self {
    /// #         Self(start)
    /// #     }
    /// #     fn call(&mut self, more: u64) -> u64 {
    /// #         self.0 += more;
    /// #         self.0
    /// #     }
    /// # }
    /// // `Sum` is a `RemoteObject`.
    /// let manager = multiproc::Manager::builder().register::<Sum>().start()?;
    /// let sum = manager.object::<Sum>(&0)?;
    /// let mut pipeline = manager.pipeline();
    /// pipeline.call(&sum, &1)?;
    /// let second = pipeline.call(&sum, &2)?;
    /// assert_eq!(pipeline.run()?.take(second)?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn call<'p, T: RemoteObject>(
        &mut self,
        object: &'p ObjectProxy<T>,
        request: &T::Request,
    ) -> Result<Ticket<'p, T::Reply>, ManagerError> {
        self.push(Named::remote(object), request, |_, body| parse(body))
    }

    fn push<'p, C: Serialize, R>(
        &mut self,
        remote: &'p Remote,
        call: &C,
        read: fn(&Remote, &[u8]) -> Result<R, ManagerError>,
    ) -> Result<Ticket<'p, R>, ManagerError> {
        let is_same = Arc::ptr_eq(remote.client(), self.client);
        if !is_same && remote.client().incarnation() != self.client.incarnation() {
            return Err(ManagerError::Refused("the object is another server's".to_owned()));
        }
        self.body.clear();
        transfer::append(call, &mut self.body).map_err(ManagerError::Encode)?;
        if self.messages.last().is_none_or(|(message, _)| message.len() >= MESSAGE) {
            self.messages.push((Vec::with_capacity(MESSAGE + MESSAGE / 4), 0));
        }
        if let Some((message, calls)) = self.messages.last_mut() {
            // Any number but 0: answers come in their order.
            push_request(message, 1, remote.number(), &self.body)?;
            *calls += 1;
        }
        let place = self.calls;
        self.calls += 1;
        Ok(Ticket { place, remote, read, result: PhantomData })
    }

    /// Makes the calls, and waits for all answers.
    ///
    /// # Errors
    /// [`ManagerError::Disconnected`]: some of the calls were made, perhaps. Those of connecting. That of a single call is in its
    /// answer: [`ManagerError::Stopping`], for one, where the server ended before it was made.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let squares = manager.dict::<u64, u64>()?;
    /// let mut pipeline = manager.pipeline();
    /// pipeline.set(&squares, &3, &9)?;
    /// assert!(squares.is_empty()?, "nothing was sent");
    /// pipeline.run()?.check()?;
    /// assert_eq!(squares.len()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn run(self) -> Result<Answers, ManagerError> {
        let max = self.client.longest();
        if let Some(len) =
            self.messages.iter().map(|(message, _)| message.len() as u64).find(|len| *len > max)
        {
            return Err(ManagerError::TooLong { len, max });
        }
        let mut answers = Answers { messages: Vec::new(), outcomes: Vec::with_capacity(self.calls) };
        let mut messages = self.messages.into_iter();
        let Some((first, calls)) = messages.next() else { return Ok(answers) };
        if messages.len() == 0 {
            let message = self.client.exchange(&first)?;
            answers.add(message, calls)?;
            return Ok(answers);
        }
        let line = self.client.send_first(&first)?;
        let mut underway = VecDeque::from([(first.len(), calls)]);
        let mut bytes = first.len();
        let mut unsent = 0;
        for (message, calls) in messages {
            while bytes + message.len() > WINDOW && !underway.is_empty() {
                bytes -= answers.receive(&line, &mut underway)?;
            }
            // A server that ends reads no more, and answers what it has read.
            if unsent > 0 || line.send_by_socket(&message).is_err() {
                unsent += calls;
                continue;
            }
            bytes += message.len();
            underway.push_back((message.len(), calls));
        }
        while !underway.is_empty() {
            answers.receive(&line, &mut underway)?;
        }
        if unsent == 0 {
            self.client.put_back(line);
        }
        answers.outcomes.extend((0..unsent).map(|_| Err(Fault::Stopping)));
        Ok(answers)
    }
}

impl Answers {
    /// Receives the answers to the oldest message that is under way; its length.
    fn receive(
        &mut self,
        line: &Line,
        underway: &mut VecDeque<(usize, usize)>,
    ) -> Result<usize, ManagerError> {
        let message = line.connection.recv_bytes().map_err(lost)?;
        let (len, calls) = underway.pop_front().unwrap_or_default();
        self.add(message, calls)?;
        Ok(len)
    }

    /// Adds the answers to so many calls.
    fn add(&mut self, message: Vec<u8>, calls: usize) -> Result<(), ManagerError> {
        let mut rest = message.as_slice();
        for _ in 0..calls {
            let (reply, behind) =
                postcard::take_from_bytes::<Reply<'_>>(rest).map_err(|error| ManagerError::decode(&error))?;
            rest = behind;
            self.outcomes.push(reply.outcome.map(|body| {
                let start = body.0.as_ptr().addr() - message.as_ptr().addr();
                (self.messages.len(), start..start + body.0.len())
            }));
        }
        self.messages.push(message);
        Ok(())
    }

    /// What was answered to a call.
    ///
    /// # Errors
    /// That of the call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let squares = manager.dict::<u64, u64>()?;
    /// let mut pipeline = manager.pipeline();
    /// let set = pipeline.set(&squares, &3, &9)?;
    /// let three = pipeline.get(&squares, &3)?;
    /// let answers = pipeline.run()?;
    /// answers.take(set)?;
    /// assert_eq!(answers.take(three)?, Some(9));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take<R>(&self, ticket: Ticket<'_, R>) -> Result<R, ManagerError> {
        let missing = || ManagerError::Refused("a ticket of another pipeline".to_owned());
        let (message, place) = match self.outcomes.get(ticket.place).ok_or_else(missing)? {
            Ok((message, place)) => (*message, place.clone()),
            Err(fault) => return Err(fault.clone().into()),
        };
        let body = self.messages.get(message).and_then(|message| message.get(place)).ok_or_else(missing)?;
        (ticket.read)(ticket.remote, body)
    }

    /// How many calls there were.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let squares = manager.dict::<u64, u64>()?;
    /// let mut pipeline = manager.pipeline();
    /// pipeline.set(&squares, &3, &9)?;
    /// assert_eq!(pipeline.run()?.len(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether there were none.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert!(manager.pipeline().run()?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The first failure of a call, if one failed: for calls whose answers say nothing else.
    ///
    /// # Errors
    /// That of the call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue(0)?;
    /// queue.shutdown()?;
    /// let mut pipeline = manager.pipeline();
    /// pipeline.put(&queue, &7)?;
    /// assert!(matches!(pipeline.run()?.check(), Err(ManagerError::Shutdown)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn check(&self) -> Result<(), ManagerError> {
        match self.outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
            Some(fault) => Err(fault.clone().into()),
            None => Ok(()),
        }
    }
}

fn parse<'a, R: Deserialize<'a>>(body: &'a [u8]) -> Result<R, ManagerError> {
    postcard::from_bytes(body).map_err(|error| ManagerError::decode(&error))
}

impl fmt::Debug for Pipeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Ticket<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("calls", &self.len()).finish_non_exhaustive()
    }
}
