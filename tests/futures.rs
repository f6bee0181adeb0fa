//! Futures, and executors on threads: every state and rule, whoever runs the tasks.
#![cfg(feature = "process")]

use std::collections::HashSet;
use std::future::IntoFuture;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use multiproc::futures::{Future, ReturnWhen, Shutdown, ThreadPoolExecutor, Unfinished, as_completed, wait};
use multiproc::{Error, MapOptions, TaskError};

/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// A task that runs until its sender is used or dropped, and has begun when this returns.
fn held(executor: &ThreadPoolExecutor) -> (Future<u32>, Sender<u32>) {
    let (go_on, wait) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let future = executor.submit(
        move |()| {
            begun.send(()).unwrap();
            wait.recv().expect("let go without a value")
        },
        (),
    );
    has_begun.recv_timeout(SOON).unwrap();
    (future, go_on)
}

fn one() -> ThreadPoolExecutor {
    ThreadPoolExecutor::new(1).unwrap()
}

fn panicked(message: &str) -> impl Fn(Option<&TaskError>) -> bool {
    move |error| matches!(error, Some(TaskError::Panicked { message: said, .. }) if said == message)
}

#[test]
fn a_pending_future_can_be_cancelled_and_a_running_or_finished_one_not() {
    let executor = one();
    let (running, go_on) = held(&executor);
    let pending = executor.submit(|()| unreachable!("it was cancelled"), ());
    assert!(running.running() && !running.done() && !running.cancelled());
    assert!(!pending.running() && !pending.done() && !pending.cancelled());
    assert!(!running.cancel());
    assert!(pending.cancel() && pending.cancel(), "again does no harm");
    assert!(pending.cancelled() && pending.done() && !pending.running());
    let (result, exception): (Result<&(), _>, _) = (pending.result(), pending.exception());
    assert_eq!((result, exception), (Err(&TaskError::Cancelled), Some(&TaskError::Cancelled)));
    go_on.send(7).unwrap();
    assert_eq!(running.result_timeout(SOON), Ok(&7));
    assert!(running.done() && !running.running() && !running.cancel());
    assert_eq!(running.exception(), None);
}

#[test]
fn a_result_that_is_not_there_yet_is_waited_for_as_long_as_was_said() {
    let executor = one();
    let (running, go_on) = held(&executor);
    assert_eq!(running.result_timeout(Duration::ZERO), Err(&TaskError::WaitTimedOut));
    assert_eq!(running.exception_timeout(SHORT), Err(&TaskError::WaitTimedOut));
    go_on.send(1).unwrap();
    assert_eq!(running.exception_timeout(SOON), Ok(None));
    assert_eq!((running.result(), running.result()), (Ok(&1), Ok(&1)), "repeatable");
}

#[test]
fn a_panic_is_the_futures_and_the_thread_goes_on() {
    let executor = one();
    let fails = executor.submit(|()| panic!("on purpose"), ());
    assert!(panicked("on purpose")(fails.exception()));
    assert_eq!(executor.submit(|n: u32| n, 3).result(), Ok(&3));
    let error = fails.into_result().unwrap_err();
    assert_eq!(error.to_string(), "the task panicked: on purpose");
    assert!(matches!(Error::from(error), Error::Operation(_)));
}

#[test]
fn callbacks_run_in_order_duplicates_too_and_a_panicking_one_stops_nothing() {
    let executor = one();
    let (running, go_on) = held(&executor);
    let (sender, order) = mpsc::channel();
    for n in [0, 1, 1, 2] {
        let sender = sender.clone();
        running.add_done_callback(move |future| {
            sender.send((n, future.result().copied().ok())).unwrap();
            assert!(n != 1, "on purpose");
        });
    }
    go_on.send(5).unwrap();
    let came: Vec<_> = order.iter().take(4).collect();
    assert_eq!(came, [(0, Some(5)), (1, Some(5)), (1, Some(5)), (2, Some(5))]);
    assert_eq!(executor.submit(|n: u32| n, 3).result_timeout(SOON), Ok(&3), "the thread goes on");
}

#[test]
fn a_callback_of_a_done_future_runs_at_once_in_the_caller() {
    let executor = one();
    let future = executor.submit(|n: u32| n, 1);
    future.result().unwrap();
    let own = thread::current().id();
    let (sender, receiver) = mpsc::channel();
    let again = sender.clone();
    future.add_done_callback(move |future| {
        let nested = again.clone();
        future.add_done_callback(move |_| nested.send(("nested", thread::current().id())).unwrap());
        again.send(("outer", thread::current().id())).unwrap();
        panic!("swallowed");
    });
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [("nested", own), ("outer", own)]);
}

#[test]
fn cancelling_calls_the_callbacks_in_the_caller() {
    let executor = one();
    let (_running, _go_on) = held(&executor);
    let pending = executor.submit(|()| (), ());
    let (sender, receiver) = mpsc::channel();
    pending
        .add_done_callback(move |future| sender.send((future.cancelled(), thread::current().id())).unwrap());
    assert!(pending.cancel());
    assert_eq!(receiver.try_recv(), Ok((true, thread::current().id())));
}

#[test]
fn a_result_is_moved_out_by_the_last_handle() {
    let executor = one();
    let future = executor.submit(|n: usize| vec![0; n], 3);
    // The temporary future that the callback sees does not count, and is waited for.
    future.add_done_callback(|future| assert!(future.done()));
    let clone = future.clone();
    assert_eq!(clone.into_result(), Err(TaskError::Shared));
    assert_eq!(future.into_result(), Ok(vec![0; 3]));
}

#[test]
fn of_two_that_move_the_result_out_at_once_one_gets_it() {
    let executor = one();
    for _ in 0..200 {
        let future = executor.submit(|()| String::from("x"), ());
        let clone = future.clone();
        let (left, right) = thread::scope(|scope| {
            let left = scope.spawn(|| future.into_result());
            (left.join().unwrap(), clone.into_result())
        });
        assert!(left.is_ok() ^ right.is_ok() && (left == Err(TaskError::Shared) || left.is_ok()));
    }
}

/// Wakes a thread, as an executor of async code would.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: std::future::Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(SOON),
        }
    }
}

#[test]
fn a_future_can_be_awaited() {
    let executor = one();
    let sum = block_on(async {
        let one = executor.submit(|n: u32| n, 1).await?;
        let two = executor.submit(|n: u32| n, 2).await?;
        Ok::<_, TaskError>(one + two)
    });
    assert_eq!(sum, Ok(3));
    assert!(panicked("no")(block_on(executor.submit(|()| panic!("no"), ()).into_future()).err().as_ref()));
    let shared = executor.submit(|()| (), ());
    let other = shared.clone();
    assert_eq!(block_on(shared.into_future()), Err(TaskError::Shared));
    assert_eq!(other.result(), Ok(&()));
}

#[test]
fn an_awaited_future_that_is_cancelled_wakes_its_task() {
    let executor = one();
    let (_running, _go_on) = held(&executor);
    let pending = executor.submit(|()| (), ());
    let canceller = pending.clone();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut awaited = pending.into_future();
    assert!(std::future::Future::poll(Pin::new(&mut awaited), &mut Context::from_waker(&waker)).is_pending());
    thread::scope(|scope| {
        scope.spawn(move || assert!(canceller.cancel()));
        // Either parked, or the token is there already.
        thread::park_timeout(SOON);
    });
    assert_eq!(block_on(awaited), Err(TaskError::Cancelled));
}

#[test]
fn wait_returns_when_it_was_told_to() {
    let executor = ThreadPoolExecutor::new(3).unwrap();
    let (first, let_first) = held(&executor);
    let (second, let_second) = held(&executor);
    let (third, let_third) = held(&executor);
    let all = [first.clone(), second.clone(), third.clone(), first.clone()];
    let waited = wait(&all, Some(SHORT), ReturnWhen::FirstCompleted);
    assert_eq!((waited.done.len(), waited.not_done.len()), (0, 3), "a duplicate counts once");

    let_second.send(2).unwrap();
    let waited = wait(&all, Some(SOON), ReturnWhen::FirstCompleted);
    assert_eq!((waited.done, waited.not_done), (vec![second], vec![first, third]));

    // The third one fails: the first is not waited for.
    drop(let_third);
    let waited = wait(&all, Some(SOON), ReturnWhen::FirstException);
    assert_eq!((waited.done.len(), waited.not_done.len()), (2, 1));

    let_first.send(1).unwrap();
    let waited = wait(&all, Some(SOON), ReturnWhen::AllCompleted);
    assert_eq!((waited.done.len(), waited.not_done.len()), (3, 0));
    let waited = wait::<u32>(&[], None, ReturnWhen::FirstCompleted);
    assert!(waited.done.is_empty() && waited.not_done.is_empty());
}

#[test]
fn a_cancelled_future_is_no_exception_and_is_done_at_once_known_bad_17() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let (running, go_on) = held(&executor);
    let pending: Vec<_> = (0..10).map(|n: u32| executor.submit(|n| n, n)).collect();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&pending, Some(SOON), ReturnWhen::AllCompleted));
        let completing =
            scope.spawn(|| as_completed(pending.clone(), Some(SOON)).filter(Result::is_ok).count());
        executor.shutdown(Shutdown { wait: false, cancel_futures: true });
        assert_eq!(waiting.join().unwrap().done.len(), 10);
        assert_eq!(completing.join().unwrap(), 10);
    });
    assert!(pending.iter().all(Future::cancelled));
    let both = [running.clone(), pending[0].clone()];
    let waited = wait(&both, Some(SHORT), ReturnWhen::FirstException);
    assert_eq!(waited.not_done, std::slice::from_ref(&running), "a cancelled one is no exception");
    go_on.send(1).unwrap();
    assert_eq!(running.result(), Ok(&1), "what ran is finished");
}

#[test]
fn as_completed_gives_each_future_once_in_the_order_of_their_ends() {
    let executor = ThreadPoolExecutor::new(3).unwrap();
    let (first, let_first) = held(&executor);
    let (second, let_second) = held(&executor);
    let (third, let_third) = held(&executor);
    let_third.send(3).unwrap();
    third.result().unwrap();
    let all = [first.clone(), second.clone(), third.clone(), first.clone()];
    let mut completed = as_completed(all.clone(), None);
    assert_eq!(completed.next(), Some(Ok(third.clone())));
    let_second.send(2).unwrap();
    assert_eq!(completed.next(), Some(Ok(second)));
    let_first.send(1).unwrap();
    assert_eq!(completed.next(), Some(Ok(first)));
    assert_eq!((completed.next(), completed.next()), (None, None));

    let (fourth, let_fourth) = held(&executor);
    let mut late = as_completed([fourth, third.clone()], Some(Duration::ZERO));
    assert_eq!(late.next(), Some(Ok(third)), "what is done is given before the time is over");
    assert_eq!(late.next(), Some(Err(Unfinished { done: 1, of: 2 })));
    assert_eq!(late.next(), None);
    assert_eq!(Unfinished { done: 1, of: 2 }.to_string(), "1 (of 2) futures unfinished");
    let_fourth.send(4).unwrap();
}

#[test]
fn map_is_ordered_and_ends_at_the_first_failure() {
    let executor = ThreadPoolExecutor::new(4).unwrap();
    let ordered: Result<Vec<u64>, _> = executor.map(|n: u64| n * n, 0..500).collect();
    assert_eq!(ordered.unwrap(), (0..500).map(|n| n * n).collect::<Vec<_>>());

    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let one = ThreadPoolExecutor::new(1).unwrap();
    let mut results = one.map(
        move |n: u32| {
            counter.fetch_add(1, Ordering::Relaxed);
            assert!(n != 3, "three");
            n
        },
        0..1000,
    );
    assert_eq!(results.by_ref().take(3).map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(panicked("three")(results.next().unwrap().err().as_ref()));
    assert!(results.next().is_none() && results.next().is_none());
    one.shutdown(Shutdown::default());
    assert!(begun.load(Ordering::Relaxed) <= 64, "the rest was cancelled");
}

#[test]
fn a_map_takes_no_more_of_its_input_than_its_buffer_known_bad_15() {
    let executor = ThreadPoolExecutor::new(2).unwrap();
    for buffersize in [1, 2, 7, 64, 200] {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let input = (0_u64..).inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let options = MapOptions { buffersize: Some(buffersize), ..MapOptions::default() };
        let mut results = executor.map_with(|n: u64| n, input, options);
        for yielded in 0..1000 {
            assert!(taken.load(Ordering::Relaxed) <= yielded + buffersize);
            assert_eq!(results.next(), Some(Ok(yielded as u64)));
        }
    }
}

#[test]
fn a_map_that_takes_too_long_ends_and_its_rest_is_never_done() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let options = MapOptions { timeout: Some(SHORT), ..MapOptions::default() };
    let mut results = executor.map_with(
        move |_: u32| {
            counter.fetch_add(1, Ordering::Relaxed);
            wait.lock().unwrap().recv().is_ok()
        },
        0..10,
        options,
    );
    assert_eq!(results.next(), Some(Err(TaskError::WaitTimedOut)));
    assert_eq!(results.next(), None);
    drop(go_on);
    executor.shutdown(Shutdown::default());
    assert!(begun.load(Ordering::Relaxed) <= 1, "only the one that was begun");
}

#[test]
fn options_of_zero_are_refused_known_bad_16() {
    let executor = one();
    for options in [
        MapOptions { chunk: Some(0), ..MapOptions::default() },
        MapOptions { buffersize: Some(0), ..MapOptions::default() },
    ] {
        let mut results = executor.map_with(|n: u32| n, 0..3, options);
        assert!(matches!(results.next(), Some(Err(TaskError::InvalidOption(_)))));
        assert_eq!(results.next(), None);
    }
    assert!(matches!(ThreadPoolExecutor::new(0), Err(Error::InvalidArgument { what: "max_workers", .. })));
}

#[test]
fn chunks_keep_the_order_and_the_last_may_be_short() {
    let executor = ThreadPoolExecutor::new(3).unwrap();
    for (chunk, count) in [(1, 10), (3, 10), (5, 10), (100, 10), (7, 1000), (2, 0)] {
        let options = MapOptions { chunk: Some(chunk), ..MapOptions::default() };
        let results: Result<Vec<u32>, _> = executor.map_with(|n| n, 0..count, options).collect();
        assert_eq!(results.unwrap(), (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn shutdown_lets_queued_work_finish_and_refuses_more() {
    let executor = one();
    let (running, go_on) = held(&executor);
    let queued = executor.submit(|n: u32| n, 2);
    executor.shutdown(Shutdown { wait: false, cancel_futures: false });
    assert_eq!(executor.submit(|n: u32| n, 3).result(), Err(&TaskError::PoolClosed));
    assert_eq!(executor.map(|n: u32| n, 0..3).next(), Some(Err(TaskError::PoolClosed)));
    assert!(!queued.done());
    go_on.send(1).unwrap();
    executor.shutdown(Shutdown::default());
    assert!(running.done() && queued.done(), "it was waited for");
    executor.shutdown(Shutdown { wait: true, cancel_futures: true });
}

#[test]
fn a_dropped_executor_waits_and_one_dropped_by_its_own_task_does_not_wait_for_itself() {
    let executor = one();
    let futures: Vec<_> = (0..100).map(|n: u32| executor.submit(|n| n, n)).collect();
    drop(executor);
    assert!(futures.iter().all(Future::done));

    let inner = Arc::new(one());
    let moved = Arc::clone(&inner);
    let barrier = Arc::new(Barrier::new(2));
    let other = Arc::clone(&barrier);
    let future = inner.submit(
        move |()| {
            other.wait();
            drop(moved);
        },
        (),
    );
    drop(inner);
    barrier.wait();
    assert_eq!(future.result_timeout(SOON), Ok(&()));
}

#[test]
fn threads_are_started_when_they_are_needed_and_are_named() {
    let executor = ThreadPoolExecutor::builder().max_workers(3).thread_name_prefix("crew").build().unwrap();
    let name = |()| thread::current().name().map(str::to_owned);
    for _ in 0..20 {
        assert_eq!(
            executor.submit(name, ()).result(),
            Ok(&Some("crew_0".to_owned())),
            "an idle thread is used"
        );
        // Until it is idle again.
        wait_until_asleep("crew_0");
    }
    let held: Vec<_> = (0..3).map(|_| held(&executor)).collect();
    let queued = executor.submit(name, ());
    assert!(!queued.running(), "no fourth thread");
    for (_, go_on) in &held {
        go_on.send(0).unwrap();
    }
    let names: HashSet<_> = ["crew_0", "crew_1", "crew_2"].map(|name| Some(name.to_owned())).into();
    assert!(names.contains(queued.result().unwrap()));
}

/// Waits until the thread of that name sleeps.
fn wait_until_asleep(name: &str) {
    let begun = Instant::now();
    let sleeps = || {
        std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.contains(&format!("({name}) S"))
        })
    };
    while !sleeps() {
        assert!(begun.elapsed() < SOON);
        thread::yield_now();
    }
}

#[test]
fn a_failing_initializer_breaks_the_executor_with_its_error() {
    let executor = ThreadPoolExecutor::builder()
        .max_workers(2)
        .initializer(|why: &str| panic!("{why}"), "no database")
        .build()
        .unwrap();
    let expected = TaskError::Initializer("no database".to_owned());
    let futures: Vec<_> = (0..10).map(|n: u32| executor.submit(|n| n, n)).collect();
    for future in &futures {
        assert_eq!(future.exception_timeout(SOON), Ok(Some(&expected)));
    }
    assert_eq!(executor.submit(|n: u32| n, 1).exception(), Some(&expected));
    executor.shutdown(Shutdown::default());
}

#[test]
fn watchers_and_abandoned_waits_leave_nothing_with_the_future() {
    let executor = one();
    let (running, go_on) = held(&executor);
    for _ in 0..1000 {
        let waited = wait(std::slice::from_ref(&running), Some(Duration::ZERO), ReturnWhen::AllCompleted);
        assert_eq!(waited.not_done.len(), 1);
        let _ = as_completed([running.clone()], Some(Duration::ZERO)).next();
    }
    go_on.send(3).unwrap();
    assert_eq!(running.into_result(), Ok(3), "all other handles are gone");
}
