//! Conditions between threads and processes, and what a death leaves. The slice stays on: deaths are noticed by it.
#![cfg(feature = "auto-init")]
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use multiproc::{
    Condition, ConditionGuard, ConditionOptions, Error, Event, Lock, LockError, Process, ProcessError, RLock,
    Value, WaitError,
};

/// Far more than it should take; a failure and not a measure.
const SOON: Duration = Duration::from_secs(20);

fn lock(condition: &Condition) -> ConditionGuard<'_> {
    condition.lock().unwrap()
}

/// Returns the guard once `count` wait and have not been notified.
fn lock_when_waiting(condition: &Condition, count: usize) -> ConditionGuard<'_> {
    let begun = Instant::now();
    loop {
        let guard = lock(condition);
        if guard.waiting() == count {
            return guard;
        }
        assert!(begun.elapsed() < SOON, "{} wait, not {count}", guard.waiting());
        drop(guard);
        std::thread::yield_now();
    }
}

/// Waits once and says so in `woken`, under the lock.
fn wait_once((condition, woken): (Condition, Value<u32>)) {
    let guard = lock(&condition).wait().or_else(WaitError::recover).unwrap();
    woken.update(|woken| *woken += 1).unwrap();
    drop(guard);
}

fn spawn_waiter(condition: &Condition, woken: &Value<u32>) -> Process<()> {
    Process::spawn(wait_once, (condition.clone(), woken.clone())).unwrap()
}

fn await_value(value: &Value<u32>, expected: u32) {
    let begun = Instant::now();
    while value.get() != expected {
        assert!(begun.elapsed() < SOON, "{} and not {expected}", value.get());
        std::thread::yield_now();
    }
}

fn kill(mut process: Process<()>) {
    process.kill().unwrap();
    let ended = process.join();
    assert!(matches!(ended, Err(ProcessError::Signaled(9))), "{ended:?}");
}

/// KNOWN-BAD 5.
#[test]
fn a_killed_waiter_does_not_hold_up_notify() {
    let condition = Condition::new().unwrap();
    let woken = Value::new(0).unwrap();
    let victim = spawn_waiter(&condition, &woken);
    drop(lock_when_waiting(&condition, 1));
    kill(victim);
    let guard = lock(&condition);
    assert_eq!(guard.notify_all(), 0, "the dead are passed over");
    drop(guard);
    assert!(condition.try_lock().is_ok(), "and the lock is free");
    let mut waiter = spawn_waiter(&condition, &woken);
    assert!(lock_when_waiting(&condition, 1).notify_one());
    waiter.join_timeout(SOON).unwrap();
}

#[test]
fn notify_wakes_at_most_as_many_as_it_says_also_later() {
    let condition = Condition::new().unwrap();
    let woken = Value::new(0).unwrap();
    let waiters: Vec<_> = (0..4).map(|_| spawn_waiter(&condition, &woken)).collect();
    let guard = lock_when_waiting(&condition, 4);
    assert_eq!(guard.notify(1), 1);
    drop(guard);
    await_value(&woken, 1);
    // Nothing is awaited: several slices end, and nobody else may wake.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(woken.get(), 1);
    let guard = lock_when_waiting(&condition, 3);
    assert_eq!(guard.notify(2), 2);
    drop(guard);
    await_value(&woken, 3);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(woken.get(), 3);
    assert_eq!(lock_when_waiting(&condition, 1).notify(7), 1);
    for mut waiter in waiters {
        waiter.join_timeout(SOON).unwrap();
    }
    assert_eq!(woken.get(), 4);
}

#[test]
fn a_notification_given_to_a_waiter_that_is_then_killed_goes_to_another() {
    let condition = Condition::new().unwrap();
    let woken = Value::new(0).unwrap();
    let oldest = spawn_waiter(&condition, &woken);
    drop(lock_when_waiting(&condition, 1));
    let mut next = spawn_waiter(&condition, &woken);
    drop(lock_when_waiting(&condition, 2));
    let mut last = spawn_waiter(&condition, &woken);
    let guard = lock_when_waiting(&condition, 3);
    assert!(guard.notify_one(), "the oldest, which can't get the lock");
    kill(oldest);
    drop(guard);
    await_value(&woken, 1);
    // One notification, one waiter.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(woken.get(), 1);
    assert!(lock_when_waiting(&condition, 1).notify_one());
    next.join_timeout(SOON).unwrap();
    last.join_timeout(SOON).unwrap();
}

#[test]
fn a_dead_waiters_notification_is_not_for_who_came_after_it() {
    let condition = Condition::new().unwrap();
    let woken = Value::new(0).unwrap();
    let victim = spawn_waiter(&condition, &woken);
    let guard = lock_when_waiting(&condition, 1);
    assert!(guard.notify_one());
    kill(victim);
    // Waits for several slices.
    let (guard, notified) = guard.wait_timeout(Duration::from_millis(300)).unwrap();
    assert!(!notified);
    drop(guard);
}

fn notify_a_hundred((condition, notified): (Condition, Value<u32>)) {
    for _ in 0..100 {
        let guard = lock(&condition);
        if guard.notify_one() {
            notified.update(|notified| *notified += 1).unwrap();
        }
        drop(guard);
        std::thread::yield_now();
    }
}

#[test]
fn every_notification_wakes_exactly_one_waiter() {
    let condition = Condition::new().unwrap();
    let notified = Value::new(0_u32).unwrap();
    let woken = AtomicU32::new(0);
    let stop = Value::new(0_u8).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut guard = lock(&condition);
                while stop.get() == 0 {
                    let by_notification;
                    // Timed-out waiters swallow nothing.
                    (guard, by_notification) = guard.wait_timeout(Duration::from_micros(300)).unwrap();
                    woken.fetch_add(u32::from(by_notification), Ordering::Relaxed);
                }
            });
        }
        let notifiers: Vec<_> = (0..2)
            .map(|_| Process::spawn(notify_a_hundred, (condition.clone(), notified.clone())).unwrap())
            .collect();
        for mut notifier in notifiers {
            notifier.join_timeout(SOON).unwrap();
        }
        stop.set(1).unwrap();
    });
    assert_eq!(woken.load(Ordering::Relaxed), notified.get());
    assert!(notified.get() > 0);
}

#[test]
fn a_notification_is_not_remembered() {
    let condition = Condition::new().unwrap();
    let guard = lock(&condition);
    assert!(!guard.notify_one());
    let (guard, notified) = guard.wait_timeout(Duration::from_millis(2)).unwrap();
    assert!(!notified);
    let (_guard, notified) = guard.wait_deadline(Instant::now()).unwrap();
    assert!(!notified);
}

/// KNOWN-BAD 49.
#[test]
fn taking_the_lock_again_can_be_bounded_and_gives_the_notification_away() {
    let condition = Condition::new().unwrap();
    let lost = AtomicU32::new(0);
    let notified = Event::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let guard = lock(&condition);
            let waited = guard.wait_timeout_relock(SOON, Duration::from_millis(5));
            let Err(WaitError::TimedOut { owner }) = waited else { panic!("{waited:?}") };
            lost.store(owner, Ordering::Relaxed);
        });
        drop(lock_when_waiting(&condition, 1));
        let patient = scope.spawn(|| {
            let (guard, met) = lock(&condition).wait_timeout(SOON).unwrap();
            drop(guard);
            met
        });
        let guard = lock_when_waiting(&condition, 2);
        assert!(guard.notify_one());
        notified.set();
        while lost.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(lost.load(Ordering::Relaxed), rustix::thread::gettid().as_raw_nonzero().get() as u32);
        drop(guard);
        assert!(patient.join().unwrap(), "notified in its place");
    });
}

#[test]
fn wait_for_asks_first_and_reports_the_last_answer() {
    let condition = Condition::new().unwrap();
    let guard = lock(&condition).wait_for(|| true).unwrap();
    let (guard, met) = guard.wait_for_timeout(Duration::from_millis(2), || false).unwrap();
    assert!(!met);
    let mut asked = 0;
    let (guard, met) = guard
        .wait_for_timeout(Duration::from_millis(2), || {
            asked += 1;
            asked == 2
        })
        .unwrap();
    assert!(met, "asked again after the time");
    let (_guard, met) = guard.wait_for_deadline(Instant::now(), || true).unwrap();
    assert!(met);
}

fn count_down((condition, left): (Condition, Value<u32>)) {
    let guard = lock(&condition);
    left.update(|left| *left -= 1).unwrap();
    guard.notify_all();
}

#[test]
fn processes_meet_a_predicate() {
    let condition = Condition::new().unwrap();
    let left = Value::new(3_u32).unwrap();
    let processes: Vec<_> =
        (0..3).map(|_| Process::spawn(count_down, (condition.clone(), left.clone())).unwrap()).collect();
    let (guard, met) = lock(&condition).wait_for_timeout(SOON, || left.get() == 0).unwrap();
    assert!(met);
    drop(guard);
    for mut process in processes {
        process.join().unwrap();
    }
}

#[test]
fn a_wait_releases_all_levels_and_restores_them() {
    let lock_ = RLock::new().unwrap();
    let condition = Condition::with_rlock(&lock_).unwrap();
    std::thread::scope(|scope| {
        let outer = lock_.lock().unwrap();
        let middle = lock_.lock().unwrap();
        let guard = lock(&condition);
        scope.spawn(|| assert_eq!(lock_when_waiting(&condition, 1).notify_all(), 1));
        let guard = guard.wait().unwrap();
        let elsewhere = || {
            let free = std::thread::scope(|scope| scope.spawn(|| lock_.try_lock().is_ok()).join());
            free.unwrap()
        };
        drop(guard);
        assert!(!elsewhere());
        drop(middle);
        assert!(!elsewhere());
        drop(outer);
        assert!(elsewhere());
    });
}

#[test]
fn conditions_share_a_lock_also_in_another_process() {
    let lock_ = Lock::new().unwrap();
    let (there, back) = (Condition::with_lock(&lock_).unwrap(), Condition::with_lock(&lock_).unwrap());
    let guard = lock(&back);
    assert!(matches!(there.lock(), Err(LockError::Deadlock)));
    let answer = |(there, back): (Condition, Condition)| {
        assert_eq!(lock_when_waiting(&back, 1).notify_all(), 1);
        let (_guard, notified) = lock(&there).wait_timeout(SOON).unwrap();
        notified
    };
    let mut process = Process::spawn(answer, (there.clone(), back.clone())).unwrap();
    drop(guard.wait().unwrap());
    assert!(lock_when_waiting(&there, 1).notify_one());
    assert!(process.join_timeout(SOON).unwrap());
    assert!(!lock_.is_locked());
}

fn die_with_the_lock(condition: Condition) {
    let guard = lock_when_waiting(&condition, 1);
    guard.notify_all();
    // SAFETY: kills this process.
    unsafe { libc::raise(libc::SIGKILL) };
}

#[test]
fn a_notifier_that_dies_with_the_lock_has_notified_and_is_reported() {
    let condition = Condition::new().unwrap();
    let guard = lock(&condition);
    let mut notifier = Process::spawn(die_with_the_lock, condition.clone()).unwrap();
    let (guard, notified) = match guard.wait_timeout(SOON) {
        Err(error @ WaitError::OwnerDied(_)) => error.recover().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(notified);
    drop(guard);
    assert!(condition.lock().is_ok(), "recovered");
    assert!(matches!(notifier.join(), Err(ProcessError::Signaled(9))));
}

#[test]
fn a_full_table_is_a_typed_error_that_keeps_the_lock() {
    let condition = ConditionOptions::new().max_waiters(1).create().unwrap();
    assert!(matches!(
        ConditionOptions::new().max_waiters(0).create(),
        Err(Error::InvalidArgument { found, .. }) if found == "0"
    ));
    std::thread::scope(|scope| {
        scope.spawn(|| drop(lock(&condition).wait().unwrap()));
        let guard = lock_when_waiting(&condition, 1);
        let Err(WaitError::TooManyWaiters((guard, false))) = guard.wait_timeout(SOON) else {
            panic!("two in a table of one")
        };
        assert!(guard.notify_one());
    });
    assert!(condition.try_lock().is_ok());
}

#[test]
fn the_room_of_a_dead_waiter_is_used_again() {
    let condition = ConditionOptions::new().max_waiters(1).create().unwrap();
    let woken = Value::new(0).unwrap();
    for _ in 0..3 {
        let victim = spawn_waiter(&condition, &woken);
        drop(lock_when_waiting(&condition, 1));
        kill(victim);
    }
    let (_guard, notified) = lock(&condition).wait_timeout(Duration::from_millis(1)).unwrap();
    assert!(!notified);
}
