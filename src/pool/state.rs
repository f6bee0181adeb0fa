//! [`State`]: what a pool knows of its tasks and workers, under one lock.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::Instant;

use super::board::Board;
use super::load::{Beside, Load, Receiver};
use crate::Queue;
use crate::raw::claims::{entry_of, id_of};
use crate::raw::{RingError, Wait};
use crate::task::TaskError;

/// Tasks put in the ring at a time.
const BATCH: usize = 64;
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
    /// Workers in a row that ended before they were ready.
    pub(super) stillborn: u32,
    /// Whether workers are to be killed, and not asked to end.
    pub(super) kills: bool,
    /// Why no more workers are started: everything is to end.
    pub(super) hopeless: Option<TaskError>,
    spares: Vec<Vec<u8>>,
    /// Threads that wait for room in the ring, or for the end.
    pub(super) waiting: usize,
    /// Whether all workers were seen ready, and none has ended since.
    pub(super) is_staffed: bool,
}

struct Entry {
    generation: u32,
    load: Option<Load>,
}

impl Entry {
    /// The name that a task has in this entry, number `index`. Whoever takes the task at once finds the claim.
    #[inline]
    fn offer(&mut self, index: u32, board: &Board) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let id = id_of(index, self.generation);
        board.claims().offer(id);
        id
    }
}

/// Tells tasks which of the free entries they will have, as many as there are: how many.
fn offer_all<'l>(
    loads: impl Iterator<Item = &'l mut Load>,
    entries: &mut [Entry],
    free: &[u32],
    board: &Board,
) -> usize {
    let mut count = 0;
    for (load, &index) in loads.zip(free.iter().rev()) {
        let Some(entry) = entries.get_mut(index as usize) else { break };
        load.set_id(entry.offer(index, board));
        count += 1;
    }
    count
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
            stillborn: 0,
            kills: false,
            hopeless: None,
            spares: Vec::new(),
            waiting: 0,
            is_staffed: false,
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

    /// Gives a new task its ticket.
    pub(super) fn name(&mut self, load: &mut Load) {
        self.tickets += 1;
        load.set_ticket(self.tickets);
    }

    fn named(&mut self, mut load: Load) -> Load {
        self.name(&mut load);
        load
    }

    /// A buffer for a message, if there is one.
    pub(super) fn spare(&mut self) -> Option<Vec<u8>> {
        self.spares.pop()
    }

    /// Buffers for messages, all that there are.
    pub(super) fn take_spares(&mut self, spares: &mut Vec<Vec<u8>>) {
        spares.append(&mut self.spares);
    }

    /// Gives a new task its ticket and puts it in the ring; gives it back if there is no room.
    pub(super) fn offer(&mut self, load: Load, tasks: &Queue<Vec<u8>>, board: &Board) -> Result<(), Load> {
        let Some(&index) = self.free.last() else { return Err(self.named(load)) };
        let Some(entry) = self.entries.get_mut(index as usize) else { return Err(self.named(load)) };
        let id = entry.offer(index, board);
        self.tickets += 1;
        // Changed in its place: a load that is moved is read in other pieces than it was written in, which takes its time.
        let load = entry.load.insert(load);
        load.set_ticket(self.tickets);
        load.set_id(id);
        match tasks.put_payload(Wait::Never, load.in_ring()) {
            Ok(()) => {
                self.free.pop();
                if let Some(message) = load.spare() {
                    self.keep(message);
                }
            }
            // As long as it holds, whoever comes later tries again: results are to come.
            Err(RingError::WouldBlock | RingError::Busy) => return entry.load.take().map_or(Ok(()), Err),
            Err(error) => {
                if let Some(load) = entry.load.take() {
                    load.fail(TaskError::NoWorkers(error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// A task is in the ring: it has the next free entry.
    fn enter(&mut self, mut load: Load) {
        if let Some(message) = load.spare() {
            self.keep(message);
        }
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            entry.load = Some(load);
        }
    }

    fn keep(&mut self, message: Vec<u8>) {
        if self.spares.len() < SPARES && message.capacity() <= SPARE_BYTES {
            self.spares.push(message);
        }
    }

    /// Tells tasks at the front of the backlog which entries they will have, as many as there may be at once: how many.
    fn offer_next(&mut self, board: &Board) -> usize {
        while self.backlog.front().is_some_and(|load| load.is_withdrawn) {
            self.backlog.pop_front();
        }
        let next = self.backlog.iter_mut().take(BATCH).take_while(|load| !load.is_withdrawn);
        offer_all(next, &mut self.entries, &self.free, board)
    }

    /// Gives new tasks their tickets, and puts them in the ring, or behind the backlog.
    pub(super) fn submit_all(&mut self, loads: &mut Vec<Load>, tasks: &Queue<Vec<u8>>, board: &Board) {
        loads.iter_mut().for_each(|load| self.name(load));
        if self.backlog.is_empty() {
            let count = offer_all(loads.iter_mut().take(BATCH), &mut self.entries, &self.free, board);
            let message = |index| loads.get(index).map_or(&[][..], Load::in_ring);
            // What goes wrong goes wrong again with the backlog.
            let put = tasks.put_payloads(Wait::Never, count, message).unwrap_or(0);
            loads.drain(..put).for_each(|load| self.enter(load));
        }
        if loads.is_empty() {
            self.call_workers(board);
            return;
        }
        self.backlog.extend(loads.drain(..));
        self.pump(tasks, board);
    }

    /// Has as many workers look for tasks as there are tasks, or all, if one of them may not be there.
    pub(super) fn call_workers(&mut self, board: &Board) {
        let workers = self.seats.len() as u32;
        self.is_staffed = self.is_staffed || (0..workers).all(|seat| board.is_ready(seat));
        let offered = u32::try_from(self.offered()).unwrap_or(u32::MAX);
        board.need(if self.is_staffed { workers.min(offered) } else { workers });
    }

    /// Puts as much of the backlog in the ring as there is room for.
    pub(super) fn pump(&mut self, tasks: &Queue<Vec<u8>>, board: &Board) {
        if self.backlog.is_empty() {
            return;
        }
        loop {
            let count = self.offer_next(board);
            let message = |index| self.backlog.get(index).map_or(&[][..], Load::in_ring);
            match tasks.put_payloads(Wait::Never, count, message) {
                Ok(0) | Err(RingError::WouldBlock | RingError::Busy) => break,
                Ok(put) => {
                    for _ in 0..put {
                        if let Some(load) = self.backlog.pop_front() {
                            self.enter(load);
                        }
                    }
                    if put < count {
                        break;
                    }
                }
                Err(error) => {
                    if let Some(load) = self.backlog.pop_front() {
                        load.fail(TaskError::NoWorkers(error.to_string()));
                    }
                }
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
