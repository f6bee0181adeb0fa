//! The supervisor: the thread of a pool that looks after its workers.
//!
//! ```text
//! a seat                       what happens
//! empty, pool needs workers    a worker is started, after a delay if the last ones ended before they were ready
//! taken, worker has ended      what it sent by the wire is taken in, then the reader is told, who empties the seat
//! taken, task takes too long   the worker is killed
//! pool has ended               workers get SIGTERM, and after a moment SIGKILL
//! ```

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::engine::Engine;
use super::load::{Part, Parts};
use super::message::{ENDED, ResultHead};
use super::wire::{ARGUMENTS, ASK, Look, Parcel, RESULT, Wire};
use super::worker::{Ending, now};
use crate::process::ProcessError;
use crate::sys::{Deadline, poll};
use crate::task::{Driver, TaskError};
use crate::transfer::Decoder;
use crate::{Error, Process, Result};

/// What a worker is given to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_millis(100);
/// Looks in the time that a task may take.
const LOOKS: u32 = 8;
const LONGEST_LOOK: Duration = Duration::from_millis(200);
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// A worker.
pub(super) struct Member {
    process: Process<Ending>,
    wire: Wire,
    /// Whether the wire is of no more use.
    is_mute: bool,
    /// Whether the reader was told of its end.
    has_ended: bool,
}

impl Member {
    pub(super) fn new(process: Process<Ending>, wire: Wire) -> Self {
        Self { process, wire, is_mute: false, has_ended: false }
    }
}

/// Starts the workers and the threads of a pool.
///
/// # Errors
/// One of them could not be started; those that were, end.
pub(super) fn start(engine: &Arc<Engine>) -> Result<()> {
    let mut supervisor =
        Supervisor { engine: Arc::clone(engine), members: Vec::new(), killed_at: None, failed_at: None };
    let hired = (0..engine.policy.workers).try_for_each(|seat| {
        let member = supervisor.engine.hire(seat)?;
        supervisor.sit_down(seat, member);
        Ok(())
    });
    let started = hired.and_then(|()| {
        let reading = Arc::clone(engine);
        let failed = |error| Error::os("start a thread", error);
        thread::Builder::new()
            .name("pool reader".to_owned())
            .spawn(move || reading.read_always())
            .map_err(failed)?;
        Ok(())
    });
    if let Err(error) = started {
        supervisor.give_up();
        return Err(error);
    }
    let spawned = thread::Builder::new().name("pool supervisor".to_owned()).spawn(move || supervisor.run());
    spawned.map(drop).map_err(|error| {
        // The workers went with it.
        engine.end(&TaskError::Terminated);
        engine.set_over();
        Error::os("start a thread", error)
    })
}

struct Supervisor {
    engine: Arc<Engine>,
    /// By their seats.
    members: Vec<Option<Member>>,
    /// Since when the pool has ended: when SIGTERM was sent.
    killed_at: Option<Instant>,
    /// When a worker could not be started.
    failed_at: Option<Instant>,
}

impl Supervisor {
    fn sit_down(&mut self, seat: u32, member: Member) {
        let index = seat as usize;
        if self.members.len() <= index {
            self.members.resize_with(index + 1, || None);
        }
        if let Some(place) = self.engine.state().seats.get_mut(index) {
            place.pid = member.process.pid();
            place.not_before = None;
        }
        self.members[index] = Some(member);
    }

    /// Ends the workers of a pool that does not come about.
    fn give_up(&mut self) {
        self.engine.end(&TaskError::Terminated);
        for member in self.members.iter_mut().flatten() {
            let _ = member.process.kill();
            let _ = member.process.join();
        }
        self.engine.set_over();
    }

    fn run(mut self) {
        loop {
            let next_look = self.fill_seats();
            if self.is_over() {
                break;
            }
            self.end_what_is_overdue();
            let limit = self.next_look(next_look);
            self.sleep(limit);
            self.look_at_members();
        }
        self.engine.set_over();
    }

    fn is_over(&self) -> bool {
        let needs_none = {
            let state = self.engine.state();
            state.has_ended() || state.is_drained
        };
        needs_none && self.members.iter().all(Option::is_none)
    }

    /// Starts workers on empty seats, if there is work for them. Says when to come back.
    fn fill_seats(&mut self) -> Option<Duration> {
        let (empty, hopeless) = {
            let mut state = self.engine.state();
            let needs_none = state.has_ended() || state.is_drained;
            let empty: Vec<_> = (0_u32..)
                .zip(&state.seats)
                .filter(|(_, place)| place.pid == 0 && !needs_none)
                .map(|(seat, place)| (seat, place.not_before))
                .collect();
            (empty, state.hopeless.take())
        };
        // Those whose seats are empty have been told of, too.
        let state = self.engine.state();
        for (member, place) in self.members.iter_mut().zip(&state.seats) {
            if place.pid == 0 && member.as_ref().is_some_and(|member| member.has_ended) {
                *member = None;
            }
        }
        drop(state);
        if let Some(error) = hopeless {
            self.engine.end(&error);
            return None;
        }
        let mut back = None;
        for (seat, not_before) in empty {
            let now = Instant::now();
            let due = not_before.max(self.failed_at.map(|failed| failed + LONGEST_LOOK));
            if let Some(due) = due
                && due > now
            {
                let wait = due - now;
                back = Some(back.map_or(wait, |back: Duration| back.min(wait)));
                continue;
            }
            match self.engine.hire(seat) {
                Ok(member) => {
                    self.failed_at = None;
                    self.sit_down(seat, member);
                }
                Err(error) => {
                    self.failed_at = Some(now);
                    back = Some(LONGEST_LOOK);
                    if self.members.iter().all(Option::is_none) {
                        self.engine.end(&TaskError::NoWorkers(error.to_string()));
                        return None;
                    }
                }
            }
        }
        back
    }

    /// Sends signals to those that are to end.
    fn end_what_is_overdue(&mut self) {
        let (has_ended, kills) = {
            let state = self.engine.state();
            (state.has_ended(), state.kills)
        };
        if has_ended {
            let first = self.killed_at.is_none() && !kills;
            let since = *self.killed_at.get_or_insert_with(Instant::now);
            for member in self.members.iter().flatten() {
                let sent = match first {
                    true => member.process.terminate(),
                    false if kills || since.elapsed() >= GRACE => member.process.kill(),
                    false => Ok(()),
                };
                // It fails if the process has become another user's: nothing can be done.
                let _ = sent;
            }
            return;
        }
        let Some(limit) = self.engine.policy.task_timeout else { return };
        for (seat, member) in (0_u32..).zip(&self.members) {
            let Some(member) = member else { continue };
            let since = self.engine.board.since(seat);
            let in_hand = self.engine.board.claims().in_hand(seat);
            // The task may have changed between both looks; then the time is about now.
            if since == 0 || self.engine.board.since(seat) != since {
                continue;
            }
            if Duration::from_nanos(now().saturating_sub(since)) > limit {
                if let Some(place) = self.engine.state().seats.get_mut(seat as usize) {
                    place.overdue = in_hand;
                }
                let _ = member.process.kill();
            }
        }
    }

    fn next_look(&self, back: Option<Duration>) -> Option<Duration> {
        let ending = self.killed_at.map(|_| GRACE);
        let timed =
            self.engine.policy.task_timeout.map(|limit| (limit / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK));
        [back, ending, timed].into_iter().flatten().min()
    }

    /// Sleeps until something happens to a worker, or to the pool.
    fn sleep(&self, limit: Option<Duration>) {
        let mut fds = vec![(self.engine.bell.as_fd(), PollFlags::IN)];
        for member in self.members.iter().flatten().filter(|member| !member.has_ended) {
            fds.push((member.process.sentinel(), PollFlags::IN));
            if !member.is_mute {
                fds.push((member.wire.as_fd(), PollFlags::IN));
            }
        }
        if poll::wait(&fds, limit.and_then(Deadline::after)).is_err() {
            // Out of memory: later.
            thread::sleep(LONGEST_LOOK);
        }
        let mut rung = [0; 8];
        // It fails if the bell was not rung.
        let _ = rustix::io::read(&self.engine.bell, &mut rung);
    }

    fn look_at_members(&mut self) {
        let engine = &self.engine;
        for (seat, member) in (0_u32..).zip(&mut self.members) {
            let Some(member) = member else { continue };
            if member.has_ended {
                continue;
            }
            // In this order: what it sent before its end is there when the end is seen.
            let outcome = member.process.join_timeout(Duration::ZERO);
            if !member.is_mute {
                read_wire(engine, member);
            }
            let pid = member.process.pid();
            let (error, breaks) = match outcome {
                Err(ProcessError::TimedOut) => continue,
                Ok(Ending::Closed | Ending::Replaceable) => {
                    (TaskError::WorkerExited { pid, code: Some(0) }, None)
                }
                Ok(Ending::Initializer(why)) => {
                    let error = TaskError::Initializer(why);
                    (error.clone(), Some(error))
                }
                Ok(Ending::Broken(why)) => (TaskError::NoWorkers(why), None),
                Err(ProcessError::Panicked { message, location, backtrace, .. }) => {
                    (TaskError::Panicked { message, location, backtrace }, None)
                }
                Err(ProcessError::Exited(code)) => (TaskError::WorkerExited { pid, code: Some(code) }, None),
                Err(ProcessError::Signaled(signal)) => (TaskError::WorkerDied { pid, signal }, None),
                Err(_) => (TaskError::WorkerExited { pid, code: None }, None),
            };
            member.has_ended = true;
            if let Some(error) = breaks {
                engine.end(&error);
            }
            if let Some(place) = engine.state().seats.get_mut(seat as usize) {
                place.ended = Some(error);
            }
            engine.say(ResultHead { id: 0, kind: ENDED, seat });
        }
    }
}

/// Takes in what a worker has sent by its wire.
fn read_wire(engine: &Engine, member: &mut Member) {
    loop {
        match member.wire.look() {
            Ok(Look::Parcel(parcel)) => {
                if answer(engine, &member.wire, parcel).is_err() {
                    // It waits for what it can't get.
                    let _ = member.process.kill();
                    member.is_mute = true;
                    return;
                }
            }
            Ok(Look::Nothing) => return,
            Ok(Look::Closed) => {
                member.is_mute = true;
                return;
            }
            Err(_) => {
                let _ = member.process.kill();
                member.is_mute = true;
                return;
            }
        }
    }
}

fn answer(engine: &Engine, wire: &Wire, parcel: Parcel) -> Result<()> {
    let Parcel { tag, bytes, fds } = parcel;
    let unreadable = || Error::Decode("a worker sent something else".to_owned());
    match tag {
        ASK => {
            let id =
                bytes.first_chunk::<8>().map(|bytes| u64::from_ne_bytes(*bytes)).ok_or_else(unreadable)?;
            let beside = engine.state().beside(id);
            // A task that has failed meanwhile: its worker is being ended, or fails it again.
            let Some(beside) = beside else { return wire.send(ARGUMENTS, &[], &[], &[]) };
            wire.send(ARGUMENTS, &[], &beside.bytes, &beside.fds)
        }
        RESULT => {
            let (head, rest) = ResultHead::split(&bytes).ok_or_else(unreadable)?;
            let load = {
                let mut state = engine.state();
                let load = state.release(head.id);
                state.pump(&engine.tasks, &engine.board);
                engine.close_ring_if_done(&mut state);
                load
            };
            engine.notify();
            if let Some(load) = load
                && !load.is_withdrawn
            {
                let (chunk, items, results) = (load.chunk, load.items as usize, Decoder::new(rest, fds));
                load.receiver.take_in(&mut Parts::new(Part { chunk, items, results }, &mut || None));
            }
            // Whoever waits for it may be the one that takes in results.
            engine.nudge();
            Ok(())
        }
        _ => Err(unreadable()),
    }
}
