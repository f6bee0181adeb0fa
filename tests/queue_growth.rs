//! Queues that grow: nothing is lost, reordered or miscounted over chunks, and memory comes and goes with the items.
#![cfg(feature = "process")]
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use multiproc::{GetError, JoinableQueue, PlainQueue, Process, PutError, Queue, QueueOptions, Segment};

/// What an idle queue may take.
const IDLE: u64 = 192 << 10;
/// The longest usual chunk.
const CHUNK: u64 = 4 << 20;

fn bytes<T: 'static, C>(queue: &Queue<T, C>) -> u64 {
    queue.stats().unwrap().bytes
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn a_backlog_over_many_chunks_keeps_its_order_and_its_count() {
    let queue = PlainQueue::<u64>::plain_unbounded().unwrap();
    for round in 0..3 {
        for n in 0..600_000_u64 {
            queue.put(n).unwrap();
            if n % 10_007 == 0 {
                assert_eq!(queue.len() as u64, n + 1);
            }
        }
        let most = 600_000 * 16 + 2 * CHUNK + IDLE;
        assert!(bytes(&queue) <= most, "round {round}: {} bytes", bytes(&queue));
        for n in 0..600_000_u64 {
            assert_eq!(queue.get(), Ok(n));
            if n % 10_007 == 0 {
                assert_eq!(queue.len() as u64, 599_999 - n);
            }
        }
        assert_eq!(queue.try_get(), Err(GetError::Empty));
        assert!(bytes(&queue) <= IDLE, "round {round}: {} bytes idle", bytes(&queue));
    }
}

#[test]
fn an_idle_queue_is_small_and_a_drained_one_is_small_again() {
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    assert!(bytes(&queue) <= IDLE, "{} bytes", bytes(&queue));
    assert!(bytes(&PlainQueue::<u64>::plain_unbounded().unwrap()) <= IDLE);
    assert!(bytes(&PlainQueue::<[u8; 4096]>::plain_unbounded().unwrap()) <= IDLE);
    let item = vec![7; 1000];
    let mut live = 0;
    for _ in 0..100_000 {
        queue.put(item.clone()).unwrap();
        live += 1000 + 64;
    }
    let most = live + 2 * CHUNK + IDLE;
    assert!(bytes(&queue) <= most, "{} bytes for {live}", bytes(&queue));
    while queue.try_get().is_ok() {}
    assert!(bytes(&queue) <= IDLE, "{} bytes idle", bytes(&queue));
}

#[test]
fn an_exclusive_producer_keeps_the_last_chunk_until_it_is_dropped() {
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    let mut producer = queue.producer().unwrap();
    (0..20_000).for_each(|_| producer.put(vec![7; 1000]).unwrap());
    while queue.try_get().is_ok() {}
    let kept = bytes(&queue);
    assert!(kept > IDLE && kept <= CHUNK + IDLE, "{kept} bytes");
    drop(producer);
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert!(bytes(&queue) <= IDLE, "{} bytes idle", bytes(&queue));
}

#[test]
fn items_of_all_lengths_pass_like_through_a_deque() {
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    let (mut oracle, mut random) = (VecDeque::new(), Random(7));
    for phase in 0..12 {
        let puts = if phase % 2 == 0 { 7 } else { 3 };
        for step in 0..3_000_u64 {
            if random.below(10) < puts {
                let longest = [40, 100, 3000, 200_000][usize::try_from(random.below(40) / 13).unwrap()];
                let item = vec![(step % 251) as u8; usize::try_from(random.below(longest)).unwrap()];
                oracle.push_back(item.clone());
                queue.put(item).unwrap();
            } else {
                assert_eq!(queue.try_get().ok(), oracle.pop_front());
            }
            assert_eq!(queue.len(), oracle.len());
        }
    }
    while let Some(item) = oracle.pop_front() {
        assert_eq!(queue.get(), Ok(item));
    }
    assert!(bytes(&queue) <= IDLE);
}

#[test]
fn items_of_64_mib_pass() {
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    let item: Vec<u8> = (0..64 << 20).map(|at: u32| (at % 253) as u8).collect();
    queue.put(vec![1, 2, 3]).unwrap();
    queue.put(item.clone()).unwrap();
    queue.put(vec![4]).unwrap();
    assert!(bytes(&queue) <= (64 << 20) + 2 * CHUNK);
    assert_eq!(queue.get(), Ok(vec![1, 2, 3]));
    assert!(queue.get() == Ok(item));
    assert_eq!(queue.get(), Ok(vec![4]));
    assert!(bytes(&queue) <= IDLE);
}

#[test]
fn a_bounded_queue_holds_as_many_items_as_it_says() {
    let queue = Queue::bounded(100_000).unwrap();
    (0..100_000_u32).for_each(|n| queue.try_put(n).unwrap());
    assert!(matches!(queue.try_put(1), Err(PutError::Full(1))));
    assert!(matches!(queue.put_timeout(1, Duration::from_millis(20)), Err(PutError::TimedOut(1))));
    assert!(queue.is_full());
    for n in 0..50_000 {
        assert_eq!(queue.get(), Ok(n));
    }
    (0..50_000_u32).for_each(|n| queue.try_put(n).unwrap());
    assert!(matches!(queue.try_put(1), Err(PutError::Full(1))));
    assert_eq!(queue.iter().take(100_000).count(), 100_000);

    // Long ones, of which fewer lie in the home ring.
    let queue = Queue::bounded(50).unwrap();
    for round in 0..3 {
        (0..50_u8).for_each(|n| queue.try_put(vec![n; 100_000]).unwrap());
        assert!(matches!(queue.try_put(vec![0]), Err(PutError::Full(_))), "round {round}");
        assert_eq!(queue.len(), 50);
        (0..50_u8).for_each(|n| assert_eq!(queue.get(), Ok(vec![n; 100_000])));
    }
}

#[test]
fn a_blocked_producer_goes_on_over_chunks() {
    let queue = Queue::bounded(20).unwrap();
    let producer = std::thread::spawn({
        let queue = queue.clone();
        move || (0..2_000_u32).for_each(|n| queue.put(vec![n; 50_000]).unwrap())
    });
    for n in 0..2_000_u32 {
        assert_eq!(queue.get().unwrap()[..2], [n, n]);
    }
    producer.join().unwrap();
}

#[test]
fn a_segments_queue_does_not_grow() {
    let segment = Segment::anonymous(4 << 20).unwrap();
    let error = QueueOptions::unbounded().queue_in::<u8>(&segment, "queue").unwrap_err();
    assert!(error.to_string().contains("max_items or ring_bytes"), "{error}");
    assert!(QueueOptions::unbounded().ring_bytes(4096).queue_in::<u8>(&segment, "queue").is_ok());
}

#[test]
fn tasks_of_an_unbounded_queue_are_leased() {
    let jobs = JoinableQueue::unbounded().unwrap();
    (0..20_000_u32).for_each(|n| jobs.put(n).unwrap());
    assert_eq!(jobs.unfinished(), Ok(20_000));
    drop(jobs.take().unwrap());
    let again = jobs.take().unwrap();
    assert_eq!((*again, again.attempt()), (0, 2));
    again.done();
    for n in 1..20_000 {
        let task = jobs.take().unwrap();
        assert_eq!((*task, task.number()), (n, u64::from(n)));
        task.done();
    }
    assert_eq!(jobs.join_timeout(Duration::from_secs(5)), Ok(true));
    jobs.put(1).unwrap();
    jobs.get().unwrap();
    assert!(jobs.task_done().is_ok() && jobs.task_done().is_err());
    jobs.shutdown();
    assert_eq!(jobs.tasks().count(), 0);
}

#[test]
fn batches_and_items_in_place_cross_chunks() {
    let queue = PlainQueue::<u64>::plain_unbounded().unwrap();
    assert_eq!(queue.put_many(0..50_000).unwrap(), 50_000);
    let mut got = Vec::new();
    while got.len() < 50_000 {
        queue.get_many(&mut got, 1000).unwrap();
    }
    assert!(got.into_iter().eq(0..50_000));
    for n in 0..20_000_u64 {
        queue.put_with(8, |bytes| bytes.copy_from_slice(&n.to_ne_bytes())).unwrap();
    }
    for n in 0..20_000_u64 {
        assert_eq!(queue.get_with(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap())), Ok(n));
    }
    assert!(bytes(&queue) <= IDLE);
}

#[test]
fn shutdown_ends_a_long_queue_after_its_last_item() {
    let queue = Queue::unbounded().unwrap();
    (0..20_000).for_each(|n| queue.put(n).unwrap());
    queue.shutdown();
    assert!(matches!(queue.put(1), Err(PutError::Shutdown(1))));
    assert!(queue.iter().eq(0..20_000));
    assert_eq!(queue.get(), Err(GetError::Shutdown));
}

fn drain((queue, sums, count): (Queue<u64>, Queue<(u64, u64)>, u64)) {
    let sum = queue.iter().take(usize::try_from(count).unwrap()).sum();
    sums.put((count, sum)).unwrap();
}

#[test]
fn a_process_that_comes_late_finds_the_chunks_in_use() {
    let (queue, sums) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    (0..60_000_u64).for_each(|n| queue.put(n).unwrap());
    assert!((0..20_000).all(|n| queue.get() == Ok(n)));
    let mut child = Process::spawn(drain, (queue.clone(), sums.clone(), 60_000)).unwrap();
    (60_000..80_000_u64).for_each(|n| queue.put(n).unwrap());
    child.join().unwrap();
    assert_eq!(sums.get(), Ok((60_000, (20_000..80_000).sum())));
    assert!(bytes(&queue) <= IDLE);
}

/// Locks all memory that is mapped from now on, as audio engines do, and fills and drains a queue.
fn use_locked(_: ()) -> (u64, u64) {
    rustix::mm::mlockall(rustix::mm::MlockAllFlags::FUTURE).expect("the right to lock memory");
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    (0..1000).for_each(|_| queue.put(vec![1; 20_000]).unwrap());
    let most = bytes(&queue);
    while queue.try_get().is_ok() {}
    (most, bytes(&queue))
}

#[test]
fn locked_memory_is_no_more_than_what_is_used() {
    let (most, idle) = Process::spawn(use_locked, ()).unwrap().join().unwrap();
    assert!(most <= 1000 * (20_000 + 64) + 2 * CHUNK + IDLE, "{most}");
    assert!(idle <= IDLE, "{idle}");
}

/// A backlog of so many MiB comes and goes, and ten times as much passes through.
fn comes_and_goes(mib: u64) {
    const ITEM: u64 = 16_000;
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    let items = (mib << 20) / ITEM;
    for n in 0..items {
        queue.put(vec![n as u8; ITEM as usize]).unwrap();
    }
    let most = items * (ITEM + 64) + 2 * CHUNK;
    println!("{mib} MiB: {} bytes in use, {most} allowed", bytes(&queue));
    assert!(bytes(&queue) <= most, "{} of {most}", bytes(&queue));
    for n in 0..items {
        assert_eq!(queue.get().unwrap()[0], n as u8);
    }
    assert!(bytes(&queue) <= IDLE, "{} bytes", bytes(&queue));
    let producer = std::thread::spawn({
        let queue = queue.clone();
        move || {
            for n in 0..items * 10 {
                // Never far ahead: what passes through is not a backlog.
                while queue.len() > 1000 {
                    std::thread::yield_now();
                }
                queue.put(vec![n as u8; ITEM as usize]).unwrap();
            }
        }
    });
    for n in 0..items * 10 {
        assert_eq!(queue.get().unwrap()[0], n as u8);
    }
    producer.join().unwrap();
    println!("{} bytes idle", bytes(&queue));
    assert!(bytes(&queue) <= IDLE, "{} bytes", bytes(&queue));
}

#[test]
fn memory_comes_and_goes_with_a_backlog() {
    comes_and_goes(48);
}

#[test]
#[ignore = "1 GiB of memory, and 10 GiB pass through"]
fn memory_comes_and_goes_with_a_backlog_of_a_gigabyte() {
    comes_and_goes(1024);
}

/// As an audio engine does: whatever is mapped from then on gets all its pages at once, and keeps them.
fn comes_and_goes_locked(mebibytes: u64) -> bool {
    let is_allowed = rustix::mm::mlockall(rustix::mm::MlockAllFlags::FUTURE).is_ok();
    if is_allowed {
        comes_and_goes(mebibytes);
    }
    is_allowed
}

/// In a process of its own.
fn comes_and_goes_in_locked_memory(mebibytes: u64) {
    let mut child = Process::spawn(comes_and_goes_locked, mebibytes).unwrap();
    // Who may not lock memory has nothing to test.
    let is_allowed = child.join().unwrap();
    assert!(is_allowed || std::env::var_os("CI").is_none(), "mlockall is forbidden");
}

#[test]
fn memory_comes_and_goes_where_all_that_is_mapped_is_locked() {
    comes_and_goes_in_locked_memory(24);
}

#[test]
#[ignore = "1 GiB of memory, and 10 GiB pass through"]
fn memory_comes_and_goes_locked_with_a_backlog_of_a_gigabyte() {
    comes_and_goes_in_locked_memory(1024);
}

fn produce((queue, from, to): (Queue<(u32, u64)>, u32, u64)) {
    (0..to).for_each(|n| queue.put((from, n)).unwrap());
}

/// Whose item, and the how manieth.
type Numbered = (u32, u64);

fn consume((queue, done): (Queue<Numbered>, Queue<Vec<Numbered>>)) {
    done.put(queue.iter().collect()).unwrap();
}

#[test]
fn producers_and_consumers_in_processes_move_each_item_once_and_in_order() {
    const ITEMS: u64 = 50_000;
    let (queue, done) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let mut producers: Vec<_> =
        (0..2).map(|from| Process::spawn(produce, (queue.clone(), from, ITEMS)).unwrap()).collect();
    let mut consumers: Vec<_> =
        (0..2).map(|_| Process::spawn(consume, (queue.clone(), done.clone())).unwrap()).collect();
    producers.iter_mut().for_each(|producer| producer.join().unwrap());
    queue.shutdown();
    consumers.iter_mut().for_each(|consumer| consumer.join().unwrap());
    let mut all = Vec::new();
    for _ in 0..2 {
        let got = done.get().unwrap();
        for from in 0..2 {
            assert!(got.iter().filter(|item| item.0 == from).is_sorted_by(|a, b| a.1 < b.1));
        }
        all.extend(got);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq((0..2).flat_map(|from| (0..ITEMS).map(move |n| (from, n)))));
}

fn put_for_ever((queue, from): (Queue<(u32, u64)>, u32)) {
    for n in 0.. {
        queue.put((from, n)).unwrap();
    }
}

fn get_for_ever(queue: Queue<(u32, u64)>) {
    loop {
        queue.get().unwrap();
    }
}

/// Producers and consumers are killed at random moments, in links and steps too, and the rest comes in order.
#[test]
fn random_kills_lose_nothing_that_others_hold() {
    let queue = Queue::unbounded().unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let end = Instant::now() + Duration::from_secs(4);
    let mut rounds = 0;
    while Instant::now() < end {
        let (first, second) = (rounds * 2, rounds * 2 + 1);
        let mut producers =
            [first, second].map(|from| Process::spawn(put_for_ever, (queue.clone(), from)).unwrap());
        let mut consumer = Process::spawn(get_for_ever, queue.clone()).unwrap();
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        for killed in &mut producers {
            killed.kill().unwrap();
            killed.join().unwrap_err();
        }
        consumer.kill().unwrap();
        consumer.join().unwrap_err();
        let len = queue.len();
        let mut left = Vec::new();
        while let Ok(item) = queue.try_get() {
            left.push(item);
        }
        assert_eq!(left.len(), len, "round {rounds}");
        for from in [first, second] {
            let own: Vec<u64> = left.iter().filter(|item| item.0 == from).map(|item| item.1).collect();
            assert!(own.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {rounds}: a hole");
        }
        // The last death may have left something that the next put repairs.
        queue.put((0, 0)).unwrap();
        queue.get().unwrap();
        assert!(bytes(&queue) <= IDLE, "round {rounds}: {} bytes idle", bytes(&queue));
        rounds += 1;
    }
    assert!(rounds > 10);
}
