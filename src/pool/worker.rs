//! The worker's side of a pool: takes tasks, runs them, puts results.
//!
//! What a worker that is killed leaves, step by step:
//! ```text
//! before its hand is set                    the task in the ring
//! before the task has left the ring         the task in the ring, and in its hand: it fails, and is skipped by who takes it
//! before the result is put                  the task in its hand: it fails
//! before its hand is empty                  nothing: the pool took the result in before it looks at the hand
//! while it rests                            nothing: see `raw/shift.rs`
//! ```
#![allow(unsafe_code)]

use serde::{Deserialize, Serialize};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::board::Board;
use super::message::{RESULT_HEAD, RESULTS, ResultHead, SKIPPED, TASK_HEAD, TaskHead, UNSENT, push_words};
use super::place::Place;
use super::runner::{Function, Runner};
use super::wire::{ARGUMENTS, ASK, RESULT, Wire};
use crate::Queue;
use crate::process::{Failure, failure_of};
use crate::raw::{self, Deadline, RingError, Wait};
use crate::transfer::{Decoder, Encoder};

/// Looks for a task before a worker leaves that to others, or goes to the ring's waiting room: some with a pause in between,
/// then some after others could run. Counts and not times, so that a killed run can be repeated exactly.
const LOOKS: u32 = 120;
const YIELDS: u32 = 50;
/// How long a worker rests, or waits at the ring, before it looks whether it should do the other.
const SLICE: Duration = Duration::from_millis(100);

/// What a worker is given.
#[derive(Serialize, Deserialize)]
pub(super) struct Employment<I> {
    pub(super) tasks: Queue<Vec<u8>>,
    pub(super) results: Queue<Vec<u8>>,
    pub(super) board: Board,
    pub(super) wire: Wire,
    pub(super) seat: u32,
    /// After so many tasks it ends; 0 for no limit.
    pub(super) most_tasks: u64,
    /// Whether to note when tasks begin.
    pub(super) is_timed: bool,
    pub(super) dumps_core: bool,
    pub(super) initializer: Option<Initializer<I>>,
}

/// What a worker calls first.
#[derive(Serialize, Deserialize)]
pub(super) struct Initializer<I> {
    pub(super) function: Function<I, ()>,
    pub(super) arguments: Common<I>,
}

impl<I> Clone for Initializer<I> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), arguments: Common(Arc::clone(&self.arguments.0)) }
    }
}

/// What all workers are given.
pub(super) struct Common<I>(pub(super) Arc<I>);

impl<I: Serialize> Serialize for Common<I> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, I: Deserialize<'de>> Deserialize<'de> for Common<I> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        I::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}

/// How a worker ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ending {
    /// There are no tasks any more.
    Closed,
    /// It has done as many as it may.
    Replaceable,
    /// Its initializer panicked.
    Initializer(String),
    /// The rings or the wire don't work.
    Broken(String),
}

/// What a worker process does.
pub(super) fn work<I>(employment: Employment<I>) -> Ending {
    let mut employment = employment;
    if !employment.dumps_core {
        // A lower limit is always allowed.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    if let Some(Initializer { function, arguments: Common(arguments) }) = employment.initializer.take()
        // The only one here.
        && let Some(arguments) = Arc::into_inner(arguments)
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| function.call(arguments)))
    {
        let why = match failure_of(&*payload) {
            Failure::Panicked { message, .. } => message,
            Failure::Arguments(why) | Failure::Encode(why) => why,
        };
        return Ending::Initializer(why);
    }
    employment.board.set_ready(employment.seat);
    let mut worker = Worker {
        tasks: employment.tasks,
        results: employment.results,
        board: employment.board,
        wire: employment.wire,
        seat: employment.seat,
        is_timed: employment.is_timed,
        place: Place::default(),
        task: Vec::new(),
        spare: Vec::new(),
    };
    let mut left = employment.most_tasks;
    loop {
        match worker.step() {
            Ok(false) => {}
            Ok(true) if left == 1 => return Ending::Replaceable,
            Ok(true) => left = left.saturating_sub(1),
            Err(ending) => return ending,
        }
    }
}

struct Worker {
    tasks: Queue<Vec<u8>>,
    results: Queue<Vec<u8>>,
    board: Board,
    wire: Wire,
    seat: u32,
    is_timed: bool,
    place: Place,
    /// The message of the task at hand.
    task: Vec<u8>,
    /// Where the last result was, for the next one.
    spare: Vec<u8>,
}

impl Worker {
    /// Takes a task, and does it unless it was withdrawn; whether it did.
    fn step(&mut self) -> Result<bool, Ending> {
        match self.await_task() {
            Ok(()) => {}
            Err(RingError::Closed) => return Err(Ending::Closed),
            Err(error) => return Err(Ending::Broken(error.to_string())),
        }
        let Some((head, _)) = TaskHead::split(&self.task) else {
            return Err(Ending::Broken("a task without a head".to_owned()));
        };
        let begun = self.board.claims().begin(head.id, self.seat);
        if begun {
            if self.is_timed {
                self.board.set_since(self.seat, now());
            }
            self.run(head)?;
            if self.is_timed {
                self.board.set_since(self.seat, 0);
            }
        } else {
            let head = ResultHead { id: head.id, kind: SKIPPED, seat: self.seat };
            self.put(&head.with_text(""))?;
        }
        self.board.claims().set_in_hand(self.seat, None);
        Ok(begun)
    }

    /// Takes the next task out of the ring.
    fn await_task(&mut self) -> Result<(), RingError> {
        loop {
            match self.take(Wait::Never) {
                Err(RingError::WouldBlock | RingError::Busy) => {}
                taken => return taken,
            }
            // One that is not on was called by nobody, and leaves what comes next to the others.
            if self.board.shift().is_on(self.seat) && self.look_out() {
                continue;
            }
            if self.board.shift().leave(self.seat) {
                self.rest();
                continue;
            }
            // Workers of later seats may leave meanwhile: then this one is to do so, too.
            let limit = if self.seat == 0 { None } else { Deadline::after(SLICE) };
            match self.take(Wait::Until(limit)) {
                Err(RingError::TimedOut) => {}
                taken => return taken,
            }
        }
    }

    fn take(&mut self, wait: Wait) -> Result<(), RingError> {
        let Self { tasks, task, board, seat, .. } = self;
        task.clear();
        tasks.get_by(wait, |words, length| {
            // SAFETY: the words are those of an item that is being got.
            unsafe { raw::read_item(words, length, task) };
            // Before the task leaves the ring, which is when this returns: from here on the pool knows whose it is.
            board.claims().set_in_hand(*seat, TaskHead::split(task).map(|(head, _)| head.id));
        })
    }

    /// Looks for a task for a while.
    fn look_out(&mut self) -> bool {
        // No task comes while it spins where the caller is to run.
        let is_alone = self.seat == 0 && !self.board.shift().is_on(1);
        let looks = if self.place.is_shared(self.board.caller(), is_alone) { 0 } else { LOOKS };
        let look = |pause: fn()| {
            pause();
            self.tasks.seems_ready()
        };
        (0..looks).any(|_| look(std::hint::spin_loop)) || (0..YIELDS).any(|_| look(std::thread::yield_now))
    }

    /// Sleeps until it is called, or for a slice.
    fn rest(&self) {
        let Some(bell) = self.board.bell(self.seat) else { return };
        let sleep = || {
            // Whether it rang, or the slice is over, the ring says more.
            let _ = bell.wait_timeout(SLICE);
        };
        self.board.shift().rest(self.seat, || bell.clear(), || self.tasks.seems_ready(), sleep);
    }

    fn run(&mut self, head: TaskHead) -> Result<(), Ending> {
        let (beside, fds) = if head.is_beside { self.ask(head.id)? } else { (None, Vec::new()) };
        let input = beside.as_deref().or(self.task.get(TASK_HEAD..)).unwrap_or_default();
        let mut input = Decoder::new(input, fds);
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let result = ResultHead { id: head.id, kind: RESULTS, seat: self.seat };
        push_words(&mut bytes, result.to_words());
        let mut output = Encoder::behind(bytes);
        let runner = Runner { wrapper: head.runner, function: head.function };
        // SAFETY: the pool, a process of this program which started this one from its own image, wrote the head of a `Runner`
        // into a ring that only it and its workers have.
        let has_run = unsafe { runner.run(head.items, &mut input, &mut output) };
        if !has_run {
            return Err(Ending::Broken("a function outside of the program's code".to_owned()));
        }
        let (bytes, fds) = output.into_parts();
        if fds.is_empty() && bytes.len() <= self.results.max_message() {
            self.put(&bytes)?;
        } else {
            let (head, rest) = bytes.split_at(RESULT_HEAD);
            if let Err(error) = self.wire.send(RESULT, head, rest, &fds) {
                // Memory or room for descriptors is missing.
                let head = ResultHead { kind: UNSENT, ..result };
                self.put(&head.with_text(&error.into_reason()))?;
            }
        }
        self.spare = bytes;
        Ok(())
    }

    /// The arguments of a task that are not in the ring.
    fn ask(&mut self, id: u64) -> Result<(Option<Vec<u8>>, Vec<std::os::fd::OwnedFd>), Ending> {
        let broken = |error: crate::Error| Ending::Broken(error.to_string());
        self.wire.send(ASK, &id.to_ne_bytes(), &[], &[]).map_err(broken)?;
        let parcel = self.wire.read().map_err(broken)?;
        match parcel {
            Some(parcel) if parcel.tag == ARGUMENTS => Ok((Some(parcel.bytes), parcel.fds)),
            _ => Err(Ending::Broken("the pool is gone".to_owned())),
        }
    }

    fn put(&self, message: &[u8]) -> Result<(), Ending> {
        match self.results.put_payload(Wait::Until(None), message) {
            Ok(()) => Ok(()),
            Err(RingError::Closed) => Err(Ending::Closed),
            Err(error) => Err(Ending::Broken(error.to_string())),
        }
    }
}

/// Nanoseconds on the monotonic clock, which all processes read alike.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec)).max(1)
}
