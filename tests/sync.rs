//! Locks and events between threads and processes, and what a death leaves.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use multiproc::{Error, Event, Lock, LockError, PermitError, Permits, RLock};

const SOON: Duration = Duration::from_secs(10);

/// Runs `body`, whose sleeps end by a wake or after `SOON`, and demands that it was a wake.
fn proves_a_wake(body: impl FnOnce()) {
    multiproc::testing::set_sleep_slice(None);
    let begun = Instant::now();
    body();
    assert!(begun.elapsed() < SOON, "a waiter slept until its deadline");
}

/// A forked child, which is reaped when dropped.
struct Child(libc::pid_t);

impl Child {
    /// Runs `body` in a child, which then ends without running destructors; it must not allocate much nor print.
    fn fork(body: impl FnOnce()) -> Self {
        // SAFETY: the child uses only memory of its own and the shared primitives, and ends by _exit.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            body();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        Self(pid)
    }

    fn kill(&self) {
        // SAFETY: the child has not been reaped, so the number is its.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }

    fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        status
    }
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_lock_excludes_other_threads() {
    let lock = Lock::new().unwrap();
    let inside = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let _guard = lock.lock().unwrap();
                    assert!(!inside.swap(true, Ordering::Relaxed));
                    inside.store(false, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!lock.is_locked());
}

#[test]
fn a_lock_held_elsewhere_would_block_or_times_out_naming_the_owner() {
    let lock = Lock::new().unwrap();
    let held = Event::new().unwrap();
    let done = Event::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = lock.lock().unwrap();
            held.set();
            done.wait();
        });
        held.wait();
        assert!(lock.is_locked());
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        let Err(LockError::TimedOut { owner }) = lock.lock_timeout(Duration::from_millis(5)) else {
            panic!("taken while held")
        };
        assert!(std::path::Path::new(&format!("/proc/self/task/{owner}")).exists());
        let past = lock.lock_deadline(Instant::now());
        assert!(matches!(past, Err(LockError::TimedOut { .. })));
        done.set();
    });
}

#[test]
fn taking_a_lock_twice_is_a_deadlock_error() {
    let lock = Lock::new().unwrap();
    let clone = lock.clone();
    let guard = lock.lock().unwrap();
    assert!(matches!(clone.lock(), Err(LockError::Deadlock)));
    assert!(matches!(clone.try_lock(), Err(LockError::Deadlock)));
    drop(guard);
    assert!(clone.try_lock().is_ok());
}

#[test]
fn a_holder_thread_that_ends_passes_the_lock_on_flagged() {
    let lock = Lock::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(lock.lock().unwrap()));
    });
    for _ in 0..2 {
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))), "until recovered");
    }
    drop(lock.lock().or_else(LockError::recover).unwrap());
    assert!(lock.lock().is_ok());
}

#[test]
fn a_killed_holder_process_passes_the_lock_to_a_waiter() {
    let lock = Lock::new().unwrap();
    let held = Event::new().unwrap();
    drop(lock.lock().unwrap());
    let child = Child::fork(|| {
        let _guard = lock.lock();
        held.set();
        wait_for_ever();
    });
    assert!(held.wait_timeout(SOON));
    proves_a_wake(|| {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))));
            child.kill();
            assert!(waiter.join().unwrap());
        });
    });
    child.wait();
}

#[test]
fn repair_runs_once_after_a_death_and_clears_the_flag() {
    let lock = Lock::new().unwrap();
    drop(lock.lock().unwrap());
    let child = Child::fork(|| std::mem::forget(lock.lock()));
    child.wait();
    let mut repairs = 0;
    for _ in 0..2 {
        drop(lock.lock_or_recover(|_| repairs += 1).unwrap());
    }
    assert_eq!(repairs, 1);
}

#[test]
fn a_panic_in_repair_leaves_the_lock_free_and_flagged() {
    let lock = Lock::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(lock.lock().unwrap()));
    });
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(lock.lock_or_recover(|_| panic!("planned")));
    }));
    assert!(panicked.is_err());
    assert!(!lock.is_locked());
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
}

#[test]
fn converting_an_error_with_a_guard_releases_the_lock_and_leaves_it_flagged() {
    let lock = Lock::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(lock.lock().unwrap()));
    });
    let error: Error = lock.lock().unwrap_err().into();
    assert!(error.to_string().contains("a holder of the lock died"), "{error}");
    assert!(!lock.is_locked());
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
}

#[test]
fn a_guard_dropped_in_a_forked_child_does_nothing() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    let child = Child::fork(|| {
        // SAFETY: a copy of the guard, as fork makes one; the original belongs to the parent.
        drop(unsafe { std::ptr::read(&raw const guard) });
        let free = !lock.is_locked();
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(free)) }
    });
    assert_eq!(child.wait(), 0);
    assert!(lock.is_locked());
    drop(guard);
    assert!(lock.try_lock().is_ok());
}

#[test]
fn an_inherited_guard_does_not_unlock_what_the_forked_child_locked_itself() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    let (released, locked) = (Event::new().unwrap(), Event::new().unwrap());
    let child = Child::fork(|| {
        released.wait();
        let own = lock.lock();
        // SAFETY: a copy of the guard, as fork makes one; the original belongs to the parent, which has dropped it.
        drop(unsafe { std::ptr::read(&raw const guard) });
        let still_held = own.is_ok() && lock.is_locked();
        locked.set();
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!still_held)) }
    });
    // SAFETY: dropped once in this process; the child has a copy of the bytes.
    drop(unsafe { std::ptr::read(&raw const guard) });
    std::mem::forget(guard);
    released.set();
    locked.wait();
    assert_eq!(child.wait(), 0);
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
}

#[test]
fn a_nesting_lock_excludes_other_threads_until_all_its_guards_are_gone() {
    let lock = RLock::new().unwrap();
    let inside = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let outer = lock.lock().unwrap();
                    assert!(!inside.swap(true, Ordering::Relaxed));
                    drop(lock.lock_timeout(SOON).unwrap());
                    let inner = lock.try_lock().unwrap();
                    drop(outer);
                    inside.store(false, Ordering::Relaxed);
                    drop(inner);
                }
            });
        }
    });
    assert!(!lock.is_locked());
}

#[test]
fn a_killed_holders_nesting_lock_passes_to_a_waiter_however_deep_it_was() {
    let lock = RLock::new().unwrap();
    let held = Event::new().unwrap();
    drop(lock.lock().unwrap());
    let child = Child::fork(|| {
        let _guards = (lock.lock(), lock.lock(), lock.lock());
        held.set();
        wait_for_ever();
    });
    assert!(held.wait_timeout(SOON));
    proves_a_wake(|| {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let taken = lock.lock_timeout(SOON);
                assert!(matches!(taken, Err(LockError::OwnerDied(_))), "{taken:?}");
                assert!(matches!(lock.try_lock(), Err(LockError::OwnerDied(_))), "until recovered");
                let _outer = taken.or_else(LockError::recover).unwrap();
                drop(lock.lock().unwrap());
            });
            child.kill();
            waiter.join().unwrap();
        });
    });
    child.wait();
    assert!(lock.lock().is_ok());
}

#[test]
fn no_more_threads_have_permits_than_there_are_and_all_get_one() {
    let permits = Permits::new(2).unwrap();
    let inside = AtomicUsize::new(0);
    proves_a_wake(|| {
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let _permit = permits.acquire_timeout(SOON).unwrap();
                        assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
    });
    assert_eq!(permits.available(), 2);
}

#[test]
fn permits_held_elsewhere_would_block_or_time_out_naming_a_holder() {
    let permits = Permits::new(1).unwrap();
    let (held, done) = (Event::new().unwrap(), Event::new().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _permit = permits.acquire().unwrap();
            assert!(matches!(permits.try_acquire(), Err(PermitError::Deadlock)));
            held.set();
            done.wait();
        });
        held.wait();
        assert!(matches!(permits.try_acquire(), Err(PermitError::WouldBlock)));
        let Err(PermitError::TimedOut { owner }) = permits.acquire_timeout(Duration::from_millis(5)) else {
            panic!("taken while held")
        };
        assert!(std::path::Path::new(&format!("/proc/self/task/{owner}")).exists());
        assert!(matches!(permits.acquire_deadline(Instant::now()), Err(PermitError::TimedOut { .. })));
        done.set();
    });
}

#[test]
fn a_killed_waiter_for_a_permit_takes_no_wake_up_with_it() {
    let permits = Permits::new(1).unwrap();
    let permit = permits.acquire().unwrap();
    let waiting = Event::new().unwrap();
    let child = Child::fork(|| {
        waiting.set();
        std::mem::forget(permits.acquire());
        wait_for_ever();
    });
    assert!(waiting.wait_timeout(SOON));
    proves_a_wake(|| {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(permits.acquire_timeout(SOON).unwrap()));
            child.kill();
            child.wait();
            drop(permit);
            waiter.join().unwrap();
        });
    });
    assert_eq!(permits.available(), 1);
}

#[test]
fn a_permit_dropped_in_a_forked_child_is_not_given_back() {
    let permits = Permits::new(1).unwrap();
    let permit = permits.acquire().unwrap();
    let child = Child::fork(|| {
        // SAFETY: a copy of the permit, as fork makes one; the original belongs to the parent.
        drop(unsafe { std::ptr::read(&raw const permit) });
        let available = i32::from(permits.available() != 0);
        // SAFETY: ends the child.
        unsafe { libc::_exit(available) }
    });
    assert_eq!(child.wait(), 0);
    drop(permit);
    assert_eq!(permits.available(), 1);
}

#[test]
fn an_event_set_in_another_process_wakes_a_waiter() {
    let event = Event::new().unwrap();
    proves_a_wake(|| {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| event.wait_timeout(SOON));
            let child = Child::fork(|| event.set());
            assert!(waiter.join().unwrap());
            assert_eq!(child.wait(), 0);
        });
    });
    assert!(event.is_set());
    event.clear();
    assert!(!event.wait_timeout(Duration::from_millis(2)));
    assert!(!event.wait_deadline(Instant::now()));
}

#[test]
fn a_killed_waiter_takes_no_wake_up_with_it() {
    let event = Event::new().unwrap();
    let waiting = Event::new().unwrap();
    let child = Child::fork(|| {
        waiting.set();
        event.wait();
        wait_for_ever();
    });
    assert!(waiting.wait_timeout(SOON));
    proves_a_wake(|| {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| event.wait_timeout(SOON));
            child.kill();
            child.wait();
            event.set();
            assert!(waiter.join().unwrap());
        });
    });
}

#[test]
fn handles_may_be_used_and_dropped_in_any_thread() {
    fn any_thread<T: Send + Sync + Clone + 'static>(_: &T) {}
    let lock = Lock::new().unwrap();
    any_thread(&lock);
    any_thread(&Event::new().unwrap());
    any_thread(&RLock::new().unwrap());
    any_thread(&Permits::new(1).unwrap());
    std::thread::spawn(move || drop(lock.lock().unwrap())).join().unwrap();
}
