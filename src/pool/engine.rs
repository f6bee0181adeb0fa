//! [`Engine`]: the heart of a pool, which its handles, its threads and its futures share.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::sched_getcpu;

use super::board::Board;
use super::load::{Load, Receiver};
use super::message::{NUDGE, ResultHead};
use super::state::{Stage, State};
use super::supervisor::Member;
use super::wire::Wire;
use super::worker::Ending;
use crate::raw::chair::{Chair, Read, Refused};
use crate::raw::{Deadline, RingError, Wait};
use crate::sys::socket;
use crate::task::{Driver, TaskError};
use crate::{Error, Process, Queue, QueueOptions, Result};

/// Tasks in the ring and in workers' hands at a time, at most.
const ENTRIES: u32 = 1024;
/// Longer messages go by the wire.
const MAX_MESSAGE: usize = 32 << 10;
const RING_BYTES: usize = 256 << 10;
/// How often a caller that waits for room looks, while somebody else takes in results.
const PATIENT_LOOK: Duration = Duration::from_millis(1);

/// How a pool treats its workers and tasks.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(super) workers: u32,
    pub(super) retries: u32,
    pub(super) task_timeout: Option<Duration>,
}

type Hire = dyn Fn(&Engine, u32, Wire) -> Result<Process<Ending>> + Send + Sync;

/// The heart of a pool.
pub(crate) struct Engine {
    pub(super) policy: Policy,
    pub(super) tasks: Queue<Vec<u8>>,
    pub(super) results: Queue<Vec<u8>>,
    pub(super) board: Board,
    state: Mutex<State>,
    /// Told when there may be room in the ring, and at the end.
    changed: Condvar,
    /// Who takes in results.
    pub(super) chair: Chair,
    /// How often callers have taken in results themselves. Counted by who sits.
    pub(super) helped: AtomicU64,
    /// Whether a caller would like to, and somebody else was at it.
    pub(super) is_wanted: AtomicBool,
    /// Whether all workers have ended and none will come.
    is_over: AtomicBool,
    /// Wakes the supervisor.
    pub(super) bell: OwnedFd,
    hire: Box<Hire>,
}

impl Engine {
    /// A pool with its workers, which `hire` starts, and its threads.
    ///
    /// # Errors
    /// A worker or a thread could not be started; those that were, end.
    pub(super) fn start(policy: Policy, hire: Box<Hire>) -> Result<Arc<Self>> {
        let ring = || {
            QueueOptions::new(ENTRIES as usize)
                .ring_bytes(RING_BYTES)
                .max_message(MAX_MESSAGE)
                .queue::<Vec<u8>>()
        };
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::os("start a pool", errno))?;
        let engine = Arc::new(Self {
            tasks: ring()?,
            results: ring()?,
            board: Board::new(ENTRIES as usize, policy.workers as usize)?,
            state: Mutex::new(State::new(ENTRIES, policy.workers as usize)),
            changed: Condvar::new(),
            chair: Chair::new(),
            helped: AtomicU64::new(0),
            is_wanted: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            bell,
            hire,
            policy,
        });
        super::supervisor::start(&engine)?;
        Ok(engine)
    }

    /// Starts a worker.
    pub(super) fn hire(&self, seat: u32) -> Result<Member> {
        let (ours, theirs) = socket::pair().map_err(|errno| Error::os("start a worker", errno))?;
        let process = (self.hire)(self, seat, Wire::new(theirs))?;
        Ok(Member::new(process, Wire::new(ours)))
    }

    /// Hands over a task, and gives a buffer for the next one's message.
    pub(super) fn submit(&self, mut load: Load) -> Vec<u8> {
        let mut state = self.state();
        if let Some(error) = state.refusal() {
            drop(state);
            load.fail(error);
            return Vec::new();
        }
        if !state.backlog.is_empty() {
            state.name(&mut load);
            state.backlog.push_back(load);
        } else if let Err(load) = state.offer(load, &self.tasks, &self.board) {
            state.backlog.push_back(load);
        }
        state.call_workers(&self.board);
        state.spare().unwrap_or_default()
    }

    /// Hands over tasks. A patient caller waits until all are in the ring.
    pub(super) fn submit_all(&self, loads: &mut Vec<Load>, is_patient: bool) {
        let mut state = self.state();
        if let Some(error) = state.refusal() {
            drop(state);
            loads.drain(..).for_each(|load| load.fail(error.clone()));
            return;
        }
        state.submit_all(loads, &self.tasks, &self.board);
        let waits = is_patient && !state.backlog.is_empty();
        drop(state);
        if waits {
            self.wait_for_room();
        }
    }

    fn wait_for_room(&self) {
        loop {
            self.read_until(&|| self.has_room(), None, Refused::Goes);
            let mut state = self.state();
            if state.has_room() || state.has_ended() {
                return;
            }
            // Somebody else takes in results.
            state.waiting += 1;
            let waited = self.changed.wait_timeout(state, PATIENT_LOOK);
            waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
        }
    }

    fn has_room(&self) -> bool {
        let state = self.state();
        state.has_room() || state.has_ended()
    }

    /// Buffers for messages, as many as there are.
    pub(super) fn take_spares(&self, spares: &mut Vec<Vec<u8>>) {
        self.state().take_spares(spares);
    }

    /// Withdraws the tasks of one receiver, or of all, that no worker has begun.
    pub(super) fn withdraw_all(&self, of: Option<&Arc<dyn Receiver>>, error: &TaskError) {
        let told = self.state().withdraw_all(of, &self.board);
        for (receiver, chunk, items) in told {
            receiver.fail(chunk, items, error.clone());
        }
        self.nudge();
        self.close_if_done();
    }

    /// Takes no more tasks.
    pub(crate) fn close(&self) {
        {
            let mut state = self.state();
            if matches!(state.stage, Stage::Open) {
                state.stage = Stage::Closed;
            }
        }
        self.close_if_done();
    }

    /// Takes no more tasks and cancels those that no worker has begun.
    pub(crate) fn close_and_cancel(&self) {
        self.close();
        self.withdraw_all(None, &TaskError::Cancelled);
    }

    /// Closes the ring if everything is done: the workers end.
    fn close_if_done(&self) {
        let mut state = self.state();
        self.close_ring_if_done(&mut state);
    }

    pub(super) fn close_ring_if_done(&self, state: &mut State) {
        if state.is_done() && !state.is_drained {
            state.is_drained = true;
            self.tasks.shutdown();
            // Those who rest are to see it, too.
            self.board.need(self.policy.workers);
            self.ring();
        }
    }

    /// Fails everything with `error` and ends the workers.
    pub(crate) fn end(&self, error: &TaskError) {
        let loads = {
            let mut state = self.state();
            let loads = state.end(error);
            self.close_ring_if_done(&mut state);
            loads
        };
        self.ring();
        self.changed.notify_all();
        for load in loads {
            load.fail(error.clone());
        }
        self.nudge();
    }

    /// Fails everything with `error` and kills the workers.
    pub(crate) fn kill(&self, error: &TaskError) {
        self.state().kills = true;
        self.end(error);
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state().stage, Stage::Open)
    }

    /// Waits until all workers have ended.
    pub(crate) fn join(&self) {
        let mut state = self.state();
        state.waiting += 1;
        while !self.is_over() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    /// All workers have ended and none will come: whoever waits for anything is told.
    pub(super) fn set_over(&self) {
        {
            // Whoever joins looks under the lock.
            let _state = self.state();
            // SYNC: Release -> `is_over`'s Acquire: what became of the workers. The nudge is for who has looked before.
            self.is_over.store(true, Ordering::Release);
        }
        self.notify();
        self.nudge();
        self.chair.call();
    }

    pub(super) fn is_over(&self) -> bool {
        // SYNC: Acquire <- `set_over`'s Release: what became of the workers.
        self.is_over.load(Ordering::Acquire)
    }

    /// Numbers of the processes that live.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.state().seats.iter().map(|seat| seat.pid).filter(|pid| *pid != 0).collect()
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.policy.workers as usize
    }

    /// Wakes the supervisor.
    pub(super) fn ring(&self) {
        // It fails only if the bell rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Puts a message of the pool itself in the result ring.
    pub(super) fn say(&self, head: ResultHead) {
        let put = self.results.put_payload(Wait::Until(None), &head.with_text(""));
        if let Err(error) = put
            && error != RingError::Closed
        {
            self.end(&TaskError::NoWorkers(error.to_string()));
        }
    }

    /// Tells those who wait for room, or for the end.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread takes in results until `done`, or until the deadline; `false` if somebody else does. Says, too,
    /// whether there were tasks left without a result.
    fn read_until(
        &self,
        done: &dyn Fn() -> bool,
        deadline: Option<Deadline>,
        refused: Refused,
    ) -> (bool, bool) {
        let mut has_more = false;
        let was_seated = self.chair.read_until(
            refused,
            || done() || deadline.is_some_and(Deadline::has_passed) || self.is_over(),
            |seat| {
                // Relaxed: a hint, which only who sits changes.
                self.helped.store(self.helped.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
                self.board.set_caller(sched_getcpu());
                let received = self.receive(seat, Wait::Until(deadline));
                // Its own task, for one, if the time is over.
                has_more = received.as_ref().map_or(true, |received| received.has_more);
                match received {
                    Ok(received) => received.seat.map_or(Read::Left, Read::Seated),
                    Err(_) => Read::End,
                }
            },
        );
        if !was_seated {
            self.is_wanted.store(true, Ordering::Relaxed); // Relaxed: a hint.
        }
        (was_seated, has_more)
    }
}

impl Driver for Engine {
    fn nudge(&self) {
        let head = ResultHead { id: 0, kind: NUDGE, seat: 0 };
        // Of a ring that does not work, nobody expects results.
        let _ = self.results.put_payload(Wait::Until(None), &head.with_text(""));
    }

    fn is_begun(&self, ticket: u64) -> bool {
        let id = self.state().id_of_ticket(ticket);
        id.is_some_and(|id| self.board.claims().begun_by(id).is_some())
    }

    fn withdraw(&self, ticket: u64) -> bool {
        let withdrawn = self.state().withdraw(ticket, &self.board);
        if withdrawn {
            self.close_if_done();
        }
        withdrawn
    }

    fn help(&self, done: &dyn Fn() -> bool, deadline: Option<Deadline>) -> bool {
        let (was_seated, has_more) = self.read_until(done, deadline, Refused::Waits);
        if was_seated && has_more {
            // Others may wait for what is still to come, without a thread of theirs.
            self.chair.call();
        }
        was_seated
    }

    fn let_go(&self, threads: u32) {
        self.chair.stand_up(threads);
    }
}
