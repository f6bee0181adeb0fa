//! One put or get in one situation of a queue, killed at each instruction.

use crate::crowd::{Crowd, Role};
use crate::fifo::{Fifo, Size};
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

const SIZE: Size = Size { max_items: 4, ring_bytes: 512, item_bytes: 8 };

/// Turns of a spin in which the victim is killed, at its beginning and at its end.
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
pub(crate) struct Case<Q> {
    pub(crate) act: Act,
    /// Whether the act comes to nothing: the queue is full, or empty.
    pub(crate) in_vain: bool,
    pub(crate) size: Size,
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
    pub(crate) spare: Q,
}

impl<Q: Fifo> Case<Q> {
    pub(crate) fn new(act: Act) -> Result<Case<Q>, String> {
        let spare = Q::new(SIZE)?;
        // This process's first use of a lock starts a thread; a victim's must not.
        spare.rehearse();
        Ok(Case {
            act,
            in_vain: false,
            size: SIZE,
            full_at: 4,
            before: (2, 0),
            asleep: (Role::Consumer, 0),
            behind: (0, 0),
            first_use: false,
            spare,
        })
    }

    /// Kills at each instruction, and demands that each class of `notes` occurs.
    pub(crate) fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }

    fn puts(&self) -> bool {
        matches!(self.act, Act::Put | Act::TryPut)
    }

    fn add_behind(&self, crowd: &mut Crowd<Q>) -> Result<(), String> {
        let (producers, consumers) = self.behind;
        if crowd.all_waiting() == 0 {
            crowd.add(Role::Producer, producers)?;
            crowd.add(Role::Consumer, consumers)?;
        }
        Ok(())
    }
}

impl<Q: Fifo> Operation for Case<Q> {
    type State = Crowd<Q>;

    fn prepare(&self) -> Result<Crowd<Q>, String> {
        multiproc::testing::set_sleep_slice(None);
        let mut crowd = Crowd::new(Q::new(self.size)?, self.full_at);
        let (put, got) = self.before;
        let window = u64::try_from(self.full_at).unwrap_or(u64::MAX);
        for number in 0..put {
            if number >= window && crowd.got.len() < usize::try_from(got).unwrap_or(0) {
                crowd.get_one()?;
            }
            crowd.queue.try_put(number).map_err(|why| format!("item {number}: {why:?}"))?;
            crowd.put.push(number);
        }
        while crowd.got.len() < usize::try_from(got).unwrap_or(0) {
            crowd.get_one()?;
        }
        Ok(crowd)
    }

    fn enter(&self, _: &Crowd<Q>) {
        if !self.first_use {
            self.spare.rehearse();
        }
    }

    fn entered(&self, crowd: &mut Crowd<Q>) -> Result<(), String> {
        let (role, count) = self.asleep;
        crowd.add(role, count)?;
        if crowd.waiting(role) == count { Ok(()) } else { Err("a survivor does not sleep".to_owned()) }
    }

    fn run(&self, crowd: &Crowd<Q>) {
        let queue = &crowd.queue;
        let _ = match self.act {
            Act::Put => queue.victims_put(VICTIMS_ITEM),
            Act::TryPut => queue.try_put(VICTIMS_ITEM),
            Act::Get => queue.victims_get().map(drop),
            Act::TryGet => queue.try_get().map(drop),
        };
    }

    fn turns(&self) -> usize {
        TURNS
    }

    fn asleep(&self, crowd: &mut Crowd<Q>, nth: usize) -> Result<Sleep, String> {
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

    fn doomed(&self, crowd: &mut Crowd<Q>, _: &Kill) -> Result<(), String> {
        self.add_behind(crowd)
    }

    fn verify(&self, mut crowd: Crowd<Q>, kill: &Kill) -> Result<&'static str, String> {
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

impl<Q: Fifo> Case<Q> {
    /// Whether the victim has put or got its item, from the numbers of items.
    fn done(&self, crowd: &Crowd<Q>) -> Result<bool, String> {
        let (len, put, got) = (crowd.queue.len(), crowd.put.len(), crowd.got.len());
        let difference = if self.puts() { (len + got).checked_sub(put) } else { put.checked_sub(len + got) };
        match difference {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(format!("len is {len} after {put} puts and {got} gets of the others")),
        }
    }
}
