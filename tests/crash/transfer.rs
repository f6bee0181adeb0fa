//! One put or get in one situation of a queue, killed at each instruction.

use std::cell::Cell;

use multiproc::{Queue, QueueOptions};

use crate::crowd::{Crowd, Item, Role};
use crate::scenario::Report;
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};

/// The victim's item is in the queue.
pub(crate) const COMMITTED: &str = "the item committed";
/// It is not.
pub(crate) const NOT_COMMITTED: &str = "the item not committed";
/// The victim's item is no longer in the queue.
pub(crate) const FREED: &str = "the item freed";
/// It is still there.
pub(crate) const LEFT: &str = "the item left";

/// The victim's item.
const VICTIMS_ITEM: u64 = 100;

/// Turns of a spin that count, at its beginning and at its end.
const TURNS: usize = 1;

/// What the victim does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Put,
    TryPut,
    Get,
    TryGet,
}

/// An operation in a situation.
pub(crate) struct Case<T> {
    pub(crate) act: Act,
    /// Whether the act comes to nothing: the queue is full, or empty.
    pub(crate) in_vain: bool,
    /// How many items the queue takes.
    pub(crate) max_items: usize,
    pub(crate) ring_bytes: usize,
    /// From how many items on a producer may sleep.
    pub(crate) full_at: usize,
    /// How many items were put before, and how many of those were got.
    pub(crate) before: (u64, u64),
    /// Asleep before the victim comes.
    pub(crate) asleep: (Role, usize),
    /// Who come when the victim sleeps, or else stands where it will die: producers and consumers.
    pub(crate) behind: (usize, usize),
    /// Whether it is the first use of any queue in the victim's process.
    pub(crate) first_use: bool,
    /// For a process to use once before it is traced.
    pub(crate) spare: Queue<T>,
}

impl<T: Item> Case<T> {
    pub(crate) fn new(act: Act) -> Result<Case<T>, String> {
        Ok(Case {
            act,
            in_vain: false,
            max_items: 4,
            ring_bytes: 512,
            full_at: 4,
            before: (2, 0),
            asleep: (Role::Consumer, 0),
            behind: (0, 0),
            first_use: false,
            spare: queue(4, 512)?,
        })
    }

    /// Kills at each instruction, and demands that each class of `notes` occurs.
    pub(crate) fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }

    fn puts(&self) -> bool {
        matches!(self.act, Act::Put | Act::TryPut)
    }

    fn add_behind(&self, crowd: &mut Crowd<T>) -> Result<(), String> {
        let (producers, consumers) = self.behind;
        if crowd.all_waiting() == 0 {
            crowd.add(Role::Producer, producers)?;
            crowd.add(Role::Consumer, consumers)?;
        }
        Ok(())
    }
}

/// A queue with no more memory than it needs.
pub(crate) fn queue<T: Item>(max_items: usize, ring_bytes: usize) -> Result<Queue<T>, String> {
    let options = QueueOptions::new(max_items).max_message(64).ring_bytes(ring_bytes);
    options.queue().map_err(|error| error.to_string())
}

/// Does each operation of a queue, so that later ones allocate what these gave back.
pub(crate) fn rehearse<T: Item>(queue: &Queue<T>) {
    for number in [1, 2] {
        let done = queue.put(T::of(number)).is_ok() && queue.get().is_ok();
        let tried = queue.try_put(T::of(number)).is_ok() && queue.try_get().is_ok();
        assert!(done && tried, "a queue that nobody else uses works");
    }
}

impl<T: Item> Operation for Case<T> {
    /// With the victim's item, made beforehand.
    type State = (Crowd<T>, Cell<Option<T>>);

    fn prepare(&self) -> Result<Self::State, String> {
        multiproc::testing::set_sleep_slice(None);
        let mut crowd = Crowd::new(queue(self.max_items, self.ring_bytes)?, self.full_at);
        let (put, got) = self.before;
        let window = u64::try_from(self.full_at).unwrap_or(u64::MAX);
        for number in 0..put {
            if number >= window && crowd.got.len() < usize::try_from(got).unwrap_or(0) {
                crowd.get_one()?;
            }
            crowd.queue.try_put(T::of(number)).map_err(|error| format!("item {number}: {error}"))?;
            crowd.put.push(number);
        }
        while crowd.got.len() < usize::try_from(got).unwrap_or(0) {
            crowd.get_one()?;
        }
        rehearse(&self.spare);
        Ok((crowd, Cell::new(Some(T::of(VICTIMS_ITEM)))))
    }

    fn enter(&self, _: &Self::State) {
        if !self.first_use {
            rehearse(&self.spare);
        }
    }

    fn entered(&self, (crowd, _): &mut Self::State) -> Result<(), String> {
        let (role, count) = self.asleep;
        crowd.add(role, count)?;
        if crowd.waiting(role) == count { Ok(()) } else { Err("a survivor does not sleep".to_owned()) }
    }

    fn run(&self, (crowd, item): &Self::State) {
        let _ = match (self.act, item.take()) {
            (Act::Put, Some(item)) => crowd.queue.put(item).is_ok(),
            (Act::TryPut, Some(item)) => crowd.queue.try_put(item).is_ok(),
            (Act::TryGet, _) => crowd.queue.try_get().is_ok(),
            _ => crowd.queue.get().is_ok(),
        };
    }

    fn turns(&self) -> usize {
        TURNS
    }

    fn asleep(&self, (crowd, _): &mut Self::State, nth: usize) -> Result<Sleep, String> {
        if nth > 0 {
            return Ok(Sleep::Last);
        }
        self.add_behind(crowd)?;
        if self.puts() {
            crowd.get_one()?;
        } else {
            crowd.put_one()?;
        }
        Ok(Sleep::Woken)
    }

    fn doomed(&self, (crowd, _): &mut Self::State, _: &Kill) -> Result<(), String> {
        self.add_behind(crowd)
    }

    fn verify(&self, (mut crowd, _): Self::State, kill: &Kill) -> Result<&'static str, String> {
        if crowd.all_waiting() == 0 {
            // Nobody runs: what the victim has done is all that can have happened.
            self.done(&crowd)?;
        }
        crowd.come_to_rest()?;
        let done = self.done(&crowd)?;
        if kill.is_after_the_end() && done == self.in_vain {
            return Err(format!("the operation was over, but done is {done}"));
        }
        if done && self.puts() {
            crowd.put.push(VICTIMS_ITEM);
        }
        crowd.release_all()?;
        crowd.drain()?;
        let missing = crowd.missing()?;
        if missing.len() != usize::from(done && !self.puts()) {
            return Err(format!("lost: {missing:?}, with done {done}"));
        }
        Ok(match (self.puts(), done) {
            (true, true) => COMMITTED,
            (true, false) => NOT_COMMITTED,
            (false, true) => FREED,
            (false, false) => LEFT,
        })
    }
}

impl<T: Item> Case<T> {
    /// Whether the victim has put or got its item, from the numbers of items.
    fn done(&self, crowd: &Crowd<T>) -> Result<bool, String> {
        let (len, put, got) = (crowd.queue.len(), crowd.put.len(), crowd.got.len());
        let difference = if self.puts() { (len + got).checked_sub(put) } else { put.checked_sub(len + got) };
        match difference {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(format!("len is {len} after {put} puts and {got} gets of the others")),
        }
    }
}
