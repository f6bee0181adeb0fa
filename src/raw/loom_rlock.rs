//! Loom models of [`RawRLock`]: a thread dies at each step of nested locking and unlocking.
#![allow(unsafe_code, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::RawRLock;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

/// A counter that loom watches for unordered accesses.
#[derive(Default)]
struct Guarded {
    lock: RawRLock,
    count: UnsafeCell<u32>,
}

impl Guarded {
    fn lock(&self) {
        // SAFETY: the models keep the lock until all threads have ended.
        let _ = unsafe { self.lock.lock(None) }.unwrap();
    }

    /// Increments inside two levels and again after having left the inner one.
    fn increment_twice(&self) {
        self.lock();
        self.lock();
        self.add();
        self.lock.unlock().unwrap();
        self.add();
        self.lock.unlock().unwrap();
    }

    fn add(&self) {
        // SAFETY: the lock is held; loom checks that this orders the accesses.
        self.count.with_mut(|count| unsafe { *count += 1 });
    }
}

fn survivors_go_on(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Arc::<Guarded>::default();
        let threads = [Life { tid: 1, dies_after: Some(step) }, Life::long(2)].map(|life| {
            let shared = shared.clone();
            thread::spawn(move || life.run(|| shared.increment_twice()))
        });
        let _ = Life::long(3).run(|| shared.increment_twice());
        let [mortal, other] = threads.map(|thread| thread.join().unwrap());
        assert_eq!(other, Outcome::Lived(()));
        // SAFETY: all threads have ended.
        let count = shared.count.with(|count| unsafe { *count });
        assert!(count == 6 || (mortal == Outcome::Died && (4..6).contains(&count)));
    });
}

#[test]
fn survivors_go_on_however_deep_a_thread_dies() {
    survivors_go_on(Sabotage::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_unlock_without_release_races() {
    survivors_go_on(Sabotage::NoRelease);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_dropped_wake_is_lost() {
    survivors_go_on(Sabotage::NoWake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_is_lost() {
    survivors_go_on(Sabotage::NoPendingWake);
}

/// As a wait for a condition does: everything is unlocked, and after the next lock the depth is restored, or not.
fn leaves_a_depth(restores: bool) {
    every_death(move |step| {
        let shared = Arc::<Guarded>::default();
        let mortal = {
            let shared = shared.clone();
            let life = Life { tid: 1, dies_after: Some(step) };
            thread::spawn(move || {
                life.run(|| {
                    shared.lock();
                    shared.lock();
                    let depth = shared.lock.unlock_all().unwrap();
                    shared.lock();
                    let _ = shared.lock.deepen(if restores { depth } else { 0 }).unwrap();
                    shared.lock.unlock().unwrap();
                    shared.add();
                    assert_eq!(shared.lock.unlock().is_ok(), restores);
                })
            })
        };
        let other = Life::long(2).run(|| shared.increment_twice());
        assert_eq!(other, Outcome::Lived(()));
        let died = mortal.join().unwrap() == Outcome::Died;
        // SAFETY: all threads have ended.
        let count = shared.count.with(|count| unsafe { *count });
        assert!(count == 3 || (died && count == 2));
    });
}

#[test]
fn a_depth_that_was_left_and_restored_keeps_others_out() {
    leaves_a_depth(true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_a_depth_that_is_not_restored_lets_others_in() {
    leaves_a_depth(false);
}
