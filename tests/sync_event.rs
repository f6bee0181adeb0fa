//! What an event promises that Python's does not.
#![cfg(feature = "auto-init")]

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use multiproc::{Event, Process, ProcessError};

/// Far more than it should take; a failure and not a measure.
const SOON: Duration = Duration::from_secs(20);

/// Returns once the thread `tid` of this process sleeps.
fn await_sleep(tid: i32) {
    let begun = Instant::now();
    loop {
        let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        let (_, after_name) = status.rsplit_once(") ").unwrap();
        if after_name.starts_with('S') {
            return;
        }
        assert!(begun.elapsed() < SOON, "{status}");
        std::thread::yield_now();
    }
}

fn wait_for((event, waiting): (Event, Event)) {
    waiting.set();
    event.wait();
}

/// KNOWN-BAD 6.
#[test]
fn a_killed_waiter_does_not_hold_up_set() {
    let (event, waiting) = (Event::new().unwrap(), Event::new().unwrap());
    let mut victim = Process::spawn(wait_for, (event.clone(), waiting.clone())).unwrap();
    assert!(waiting.wait_timeout(SOON));
    victim.kill().unwrap();
    assert!(matches!(victim.join(), Err(ProcessError::Signaled(9))));
    let mut other = Process::spawn(wait_for, (event.clone(), waiting.clone())).unwrap();
    event.set();
    assert!(event.is_set());
    other.join_timeout(SOON).unwrap();
}

/// KNOWN-BAD 7.
#[test]
fn a_pulse_releases_everybody_who_was_waiting() {
    for _ in 0..100 {
        let event = Event::new().unwrap();
        let tid = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                tid.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
                event.wait_timeout(SOON)
            });
            while tid.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            await_sleep(tid.load(Ordering::Relaxed));
            event.set();
            event.clear();
            assert!(waiter.join().unwrap());
        });
        assert!(!event.is_set());
    }
}
