//! Exclusive endpoints: one thread's alone, free when it drops them or dies, and the other end is told of a death.
#![cfg(feature = "process")]
#![allow(missing_docs)]
#![allow(unsafe_code)]

mod worker;

use std::time::{Duration, Instant};

use multiproc::{GetError, JoinableQueue, PlainQueue, Process, PutError, Queue, QueueOptions};
use worker::{SOON, Worker};

/// Longer than anything takes that a death is noticed by, on a loaded machine too: the slice is 100 ms.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn all_forms_of_put_and_get_move_items() {
    for queue in [Queue::<String>::bounded(8).unwrap(), Queue::unbounded().unwrap()] {
        let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        let soon = || Instant::now() + SOON;
        producer.put("a".to_owned()).unwrap();
        producer.try_put("b".to_owned()).unwrap();
        producer.put_timeout("c".repeat(1000), SOON).unwrap();
        producer.put_deadline("d".to_owned(), soon()).unwrap();
        assert_eq!(producer.put_many(["e".to_owned(), "f".to_owned()]).unwrap(), 2);
        producer.put_with(1, |bytes| bytes.copy_from_slice(b"g")).unwrap();
        assert_eq!((queue.len(), producer.queue().len()), (7, 7));
        assert_eq!(consumer.get().unwrap(), "a");
        assert_eq!(consumer.try_get().unwrap(), "b");
        assert_eq!(consumer.get_timeout(SOON).unwrap(), "c".repeat(1000));
        assert_eq!(consumer.get_deadline(soon()).unwrap(), "d");
        let mut items = Vec::new();
        assert_eq!(consumer.get_many(&mut items, 2), Ok(2));
        assert_eq!(items, ["e", "f"]);
        assert_eq!(consumer.get_with(|bytes| bytes.to_vec()).unwrap(), b"g");
        assert_eq!(consumer.try_get(), Err(GetError::Empty));
        assert_eq!(consumer.get_timeout(Duration::from_millis(1)), Err(GetError::TimedOut));
        let stats = queue.stats().unwrap();
        assert_eq!((stats.items, stats.puts, stats.gets), (0, 7, 7));
    }
}

#[test]
fn a_full_queue_gives_the_item_back() {
    let queue = Queue::plain(2).unwrap();
    let mut producer = queue.producer().unwrap();
    producer.put_many([1, 2]).unwrap();
    assert!(matches!(producer.try_put(3), Err(PutError::Full(3))));
    assert!(matches!(producer.put_timeout(3, Duration::from_millis(1)), Err(PutError::TimedOut(3))));
    assert_eq!(queue.get(), Ok(1));
    producer.try_put(3).unwrap();
}

#[test]
fn an_end_that_is_kept_is_refused_to_others() {
    let queue = Queue::plain(4).unwrap();
    queue.put(1).unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    // The thread that has them.
    assert!(matches!(queue.put(2), Err(PutError::Deadlock(2))));
    assert!(matches!(queue.producer(), Err(PutError::Deadlock(()))));
    assert_eq!(queue.get(), Err(GetError::Deadlock));
    assert!(matches!(queue.consumer(), Err(GetError::Deadlock)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(queue.producer(), Err(PutError::Exclusive(()))));
            assert!(matches!(queue.put(2), Err(PutError::Exclusive(2))));
            assert!(matches!(queue.try_put(2), Err(PutError::Exclusive(2))));
            assert!(matches!(queue.put_timeout(2, SOON), Err(PutError::Exclusive(2))));
            let error = queue.put_many([2, 3]).unwrap_err();
            assert_eq!((error.put, error.rest), (0, vec![3]));
            assert!(matches!(error.error, PutError::Exclusive(2)));
            assert!(matches!(queue.put_with(4, |_| ()), Err(PutError::Exclusive(()))));
            assert!(matches!(queue.consumer(), Err(GetError::Exclusive)));
            assert_eq!(queue.get(), Err(GetError::Exclusive));
            assert_eq!(queue.try_get(), Err(GetError::Exclusive));
            assert_eq!(queue.get_timeout(SOON), Err(GetError::Exclusive));
            assert_eq!(queue.get_many(&mut Vec::new(), 3), Err(GetError::Exclusive));
            assert_eq!(queue.get_with(|_| ()), Err(GetError::Exclusive));
            // Who only looks is refused nothing.
            assert_eq!((queue.len(), queue.stats().unwrap().puts), (1, 1));
        });
    });
    drop((producer, consumer));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            queue.producer().unwrap().put(2).unwrap();
            assert_eq!(queue.consumer().unwrap().get(), Ok(1));
        });
    });
    assert_eq!(queue.get(), Ok(2));
}

#[test]
fn a_joinable_queue_has_no_exclusive_consumer() {
    let jobs = JoinableQueue::bounded(4).unwrap();
    jobs.producer().unwrap().put(1).unwrap();
    assert!(matches!(jobs.consumer(), Err(GetError::Unsupported(_))));
    assert_eq!(*jobs.take().unwrap(), 1);
}

/// Gets that wait when an endpoint comes are refused, not left asleep.
#[test]
fn who_waits_when_an_endpoint_comes_is_refused() {
    let queue = PlainQueue::<u32>::plain(1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.get_timeout(SOON));
        while !queue.stats().unwrap().consumers_wait {
            std::thread::yield_now();
        }
        let mut consumer = queue.consumer().unwrap();
        // Wakes the one in the waiting room.
        queue.put(1).unwrap();
        assert_eq!(waiting.join().unwrap(), Err(GetError::Exclusive));
        assert_eq!(consumer.get(), Ok(1));
    });
}

fn produce((queue, count): (PlainQueue<u64>, u64)) {
    let mut producer = queue.producer().unwrap();
    (0..count).for_each(|n| producer.put(n).unwrap());
}

fn consume((queue, count): (PlainQueue<u64>, u64)) {
    let mut consumer = queue.consumer().unwrap();
    (0..count).for_each(|n| assert_eq!(consumer.get(), Ok(n)));
}

fn put_all((queue, count): (PlainQueue<u64>, u64)) {
    (0..count).for_each(|n| queue.put(n).unwrap());
}

fn get_all((queue, count): (PlainQueue<u64>, u64)) {
    (0..count).for_each(|n| assert_eq!(queue.get(), Ok(n)));
}

/// Rings that are mostly full, mostly empty, and that grow; each end exclusive or not.
#[test]
fn every_item_comes_once_and_in_order() {
    for queue in [PlainQueue::plain(1), PlainQueue::plain(64), PlainQueue::plain_unbounded()] {
        let (queue, count) = (queue.unwrap(), if cfg!(debug_assertions) { 100_000 } else { 1_000_000 });
        let count = if queue.capacity() == 1 { count / 50 } else { count };
        for (exclusive_producer, exclusive_consumer) in [(true, true), (true, false), (false, true)] {
            let consumer = if exclusive_consumer { consume } else { get_all };
            let producer = if exclusive_producer { produce } else { put_all };
            let consumer = Worker::spawn(consumer, (queue.clone(), count));
            let producer = Worker::spawn(producer, (queue.clone(), count));
            producer.join();
            consumer.join();
            assert_eq!(queue.len(), 0);
        }
    }
}

/// Asleep without slices: only a wake helps.
fn get_one((queue, ready): (PlainQueue<u64>, Queue<()>)) -> u64 {
    multiproc::testing::set_sleep_slice(None);
    let mut consumer = queue.consumer().unwrap();
    ready.put(()).unwrap();
    consumer.get().unwrap()
}

fn put_one((queue, ready): (PlainQueue<u64>, Queue<()>)) {
    multiproc::testing::set_sleep_slice(None);
    let mut producer = queue.producer().unwrap();
    ready.put(()).unwrap();
    producer.put(2).unwrap();
}

#[test]
fn a_lone_item_wakes_a_sleeping_endpoint_and_lone_room_too() {
    for _ in 0..20 {
        let (queue, ready) = (PlainQueue::plain(1).unwrap(), Queue::bounded(1).unwrap());
        let consumer = Worker::spawn(get_one, (queue.clone(), ready.clone()));
        ready.get().unwrap();
        consumer.wait_until_asleep();
        let mut producer = queue.producer().unwrap();
        producer.put(7).unwrap();
        assert_eq!(consumer.join(), 7);
        producer.put(1).unwrap();
        drop(producer);
        let blocked = Worker::spawn(put_one, (queue.clone(), ready.clone()));
        ready.get().unwrap();
        blocked.wait_until_asleep();
        let mut consumer = queue.consumer().unwrap();
        assert_eq!(consumer.get(), Ok(1));
        blocked.join();
        assert_eq!(consumer.get(), Ok(2));
    }
}

fn keep_producers_end((queue, ready): (PlainQueue<u64>, Queue<()>)) {
    let mut producer = queue.producer().unwrap();
    producer.put(1).unwrap();
    ready.put(()).unwrap();
    std::thread::sleep(SOON);
}

fn keep_consumers_end((queue, ready): (PlainQueue<u64>, Queue<()>)) {
    let mut consumer = queue.consumer().unwrap();
    assert_eq!(consumer.get(), Ok(1));
    ready.put(()).unwrap();
    std::thread::sleep(SOON);
}

#[test]
fn an_exclusive_consumer_is_told_that_its_producer_died() {
    let (queue, ready) = (PlainQueue::plain(4).unwrap(), Queue::bounded(1).unwrap());
    let producer = Worker::spawn(keep_producers_end, (queue.clone(), ready.clone()));
    ready.get().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut consumer = queue.consumer().unwrap();
            // Nothing is lost, and an end that is only empty is no death.
            assert_eq!(consumer.get(), Ok(1));
            assert_eq!(consumer.try_get(), Err(GetError::Empty));
            ready.put(()).unwrap();
            let told = consumer.get();
            (told, consumer.try_get(), Instant::now())
        });
        ready.get().unwrap();
        while !queue.stats().unwrap().consumers_wait {
            std::thread::yield_now();
        }
        producer.kill();
        let died = Instant::now();
        let (told, again, when) = waiting.join().unwrap();
        assert_eq!((told, again), (Err(GetError::ProducerDied), Err(GetError::ProducerDied)));
        assert!(when.saturating_duration_since(died) < BOUND);
    });
    // The end is free, and who puts there is nobody's dead producer.
    queue.put(2).unwrap();
    let mut consumer = queue.consumer().unwrap();
    assert_eq!((consumer.get(), consumer.try_get()), (Ok(2), Err(GetError::Empty)));
}

#[test]
fn an_exclusive_producer_is_told_that_its_consumer_died() {
    let (queue, ready) = (PlainQueue::plain(1).unwrap(), Queue::bounded(1).unwrap());
    queue.put(1).unwrap();
    let consumer = Worker::spawn(keep_consumers_end, (queue.clone(), ready.clone()));
    ready.get().unwrap();
    let mut producer = queue.producer().unwrap();
    producer.put(2).unwrap();
    assert!(matches!(producer.try_put(3), Err(PutError::Full(3))));
    consumer.kill();
    let died = Instant::now();
    assert!(matches!(producer.put(3), Err(PutError::ConsumerDied(3))));
    assert!(died.elapsed() < BOUND);
    // What it had not got is there for everybody.
    assert_eq!(queue.get(), Ok(2));
    producer.put(3).unwrap();
    assert_eq!(queue.get(), Ok(3));
}

#[test]
fn a_thread_that_ends_gives_its_end_back() {
    let queue = PlainQueue::<u32>::plain(4).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| std::mem::forget((queue.producer().unwrap(), queue.consumer().unwrap())));
        // Until the kernel is done with it.
        thread.join().unwrap();
    });
    queue.put(1).unwrap();
    assert_eq!(queue.get(), Ok(1));
    let _both = (queue.producer().unwrap(), queue.consumer().unwrap());
}

/// The items, and why there were no more.
fn get_until_the_end((queue, ready): (PlainQueue<u64>, Queue<()>)) -> (Vec<u64>, String) {
    multiproc::testing::set_sleep_slice(None);
    ready.put(()).unwrap();
    let mut items = Vec::new();
    loop {
        match queue.get() {
            Ok(item) => items.push(item),
            Err(error) => return (items, error.to_string()),
        }
    }
}

#[test]
fn shutdown_beside_an_idle_endpoint_wakes_who_sleeps() {
    for queue in [PlainQueue::plain(4), PlainQueue::plain_unbounded()] {
        let (queue, ready) = (queue.unwrap(), Queue::bounded(1).unwrap());
        let getter = Worker::spawn(get_until_the_end, (queue.clone(), ready.clone()));
        ready.get().unwrap();
        let mut producer = queue.producer().unwrap();
        producer.put(1).unwrap();
        getter.wait_until_asleep();
        queue.shutdown();
        assert_eq!(getter.join(), (vec![1], GetError::Shutdown.to_string()));
        assert!(matches!(producer.put(2), Err(PutError::Shutdown(2))));
    }
}

#[test]
fn shutdown_wakes_an_endpoint_that_waits() {
    let queue = PlainQueue::plain(1).unwrap();
    queue.put(1).unwrap();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| queue.producer().unwrap().put(2));
        while !queue.stats().unwrap().producers_wait {
            std::thread::yield_now();
        }
        queue.shutdown();
        assert!(matches!(blocked.join().unwrap(), Err(PutError::Shutdown(2))));
    });
    assert_eq!(queue.consumer().unwrap().iter().collect::<Vec<_>>(), [1]);
    let waiting = PlainQueue::<u64>::plain(1).unwrap();
    std::thread::scope(|scope| {
        let asleep = scope.spawn(|| waiting.consumer().unwrap().get());
        while !waiting.stats().unwrap().consumers_wait {
            std::thread::yield_now();
        }
        waiting.shutdown();
        assert_eq!(asleep.join().unwrap(), Err(GetError::Shutdown));
    });
}

fn produce_until_refused((queue, ready): (PlainQueue<u64>, Queue<()>)) -> u64 {
    let mut producer = queue.producer().unwrap();
    ready.put(()).unwrap();
    let mut put = 0;
    loop {
        match producer.put(put) {
            Ok(()) => put += 1,
            Err(error) => {
                assert!(matches!(error, PutError::Shutdown(_)), "{error}");
                return put;
            }
        }
    }
}

/// The item whose put came through before the end is got by somebody.
#[test]
fn shutdown_beside_a_busy_endpoint_loses_no_item() {
    for round in 0..50 {
        let (queue, ready) = (PlainQueue::plain(16).unwrap(), Queue::bounded(2).unwrap());
        let getter = Worker::spawn(get_until_the_end, (queue.clone(), ready.clone()));
        let producer = Worker::spawn(produce_until_refused, (queue.clone(), ready.clone()));
        ready.get().unwrap();
        ready.get().unwrap();
        for _ in 0..round * 100 {
            std::hint::spin_loop();
        }
        queue.shutdown();
        let (put, (got, end)) = (producer.join(), getter.join());
        assert_eq!((got.len() as u64, end), (put, GetError::Shutdown.to_string()), "round {round}");
        assert!(got.into_iter().eq(0..put));
    }
}

#[test]
fn a_panic_in_a_closure_of_an_endpoint_puts_nothing_and_gets_nothing() {
    let queue = Queue::<Vec<u8>>::bounded(2).unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let panics = std::panic::AssertUnwindSafe(|| producer.put_with(1, |_| panic!("while it is put")));
    assert!(std::panic::catch_unwind(panics).is_err());
    producer.put(vec![1]).unwrap();
    let panics = std::panic::AssertUnwindSafe(|| consumer.get_with(|_| panic!("while it is got")));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!((queue.len(), consumer.get()), (1, Ok(vec![1])));
    queue.shutdown();
    assert_eq!(consumer.get(), Err(GetError::Shutdown));
}

#[test]
fn an_endpoint_grows_a_queue_and_its_memory_goes_with_the_items() {
    let queue = PlainQueue::<u64>::plain_unbounded().unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let idle = queue.stats().unwrap().bytes;
    (0..300_000).for_each(|n| producer.put(n).unwrap());
    assert!(queue.stats().unwrap().bytes > 16 * 300_000);
    (0..300_000).for_each(|n| assert_eq!(consumer.get(), Ok(n)));
    drop(producer);
    // The last chunk goes when nobody has the producers' end for itself.
    assert_eq!(consumer.try_get(), Err(GetError::Empty));
    assert_eq!(queue.stats().unwrap().bytes, idle);
}

#[test]
fn an_endpoint_with_a_bound_in_items_waits_for_its_room() {
    let options = QueueOptions::new(3).max_message(4 << 20);
    let queue: Queue<Vec<u8>> = options.queue().unwrap();
    let mut producer = queue.producer().unwrap();
    for round in 0..10_u8 {
        producer.put_many([vec![round; 3 << 20], vec![round], vec![round; 100]]).unwrap();
        assert!(matches!(producer.try_put(vec![0]), Err(PutError::Full(_))));
        (0..3).for_each(|_| assert_eq!(queue.get().unwrap()[0], round));
    }
}

#[test]
fn a_forked_childs_copy_of_an_endpoint_is_refused() {
    let forked = |queue: PlainQueue<u64>| {
        queue.put(1).unwrap();
        let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        // Both know where they are.
        producer.put(2).unwrap();
        assert_eq!(consumer.get(), Ok(1));
        // SAFETY: this process has one thread; the child looks and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = matches!(producer.put(3), Err(PutError::Exclusive(3)))
                && matches!(producer.try_put(3), Err(PutError::Exclusive(3)))
                && consumer.get() == Err(GetError::Exclusive);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!refused)) }
        }
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        producer.put(3).unwrap();
        (status, consumer.iter().take(2).collect::<Vec<_>>())
    };
    let mut process = Process::spawn(forked, Queue::plain(4).unwrap()).unwrap();
    assert_eq!(process.join().unwrap(), (0, vec![2, 3]), "the child is refused, the parent goes on");
}
