//! Barriers between threads and processes, and what a death leaves. The slice stays on: deaths are noticed by it.
#![cfg(feature = "auto-init")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use multiproc::{Array, Barrier, BrokenBarrier, Error, Process, ProcessError};

/// Far more than it should take; a failure and not a measure.
const SOON: Duration = Duration::from_secs(20);

fn await_waiting(barrier: &Barrier, count: u32) {
    let begun = Instant::now();
    while barrier.waiting() != count {
        assert!(begun.elapsed() < SOON, "{} wait, not {count}", barrier.waiting());
        std::thread::yield_now();
    }
}

fn wait_for_ever(barrier: Barrier) {
    let _ = barrier.wait();
}

/// KNOWN-BAD 6.
#[test]
fn a_killed_party_breaks_the_barrier_for_who_waits() {
    let barrier = Barrier::new(3).unwrap();
    let mut victim = Process::spawn(wait_for_ever, barrier.clone()).unwrap();
    await_waiting(&barrier, 1);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait_timeout(SOON));
        await_waiting(&barrier, 2);
        victim.kill().unwrap();
        assert_eq!(waiter.join().unwrap(), Err(BrokenBarrier::Broken));
    });
    assert!(matches!(victim.join(), Err(ProcessError::Signaled(9))));
    assert!(barrier.is_broken());
    assert_eq!(barrier.waiting(), 0);
    assert_eq!(barrier.wait(), Err(BrokenBarrier::Broken));
}

#[test]
fn a_killed_party_breaks_the_barrier_for_who_comes_and_a_reset_repairs_it() {
    let barrier = Barrier::new(2).unwrap();
    let mut victim = Process::spawn(wait_for_ever, barrier.clone()).unwrap();
    await_waiting(&barrier, 1);
    victim.kill().unwrap();
    assert!(matches!(victim.join(), Err(ProcessError::Signaled(9))));
    assert_eq!(barrier.wait_timeout(SOON), Err(BrokenBarrier::Broken), "not completed by the dead");
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait_timeout(SOON));
        let mut tickets = [barrier.wait_timeout(SOON), other.join().unwrap()].map(|t| t.unwrap().index());
        tickets.sort_unstable();
        assert_eq!(tickets, [0, 1]);
    });
}

/// KNOWN-BAD 39.
#[test]
fn a_barrier_of_no_parties_is_a_typed_error() {
    for parties in [0, u32::MAX] {
        let Err(Error::InvalidArgument { found, .. }) = Barrier::new(parties) else { panic!("made") };
        assert_eq!(found, parties.to_string());
    }
}

const CYCLES: usize = 100;
const PARTIES: usize = 4;

fn take_part((barrier, places): (Barrier, Array<u32>)) {
    for cycle in 0..CYCLES {
        let place = barrier.wait_timeout(SOON).unwrap().index() as usize;
        places.update(cycle * PARTIES + place, |taken| *taken += 1).unwrap();
    }
}

#[test]
fn each_cycle_gives_each_party_another_place() {
    let barrier = Barrier::new(u32::try_from(PARTIES).unwrap()).unwrap();
    let places = Array::zeroed(CYCLES * PARTIES).unwrap();
    let parties: Vec<_> =
        (1..PARTIES).map(|_| Process::spawn(take_part, (barrier.clone(), places.clone())).unwrap()).collect();
    take_part((barrier, places.clone()));
    for mut party in parties {
        party.join_timeout(SOON).unwrap();
    }
    assert_eq!(places.to_vec().unwrap(), vec![1; CYCLES * PARTIES]);
}

#[test]
fn more_threads_than_parties_pass_in_groups() {
    let barrier = Barrier::new(2).unwrap();
    // An even number of waits, shared out so that the last two are never one thread's.
    let waits = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while waits.fetch_add(1, Ordering::Relaxed) < 1_000 {
                    barrier.wait_timeout(SOON).unwrap();
                }
            });
        }
    });
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn the_last_to_come_acts_before_anybody_leaves() {
    let barrier = Barrier::new(3).unwrap();
    let acted = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for cycle in 1..=50 {
                    let act = || {
                        acted.fetch_add(1, Ordering::Relaxed);
                    };
                    barrier.wait_with(act).unwrap();
                    assert_eq!(acted.load(Ordering::Relaxed), cycle);
                    barrier.wait().unwrap();
                }
            });
        }
    });
}

#[test]
fn a_panic_in_the_action_breaks_the_barrier() {
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait_timeout(SOON));
        await_waiting(&barrier, 1);
        let acted = catch_unwind(AssertUnwindSafe(|| barrier.wait_with_timeout(SOON, || panic!("planned"))));
        assert!(acted.is_err());
        assert_eq!(other.join().unwrap(), Err(BrokenBarrier::Broken));
    });
    assert!(barrier.is_broken());
}

#[test]
fn a_timeout_breaks_the_barrier_for_all() {
    let barrier = Barrier::new(3).unwrap();
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| barrier.wait_timeout(SOON));
        await_waiting(&barrier, 1);
        assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(BrokenBarrier::TimedOut));
        assert_eq!(patient.join().unwrap(), Err(BrokenBarrier::Broken));
    });
    assert_eq!(barrier.wait_deadline(Instant::now()), Err(BrokenBarrier::Broken));
}

#[test]
fn a_timeout_during_the_action_breaks_the_barrier_for_its_actor_too() {
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let hasty = scope.spawn(|| barrier.wait_timeout(Duration::from_millis(50)));
        await_waiting(&barrier, 1);
        let acted = barrier.wait_with(|| {
            while !barrier.is_broken() {
                std::thread::yield_now();
            }
        });
        assert_eq!(acted, Err(BrokenBarrier::Broken));
        assert_eq!(hasty.join().unwrap(), Err(BrokenBarrier::TimedOut));
    });
}

#[test]
fn reset_and_abort_tell_who_waits() {
    let barrier = Barrier::new(2).unwrap();
    let end: [&(dyn Fn() + Sync); 2] = [&|| barrier.reset().unwrap(), &|| barrier.abort()];
    for (end, broken) in end.into_iter().zip([false, true]) {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait_timeout(SOON));
            await_waiting(&barrier, 1);
            end();
            assert_eq!(waiter.join().unwrap(), Err(BrokenBarrier::Broken));
        });
        assert_eq!(barrier.is_broken(), broken);
    }
    barrier.reset().unwrap();
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
}
