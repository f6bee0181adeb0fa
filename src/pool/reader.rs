//! [`Buffers`]: what results are taken out of the ring with, by whoever sits in the pool's chair.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::load::{Load, Part, Parts};
use super::message::{ENDED, RESULTS, ResultHead, SKIPPED, UNSENT};
use super::state::State;
use crate::raw::chair::Seated;
use crate::raw::{self, Deadline, RingError, Wait};
use crate::task::{Callbacks, TaskError};
use crate::transfer::Decoder;

/// Results taken out of the ring at a time.
const BATCH: usize = 64;
/// How long the pool's own thread leaves callers at it before it looks; doubled while nothing changes.
const TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(16);
/// Ticks without a caller that takes in results after which the thread does.
const QUIET_TICKS: u32 = 4;
/// How long it sleeps in the ring at a time.
const SLICE: Duration = Duration::from_secs(1);

/// The most workers in a row that may end before they were ready, while there is none that is.
const MOST_STILLBORN: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

thread_local! {
    /// Each thread's own, so that nobody waits for them.
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers::new()) };
}

/// What whoever takes in results works with.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// What is to be told, and where in the bytes the results lie.
    told: Vec<(Load, Told)>,
}

impl Buffers {
    const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), told: Vec::new() }
    }
}

/// What was taken in.
pub(super) struct Received<'c> {
    pub(super) messages: usize,
    /// If the caller sits still: it has left to call callbacks.
    pub(super) seat: Option<Seated<'c>>,
    /// Whether there are tasks without a result.
    pub(super) has_more: bool,
}

enum Told {
    Results {
        start: usize,
        end: usize,
    },
    /// Small, as what comes much more often is.
    Failed(Box<TaskError>),
}

impl Engine {
    /// Takes in the results that are there, and at least one, for which it waits.
    ///
    /// Callbacks are called when others can take in results already: one may wait for another result.
    pub(super) fn receive<'c>(&self, seat: Seated<'c>, wait: Wait) -> Result<Received<'c>, RingError> {
        // Not borrowed: what a value's drop does may take in results, too.
        let mut buffers = BUFFERS.try_with(RefCell::take).unwrap_or_default();
        let received = self.receive_with(&mut buffers, seat, wait);
        let _ = BUFFERS.try_with(|place| place.replace(buffers));
        let (received, callbacks) = received?;
        callbacks.call();
        Ok(received)
    }

    fn receive_with<'c>(
        &self,
        buffers: &mut Buffers,
        seat: Seated<'c>,
        wait: Wait,
    ) -> Result<(Received<'c>, Callbacks), RingError> {
        let Buffers { bytes, ends, told } = buffers;
        bytes.clear();
        ends.clear();
        let messages = self.results.get_many_by(wait, BATCH, |words, length| {
            // SAFETY: the words are those of an item that is being got.
            unsafe { raw::read_item(words, length, bytes) };
            ends.push(bytes.len());
        })?;
        let mut state = self.state();
        let mut start = 0;
        for &end in &*ends {
            self.sort(&mut state, bytes, start, end, told);
            start = end;
        }
        state.pump(&self.tasks, &self.board);
        self.close_ring_if_done(&mut state);
        let has_more = state.offered() > 0 || !state.backlog.is_empty();
        let is_awaited = state.waiting > 0;
        drop(state);
        // While the caller sits: who sits down next and finds its own missing may sleep until the next message comes.
        let callbacks = Callbacks::of(|| {
            // Looked at in their places: to move them would take longer than all the rest.
            let mut rest = told.iter().peekable();
            while let Some((load, what)) = rest.next() {
                match what {
                    _ if load.is_withdrawn => {}
                    Told::Failed(error) => load.fail((**error).clone()),
                    &Told::Results { start, end } => {
                        let receiver = Arc::as_ptr(&load.receiver);
                        let part = |load: &Load, start, end| Part {
                            chunk: load.chunk,
                            items: load.items as usize,
                            results: Decoder::new(bytes.get(start..end).unwrap_or_default(), Vec::new()),
                        };
                        let first = part(load, start, end);
                        // Those of one map are told at once.
                        let mut others = || match rest.peek()? {
                            &(load, Told::Results { start, end })
                                if !load.is_withdrawn
                                    && std::ptr::addr_eq(Arc::as_ptr(&load.receiver), receiver) =>
                            {
                                rest.next();
                                Some(part(load, *start, *end))
                            }
                            _ => None,
                        };
                        let receiver = Arc::clone(&load.receiver);
                        let take_in = || receiver.take_in(&mut Parts::new(first, &mut others));
                        // What a value's drop may do is nothing to the other results.
                        let _ = catch_unwind(AssertUnwindSafe(take_in));
                    }
                }
            }
            // One by one: a value's drop may panic here, too.
            while let Some(last) = told.len().checked_sub(1) {
                let _ = catch_unwind(AssertUnwindSafe(|| told.truncate(last)));
            }
        });
        let seat = Some(seat).filter(|_| callbacks.is_empty());
        // A notification is a system call, whoever waits.
        if is_awaited {
            self.notify();
        }
        Ok((Received { messages, seat, has_more }, callbacks))
    }

    /// Finds whom a message concerns.
    fn sort(&self, state: &mut State, bytes: &[u8], start: usize, end: usize, told: &mut Vec<(Load, Told)>) {
        let message = bytes.get(start..end).unwrap_or_default();
        let Some((head, rest)) = ResultHead::split(message) else { return };
        match head.kind {
            RESULTS => {
                let start = end - rest.len();
                told.extend(state.release(head.id).map(|load| (load, Told::Results { start, end })));
            }
            SKIPPED => drop(state.release(head.id)),
            UNSENT => {
                let error = Box::new(TaskError::Encode(String::from_utf8_lossy(rest).into_owned()));
                told.extend(state.release(head.id).map(|load| (load, Told::Failed(error))));
            }
            ENDED => told.extend(self.bury(state, head.seat)),
            // A nudge: that somebody looks is all.
            _ => {}
        }
    }

    /// A worker has ended, and all its results are in: the task that it had in its hands, and what became of it.
    fn bury(&self, state: &mut State, seat: u32) -> Option<(Load, Told)> {
        let was_ready = self.board.is_ready(seat);
        let others_ready = (0..self.policy.workers)
            .zip(&state.seats)
            .any(|(other, at)| other != seat && at.pid != 0 && self.board.is_ready(other));
        let place = state.seats.get_mut(seat as usize)?;
        let error = place.ended.take()?;
        let lost = self.board.claims().lost(seat);
        self.board.vacate(seat);
        state.is_staffed = false;
        // Others may have left its seat's tasks to it.
        self.board.need(self.policy.workers);
        let is_overdue = place.overdue.take().is_some_and(|overdue| Some(overdue) == lost);
        place.pid = 0;
        if was_ready {
            state.stillborn = 0;
        } else {
            state.stillborn += 1;
            let delay = FIRST_DELAY.saturating_mul(1 << state.stillborn.min(10)).min(LONGEST_DELAY);
            place.not_before = Some(Instant::now() + delay);
        }
        let is_hopeless = state.stillborn >= MOST_STILLBORN && !others_ready;
        // The supervisor fills the seat, or ends everything.
        if is_hopeless && !state.has_ended() {
            let why = format!("{error}, as were {} before it, before it was ready", MOST_STILLBORN - 1);
            state.hopeless = Some(TaskError::NoWorkers(why));
        }
        self.ring();
        let mut load = state.release(lost?)?;
        if is_overdue {
            return Some((load, Told::Failed(Box::new(TaskError::TaskTimedOut))));
        }
        if load.retries > 0 && !load.is_withdrawn && !state.has_ended() {
            load.retries -= 1;
            state.backlog.push_front(load);
            return None;
        }
        Some((load, Told::Failed(Box::new(error))))
    }

    /// What the pool's own thread does: it takes in results as long as no caller does.
    pub(super) fn read_always(&self) {
        let mut seen = 0;
        let mut quiet = QUIET_TICKS;
        let mut tick = TICK;
        while !self.is_over() {
            // Relaxed: hints, both.
            let helped = self.helped.load(Ordering::Relaxed);
            if self.is_wanted.swap(false, Ordering::Relaxed) || helped != seen {
                (seen, quiet, tick) = (helped, 0, TICK);
            }
            match self.chair.sit() {
                Some(seat) if quiet >= QUIET_TICKS => {
                    let outcome = self.receive(seat, Wait::Until(Deadline::after(SLICE)));
                    self.end_if_broken(outcome.map(drop));
                    continue;
                }
                Some(seat) => {
                    // A caller was here just now, and may be back soon.
                    let received = self.receive(seat, Wait::Never);
                    if received.is_ok_and(|received| received.messages >= BATCH) {
                        continue;
                    }
                    quiet += 1;
                }
                None => tick = (tick * 2).min(LONGEST_TICK),
            }
            if self.chair.await_call(Deadline::after(tick)) {
                quiet = QUIET_TICKS;
            }
        }
    }

    fn end_if_broken(&self, outcome: Result<(), RingError>) {
        match outcome {
            Ok(()) | Err(RingError::TimedOut | RingError::WouldBlock | RingError::Busy) => {}
            Err(error) => self.end(&TaskError::NoWorkers(error.to_string())),
        }
    }
}
