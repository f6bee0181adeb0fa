//! Loom models of [`RawSemaphore`]. No slice, so that a lost wake-up is a deadlock. The hint "crowd" may say anything: each
//! model runs with it clear and set.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Deadline, RawSemaphore};
use crate::sys::model::{Life, Outcome, Sabotage, deaths_in_part, every_death, every_death_with};

fn spawn<R: 'static>(life: Life, body: impl FnOnce() -> R + 'static) -> thread::JoinHandle<Outcome<R>> {
    thread::spawn(move || life.run(body))
}

#[derive(Clone, Copy)]
enum Hint {
    Clear,
    Crowd,
}

const HINTS: [Hint; 2] = [Hint::Clear, Hint::Crowd];

fn semaphore(hint: Hint, count: u32, max: u32) -> Arc<RawSemaphore> {
    let semaphore = Arc::new(RawSemaphore::bounded(count, max));
    if matches!(hint, Hint::Crowd) {
        semaphore.expect_a_crowd();
    }
    semaphore
}

/// Three threads take a permission and give it back, one of them mortal: once what it may have taken with it is made up
/// for, the others end.
fn survivors_go_on(sabotage: Sabotage, hint: Hint) {
    every_death_with(sabotage, move |step| {
        let semaphore = semaphore(hint, 1, u32::MAX);
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
    HINTS.into_iter().for_each(|hint| survivors_go_on(Sabotage::None, hint));
}

/// A mortal releaser, a sleeper, and a barger that takes the permission in between and gives it back. If the releaser
/// gave and died, nobody makes up for it: no later release hides a lost wake-up.
fn a_release_reaches_a_sleeper(sabotage: Sabotage, hint: Hint) {
    every_death_with(sabotage, move |step| {
        let semaphore = semaphore(hint, 0, u32::MAX);
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
    HINTS.into_iter().for_each(|hint| a_release_reaches_a_sleeper(Sabotage::None, hint));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_dropped_wake_is_lost() {
    a_release_reaches_a_sleeper(Sabotage::NoWake, Hint::Clear);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_dropped_wake_is_lost_in_a_crowd() {
    a_release_reaches_a_sleeper(Sabotage::NoWake, Hint::Crowd);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_a_dead_releaser_is_lost() {
    a_release_reaches_a_sleeper(Sabotage::NoPendingWake, Hint::Clear);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_a_dead_releaser_is_lost_in_a_crowd() {
    a_release_reaches_a_sleeper(Sabotage::NoPendingWake, Hint::Crowd);
}

/// One permission, given while a mortal acquirer and another one may sleep. If the mortal one dies beside a count of 1,
/// that permission is for the other, whom nobody else wakes.
fn a_dead_acquirer_keeps_no_wake(step: usize, hint: Hint) {
    let semaphore = semaphore(hint, 0, u32::MAX);
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
}

#[test]
fn a_dead_acquirer_keeps_no_wake_at_every_other_step() {
    deaths_in_part(0, 2, |step| a_dead_acquirer_keeps_no_wake(step, Hint::Clear));
}

#[test]
fn a_dead_acquirer_keeps_no_wake_at_the_steps_between() {
    deaths_in_part(1, 2, |step| a_dead_acquirer_keeps_no_wake(step, Hint::Clear));
}

#[test]
fn a_dead_acquirer_keeps_no_wake_in_a_crowd_at_every_other_step() {
    deaths_in_part(0, 2, |step| a_dead_acquirer_keeps_no_wake(step, Hint::Crowd));
}

#[test]
fn a_dead_acquirer_keeps_no_wake_in_a_crowd_at_the_steps_between() {
    deaths_in_part(1, 2, |step| a_dead_acquirer_keeps_no_wake(step, Hint::Crowd));
}

// Without a crowd all are woken, and nobody's death keeps a wake from another.
#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_a_dead_acquirer_keeps_a_wake_in_a_crowd() {
    every_death_with(Sabotage::NoPendingWake, |step| a_dead_acquirer_keeps_no_wake(step, Hint::Crowd));
}

#[test]
fn who_gives_up_keeps_no_wake() {
    let model = |hint| {
        every_death(move |_| {
            let semaphore = semaphore(hint, 0, u32::MAX);
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
        })
    };
    HINTS.into_iter().for_each(model);
}

#[test]
fn the_maximum_holds_against_releases_at_once() {
    let model = |hint| {
        every_death(move |_| {
            let semaphore = semaphore(hint, 0, 1);
            let releasers = [1, 2].map(|tid| {
                let semaphore = semaphore.clone();
                spawn(Life::long(tid), move || semaphore.release())
            });
            let _ = Life::long(3).run(|| assert!(semaphore.acquire(None)));
            let given = releasers.map(|releaser| releaser.join().unwrap() == Outcome::Lived(true));
            assert_eq!(semaphore.value() == 1, given == [true, true]);
        })
    };
    HINTS.into_iter().for_each(model);
}

/// What was written before a permission was released is seen by who takes it.
fn release_publishes(sabotage: Sabotage, hint: Hint) {
    every_death_with(sabotage, move |_| {
        let semaphore = semaphore(hint, 0, u32::MAX);
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
    HINTS.into_iter().for_each(|hint| release_publishes(Sabotage::None, hint));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_release_without_release_ordering_races() {
    release_publishes(Sabotage::NoRelease, Hint::Clear);
}
