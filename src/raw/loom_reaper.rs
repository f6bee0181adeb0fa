//! Loom models of the out-of-band check: a thread dies at each of its steps, and the kernel marks nothing.
#![allow(unsafe_code, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::RawMutex;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

/// A counter that loom watches for unordered accesses.
#[derive(Default)]
struct Guarded {
    mutex: RawMutex,
    count: UnsafeCell<u32>,
}

impl Guarded {
    fn increment(&self) {
        self.take();
        self.mutex.unlock().unwrap();
    }

    /// Increments and leaves the mutex locked.
    fn take(&self) {
        // SAFETY: the models keep the mutex until all threads have ended.
        let _ = unsafe { self.mutex.lock(None) }.unwrap();
        // SAFETY: the mutex is held; loom checks that this orders the accesses.
        self.count.with_mut(|count| unsafe { *count += 1 });
    }

    fn count(&self) -> u32 {
        // SAFETY: all threads have ended.
        self.count.with(|count| unsafe { *count })
    }
}

fn survivor(shared: &Arc<Guarded>, tid: u32) -> thread::JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || assert_eq!(Life::long(tid).run(|| shared.increment()), Outcome::Lived(())))
}

#[test]
fn a_word_that_a_dead_thread_left_held_is_taken_by_one_after_the_other() {
    every_death(|step| {
        let shared = Arc::<Guarded>::default();
        let mortal = {
            let shared = shared.clone();
            let life = Life { tid: 1, dies_after: Some(step) };
            thread::spawn(move || life.run_unlisted(|| shared.increment()))
        };
        let other = survivor(&shared, 2);
        let _ = Life::long(3).run(|| shared.increment());
        let died = mortal.join().unwrap() == Outcome::Died;
        other.join().unwrap();
        assert!(shared.count() == 3 || (died && shared.count() == 2));
    });
}

/// While a survivor finds the owner dead, a thread is born with the dead one's id and takes the mutex.
fn a_second_bearer_is_not_robbed(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Arc::<Guarded>::default();
        let died =
            Life { tid: 1, dies_after: Some(step) }.run_unlisted(|| shared.increment()) == Outcome::Died;
        let other = survivor(&shared, 2);
        let _ = Life::long(1).run(|| shared.increment());
        other.join().unwrap();
        assert!(shared.count() == 3 || (died && shared.count() == 2));
    });
}

#[test]
fn a_living_thread_with_a_dead_ones_id_is_not_robbed() {
    a_second_bearer_is_not_robbed(Sabotage::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_thieves_that_do_not_exclude_each_other_rob_a_living_thread() {
    a_second_bearer_is_not_robbed(Sabotage::ManyReapers);
}

#[test]
fn a_thief_may_die_at_any_step() {
    every_death(|step| {
        let shared = Arc::<Guarded>::default();
        let _ = Life::long(1).run_unlisted(|| shared.take());
        let thief = {
            let shared = shared.clone();
            let life = Life { tid: 2, dies_after: Some(step) };
            thread::spawn(move || life.run(|| shared.take()))
        };
        let _ = Life::long(3).run(|| shared.take());
        let died = thief.join().unwrap() == Outcome::Died;
        assert!(shared.count() == 3 || (died && shared.count() == 2));
    });
}
