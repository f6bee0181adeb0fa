//! Tests of what only a look into the memory can arrange: ids in a lock's word that no lock operation would write there.
#![allow(unsafe_code)]

use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Lock, LockError, PermitError, Permits, RLock};
use crate::raw::{AcquireError, Acquired, Deadline, RawMutex};
use crate::segment::{Placed, Segment, Share};

/// Far more than it should take; a failure and not a measure.
const SOON: Duration = Duration::from_secs(30);
/// Longer than it takes a waiter to become impatient, twice.
const LONG: Duration = Duration::from_millis(2300);

/// A process that does nothing until it is killed, at the latest when this is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// Dead, and reaped.
    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whose reaper no other test takes.
fn in_a_segment_of_their_own(permits: usize) -> (Lock, RLock, Permits) {
    let segment = Segment::anonymous(4096).unwrap();
    let lock = Lock::new_in(&segment, "lock").unwrap();
    let rlock = RLock::new_in(&segment, "rlock").unwrap();
    (lock, rlock, Permits::new_in(&segment, "permits", permits).unwrap())
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes `word` into the object, `offset` bytes behind its start.
fn overwrite<H: Share>(placed: &Placed<H>, offset: usize, word: u32) {
    let memory = placed.segment().region();
    let start = placed.head().as_ptr().addr() - memory.start().as_ptr().addr();
    memory.store(start + offset, &word.to_ne_bytes()).unwrap();
}

/// A lock, a nesting lock, and a single permit, whose words say that `tid` holds them.
fn held_by(tid: u32) -> (Lock, RLock, Permits) {
    let (lock, rlock, permits) = in_a_segment_of_their_own(1);
    overwrite(&lock.mutex, 0, tid);
    overwrite(&rlock.lock, 0, tid);
    overwrite(&permits.permits.0, size_of_val(&*permits.permits.0), tid);
    assert_eq!(permits.available(), 0);
    (lock, rlock, permits)
}

fn own_tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[test]
fn a_living_thread_with_the_owners_id_is_never_robbed_and_time_outs_name_it() {
    let mut sleeper = Sleeper::new();
    let tid = sleeper.id();
    let (lock, rlock, permits) = held_by(tid);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let error = lock.lock_timeout(LONG).unwrap_err();
            assert!(matches!(error, LockError::TimedOut { owner } if owner == tid), "{error:?}");
            assert!(error.to_string().contains(&tid.to_string()));
        });
        scope.spawn(|| {
            let error = rlock.lock_timeout(LONG).unwrap_err();
            assert!(matches!(error, LockError::TimedOut { owner } if owner == tid), "{error:?}");
        });
        let error = permits.acquire_timeout(LONG).unwrap_err();
        assert_eq!(error, PermitError::TimedOut { owner: tid });
    });
    sleeper.end();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_)))));
        scope.spawn(|| assert!(matches!(rlock.lock_timeout(SOON), Err(LockError::OwnerDied(_)))));
        drop(permits.acquire_timeout(SOON).unwrap());
    });
}

#[test]
fn a_lock_that_an_earlier_bearer_of_the_waiters_id_left_is_taken() {
    let waiters: [fn(); 3] = [
        || drop(held_by(own_tid()).2.acquire_timeout(SOON).unwrap()),
        || assert!(matches!(held_by(own_tid()).0.lock_timeout(SOON), Err(LockError::OwnerDied(_)))),
        || assert!(matches!(held_by(own_tid()).1.lock_timeout(SOON), Err(LockError::OwnerDied(_)))),
    ];
    std::thread::scope(|scope| {
        for wait in waiters {
            scope.spawn(wait);
        }
    });
}

#[test]
fn a_reaper_that_another_thread_holds_is_not_waited_for() {
    let mut sleeper = Sleeper::new();
    sleeper.end();
    let (lock, _, _) = in_a_segment_of_their_own(1);
    overwrite(&lock.mutex, 0, sleeper.id());
    // A living thread that has this segment's reaper: this process's first.
    lock.mutex.segment().region().store(64, &std::process::id().to_ne_bytes()).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| lock.lock_timeout(LONG).map(drop).map_err(|error| error.map(drop)));
        assert!(matches!(waiter.join().unwrap(), Err(LockError::TimedOut { .. })));
    });
    lock.mutex.segment().region().store(64, &[0; 4]).unwrap();
    assert!(matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))));
    let mut reaper = [0; 4];
    lock.mutex.segment().region().load(64, &mut reaper).unwrap();
    assert_eq!(reaper, [0; 4], "given back");
}

#[test]
fn outside_a_segment_a_dead_owner_is_named_and_not_robbed() {
    let mut sleeper = Sleeper::new();
    sleeper.end();
    let mutex = RawMutex::new();
    // SAFETY: a mutex begins with its word, an atomic one.
    let word = unsafe { &*(&raw const mutex).cast::<AtomicU32>() };
    word.store(sleeper.id(), Ordering::Relaxed);
    // SAFETY: the mutex is not taken; its memory outlives the call.
    let refused = unsafe { mutex.lock(Deadline::after(LONG)) };
    assert_eq!(refused, Err(AcquireError::TimedOut { owner: sleeper.id() }));
    word.store(0, Ordering::Relaxed);
    // SAFETY: the mutex is unlocked below.
    assert_eq!(unsafe { mutex.try_lock() }, Ok(Acquired::Consistent));
    mutex.unlock().unwrap();
}

/// Scribbles over what lies behind the headers of some segments until told to stop.
fn scribble(segments: &[(&Segment, usize)], stop: &AtomicBool, seed: u64) {
    let mut state = seed;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    while !stop.load(Ordering::Relaxed) {
        for &(segment, end) in segments {
            // The reaper lies at 64, the object behind its header at 256.
            let start = if random() % 8 == 0 { 64 } else { 256 };
            let offset = start + (random() as usize % (end - 256)) / 4 * 4;
            let word = match random() % 4 {
                0 => 0,
                1 => own_tid(),
                _ => random() as u32,
            };
            let _ = segment.region().store(offset.min(end - 4), &word.to_ne_bytes());
        }
        if random() % 64 == 0 {
            std::thread::yield_now();
        }
    }
}

/// Seconds of scribbling: few unless `MULTIPROC_HOSTILE_SECS` says otherwise.
fn hostile_time() -> Duration {
    let asked = std::env::var("MULTIPROC_HOSTILE_SECS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(1))
}

#[test]
fn timed_operations_end_whatever_a_peer_scribbles() {
    let (lock, rlock, permits) = in_a_segment_of_their_own(3);
    let segments = [
        (lock.mutex.segment(), 256 + 40),
        (rlock.lock.segment(), 256 + 40),
        (permits.permits.0.segment(), 256 + 48 + 3 * 40),
    ];
    let time = hostile_time();
    let stop = AtomicBool::new(false);
    let short = Duration::from_millis(2);
    let operations: [&(dyn Fn() + Sync); 4] = [
        &|| drop(lock.lock_timeout(short)),
        &|| {
            let outer = rlock.lock_timeout(short);
            let inner = rlock.try_lock();
            assert!(outer.is_err_and(|error| !matches!(error, LockError::OwnerDied(_))) || held(&inner));
        },
        &|| drop(permits.acquire_timeout(short)),
        &|| {
            let _both = (lock.try_lock(), rlock.try_lock());
            drop(permits.try_acquire());
        },
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| scribble(&segments, &stop, 88_172_645_463_325_252));
        let workers = operations.map(|operation| {
            scope.spawn(move || {
                let (begun, mut count, mut longest) = (Instant::now(), 0, Duration::ZERO);
                while begun.elapsed() < time {
                    let one = Instant::now();
                    operation();
                    longest = longest.max(one.elapsed());
                    count += 1;
                }
                assert!(longest < SOON, "a timed operation took {longest:?}");
                assert_eq!(crate::sys::robust::Thread::current().unwrap().held(), 0, "all is popped");
                count
            })
        });
        let counts = workers.map(|worker| worker.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        println!("{counts:?} operations under scribbling");
        assert!(counts.iter().all(|&count| count > 0));
    });
}

/// Whether a nested acquisition has a guard.
fn held<G>(taken: &Result<G, LockError<G>>) -> bool {
    matches!(taken, Ok(_) | Err(LockError::OwnerDied(_)))
}
