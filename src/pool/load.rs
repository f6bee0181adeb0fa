//! [`Load`]: a task on its way, and [`Receiver`]: where its results go.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::runner::Results;
use crate::task::{Core, Sink, TaskError};
use crate::transfer::Decoder;

/// Where encoded results go: what knows their type.
pub(super) trait Receiver: Send + Sync {
    /// The results of a chunk of so many items.
    fn take_in(self: Arc<Self>, chunk: u64, items: usize, results: &mut Decoder<'_>);

    /// There are none.
    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError);

    /// What the pool calls the task, before any worker can have it.
    fn set_ticket(&self, ticket: u64);
}

/// A task of one item.
impl<R: DeserializeOwned + Send + Sync + 'static> Receiver for Core<R> {
    fn take_in(self: Arc<Self>, chunk: u64, items: usize, results: &mut Decoder<'_>) {
        self.deliver(chunk, items, &mut Results::<R>::new(results));
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
    fn take_in(self: Arc<Self>, chunk: u64, items: usize, results: &mut Decoder<'_>) {
        Arc::clone(&self.sink).deliver(chunk, items, &mut Results::<R>::new(results));
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
    pub(super) fn fail(self, error: TaskError) {
        if !self.is_withdrawn {
            self.receiver.fail(self.chunk, self.items as usize, error);
        }
    }
}
