//! [`State`]: what a pool knows of its tasks and workers, under one lock.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::Instant;

use super::board::Board;
use super::load::{Beside, Load, Receiver};
use super::message::TASK_HEAD;
use crate::Queue;
use crate::raw::claims::{entry_of, id_of};
use crate::raw::{RingError, Wait};
use crate::task::TaskError;

/// Buffers of messages that are kept for later ones.
const SPARES: usize = 64;
/// A buffer of more bytes is not kept.
const SPARE_BYTES: usize = 4 << 10;

/// See the heading of the module.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    Open,
    Closed,
    Ended(TaskError),
}

/// What a pool knows of its tasks and workers.
pub(super) struct State {
    pub(super) stage: Stage,
    entries: Vec<Entry>,
    free: Vec<u32>,
    pub(super) backlog: VecDeque<Load>,
    tickets: u64,
    pub(super) seats: Vec<Seat>,
    /// Whether the task ring is closed.
    pub(super) is_drained: bool,
    /// Whether all workers have ended and none will come.
    pub(super) is_over: bool,
    /// Workers in a row that ended before they were ready.
    pub(super) stillborn: u32,
    /// Whether workers are to be killed, and not asked to end.
    pub(super) kills: bool,
    /// Why no more workers are started: everything is to end.
    pub(super) hopeless: Option<TaskError>,
    spares: Vec<Vec<u8>>,
    /// Threads that wait for room in the ring, or for the end.
    pub(super) waiting: usize,
}

struct Entry {
    generation: u32,
    load: Option<Load>,
}

/// Room for one worker.
pub(super) struct Seat {
    /// The number of its process; 0 for none.
    pub(super) pid: u32,
    /// How it ended, from when that is seen until its results are in.
    pub(super) ended: Option<TaskError>,
    /// When the next one may be started.
    pub(super) not_before: Option<Instant>,
    /// A task that took too long.
    pub(super) overdue: Option<u64>,
}

impl State {
    pub(super) fn new(entries: u32, seats: usize) -> Self {
        let seat = || Seat { pid: 0, ended: None, not_before: None, overdue: None };
        Self {
            stage: Stage::Open,
            entries: (0..entries).map(|_| Entry { generation: 0, load: None }).collect(),
            free: (0..entries).rev().collect(),
            backlog: VecDeque::new(),
            tickets: 0,
            seats: (0..seats).map(|_| seat()).collect(),
            is_drained: false,
            is_over: false,
            stillborn: 0,
            kills: false,
            hopeless: None,
            spares: Vec::new(),
            waiting: 0,
        }
    }

    /// Why tasks are not taken.
    pub(super) fn refusal(&self) -> Option<TaskError> {
        match &self.stage {
            Stage::Open => None,
            Stage::Closed | Stage::Ended(TaskError::Terminated) => Some(TaskError::PoolClosed),
            Stage::Ended(error) => Some(error.clone()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Tasks in the ring and in workers' hands.
    pub(super) fn offered(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether it pays to go on handing over tasks.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.free.len() >= self.entries.len() / 4
    }

    /// Whether there is nothing to do and nothing will come.
    pub(super) fn is_done(&self) -> bool {
        !matches!(self.stage, Stage::Open) && self.offered() == 0 && self.backlog.is_empty()
    }

    /// A ticket for a new task.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// A buffer for a message.
    pub(super) fn spare(&mut self) -> Option<Vec<u8>> {
        self.spares.pop()
    }

    /// Buffers for messages, all that there are.
    pub(super) fn take_spares(&mut self, spares: &mut Vec<Vec<u8>>) {
        spares.append(&mut self.spares);
    }

    /// Puts a task in the ring; gives it back if there is no room.
    pub(super) fn offer(
        &mut self,
        mut load: Load,
        tasks: &Queue<Vec<u8>>,
        board: &Board,
    ) -> Result<(), Load> {
        let Some(&index) = self.free.last() else { return Err(load) };
        let Some(entry) = self.entries.get_mut(index as usize) else { return Err(load) };
        let generation = entry.generation.wrapping_add(1);
        let id = id_of(index, generation);
        if let Some(place) = load.message.first_chunk_mut::<8>() {
            *place = id.to_ne_bytes();
        }
        // One that takes it at once finds the claim.
        entry.generation = generation;
        board.claims().offer(id);
        // With the arguments beside, the ring gets the head only.
        let length = if load.beside.is_some() { TASK_HEAD } else { load.message.len() };
        let put = tasks.put_payload(Wait::Never, load.message.get(..length).unwrap_or_default());
        match put {
            Ok(()) => {}
            // As long as it holds, whoever comes later tries again: results are to come.
            Err(RingError::WouldBlock | RingError::Busy) => return Err(load),
            Err(error) => {
                load.fail(TaskError::NoWorkers(error.to_string()));
                return Ok(());
            }
        }
        if load.retries == 0 {
            let mut message = take(&mut load.message);
            if self.spares.len() < SPARES && message.capacity() <= SPARE_BYTES {
                message.clear();
                self.spares.push(message);
            }
        }
        self.free.pop();
        entry.load = Some(load);
        Ok(())
    }

    /// Has as many workers look for tasks as there are tasks, or all, if one of them may not be there.
    pub(super) fn call_workers(&self, board: &Board) {
        let workers = self.seats.len() as u32;
        let all_ready = (0..workers).all(|seat| board.is_ready(seat));
        let offered = u32::try_from(self.offered()).unwrap_or(u32::MAX);
        board.need(if all_ready { workers.min(offered) } else { workers });
    }

    /// Puts as much of the backlog in the ring as there is room for.
    pub(super) fn pump(&mut self, tasks: &Queue<Vec<u8>>, board: &Board) {
        if self.backlog.is_empty() {
            return;
        }
        while let Some(load) = self.backlog.pop_front() {
            if load.is_withdrawn {
                continue;
            }
            if let Err(load) = self.offer(load, tasks, board) {
                self.backlog.push_front(load);
                break;
            }
        }
        self.call_workers(board);
    }

    /// The entry is free again: the load that was in it.
    pub(super) fn release(&mut self, id: u64) -> Option<Load> {
        let (index, generation) = entry_of(id);
        let entry = self.entries.get_mut(index as usize).filter(|entry| entry.generation == generation)?;
        let load = entry.load.take()?;
        self.free.push(index);
        Some(load)
    }

    /// What goes by the wire of a task in a worker's hands.
    pub(super) fn beside(&self, id: u64) -> Option<Arc<Beside>> {
        let (index, generation) = entry_of(id);
        let entry = self.entries.get(index as usize).filter(|entry| entry.generation == generation)?;
        entry.load.as_ref()?.beside.clone()
    }

    /// The ids and loads of the tasks in the ring and in workers' hands.
    fn offers(&mut self) -> impl Iterator<Item = (u64, &mut Load)> {
        let numbered = (0..).zip(&mut self.entries);
        numbered.filter_map(|(index, entry)| {
            let id = id_of(index, entry.generation);
            entry.load.as_mut().map(|load| (id, load))
        })
    }

    /// The id of a task in the ring or in a worker's hands.
    pub(super) fn id_of_ticket(&mut self, ticket: u64) -> Option<u64> {
        self.offers().find(|(_, load)| load.ticket == ticket).map(|(id, _)| id)
    }

    /// Takes back a task that no worker has begun; whether it did.
    pub(super) fn withdraw(&mut self, ticket: u64, board: &Board) -> bool {
        // Tickets ascend in the backlog; what was given again is at its front.
        let found = self.backlog.binary_search_by_key(&ticket, |load| load.ticket);
        let index =
            found.ok().or_else(|| self.backlog.iter().take(SPARES).position(|load| load.ticket == ticket));
        if let Some(load) = index.and_then(|index| self.backlog.get_mut(index)) {
            load.is_withdrawn = true;
            load.message = Vec::new();
            return true;
        }
        let Some((id, load)) = self.offers().find(|(_, load)| load.ticket == ticket) else { return false };
        let withdrawn = board.claims().withdraw(id);
        load.is_withdrawn |= withdrawn;
        withdrawn
    }

    /// Takes back all tasks of one receiver, or of all, that no worker has begun: whom to tell.
    pub(super) fn withdraw_all(
        &mut self,
        of: Option<&Arc<dyn Receiver>>,
        board: &Board,
    ) -> Vec<(Arc<dyn Receiver>, u64, usize)> {
        let concerned = |load: &Load| {
            !load.is_withdrawn
                && of.is_none_or(|of| std::ptr::addr_eq(Arc::as_ptr(of), Arc::as_ptr(&load.receiver)))
        };
        let mut told = Vec::new();
        let mut tell = |load: &mut Load| {
            load.is_withdrawn = true;
            told.push((Arc::clone(&load.receiver), load.chunk, load.items as usize));
        };
        for (id, load) in self.offers() {
            if concerned(load) && board.claims().withdraw(id) {
                tell(load);
            }
        }
        self.backlog.iter_mut().filter(|load| concerned(load)).for_each(&mut tell);
        self.backlog.retain(|load| !load.is_withdrawn);
        told
    }

    /// The end: all that is to be failed.
    pub(super) fn end(&mut self, error: &TaskError) -> Vec<Load> {
        if self.has_ended() {
            return Vec::new();
        }
        self.stage = Stage::Ended(error.clone());
        let mut loads: Vec<_> = self.entries.iter_mut().filter_map(|entry| entry.load.take()).collect();
        self.free = (0..self.entries.len() as u32).collect();
        loads.extend(take(&mut self.backlog));
        loads
    }
}
