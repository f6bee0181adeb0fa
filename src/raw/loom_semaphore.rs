//! Loom models of [`RawSemaphore`]. No slice, so that a lost wake-up is a deadlock.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Deadline, RawSemaphore};
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

fn spawn<R: 'static>(life: Life, body: impl FnOnce() -> R + 'static) -> thread::JoinHandle<Outcome<R>> {
    thread::spawn(move || life.run(body))
}

/// Three threads take a permission and give it back, one of them mortal: once what it may have taken with it is made up
/// for, the others end.
fn survivors_go_on(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let semaphore = Arc::new(RawSemaphore::new(1));
        let users = [(1, Some(step)), (2, None)].map(|(tid, dies_after)| {
            let semaphore = semaphore.clone();
            spawn(Life { tid, dies_after }, move || {
                assert!(semaphore.acquire(None));
                assert!(semaphore.release());
            })
        });
        let [mortal, other] = users;
        let _ = Life::long(3).run(|| {
            if mortal.join().unwrap() == Outcome::Died && semaphore.value() == 0 {
                assert!(semaphore.release());
            }
            assert!(semaphore.acquire(None));
            assert!(semaphore.release());
        });
        assert_eq!(other.join().unwrap(), Outcome::Lived(()));
        assert!((1..=2).contains(&semaphore.value()));
    });
}

#[test]
fn survivors_go_on_wherever_a_thread_dies() {
    survivors_go_on(Sabotage::None);
}

/// A mortal releaser, a sleeper, and a barger that takes the permission in between and gives it back. If the releaser
/// gave and died, nobody makes up for it: no later release hides a lost wake-up.
fn a_release_reaches_a_sleeper(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let semaphore = Arc::new(RawSemaphore::new(0));
        let sleeper = {
            let semaphore = semaphore.clone();
            spawn(Life::long(1), move || semaphore.acquire(None))
        };
        let releaser = {
            let semaphore = semaphore.clone();
            spawn(Life { tid: 3, dies_after: Some(step) }, move || semaphore.release())
        };
        let _ = Life::long(4).run(|| {
            if semaphore.try_acquire() {
                assert!(semaphore.release());
            }
            let died = releaser.join().unwrap() == Outcome::Died;
            // 0: it died before it gave, or the sleeper has the permission already.
            if died && semaphore.value() == 0 {
                assert!(semaphore.release());
            }
        });
        assert_eq!(sleeper.join().unwrap(), Outcome::Lived(true));
    });
}

#[test]
fn a_release_reaches_a_sleeper_wherever_the_releaser_dies() {
    a_release_reaches_a_sleeper(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_dropped_wake_is_lost() {
    a_release_reaches_a_sleeper(Sabotage::NoWake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_a_dead_releaser_is_lost() {
    a_release_reaches_a_sleeper(Sabotage::NoPendingWake);
}

/// One permission, given while a mortal acquirer and another one may sleep. If the mortal one dies beside a count of 1,
/// that permission is for the other, whom nobody else wakes.
fn a_dead_acquirer_keeps_no_wake(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let semaphore = Arc::new(RawSemaphore::new(0));
        let mortal = {
            let semaphore = semaphore.clone();
            spawn(Life { tid: 1, dies_after: Some(step) }, move || semaphore.acquire(None))
        };
        let other = {
            let semaphore = semaphore.clone();
            spawn(Life::long(2), move || {
                assert!(semaphore.acquire(None));
                assert!(semaphore.release());
            })
        };
        let _ = Life::long(3).run(|| {
            assert!(semaphore.release());
            let _ = mortal.join().unwrap();
            if semaphore.value() == 0 {
                assert!(semaphore.release());
            }
        });
        assert_eq!(other.join().unwrap(), Outcome::Lived(()));
    });
}

#[test]
fn a_dead_acquirer_keeps_no_wake_whenever_it_dies() {
    a_dead_acquirer_keeps_no_wake(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_a_dead_acquirer_keeps_a_wake() {
    a_dead_acquirer_keeps_no_wake(Sabotage::NoPendingWake);
}

#[test]
fn who_gives_up_keeps_no_wake() {
    every_death(|_| {
        let semaphore = Arc::new(RawSemaphore::new(0));
        let hasty = {
            let semaphore = semaphore.clone();
            spawn(Life::long(1), move || semaphore.acquire(Some(Deadline::now())))
        };
        let patient = {
            let semaphore = semaphore.clone();
            spawn(Life::long(2), move || semaphore.acquire(None))
        };
        let _ = Life::long(3).run(|| semaphore.release());
        if hasty.join().unwrap() == Outcome::Lived(true) {
            let _ = Life::long(3).run(|| semaphore.release());
        }
        assert_eq!(patient.join().unwrap(), Outcome::Lived(true));
    });
}

#[test]
fn the_maximum_holds_against_releases_at_once() {
    every_death(|_| {
        let semaphore = Arc::new(RawSemaphore::bounded(0, 1));
        let releasers = [1, 2].map(|tid| {
            let semaphore = semaphore.clone();
            spawn(Life::long(tid), move || semaphore.release())
        });
        let _ = Life::long(3).run(|| assert!(semaphore.acquire(None)));
        let given = releasers.map(|releaser| releaser.join().unwrap() == Outcome::Lived(true));
        assert_eq!(semaphore.value() == 1, given == [true, true]);
    });
}

/// What was written before a permission was released is seen by who takes it.
fn release_publishes(sabotage: Sabotage) {
    every_death_with(sabotage, |_| {
        let semaphore = Arc::new(RawSemaphore::new(0));
        let data = Arc::new(UnsafeCell::new(0));
        let taker = {
            let (semaphore, data) = (semaphore.clone(), data.clone());
            spawn(Life::long(1), move || {
                assert!(semaphore.acquire(None));
                // SAFETY: the semaphore orders the accesses; loom checks that it does.
                data.with(|data| unsafe { *data })
            })
        };
        let _ = Life::long(2).run(|| {
            // SAFETY: as above.
            data.with_mut(|data| unsafe { *data = 7 });
            assert!(semaphore.release());
        });
        assert_eq!(taker.join().unwrap(), Outcome::Lived(7));
    });
}

#[test]
fn what_was_written_before_release_is_seen_after_acquire() {
    release_publishes(Sabotage::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_release_without_release_ordering_races() {
    release_publishes(Sabotage::NoRelease);
}
