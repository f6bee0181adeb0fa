//! `ProcessPoolExecutor`, and futures of both executors together.
#![cfg(feature = "auto-init")]

mod limited;

use std::collections::HashSet;
use std::time::Duration;

use multiproc::futures::{
    Executor, Future, ProcessPoolExecutor, ReturnWhen, Shutdown, ThreadPoolExecutor, as_completed, wait,
};
use multiproc::{Error, Event, MapOptions, Queue, RawValue, TaskError};
use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn square(n: u64) -> u64 {
    n * n
}

/// Says whose it is, and lasts until the event is set.
fn last_until((pids, event): (Queue<u32>, Event)) -> u64 {
    pids.put(std::process::id()).unwrap();
    event.wait();
    0
}

/// A task that a worker has begun, its process, and what ends it.
fn held(executor: &ProcessPoolExecutor) -> (Future<u64>, u32, Event) {
    let (pids, event) = (Queue::bounded(1).unwrap(), Event::new().unwrap());
    let future = executor.submit(last_until, (pids.clone(), event.clone()));
    (future, pids.get_timeout(SOON).unwrap(), event)
}

fn one() -> ProcessPoolExecutor {
    ProcessPoolExecutor::new(1).unwrap()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_future_runs_when_a_worker_has_begun_it_and_can_be_cancelled_until_then_known_bad_18() {
    let executor = one();
    let (running, _, event) = held(&executor);
    let counter = RawValue::new(0_u64).unwrap();
    let count = |counter: RawValue<u64>| counter.fetch_add(1);
    let pending: Vec<_> = (0..5).map(|_| executor.submit(count, counter.clone())).collect();
    let small: Vec<_> = (0..5).map(|n| executor.submit(square, n)).collect();
    assert!(running.running() && !running.cancel());
    assert!(pending.iter().chain(&small).all(|future| !future.running() && !future.done()));
    assert!(pending[..3].iter().chain(&small[..3]).all(|future| future.cancel() && future.cancel()));
    assert_eq!(pending[0].result(), Err(&TaskError::Cancelled));
    event.set();
    assert_eq!(running.result_timeout(SOON), Ok(&0));
    assert!(pending[3..].iter().all(|future| future.result_timeout(SOON).is_ok()));
    assert_eq!(small[4].result_timeout(SOON), Ok(&16));
    assert_eq!(counter.load(), 2, "what was cancelled was not done");
    assert!(!running.cancel() && !running.running());
}

#[test]
fn one_dead_worker_fails_its_own_future_only_known_bad_20() {
    let executor = ProcessPoolExecutor::new(2).unwrap();
    let (lost, victim, _) = held(&executor);
    let queued: Vec<_> = (0..50).map(|n| executor.submit(square, n)).collect();
    kill(victim);
    assert_eq!(lost.exception_timeout(SOON), Ok(Some(&TaskError::WorkerDied { pid: victim, signal: 9 })));
    assert!((0..).zip(&queued).all(|(n, future)| future.result_timeout(SOON) == Ok(&square(n))));
    assert_eq!(executor.submit(square, 9).result_timeout(SOON), Ok(&81));
}

#[test]
fn a_worker_that_dies_while_a_cancelled_future_waits_harms_nobody_known_bad_45() {
    let executor = one();
    for _ in 0..5 {
        let (lost, victim, _) = held(&executor);
        let cancelled = executor.submit(square, 1);
        let queued = executor.submit(square, 2);
        assert!(cancelled.cancel());
        kill(victim);
        assert!(matches!(lost.exception_timeout(SOON), Ok(Some(TaskError::WorkerDied { .. }))));
        assert_eq!(queued.result_timeout(SOON), Ok(&4));
        assert!(cancelled.cancelled());
    }
}

#[test]
fn shutdown_with_cancel_tells_waiters_at_once_known_bad_17() {
    let executor = one();
    let (running, _, event) = held(&executor);
    let pending: Vec<_> = (0..3000).map(|n| executor.submit(square, n)).collect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&pending, Some(SOON), ReturnWhen::AllCompleted).done.len());
        let completing =
            scope.spawn(|| as_completed(pending.clone(), Some(SOON)).filter(Result::is_ok).count());
        executor.shutdown(Shutdown { wait: false, cancel_futures: true });
        assert_eq!((waiting.join().unwrap(), completing.join().unwrap()), (3000, 3000));
    });
    assert!(pending.iter().all(Future::cancelled));
    assert!(!running.done());
    event.set();
    assert_eq!(running.result_timeout(SOON), Ok(&0));
    executor.shutdown(Shutdown::default());
    assert!(executor.pids().is_empty());
    assert_eq!(executor.submit(square, 1).exception(), Some(&TaskError::PoolClosed));
}

#[test]
fn shutdown_without_waiting_lets_queued_work_finish() {
    let executor = ProcessPoolExecutor::new(2).unwrap();
    let futures: Vec<_> = (0..2000).map(|n| executor.submit(square, n)).collect();
    executor.shutdown(Shutdown { wait: false, cancel_futures: false });
    assert!((0..).zip(&futures).all(|(n, future)| future.result_timeout(SOON) == Ok(&square(n))));
    drop(executor);
}

#[test]
fn futures_of_both_executors_are_waited_for_together() {
    let (processes, threads) = (ProcessPoolExecutor::new(1).unwrap(), ThreadPoolExecutor::new(1).unwrap());
    let (held, _, event) = held(&processes);
    let quick = threads.submit(square, 3);
    let both = [held.clone(), quick.clone(), held.clone()];
    let waited = wait(&both, Some(SOON), ReturnWhen::FirstCompleted);
    assert_eq!((waited.done, waited.not_done), (vec![quick.clone()], vec![held.clone()]));
    assert_eq!(wait(&both, Some(SHORT), ReturnWhen::AllCompleted).not_done.len(), 1);
    let mut completed = as_completed(both.clone(), Some(SOON));
    assert_eq!(completed.next(), Some(Ok(quick)));
    event.set();
    assert_eq!(completed.next(), Some(Ok(held)));
    assert_eq!(completed.next(), None);
    let many =
        (0..200).map(|n| if n % 2 == 0 { processes.submit(square, n) } else { threads.submit(square, n) });
    let all: HashSet<_> =
        as_completed(many, Some(SOON)).map(|future| *future.unwrap().result().unwrap()).collect();
    assert_eq!(all, (0..200).map(square).collect());
}

#[test]
fn map_is_ordered_ends_at_the_first_failure_and_is_not_eager() {
    let executor = ProcessPoolExecutor::new(2).unwrap();
    let ordered: Result<Vec<u64>, _> = executor.map(square, 0..3000).collect();
    assert_eq!(ordered.unwrap(), (0..3000).map(square).collect::<Vec<_>>());
    let fails = |n: u64| {
        assert!(n != 3, "three");
        n
    };
    let mut results = executor.map(fails, 0..);
    assert_eq!(results.by_ref().take(3).map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(matches!(results.next(), Some(Err(TaskError::Panicked { .. }))));
    assert_eq!(results.next(), None);
    drop(results);
    let options = MapOptions { chunk: Some(7), ..MapOptions::default() };
    let chunked: Result<Vec<u64>, _> = executor.map_with(square, 0..100, options).collect();
    assert_eq!(chunked.unwrap().len(), 100);
    let refused = MapOptions { chunk: Some(0), ..MapOptions::default() };
    assert!(matches!(
        executor.map_with(square, 0..9, refused).next(),
        Some(Err(TaskError::InvalidOption(_)))
    ));
}

#[test]
fn a_map_that_takes_too_long_ends_and_its_rest_is_never_done() {
    let executor = one();
    let (_held, _, event) = held(&executor);
    let counter = RawValue::new(0_u64).unwrap();
    let count = |counter: RawValue<u64>| counter.fetch_add(1);
    let options = MapOptions { timeout: Some(SHORT), ..MapOptions::default() };
    let inputs: Vec<_> = (0..10).map(|_| counter.clone()).collect();
    let mut results = executor.map_with(count, inputs, options);
    assert_eq!(results.next(), Some(Err(TaskError::WaitTimedOut)));
    assert_eq!(results.next(), None);
    event.set();
    executor.shutdown(Shutdown::default());
    assert_eq!(counter.load(), 0);
}

#[test]
fn workers_are_ended_with_what_they_do_known_bad_44() {
    for kill in [false, true] {
        let executor = ProcessPoolExecutor::new(2).unwrap();
        let (running, pid, _) = held(&executor);
        let _second = held(&executor);
        let queued = executor.submit(square, 1);
        if kill {
            executor.kill_workers()
        } else {
            executor.terminate_workers()
        }
        assert_eq!(running.exception_timeout(Duration::ZERO), Ok(Some(&TaskError::Terminated)));
        assert_eq!(queued.exception_timeout(Duration::ZERO), Ok(Some(&TaskError::Terminated)));
        assert_eq!(executor.submit(square, 1).exception(), Some(&TaskError::PoolClosed));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn workers_are_replaced_after_so_many_tasks_known_bad_19() {
    let executor = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build().unwrap();
    let futures: Vec<_> = (0..5).map(|_: u64| executor.submit(|()| std::process::id(), ())).collect();
    let pids: HashSet<_> = futures.iter().map(|future| *future.result_timeout(SOON).unwrap()).collect();
    assert_eq!(pids.len(), 5);
}

#[test]
fn a_failing_initializer_breaks_the_executor_known_bad_12() {
    let builder = ProcessPoolExecutor::builder().max_workers(2);
    let executor =
        builder.initializer(|why: String| panic!("{why}"), "no licence".to_owned()).build().unwrap();
    let expected = TaskError::Initializer("no licence".to_owned());
    let futures: Vec<_> = (0..10).map(|n| executor.submit(square, n)).collect();
    assert!(futures.iter().all(|future| future.exception_timeout(SOON) == Ok(Some(&expected))));
    assert_eq!(executor.submit(square, 1).exception(), Some(&expected));
    assert!(matches!(ProcessPoolExecutor::new(0), Err(Error::InvalidArgument { what: "max_workers", .. })));
}

#[test]
fn code_that_is_generic_over_executors_runs_on_both() {
    fn sums(executor: &impl Executor) -> (u64, u64) {
        let futures: Vec<_> = (0..10).map(|n: u64| executor.submit(|n| n * 2, n)).collect();
        let submitted = futures.iter().map(|future| future.result().unwrap()).sum();
        let mapped = executor.map(|n: u64| n + 1, 0..10).map(Result::unwrap).sum();
        executor.shutdown(Shutdown::default());
        (submitted, mapped)
    }
    assert_eq!(sums(&ThreadPoolExecutor::new(2).unwrap()), (90, 55));
    assert_eq!(sums(&ProcessPoolExecutor::new(2).unwrap()), (90, 55));
}

#[test]
fn cancelling_at_any_moment_runs_a_task_once_or_never() {
    let executor = ProcessPoolExecutor::new(2).unwrap();
    let counter = RawValue::new(0_u64).unwrap();
    let count = |counter: RawValue<u64>| counter.fetch_add(1);
    let mut cancelled = 0;
    let futures: Vec<_> = (0..2000)
        .map(|n| {
            let future = executor.submit(count, counter.clone());
            cancelled += u64::from(n % 3 == 0 && future.cancel());
            future
        })
        .collect();
    executor.shutdown(Shutdown::default());
    assert!(futures.iter().all(Future::done));
    assert_eq!(counter.load() + cancelled, 2000);
    assert_eq!(futures.iter().filter(|future| future.cancelled()).count() as u64, cancelled);
}

/// A million futures, in the test of that name: ten thousand at a time.
fn leave_no_memory_behind<E: Executor>(test: &str, start: impl FnOnce() -> E) {
    if !limited::is_limited() {
        limited::passes_under("true", test);
        return;
    }
    let executor = start();
    let batch = || {
        let futures: Vec<_> = (0..10_000).map(|n: u64| executor.submit(|n| [n; 8], n)).collect();
        let sum: u64 = futures.into_iter().map(|future| future.into_result().unwrap()[0]).sum();
        assert_eq!(sum, 49_995_000);
    };
    (0..5).for_each(|_| batch());
    let before = limited::resident();
    (0..100).for_each(|_| batch());
    let grown = limited::resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more after a million futures");
}

#[test]
fn a_million_futures_of_threads_leave_no_memory_behind() {
    leave_no_memory_behind("a_million_futures_of_threads_leave_no_memory_behind", || {
        ThreadPoolExecutor::new(2).unwrap()
    });
}

#[test]
fn a_million_futures_of_processes_leave_no_memory_behind() {
    leave_no_memory_behind("a_million_futures_of_processes_leave_no_memory_behind", || {
        ProcessPoolExecutor::new(2).unwrap()
    });
}
