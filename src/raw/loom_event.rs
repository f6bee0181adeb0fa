//! Loom models of [`RawEvent`].
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::RawEvent;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

#[derive(Default)]
struct Shared {
    event: RawEvent,
    data: UnsafeCell<u32>,
}

fn spawn<R: 'static>(life: Life, body: impl FnOnce() -> R + 'static) -> thread::JoinHandle<Outcome<R>> {
    thread::spawn(move || life.run(body))
}

/// A setter dies at each step; either it has set the event, and both waiters return, or somebody else sets it.
fn waiters_return(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let event = Arc::new(RawEvent::new());
        let waiters = [1, 2].map(|tid| {
            let event = event.clone();
            spawn(Life::long(tid), move || event.wait(None))
        });
        let setter = Life { tid: 3, dies_after: Some(step) }.run(|| event.set());
        if setter == Outcome::Died {
            let _ = Life::long(4).run(|| event.set());
        }
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Outcome::Lived(true));
        }
    });
}

#[test]
fn every_waiter_returns_wherever_the_setter_dies() {
    waiters_return(Sabotage::None);
}

#[test]
fn a_pulse_releases_whoever_was_waiting() {
    every_death(|step| {
        let shared = Arc::new(RawEvent::new());
        let started = Arc::new(RawEvent::new());
        let waiter = {
            let (event, started) = (shared.clone(), started.clone());
            spawn(Life::long(1), move || {
                started.set();
                event.wait(None)
            })
        };
        let pulse = {
            let event = shared.clone();
            spawn(Life { tid: 2, dies_after: Some(step) }, move || {
                event.set();
                event.clear();
            })
        };
        let _ = pulse.join().unwrap();
        // A waiter that came after the pulse waits for the next set.
        let _ = Life::long(3).run(|| {
            assert!(started.wait(None));
            shared.set();
        });
        assert_eq!(waiter.join().unwrap(), Outcome::Lived(true));
    });
}

/// What was written before `set` is seen after `wait`.
fn set_publishes(sabotage: Sabotage) {
    every_death_with(sabotage, |_| {
        let shared = Arc::new(Shared::default());
        let waiter = {
            let shared = shared.clone();
            spawn(Life::long(1), move || {
                assert!(shared.event.wait(None));
                read(&shared.data)
            })
        };
        let _ = Life::long(2).run(|| {
            write(&shared.data, 7);
            shared.event.set();
            shared.event.clear();
        });
        let _ = Life::long(3).run(|| shared.event.set());
        assert_eq!(waiter.join().unwrap(), Outcome::Lived(7));
    });
}

fn read(cell: &UnsafeCell<u32>) -> u32 {
    // SAFETY: the event orders the accesses; loom checks that it does.
    cell.with(|data| unsafe { *data })
}

fn write(cell: &UnsafeCell<u32>, value: u32) {
    // SAFETY: as for `read`.
    cell.with_mut(|data| unsafe { *data = value });
}

#[test]
fn what_was_written_before_set_is_seen_after_wait() {
    set_publishes(Sabotage::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_set_without_release_races() {
    set_publishes(Sabotage::NoRelease);
}
