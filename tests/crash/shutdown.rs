//! Shutting a queue down, killed at each instruction: whoever waits is turned away in the end, and no item is lost.

use crate::crowd::{Crowd, Role};
use crate::fifo::{Fifo, Refusal, Size};
use crate::scenario::Report;
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::BOUND;

/// The queue works on.
const OPEN: &str = "nothing shut down";
/// It has begun, and those who wait learn of it from the next who uses the queue.
const BEGUN: &str = "the shutdown completed by the next user";
/// Everybody has been turned away with nobody's help.
const COMPLETE: &str = "the shutdown complete";

const SIZE: Size = Size { max_items: 4, ring_bytes: 512, item_bytes: 8 };

/// A shutdown with survivors asleep at one end.
pub(crate) struct Case<Q> {
    /// Consumers of an empty queue, or producers of a full one.
    role: Role,
    sleepers: usize,
    spare: Q,
}

impl<Q: Fifo> Case<Q> {
    pub(crate) fn new(role: Role, sleepers: usize) -> Result<Case<Q>, String> {
        let spare = Q::new(SIZE)?;
        spare.rehearse();
        Ok(Case { role, sleepers, spare })
    }

    /// Kills at each instruction, and demands that each class occurs.
    pub(crate) fn test(&self) -> Result<Report, String> {
        // Producers that are woken want the lease which the victim is about to release: that takes it now this path and
        // now that.
        let mode = if self.role == Role::Producer { Mode::Step } else { Mode::Replay };
        kill_at_every_instruction(self, mode)?.demand(&[OPEN, BEGUN, COMPLETE])
    }
}

impl<Q: Fifo> Operation for Case<Q> {
    type State = Crowd<Q>;

    fn prepare(&self) -> Result<Crowd<Q>, String> {
        multiproc::testing::set_sleep_slice(None);
        let mut crowd = Crowd::new(Q::new(SIZE)?, SIZE.max_items);
        if self.role == Role::Producer {
            for _ in 0..SIZE.max_items {
                crowd.put_one()?;
            }
        }
        Ok(crowd)
    }

    fn enter(&self, _: &Crowd<Q>) {
        self.spare.rehearse();
    }

    fn entered(&self, crowd: &mut Crowd<Q>) -> Result<(), String> {
        crowd.add(self.role, self.sleepers)?;
        if crowd.all_waiting() == self.sleepers {
            Ok(())
        } else {
            Err("a survivor does not sleep".to_owned())
        }
    }

    fn run(&self, crowd: &Crowd<Q>) {
        crowd.queue.shutdown();
    }

    fn verify(&self, mut crowd: Crowd<Q>, kill: &Kill) -> Result<&'static str, String> {
        crowd.come_to_rest()?;
        let class = match (crowd.turned_away == self.sleepers, crowd.is_shut_down()?) {
            (true, _) if self.sleepers > 0 => COMPLETE,
            (_, true) if kill.is_after_the_end() => COMPLETE,
            (_, true) => BEGUN,
            (_, false) => OPEN,
        };
        if class == OPEN {
            if kill.is_after_the_end() {
                return Err("the shutdown was over, but the queue is open".to_owned());
            }
            crowd.come_to_rest()?;
            crowd.release_all()?;
            return crowd.drain().map(|()| OPEN);
        }
        crowd.finish()?;
        // What was committed can still be got; then, and for every put, there is nothing more.
        while crowd.queue.len() > 0 {
            crowd.get_one()?;
        }
        if crowd.turned_away != self.sleepers || !crowd.missing()?.is_empty() {
            return Err(format!("{} turned away, {:?} lost", crowd.turned_away, crowd.missing()));
        }
        match (crowd.queue.get(Some(BOUND)), crowd.queue.put(1, Some(BOUND)), crowd.queue.try_get()) {
            (Err(Refusal::Shutdown), Err(Refusal::Shutdown), Err(Refusal::Shutdown)) => Ok(class),
            wrong => Err(format!("after the shutdown: {wrong:?}")),
        }
    }
}
