//! Loom models of [`RawMutex`]: three threads, one of which dies at each of its steps. No slice, so that a lost wake-up
//! is a deadlock.
#![allow(unsafe_code, clippy::unwrap_used, clippy::as_conversions, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Acquired, RawMutex};
use crate::sys::atomic::AtomicU32;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

/// A counter that loom watches for unordered accesses.
struct Guarded<M> {
    mutex: M,
    count: UnsafeCell<u32>,
}

trait Lock: Send + Sync + 'static {
    fn new() -> Self;
    fn lock(&self) -> Acquired;
    fn unlock(&self);
}

impl Lock for RawMutex {
    fn new() -> Self {
        RawMutex::new()
    }
    fn lock(&self) -> Acquired {
        // SAFETY: the models keep the mutex until all threads have ended.
        unsafe { RawMutex::lock(self, None) }.unwrap()
    }
    fn unlock(&self) {
        RawMutex::unlock(self).unwrap();
    }
}

impl<M: Lock> Guarded<M> {
    fn new() -> Arc<Self> {
        Arc::new(Self { mutex: M::new(), count: UnsafeCell::new(0) })
    }

    fn increment(&self) -> Acquired {
        let acquired = self.mutex.lock();
        // SAFETY: the mutex is held; loom checks that this orders the accesses.
        self.count.with_mut(|count| unsafe { *count += 1 });
        self.mutex.unlock();
        acquired
    }
}

/// A mortal thread and two survivors take the mutex once each; the survivors must end.
fn survivors_go_on<M: Lock>(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Guarded::<M>::new();
        let mortal = {
            let shared = shared.clone();
            thread::spawn(move || Life { tid: 1, dies_after: Some(step) }.run(|| shared.increment()))
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || Life::long(2).run(|| shared.increment()))
        };
        let _ = Life::long(3).run(|| shared.increment());
        let died = mortal.join().unwrap() == Outcome::Died;
        let _ = other.join().unwrap();
        // SAFETY: all threads have ended.
        let count = shared.count.with(|count| unsafe { *count });
        assert!(count == 3 || (died && count == 2));
    });
}

#[test]
fn survivors_go_on_wherever_a_thread_dies() {
    survivors_go_on::<RawMutex>(Sabotage::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_unlock_without_release_races() {
    survivors_go_on::<RawMutex>(Sabotage::NoRelease);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_dropped_wake_is_lost() {
    survivors_go_on::<RawMutex>(Sabotage::NoWake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_pending_wake_is_lost() {
    survivors_go_on::<RawMutex>(Sabotage::NoPendingWake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_protocol_of_glibc_loses_a_wake() {
    survivors_go_on::<Glibc>(Sabotage::None);
}

#[test]
fn a_holders_death_is_reported_until_recovered() {
    every_death(|step| {
        let shared = Guarded::<RawMutex>::new();
        let mortal = {
            let shared = shared.clone();
            thread::spawn(move || Life { tid: 1, dies_after: Some(step) }.run(|| shared.increment()))
        };
        let died = mortal.join().unwrap() == Outcome::Died;
        let _ = Life::long(2).run(|| {
            let first = shared.increment();
            let second = Lock::lock(&shared.mutex);
            assert_eq!(first, second, "reported again: nobody recovered");
            assert!(died || first == Acquired::Consistent);
            shared.mutex.recover();
            Lock::unlock(&shared.mutex);
            assert_eq!(shared.increment(), Acquired::Consistent);
        });
    });
}

/// The robust mutex of glibc 2.36: WAITERS is cleared by the release, and set again by a woken thread that sleeps anew.
struct Glibc {
    node: crate::sys::robust::Node,
}

impl Glibc {
    const WAITERS: u32 = 1 << 31;
    const OWNER_DIED: u32 = 1 << 30;
    const TID_MASK: u32 = Self::OWNER_DIED - 1;

    fn word(&self) -> &AtomicU32 {
        &self.node.word
    }
}

impl Lock for Glibc {
    fn new() -> Self {
        Self { node: crate::sys::robust::Node::new() }
    }

    fn lock(&self) -> Acquired {
        use core::sync::atomic::Ordering::{Acquire, Relaxed};
        let thread = crate::sys::robust::Thread::current().unwrap();
        thread.set_pending(&self.node);
        let mut assume_waiters = 0;
        let acquired = loop {
            let seen = self.word().load(Relaxed);
            if seen & Self::TID_MASK == 0 {
                let held = thread.tid() | (seen & Self::WAITERS) | assume_waiters;
                if self.word().compare_exchange(seen, held, Acquire, Relaxed).is_ok() {
                    break if seen & Self::OWNER_DIED != 0 {
                        Acquired::OwnerDied
                    } else {
                        Acquired::Consistent
                    };
                }
                continue;
            }
            let waited = seen | Self::WAITERS;
            if seen == waited || self.word().compare_exchange(seen, waited, Relaxed, Relaxed).is_ok() {
                crate::sys::futex::wait(self.word(), waited, None);
                assume_waiters = Self::WAITERS;
            }
        };
        thread.push(&self.node);
        thread.clear_pending();
        acquired
    }

    fn unlock(&self) {
        let thread = crate::sys::robust::Thread::current().unwrap();
        thread.set_pending(&self.node);
        thread.pop(&self.node);
        let before = self.word().swap(0, core::sync::atomic::Ordering::Release);
        if before & Self::WAITERS != 0 {
            crate::sys::futex::wake(self.word(), 1);
        }
        thread.clear_pending();
    }
}
