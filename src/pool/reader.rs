//! [`Reader`]: takes results out of the ring.
#![allow(unsafe_code)]

use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::load::Load;
use super::message::{ENDED, RESULTS, ResultHead, SKIPPED, UNSENT, split};
use super::state::State;
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

/// What whoever takes in results works with.
#[derive(Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// What is to be told, and where in the bytes the results lie.
    told: Vec<(Load, Told)>,
}

enum Told {
    Results { start: usize, end: usize },
    Failed(TaskError),
}

impl Engine {
    /// Takes in the results that are there, and at least one, for which it waits. Says how many messages.
    ///
    /// Callbacks are called when others can take in results already: one may wait for another result.
    pub(super) fn receive(&self, mut reader: MutexGuard<'_, Reader>, wait: Wait) -> Result<usize, RingError> {
        let Reader { bytes, ends, told } = &mut *reader;
        bytes.clear();
        ends.clear();
        let count = self.results.get_many_by(wait, BATCH, |words, length| {
            // SAFETY: the words are those of an item that is being got.
            unsafe { raw::read_item(words, length, bytes) };
            ends.push(bytes.len());
        })?;
        let is_awaited = {
            let mut state = self.state();
            let mut start = 0;
            for &end in &*ends {
                self.sort(&mut state, bytes, start, end, told);
                start = end;
            }
            state.pump(&self.tasks, &self.board);
            self.close_ring_if_done(&mut state);
            state.waiting > 0
        };
        // Before somebody else takes in results: who finds its own missing then may sleep until the next one comes.
        let callbacks = Callbacks::of(|| {
            for (load, what) in told.drain(..) {
                match what {
                    _ if load.is_withdrawn => {}
                    Told::Failed(error) => load.fail(error),
                    Told::Results { start, end } => {
                        let mut results = Decoder::new(bytes.get(start..end).unwrap_or_default(), Vec::new());
                        let take_in = || load.receiver.take_in(load.chunk, load.items as usize, &mut results);
                        // What a value's drop may do is nothing to the other results.
                        let _ = catch_unwind(AssertUnwindSafe(take_in));
                    }
                }
            }
        });
        drop(reader);
        // A notification is a system call, whoever waits.
        if is_awaited {
            self.notify();
        }
        callbacks.call();
        Ok(count)
    }

    /// Finds whom a message concerns.
    fn sort(&self, state: &mut State, bytes: &[u8], start: usize, end: usize, told: &mut Vec<(Load, Told)>) {
        let message = bytes.get(start..end).unwrap_or_default();
        let Some((head, rest)) = split::<ResultHead>(message) else { return };
        match head.kind {
            RESULTS => {
                let start = end - rest.len();
                told.extend(state.release(head.id).map(|load| (load, Told::Results { start, end })));
            }
            SKIPPED => drop(state.release(head.id)),
            UNSENT => {
                let error = TaskError::Encode(String::from_utf8_lossy(rest).into_owned());
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
            return Some((load, Told::Failed(TaskError::TaskTimedOut)));
        }
        if load.retries > 0 && !load.is_withdrawn && !state.has_ended() {
            load.retries -= 1;
            state.backlog.push_front(load);
            return None;
        }
        Some((load, Told::Failed(error)))
    }

    /// What the pool's own thread does: it takes in results as long as no caller does.
    pub(super) fn read_always(&self) {
        let mut seen = 0;
        let mut quiet = QUIET_TICKS;
        let mut tick = TICK;
        while !self.state().is_over {
            // Relaxed: hints, both.
            let helped = self.helped.load(Ordering::Relaxed);
            if self.is_wanted.swap(false, Ordering::Relaxed) || helped != seen {
                (seen, quiet, tick) = (helped, 0, TICK);
            }
            match self.reader.try_lock() {
                Ok(reader) if quiet >= QUIET_TICKS => {
                    let outcome = self.receive(reader, Wait::Until(Deadline::after(SLICE)));
                    self.end_if_broken(outcome);
                    continue;
                }
                Ok(reader) => {
                    // A caller was here just now, and may be back soon.
                    if let Ok(BATCH..) = self.receive(reader, Wait::Never) {
                        continue;
                    }
                    quiet += 1;
                }
                Err(_) => tick = (tick * 2).min(LONGEST_TICK),
            }
            let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if !*turn {
                turn = self.turn_changed.wait_timeout(turn, tick).unwrap_or_else(PoisonError::into_inner).0;
            }
            if take(&mut *turn) {
                quiet = QUIET_TICKS;
            }
        }
    }

    fn end_if_broken(&self, outcome: Result<usize, RingError>) {
        match outcome {
            Ok(_) | Err(RingError::TimedOut | RingError::WouldBlock | RingError::Busy) => {}
            Err(error) => self.end(&TaskError::NoWorkers(error.to_string())),
        }
    }
}
