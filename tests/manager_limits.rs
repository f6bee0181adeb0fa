//! `Manager`: a server takes no more memory for an answer than a message may have, and what is too long is lost nowhere.
#![cfg(all(feature = "manager", feature = "auto-init"))]

mod worker;

use std::time::{Duration, Instant};

use multiproc::manager::{EventProxy, ListProxy, ManagerError, PoolProxy, Refusal, SemaphoreProxy};
use multiproc::{Address, AuthKey, Client, Manager, MapOptions, Process};
use worker::SOON;

const MAX: u64 = 1 << 20;

fn with_max(bytes: u64) -> Manager {
    Manager::builder().max_message(bytes).start().unwrap()
}

/// The most memory that a server had in use until now, in bytes.
fn peak(manager: &Manager) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", manager.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn is_too_long<T>(answer: &Result<T, ManagerError>, least: u64) -> bool {
    matches!(answer, Err(ManagerError::TooLong { len, max: MAX, .. }) if *len >= least)
}

#[test]
fn an_answer_that_is_too_long_is_not_made() {
    let manager = with_max(MAX);
    let (dict, list) = (manager.dict::<u32, Vec<u8>>().unwrap(), manager.list::<Vec<u8>>([]).unwrap());
    let (array, texts) = (manager.array([vec![0_u8]]).unwrap(), manager.dict::<String, ()>().unwrap());
    let many = manager.array(vec![vec![0_u8]; 1000]).unwrap();
    let namespace = manager.namespace().unwrap();
    let value = vec![7_u8; 500 << 10];
    array.set(0, &value).unwrap();
    for n in 0..3 {
        dict.set(&n, &value).unwrap();
        list.push(&value).unwrap();
        texts.set(&n.to_string().repeat(500 << 10), &()).unwrap();
        namespace.set(&n.to_string().repeat(500 << 10), &()).unwrap();
    }
    let before = peak(&manager);
    // Two gigabytes.
    assert!(is_too_long(&dict.get_many(&[1; 4000]), 4000 * value.len() as u64));
    assert!(is_too_long(&dict.values(), 3 * value.len() as u64));
    assert!(is_too_long(&dict.items(), 3 * value.len() as u64));
    assert!(is_too_long(&texts.keys(), 1500 << 10));
    assert!(is_too_long(&namespace.names(), 1500 << 10));
    assert!(is_too_long(&list.to_vec(), 3 * value.len() as u64));
    assert!(is_too_long(&list.slice(..), 3 * value.len() as u64));
    assert!(is_too_long(&many.fill(&value), 1000 * value.len() as u64));
    assert_eq!(many.get(999).unwrap(), [0], "not even some of it");
    assert!(peak(&manager) - before < 8 * MAX, "{} bytes", peak(&manager) - before);
    // What fits is still to be had.
    assert_eq!(dict.get_many(&[1, 2]).unwrap().len(), 2);
    assert_eq!(list.slice(1..).unwrap().len(), 2);
    assert_eq!(array.read(0..1).unwrap(), [value]);
}

#[test]
fn what_is_too_long_to_be_taken_stays_where_it_is() {
    let manager = with_max(4096);
    let item = |n: u8| vec![n; 1800];
    let queue = manager.queue(0).unwrap();
    let list = manager.list::<Vec<u8>>([]).unwrap();
    for n in 0..3 {
        queue.put(&item(n)).unwrap();
        list.push(&item(n)).unwrap();
    }
    assert_eq!(queue.get_many(3).unwrap(), [item(0), item(1)], "as many as fit");
    assert_eq!(queue.get_many(3).unwrap(), [item(2)]);
    assert!(matches!(list.splice(.., []), Err(ManagerError::TooLong { max: 4096, .. })));
    assert_eq!(list.len().unwrap(), 3);
    assert_eq!(list.drain(1..).unwrap(), [item(1), item(2)]);
}

#[test]
fn what_was_put_can_be_got_up_to_the_limit() {
    let manager = with_max(4096);
    let list = manager.list::<Vec<u8>>([]).unwrap();
    let (queue, tasks) = (manager.queue(0).unwrap(), manager.joinable_queue(0).unwrap());
    let (dict, namespace) = (manager.dict::<u8, Vec<u8>>().unwrap(), manager.namespace().unwrap());
    let (mut fits, mut does_not) = (0, 0);
    for len in 4040..4100 {
        let item = vec![1_u8; len];
        let mut count = |put: Result<(), ManagerError>| {
            let is_put = put.is_ok();
            assert!(is_put || matches!(put, Err(ManagerError::TooLong { .. })));
            *if is_put { &mut fits } else { &mut does_not } += 1;
            is_put
        };
        if count(list.push(&item)) {
            assert_eq!(list.get(0).unwrap(), item);
            assert_eq!(list.slice(..).unwrap(), std::slice::from_ref(&item));
            assert_eq!(list.pop().unwrap().as_ref(), Some(&item));
        }
        if count(queue.put(&item)) {
            assert_eq!(queue.get().unwrap(), item);
        }
        if count(tasks.put(&item)) {
            tasks.take().unwrap().done().unwrap();
        }
        if count(dict.set(&1, &item)) {
            assert_eq!(dict.get_many(&[1]).unwrap(), [Some(item.clone())]);
            assert_eq!(dict.pop_item().unwrap(), Some((1, item.clone())));
        }
        if count(namespace.set("item", &item)) {
            assert_eq!(namespace.get("item").unwrap().as_ref(), Some(&item));
        }
    }
    assert!(fits > 50 && does_not > 50, "{fits}, {does_not}");
}

#[test]
fn an_answer_that_is_too_long_leaves_no_references() {
    let manager = with_max(4096);
    let inner = manager.list([1]).unwrap();
    let outer = manager.list::<(ListProxy<i32>, Vec<u8>)>([]).unwrap();
    for _ in 0..4 {
        outer.push(&(inner.clone(), vec![0; 1500])).unwrap();
    }
    assert_eq!(manager.stats().unwrap().objects, 2);
    for _ in 0..10 {
        assert!(matches!(outer.to_vec(), Err(ManagerError::TooLong { .. })));
        assert!(matches!(outer.drain(..), Err(ManagerError::TooLong { .. })));
    }
    drop(inner);
    outer.clear().unwrap();
    assert_eq!(manager.stats().unwrap().objects, 1);
}

#[test]
fn a_client_that_asks_for_many_complaints_is_hung_up_on() {
    let key = AuthKey::random().unwrap();
    for address in [None, Some(Address::tcp("127.0.0.1:0").unwrap())] {
        let builder = Manager::builder().authkey(key.clone()).max_message(MAX);
        let builder = address.into_iter().fold(builder, |builder, address| builder.address(address));
        let manager = builder.start().unwrap();
        let list = manager.list([1]).unwrap();
        let before = peak(&manager);
        let stranger = Client::connect(manager.address().clone(), Some(key.clone())).unwrap();
        stranger.send_bytes(&[b"mpmg\x01\0".as_slice(), &[7; 16]].concat()).unwrap();
        let greeting = stranger.recv_bytes_timeout(SOON).unwrap();
        if greeting.last() == Some(&1) {
            stranger.recv_timeout::<multiproc::connection::Descriptor>(SOON).unwrap();
        }
        // What there is no such call of, in four bytes; the answer says so in many.
        stranger.send_bytes(&[1, 0, 1, 99].repeat(200_000)).unwrap();
        let start = Instant::now();
        while manager.refusals().unwrap().is_empty() {
            assert!(start.elapsed() < SOON);
        }
        let refusals = manager.refusals().unwrap();
        assert!(
            matches!(&*refusals, [Refusal::Malformed(what)] if what.contains("too long")),
            "{refusals:?}"
        );
        while stranger.recv_bytes_timeout(SOON).is_ok() {}
        assert!(peak(&manager) - before < 16 * MAX, "{} bytes", peak(&manager) - before);
        assert_eq!(list.len().unwrap(), 1);
    }
}

/// Waits until it may, and notes that it has.
fn make_much((go, made): (EventProxy, SemaphoreProxy)) -> Vec<u8> {
    go.wait().unwrap();
    made.release().unwrap();
    vec![7; 256 << 10]
}

#[test]
fn tasks_go_on_without_who_wanted_them_and_nothing_is_kept_of_their_results() {
    const EACH: usize = 40;
    fn submit_and_die((pool, args): (PoolProxy, (EventProxy, SemaphoreProxy))) {
        let results: Vec<_> = (0..EACH).map(|_| pool.apply_async(make_much, args.clone()).unwrap()).collect();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        drop(results);
    }
    let manager = Manager::start().unwrap();
    let (go, made) = (manager.event().unwrap(), manager.semaphore(0).unwrap());
    let args = (go.clone(), made.clone());
    let pool = manager.pool(1).unwrap();
    // The time is over, the result is dropped, the client dies: before any of it comes.
    let options =
        MapOptions { chunk: Some(1), timeout: Some(Duration::from_millis(20)), ..MapOptions::default() };
    let late = pool.map_with(make_much, vec![args.clone(); EACH], options);
    assert!(matches!(late, Err(ManagerError::TimedOut)), "{:?}", late.map(|results| results.len()));
    let dropped: Vec<_> = (0..EACH).map(|_| pool.apply_async(make_much, args.clone()).unwrap()).collect();
    drop(dropped);
    assert!(Process::spawn(submit_and_die, (pool.clone(), args)).unwrap().join().is_err());
    let start = Instant::now();
    // This process, and the worker, which waits.
    while manager.stats().unwrap().clients > 2 {
        assert!(start.elapsed() < SOON);
    }
    let before = peak(&manager);
    go.set().unwrap();
    // It is done after all others.
    assert_eq!(pool.apply(|n: u32| n + 1, 1).unwrap(), 2);
    assert_eq!(made.value().unwrap(), 3 * EACH as u64, "all of them were done");
    let kept = (peak(&manager) - before) >> 20;
    assert!(kept < EACH as u64 / 8, "{kept} MiB");
}
