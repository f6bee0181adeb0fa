//! [`Load`]: a task on its way, and [`Receiver`]: where its results go.

use std::mem::take;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::message::TASK_HEAD;
use super::runner::Results;
use crate::task::{Chunks, Core, Outcomes, Sink, TaskError};
use crate::transfer::Decoder;

/// Where encoded results go: what knows their type.
pub(super) trait Receiver: Send + Sync {
    /// The results of chunks, at least one.
    fn take_in(self: Arc<Self>, parts: &mut Parts<'_>);

    /// There are none.
    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError);

    /// What the pool calls the task, before any worker can have it.
    fn set_ticket(&self, ticket: u64);
}

/// Chunks of one receiver whose results have come.
pub(super) struct Parts<'a> {
    first: Option<Part<'a>>,
    others: &'a mut dyn FnMut() -> Option<Part<'a>>,
}

/// A chunk of so many items, and their results.
pub(super) struct Part<'a> {
    pub(super) chunk: u64,
    pub(super) items: usize,
    pub(super) results: Decoder<'a>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(first: Part<'a>, others: &'a mut dyn FnMut() -> Option<Part<'a>>) -> Self {
        Self { first: Some(first), others }
    }

    #[inline]
    fn next(&mut self) -> Option<Part<'a>> {
        self.first.take().or_else(|| (self.others)())
    }
}

/// The same as the sink sees them.
struct Incoming<'p, 'a, R> {
    parts: &'p mut Parts<'a>,
    /// Of the chunk at hand.
    results: Results<'a, R>,
}

impl<R: DeserializeOwned> Outcomes<R> for Incoming<'_, '_, R> {
    fn next(&mut self) -> Result<R, TaskError> {
        self.results.next()
    }

    fn next_many(&mut self, items: usize, results: &mut Vec<R>) -> Result<(), TaskError> {
        self.results.next_many(items, results)
    }
}

impl<R: DeserializeOwned> Chunks<R> for Incoming<'_, '_, R> {
    fn next_chunk(&mut self) -> Option<(u64, usize)> {
        let Part { chunk, items, results } = self.parts.next()?;
        self.results = Results::new(results);
        Some((chunk, items))
    }
}

/// A task of one item.
impl<R: DeserializeOwned + Send + Sync + 'static> Receiver for Core<R> {
    fn take_in(self: Arc<Self>, parts: &mut Parts<'_>) {
        if let Some(Part { chunk, items, results }) = parts.next() {
            self.deliver(chunk, items, &mut Results::<R>::new(results));
        }
    }

    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError) {
        Sink::fail(self, chunk, items, error);
    }

    fn set_ticket(&self, ticket: u64) {
        Core::set_ticket(self, ticket);
    }
}

/// The chunks of a map.
pub(super) struct Decoded<R> {
    pub(super) sink: Arc<dyn Sink<R>>,
}

impl<R: DeserializeOwned + Send + Sync + 'static> Receiver for Decoded<R> {
    fn take_in(self: Arc<Self>, parts: &mut Parts<'_>) {
        Arc::clone(&self.sink).deliver_all(&mut Incoming { parts, results: Results::none() });
    }

    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError) {
        Arc::clone(&self.sink).fail(chunk, items, error);
    }

    fn set_ticket(&self, _: u64) {}
}

/// A task that is not finished.
pub(super) struct Load {
    pub(super) receiver: Arc<dyn Receiver>,
    pub(super) chunk: u64,
    pub(super) items: u32,
    /// Its message, head first; empty once it is in the ring and is not to be kept.
    pub(super) message: Vec<u8>,
    /// What goes by the wire.
    pub(super) beside: Option<Arc<Beside>>,
    /// What the pool's users call it.
    pub(super) ticket: u64,
    /// How often it may be given again when its worker dies.
    pub(super) retries: u32,
    pub(super) is_withdrawn: bool,
}

/// Arguments that don't go through the ring.
pub(super) struct Beside {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Load {
    /// Names it, for who takes it out of the ring.
    pub(super) fn set_id(&mut self, id: u64) {
        if let Some(place) = self.message.first_chunk_mut::<8>() {
            *place = id.to_ne_bytes();
        }
    }

    pub(super) fn set_ticket(&mut self, ticket: u64) {
        self.ticket = ticket;
        self.receiver.set_ticket(ticket);
    }

    /// The buffer of its message, empty, if the message is not to be kept.
    pub(super) fn spare(&mut self) -> Option<Vec<u8>> {
        (self.retries == 0).then(|| {
            let mut message = take(&mut self.message);
            message.clear();
            message
        })
    }

    /// What the ring gets: with the arguments beside, the head only.
    pub(super) fn in_ring(&self) -> &[u8] {
        let length = if self.beside.is_some() { TASK_HEAD } else { self.message.len() };
        self.message.get(..length).unwrap_or_default()
    }

    pub(super) fn fail(&self, error: TaskError) {
        if !self.is_withdrawn {
            Arc::clone(&self.receiver).fail(self.chunk, self.items as usize, error);
        }
    }
}
