//! Loom models of [`RawPermits`]: a thread dies at each step of taking, waiting for and giving back a permit.
//!
//! The death of a holder is noticed when a slice ends: the models end each thread's slice once, after the death, and never
//! before it. So a wake-up that is lost among the living is a deadlock.
#![allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};

use super::lease::OWNER_DIED;
use super::{Lease, RawPermits};
use crate::sys::futex;
use crate::sys::model::{Life, Outcome, Sabotage, deaths_in_part, every_death, every_death_with};

/// For each permit a counter that loom watches for unordered accesses.
struct Guarded<const N: usize> {
    permits: RawPermits<[Lease; N]>,
    counts: [UnsafeCell<u32>; N],
}

impl<const N: usize> Guarded<N> {
    fn new() -> Arc<Self> {
        Arc::new(Self { permits: RawPermits::new(), counts: std::array::from_fn(|_| UnsafeCell::new(0)) })
    }

    fn take(&self) -> usize {
        // SAFETY: the models keep the permits until all threads have ended.
        let permit = unsafe { self.permits.acquire(None) }.unwrap();
        // SAFETY: the permit is held; loom checks that this orders the accesses.
        self.counts[permit].with_mut(|count| unsafe { *count += 1 });
        permit
    }

    fn use_one(&self) {
        let permit = self.take();
        self.permits.release(permit).unwrap();
    }

    /// How often permits were taken, after all threads have ended.
    fn count(&self) -> u32 {
        // SAFETY: all threads have ended.
        self.counts.iter().map(|count| count.with(|count| unsafe { *count })).sum()
    }
}

fn spawn<const N: usize>(
    shared: &Arc<Guarded<N>>,
    life: Life,
    body: impl FnOnce(&Guarded<N>) + 'static,
) -> JoinHandle<Outcome<()>> {
    let shared = shared.clone();
    thread::spawn(move || life.run(|| body(&shared)))
}

/// What happens after the end of a mortal thread; whether it died.
fn mourn(mortal: Outcome<()>) -> bool {
    let died = mortal == Outcome::Died;
    if died {
        futex::end_slices();
    }
    died
}

/// A mortal thread and a survivor use the only permit once each; the survivor must end.
fn a_survivor_goes_on(sabotage: Sabotage, slices_end: bool) {
    every_death_with(sabotage, move |step| {
        let shared = Guarded::<1>::new();
        let other = spawn(&shared, Life::long(2), Guarded::use_one);
        let mortal = Life { tid: 1, dies_after: Some(step) }.run(|| shared.use_one());
        let died = if slices_end { mourn(mortal) } else { mortal == Outcome::Died };
        assert_eq!(other.join().unwrap(), Outcome::Lived(()));
        assert!(shared.count() == 2 || (died && shared.count() == 1));
        assert_eq!(Life::long(3).run(|| shared.permits.available()), Outcome::Lived(1));
    });
}

#[test]
fn a_survivor_goes_on_wherever_a_thread_dies() {
    a_survivor_goes_on(Sabotage::None, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_slices_a_holders_death_is_not_noticed() {
    a_survivor_goes_on(Sabotage::None, false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_release_without_release_ordering_races() {
    a_survivor_goes_on(Sabotage::NoRelease, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_dropped_wake_is_lost() {
    a_survivor_goes_on(Sabotage::NoWake, true);
}

/// The permit is given back while two threads want it, one of which dies at each step. Unless that one had the permit, no
/// slice ends, and the other gets it all the same.
fn a_waiters_death_loses_no_wake(step: usize) {
    let shared = Guarded::<1>::new();
    let waiters = Life::long(1).run(|| {
        let permit = shared.take();
        let mortal = spawn(&shared, Life { tid: 2, dies_after: Some(step) }, |shared| {
            shared.take();
        });
        let other = spawn(&shared, Life::long(3), Guarded::use_one);
        shared.permits.release(permit).unwrap();
        (mortal, other)
    });
    let Outcome::Lived((mortal, other)) = waiters else { unreachable!("nobody kills it") };
    let _ = mortal.join().unwrap();
    let _ = Life::long(4).run(|| {
        if shared.permits.permits[0].word().load(Ordering::Relaxed) & OWNER_DIED != 0 {
            futex::end_slices();
        }
    });
    assert_eq!(other.join().unwrap(), Outcome::Lived(()));
}

#[test]
fn a_waiters_death_loses_no_wake_up_at_one_step_in_three() {
    deaths_in_part(0, 3, a_waiters_death_loses_no_wake);
}

#[test]
fn a_waiters_death_loses_no_wake_up_at_the_steps_behind_those() {
    deaths_in_part(1, 3, a_waiters_death_loses_no_wake);
}

#[test]
fn a_waiters_death_loses_no_wake_up_at_the_steps_before_those() {
    deaths_in_part(2, 3, a_waiters_death_loses_no_wake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_a_turn_that_is_not_passed_on_loses_a_wake_up() {
    every_death_with(Sabotage::NoOwnerWake, a_waiters_death_loses_no_wake);
}

#[test]
fn three_threads_use_two_permits_wherever_one_dies() {
    every_death(|step| {
        let shared = Guarded::<2>::new();
        let others = [2, 3].map(|tid| spawn(&shared, Life::long(tid), Guarded::use_one));
        let died = mourn(Life { tid: 1, dies_after: Some(step) }.run(|| shared.use_one()));
        for other in others {
            assert_eq!(other.join().unwrap(), Outcome::Lived(()));
        }
        assert!(shared.count() == 3 || (died && shared.count() == 2));
    });
}
