//! Loom models of [`RawCondvar`].
#![allow(unsafe_code, clippy::unwrap_used)]

use core::sync::atomic::Ordering;
use std::sync::Arc;

use loom::thread;

use super::waiters::Debt;
use super::{Acquired, Deadline, RawCondvar, RawMutex};
use crate::sys::atomic::AtomicU32;
use crate::sys::model::{Life, Outcome, Sabotage, every_death_with, futex::end_slices};

const READY: u32 = 1;
const DONE: u32 = 2;

/// When who is notified is woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// By the notification.
    AtOnce,
    /// After the unlock.
    Owed,
}

/// Something to wait for, with its lock.
#[derive(Default)]
struct Shared<const N: usize> {
    mutex: RawMutex,
    condvar: RawCondvar<N>,
    /// Changed under the lock.
    ready: AtomicU32,
}

impl<const N: usize> Shared<N> {
    fn lock(&self) -> Acquired {
        // SAFETY: a model keeps its memory until all threads have ended.
        unsafe { self.mutex.lock(None) }.unwrap()
    }

    fn unlock(&self) {
        self.mutex.unlock().unwrap();
    }

    /// Under the lock: whether it was notified.
    fn wait(&self, deadline: Option<Deadline>) -> bool {
        // SAFETY: as for `lock`.
        let (_, notified) = unsafe { self.condvar.wait(&self.mutex, deadline) }.unwrap();
        notified
    }

    /// Waits until the predicate is true and leaves `word` behind.
    fn wait_until_ready(&self, word: u32) {
        let _ = self.lock();
        while self.ready.load(Ordering::Relaxed) == 0 {
            assert!(self.wait(None));
        }
        self.ready.store(word, Ordering::Relaxed);
        self.unlock();
    }

    fn make_ready(&self, wake: Wake) {
        let _ = self.lock();
        self.ready.store(READY, Ordering::Relaxed);
        self.notify_and_unlock(wake);
    }

    /// Notifies one; how many it were.
    fn notify_and_unlock(&self, wake: Wake) -> usize {
        let table = self.condvar.table();
        let (notified, debt) = match wake {
            Wake::AtOnce => (table.notify(1), None),
            // SAFETY: as for `lock`.
            Wake::Owed => unsafe { table.notify_owing(1) },
        };
        self.unlock();
        debt.into_iter().for_each(Debt::pay);
        notified
    }
}

fn spawn<R: 'static>(life: Life, body: impl FnOnce() -> R + 'static) -> thread::JoinHandle<Outcome<R>> {
    thread::spawn(move || life.run(body))
}

/// A notifier dies at each step; who finds nothing done does it again. Slices are off.
fn a_notifier_dies(sabotage: Sabotage, wake: Wake) {
    every_death_with(sabotage, move |step| {
        let shared = Arc::new(Shared::<1>::default());
        let waiter = {
            let shared = shared.clone();
            spawn(Life::long(1), move || shared.wait_until_ready(READY))
        };
        let notifier = {
            let shared = shared.clone();
            spawn(Life { tid: 2, dies_after: Some(step) }, move || shared.make_ready(wake))
        };
        let _ = Life::long(3).run(|| {
            if notifier.join().unwrap() == Outcome::Died {
                let _ = shared.lock();
                // What was committed must not need this.
                let committed =
                    shared.ready.load(Ordering::Relaxed) == READY && shared.condvar.waiting() == 0;
                shared.ready.store(READY, Ordering::Relaxed);
                if !committed {
                    shared.condvar.notify(1);
                }
                shared.unlock();
            }
        });
        assert_eq!(waiter.join().unwrap(), Outcome::Lived(()));
    });
}

#[test]
fn a_notification_is_never_half_made_wherever_the_notifier_dies() {
    a_notifier_dies(Sabotage::None, Wake::AtOnce);
}

#[test]
fn an_owed_wake_comes_wherever_the_notifier_dies() {
    a_notifier_dies(Sabotage::None, Wake::Owed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_wake_at_an_owners_death_a_dead_notifier_owes_for_ever() {
    a_notifier_dies(Sabotage::NoOwnerWake, Wake::Owed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_one_who_dies_paying_owes_for_ever() {
    a_notifier_dies(Sabotage::NoPendingWake, Wake::Owed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_an_owed_wake_that_is_dropped_is_lost() {
    a_notifier_dies(Sabotage::NoWake, Wake::Owed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_mark_and_wake_apart_lose_a_notification() {
    a_notifier_dies(Sabotage::SplitWakeOp, Wake::AtOnce);
}

/// Two wait and one of them, the older if it comes in time, is mortal. The other notifies one before it sleeps. If the
/// mortal one dies with the notification, the other must inherit it; if it dies under the lock or has done its work,
/// somebody notifies again.
fn a_notified_waiter_dies(sabotage: Sabotage, wake: Wake) {
    every_death_with(sabotage, move |step| {
        let shared = Arc::new(Shared::<2>::default());
        let mortal = {
            let shared = shared.clone();
            thread::spawn(move || {
                let life = Life { tid: 1, dies_after: Some(step) };
                let died = life.run(|| shared.wait_until_ready(DONE)) == Outcome::Died;
                let _ = Life::long(3).run(|| {
                    if died {
                        end_slices();
                    }
                    if shared.lock() == Acquired::OwnerDied || shared.ready.load(Ordering::Relaxed) == DONE {
                        shared.condvar.notify(1);
                    }
                    shared.unlock();
                });
            })
        };
        let notified = Life::long(2).run(|| {
            let _ = shared.lock();
            let table = shared.condvar.table();
            // SAFETY: as for `lock`.
            let mut waiter = unsafe { table.enlist() }.unwrap();
            shared.ready.store(READY, Ordering::Relaxed);
            assert_eq!(shared.notify_and_unlock(wake), 1);
            waiter.sleep(None);
            let _ = shared.lock();
            let notified = waiter.leave();
            shared.unlock();
            notified
        });
        assert_eq!(notified, Outcome::Lived(true));
        mortal.join().unwrap();
    });
}

#[test]
fn a_dead_waiters_notification_is_inherited() {
    a_notified_waiter_dies(Sabotage::None, Wake::AtOnce);
}

#[test]
fn a_dead_waiters_notification_is_inherited_whose_wake_was_owed() {
    a_notified_waiter_dies(Sabotage::None, Wake::Owed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_slices_a_dead_waiter_keeps_its_notification() {
    a_notified_waiter_dies(Sabotage::NoSlice, Wake::AtOnce);
}

/// One waiter gives up at once, the other doesn't: a notification for one reaches the patient one unless the other says
/// that it was notified.
fn one_gives_up(wake: Wake) {
    every_death_with(Sabotage::None, move |_| {
        let shared = Arc::new(Shared::<2>::default());
        let hasty = {
            let shared = shared.clone();
            spawn(Life::long(1), move || {
                let _ = shared.lock();
                let notified = shared.wait(Some(Deadline::now()));
                shared.unlock();
                notified
            })
        };
        let patient = {
            let shared = shared.clone();
            spawn(Life::long(2), move || shared.wait_until_ready(READY))
        };
        let _ = Life::long(3).run(|| {
            shared.make_ready(wake);
            if hasty.join().unwrap() == Outcome::Lived(true) {
                shared.make_ready(wake);
            }
        });
        assert_eq!(patient.join().unwrap(), Outcome::Lived(()));
    });
}

#[test]
fn who_gives_up_keeps_no_notification() {
    one_gives_up(Wake::AtOnce);
}

#[test]
fn who_gives_up_keeps_no_notification_whose_wake_is_owed() {
    one_gives_up(Wake::Owed);
}

/// Who is notified may leave, and enlist again, before the wake that it was owed is paid or its notifier dies: that is no
/// notification for its next wait, and in the end each entry can be used.
#[test]
fn a_void_debt_notifies_nobody() {
    every_death_with(Sabotage::None, |step| {
        let shared = Arc::new(Shared::<2>::default());
        let waiter = {
            let shared = shared.clone();
            spawn(Life::long(1), move || {
                shared.wait_until_ready(DONE);
                let _ = shared.lock();
                // SAFETY: as for `lock`.
                let again = unsafe { shared.condvar.table().enlist() }.unwrap();
                shared.unlock();
                let _ = shared.lock();
                assert!(!again.leave(), "notified by nobody");
                shared.unlock();
            })
        };
        let notifier = {
            let shared = shared.clone();
            spawn(Life { tid: 2, dies_after: Some(step) }, move || shared.make_ready(Wake::Owed))
        };
        let _ = Life::long(3).run(|| {
            if notifier.join().unwrap() == Outcome::Died {
                let _ = shared.lock();
                // Once it says DONE, the waiter has what it waited for.
                let ready = shared.ready.load(Ordering::Relaxed);
                if ready != DONE {
                    shared.ready.store(READY, Ordering::Relaxed);
                    shared.condvar.notify(1);
                }
                shared.unlock();
            }
        });
        assert_eq!(waiter.join().unwrap(), Outcome::Lived(()));
        let _ = Life::long(3).run(|| {
            // SAFETY: as for `lock`.
            let entries = [0, 1].map(|_| unsafe { shared.condvar.table().enlist() }.unwrap());
            entries.into_iter().for_each(|entry| assert!(!entry.leave()));
        });
    });
}
