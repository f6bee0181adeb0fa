//! Loom models of [`Shift`]: a worker does not rest for ever beside a task, wherever it leaves and whoever dies. In the models
//! nobody looks from time to time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;

use super::RawEvent;
use super::claims::Words;
use super::shift::Shift;
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, every_death};

/// What is wrong with a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It does not look at the ring again once it has left.
    Blind,
    /// It clears its bell when it has seen that it may sleep.
    LateClear,
}

struct Memory([AtomicU64; 1]);

impl Words for Memory {
    fn load(&self, index: usize) -> Option<u64> {
        Some(self.0[index].load(Ordering::SeqCst))
    }

    fn store(&self, index: usize, value: u64) {
        self.0[index].store(value, Ordering::SeqCst);
    }

    fn change(&self, index: usize, current: u64, new: u64) -> bool {
        self.0[index].compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// A pool of two workers, of whom the one of the first seat has a task that does not end.
struct Shared {
    memory: Memory,
    bell: RawEvent,
    /// The ring: how many tasks were put, and how many taken.
    put: AtomicU64,
    taken: AtomicU64,
}

impl Shared {
    fn new() -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        let memory = Memory([AtomicU64::new(2)]);
        Arc::new(Self { memory, bell: RawEvent::new(), put: zero(), taken: zero() })
    }

    fn shift(&self) -> Shift<'_, Memory> {
        Shift { words: &self.memory, at: 0 }
    }

    fn submit(&self) {
        // As the ring's commit.
        self.put.fetch_add(1, Ordering::Release);
        self.shift().need(2, |seat| {
            assert_eq!(seat, 1);
            self.bell.set();
        });
    }

    fn is_ready(&self) -> bool {
        self.put.load(Ordering::Acquire) > self.taken.load(Ordering::Relaxed)
    }

    /// The worker of the second seat, until it has taken so many tasks in all.
    fn work(&self, tasks: u64, fault: Fault) {
        while self.taken.load(Ordering::Relaxed) < tasks {
            if self.is_ready() {
                self.taken.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if !self.shift().leave(1) {
                continue;
            }
            let sleep = || {
                if fault == Fault::LateClear {
                    self.bell.clear();
                }
                assert!(self.bell.wait(None));
            };
            let clear = || {
                if fault != Fault::LateClear {
                    self.bell.clear();
                }
            };
            self.shift().rest(1, clear, || fault != Fault::Blind && self.is_ready(), sleep);
        }
    }
}

/// Two tasks come, one after the other, while the worker of the second seat comes and goes; it dies at each step, and another
/// one sits down there.
fn no_task_is_left(tasks: u64, fault: Fault) {
    every_death(move |step| {
        let shared = Shared::new();
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || {
                let died = Cell::new(false);
                if (Life { tid: 1, dies_after: Some(step) }).run(|| shared.work(tasks, fault))
                    == Outcome::Died
                {
                    died.set(true);
                    let next = Life::long(2).run(|| shared.work(tasks, fault));
                    assert_eq!(next, Outcome::Lived(()));
                }
                died.get()
            })
        };
        let submitted = Life::long(3).run(|| (0..tasks).for_each(|_| shared.submit()));
        assert_eq!(submitted, Outcome::Lived(()));
        let _ = worker.join().unwrap();
        let taken = Life::long(4).run(|| shared.taken.load(Ordering::SeqCst));
        assert!(matches!(taken, Outcome::Lived(taken) if taken >= tasks));
    });
}

#[test]
fn a_worker_that_rests_is_woken_for_a_task() {
    no_task_is_left(1, Fault::None);
}

#[test]
fn a_worker_that_comes_and_goes_is_there_for_each_task() {
    no_task_is_left(2, Fault::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_does_not_look_again_sleeps_beside_a_task() {
    no_task_is_left(1, Fault::Blind);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_clears_its_bell_late_sleeps_beside_a_task() {
    no_task_is_left(1, Fault::LateClear);
}
