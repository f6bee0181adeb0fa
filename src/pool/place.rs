//! [`Place`]: where a worker runs that has nothing to do.
//!
//! A caller and its worker that share a processor go on by turns: a call that takes half a microsecond takes ten. The kernel
//! may leave them so for ten milliseconds and more beside a processor that is idle, for both always run; and where both
//! processors have been busy, as they are while a caller and its worker wait for each other awake, it does not look for an idle
//! one even for one that it wakes. So the worker moves itself, if it is the only one that looks for tasks: of several, two
//! would meet elsewhere.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The most times that a worker finds the caller beside it between two moves.
const RAREST: u32 = 4096;

/// How often a worker has moved in vain.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// So often it stays where it is.
    stays: u32,
    /// How often it will after the next move.
    next: u32,
}

impl Place {
    /// Whether the calling thread is on the `caller`'s processor. It tries to go to another one first if it `may_move`.
    pub(super) fn is_shared(&mut self, caller: Option<usize>, may_move: bool) -> bool {
        let is_shared = || caller == Some(sched_getcpu());
        if !is_shared() {
            *self = Self::default();
            return false;
        }
        if !may_move {
            return true;
        }
        if self.stays > 0 {
            self.stays -= 1;
            return true;
        }
        self.stays = self.next;
        self.next = (2 * self.next).clamp(1, RAREST);
        leave(sched_getcpu());
        is_shared()
    }
}

/// Has the calling thread run on another processor, if it may, for now: the kernel may move it again.
fn leave(processor: usize) {
    // It fails where there are more processors than a set has room for.
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut others = allowed;
    if processor < CpuSet::MAX_CPU {
        others.unset(processor);
    }
    if others.count() > 0 && sched_setaffinity(None, &others).is_ok() {
        // Unless somebody else has changed it meanwhile.
        if sched_getaffinity(None) == Ok(others) {
            let _ = sched_setaffinity(None, &allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_moves_and_may_run_where_it_might_before() {
        let allowed = sched_getaffinity(None).unwrap();
        let mut place = Place::default();
        assert!(!place.is_shared(None, true));
        for may_move in [true, false].repeat(10) {
            place.is_shared(Some(sched_getcpu()), may_move);
            assert_eq!(sched_getaffinity(None), Ok(allowed));
        }
    }

    #[test]
    fn where_there_is_one_processor_a_thread_stays_and_seldom_tries() {
        std::thread::spawn(|| {
            let mut one = CpuSet::new();
            one.set(sched_getcpu());
            sched_setaffinity(None, &one).unwrap();
            let mut place = Place::default();
            for _ in 0..20 {
                assert!(place.is_shared(Some(sched_getcpu()), true));
            }
            // After 0, 1, 2, 4 and 8 times more.
            assert_eq!(place.next, 16);
            assert_eq!(sched_getaffinity(None), Ok(one));
        })
        .join()
        .unwrap();
    }
}
