//! `Manager`'s proxies: what each does beyond the others, and that what is one call is one.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod worker;

use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use multiproc::manager::{
    ArrayProxy, BarrierProxy, BoundedSemaphoreProxy, ConditionProxy, DictProxy, EventProxy,
    JoinableQueueProxy, ListProxy, LockProxy, ManagerError, NamespaceProxy, ObjectProxy, PoolProxy,
    QueueProxy, RLockProxy, RemoteObject, RemoteResult, SemaphoreProxy, ValueProxy,
};
use multiproc::{Manager, MapOptions, TaskError};
use rustix::process::{Signal, getpid, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{SOON, Worker};

const INSTANT: Duration = Duration::from_millis(5);

fn manager() -> Manager {
    Manager::start().unwrap()
}

struct Echo;

impl RemoteObject for Echo {
    type Args = ();
    type Request = String;
    type Reply = String;
    const NAME: &'static str = "Echo";

    fn new((): ()) -> Self {
        Self
    }

    fn call(&mut self, request: String) -> String {
        request
    }
}

#[test]
fn every_proxy_is_shared_by_threads_and_travels() {
    fn is_proxy<P: Clone + Send + Sync + Serialize + DeserializeOwned>() {}
    is_proxy::<ListProxy<String>>();
    is_proxy::<DictProxy<String, ListProxy<u8>>>();
    is_proxy::<NamespaceProxy>();
    is_proxy::<ValueProxy<f64>>();
    is_proxy::<ArrayProxy<f64>>();
    is_proxy::<LockProxy>();
    is_proxy::<RLockProxy>();
    is_proxy::<SemaphoreProxy>();
    is_proxy::<BoundedSemaphoreProxy>();
    is_proxy::<ConditionProxy>();
    is_proxy::<EventProxy>();
    is_proxy::<BarrierProxy>();
    is_proxy::<QueueProxy<String>>();
    is_proxy::<JoinableQueueProxy<String>>();
    is_proxy::<PoolProxy>();
    is_proxy::<ObjectProxy<Echo>>();
    fn is_sent<T: Send + 'static>() {}
    is_sent::<RemoteResult<String>>();
    is_sent::<Manager>();
}

#[test]
fn objects_of_ones_own_and_bounded_semaphores_are_used_by_another_process() {
    type Given = (BoundedSemaphoreProxy, ObjectProxy<Echo>, EventProxy, EventProxy);
    fn hold((seats, echo, ready, go): Given) -> String {
        let _seat = seats.acquire().unwrap();
        ready.set().unwrap();
        go.wait().unwrap();
        echo.call(&"from afar".to_owned()).unwrap()
    }
    let manager = Manager::builder().register::<Echo>().start().unwrap();
    let (seats, echo) = (manager.bounded_semaphore(1).unwrap(), manager.object::<Echo>(&()).unwrap());
    let (ready, go) = (manager.event().unwrap(), manager.event().unwrap());
    let worker = Worker::spawn(hold, (seats.clone(), echo, ready.clone(), go.clone()));
    assert!(ready.wait_timeout(SOON).unwrap());
    assert!(seats.try_acquire().unwrap().is_none());
    go.set().unwrap();
    assert_eq!(worker.join(), "from afar");
    assert!(seats.acquire_timeout(SOON).unwrap().is_some());
    assert!(matches!(seats.release(), Err(ManagerError::OverReleased)), "nobody has one that was forgotten");
    assert!(matches!(manager.object::<Unknown>(&()), Err(ManagerError::NotFound(_))), "it is not registered");
}

struct Unknown;

impl RemoteObject for Unknown {
    type Args = ();
    type Request = ();
    type Reply = ();
    const NAME: &'static str = "Unknown";

    fn new((): ()) -> Self {
        Self
    }

    fn call(&mut self, (): ()) {}
}

#[test]
fn a_list_does_more_of_what_a_vector_does() {
    let manager = manager();
    let mut model = vec![5, 3, 8, 3, 3, 9, 1];
    let list = manager.list(model.clone()).unwrap();
    let same = |model: &[i32]| assert_eq!(list.to_vec().unwrap(), model);
    assert_eq!(list.last().unwrap(), model.last().copied());
    assert_eq!(list.swap_remove(1).unwrap(), model.swap_remove(1));
    same(&model);
    list.dedup().unwrap();
    model.dedup();
    same(&model);
    list.retain(|number| *number > 1).unwrap();
    model.retain(|number| *number > 1);
    same(&model);
    list.sort_by(|a, b| b.cmp(a)).unwrap();
    model.sort_by(|a, b| b.cmp(a));
    same(&model);
    assert_eq!(list.slice(..).unwrap(), model);
    assert_eq!(list.slice(model.len()..).unwrap(), []);
    assert_eq!(list.splice(1.., [7, 7]).unwrap(), model.splice(1.., [7, 7]).collect::<Vec<_>>());
    same(&model);
    for wrong in
        [list.slice(4..), list.slice(..=usize::MAX), list.slice(..usize::MAX), list.drain(usize::MAX..)]
    {
        assert!(matches!(wrong, Err(ManagerError::OutOfRange { .. })), "{wrong:?}");
    }
    assert!(matches!(list.swap_remove(3), Err(ManagerError::OutOfRange { index: 3, len: 3, .. })));
    same(&model);
    list.clear().unwrap();
    assert_eq!(list.last().unwrap(), None);
}

#[test]
fn a_range_to_the_end_is_one_call_whatever_others_do_meanwhile() {
    const ROUNDS: u32 = 300;
    let manager = manager();
    let list = manager.list::<u32>([]).unwrap();
    let mut drained = Vec::new();
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for round in 0..ROUNDS {
                list.extend([round; 3]).unwrap();
            }
        });
        while !changing.is_finished() {
            drained.extend(list.drain(..).unwrap());
            list.slice(0..).unwrap();
        }
    });
    drained.extend(list.drain(..).unwrap());
    assert_eq!(drained, (0..ROUNDS).flat_map(|round| [round; 3]).collect::<Vec<_>>());
}

#[test]
fn an_array_names_the_place_that_it_lacks() {
    let manager = manager();
    let array = manager.array([1, 2, 3]).unwrap();
    for wrong in [array.get(3), array.set(3, &0).map(|()| 0), array.update_at(3, |_| ())] {
        assert!(matches!(wrong, Err(ManagerError::OutOfRange { index: 3, len: 3, .. })), "{wrong:?}");
    }
    assert!(array.get(usize::MAX).is_err());
    array.fill(&7).unwrap();
    assert_eq!((array.to_vec().unwrap(), array.read(1..3).unwrap()), (vec![7; 3], vec![7; 2]));
}

#[test]
fn an_attribute_is_changed_by_many_at_once_and_keeps_its_type() {
    fn add(totals: NamespaceProxy) {
        for _ in 0..50 {
            totals.update("jobs", |jobs: Option<u64>| Some(jobs.unwrap_or(0) + 1)).unwrap();
        }
    }
    let manager = manager();
    let totals = manager.namespace().unwrap();
    let workers: Vec<_> = (0..3).map(|_| Worker::spawn(add, totals.clone())).collect();
    workers.into_iter().for_each(Worker::join);
    assert_eq!(totals.get::<u64>("jobs").unwrap(), Some(150));
    let mistaken = totals.update("jobs", |text: Option<String>| text);
    assert!(matches!(mistaken, Err(ManagerError::Mismatch { .. })), "{mistaken:?}");
    assert_eq!(totals.update("jobs", |_: Option<u64>| None).unwrap(), None);
    assert_eq!(totals.names().unwrap(), Vec::<String>::new());
    assert_eq!(totals.update("none", |none: Option<u8>| none).unwrap(), None);
    // A proxy in it is the object itself, and is kept by it.
    totals.update("list", |_| Some(manager.list([1_u8]).unwrap())).unwrap();
    let list: ListProxy<u8> = totals.get("list").unwrap().unwrap();
    assert_eq!(list.to_vec().unwrap(), [1]);
}

#[test]
fn an_entry_is_filled_by_its_default() {
    let manager = manager();
    let words = manager.dict::<String, Vec<u32>>().unwrap();
    let word = "lock".to_owned();
    assert_eq!(words.entry(&word).or_default().unwrap(), Vec::<u32>::new());
    assert_eq!(words.entry(&word).and_modify(|lines| lines.push(1)).or_default().unwrap(), [1]);
}

#[test]
fn a_joinable_queue_gets_in_time_and_many_at_once() {
    let manager = manager();
    let tasks = manager.joinable_queue::<u32>(2).unwrap();
    assert!(matches!(tasks.get_timeout(INSTANT), Err(ManagerError::TimedOut)));
    tasks.put_timeout(&1, INSTANT).unwrap();
    assert!(!tasks.is_full().unwrap());
    tasks.put(&2).unwrap();
    assert!(tasks.is_full().unwrap());
    assert!(matches!(tasks.put_timeout(&3, INSTANT), Err(ManagerError::TimedOut)));
    assert!(matches!(tasks.try_put(&3), Err(ManagerError::Full)));
    assert_eq!(tasks.get_timeout(SOON).unwrap(), 1);
    assert_eq!(tasks.get_many(10).unwrap(), [2]);
    assert!(!tasks.join_timeout(INSTANT).unwrap(), "two are not done");
    tasks.task_done().unwrap();
    tasks.task_done().unwrap();
    tasks.join().unwrap();
}

fn half(n: u32) -> u32 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n / 2
}

fn die(n: u32) -> u32 {
    if n == 0 {
        kill_process(getpid(), Signal::KILL).unwrap();
    }
    n
}

#[test]
fn a_map_of_a_pool_is_waited_for_later() {
    let manager = manager();
    let pool = manager.pool(2).unwrap();
    let mut halves = pool.map_async(half, (0..100).map(|n| 2 * n)).unwrap();
    let expected: Vec<u32> = (0..100).collect();
    let got = loop {
        match halves.get_timeout(INSTANT) {
            Err(ManagerError::TimedOut) => {}
            got => break got.unwrap(),
        }
    };
    assert_eq!(got, expected, "in the order of the items, none twice");
    assert!(matches!(halves.get_timeout(INSTANT), Err(ManagerError::NotHeld)), "it has been got");
    let halves = pool.map_async(half, [0, 2, 4]).unwrap();
    while !halves.is_ready().unwrap() {
        std::thread::yield_now();
    }
    assert_eq!(halves.get().unwrap(), [0, 1, 2]);
    assert_eq!(pool.map_async(half, []).unwrap().get().unwrap(), Vec::<u32>::new());
    let failed = pool.map_async(half, [2, 3, 5]).unwrap().get();
    assert!(
        matches!(&failed, Err(ManagerError::Task(TaskError::Panicked { message, .. })) if message == "3 is odd"),
        "{failed:?}"
    );
    assert_eq!(pool.pids().unwrap().len(), 2);
    assert_eq!(pool.map(half, [8, 6]).unwrap(), [4, 3], "failures spoil nothing");
}

#[test]
fn results_of_a_pool_come_as_they_are_ready() {
    fn wait_for_first((go, n): (EventProxy, u32)) -> u32 {
        if n == 0 {
            go.wait().unwrap();
        }
        n
    }
    let manager = manager();
    let (pool, go) = (manager.pool(2).unwrap(), manager.event().unwrap());
    let mut all = pool.imap_unordered(wait_for_first, (0..6).map(|n| (go.clone(), n)));
    let mut early: Vec<u32> = all.by_ref().take(5).map(Result::unwrap).collect();
    early.sort_unstable();
    assert_eq!(early, [1, 2, 3, 4, 5], "the first one waits for all others to have been seen");
    go.set().unwrap();
    assert_eq!(all.map(Result::unwrap).collect::<Vec<_>>(), [0]);
    // One that is dropped is forgotten, and keeps nobody waiting.
    go.clear().unwrap();
    drop(pool.imap_unordered(wait_for_first, [(go.clone(), 0)]));
    assert_eq!(pool.apply(half, 4).unwrap(), 2);
    go.set().unwrap();
}

#[test]
fn a_worker_that_dies_fails_each_item_that_it_had() {
    let manager = manager();
    let pool = manager.pool(1).unwrap();
    let in_pairs = MapOptions { chunk: Some(2), ..MapOptions::default() };
    for results in [
        pool.imap_with(die, 0..8, in_pairs).collect::<Vec<_>>(),
        pool.imap_unordered_with(die, 0..8, in_pairs).collect::<Vec<_>>(),
        pool.imap(die, 0..8).collect::<Vec<_>>(),
    ] {
        assert_eq!(results.len(), 8, "one for each item: {results:?}");
        let died = |result: &Result<u32, ManagerError>| {
            matches!(result, Err(ManagerError::Task(TaskError::WorkerDied { signal: 9, .. })))
        };
        let count = results.iter().filter(|result| died(result)).count();
        assert!((1..=2).contains(&count), "those of its job: {results:?}");
        assert_eq!(*results[7].as_ref().unwrap(), 7);
    }
}

#[test]
fn an_input_without_end_is_taken_within_the_buffer() {
    let manager = manager();
    let pool = manager.pool(2).unwrap();
    let taken = Cell::new(0);
    let input = (0_u32..).inspect(|_| taken.set(taken.get() + 1));
    let bounded = MapOptions { buffersize: Some(10), ..MapOptions::default() };
    let mut results = pool.imap_with(|n: u32| n + 1, input, bounded);
    for n in 0..100 {
        assert!(taken.get() <= n + 10, "{} after {n}", taken.get());
        assert_eq!(results.next().unwrap().unwrap(), n + 1);
    }
    drop(results);
    let mut seen: Vec<u32> = pool.imap_unordered(|n: u32| n, 0..200).map(Result::unwrap).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>(), "each once");
    assert_eq!(pool.imap(half, []).count(), 0);
}

#[test]
fn options_of_a_map_that_are_wrong_or_too_tight_are_errors() {
    let manager = manager();
    let (pool, never) = (manager.pool(1).unwrap(), manager.event().unwrap());
    let wrong = MapOptions { chunk: Some(0), ..MapOptions::default() };
    let is_wrong = |error| matches!(error, Err(ManagerError::Task(TaskError::InvalidOption(_))));
    assert!(is_wrong(pool.map_with(half, [2], wrong).map(drop)));
    let results: Vec<_> = pool.imap_with(half, [2], wrong).collect();
    assert!(matches!(results[..], [Err(ManagerError::Task(TaskError::InvalidOption(_)))]), "{results:?}");
    let wait = |never: EventProxy| never.wait().is_ok();
    let tight = MapOptions { timeout: Some(INSTANT), ..MapOptions::default() };
    assert!(matches!(pool.map_with(wait, [never.clone()], tight), Err(ManagerError::TimedOut)));
    let results: Vec<_> = pool.imap_with(wait, [never.clone()], tight).collect();
    assert!(matches!(results[..], [Err(ManagerError::TimedOut)]), "{results:?}");
    never.set().unwrap();
    // A server that has gone is the last result.
    manager.shutdown().unwrap();
    let results: Vec<_> = pool.imap(half, 0..10).collect();
    assert!(
        matches!(results[..], [Err(ManagerError::Unreachable(_) | ManagerError::Disconnected)]),
        "{results:?}"
    );
}

#[test]
fn callbacks_are_called_here_with_results_and_failures() {
    let manager = manager();
    let pool = manager.pool(2).unwrap();
    let (sender, receiver) = mpsc::channel();
    let own = std::process::id();
    let send = |sender: &mpsc::Sender<_>| {
        let sender = sender.clone();
        move |result: Result<u32, ManagerError>| sender.send((std::process::id(), result)).unwrap()
    };
    pool.apply_async_then(half, 12, send(&sender)).unwrap();
    assert!(matches!(receiver.recv_timeout(SOON), Ok((pid, Ok(6))) if pid == own));
    pool.apply_async_then(half, 3, send(&sender)).unwrap();
    let failed = receiver.recv_timeout(SOON).unwrap().1;
    assert!(matches!(failed, Err(ManagerError::Task(TaskError::Panicked { .. }))), "{failed:?}");
    let sum = send(&sender);
    pool.map_async_then(half, [2, 4, 6], move |halves| sum(halves.map(|halves| halves.iter().sum())))
        .unwrap();
    assert!(matches!(receiver.recv_timeout(SOON), Ok((_, Ok(6)))));
    // A server that dies is an outcome, too.
    let never = manager.event().unwrap();
    let wait = |never: EventProxy| never.wait().map_or(1, |()| 0);
    pool.apply_async_then(wait, never, send(&sender)).unwrap();
    let pid = rustix::process::Pid::from_raw(manager.pid().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let lost = receiver.recv_timeout(SOON).unwrap().1;
    assert!(matches!(lost, Err(ManagerError::Disconnected | ManagerError::Unreachable(_))), "{lost:?}");
}
