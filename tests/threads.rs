//! The thread twin: processes and pools on threads.
#![cfg(feature = "process")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use multiproc::threads::{Pool, Process, ThreadPool, active_children, current_process};
use multiproc::{Error, MapOptions, PoolStillRunning, ProcessError, TaskError};

const SOON: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn chunk(chunk: usize) -> MapOptions {
    MapOptions { chunk: Some(chunk), ..MapOptions::default() }
}

/// Has one thread of the pool busy until the sender is dropped; has begun when this returns.
fn hold(pool: &Pool) -> mpsc::Sender<()> {
    let (go_on, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    pool.apply_async(
        move |()| {
            begun.send(()).unwrap();
            let _ = wait.recv();
        },
        (),
    );
    has_begun.recv_timeout(SOON).unwrap();
    go_on
}

#[test]
fn a_process_on_a_thread_returns_its_result_once() {
    let offset = 40;
    let mut process = Process::spawn(move |n: u32| n + offset, 2).unwrap();
    assert_eq!(process.join().unwrap(), 42);
    assert!(matches!(process.join(), Err(ProcessError::ResultTaken)));
    assert_eq!((process.exit_code(), process.is_alive()), (Some(0), false));
    assert_eq!(process.pid(), std::process::id());
}

#[test]
fn a_panicking_process_on_a_thread_exits_with_1_known_bad_50() {
    let mut process = Process::spawn(|()| panic!("on purpose"), ()).unwrap();
    for _ in 0..2 {
        let error = process.join().unwrap_err();
        assert!(matches!(error, ProcessError::Panicked { message, .. } if message == "on purpose"));
    }
    assert_eq!(process.exit_code(), Some(1));
}

#[test]
fn a_process_on_a_thread_is_alive_until_it_ends() {
    let (go_on, wait) = mpsc::channel::<u32>();
    let mut process = Process::builder().name("twin").daemon(true).spawn(move |()| wait.recv(), ()).unwrap();
    assert!(process.is_alive() && process.exit_code().is_none() && process.daemon());
    assert!(matches!(process.join_timeout(SHORT), Err(ProcessError::TimedOut)));
    assert!(active_children().iter().any(|child| child.name() == "twin" && child.is_alive()));
    go_on.send(3).unwrap();
    assert_eq!(process.join_timeout(SOON).unwrap(), Ok(3));
    assert!(active_children().iter().all(|child| child.name() != "twin"));
}

#[test]
fn join_does_not_wait_for_who_has_the_child_in_a_list() {
    let (go_on, wait) = mpsc::channel::<()>();
    let mut process = Process::builder().name("listed").spawn(move |()| wait.recv().is_err(), ()).unwrap();
    let child = active_children().into_iter().find(|child| child.name() == "listed").unwrap();
    assert!(child.is_alive());
    drop(go_on);
    let joiner = thread::spawn(move || process.join());
    let deadline = std::time::Instant::now() + SOON;
    while !joiner.is_finished() {
        assert!(std::time::Instant::now() < deadline, "join hangs");
        thread::yield_now();
    }
    assert!(joiner.join().unwrap().unwrap() && !child.is_alive());
}

#[test]
fn processes_on_threads_have_names_with_their_ancestors_numbers() {
    assert_eq!(current_process().name(), "MainProcess");
    let names = |()| {
        let own = current_process();
        let mut child = Process::spawn(|()| current_process().name().to_owned(), ()).unwrap();
        (own.name().to_owned(), own.pid(), child.join().unwrap())
    };
    let (own, pid, child) = Process::spawn(names, ()).unwrap().join().unwrap();
    assert!(own.starts_with("Process-"), "{own}");
    assert!(child.starts_with(&format!("{own}:")), "{child} below {own}");
    assert_eq!(pid, std::process::id());
    assert!(matches!(
        Process::builder().name("a\0b").spawn(|()| (), ()),
        Err(Error::InvalidArgument { what: "name of a process", .. })
    ));
}

#[test]
fn apply_gives_the_result_or_the_panic() {
    let pool = Pool::new(2).unwrap();
    let text = String::from("captured");
    assert_eq!(pool.apply(move |n: usize| text[..n].to_owned(), 3), Ok("cap".to_owned()));
    let error = pool.apply(|()| -> u8 { panic!("on purpose") }, ()).unwrap_err();
    assert!(matches!(error, TaskError::Panicked { message, .. } if message == "on purpose"));
    assert_eq!(pool.apply(|n: u32| n, 1), Ok(1));
}

#[test]
fn a_result_is_waited_for_as_long_as_was_said() {
    let pool = Pool::new(1).unwrap();
    let go_on = hold(&pool);
    let result = pool.apply_async(|n: u32| n, 4);
    assert_eq!((result.ready(), result.successful()), (false, None));
    assert_eq!(result.try_get(), Err(&TaskError::WaitTimedOut));
    assert_eq!(result.get_timeout(SHORT), Err(&TaskError::WaitTimedOut));
    assert!(!result.wait_timeout(SHORT));
    drop(go_on);
    result.wait();
    assert_eq!((result.get(), result.get()), (Ok(&4), Ok(&4)));
    assert_eq!((result.ready(), result.successful(), result.completed()), (true, Some(true), 1));
}

#[test]
fn maps_give_all_results_in_order_whatever_the_chunk() {
    let pool = Pool::new(3).unwrap();
    let expected: Vec<u64> = (0..100).map(|n| n * n).collect();
    assert_eq!(pool.map(|n: u64| n * n, 0..100), Ok(expected.clone()));
    for size in [1, 7, 100, 1000] {
        assert_eq!(pool.map_with(|n: u64| n * n, 0..100, chunk(size)), Ok(expected.clone()));
    }
    // An input whose length is not known.
    let odd = (0..100).filter(|n| n % 2 == 1);
    assert_eq!(pool.map(|n: u64| n, odd.clone()), Ok(odd.collect()));
    assert_eq!(pool.map(|n: u64| n, []), Ok(vec![]));
}

#[test]
fn a_map_with_a_failure_is_ready_when_all_items_are_done() {
    let pool = Pool::new(2).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let result = pool.map_async_with(
        move |n: u32| {
            counter.fetch_add(1, Ordering::Relaxed);
            assert!(n != 3, "three");
        },
        0..50,
        chunk(5),
    );
    assert!(matches!(result.get(), Err(TaskError::Panicked { message, .. }) if message == "three"));
    assert_eq!(done.load(Ordering::Relaxed), 50, "the others were done, in its chunk too");
    assert_eq!((result.completed(), result.total(), result.successful()), (50, 50, Some(false)));
}

#[test]
fn a_map_with_chunks_of_zero_is_refused_known_bad_16() {
    let pool = Pool::new(1).unwrap();
    assert!(matches!(pool.map_with(|n: u32| n, 0..2, chunk(0)), Err(TaskError::InvalidOption(_))));
    let result = pool.map_async_with(|n: u32| n, 0..2, chunk(0));
    assert!(matches!(result.get(), Err(TaskError::InvalidOption(_))));
    assert!(matches!(
        pool.imap_with(|n: u32| n, 0..2, chunk(0)).next(),
        Some(Err(TaskError::InvalidOption(_)))
    ));
}

#[test]
fn imap_goes_on_after_a_failure() {
    let pool = Pool::new(2).unwrap();
    for size in [1, 4] {
        let results = pool.imap_with(
            |n: u32| {
                assert!(n != 3, "three");
                n
            },
            0..6,
            chunk(size),
        );
        let values: Vec<_> = results.map(Result::ok).collect();
        assert_eq!(values, [Some(0), Some(1), Some(2), None, Some(4), Some(5)]);
    }
}

#[test]
fn imap_keeps_a_late_result_for_later_and_unordered_does_not_wait_for_it() {
    let pool = Pool::new(2).unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let slow_first = move |n: u32| {
        if n == 0 {
            let _ = wait.lock().unwrap().recv();
        }
        n
    };
    let mut ordered = pool.imap(slow_first.clone(), 0..5);
    assert_eq!(ordered.next_timeout(SHORT), Some(Err(TaskError::WaitTimedOut)));
    let (release, unordered_wait) = mpsc::channel::<()>();
    drop(go_on);
    assert_eq!(ordered.map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);

    let unordered_wait = Arc::new(Mutex::new(unordered_wait));
    let slow_first = move |n: u32| {
        if n == 0 {
            let _ = unordered_wait.lock().unwrap().recv();
        }
        n
    };
    let mut unordered = pool.imap_unordered(slow_first, 0..5);
    let early: HashSet<_> = unordered.by_ref().take(4).map(Result::unwrap).collect();
    assert_eq!(early, HashSet::from([1, 2, 3, 4]));
    drop(release);
    assert_eq!((unordered.next(), unordered.next()), (Some(Ok(0)), None));
}

#[test]
fn callbacks_get_the_outcome_and_a_panicking_one_harms_nobody() {
    let pool = Pool::new(1).unwrap();
    let (sender, receiver) = mpsc::channel();
    let other = sender.clone();
    pool.apply_async_then(|n: u32| n, 1, move |result| sender.send(result.ok().copied()).unwrap());
    assert_eq!(receiver.recv_timeout(SOON), Ok(Some(1)));
    pool.apply_async_then(|n: u32| n, 2, |_| panic!("on purpose"));
    pool.map_async_then(|n: u32| n, [1, 2], move |result| other.send(result.ok().map(|all| all[1])).unwrap());
    assert_eq!(receiver.recv_timeout(SOON), Ok(Some(2)));
}

#[test]
fn a_closed_pool_does_what_was_given_to_it_and_takes_no_more() {
    let pool = ThreadPool::new(2).unwrap();
    assert_eq!(pool.join(), Err(PoolStillRunning));
    let results: Vec<_> = (0..50).map(|n: u32| pool.apply_async(|n| n, n)).collect();
    pool.close();
    pool.close();
    assert_eq!(pool.apply(|()| (), ()), Err(TaskError::PoolClosed));
    assert_eq!(pool.map(|n: u32| n, 0..3), Err(TaskError::PoolClosed));
    pool.join().unwrap();
    pool.join().unwrap();
    assert!(results.into_iter().enumerate().all(|(n, result)| result.into_inner() == Ok(n as u32)));
}

#[test]
fn a_terminated_pool_fails_what_nobody_has_begun_known_bad_14() {
    let pool = Pool::new(1).unwrap();
    let go_on = hold(&pool);
    let pending = pool.apply_async(|()| (), ());
    let map = pool.map_async(|n: u32| n, 0..10);
    pool.terminate();
    assert_eq!(pending.get_timeout(SOON), Err(&TaskError::Terminated));
    assert_eq!(map.get_timeout(SOON), Err(&TaskError::Terminated));
    drop(go_on);
    pool.join().unwrap();

    let pool = Pool::new(1).unwrap();
    let go_on = hold(&pool);
    let pending = pool.apply_async(|()| (), ());
    drop(pool);
    assert_eq!(pending.get_timeout(SOON), Err(&TaskError::Terminated));
    drop(go_on);
}

#[test]
fn all_threads_work_and_each_was_initialized() {
    thread_local!(static STATE: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    let pool = Pool::builder().processes(3).initializer(|state| STATE.set(state), 7).build().unwrap();
    let barrier = Arc::new(Barrier::new(3));
    let meet = move |_: u32| {
        barrier.wait();
        (STATE.get(), thread::current().name().map(str::to_owned))
    };
    let results = pool.map_with(meet, 0..3, chunk(1)).unwrap();
    assert!(results.iter().all(|(state, _)| *state == 7));
    assert_eq!(results.iter().map(|(_, name)| name.clone()).collect::<HashSet<_>>().len(), 3);
}

#[test]
fn a_failing_initializer_breaks_the_pool_with_its_error_known_bad_12() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let initializer = move |why: &str| {
        counter.fetch_add(1, Ordering::Relaxed);
        panic!("{why}");
    };
    let pool = Pool::builder().processes(2).initializer(initializer, "no licence").build().unwrap();
    let expected = TaskError::Initializer("no licence".to_owned());
    assert_eq!(pool.apply_async(|()| (), ()).get_timeout(SOON), Err(&expected));
    assert_eq!(pool.map(|n: u32| n, 0..3), Err(expected));
    assert!(calls.load(Ordering::Relaxed) <= 2, "no respawns");
    pool.terminate();
    pool.join().unwrap();
}

#[test]
fn a_map_that_takes_too_long_says_so() {
    let pool = Pool::new(1).unwrap();
    let go_on = hold(&pool);
    let options = MapOptions { timeout: Some(SHORT), ..MapOptions::default() };
    assert_eq!(pool.map_with(|n: u32| n, 0..3, options), Err(TaskError::WaitTimedOut));
    drop(go_on);
    assert_eq!(pool.map(|n: u32| n, 0..3), Ok(vec![0, 1, 2]));
}
