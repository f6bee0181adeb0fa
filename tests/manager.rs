//! `Manager`: objects on a server, and proxies of them in several processes.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod limited;
mod worker;

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use limited::{is_limited, passes_under};
use multiproc::connection::{AuthenticationError, Descriptor};
use multiproc::manager::{
    ArrayProxy, BarrierProxy, ConditionProxy, DictProxy, EventProxy, JoinableQueueProxy, ListProxy,
    LockProxy, ManagerError, NamespaceProxy, ObjectProxy, PoolProxy, QueueProxy, RLockProxy, Refusal,
    RemoteObject, SemaphoreProxy, Server, ServerStopper, ValueProxy,
};
use multiproc::{Address, AuthKey, Client, Error, Manager, Process, pipe};
use serde::{Deserialize, Serialize};
use worker::{SOON, Worker, eventually};

/// By then the server has found out that a client has gone.
const RELEASED: Duration = Duration::from_secs(5);

fn manager() -> Manager {
    Manager::start().unwrap()
}

fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    format!("multiproc-test-manager-{}-{number}", std::process::id())
}

/// A server in this process, which ends with this.
struct Served {
    stopper: ServerStopper,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn new(server: Server) -> Self {
        let stopper = server.stopper();
        let thread = Some(std::thread::spawn(move || server.serve_forever()));
        Self { stopper, thread }
    }

    fn stop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_dict_does_what_pythons_does() {
    let manager = manager();
    let dict = manager.dict::<String, Vec<u32>>().unwrap();
    let key = |text: &str| text.to_owned();
    assert!(dict.is_empty().unwrap());
    dict.set(&key("a"), &vec![1]).unwrap();
    assert_eq!(dict.insert(&key("b"), &vec![2]).unwrap(), None);
    assert_eq!(dict.insert(&key("b"), &vec![3]).unwrap(), Some(vec![2]));
    assert_eq!(dict.get(&key("b")).unwrap(), Some(vec![3]));
    assert_eq!(dict.set_default(&key("a"), &vec![9]).unwrap(), [1]);
    assert_eq!(dict.set_default(&key("c"), &vec![9]).unwrap(), [9]);
    assert!(dict.contains_key(&key("c")).unwrap() && !dict.contains_key(&key("d")).unwrap());
    assert_eq!(dict.keys().unwrap(), ["a", "b", "c"]);
    assert_eq!(dict.values().unwrap(), [vec![1], vec![3], vec![9]]);
    assert_eq!(dict.items().unwrap().len(), 3);
    assert_eq!(dict.remove(&key("a")).unwrap(), Some(vec![1]));
    assert_eq!(dict.remove(&key("a")).unwrap(), None);
    dict.set(&key("a"), &vec![7]).unwrap();
    assert_eq!(dict.pop_item().unwrap(), Some((key("a"), vec![7])), "the one that came last");
    assert_eq!(dict.get_many(&[key("c"), key("x")]).unwrap(), [Some(vec![9]), None]);
    dict.set_many((0..3).map(|n| (n.to_string(), vec![n]))).unwrap();
    assert_eq!(dict.len().unwrap(), 5);
    assert_eq!(dict.to_map().unwrap()["2"], [2]);
    assert!(format!("{dict:?}").starts_with(r#"{"b": [3], "c": [9], "0": [0]"#), "{dict:?}");
    dict.clear().unwrap();
    assert_eq!((dict.pop_item().unwrap(), dict.len().unwrap()), (None, 0));
}

#[test]
fn updates_of_many_processes_are_all_made() {
    fn add((dict, list): (DictProxy<u8, u64>, ListProxy<u64>)) {
        for _ in 0..50 {
            dict.entry(&7).and_modify(|count| *count += 1).or_insert(1).unwrap();
            list.update_at(0, |count| *count += 1).unwrap();
            list.update(|list| list[1] += 1).unwrap();
        }
    }
    let manager = manager();
    let (dict, list) = (manager.dict().unwrap(), manager.list([0, 0]).unwrap());
    let workers: Vec<_> = (0..3).map(|_| Worker::spawn(add, (dict.clone(), list.clone()))).collect();
    workers.into_iter().for_each(|worker| worker.join());
    assert_eq!(dict.get(&7).unwrap(), Some(150));
    assert_eq!(list.to_vec().unwrap(), [150, 150]);
}

#[test]
fn a_list_does_what_a_vector_does() {
    let manager = manager();
    let list = manager.list([5, 3, 8]).unwrap();
    let mut model = vec![5, 3, 8];
    let same = |model: &[i32]| assert_eq!(list.to_vec().unwrap(), model);
    list.push(&1).unwrap();
    model.push(1);
    list.insert(1, &9).unwrap();
    model.insert(1, 9);
    same(&model);
    list.swap(0, 4).unwrap();
    model.swap(0, 4);
    list.reverse().unwrap();
    model.reverse();
    same(&model);
    list.sort().unwrap();
    model.sort();
    same(&model);
    list.sort_by_key(|number| -number).unwrap();
    model.sort_by_key(|number| -number);
    same(&model);
    assert_eq!(
        list.splice(1..=2, [100, 200, 300]).unwrap(),
        model.splice(1..=2, [100, 200, 300]).collect::<Vec<_>>()
    );
    assert_eq!(list.drain(3..).unwrap(), model.drain(3..).collect::<Vec<_>>());
    same(&model);
    assert_eq!(list.slice(1..).unwrap(), model[1..]);
    assert_eq!((list.get(0).unwrap(), list.first().unwrap()), (model[0], Some(model[0])));
    assert!(list.remove_item(&200).unwrap() && !list.remove_item(&200).unwrap());
    assert_eq!(list.index_of(&100).unwrap(), Some(1));
    list.truncate(1).unwrap();
    assert_eq!((list.pop().unwrap(), list.pop().unwrap(), list.first().unwrap()), (Some(9), None, None));
    for wrong in [list.get(0), list.remove(0), list.update_at(3, |_| ())] {
        assert!(matches!(wrong, Err(ManagerError::OutOfRange { len: 0, .. })), "{wrong:?}");
    }
    assert!(matches!(list.set(1, &1), Err(ManagerError::OutOfRange { index: 1, .. })));
    assert!(matches!(list.insert(1, &1), Err(ManagerError::OutOfRange { .. })));
    assert!(matches!(list.slice(0..2), Err(ManagerError::OutOfRange { .. })));
    list.extend(0..100).unwrap();
    assert!(format!("{list:?}").contains("15, .."), "bounded: {list:?}");
    list.clear().unwrap();
    assert!(list.is_empty().unwrap());
}

#[test]
fn nested_mutation_is_not_lost_known_bad_47() {
    fn grow(dict: DictProxy<String, ListProxy<u32>>) {
        dict.get(&"k".to_owned()).unwrap().unwrap().push(&2).unwrap();
    }
    let manager = manager();
    let dict = manager.dict::<String, ListProxy<u32>>().unwrap();
    dict.set(&"k".to_owned(), &manager.list([1]).unwrap()).unwrap();
    Worker::spawn(grow, dict.clone()).join();
    let list = dict.get(&"k".to_owned()).unwrap().unwrap();
    assert_eq!(list.to_vec().unwrap(), [1, 2], "the list in it is the object itself");
    // A value that is no proxy is changed by an update: one atomic call, and not a copy that is changed in vain.
    let plain = manager.dict::<u8, Vec<u32>>().unwrap();
    plain.set(&1, &vec![1]).unwrap();
    plain.entry(&1).and_modify(|list| list.push(2)).or_insert(vec![]).unwrap();
    assert_eq!(plain.get(&1).unwrap(), Some(vec![1, 2]));
    // Iteration is over a copy, whoever changes the dictionary meanwhile.
    for (key, _) in plain.items().unwrap() {
        plain.remove(&key).unwrap();
        plain.set(&(key + 1), &vec![]).unwrap();
    }
    // Many operations are one round trip.
    plain.set_many((0..200).map(|n| (n, vec![n.into()]))).unwrap();
    let keys: Vec<u8> = (0..200).collect();
    assert!(plain.get_many(&keys).unwrap().into_iter().enumerate().all(|(n, v)| v == Some(vec![n as u32])));
}

#[test]
fn an_object_goes_with_its_last_reference() {
    fn keep((list, go): (ListProxy<u8>, EventProxy)) {
        go.wait().unwrap();
        assert_eq!(list.to_vec().unwrap(), [1]);
    }
    let manager = manager();
    let objects = || manager.stats().unwrap().objects;
    assert_eq!(objects(), 0);
    let (list, go) = (manager.list([1_u8]).unwrap(), manager.event().unwrap());
    let copy = list.clone();
    let worker = Worker::spawn(keep, (list.clone(), go.clone()));
    eventually("the worker's reference", || manager.stats().unwrap().clients == 2);
    drop((list, copy));
    go.set().unwrap();
    worker.join();
    eventually("the list goes with the worker", || objects() == 1);
    // One that lies in another goes with that.
    let dict = manager.dict::<u8, Vec<ListProxy<u8>>>().unwrap();
    dict.set(&1, &vec![manager.list([]).unwrap(), manager.list([7]).unwrap()]).unwrap();
    assert_eq!(objects(), 4);
    let inner = dict.get(&1).unwrap().unwrap();
    dict.clear().unwrap();
    assert_eq!(objects(), 4, "they are referred to here");
    assert_eq!(inner[1].to_vec().unwrap(), [7]);
    drop(inner);
    drop(dict);
    eventually("the inner lists", || objects() == 1);
    // A name keeps it.
    manager.publish("kept", &manager.list([1_u8]).unwrap()).unwrap();
    assert_eq!(objects(), 2);
    assert!(matches!(manager.publish("kept", &go), Err(ManagerError::AlreadyExists(_))));
    assert_eq!(manager.find::<ListProxy<u8>>("kept").unwrap().to_vec().unwrap(), [1]);
    assert_eq!(manager.names().unwrap(), ["kept"]);
    assert!(manager.unpublish("kept").unwrap() && !manager.unpublish("kept").unwrap());
    assert!(matches!(manager.find::<ListProxy<u8>>("kept"), Err(ManagerError::NotFound(_))));
    eventually("the named list", || objects() == 1);
}

#[test]
fn proxies_travel_by_queues_and_connections_and_outlive_their_senders() {
    fn make((queue, address): (multiproc::Queue<ListProxy<String>>, Address)) {
        let manager = Manager::connect(address, multiproc::current_process().authkey().unwrap()).unwrap();
        queue.put(manager.list(["from afar".to_owned()]).unwrap()).unwrap();
    }
    let manager = manager();
    let queue = multiproc::Queue::unbounded().unwrap();
    Worker::spawn(make, (queue.clone(), manager.address().clone())).join();
    // Its sender is gone.
    let list = queue.get_timeout(SOON).unwrap();
    assert_eq!(list.to_vec().unwrap(), ["from afar"]);
    let (here, there) = pipe().unwrap();
    here.send(&list).unwrap();
    drop(list);
    let list: ListProxy<String> = there.recv().unwrap();
    assert_eq!(list.len().unwrap(), 1);
    here.send(&list).unwrap();
    let mistaken = there.recv::<ListProxy<u64>>();
    assert!(mistaken.is_err_and(|error| error.to_string().contains("String")), "the types are compared");
}

#[test]
fn sixteen_kinds_of_objects_are_used_by_another_process() {
    type Kinds = (
        NamespaceProxy,
        ValueProxy<(u8, String)>,
        ArrayProxy<f64>,
        (LockProxy, RLockProxy, SemaphoreProxy, EventProxy, BarrierProxy),
        QueueProxy<u32>,
        JoinableQueueProxy<u32>,
    );
    fn all((namespace, value, array, (lock, rlock, semaphore, event, barrier), queue, tasks): Kinds) {
        namespace.set("x", &namespace.get::<u32>("x").unwrap().map(|x| x + 1)).unwrap();
        value.update(|value| value.1.push('!')).unwrap();
        array.update_at(1, |element| *element *= 2.0).unwrap();
        assert!(lock.try_lock().unwrap().is_none() && rlock.try_lock().unwrap().is_none());
        let permit = semaphore.acquire().unwrap();
        assert!(semaphore.try_acquire().unwrap().is_none());
        permit.forget().unwrap();
        event.set().unwrap();
        barrier.wait().unwrap();
        queue.put_many([1, 2, 3]).unwrap();
        while let Ok(task) = tasks.take() {
            task.done().unwrap();
        }
    }
    let manager = manager();
    let namespace = manager.namespace().unwrap();
    namespace.set("x", &1_u32).unwrap();
    let value = manager.value(&(7, "hello".to_owned())).unwrap();
    let array = manager.array([1.0, 2.0]).unwrap();
    let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
    let _held = (lock.lock().unwrap(), rlock.lock().unwrap(), rlock.lock().unwrap());
    let semaphore = manager.semaphore(1).unwrap();
    let (event, barrier) = (manager.event().unwrap(), manager.barrier(2).unwrap());
    let (queue, tasks) = (manager.queue(0).unwrap(), manager.joinable_queue(0).unwrap());
    let sync = (lock.clone(), rlock.clone(), semaphore.clone(), event.clone(), barrier.clone());
    let kinds = (namespace.clone(), value.clone(), array.clone(), sync, queue.clone(), tasks.clone());
    let worker = Worker::spawn(all, kinds);
    assert!(event.wait_timeout(SOON).unwrap());
    assert!(barrier.wait_timeout(SOON).unwrap() < 2);
    tasks.put_many(0..10).unwrap();
    assert!(tasks.join_timeout(SOON).unwrap());
    tasks.shutdown().unwrap();
    worker.join();
    assert_eq!(namespace.get::<Option<u32>>("x").unwrap(), Some(Some(2)));
    assert!(matches!(namespace.get::<u32>("x"), Err(ManagerError::Mismatch { .. })));
    assert_eq!(value.get().unwrap(), (7, "hello!".to_owned()));
    assert_eq!(array.to_vec().unwrap(), [1.0, 4.0]);
    assert!(matches!(array.write(1, [0.0, 0.0]), Err(ManagerError::OutOfRange { .. })));
    assert_eq!(queue.get_many(10).unwrap(), [1, 2, 3]);
    assert_eq!(semaphore.value().unwrap(), 0, "a permit that was forgotten stays taken");
    assert!(matches!(tasks.put(&1), Err(ManagerError::Shutdown)));
    assert!(matches!(tasks.take(), Err(ManagerError::Shutdown)));
    assert!(matches!(tasks.task_done(), Err(ManagerError::TaskDoneTooOften)));
}

#[test]
fn a_condition_wakes_who_waits_and_a_queue_who_wants_room() {
    fn consume((condition, list): (ConditionProxy, ListProxy<u32>)) -> u32 {
        let mut sum = 0;
        while sum < 6 {
            let guard = condition.lock().unwrap();
            let guard = guard.wait_for(|| !list.is_empty().unwrap()).unwrap();
            sum += list.pop().unwrap().unwrap();
            drop(guard);
        }
        sum
    }
    let manager = manager();
    let (condition, list) = (manager.condition().unwrap(), manager.list([]).unwrap());
    let consumer = Worker::spawn(consume, (condition.clone(), list.clone()));
    for number in 1..=3 {
        let guard = condition.lock().unwrap();
        list.push(&number).unwrap();
        guard.notify_one().unwrap();
    }
    assert_eq!(consumer.join(), 6);
    let (guard, notified) = condition.lock().unwrap().wait_timeout(Duration::from_millis(5)).unwrap();
    assert!(!notified && condition.is_locked().unwrap());
    let (guard, is_so) = guard.wait_for_timeout(Duration::from_millis(5), || false).unwrap();
    assert!(!is_so);
    drop(guard);
    assert!(!condition.is_locked().unwrap());

    let queue = manager.queue::<u32>(1).unwrap();
    queue.put(&1).unwrap();
    assert!(queue.is_full().unwrap());
    assert!(matches!(queue.put_timeout(&2, Duration::from_millis(5)), Err(ManagerError::TimedOut)));
    let putter = Worker::spawn(|queue: QueueProxy<u32>| queue.put(&2).unwrap(), queue.clone());
    assert_eq!((queue.get().unwrap(), queue.get_timeout(SOON).unwrap()), (1, 2));
    putter.join();
    assert!(matches!(queue.try_get(), Err(ManagerError::Empty)));
    assert!(matches!(queue.get_timeout(Duration::from_millis(5)), Err(ManagerError::TimedOut)));
}

#[test]
fn a_pool_calls_functions_of_this_program() {
    fn half(n: u32) -> u32 {
        assert!(n.is_multiple_of(2), "{n} is odd");
        n / 2
    }
    fn in_a_child(pool: PoolProxy) -> Vec<u32> {
        pool.map(half, (0..20).map(|n| 2 * n)).unwrap()
    }
    let manager = manager();
    let pool = manager.pool(2).unwrap();
    assert_eq!(Worker::spawn(in_a_child, pool.clone()).join(), (0..20).collect::<Vec<_>>());
    let failed = pool.apply(half, 3);
    assert!(
        matches!(&failed, Err(ManagerError::Task(multiproc::TaskError::Panicked { message, .. })) if message == "3 is odd"),
        "{failed:?}"
    );
    let killed = pool.apply(
        |()| rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_ok(),
        (),
    );
    assert!(
        matches!(killed, Err(ManagerError::Task(multiproc::TaskError::WorkerDied { signal: 9, .. }))),
        "{killed:?}"
    );
    let mut slow =
        pool.apply_async(|millis: u64| std::thread::sleep(Duration::from_millis(millis)), 50).unwrap();
    let early = slow.get_timeout(Duration::from_millis(1));
    assert!(matches!(early, Ok(()) | Err(ManagerError::TimedOut)), "{early:?}");
    drop(slow);
    assert!(matches!(pool.join(), Err(ManagerError::PoolStillRunning)));
    pool.close().unwrap();
    assert!(pool.join_timeout(SOON).unwrap());
    assert!(matches!(pool.apply(half, 2), Err(ManagerError::Task(multiproc::TaskError::PoolClosed))));
}

#[test]
fn a_pool_refuses_clients_that_may_be_of_another_program() {
    let key = AuthKey::random().unwrap();
    let builder = Manager::builder().address(Address::tcp("127.0.0.1:0").unwrap()).authkey(key);
    let manager = builder.start().unwrap();
    assert!(matches!(manager.pool(1), Err(ManagerError::Refused(_))));
}

struct Counter(u64);

#[derive(Serialize, Deserialize)]
enum Ask {
    Add(u64),
    Panic,
    Long(usize),
}

impl RemoteObject for Counter {
    type Args = u64;
    type Request = Ask;
    type Reply = (u64, Vec<u8>);
    const NAME: &'static str = "Counter";

    fn new(start: u64) -> Self {
        assert!(start < 1000, "too many to begin with");
        Self(start)
    }

    fn call(&mut self, request: Ask) -> (u64, Vec<u8>) {
        match request {
            Ask::Add(more) => self.0 += more,
            Ask::Panic => panic!("on purpose"),
            Ask::Long(len) => return (self.0, vec![1; len]),
        }
        (self.0, Vec::new())
    }
}

#[test]
fn a_failed_call_spoils_no_proxy_known_bad_28() {
    if !is_limited() {
        // Alone in a process: connections are broken.
        passes_under(":", "a_failed_call_spoils_no_proxy_known_bad_28");
        return;
    }
    // By TCP: on one machine what is under way goes by shared memory too, and a connection does not break by itself.
    let builder = Manager::builder().address(Address::tcp("127.0.0.1:0").unwrap());
    let manager = builder
        .authkey(AuthKey::random().unwrap())
        .register::<Counter>()
        .max_message(100_000)
        .start()
        .unwrap();
    let counter = manager.object::<Counter>(&5).unwrap();
    let count = |counter: &ObjectProxy<Counter>| counter.call(&Ask::Add(1)).unwrap().0;
    assert_eq!(count(&counter), 6);
    let panicked = counter.call(&Ask::Panic);
    assert!(matches!(&panicked, Err(ManagerError::Panicked(why)) if why == "on purpose"), "{panicked:?}");
    assert_eq!(count(&counter), 7);
    let made = manager.object::<Counter>(&1000);
    assert!(matches!(made, Err(ManagerError::Panicked(why)) if why.contains("too many")));
    let long = counter.call(&Ask::Long(200_000));
    assert!(matches!(long, Err(ManagerError::TooLong { max: 100_000, .. })), "the reply: {long:?}");
    assert_eq!(count(&counter), 8);
    let list = manager.list::<Vec<u8>>([]).unwrap();
    let long = list.push(&vec![0; 200_000]);
    assert!(matches!(long, Err(ManagerError::TooLong { .. })), "the request: {long:?}");
    // All connections break under the client.
    for round in 0..3 {
        break_connections();
        assert_eq!(count(&counter), 9 + round, "a connection is made anew, and the object is there");
        list.push(&vec![1]).unwrap();
    }
    assert_eq!(list.len().unwrap(), 3);
    assert_eq!(count(&manager.object::<Counter>(&0).unwrap()), 1, "and for new objects");
    let lock = multiproc::Lock::new().unwrap();
    let handles = manager.list::<multiproc::Lock>([lock]);
    assert!(matches!(handles, Err(ManagerError::Encode(Error::NotInTransfer))));
    assert_eq!(count(&counter), 12);
}

/// Shuts down every connection of this process to a manager's server.
#[allow(unsafe_code)]
fn break_connections() {
    let mut broken = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let fd: i32 = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: this process has one other thread at most, which closes nothing. The directory's own is closed by now: that
        // is an error of the call.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let peer = rustix::net::getpeername(fd).ok().flatten();
        if peer.is_some_and(|peer| rustix::net::SocketAddrV4::try_from(peer).is_ok()) {
            rustix::net::shutdown(fd, rustix::net::Shutdown::Both).unwrap();
            broken += 1;
        }
    }
    assert!(broken > 0);
}

#[test]
fn a_killed_server_fails_calls_at_once_and_later_ones_too() {
    let manager = manager();
    let (event, list, lock) = (manager.event().unwrap(), manager.list([1]).unwrap(), manager.lock().unwrap());
    let guard = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..4).map(|_| scope.spawn(|| event.wait())).collect();
        let locks = scope.spawn(|| lock.lock().map(drop));
        // All are in their calls: connections that are used by them are the server's threads.
        eventually("the calls", || threads_of(manager.pid().unwrap()) >= 5);
        kill(manager.pid().unwrap());
        let start = Instant::now();
        for wait in waits {
            let lost = wait.join().unwrap();
            assert!(
                matches!(lost, Err(ManagerError::Disconnected | ManagerError::Unreachable(_))),
                "{lost:?}"
            );
        }
        let lost = locks.join().unwrap();
        assert!(matches!(lost, Err(ManagerError::Disconnected | ManagerError::Unreachable(_))), "{lost:?}");
        assert!(start.elapsed() < RELEASED);
    });
    let start = Instant::now();
    drop(guard);
    let later = list.len();
    assert!(matches!(later, Err(ManagerError::Disconnected | ManagerError::Unreachable(_))), "{later:?}");
    assert!(matches!(list.len(), Err(ManagerError::Unreachable(_))));
    assert!(matches!(manager.dict::<u8, u8>(), Err(ManagerError::Unreachable(_))));
    assert!(format!("{list:?}").contains("ListProxy"), "Debug says what it knows");
    manager.shutdown().unwrap();
    assert!(start.elapsed() < RELEASED);
}

fn threads_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn another_server_at_the_same_address_is_told_from_the_first() {
    let (key, address) = (AuthKey::random().unwrap(), Address::Abstract(name()));
    let server = || {
        let builder = Manager::builder().address(address.clone()).authkey(key.clone());
        Served::new(builder.into_server().unwrap())
    };
    let first = server();
    let manager = Manager::connect(address.clone(), key.clone()).unwrap();
    let list = manager.list([1]).unwrap();
    drop(first);
    let _second = server();
    assert!(matches!(list.len(), Err(ManagerError::Restarted)), "not another list of the same number");
    let manager = Manager::connect(address.clone(), key.clone()).unwrap();
    assert_eq!(manager.list([1, 2]).unwrap().len().unwrap(), 2);
}

#[test]
fn what_a_killed_client_held_goes_to_others() {
    type Held = (LockProxy, RLockProxy, SemaphoreProxy, ConditionProxy, JoinableQueueProxy<u8>, EventProxy);
    fn hold((lock, rlock, semaphore, condition, tasks, ready): Held) {
        let _held =
            (lock.lock(), rlock.lock(), rlock.lock(), semaphore.acquire(), condition.lock(), tasks.take());
        ready.set().unwrap();
        loop {
            std::thread::park();
        }
    }
    let manager = manager();
    let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
    let (semaphore, condition) = (manager.semaphore(1).unwrap(), manager.condition().unwrap());
    let (tasks, ready) = (manager.joinable_queue(0).unwrap(), manager.event().unwrap());
    tasks.put_many([1, 2]).unwrap();
    let held =
        (lock.clone(), rlock.clone(), semaphore.clone(), condition.clone(), tasks.clone(), ready.clone());
    let holder = Worker::spawn(hold, held);
    assert!(ready.wait_timeout(SOON).unwrap());
    assert!(lock.try_lock().unwrap().is_none() && semaphore.try_acquire().unwrap().is_none());
    assert_eq!(tasks.len().unwrap(), 1);
    holder.kill();
    assert!(lock.lock_timeout(RELEASED).unwrap().is_some());
    assert!(rlock.lock_timeout(RELEASED).unwrap().is_some());
    assert!(semaphore.acquire_timeout(RELEASED).unwrap().is_some());
    assert!(condition.lock_timeout(RELEASED).unwrap().is_some());
    eventually("the task", || tasks.len().unwrap() == 2);
    let task = tasks.take().unwrap();
    assert_eq!((*task, task.attempt()), (1, 2), "before the one that came after it");
    drop(task);
    assert_eq!(tasks.take().unwrap().attempt(), 3, "one that is dropped undone comes back");
}

#[test]
fn clients_killed_while_they_wait_leave_nothing() {
    fn wait(
        (what, lock, barrier, queue, condition): (
            u8,
            LockProxy,
            BarrierProxy,
            QueueProxy<u8>,
            ConditionProxy,
        ),
    ) {
        match what {
            0 => drop(lock.lock()),
            1 => drop(barrier.wait()),
            2 => drop(queue.get()),
            _ => drop(condition.lock().unwrap().wait()),
        }
    }
    let manager = manager();
    let (lock, barrier) = (manager.lock().unwrap(), manager.barrier(2).unwrap());
    let (queue, condition) = (manager.queue(0).unwrap(), manager.condition().unwrap());
    let guard = lock.lock().unwrap();
    let all = |what| (what, lock.clone(), barrier.clone(), queue.clone(), condition.clone());
    let clients: Vec<_> = (0..4).map(|what| Worker::spawn(wait, all(what))).collect();
    eventually("the clients", || manager.stats().unwrap().clients == 5);
    eventually("one at the barrier", || barrier.waiting().unwrap() == 1);
    clients.into_iter().for_each(Worker::kill);
    let start = Instant::now();
    eventually("they are gone", || manager.stats().unwrap().clients == 1);
    assert!(start.elapsed() < RELEASED);
    assert!(barrier.is_broken().unwrap(), "who comes next would wait in vain");
    drop(guard);
    assert!(lock.try_lock().unwrap().is_some());
    queue.put(&1).unwrap();
    assert_eq!(queue.try_get().unwrap(), 1);
    assert!(condition.try_lock().unwrap().is_some());
}

#[test]
fn strangers_are_refused_and_delay_nobody() {
    let key = || AuthKey::new("right");
    for address in [Address::Abstract(name()), Address::tcp("127.0.0.1:0").unwrap()] {
        let manager = Manager::builder().address(address).authkey(key()).start().unwrap();
        let address = || manager.address().clone();
        // They say nothing at all, and nothing after the proof of their key.
        let silent: Vec<_> = (0..20).map(|_| connect_raw(&address())).collect();
        let idle: Vec<_> = (0..20).map(|_| Client::connect(address(), Some(key())).unwrap()).collect();
        let start = Instant::now();
        let wrong = Manager::connect(address(), AuthKey::new("wrong"));
        assert!(
            matches!(wrong, Err(ManagerError::Authentication(AuthenticationError::Rejected))),
            "{:?}",
            wrong.err()
        );
        let none = Client::connect(address(), None);
        assert!(none.is_err());
        let old = Client::connect(address(), Some(key())).unwrap();
        old.send_bytes(b"mpmg\0\0 is an old hello").unwrap();
        assert_eq!(old.recv_bytes_timeout(SOON).unwrap(), b"mpmg\x01\0", "what is spoken here");
        assert!(old.recv_bytes_timeout(SOON).is_err(), "hung up");
        let nonsense = Client::connect(address(), Some(key())).unwrap();
        nonsense.send_bytes(b"GET / HTTP/1.1").unwrap();
        nonsense.recv_bytes_timeout(SOON).unwrap();
        let long = Client::connect(address(), Some(key())).unwrap();
        long.send_bytes(&[b"mpmg\x01\0".as_slice(), &[7; 16]].concat()).unwrap();
        skip_greeting(&long);
        long.send_bytes(&vec![0; (64 << 20) + 1]).unwrap();
        assert!(!long.recv_bytes_timeout(SOON).unwrap().is_empty(), "why");
        assert!(long.recv_bytes_timeout(SOON).is_err(), "hung up");
        // Meanwhile others are served.
        let list = manager.list([1]).unwrap();
        list.push(&2).unwrap();
        assert_eq!(Manager::connect(address(), key()).unwrap().stats().unwrap().clients, 2);
        assert!(start.elapsed() < Duration::from_secs(8), "nobody waited for the silent ones");
        let refusals = manager.refusals().unwrap();
        let has = |refusal: &Refusal| refusals.contains(refusal);
        assert!(has(&Refusal::WrongKey) && has(&Refusal::KeyMissing), "{refusals:?}");
        assert!(
            refusals.iter().any(|refusal| matches!(refusal, Refusal::Version { ours: 1, theirs: 0, .. }))
        );
        assert!(refusals.iter().any(|refusal| matches!(refusal, Refusal::TooLong { .. })), "{refusals:?}");
        assert!(refusals.iter().any(|refusal| matches!(refusal, Refusal::Malformed(_))), "{refusals:?}");
        drop((silent, idle));
    }
}

/// Receives a server's greeting; the memory of the mailboxes, where there are any.
fn skip_greeting(connection: &multiproc::Connection) -> Option<OwnedFd> {
    let greeting = connection.recv_bytes_timeout(SOON).unwrap();
    assert_eq!(greeting.len(), 25);
    let has_mailboxes = greeting[24] == 1;
    let is_network = rustix::net::sockopt::socket_domain(connection) != Ok(rustix::net::AddressFamily::UNIX);
    assert_eq!(has_mailboxes, !is_network);
    has_mailboxes.then(|| connection.recv_timeout::<Descriptor>(SOON).unwrap().into())
}

#[test]
fn a_client_that_scribbles_over_its_mailboxes_is_refused_and_harms_nobody() {
    if !is_limited() {
        // Alone in a process, with the server in it, which looks there for a long time.
        passes_under(":", "a_client_that_scribbles_over_its_mailboxes_is_refused_and_harms_nobody");
        return;
    }
    multiproc::testing::set_spins(4_000_000);
    let address = Address::Abstract(name());
    let key = multiproc::current_process().authkey().unwrap();
    let builder = Manager::builder().address(address.clone()).authkey(key.clone());
    let _server = Served::new(builder.into_server().unwrap());
    let manager = Manager::connect(address, key.clone()).unwrap();
    let numbers = manager.list([1]).unwrap();
    // A length beyond the mailbox, no state at all, and a message that is none.
    for word in [u64::from(u32::MAX) << 32 | 2, 77, 8 << 32 | 2] {
        let refused = manager.refusals().unwrap().len();
        let stranger = Client::connect(manager.address().clone(), Some(key.clone())).unwrap();
        stranger.send_bytes(&[b"mpmg\x01\0".as_slice(), &[7; 16]].concat()).unwrap();
        let memory = skip_greeting(&stranger).unwrap();
        // Its mailbox for requests is the first, of 8 KiB. The bytes of the message: a request that goes on beyond its end.
        rustix::io::pwrite(&memory, &[0xff; 64], 64).unwrap();
        let start = Instant::now();
        // The server looks there after an answer only, and only as long as that has paid: until it has, here.
        loop {
            assert!(start.elapsed() < SOON, "nobody looked");
            let number = [1, 0, 1, 10];
            if stranger.send_bytes(&number).is_err() {
                break;
            }
            while !stranger.poll().unwrap_or(true) {
                rustix::io::pwrite(&memory, &word.to_ne_bytes(), 0).unwrap();
            }
            if stranger.try_recv_bytes().is_err() {
                break;
            }
            rustix::io::pwrite(&memory, &word.to_ne_bytes(), 0).unwrap();
            if stranger.poll_timeout(Duration::from_micros(200)).unwrap_or(true) {
                // It says why, and hangs up.
                break;
            }
        }
        let refusals = manager.refusals().unwrap();
        assert!(refusals.len() > refused, "{refusals:?}");
        assert!(matches!(refusals.last(), Some(Refusal::Malformed(_))), "{refusals:?}");
        numbers.push(&2).unwrap();
    }
    assert_eq!(numbers.len().unwrap(), 4);
}

/// A connection that has not said anything.
fn connect_raw(address: &Address) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    match address {
        Address::Tcp(address) => std::net::TcpStream::connect(address).unwrap().into(),
        Address::Abstract(name) => {
            let socket =
                socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
            connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
            socket
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_server_of_another_version_is_an_error_here() {
    let key = AuthKey::random().unwrap();
    let listener = multiproc::Listener::bind(Address::Abstract(name()), Some(key.clone())).unwrap();
    let address = listener.address().clone();
    let old = std::thread::spawn(move || {
        let connection = listener.accept_timeout(SOON).unwrap();
        connection.recv_bytes_timeout(SOON).unwrap();
        connection.send_bytes(b"mpmg\x09\0 and whatever it says").unwrap();
    });
    let refused = Manager::connect(address, key);
    assert!(matches!(refused, Err(ManagerError::Version { ours: 1, theirs: 9, .. })));
    old.join().unwrap();
}

#[test]
fn a_thousand_clients_are_served_at_once_and_released() {
    if !is_limited() {
        // Alone in a process, and with as many descriptors as it takes.
        passes_under("ulimit -n $(ulimit -H -n)", "a_thousand_clients_are_served_at_once_and_released");
        return;
    }
    const CLIENTS: u64 = 1000;
    let key = AuthKey::random().unwrap();
    let manager = Manager::builder().authkey(key.clone()).start().unwrap();
    let server = || threads_of(manager.pid().unwrap());
    let before = server();
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| Manager::connect(manager.address().clone(), key.clone()).unwrap()).collect();
    assert_eq!(manager.stats().unwrap().clients as u64, CLIENTS + 1);
    let dict = manager.dict::<u64, u64>().unwrap();
    manager.publish("all", &dict).unwrap();
    let barrier = manager.barrier(CLIENTS).unwrap();
    manager.publish("barrier", &barrier).unwrap();
    // All of them in a call at the same time.
    std::thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            let thread = thread.spawn_scoped(scope, move || {
                let dict: DictProxy<u64, u64> = client.find("all").unwrap();
                client.find::<BarrierProxy>("barrier").unwrap().wait().unwrap();
                dict.set(&(number as u64), &1).unwrap();
                assert_eq!(dict.get(&(number as u64)).unwrap(), Some(1));
            });
            thread.unwrap();
        }
    });
    assert_eq!(dict.len().unwrap() as u64, CLIENTS);
    drop(clients);
    eventually("they are forgotten", || manager.stats().unwrap().clients == 1);
    eventually("their threads", || server() <= before + 2);
    let resident = std::fs::read_to_string(format!("/proc/{}/statm", manager.pid().unwrap())).unwrap();
    let pages: usize = resident.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(pages * 4096 < 256 << 20, "{pages} pages");
}

#[test]
fn a_manager_ends_with_its_handle_and_with_its_process() {
    fn start(own: multiproc::Connection) {
        let manager = Manager::start().unwrap();
        own.send(&(manager.pid().unwrap(), manager.address().clone())).unwrap();
        loop {
            std::thread::park();
        }
    }
    let manager = manager();
    let pid = manager.pid().unwrap();
    drop(manager);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it has been waited for");

    let (here, there) = pipe().unwrap();
    let owner = Worker::spawn(start, there);
    let (pid, address): (u32, Address) = here.recv_timeout(SOON).unwrap();
    owner.kill();
    eventually("the server ends", || !is_running(pid));
    let key = multiproc::current_process().authkey().unwrap();
    assert!(matches!(Manager::connect(address, key), Err(ManagerError::Unreachable(_))));
}

/// Whether it is there, and no zombie that nobody has waited for yet.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[test]
fn a_manager_that_can_not_start_says_why() {
    let address = Address::Abstract(name());
    let _listener = multiproc::Listener::bind(address.clone(), None).unwrap();
    let taken = Manager::builder().address(address).start();
    assert!(taken.is_err_and(|error| error.to_string().contains("there is already")));
    let panicked =
        Manager::builder().initializer(|why: String| panic!("{why}"), "no luck".to_owned()).start();
    let why = panicked.err().unwrap().to_string();
    assert!(why.contains("no luck"), "{why}");
    let key = multiproc::current_process().authkey().unwrap();
    let connected = manager();
    let connected = Manager::connect(connected.address().clone(), key).unwrap();
    assert!(matches!(connected.shutdown(), Err(ManagerError::NotStartedHere)));
}

#[test]
fn a_forked_copy_has_a_session_of_its_own() {
    if !is_limited() {
        // Alone in a process: that may have one thread only.
        passes_under(":", "a_forked_copy_has_a_session_of_its_own");
        return;
    }
    // The test's own thread is a second one, so fork is refused here; a spawned process has one.
    fn fork((list, manager): (ListProxy<u32>, EventProxy)) {
        let in_copy = list.clone();
        let mut copy = Process::fork(move || {
            in_copy.push(&2).unwrap();
            in_copy.to_vec().unwrap()
        })
        .unwrap();
        assert_eq!(copy.join().unwrap(), [1, 2]);
        list.push(&3).unwrap();
        manager.set().unwrap();
    }
    let manager = manager();
    let (list, event) = (manager.list([1]).unwrap(), manager.event().unwrap());
    Worker::spawn(fork, (list.clone(), event.clone())).join();
    assert_eq!(list.to_vec().unwrap(), [1, 2, 3]);
    assert!(event.is_set().unwrap());
}

#[test]
fn a_pipeline_answers_in_order_and_one_failure_is_one_calls() {
    let manager = manager();
    let (dict, list) = (manager.dict::<u32, String>().unwrap(), manager.list::<u32>([]).unwrap());
    let queue = manager.queue::<u32>(0).unwrap();
    let mut pipeline = manager.pipeline();
    let mut tickets = Vec::new();
    // Far more than is under way at a time.
    for n in 0..20_000 {
        let _set = pipeline.set(&dict, &(n % 100), &n.to_string()).unwrap();
        tickets.push(pipeline.get(&dict, &(n % 100)).unwrap());
    }
    let _pushed = pipeline.append(&list, &7).unwrap();
    let _put = pipeline.put(&queue, &8).unwrap();
    let answers = pipeline.run().unwrap();
    answers.check().unwrap();
    assert_eq!(answers.len(), 40_002);
    for (n, ticket) in (0_u32..).zip(tickets) {
        assert_eq!(answers.take(ticket).unwrap(), Some(n.to_string()));
    }
    assert_eq!((list.to_vec().unwrap(), queue.get().unwrap()), (vec![7], 8));
    queue.shutdown().unwrap();
    let mut pipeline = manager.pipeline();
    let failed = pipeline.put(&queue, &9).unwrap();
    let fine = pipeline.get(&dict, &5).unwrap();
    let answers = pipeline.run().unwrap();
    assert!(matches!(answers.check(), Err(ManagerError::Shutdown)));
    assert!(matches!(answers.take(failed), Err(ManagerError::Shutdown)));
    assert_eq!(answers.take(fine).unwrap().as_deref(), Some("19905"));
    assert!(manager.pipeline().run().unwrap().is_empty());
}

#[test]
fn threads_share_a_proxy_and_own_their_locks() {
    let manager = manager();
    let (dict, rlock) = (manager.dict::<u64, u64>().unwrap(), manager.rlock().unwrap());
    let guard = rlock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(rlock.try_lock().unwrap().is_none(), "another thread's"));
    });
    drop(guard);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (dict, rlock) = (&dict, &rlock);
            scope.spawn(move || {
                for n in 0..50 {
                    let _guard = (n % 10 == 0).then(|| rlock.lock().unwrap());
                    dict.set(&(thread * 100 + n), &n).unwrap();
                }
            });
        }
    });
    let keys: BTreeSet<u64> = dict.keys().unwrap().into_iter().collect();
    assert_eq!(keys.len(), 400);
    assert!(!rlock.is_locked().unwrap());
}
