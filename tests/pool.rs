//! `Pool`: functions called in processes, workers that die, stop, hang, and are replaced.
#![cfg(feature = "auto-init")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use multiproc::{
    Error, Event, Lock, MapOptions, Pool, PoolStillRunning, Process, Queue, RawValue, TaskError, Value,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SOON: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn chunk(chunk: usize) -> MapOptions {
    MapOptions { chunk: Some(chunk), ..MapOptions::default() }
}

fn square(n: u64) -> u64 {
    n * n
}

fn pid(_: u64) -> u32 {
    std::process::id()
}

/// Says whose it is, and lasts.
fn last(pids: Queue<u32>) {
    pids.put(std::process::id()).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

/// Says whose it is, and lasts until the event is set.
fn last_until((pids, event): (Queue<u32>, Event)) -> u32 {
    pids.put(std::process::id()).unwrap();
    event.wait();
    std::process::id()
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < SOON, "never {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

#[test]
fn apply_runs_a_function_in_another_process() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(square, 7), Ok(49));
    let worker = pool.apply(pid, 0).unwrap();
    assert_ne!(worker, std::process::id());
    assert!(pool.pids().contains(&worker));
    assert_eq!(
        pool.apply(|(a, b): (String, u8)| format!("{a}{b}"), ("x".to_owned(), 1)),
        Ok("x1".to_owned())
    );
}

#[test]
fn a_panic_is_the_tasks_and_the_worker_goes_on() {
    let pool = Pool::new(1).unwrap();
    let worker = pool.apply(pid, 0).unwrap();
    let error = pool.apply(|n: u32| -> u32 { panic!("panic {n}") }, 5).unwrap_err();
    let TaskError::Panicked { message, location, .. } = error else { panic!("{error}") };
    assert_eq!(message, "panic 5");
    assert!(location.unwrap().contains("tests/pool.rs"));
    assert_eq!(pool.apply(pid, 0), Ok(worker));
}

#[test]
fn maps_give_all_results_in_order_whatever_the_chunk() {
    let pool = Pool::new(2).unwrap();
    let expected: Vec<u64> = (0..5000).map(square).collect();
    assert_eq!(pool.map(square, 0..5000), Ok(expected.clone()));
    for size in [1, 7, 5000, 10_000] {
        assert_eq!(pool.map_with(square, 0..5000, chunk(size)), Ok(expected.clone()));
    }
    let odd = (0..5000).filter(|n| n % 2 == 1);
    assert_eq!(pool.map(square, odd.clone()), Ok(odd.map(square).collect()));
    assert_eq!(pool.map(square, []), Ok(vec![]));
    let result = pool.map_async(square, 0..5000);
    assert_eq!(result.get_timeout(SOON), Ok(&expected));
    assert_eq!((result.completed(), result.total(), result.successful()), (5000, 5000, Some(true)));
}

#[test]
fn a_map_with_a_failure_is_ready_when_all_items_are_done() {
    let pool = Pool::new(2).unwrap();
    let counter = RawValue::new(0_u64).unwrap();
    let items = (0..50).map(|n| (n, counter.clone()));
    let fails = |(n, counter): (u32, RawValue<u64>)| {
        counter.fetch_add(1);
        assert!(n != 3, "three");
    };
    let result = pool.map_async_with(fails, items, chunk(5));
    assert!(matches!(result.get(), Err(TaskError::Panicked { message, .. }) if message == "three"));
    assert_eq!(counter.load(), 50, "the others were done, in its chunk too");
}

#[test]
fn a_map_with_chunks_of_zero_is_refused_known_bad_16() {
    let pool = Pool::new(1).unwrap();
    assert!(matches!(pool.map_with(square, 0..2, chunk(0)), Err(TaskError::InvalidOption(_))));
    assert!(matches!(pool.map_async_with(square, 0..2, chunk(0)).get(), Err(TaskError::InvalidOption(_))));
    assert!(matches!(pool.imap_with(square, 0..2, chunk(0)).next(), Some(Err(TaskError::InvalidOption(_)))));
    assert!(matches!(Pool::new(0), Err(Error::InvalidArgument { what: "processes", .. })));
}

#[test]
fn imap_goes_on_after_a_failure_and_unordered_gives_all() {
    let pool = Pool::new(2).unwrap();
    let fails = |n: u32| {
        assert!(n != 3, "three");
        n
    };
    for size in [1, 4] {
        let values: Vec<_> = pool.imap_with(fails, 0..6, chunk(size)).map(Result::ok).collect();
        assert_eq!(values, [Some(0), Some(1), Some(2), None, Some(4), Some(5)]);
    }
    let all: HashSet<_> = pool.imap_unordered(square, 0..1000).map(Result::unwrap).collect();
    assert_eq!(all, (0..1000).map(square).collect());
}

#[test]
fn imap_keeps_a_late_result_for_later_and_unordered_does_not_wait_for_it() {
    let pool = Pool::new(2).unwrap();
    let slow_first = |(n, event): (u32, Event)| {
        if n == 0 {
            event.wait();
        }
        n
    };
    let event = Event::new().unwrap();
    let mut ordered = pool.imap(slow_first, (0..5).map(|n| (n, event.clone())).collect::<Vec<_>>());
    assert_eq!(ordered.next_timeout(SHORT), Some(Err(TaskError::WaitTimedOut)));
    event.set();
    assert_eq!(ordered.map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);

    let event = Event::new().unwrap();
    let mut unordered =
        pool.imap_unordered(slow_first, (0..5).map(|n| (n, event.clone())).collect::<Vec<_>>());
    let early: HashSet<_> = unordered.by_ref().take(4).map(Result::unwrap).collect();
    assert_eq!(early, HashSet::from([1, 2, 3, 4]));
    event.set();
    assert_eq!((unordered.next(), unordered.next()), (Some(Ok(0)), None));
}

#[test]
fn an_endless_input_stays_within_the_buffer_known_bad_15() {
    let pool = Pool::new(2).unwrap();
    for (buffersize, count) in [(1, 100), (3, 100), (64, 1000), (1024, 1_000_000)] {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let input = (0_u64..).inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let options = MapOptions { buffersize: Some(buffersize), ..MapOptions::default() };
        let mut results = pool.imap_with(square, input, options);
        for yielded in 0..count {
            assert!(taken.load(Ordering::Relaxed) <= yielded + buffersize);
            assert_eq!(results.next(), Some(Ok(square(yielded as u64))));
        }
    }
}

#[test]
fn callbacks_get_the_outcome_and_a_panicking_one_harms_nobody_known_bad_13() {
    let pool = Pool::new(1).unwrap();
    let (sender, receiver) = mpsc::channel();
    let other = sender.clone();
    pool.apply_async_then(square, 2, |_| panic!("on purpose"));
    pool.apply_async_then(square, 3, move |result| sender.send(result.ok().copied()).unwrap());
    assert_eq!(receiver.recv_timeout(SOON), Ok(Some(9)));
    pool.map_async_then(square, [1, 2], move |result| other.send(result.ok().map(|all| all[1])).unwrap());
    assert_eq!(receiver.recv_timeout(SOON), Ok(Some(4)));
    assert_eq!(pool.apply(square, 4), Ok(16));
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_callback_may_wait_for_another_result() {
    let pool = Arc::new(Pool::new(1).unwrap());
    let (sender, receiver) = mpsc::channel();
    let second = pool.apply_async(square, 0);
    let inner = Arc::clone(&pool);
    pool.apply_async_then(square, 3, move |result| {
        let squared = inner.apply(square, *result.unwrap());
        sender.send(squared).unwrap();
    });
    assert_eq!(receiver.recv_timeout(SOON), Ok(Ok(81)));
    assert_eq!(second.get(), Ok(&0));
}

/// Its encoding can't be decoded.
#[derive(Debug, PartialEq)]
struct OneWay(bool);

impl Serialize for OneWay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { serializer.serialize_u8(1) } else { Err(serde::ser::Error::custom("not this one")) }
    }
}

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self(true)),
            1 => Err(serde::de::Error::custom("not that one")),
            _ => panic!("never that one"),
        }
    }
}

#[test]
fn what_can_not_be_encoded_or_decoded_fails_its_own_task_known_bad_13() {
    let pool = Pool::new(1).unwrap();
    let worker = pool.apply(pid, 0).unwrap();
    assert!(matches!(pool.apply(|_: OneWay| (), OneWay(false)), Err(TaskError::Encode(_))));
    assert!(matches!(pool.apply(|_: OneWay| (), OneWay(true)), Err(TaskError::Decode(_))));
    assert!(matches!(pool.apply(|()| OneWay(false), ()), Err(TaskError::Encode(_))));
    assert!(matches!(pool.apply(|()| OneWay(true), ()), Err(TaskError::Decode(_))));
    // The text says once what could not be done.
    for sent in [false, true] {
        let error = pool.apply(|_: OneWay| (), OneWay(sent)).unwrap_err().to_string();
        assert!(!error.contains("encode: ") && !error.contains("decode: "), "{error}");
    }
    assert_eq!(pool.apply(pid, 0), Ok(worker), "nobody died of it");
}

#[test]
fn handles_travel_in_arguments_and_results() {
    let pool = Pool::new(2).unwrap();
    let (value, lock) = (Value::new(1_u64).unwrap(), Lock::new().unwrap());
    let add = |(value, lock, n): (Value<u64>, Lock, u64)| {
        let _guard = lock.lock().unwrap();
        value.update(|value| *value += n).unwrap();
        value
    };
    for n in 0..20 {
        let back = pool.apply(add, (value.clone(), lock.clone(), n)).unwrap();
        assert_eq!(back.get(), value.get());
    }
    assert_eq!(value.get(), 191);
    let results = pool.map_with(add, (0..20).map(|n| (value.clone(), lock.clone(), n)), chunk(3));
    assert_eq!(results.unwrap().len(), 20);
    assert_eq!(value.get(), 381);
}

#[test]
fn large_arguments_and_results_travel() {
    let pool = Pool::new(2).unwrap();
    let reverse = |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    };
    for length in [0, 100, 10_000, 32 << 10, 40_000, 5_000_000] {
        let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let mut expected = bytes.clone();
        expected.reverse();
        assert!(pool.apply(reverse, bytes) == Ok(expected), "{length} bytes");
    }
    let items = (0..40).map(|n| vec![n; 30_000 + 300 * usize::from(n)]);
    let lengths = pool.map_with(reverse, items, chunk(1)).unwrap();
    assert!(lengths.iter().enumerate().all(|(n, bytes)| bytes.len() == 30_000 + 300 * n));
}

#[test]
fn a_killed_worker_fails_its_own_task_and_is_replaced_known_bad_1() {
    let pool = Pool::new(2).unwrap();
    let pids = Queue::bounded(1).unwrap();
    let lost = pool.apply_async(last, pids.clone());
    let victim: u32 = pids.get_timeout(SOON).unwrap();
    let others: Vec<_> = (0..100).map(|n| pool.apply_async(square, n)).collect();
    send(victim, Signal::KILL);
    assert_eq!(lost.get_timeout(SOON), Err(&TaskError::WorkerDied { pid: victim, signal: 9 }));
    for (n, other) in (0..).zip(others) {
        assert_eq!(other.get_timeout(SOON), Ok(&square(n)));
    }
    wait_until("replaced", || pool.pids().len() == 2 && !pool.pids().contains(&victim));
    assert_eq!(pool.map(square, 0..10), Ok((0..10).map(square).collect()));
    pool.close();
    pool.join().unwrap();
}

#[test]
fn an_idle_worker_that_is_killed_costs_nothing_known_bad_2() {
    let pool = Pool::new(2).unwrap();
    pool.map_with(square, 0..10, chunk(1)).unwrap();
    for round in 0..5 {
        let before = pool.pids();
        for &victim in &before {
            send(victim, Signal::KILL);
        }
        assert_eq!(pool.apply_async(square, round).get_timeout(SOON), Ok(&square(round)));
        wait_until("replaced", || {
            pool.pids().len() == 2 && before.iter().all(|old| !pool.pids().contains(old))
        });
    }
    pool.terminate();
    pool.join().unwrap();
}

#[test]
fn a_task_that_ends_its_process_fails_with_its_code_known_bad_34() {
    let pool = Pool::new(1).unwrap();
    for code in [0, 3] {
        let error = pool.apply(|code: i32| -> () { std::process::exit(code) }, code).unwrap_err();
        assert!(
            matches!(error, TaskError::WorkerExited { code: Some(exited), .. } if exited == code),
            "{error}"
        );
        assert_eq!(pool.apply(square, 2), Ok(4));
    }
}

#[test]
fn a_retried_task_is_given_to_another_worker() {
    let pool = Pool::builder().processes(1).retries(2).build().unwrap();
    let attempts = RawValue::new(0_u64).unwrap();
    let dies_twice = |attempts: RawValue<u64>| {
        if attempts.fetch_add(1) < 2 {
            std::process::abort();
        }
        attempts.load()
    };
    assert_eq!(pool.apply(dies_twice, attempts.clone()), Ok(3));
    let dies = |attempts: RawValue<u64>| {
        attempts.fetch_add(1);
        std::process::abort()
    };
    let error = pool.apply::<_, ()>(dies, attempts.clone()).unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { signal: 6, .. }));
    assert_eq!(attempts.load(), 6);
    // Small ones, which go through the ring whole.
    let error = pool.apply::<_, ()>(|_: u64| std::process::abort(), 1).unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { signal: 6, .. }));
}

#[test]
fn a_chunk_whose_worker_dies_fails_and_the_others_come() {
    let pool = Pool::new(2).unwrap();
    let dies = |n: u64| {
        if n == 10 {
            std::process::abort();
        }
        n
    };
    let results: Vec<_> = pool.imap_with(dies, 0..40, chunk(4)).collect();
    for (n, result) in (0..).zip(results) {
        match n {
            8..12 => assert!(matches!(result, Err(TaskError::WorkerDied { signal: 6, .. }))),
            _ => assert_eq!(result, Ok(n)),
        }
    }
}

#[test]
fn a_stopped_worker_holds_up_its_own_task_only() {
    let pool = Pool::new(2).unwrap();
    let (pids, event) = (Queue::bounded(1).unwrap(), Event::new().unwrap());
    let held = pool.apply_async(last_until, (pids.clone(), event.clone()));
    let stopped: u32 = pids.get_timeout(SOON).unwrap();
    send(stopped, Signal::STOP);
    let results = pool.map_async_with(square, 0..3000, chunk(1));
    assert_eq!(results.get_timeout(SOON).map(Vec::len), Ok(3000));
    event.set();
    assert!(!held.wait_timeout(SHORT));
    send(stopped, Signal::CONT);
    assert_eq!(held.get_timeout(SOON), Ok(&stopped));
}

#[test]
fn a_task_that_takes_too_long_is_ended_and_the_others_go_on_known_bad_44() {
    let pool = Pool::builder().processes(2).task_timeout(Duration::from_millis(300)).build().unwrap();
    let pids = Queue::bounded(2).unwrap();
    let slow: Vec<_> = (0..2).map(|_| pool.apply_async(last, pids.clone())).collect();
    let fast: Vec<_> = (0..100).map(|n| pool.apply_async(square, n)).collect();
    for slow in &slow {
        assert_eq!(slow.get_timeout(SOON), Err(&TaskError::TaskTimedOut));
    }
    assert!((0..).zip(fast).all(|(n, fast)| fast.get_timeout(SOON) == Ok(&square(n))));
    for _ in 0..2 {
        let victim = pids.get_timeout(SOON).unwrap();
        wait_until("gone", || is_gone(victim));
    }
}

#[test]
fn a_failing_initializer_breaks_the_pool_with_its_error_known_bad_12() {
    let calls = RawValue::new(0_u64).unwrap();
    let fails = |calls: RawValue<u64>| {
        calls.fetch_add(1);
        panic!("no database");
    };
    let pool = Pool::builder().processes(2).initializer(fails, calls.clone()).build().unwrap();
    let expected = TaskError::Initializer("no database".to_owned());
    let first = pool.apply_async(square, 1);
    assert_eq!(first.get_timeout(SOON), Err(&expected));
    assert_eq!(pool.map(square, 0..3), Err(expected.clone()));
    assert_eq!(pool.apply(square, 3), Err(expected));
    pool.close();
    pool.join().unwrap();
    assert!(calls.load() <= 2, "no respawns: {}", calls.load());
}

#[test]
fn workers_that_die_in_their_initializer_break_the_pool_after_a_few() {
    let calls = RawValue::new(0_u64).unwrap();
    let dies = |calls: RawValue<u64>| {
        calls.fetch_add(1);
        std::process::abort();
    };
    let pool = Pool::builder().processes(2).initializer(dies, calls.clone()).build().unwrap();
    let error = pool.apply_async(square, 1).get_timeout(SOON).unwrap_err().clone();
    assert!(matches!(&error, TaskError::NoWorkers(why) if why.contains("signal 6")), "{error}");
    assert!(calls.load() <= 8, "a storm: {}", calls.load());
    pool.close();
    pool.join().unwrap();
}

#[test]
fn one_worker_killed_in_its_initializer_is_replaced() {
    let calls = RawValue::new(0_u64).unwrap();
    let first_dies = |calls: RawValue<u64>| {
        if calls.fetch_add(1) == 0 {
            std::process::abort();
        }
    };
    let pool = Pool::builder().processes(2).initializer(first_dies, calls.clone()).build().unwrap();
    assert_eq!(pool.map_with(square, 0..100, chunk(1)).map(|all| all.len()), Ok(100));
    wait_until("replaced", || calls.load() == 3 && pool.pids().len() == 2);
}

#[test]
fn workers_are_replaced_after_so_many_tasks_known_bad_19() {
    let pool = Pool::builder().processes(1).max_tasks_per_child(2).build().unwrap();
    let pids: Vec<_> = (0..10).map(|n| pool.apply(pid, n).unwrap()).collect();
    assert!(pids.chunks(2).all(|two| two[0] == two[1]));
    assert_eq!(pids.iter().collect::<HashSet<_>>().len(), 5);
    // All handed over at once; nothing more comes that could wake anybody.
    let pool = Pool::builder().processes(2).max_tasks_per_child(1).build().unwrap();
    let pids = pool.map_async_with(pid, 0..12, chunk(3));
    let pids = pids.get_timeout(SOON).unwrap();
    assert_eq!(pids.iter().collect::<HashSet<_>>().len(), 4, "a chunk is one task");
}

#[test]
fn a_closed_pool_does_what_was_given_to_it_and_takes_no_more() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.join(), Err(PoolStillRunning));
    let pids = pool.pids();
    let results: Vec<_> = (0..3000).map(|n| pool.apply_async(square, n)).collect();
    pool.close();
    pool.close();
    assert_eq!(pool.apply(square, 1), Err(TaskError::PoolClosed));
    assert_eq!(pool.map(square, 0..3), Err(TaskError::PoolClosed));
    pool.join().unwrap();
    pool.join().unwrap();
    assert!((0..).zip(results).all(|(n, result)| result.into_inner() == Ok(square(n))));
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn a_worker_that_dies_in_a_closed_pool_is_replaced_until_all_is_done() {
    let pool = Pool::new(1).unwrap();
    let pids = Queue::bounded(1).unwrap();
    let lost = pool.apply_async(last, pids.clone());
    let later: Vec<_> = (0..10).map(|n| pool.apply_async(square, n)).collect();
    pool.close();
    let victim = pids.get_timeout(SOON).unwrap();
    send(victim, Signal::KILL);
    assert_eq!(lost.get_timeout(SOON), Err(&TaskError::WorkerDied { pid: victim, signal: 9 }));
    assert!((0..).zip(later).all(|(n, later)| later.get_timeout(SOON) == Ok(&square(n))));
    pool.join().unwrap();
}

#[test]
fn a_terminated_pool_fails_everything_at_once_known_bad_14() {
    let pool = Pool::new(2).unwrap();
    let pids = Queue::bounded(2).unwrap();
    let running: Vec<_> = (0..2).map(|_| pool.apply_async(last, pids.clone())).collect();
    let queued: Vec<_> = (0..10_000).map(|n| pool.apply_async(square, n)).collect();
    let map = pool.map_async(square, 0..100);
    let mut streamed = pool.imap(square, 0..);
    let workers = [pids.get_timeout(SOON).unwrap(), pids.get_timeout(SOON).unwrap()];
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| running[0].get().cloned().err().cloned());
        pool.terminate();
        assert_eq!(waiting.join().unwrap(), Some(TaskError::Terminated));
    });
    assert_eq!(running[1].try_get(), Err(&TaskError::Terminated));
    assert!(queued.iter().all(|result| result.try_get() == Err(&TaskError::Terminated)));
    assert_eq!(map.try_get(), Err(&TaskError::Terminated));
    assert_eq!(streamed.next(), Some(Err(TaskError::Terminated)));
    let begun = Instant::now();
    pool.join().unwrap();
    assert!(begun.elapsed() < SOON);
    assert!(workers.into_iter().all(is_gone));
    assert_eq!(pool.apply(square, 1), Err(TaskError::PoolClosed));
}

#[test]
fn terminate_ends_stopped_and_stubborn_workers_too() {
    let pool = Pool::new(2).unwrap();
    let pids = Queue::bounded(2).unwrap();
    let stubborn = |pids: Queue<u32>| {
        // SAFETY: no handler is installed.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
        }
        last(pids);
    };
    let lost = pool.apply_async(stubborn, pids.clone());
    let _ = pids.get_timeout(SOON).unwrap();
    let stopped = pool.apply_async(last, pids.clone());
    send(pids.get_timeout(SOON).unwrap(), Signal::STOP);
    let workers = pool.pids();
    drop(pool);
    assert!(workers.into_iter().all(is_gone));
    assert_eq!(lost.try_get(), Err(&TaskError::Terminated));
    assert_eq!(stopped.try_get(), Err(&TaskError::Terminated));
}

#[test]
fn a_map_that_takes_too_long_says_so() {
    let pool = Pool::new(1).unwrap();
    let (pids, event) = (Queue::bounded(1).unwrap(), Event::new().unwrap());
    let held = pool.apply_async(last_until, (pids.clone(), event.clone()));
    let options = MapOptions { timeout: Some(SHORT), ..MapOptions::default() };
    assert_eq!(pool.map_with(square, 0..3, options), Err(TaskError::WaitTimedOut));
    event.set();
    held.get_timeout(SOON).unwrap();
    assert_eq!(pool.map(square, 0..3), Ok(vec![0, 1, 4]));
}

#[test]
fn several_threads_use_one_pool() {
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..500 {
                    assert_eq!(pool.apply(square, n + thread), Ok(square(n + thread)));
                }
                assert_eq!(pool.map_with(square, 0..2000, chunk(1)).unwrap().len(), 2000);
            });
        }
    });
}

#[test]
fn workers_die_with_a_killed_owner() {
    let owner = |pids: Queue<Vec<u32>>| {
        let pool = Pool::new(2).unwrap();
        pids.put(pool.pids()).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    };
    let pids = Queue::bounded(1).unwrap();
    let mut process = Process::spawn(owner, pids.clone()).unwrap();
    let workers = pids.get_timeout(SOON).unwrap();
    process.kill().unwrap();
    let _ = process.join();
    for worker in workers {
        wait_until("gone", || is_gone(worker));
    }
}

#[test]
fn workers_leave_no_core_files_unless_asked_to() {
    let limit = |()| rustix::process::getrlimit(rustix::process::Resource::Core).current;
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(limit, ()), Ok(Some(0)));
    let asked = Pool::builder().processes(1).core_dumps(true).build().unwrap();
    assert_eq!(asked.apply(limit, ()), Ok(limit(())));
}

#[test]
fn workers_killed_at_work_cost_their_tasks_only() {
    let pool = Pool::new(2).unwrap();
    let tell = |n: u64| (std::process::id(), n * n);
    let results: Vec<_> = (0..20_000).map(|n| pool.apply_async(tell, n)).collect();
    let mut killed = HashSet::new();
    // Those that have worked: where many die before they have begun, the pool gives up.
    for result in results.iter().step_by(800) {
        if let Ok(&(worker, _)) = result.get_timeout(SOON)
            && killed.insert(worker)
        {
            send(worker, Signal::KILL);
        }
    }
    assert!(killed.len() > 2, "{} workers killed", killed.len());
    let mut lost = 0;
    for (n, result) in (0..).zip(&results) {
        match result.get_timeout(SOON) {
            Ok((_, result)) => assert_eq!(*result, n * n),
            Err(TaskError::WorkerDied { pid, signal: 9 }) => {
                assert!(killed.contains(pid));
                lost += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(lost <= killed.len(), "{lost} tasks lost by {} deaths", killed.len());
    pool.close();
    pool.join().unwrap();
}
