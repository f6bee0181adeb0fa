//! Limits of the system and of the crate, and times that make no sense: typed errors, and everything works afterwards.
#![cfg(feature = "process")]
#![allow(unsafe_code)]

mod limited;

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use limited::{footprint, is_limited, passes, passes_under};
use multiproc::raw::{AcquireError, Acquired, RawMutex};
use multiproc::{
    Array, Error, Event, GetError, JoinableQueue, Lock, LockError, Process, PutError, Queue, QueueOptions,
    Segment, Value,
};

/// Words that one thread can hold.
const CAPACITY: usize = 1024;

fn add((a, b): (u64, u64)) -> u64 {
    a + b
}

/// A lock that shares no descriptor with other objects.
fn lock_alone() -> multiproc::Result<Lock> {
    Lock::new_in(&Segment::anonymous(1)?, "lock")
}

/// One of everything that takes a descriptor; kept until it is dropped.
type Thing = Box<dyn std::any::Any>;

fn make(kind: usize) -> Result<Thing, Error> {
    fn boxed<T: 'static>(made: multiproc::Result<T>) -> Result<Thing, Error> {
        made.map(|thing| Box::new(thing) as Thing)
    }
    match kind % 6 {
        0 => boxed(lock_alone()),
        1 => boxed(Queue::<u64>::bounded(2)),
        2 => boxed(QueueOptions::new(2).max_taken(2).joinable_queue::<u64>()),
        3 => boxed(Segment::anonymous(1).and_then(|segment| Event::new_in(&segment, "event"))),
        // Too large to share a segment with others.
        4 => boxed(Value::new([7_u64; 500])),
        _ => boxed(Array::<u64>::zeroed(1000)),
    }
}

#[test]
fn without_descriptors_everything_fails_by_a_typed_error_and_recovers() {
    if !is_limited() {
        passes_under("ulimit -n 32", "without_descriptors_everything_fails_by_a_typed_error_and_recovers");
        return;
    }
    assert_eq!(Process::spawn(add, (1, 1)).unwrap().join().unwrap(), 2, "whatever is kept for good is open");
    drop(make(0).unwrap());
    let before = footprint();
    for round in 0..20 {
        let mut things = Vec::new();
        let error = loop {
            match make(things.len() + round) {
                Ok(thing) => things.push(thing),
                Err(error) => break error,
            }
            assert!(things.len() < 32);
        };
        assert!(matches!(error, Error::TooManyFiles { .. }), "{error}");
        assert!(things.len() > 10);
        for kind in 0..6 {
            assert!(matches!(make(kind), Err(Error::TooManyFiles { .. })), "kind {kind}");
        }
        // With no descriptor left, then with one more each time: as many as a spawn needs are not there for long.
        let mut refused = 0;
        let mut process = loop {
            match Process::spawn(add, (2, 3)) {
                Err(Error::TooManyFiles { .. }) => refused += 1,
                Err(error) => panic!("with {refused} descriptors: {error}"),
                Ok(process) => break process,
            }
            things.pop();
        };
        assert!(refused > 0);
        // The child may lack descriptors itself: it ends with a code, not by a signal.
        let joined = process.join();
        assert!(matches!(joined, Ok(5) | Err(multiproc::ProcessError::Exited(_))), "{joined:?}");
        drop((things, process));
        assert_eq!(Process::spawn(add, (2, 3)).unwrap().join().unwrap(), 5);
        (0..6).for_each(|kind| drop(make(kind).unwrap()));
    }
    assert_eq!(footprint(), before);
}

#[test]
fn handles_that_find_no_descriptor_in_the_child_fail_the_spawn_and_not_the_parent() {
    if !is_limited() {
        passes_under(
            "ulimit -n 32",
            "handles_that_find_no_descriptor_in_the_child_fail_the_spawn_and_not_the_parent",
        );
        return;
    }
    let locks: Vec<Lock> = (0..16).map(|_| lock_alone().unwrap()).collect();
    let count = |locks: Vec<Lock>| locks.len();
    // The parent holds 16, the message 16 more: more than there may be open at once, here or there.
    match Process::spawn(count, locks.clone()) {
        Ok(mut process) => match process.join() {
            Ok(count) => assert_eq!(count, 16),
            Err(error) => assert!(matches!(error, multiproc::ProcessError::Exited(_)), "{error}"),
        },
        Err(error) => assert!(matches!(error, Error::TooManyFiles { .. }), "{error}"),
    }
    assert_eq!(Process::spawn(count, locks[..4].to_vec()).unwrap().join().unwrap(), 4);
    assert!(locks.iter().all(|lock| lock.try_lock().is_ok()));
}

#[test]
fn a_file_size_limit_of_nothing_is_out_of_memory_and_no_signal() {
    if !is_limited() {
        passes_under("ulimit -f 0", "a_file_size_limit_of_nothing_is_out_of_memory_and_no_signal");
        return;
    }
    assert_eq!(Process::spawn(add, (2, 3)).unwrap().join().unwrap(), 5, "a spawn needs no file");
    let before = footprint();
    for kind in 0..6 {
        match make(kind) {
            Err(Error::OutOfMemory { bytes, .. }) => assert!(bytes > 0),
            Err(error) => panic!("kind {kind}: {error}"),
            Ok(_) => panic!("kind {kind}: made beyond the limit"),
        }
    }
    assert_eq!(footprint(), before);
}

#[test]
fn an_address_space_limit_is_a_typed_error_and_leaks_nothing() {
    const BYTES: usize = 256 << 20;
    if !is_limited() {
        passes_under("ulimit -v 262144", "an_address_space_limit_is_a_typed_error_and_leaks_nothing");
        return;
    }
    drop(Lock::new().unwrap());
    let before = footprint();
    for _ in 0..3 {
        let error = Segment::anonymous(BYTES).unwrap_err();
        let typed = matches!(error, Error::OutOfMemory { .. } | Error::Os { .. });
        assert!(typed, "{error}");
    }
    assert_eq!(footprint(), before);
    assert!(Segment::anonymous(1 << 20).is_ok());
}

#[test]
fn a_full_tmpfs_is_a_typed_error_or_no_matter_and_never_a_signal() {
    const NAME: &str = "a_full_tmpfs_is_a_typed_error_or_no_matter_and_never_a_signal";
    if !is_limited() {
        // As root, else with a user namespace of its own.
        let permitted =
            [&["--mount"][..], &["--user", "--map-root-user", "--mount"]].into_iter().find(|args| {
                let tried = Command::new("unshare")
                    .args(*args)
                    .args(["sh", "-c", "mount -t tmpfs none /dev/shm"])
                    .output();
                tried.is_ok_and(|output| output.status.success())
            });
        let Some(args) = permitted else {
            println!("SKIP {NAME}: no mount namespace may be made here");
            return;
        };
        let mut shell = Command::new("unshare");
        shell.args(args).arg("sh");
        passes(shell, "mount -t tmpfs -o size=64k none /dev/shm && export TMPDIR=/dev/shm", NAME);
        return;
    }
    let full = File::create("/dev/shm/full").and_then(|mut file| file.write_all(&[1; 1 << 20]));
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull, "the tmpfs has 64 KiB");
    for kind in 0..6 {
        match make(kind) {
            Ok(_) | Err(Error::OutOfMemory { .. }) => {}
            Err(error) => panic!("kind {kind}: {error}"),
        }
    }
    assert_eq!(Process::spawn(add, (2, 3)).unwrap().join().unwrap(), 5);
    // A file that says to be longer than there is room for would kill whoever touches it.
    let sparse = File::create_new("/dev/shm/sparse").unwrap();
    sparse.set_len(1 << 20).unwrap();
    let refused = Segment::from_fd(sparse.into());
    assert!(matches!(refused, Err(Error::Unsealed)), "{refused:?}");
    let files = std::fs::read_dir("/dev/shm").unwrap().count();
    assert_eq!(files, 2, "the crate puts no file there");
}

#[test]
fn the_1025th_lock_of_a_thread_is_refused_and_nothing_leaks() {
    if !is_limited() {
        passes_under("true", "the_1025th_lock_of_a_thread_is_refused_and_nothing_leaks");
        return;
    }
    let lock = Lock::new().unwrap();
    let value = Value::new(1_u64).unwrap();
    let queue = Queue::bounded(1).unwrap();
    queue.put(7).unwrap();
    drop(lock.lock().unwrap());
    let mutexes: Vec<RawMutex> = (0..=CAPACITY).map(|_| RawMutex::new()).collect();
    let take = |index: usize| {
        // SAFETY: the vector outlives this function, and stays as it is.
        unsafe { mutexes[index].lock(None) }
    };
    assert!((0..CAPACITY).all(|index| take(index) == Ok(Acquired::Consistent)));
    let before = footprint();
    for _ in 0..3_000 {
        assert_eq!(take(CAPACITY), Err(AcquireError::TooManyHeld));
        assert!(matches!(lock.lock(), Err(LockError::TooManyHeld)));
        assert!(matches!(lock.try_lock(), Err(LockError::TooManyHeld)));
        assert!(matches!(lock.lock_timeout(Duration::MAX), Err(LockError::TooManyHeld)));
        assert!(matches!(value.lock(), Err(LockError::TooManyHeld)));
        assert!(matches!(queue.try_put(8), Err(PutError::TooManyHeld(8) | PutError::Full(8))));
        assert_eq!(queue.get(), Err(GetError::TooManyHeld));
    }
    assert_eq!(footprint(), before);
    assert!(!lock.is_locked() && !mutexes[CAPACITY].is_locked());
    assert_eq!(queue.len(), 1);
    assert_eq!(take(0), Err(AcquireError::Deadlock), "also at the limit");
    // Another thread has a limit of its own.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(lock.lock().unwrap());
            assert_eq!(queue.get(), Ok(7));
            queue.put(9).unwrap();
        });
    });
    // One is given up, from the middle: there is room for one again.
    mutexes[500].unlock().unwrap();
    let guard = lock.lock().unwrap();
    assert_eq!(take(500), Err(AcquireError::TooManyHeld));
    drop(guard);
    // A full queue: to wait takes a second word, which there is no room for.
    let waited = queue.put_timeout(10, Duration::from_millis(20));
    assert!(matches!(waited, Err(PutError::TooManyHeld(10) | PutError::TimedOut(10))), "{waited:?}");
    let waiting = Queue::<u64>::bounded(1).unwrap().get_timeout(Duration::from_millis(20));
    assert!(matches!(waiting, Err(GetError::TooManyHeld | GetError::TimedOut)), "{waiting:?}");
    for (index, mutex) in mutexes.iter().enumerate() {
        let held = index != 500 && index != CAPACITY;
        assert_eq!(mutex.unlock(), if held { Ok(()) } else { Err(AcquireError::NotHeld) });
    }
    assert_eq!(queue.get(), Ok(9));
    assert!(lock.lock().is_ok());
}

/// Timeouts that waiting never outlives.
const ENDLESS: [Duration; 5] = [
    Duration::MAX,
    Duration::new(u64::MAX / 2, 999_999_999),
    Duration::from_secs(i64::MAX.unsigned_abs()),
    Duration::from_secs(i64::MAX.unsigned_abs() - 1_000_000_000),
    Duration::from_secs(1 << 40),
];

/// Deadlines that have passed, or do so at once.
fn past() -> Vec<Instant> {
    let now = Instant::now();
    let ago = [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1), Duration::from_secs(3600)];
    ago.into_iter().filter_map(|ago| now.checked_sub(ago)).collect()
}

/// Deadlines that are never reached.
fn never() -> Vec<Instant> {
    let now = Instant::now();
    let ahead = [1 << 31, 1 << 40, i64::MAX.unsigned_abs() - (1 << 32)];
    ahead.into_iter().filter_map(|secs| now.checked_add(Duration::from_secs(secs))).collect()
}

/// Runs `body` with the sleep slice on and off: in the second case the kernel is given the very deadline.
fn with_and_without_slices(body: impl Fn()) {
    // The slice is that of the whole process, and tests run side by side.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    for slice in [Some(Duration::from_millis(5)), None] {
        multiproc::testing::set_sleep_slice(slice);
        body();
    }
}

/// Runs `wait` while `release` comes somewhat later from another thread.
fn released_later<T>(wait: impl FnOnce() -> T, release: impl FnOnce() + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(15));
            release();
        });
        wait()
    })
}

/// Fails if `body` takes long: it was to give up at once.
fn at_once<T>(body: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = body();
    assert!(begun.elapsed() < Duration::from_secs(5), "waited {:?}", begun.elapsed());
    result
}

#[test]
fn a_lock_takes_any_timeout() {
    let lock = Lock::new().unwrap();
    for timeout in ENDLESS.into_iter().chain([Duration::ZERO, Duration::from_nanos(1)]) {
        assert!(lock.lock_timeout(timeout).is_ok(), "free: {timeout:?}");
    }
    for deadline in past().into_iter().chain(never()) {
        assert!(lock.lock_deadline(deadline).is_ok(), "free: {deadline:?}");
    }
    let hold_while = |body: &(dyn Fn(Event) + Sync)| {
        let (held, release) = (Event::new().unwrap(), Event::new().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = lock.lock().unwrap();
                held.set();
                release.wait();
            });
            held.wait();
            body(release.clone());
            release.set();
        });
    };
    with_and_without_slices(|| {
        hold_while(&|_| {
            for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
                let taken = at_once(|| lock.lock_timeout(timeout));
                assert!(matches!(taken, Err(LockError::TimedOut { .. })), "{timeout:?}");
            }
            for deadline in past() {
                let taken = at_once(|| lock.lock_deadline(deadline));
                assert!(matches!(taken, Err(LockError::TimedOut { .. })));
            }
        });
        for timeout in ENDLESS {
            hold_while(&|release| {
                released_later(
                    || assert!(lock.lock_timeout(timeout).is_ok(), "{timeout:?}"),
                    || release.set(),
                );
            });
        }
        for deadline in never() {
            hold_while(&|release| {
                released_later(|| assert!(lock.lock_deadline(deadline).is_ok()), || release.set());
            });
        }
    });
}

#[test]
fn an_event_takes_any_timeout() {
    let event = Event::new().unwrap();
    with_and_without_slices(|| {
        event.clear();
        for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
            assert!(!at_once(|| event.wait_timeout(timeout)));
        }
        for deadline in past() {
            assert!(!at_once(|| event.wait_deadline(deadline)));
        }
        for timeout in ENDLESS {
            event.clear();
            assert!(released_later(|| event.wait_timeout(timeout), || event.set()), "{timeout:?}");
            assert!(event.wait_timeout(timeout) && event.wait_timeout(Duration::ZERO));
        }
        for deadline in never() {
            event.clear();
            assert!(released_later(|| event.wait_deadline(deadline), || event.set()));
        }
        assert!(past().into_iter().all(|deadline| event.wait_deadline(deadline)), "it is set");
    });
}

#[test]
fn a_queue_takes_any_timeout() {
    let queue = Queue::bounded(1).unwrap();
    with_and_without_slices(|| {
        for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
            assert_eq!(at_once(|| queue.get_timeout(timeout)), Err(GetError::TimedOut));
            queue.put_timeout(1, timeout).unwrap();
            assert!(matches!(at_once(|| queue.put_timeout(2, timeout)), Err(PutError::TimedOut(2))));
            assert_eq!(queue.get_timeout(timeout), Ok(1));
        }
        for deadline in past() {
            assert_eq!(at_once(|| queue.get_deadline(deadline)), Err(GetError::TimedOut));
            queue.put_deadline(1, deadline).unwrap();
            assert!(matches!(at_once(|| queue.put_deadline(2, deadline)), Err(PutError::TimedOut(2))));
            assert_eq!(queue.get_deadline(deadline), Ok(1));
        }
        for timeout in ENDLESS {
            let got = released_later(|| queue.get_timeout(timeout), || queue.put(3).unwrap());
            assert_eq!(got, Ok(3), "{timeout:?}");
            queue.put_timeout(4, timeout).unwrap();
            let put = released_later(|| queue.put_timeout(5, timeout), || assert_eq!(queue.get(), Ok(4)));
            assert!(put.is_ok(), "{timeout:?}: {put:?}");
            assert_eq!(queue.get_timeout(timeout), Ok(5));
        }
        for deadline in never() {
            assert_eq!(released_later(|| queue.get_deadline(deadline), || queue.put(3).unwrap()), Ok(3));
            queue.put(4).unwrap();
            let put = released_later(|| queue.put_deadline(5, deadline), || assert_eq!(queue.get(), Ok(4)));
            assert!(put.is_ok(), "{put:?}");
            assert_eq!(queue.get(), Ok(5));
        }
    });
}

#[test]
fn a_joinable_queue_and_a_process_take_any_timeout() {
    let queue = JoinableQueue::bounded(4).unwrap();
    with_and_without_slices(|| {
        assert!(matches!(at_once(|| queue.take_timeout(Duration::ZERO)), Err(GetError::TimedOut)));
        for deadline in past() {
            assert!(matches!(at_once(|| queue.take_deadline(deadline)), Err(GetError::TimedOut)));
            assert_eq!(queue.join_deadline(deadline), Ok(true), "nothing is unfinished");
        }
        for timeout in ENDLESS {
            let task = released_later(|| queue.take_timeout(timeout), || queue.put(6).unwrap()).unwrap();
            assert_eq!(at_once(|| queue.join_timeout(Duration::ZERO)), Ok(false));
            drop(task);
            let task = queue.take_timeout(timeout).unwrap();
            task.done();
            assert_eq!(queue.join_timeout(timeout), Ok(true));
        }
    });
    for timeout in ENDLESS {
        assert_eq!(Process::spawn(add, (1, 1)).unwrap().join_timeout(timeout).unwrap(), 2, "{timeout:?}");
    }
    let mut sleeper = Process::spawn(|()| Event::new().map(|event| event.wait()).is_ok(), ()).unwrap();
    for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
        let joined = at_once(|| sleeper.join_timeout(timeout));
        assert!(matches!(joined, Err(multiproc::ProcessError::TimedOut)), "{joined:?}");
    }
    sleeper.kill().unwrap();
    assert!(matches!(sleeper.join_timeout(Duration::MAX), Err(multiproc::ProcessError::Signaled(_))));
}
