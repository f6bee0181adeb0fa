//! [`Calls`]: a function that a pool's workers call.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::take;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::Engine;
use super::load::{Beside, Decoded, Load, Receiver};
use super::message::{TASK_HEAD, TaskHead};
use super::runner::Runner;
use crate::task::{Core, Driver, Future, Launch, Sink, TaskError};
use crate::transfer::Encoder;

/// Tasks handed over at a time, at most, and about how many items.
const BATCH: usize = 64;
const BATCH_ITEMS: usize = 512;

thread_local! {
    /// A buffer for the next message.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Whom to tell that a task can't be encoded, and why.
type Refused = (Arc<dyn Receiver>, TaskError);

/// Encodes tasks of one function.
struct Encoding {
    runner: Result<Runner, TaskError>,
    /// Longer messages go by the wire.
    longest: usize,
    retries: u32,
}

impl Encoding {
    fn new<A: DeserializeOwned, R: Serialize>(engine: &Engine, function: fn(A) -> R) -> Self {
        Self {
            runner: Runner::new(function).map_err(|error| TaskError::Encode(error.into_reason())),
            longest: engine.tasks.max_message(),
            retries: engine.policy.retries,
        }
    }

    /// The task of these items; an error if one of them can't be encoded.
    fn encode<A: Serialize>(
        &self,
        spare: Vec<u8>,
        receiver: Arc<dyn Receiver>,
        chunk: u64,
        items: impl ExactSizeIterator<Item = A>,
    ) -> Result<Load, Refused> {
        let mut bytes = spare;
        bytes.reserve(TASK_HEAD + (items.len() * size_of::<A>()).min(self.longest));
        bytes.resize(TASK_HEAD, 0);
        let mut encoder = Encoder::behind(bytes);
        let runner = match &self.runner {
            Ok(runner) => runner,
            Err(error) => return Err((receiver, error.clone())),
        };
        let count = items.len() as u32;
        for item in items {
            if let Err(error) = encoder.push(&item) {
                return Err((receiver, TaskError::Encode(error.into_reason())));
            }
        }
        let (mut message, fds) = encoder.into_parts();
        let is_beside = !fds.is_empty() || message.len() > self.longest;
        let head =
            TaskHead { id: 0, runner: runner.wrapper, function: runner.function, items: count, is_beside };
        head.write(&mut message);
        let beside = is_beside.then(|| {
            let bytes = message.split_off(TASK_HEAD);
            Arc::new(Beside { bytes, fds })
        });
        let load = Load {
            receiver,
            chunk,
            items: count,
            message,
            beside,
            ticket: 0,
            retries: self.retries,
            is_withdrawn: false,
        };
        Ok(load)
    }
}

/// Has `function(args)` called by a worker.
pub(crate) fn submit<A, R>(engine: &Arc<Engine>, function: fn(A) -> R, args: A) -> Future<R>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let driver: Arc<dyn Driver> = engine.clone();
    let core = Core::new(Some(driver));
    let future = Future::new(Arc::clone(&core));
    let encoding = Encoding::new(engine, function);
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    match encoding.encode(spare, core, 0, std::iter::once(args)) {
        Ok(load) => {
            let spare = engine.submit(load);
            let _ = SPARE.try_with(|place| place.set(spare));
        }
        Err((receiver, error)) => receiver.fail(0, 1, error),
    }
    future
}

/// A function that a pool's workers call with the items of a map.
pub(crate) struct Calls<A, R> {
    engine: Arc<Engine>,
    encoding: Encoding,
    receiver: Option<Arc<dyn Receiver>>,
    batch: Vec<Load>,
    /// Buffers for messages.
    spares: Vec<Vec<u8>>,
    /// In the batch.
    items: usize,
    /// Whether the caller waits for all results anyway: then it waits for room, too.
    is_patient: bool,
    types: PhantomData<fn(A) -> R>,
}

impl<A: DeserializeOwned, R: Serialize> Calls<A, R> {
    pub(crate) fn new(engine: &Arc<Engine>, function: fn(A) -> R, is_patient: bool) -> Self {
        Self {
            encoding: Encoding::new(engine, function),
            engine: Arc::clone(engine),
            receiver: None,
            batch: Vec::new(),
            spares: Vec::new(),
            items: 0,
            is_patient,
            types: PhantomData,
        }
    }
}

impl<A, R> Launch<A, R> for Calls<A, R>
where
    A: Serialize,
    R: DeserializeOwned + Send + Sync + 'static,
{
    fn workers(&self) -> usize {
        self.engine.workers()
    }

    fn driver(&self) -> Option<Arc<dyn Driver>> {
        Some(self.engine.clone())
    }

    fn launch(&mut self, chunk: u64, items: &mut Vec<A>, sink: &Arc<dyn Sink<R>>) {
        let receiver = self.receiver.get_or_insert_with(|| Arc::new(Decoded { sink: Arc::clone(sink) }));
        let spare = self.spares.pop().unwrap_or_default();
        let count = items.len();
        match self.encoding.encode(spare, Arc::clone(receiver), chunk, items.drain(..)) {
            Ok(load) => {
                self.batch.push(load);
                self.items += count;
            }
            Err((receiver, error)) => receiver.fail(chunk, count, error),
        }
        if self.batch.len() >= BATCH || self.items >= BATCH_ITEMS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.items = 0;
        let mut batch = take(&mut self.batch);
        self.engine.submit_all(&mut batch, self.is_patient);
        self.batch = batch;
        self.engine.take_spares(&mut self.spares);
    }

    fn abandon(&mut self) {
        self.batch.clear();
        if let Some(receiver) = self.receiver.take() {
            self.engine.withdraw_all(Some(&receiver), &TaskError::Cancelled);
        }
    }
}
