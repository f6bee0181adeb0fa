//! Loom models of [`RawBarrier`].
#![allow(unsafe_code, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{BarrierError, RawBarrier};
use crate::sys::model::futex::end_slices;
use crate::sys::model::{Life, Outcome, Sabotage, every_death_with};

/// A barrier for two, what each of them wrote before it, and what the action wrote.
struct Shared {
    barrier: RawBarrier<2>,
    before: [UnsafeCell<u32>; 2],
    acted: UnsafeCell<u32>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            barrier: RawBarrier::new(2),
            before: [UnsafeCell::new(0), UnsafeCell::new(0)],
            acted: UnsafeCell::new(0),
        })
    }

    /// Passes the barrier as its party 0 or 1.
    fn pass(&self, party: usize) -> Result<u32, BarrierError> {
        if let Some(before) = self.before.get(party) {
            // SAFETY, here and below: the barrier orders the accesses; loom checks that it does.
            before.with_mut(|before| unsafe { *before = 1 });
        }
        let action = || {
            let both: u32 = self.before.iter().map(|before| before.with(|before| unsafe { *before })).sum();
            self.acted.with_mut(|acted| unsafe { *acted = both });
        };
        // SAFETY: a model keeps its memory until all threads have ended.
        let index = unsafe { self.barrier.wait(None, action) }?;
        assert_eq!(self.acted.with(|acted| unsafe { *acted }), 2);
        Ok(index)
    }
}

/// Two parties, one of them mortal. If it died before it arrived, somebody comes in its place; if after, then the other
/// passes or is told that the barrier is broken, and no one does anything about it.
fn the_other_party_ends(step: usize, notice: fn(&RawBarrier<2>)) {
    let shared = Shared::new();
    let mortal = {
        let shared = shared.clone();
        thread::spawn(move || {
            let outcome = Life { tid: 1, dies_after: Some(step) }.run(|| shared.pass(0));
            let replaced = Life::long(3).run(|| {
                let (arrived, moved) =
                    (shared.barrier.table().has_dead(0), shared.barrier.table().cycle_has_moved());
                if arrived && !moved {
                    notice(&shared.barrier);
                }
                let came = arrived || moved || outcome != Outcome::Died;
                (!came).then(|| shared.pass(0))
            });
            (outcome, replaced)
        })
    };
    let Outcome::Lived(other) = Life::long(2).run(|| shared.pass(1)) else { unreachable!() };
    match mortal.join().unwrap() {
        (Outcome::Lived(mine), _) | (_, Outcome::Lived(Some(mine))) => {
            assert_eq!(mine.is_ok(), other.is_ok());
            assert_ne!(mine.unwrap_or(7), other.unwrap_or(8), "one place in the order for each");
        }
        _ => {}
    }
}

#[test]
fn the_other_party_ends_wherever_one_dies() {
    every_death_with(Sabotage::None, |step| the_other_party_ends(step, |_| end_slices()));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_slices_a_dead_arrival_is_waited_for() {
    every_death_with(Sabotage::NoSlice, |step| the_other_party_ends(step, |_| end_slices()));
}

/// The same with a look-out in place of the slices, so that they hide nothing else.
#[test]
fn a_cycle_is_never_completed_without_a_wake() {
    every_death_with(Sabotage::None, |step| the_other_party_ends(step, RawBarrier::abort));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_completion_and_wake_apart_lose_a_waiter() {
    every_death_with(Sabotage::SplitWakeOp, |step| the_other_party_ends(step, RawBarrier::abort));
}

/// What was written before each arrival is seen by the action, and what the action wrote by who leaves.
fn a_cycle_orders(sabotage: Sabotage) {
    every_death_with(sabotage, |_| {
        let shared = Shared::new();
        let other = {
            let shared = shared.clone();
            thread::spawn(move || Life::long(1).run(|| shared.pass(0)))
        };
        let mine = Life::long(2).run(|| shared.pass(1));
        let mut indices = [mine, other.join().unwrap()];
        indices.sort_by_key(|index| *index == Outcome::Lived(Ok(1)));
        assert_eq!(indices, [Outcome::Lived(Ok(0)), Outcome::Lived(Ok(1))]);
    });
}

#[test]
fn what_was_written_before_a_barrier_is_seen_after_it() {
    a_cycle_orders(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_arrival_without_release_is_not_counted() {
    a_cycle_orders(Sabotage::NoRelease);
}

#[test]
fn a_reset_tells_the_waiter_and_never_hangs_it() {
    every_death_with(Sabotage::None, |step| {
        let barrier = Arc::new(RawBarrier::<2>::new(2));
        let resetter = {
            let barrier = barrier.clone();
            thread::spawn(move || {
                // SAFETY: a model keeps its memory until all threads have ended.
                let reset = || unsafe { barrier.reset() }.unwrap();
                let _ = Life { tid: 1, dies_after: Some(step) }.run(reset);
                let _ = Life::long(3).run(|| barrier.abort());
            })
        };
        // SAFETY: as above.
        let waited = Life::long(2).run(|| unsafe { barrier.wait(None, || ()) });
        assert_eq!(waited, Outcome::Lived(Err(BarrierError::Broken)));
        resetter.join().unwrap();
    });
}
