//! Loom models of [`RawCondvar`].
#![allow(unsafe_code, clippy::unwrap_used)]

use core::sync::atomic::Ordering;
use std::sync::Arc;

use loom::thread;

use super::{Acquired, Deadline, RawCondvar, RawMutex};
use crate::sys::atomic::AtomicU32;
use crate::sys::model::{Life, Outcome, Sabotage, every_death_with, futex::end_slices};

const READY: u32 = 1;
const DONE: u32 = 2;

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

    fn make_ready(&self) {
        let _ = self.lock();
        self.ready.store(READY, Ordering::Relaxed);
        self.condvar.notify(1);
        self.unlock();
    }
}

fn spawn<R: 'static>(life: Life, body: impl FnOnce() -> R + 'static) -> thread::JoinHandle<Outcome<R>> {
    thread::spawn(move || life.run(body))
}

/// A notifier dies at each step; who finds nothing done does it again. Slices are off.
fn a_notifier_dies(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Arc::new(Shared::<1>::default());
        let waiter = {
            let shared = shared.clone();
            spawn(Life::long(1), move || shared.wait_until_ready(READY))
        };
        let notifier = {
            let shared = shared.clone();
            spawn(Life { tid: 2, dies_after: Some(step) }, move || shared.make_ready())
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
    a_notifier_dies(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_mark_and_wake_apart_lose_a_notification() {
    a_notifier_dies(Sabotage::SplitWakeOp);
}

/// Two wait and one of them, the older if it comes in time, is mortal. The other notifies one before it sleeps. If the
/// mortal one dies with the notification, the other must inherit it; if it dies under the lock or has done its work,
/// somebody notifies again.
fn a_notified_waiter_dies(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
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
            assert_eq!(table.notify(1), 1);
            shared.unlock();
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
    a_notified_waiter_dies(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_slices_a_dead_waiter_keeps_its_notification() {
    a_notified_waiter_dies(Sabotage::NoSlice);
}

/// One waiter gives up at once, the other doesn't: a notification for one reaches the patient one unless the other says
/// that it was notified.
#[test]
fn who_gives_up_keeps_no_notification() {
    every_death_with(Sabotage::None, |_| {
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
            shared.make_ready();
            if hasty.join().unwrap() == Outcome::Lived(true) {
                shared.make_ready();
            }
        });
        assert_eq!(patient.join().unwrap(), Outcome::Lived(()));
    });
}
