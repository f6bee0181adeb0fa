//! Semaphores between threads and processes, and what a death leaves.
#![cfg(feature = "auto-init")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use multiproc::{BoundedSemaphore, Event, OverReleased, Process, ProcessError, Semaphore, Value};

/// Far more than it should take; a failure and not a measure.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_bounded_semaphore_refuses_over_release_and_keeps_its_value() {
    let semaphore = BoundedSemaphore::new(2).unwrap();
    assert_eq!(semaphore.release(), Err(OverReleased));
    assert_eq!(semaphore.value(), 2);
    semaphore.acquire();
    assert_eq!(semaphore.release(), Ok(()));
    assert_eq!(semaphore.release(), Err(OverReleased));
    assert_eq!(semaphore.value(), 2);
    assert_eq!(BoundedSemaphore::new(0).unwrap().release(), Err(OverReleased));
    assert!(multiproc::Error::from(OverReleased).to_string().contains("more often"));
}

#[test]
fn the_bound_holds_while_others_sleep_and_release_at_once() {
    let semaphore = BoundedSemaphore::new(1).unwrap();
    let refused = AtomicU32::new(0);
    semaphore.acquire();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if semaphore.release().is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    assert!(semaphore.value() <= 1);
                }
            });
        }
        scope.spawn(|| while semaphore.acquire_timeout(Duration::from_millis(50)) {});
    });
    assert!(semaphore.value() <= 1);
    assert!(refused.load(Ordering::Relaxed) > 0, "two release faster than one acquires");
}

#[test]
fn a_semaphore_may_be_released_by_whoever_did_not_acquire() {
    let semaphore = Semaphore::new(0).unwrap();
    let mut other = Process::spawn(|semaphore: Semaphore| semaphore.release(), semaphore.clone()).unwrap();
    assert!(semaphore.acquire_timeout(SOON));
    other.join().unwrap();
    assert!(!semaphore.try_acquire());
    assert!(!semaphore.acquire_timeout(Duration::from_millis(2)));
    assert!(!semaphore.acquire_deadline(Instant::now()));
    semaphore.release();
    semaphore.release();
    assert_eq!(semaphore.value(), 2);
}

fn enter_often((semaphore, inside): (Semaphore, Value<[u32; 2]>)) {
    for _ in 0..500 {
        semaphore.acquire();
        inside
            .update(|[now, most]| {
                *now += 1;
                *most = (*most).max(*now);
            })
            .unwrap();
        inside.update(|[now, _]| *now -= 1).unwrap();
        semaphore.release();
    }
}

#[test]
fn no_more_processes_are_inside_than_the_semaphore_admits() {
    let semaphore = Semaphore::new(2).unwrap();
    let inside = Value::new([0, 0]).unwrap();
    let processes: Vec<_> =
        (0..4).map(|_| Process::spawn(enter_often, (semaphore.clone(), inside.clone())).unwrap()).collect();
    for mut process in processes {
        process.join_timeout(SOON).unwrap();
    }
    let [now, most] = inside.get();
    assert_eq!((now, semaphore.value()), (0, 2));
    assert!((1..=2).contains(&most));
}

fn acquire_and_tell((semaphore, tried, acquired): (Semaphore, Event, Event)) {
    multiproc::testing::set_sleep_slice(None);
    tried.set();
    semaphore.acquire();
    acquired.set();
}

/// A waiter is killed at a random moment around the release that wakes it, with the slice off; another one waits.
#[test]
fn a_killed_waiter_takes_no_wake_up_with_it() {
    for round in 0..20_u64 {
        let semaphore = Semaphore::new(0).unwrap();
        let waiters = [0, 1].map(|_| {
            let (tried, acquired) = (Event::new().unwrap(), Event::new().unwrap());
            let arguments = (semaphore.clone(), tried.clone(), acquired.clone());
            let process = Process::spawn(acquire_and_tell, arguments).unwrap();
            assert!(tried.wait_timeout(SOON));
            (process, acquired)
        });
        let [(mut victim, _), (mut survivor, acquired)] = waiters;
        semaphore.release();
        for _ in 0..round * 50 {
            std::hint::spin_loop();
        }
        victim.kill().unwrap();
        let ended = victim.join();
        assert!(matches!(ended, Ok(()) | Err(ProcessError::Signaled(9))), "{ended:?}");
        if semaphore.value() == 0 && !acquired.is_set() {
            // The victim, or the survivor just now, has the only permission.
            semaphore.release();
        }
        assert!(acquired.wait_timeout(SOON), "round {round}: asleep beside a count of {}", semaphore.value());
        survivor.join_timeout(SOON).unwrap();
    }
}
