//! Everything is made, used, killed and dropped a hundred times in one process, which is then as it was.
#![cfg(feature = "process")]
#![allow(unsafe_code)]

mod limited;

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use limited::{footprint, is_limited, passes_under};
use multiproc::{
    Array, Error, Event, GetError, JoinableQueue, Lock, LockError, Process, ProcessError, PutError, Queue,
    QueueOptions, Value,
};

const ROUNDS: usize = 100;
const SOON: Duration = Duration::from_secs(30);
/// By then a thread that was joined has ended for the kernel too, on the busiest machine.
const SETTLING: Duration = Duration::from_secs(2);
/// The allocator and the cache of thread stacks may map and unmap a little.
const MAPS_SLACK: usize = 6;

/// All handles at once, as they travel.
type Handles = (Lock, Event, Value<u64>, Array<u32>, Queue<String>, JoinableQueue<u64>);

fn handles() -> Handles {
    let tasks = QueueOptions::new(4).max_taken(4).joinable_queue().unwrap();
    let queue = Queue::bounded(4).unwrap();
    let array = Array::zeroed(100).unwrap();
    (Lock::new().unwrap(), Event::new().unwrap(), Value::new(1).unwrap(), array, queue, tasks)
}

/// Uses what it is given and gives back a new handle and an old one.
fn worker((lock, event, value, array, queue, tasks): Handles) -> (Lock, Event) {
    let task = tasks.take().expect("the parent has put one");
    {
        let _guard = lock.lock().expect("nobody died yet");
        value.update(|value| *value += *task).expect("nobody died yet");
        array.lock().expect("nobody died yet")[0] = 7;
    }
    task.done();
    queue.put("hello".to_owned()).expect("there is room");
    event.set();
    (Lock::new().expect("a lock"), event)
}

/// Holds all that can be held until it is killed.
fn victim((lock, event, value, array, _queue, tasks): Handles) {
    let _guard = lock.lock();
    let _value = value.lock();
    let _array = array.lock();
    let _task = tasks.take();
    event.set();
    loop {
        std::thread::park();
    }
}

fn spawned_and_joined() {
    let all = handles();
    all.5.put(41).unwrap();
    let mut process = Process::spawn(worker, all.clone()).unwrap();
    let (lock, event) = process.join().unwrap();
    assert!(lock.lock().is_ok() && event.is_set());
    assert_eq!((all.2.get(), all.4.get().unwrap()), (42, "hello".to_owned()));
    assert_eq!(all.5.join_timeout(SOON), Ok(true));
    all.4.shutdown();
    assert_eq!(all.4.get(), Err(GetError::Shutdown));
}

fn killed_while_it_holds_everything() {
    let all = handles();
    all.5.put(41).unwrap();
    let mut process = Process::spawn(victim, all.clone()).unwrap();
    assert!(all.1.wait_timeout(SOON));
    process.kill().unwrap();
    assert!(matches!(process.join(), Err(ProcessError::Signaled(_))));
    assert!(matches!(all.0.lock(), Err(LockError::OwnerDied(_))));
    assert!(all.0.lock_or_recover(|_| ()).is_ok());
    assert!(all.2.lock().or_else(LockError::recover).is_ok());
    assert!(all.3.lock().or_else(LockError::recover).is_ok());
    let again = all.5.take_timeout(SOON).unwrap();
    assert_eq!((*again, again.attempt()), (41, 2));
    again.done();
}

/// Whatever fails, and a process that is neither joined nor waited for.
fn failing_and_forgotten() {
    let (lock, _, _, _, queue, _) = handles();
    let panics = |(): ()| -> u8 { panic!("planned") };
    let exits = |(): ()| std::process::exit(3);
    assert!(matches!(Process::spawn(panics, ()).unwrap().join(), Err(ProcessError::Panicked { .. })));
    assert!(matches!(Process::<()>::spawn(exits, ()).unwrap().join(), Err(ProcessError::Exited(3))));
    let large = "x".repeat(queue.max_message() + 1);
    assert!(matches!(queue.put(large), Err(PutError::TooLarge(..))));
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    assert!(matches!(queue.get_timeout(Duration::from_micros(10)), Err(GetError::TimedOut)));
    assert!(postcard::to_stdvec(&lock).is_err(), "outside of a transfer");
    let carrier = Queue::<Lock>::bounded(1).unwrap();
    assert!(matches!(carrier.put(lock), Err(PutError::Encode(..))));
    assert!(Array::<u64>::zeroed(usize::MAX / 16).is_err());
    drop(Process::spawn(|handles: Handles| drop(handles), handles()).unwrap());
}

/// Threads that end while they hold locks: nothing holds the memory when the handles go.
fn threads_that_end_with_guards() {
    let (first, second) = (Lock::new().unwrap(), Lock::new().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget((first.lock().unwrap(), second.lock().unwrap())));
        scope.spawn(|| drop(Lock::new().unwrap().lock().unwrap()));
    });
    assert!(matches!(first.lock(), Err(LockError::OwnerDied(_))));
    assert!(matches!(second.lock(), Err(LockError::OwnerDied(_))));
}

/// A lock whose last handle goes while a thread holds it, by a leaked guard, and then the thread.
fn a_guard_that_outlives_every_handle() {
    let (leaked, end) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lock = Lock::new().unwrap();
            std::mem::forget(lock.lock().unwrap());
            drop(lock);
            leaked.wait();
            end.wait();
        });
        leaked.wait();
        drop(Lock::new().unwrap());
        end.wait();
    });
}

/// The footprint once all that ends by itself has ended: forgotten processes are reaped by a later spawn, and memory that
/// a dying thread held is unmapped with a later segment.
fn settled() -> (usize, usize) {
    let begun = Instant::now();
    let mut least = footprint();
    while has_child() || begun.elapsed() < SETTLING {
        assert!(begun.elapsed() < SOON, "a child is left");
        Process::spawn(|()| (), ()).unwrap().join().unwrap();
        drop(Lock::new().unwrap());
        least = least.min(footprint());
    }
    least
}

/// Whether this process has a child, dead ones too.
fn has_child() -> bool {
    let flags = libc::WNOHANG | libc::WEXITED | libc::WNOWAIT;
    // SAFETY: all-zero bytes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is written to and outlives the call; nothing is reaped.
    unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == 0 }
}

fn shared_memory_files() -> BTreeSet<std::ffi::OsString> {
    let files = std::fs::read_dir("/dev/shm").into_iter().flatten();
    files.filter_map(|file| Some(file.ok()?.file_name())).collect()
}

#[test]
fn nothing_is_left_of_a_hundred_rounds() -> Result<(), Error> {
    if !is_limited() {
        passes_under("true", "nothing_is_left_of_a_hundred_rounds");
        return Ok(());
    }
    let round = || {
        spawned_and_joined();
        killed_while_it_holds_everything();
        failing_and_forgotten();
        threads_that_end_with_guards();
        a_guard_that_outlives_every_handle();
    };
    let files = shared_memory_files();
    (0..5).for_each(|_| round());
    let (fds, maps) = settled();
    (0..ROUNDS).for_each(|_| round());
    let (fds_after, maps_after) = settled();
    assert_eq!(fds_after, fds, "descriptors");
    assert!(maps_after <= maps + MAPS_SLACK, "mappings: {maps} before, {maps_after} after");
    let new_files: Vec<_> = shared_memory_files().difference(&files).cloned().collect();
    assert!(new_files.is_empty(), "{new_files:?}");
    Ok(())
}
