//! `Queue`: what its methods promise, between threads and processes, and what a death or a stop leaves.
#![cfg(feature = "auto-init")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use multiproc::{Error, Event, GetError, Lock, Process, PutError, Queue, QueueOptions, Value};
use random::{Random, stress_time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use worker::{SOON, Worker};

mod random;
mod worker;

const SHORT: Duration = Duration::from_millis(5);

fn queue<T: Serialize + serde::de::DeserializeOwned + 'static>(max_items: usize) -> Queue<T> {
    Queue::bounded(max_items).unwrap()
}

/// A queue of byte strings with the smallest ring whose records can be `bytes` long.
fn tight(max_items: usize, bytes: usize) -> Queue<Vec<u8>> {
    QueueOptions::new(max_items).ring_bytes(0).max_message(bytes).queue().unwrap()
}

/// A byte string of this length, of a content that depends on `seed`.
fn content(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed * 7) as u8).collect()
}

#[test]
fn items_come_out_in_the_order_in_which_they_went_in() {
    let queue = queue(100);
    for lap in 0..50 {
        (0..100).for_each(|n| queue.put(lap * 100 + n).unwrap());
        (0..100).for_each(|n| assert_eq!(queue.get(), Ok(lap * 100 + n)));
    }
}

#[test]
fn all_forms_of_put_and_get_move_an_item() {
    let queue = queue(8);
    let later = || Instant::now() + SOON;
    queue.put(1).unwrap();
    queue.try_put(2).unwrap();
    queue.put_timeout(3, SOON).unwrap();
    queue.put_deadline(4, later()).unwrap();
    queue.put_timeout(5, Duration::MAX).unwrap();
    queue.put_timeout(6, Duration::ZERO).unwrap();
    queue.put_deadline(7, Instant::now()).unwrap();
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.try_get(), Ok(2));
    assert_eq!(queue.get_timeout(SOON), Ok(3));
    assert_eq!(queue.get_deadline(later()), Ok(4));
    assert_eq!(queue.get_timeout(Duration::MAX), Ok(5));
    assert_eq!(queue.get_timeout(Duration::ZERO), Ok(6), "an item that is there needs no time");
    assert_eq!(queue.get_deadline(Instant::now()), Ok(7));
}

#[test]
fn a_full_queue_gives_the_item_back() {
    let queue = queue(1);
    queue.put("in".to_owned()).unwrap();
    let out = || "out".to_owned();
    assert!(matches!(queue.try_put(out()), Err(PutError::Full(item)) if item == "out"));
    for timeout in [Duration::ZERO, SHORT] {
        let begun = Instant::now();
        assert!(matches!(queue.put_timeout(out(), timeout), Err(PutError::TimedOut(item)) if item == "out"));
        assert!(begun.elapsed() >= timeout);
    }
    let soon = Instant::now() + SHORT;
    assert!(matches!(queue.put_deadline(out(), soon), Err(PutError::TimedOut(_))));
    assert!(Instant::now() >= soon);
    assert_eq!(queue.put_timeout(out(), SHORT).unwrap_err().into_inner(), "out");
    assert_eq!((queue.get().unwrap().as_str(), queue.len()), ("in", 0));
}

#[test]
fn an_empty_queue_says_so_at_once_or_after_the_time() {
    let queue = queue::<u8>(1);
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    for timeout in [Duration::ZERO, SHORT] {
        let begun = Instant::now();
        assert_eq!(queue.get_timeout(timeout), Err(GetError::TimedOut));
        assert!(begun.elapsed() >= timeout);
    }
    let soon = Instant::now() + SHORT;
    assert_eq!(queue.get_deadline(soon), Err(GetError::TimedOut));
    assert!(Instant::now() >= soon);
}

#[test]
fn a_time_that_passes_asleep_is_kept_to() {
    // Beyond one slice of sleep, and not a whole slice more.
    let queue = queue::<u8>(1);
    let timeout = Duration::from_millis(130);
    let begun = Instant::now();
    assert_eq!(queue.get_timeout(timeout), Err(GetError::TimedOut));
    assert!(begun.elapsed() >= timeout && begun.elapsed() < SOON);
}

#[test]
fn len_and_is_full_are_exact_at_every_step() {
    let queue = queue(3);
    assert_eq!((queue.len(), queue.capacity(), queue.is_empty(), queue.is_full()), (0, 3, true, false));
    for lap in 0..20 {
        for n in 1..=3 {
            queue.put(lap).unwrap();
            assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (n, false, n == 3));
        }
        for n in (0..3).rev() {
            queue.get().unwrap();
            assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (n, n == 0, false));
        }
    }
}

#[test]
fn len_is_never_beyond_the_bound_while_items_move() {
    let queue = queue(4);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..30_000).for_each(|n| queue.put(n).unwrap()));
        let consumer = scope.spawn(|| {
            queue.iter().take(30_000).enumerate().for_each(|(at, n)| assert_eq!(at, n));
        });
        while !consumer.is_finished() {
            let len = queue.len();
            assert!(len <= 4, "{len} items in a queue of 4");
            std::thread::yield_now();
        }
    });
    assert!(queue.is_empty());
}

#[test]
fn full_is_said_only_when_there_is_no_room() {
    let queue = QueueOptions::new(1 << 20).ring_bytes(8 << 20).queue::<u64>().unwrap();
    // Two producers, nobody gets: all fits, so that nobody may be told that the queue is full.
    const EACH: u64 = 60_000;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..EACH {
                    while let Err(error) = queue.try_put(n) {
                        assert!(matches!(error, PutError::Busy(_)), "{error:?} at {n}");
                    }
                }
            });
        }
    });
    assert_eq!(queue.len() as u64, 2 * EACH);
}

#[test]
fn empty_is_said_only_when_there_is_no_item() {
    let queue = QueueOptions::new(1 << 20).ring_bytes(8 << 20).queue::<u64>().unwrap();
    const EACH: u64 = 60_000;
    (0..2 * EACH).for_each(|n| queue.put(n).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut got = 0;
                while got < EACH {
                    match queue.try_get() {
                        Ok(_) => got += 1,
                        Err(error) => assert_eq!(error, GetError::Busy, "after {got}"),
                    }
                }
            });
        }
    });
    assert!(queue.is_empty());
}

#[test]
fn an_item_of_exactly_max_message_fits_wherever_the_ring_stands() {
    for asked in [1, 32, 33, 100, 1000] {
        let queue = tight(4, asked);
        let max = queue.max_message();
        assert!(max >= asked);
        for lap in 0..40 {
            let item = content(max, lap);
            queue.try_put(item.clone()).unwrap();
            assert_eq!(queue.try_get().unwrap(), item);
            // Moves the ring's place on by a record of another size.
            queue.try_put(content(1 + lap % max, lap)).unwrap();
            queue.try_get().unwrap();
        }
    }
}

#[test]
fn an_item_beyond_max_message_is_too_large_and_comes_back() {
    for asked in [1, 32, 33, 100, 1000] {
        let queue = tight(4, asked);
        queue.put(vec![7]).unwrap();
        let item = content(queue.max_message() + 1, 3);
        let refused = [
            queue.put(item.clone()),
            queue.try_put(item.clone()),
            queue.put_timeout(item.clone(), SHORT),
            queue.put_deadline(item.clone(), Instant::now()),
        ];
        for error in refused {
            assert!(matches!(error, Err(PutError::TooLarge(back)) if back == item));
        }
        assert_eq!((queue.len(), queue.get()), (1, Ok(vec![7])));
        assert!(queue.is_empty());
    }
}

#[test]
fn the_default_queue_takes_what_the_documentation_says() {
    let queue = queue::<Vec<u8>>(4);
    let item = content(256 << 10, 1);
    (0..2).for_each(|_| queue.try_put(item.clone()).unwrap());
    assert_eq!(queue.get().unwrap(), item);
}

#[test]
fn a_queue_of_no_items_is_refused() {
    assert!(matches!(Queue::<u8>::bounded(0), Err(Error::InvalidArgument { .. })));
}

#[test]
fn sizes_beyond_memory_are_refused() {
    let huge = [
        QueueOptions::new(1).ring_bytes(usize::MAX),
        QueueOptions::new(1).max_message(usize::MAX),
        QueueOptions::new(1).ring_bytes(1 << 60),
    ];
    for options in huge {
        let error = options.queue::<u8>().unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. } | Error::InvalidArgument { .. }), "{error}");
        let error = options.joinable_queue::<u8>().unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. } | Error::InvalidArgument { .. }), "{error}");
    }
    // A bound on items takes no memory by itself.
    assert_eq!(Queue::<u8>::bounded(usize::MAX).unwrap().capacity(), usize::MAX);
}

#[test]
fn items_of_no_bytes_pass() {
    let queue = queue::<()>(10);
    for _ in 0..30 {
        (0..10).for_each(|_| queue.put(()).unwrap());
        assert!(matches!(queue.try_put(()), Err(PutError::Full(()))));
        (0..10).for_each(|_| queue.get().unwrap());
        assert_eq!(queue.try_get(), Err(GetError::Empty));
    }
}

/// What a ring does, written down naively: how many slots it has, and where each long item's data lies, in words.
struct Oracle {
    slots: usize,
    capacity: u64,
    tail: u64,
    /// Start of each item's data, or of what follows, and its bytes.
    items: VecDeque<(u64, Vec<u8>)>,
}

impl Oracle {
    fn new(queue: &Queue<Vec<u8>>) -> Self {
        // The longest item takes all of the data; without data, it fits into its slot.
        let bytes = queue.max_message() as u64;
        let capacity = if bytes <= 48 { 0 } else { bytes / 8 };
        Self { slots: bytes.max(512) as usize / 64, capacity, tail: 0, items: VecDeque::new() }
    }

    /// Where the data would begin and end of an item of `encoded` bytes, if it fits.
    fn place(&self, encoded: usize, max_items: usize) -> Option<(u64, u64)> {
        if self.items.len() == max_items.min(self.slots) {
            return None;
        }
        if encoded <= 48 {
            return Some((self.tail, self.tail));
        }
        let words = (encoded as u64).div_ceil(8);
        let to_end = self.capacity - self.tail % self.capacity;
        let start = self.tail + if words > to_end { to_end } else { 0 };
        let oldest = self.items.front().map_or(start, |(start, _)| *start);
        (start + words - oldest <= self.capacity).then_some((start, start + words))
    }
}

#[test]
fn random_sizes_agree_with_a_naive_ring() {
    let seed = 0x5eed_0001;
    let mut random = Random::new(seed);
    for (max_items, bytes) in [(3, 32), (64, 32), (5, 100), (1000, 500), (7, 4000)] {
        let queue = tight(max_items, bytes);
        let mut oracle = Oracle::new(&queue);
        for step in 0..6_000 {
            if random.below(100) < 55 {
                let around = [1, 8, 16, 17, 32, 33, 47, 48, 49, queue.max_message() as u64];
                let encoded = match random.below(3) {
                    0 => around[random.below(10) as usize].min(queue.max_message() as u64),
                    _ => 1 + random.below(queue.max_message() as u64),
                } as usize;
                let item = content(encoded, step);
                match (queue.try_put(item.clone()), oracle.place(encoded, max_items)) {
                    (Ok(()), Some((start, end))) => {
                        oracle.items.push_back((start, item));
                        oracle.tail = end;
                    }
                    (Err(PutError::Full(back)), None) => assert_eq!(back, item),
                    other => panic!("step {step}, {encoded} bytes: {other:?}"),
                }
            } else {
                match (queue.try_get(), oracle.items.pop_front()) {
                    (Ok(item), Some((_, expected))) => assert_eq!(item, expected, "step {step}"),
                    (Err(GetError::Empty), None) => {}
                    other => panic!("step {step}: {other:?}"),
                }
            }
            assert_eq!(queue.len(), oracle.items.len(), "step {step}");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Named(String, Option<Box<Shape>>),
    Many(BTreeMap<u8, Vec<Shape>>),
}

#[test]
fn items_may_be_any_serde_type() {
    let shapes = [
        Shape::Point,
        Shape::Circle { radius: -0.5 },
        Shape::Named("häß".into(), Some(Box::new(Shape::Circle { radius: f64::MAX }))),
        Shape::Many([(1, vec![]), (9, vec![Shape::Point, Shape::Named(String::new(), None)])].into()),
    ];
    let queue = queue(4);
    shapes.iter().for_each(|shape| queue.put(shape.clone()).unwrap());
    assert_eq!(queue.iter().take(4).collect::<Vec<_>>(), shapes);
    let queue = self::queue(1);
    queue.put((u128::MAX, 'ß', i64::MIN, [1_u16; 3], Some(()))).unwrap();
    assert_eq!(queue.get(), Ok((u128::MAX, 'ß', i64::MIN, [1; 3], Some(()))));
}

/// Fails to be encoded or decoded as told.
#[derive(Clone, Debug, PartialEq)]
enum Stubborn {
    Good(u8),
    NoEncode,
    NoDecode,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Good(n) => serializer.serialize_u8(*n),
            // Of unknown length: postcard can't.
            Self::NoEncode => serializer.collect_seq([1, 2, 3].iter().filter(|_| true)),
            Self::NoDecode => serializer.serialize_u8(u8::MAX),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            u8::MAX => Err(serde::de::Error::custom("stubborn")),
            n => Ok(Self::Good(n)),
        }
    }
}

#[test]
fn an_item_that_cannot_be_encoded_leaves_the_queue_unchanged_and_says_why() {
    let queue = queue(2);
    queue.put(Stubborn::Good(1)).unwrap();
    for error in [queue.put(Stubborn::NoEncode), queue.try_put(Stubborn::NoEncode)] {
        let Err(PutError::Encode(item, why)) = error else { panic!("{error:?}") };
        assert_eq!(item, Stubborn::NoEncode);
        assert!(why.contains("length"), "{why}");
    }
    assert_eq!((queue.len(), queue.get(), queue.try_get()), (1, Ok(Stubborn::Good(1)), Err(GetError::Empty)));
}

#[test]
fn an_item_that_cannot_be_decoded_is_gone_and_the_next_is_got() {
    let queue = queue(2);
    queue.put(Stubborn::NoDecode).unwrap();
    queue.put(Stubborn::Good(2)).unwrap();
    assert!(matches!(queue.get(), Err(GetError::Decode(_))));
    assert_eq!((queue.len(), queue.get()), (1, Ok(Stubborn::Good(2))));
}

#[test]
fn a_panic_while_an_item_is_encoded_leaves_the_queue_usable() {
    struct Bomb(bool);
    impl Serialize for Bomb {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 {
                std::panic::resume_unwind(Box::new(()));
            }
            serializer.serialize_unit()
        }
    }
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <()>::deserialize(deserializer).map(|()| Self(false))
        }
    }
    let queue = queue(1);
    let put = std::panic::AssertUnwindSafe(|| queue.put(Bomb(true)));
    assert!(std::panic::catch_unwind(put).is_err());
    assert!(queue.is_empty());
    queue.put(Bomb(false)).unwrap();
    assert!(queue.get().is_ok());
}

#[test]
fn a_handle_in_an_item_is_refused_at_once() {
    fn refused<T: Serialize + serde::de::DeserializeOwned + 'static>(item: T) {
        let queue = queue::<Option<T>>(1);
        let error = queue.put(Some(item));
        let Err(PutError::Encode(_, why)) = error else { panic!("{error:?}") };
        assert!(why.contains("travels only in process arguments"), "{why}");
        assert!(queue.is_empty());
        queue.put(None).unwrap();
        assert!(matches!(queue.get(), Ok(None)));
    }
    refused(queue::<u8>(1));
    refused(Lock::new().unwrap());
    refused(Event::new().unwrap());
    refused(Value::new(1_u32).unwrap());
}

#[test]
fn after_shutdown_puts_fail_and_gets_drain() {
    let queue = queue(4);
    (0..3).for_each(|n| queue.put(n).unwrap());
    queue.shutdown();
    queue.shutdown();
    let refused =
        [queue.put(9), queue.try_put(9), queue.put_timeout(9, SHORT), queue.put_deadline(9, Instant::now())];
    for error in refused {
        assert!(matches!(error, Err(PutError::Shutdown(9))), "{error:?}");
    }
    assert_eq!(
        (queue.len(), queue.get(), queue.try_get(), queue.get_timeout(SHORT)),
        (3, Ok(0), Ok(1), Ok(2))
    );
    for error in [queue.get(), queue.try_get(), queue.get_timeout(SHORT), queue.get_deadline(Instant::now())]
    {
        assert_eq!(error, Err(GetError::Shutdown));
    }
    assert_eq!((queue.len(), queue.iter().next()), (0, None));
}

#[test]
fn shutdown_of_a_full_queue_loses_nothing() {
    let queue = tight(100, 32);
    let put = (0..).take_while(|&n| queue.try_put(vec![n]).is_ok()).count();
    queue.shutdown();
    assert_eq!(queue.iter().count(), put);
}

/// Turns this process's slices off, says so, and gets until the end.
fn get_without_slices((queue, ready): (Queue<u32>, Queue<()>)) -> (Vec<u32>, GetError) {
    multiproc::testing::set_sleep_slice(None);
    ready.put(()).unwrap();
    let mut got = Vec::new();
    loop {
        match queue.get() {
            Ok(item) => got.push(item),
            Err(error) => return (got, error),
        }
    }
}

/// Turns this process's slices off, says so, and puts.
fn put_without_slices((queue, ready, item): (Queue<u32>, Queue<()>, u32)) -> Result<(), String> {
    multiproc::testing::set_sleep_slice(None);
    ready.put(()).unwrap();
    queue.put(item).map_err(|error| format!("{error:?}"))
}

fn spawn_asleep<A, R>(f: fn(A) -> R, args: A, ready: &Queue<()>) -> Worker<R>
where
    A: Serialize + serde::de::DeserializeOwned,
    R: Serialize + serde::de::DeserializeOwned,
{
    let worker = Worker::spawn(f, args);
    ready.get_timeout(SOON).unwrap();
    worker.wait_until_asleep();
    worker
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Got(Vec<u32>, String);

fn get_until_the_end(args: (Queue<u32>, Queue<()>)) -> Got {
    let (got, error) = get_without_slices(args);
    Got(got, format!("{error:?}"))
}

#[test]
fn shutdown_wakes_getters_that_sleep() {
    let (queue, ready) = (queue(4), queue(4));
    let getters = [(); 3].map(|()| spawn_asleep(get_until_the_end, (queue.clone(), ready.clone()), &ready));
    queue.shutdown();
    for getter in getters {
        assert_eq!(getter.join(), Got(vec![], "Shutdown".into()));
    }
}

#[test]
fn shutdown_wakes_putters_that_sleep() {
    let (queue, ready) = (queue(1), queue(4));
    queue.put(1).unwrap();
    let putters =
        [7, 8, 9].map(|n| spawn_asleep(put_without_slices, (queue.clone(), ready.clone(), n), &ready));
    queue.shutdown();
    for putter in putters {
        assert_eq!(putter.join(), Err("Shutdown(..)".into()));
    }
    assert_eq!((queue.get(), queue.get()), (Ok(1), Err(GetError::Shutdown)));
}

#[test]
fn a_put_wakes_one_sleeping_getter_after_the_other() {
    let (queue, ready) = (queue(4), queue(4));
    let getters = [(); 3].map(|()| spawn_asleep(get_until_the_end, (queue.clone(), ready.clone()), &ready));
    (0..300).for_each(|n| queue.put(n).unwrap());
    queue.shutdown();
    let mut all: Vec<u32> = getters.into_iter().flat_map(|getter| getter.join().0).collect();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

#[test]
fn a_get_wakes_one_sleeping_putter_after_the_other() {
    let (queue, ready) = (queue(1), queue(4));
    queue.put(0).unwrap();
    let putters =
        [1, 2, 3].map(|n| spawn_asleep(put_without_slices, (queue.clone(), ready.clone(), n), &ready));
    let all: BTreeSet<u32> = (0..4).map(|_| queue.get_timeout(SOON).unwrap()).collect();
    assert_eq!(all, (0..4).collect());
    putters.into_iter().for_each(|putter| putter.join().unwrap());
}

#[test]
fn a_queue_travels_with_what_is_in_it() {
    let queue = queue(4);
    queue.put("a".to_owned()).unwrap();
    let child = |queue: Queue<String>| {
        let seen = (queue.len(), queue.capacity(), queue.max_message(), queue.get().unwrap());
        queue.put("b".to_owned()).unwrap();
        queue.shutdown();
        seen
    };
    let seen = Worker::spawn(child, queue.clone()).join();
    assert_eq!(seen, (1, 4, queue.max_message(), "a".to_owned()));
    assert_eq!((queue.get(), queue.get()), (Ok("b".to_owned()), Err(GetError::Shutdown)));
}

#[test]
fn a_queue_comes_back_as_a_result_and_is_the_same() {
    let queue = queue(2);
    let mut child = Process::spawn(|queue: Queue<u8>| queue, queue.clone()).unwrap();
    let copy = child.join().unwrap();
    copy.put(1).unwrap();
    assert_eq!(queue.get(), Ok(1));
}

#[test]
fn a_queue_made_by_a_child_outlives_it() {
    let child = |()| {
        let queue = queue(2);
        queue.put([1_u8, 2]).unwrap();
        queue
    };
    assert_eq!(Worker::spawn(child, ()).join().get(), Ok([1, 2]));
}

/// Leaves as a queue of bytes and arrives as one of words.
struct Disguised(Queue<u8>);

impl Serialize for Disguised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Disguised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::<u16>::deserialize(deserializer).map(|_| unreachable!("a queue of another type was opened"))
    }
}

#[test]
fn a_queue_of_another_type_is_refused() {
    let mut child = Process::spawn(|_: Disguised| (), Disguised(queue(1))).unwrap();
    let error = child.join().unwrap_err().to_string();
    assert!(error.contains("u16") && error.contains("u8"), "{error}");
}

#[test]
fn two_producers_and_two_consumers_move_every_item_once_and_in_order() {
    const EACH: u32 = 100_000;
    let produce = |(queue, id): (Queue<(u32, u32)>, u32)| (0..EACH).for_each(|n| queue.put((id, n)).unwrap());
    let consume = |queue: Queue<(u32, u32)>| queue.iter().collect::<Vec<_>>();
    let queue = queue(64);
    let consumers = [(); 2].map(|()| Worker::spawn(consume, queue.clone()));
    let producers = [0, 1].map(|id| Worker::spawn(produce, (queue.clone(), id)));
    producers.into_iter().for_each(Worker::join);
    queue.shutdown();
    let mut all = BTreeSet::new();
    for consumer in consumers {
        let mut next = [0, 0];
        for (id, n) in consumer.join() {
            let next = &mut next[id as usize];
            assert!(n >= *next, "item {n} of {id} after {next}");
            *next = n + 1;
            assert!(all.insert((id, n)), "item {n} of {id} twice");
        }
    }
    assert_eq!(all.len(), 2 * EACH as usize);
}

/// Puts `(id, 0)`, `(id, 1)` and so on until the queue is shut down; how many.
fn produce((queue, id): (Numbered, u32)) -> u32 {
    (0..).find(|&n| queue.put((id, n)).is_err()).unwrap()
}

type Numbered = Queue<(u32, u32)>;

/// Hands on what it gets.
fn hand_on((queue, out): (Numbered, Numbered)) {
    for item in queue.iter() {
        out.put(item).unwrap();
    }
}

/// Kills producers, consumers or both at random moments; what is lost was delivered to somebody who died with it.
fn random_kills(kill_producers: bool, kill_consumers: bool, seed: u64) {
    let mut random = Random::new(seed);
    // Records of 64 bytes in rings of 1 KiB: full, empty and at their end all the time.
    let small = || QueueOptions::new(8).ring_bytes(1024).max_message(32).queue::<(u32, u32)>().unwrap();
    let (queue, out) = (small(), small());
    let mut ids = 0..;
    let mut producer = || {
        let id = ids.next().unwrap();
        (id, Worker::spawn(produce, (queue.clone(), id)))
    };
    let consumer = || Worker::spawn(hand_on, (queue.clone(), out.clone()));
    let mut producers = vec![producer(), producer()];
    let mut consumers = vec![consumer(), consumer()];
    let mut seen = BTreeMap::<u32, BTreeSet<u32>>::new();
    let mut see = |(id, n): (u32, u32)| {
        assert!(seen.entry(id).or_default().insert(n), "item {n} of {id} twice, seed {seed}");
    };
    let mut consumers_killed = 0;
    let end = Instant::now() + stress_time(Duration::from_secs(2));
    while Instant::now() < end {
        // A different moment each time.
        for _ in 0..random.below(500) {
            see(out.get_timeout(SOON).unwrap());
        }
        let who = random.below(2) as usize;
        if kill_producers && (!kill_consumers || random.below(2) == 0) {
            producers.swap_remove(who).1.kill();
            producers.push(producer());
        } else {
            consumers.swap_remove(who).kill();
            consumers.push(consumer());
            consumers_killed += 1;
        }
    }
    queue.shutdown();
    let drained = std::thread::scope(|scope| {
        let drain = scope.spawn(|| out.iter().collect::<Vec<_>>());
        consumers.into_iter().for_each(Worker::join);
        out.shutdown();
        drain.join().unwrap()
    });
    drained.into_iter().for_each(&mut see);
    assert!(queue.is_empty() && out.is_empty());

    let mut missing = 0;
    for (id, producer) in producers {
        // One that ended by itself says how many it has put.
        let put = producer.join();
        let seen = seen.remove(&id).unwrap_or_default();
        assert!(seen.last().is_none_or(|&last| last < put), "more than was put, seed {seed}");
        missing += put as usize - seen.len();
    }
    for seen in seen.values() {
        missing += 1 + *seen.last().unwrap() as usize - seen.len();
    }
    assert!(missing <= consumers_killed, "{missing} missing, {consumers_killed} killed, seed {seed}");
}

#[test]
fn killed_producers_lose_and_repeat_nothing() {
    random_kills(true, false, 11);
}

#[test]
fn a_killed_consumer_takes_at_most_its_item_with_it() {
    random_kills(false, true, 22);
}

#[test]
fn kills_on_both_sides_lose_only_what_was_delivered() {
    random_kills(true, true, 33);
}

#[test]
fn a_killed_sleeper_takes_no_wake_up_with_it() {
    let (queue, ready) = (queue(4), queue(4));
    let mut getters =
        [(); 3].map(|()| spawn_asleep(get_until_the_end, (queue.clone(), ready.clone()), &ready)).into_iter();
    // The first holds the waiting room.
    getters.next().unwrap().kill();
    queue.put(1).unwrap();
    while !queue.is_empty() {
        std::thread::yield_now();
    }
    queue.shutdown();
    let got: Vec<u32> = getters.flat_map(|getter| getter.join().0).collect();
    assert_eq!(got, [1]);
}

fn get_in_turn((queue, ready, out): (Queue<u32>, Queue<()>, Queue<u32>)) {
    ready.put(()).unwrap();
    queue.iter().for_each(|item| out.put(item).unwrap());
}

#[test]
fn a_stopped_sleeping_consumer_delays_others_by_less_than_a_second() {
    let (queue, ready, out) = (queue(4), queue(4), queue(4));
    let args = || (queue.clone(), ready.clone(), out.clone());
    let stopped = spawn_asleep(get_in_turn, args(), &ready);
    let other = spawn_asleep(get_in_turn, args(), &ready);
    stopped.stop();
    for n in 0..3 {
        let begun = Instant::now();
        queue.put(n).unwrap();
        assert_eq!(out.get_timeout(SOON), Ok(n));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    other.kill();
    stopped.go_on();
    queue.put(7).unwrap();
    assert_eq!(out.get_timeout(SOON), Ok(7));
}

fn put_and_say((queue, ready, item): (Queue<u32>, Queue<()>, u32)) {
    ready.put(()).unwrap();
    queue.put(item).unwrap();
}

#[test]
fn a_stopped_blocked_producer_delays_others_by_less_than_a_second() {
    let (queue, ready) = (queue(1), queue(4));
    queue.put(0).unwrap();
    let stopped = spawn_asleep(put_and_say, (queue.clone(), ready.clone(), 1), &ready);
    let other = spawn_asleep(put_and_say, (queue.clone(), ready.clone(), 2), &ready);
    stopped.stop();
    let begun = Instant::now();
    assert_eq!(queue.get(), Ok(0));
    assert_eq!(queue.get_timeout(SOON), Ok(2));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    other.join();
    queue.try_put(3).unwrap();
    assert_eq!(queue.get(), Ok(3), "the stopped producer has put nothing");
    stopped.go_on();
    assert_eq!(queue.get_timeout(SOON), Ok(1));
    stopped.join();
}

#[test]
fn queues_leave_no_descriptor_and_no_mapping() {
    let child = |()| {
        let count = || {
            let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            (fds, maps.lines().filter(|line| line.contains("memfd")).count())
        };
        let before = count();
        for n in 0..50 {
            let queue = queue(2);
            queue.put(n).unwrap();
            let _ = queue.clone().get_timeout(Duration::from_millis(1));
            assert!(count().0 > before.0);
        }
        (before, count())
    };
    let (before, after) = Worker::spawn(child, ()).join();
    assert_eq!(before, after);
}

// Where CPython is known to be bad: the rows of the list of its defects.

fn get_one_and_wait((queue, ready): (Queue<u32>, Queue<()>)) {
    ready.put(()).unwrap();
    let _ = queue.get();
    std::thread::park();
}

#[test]
fn a_getter_killed_in_get_locks_nobody_out_known_bad_4() {
    let (queue, ready) = (queue(4), queue(4));
    spawn_asleep(get_one_and_wait, (queue.clone(), ready.clone()), &ready).kill();
    queue.put(5).unwrap();
    assert_eq!((queue.len(), queue.is_empty()), (1, false));
    assert_eq!(queue.get_timeout(Duration::from_secs(3)), Ok(5));
}

#[test]
fn empty_is_right_after_put_known_bad_8() {
    let queue = queue(10);
    for n in 0..2_000 {
        queue.put(n).unwrap();
        assert!(!queue.is_empty());
        assert_eq!((queue.len(), queue.try_get(), queue.len()), (1, Ok(n), 0));
    }
    // In another process too.
    let see = |queue: Queue<i32>| (queue.is_empty(), queue.len(), queue.try_get().ok());
    queue.put(1).unwrap();
    assert_eq!(Worker::spawn(see, queue.clone()).join(), (false, 1, Some(1)));
    assert_eq!(see(queue), (true, 0, None));
}

#[test]
fn an_item_that_cannot_be_encoded_is_an_error_of_put_known_bad_9() {
    let queue = multiproc::JoinableQueue::bounded(2).unwrap();
    assert!(matches!(queue.put(Stubborn::NoEncode), Err(PutError::Encode(..))));
    assert_eq!(queue.unfinished(), Ok(0));
    assert_eq!(queue.join_timeout(SOON), Ok(true), "nothing is waited for");
}

#[test]
fn a_producer_with_unread_items_ends_known_bad_10() {
    let queue = queue::<Vec<u8>>(4);
    let put = |queue: Queue<Vec<u8>>| queue.put(vec![1; 200 << 10]).unwrap();
    Worker::spawn(put, queue.clone()).join();
    assert_eq!(queue.get().unwrap().len(), 200 << 10);
}

fn put_many_and_die((queue, put): (Queue<u32>, Value<u32>)) {
    for n in 0..1000 {
        queue.put(n).unwrap();
        put.set(n + 1).unwrap();
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn items_whose_put_returned_survive_the_producers_kill_known_bad_11() {
    let (queue, put) = (queue(1000), Value::new(0).unwrap());
    let mut child = Process::spawn(put_many_and_die, (queue.clone(), put.clone())).unwrap();
    assert!(child.join().is_err());
    assert_eq!((put.get(), queue.len()), (1000, 1000));
    (0..1000).for_each(|n| assert_eq!(queue.try_get(), Ok(n)));
}

#[test]
fn a_writer_killed_in_the_middle_leaves_whole_items_known_bad_25() {
    // Large items, so that most kills come while one is being written.
    let queue = QueueOptions::new(4).max_message(1 << 20).queue::<(u32, Vec<u32>)>().unwrap();
    let write = |queue: Queue<(u32, Vec<u32>)>| {
        for n in 1.. {
            queue.put((n, vec![n; 50_000])).unwrap();
        }
    };
    let mut random = Random::new(25);
    for _ in 0..12 {
        let writer = Worker::spawn(write, queue.clone());
        for _ in 0..=random.below(8) {
            let (n, item) = queue.get_timeout(SOON).unwrap();
            assert!(item.len() == 50_000 && item.iter().all(|&word| word == n));
        }
        writer.kill();
        while let Ok((n, item)) = queue.try_get() {
            assert!(item.len() == 50_000 && item.iter().all(|&word| word == n));
        }
        assert!(queue.is_empty());
    }
}

#[test]
fn put_takes_the_item_as_it_is_known_bad_38() {
    use std::sync::{Arc, Mutex};
    let list = Arc::new(Mutex::new(vec![1]));
    let queue = queue::<Arc2>(2);
    #[derive(Clone)]
    struct Arc2(Arc<Mutex<Vec<i32>>>);
    impl Serialize for Arc2 {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.lock().unwrap().serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Arc2 {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Vec::deserialize(deserializer).map(|list| Self(Arc::new(Mutex::new(list))))
        }
    }
    queue.put(Arc2(list.clone())).unwrap();
    list.lock().unwrap().push(2);
    assert_eq!(*queue.get().unwrap().0.lock().unwrap(), [1]);
}

#[test]
fn shutdown_fails_putters_and_drains_getters_known_bad_43() {
    let queue = queue(2);
    queue.put(1).unwrap();
    let shut = |queue: Queue<u8>| queue.shutdown();
    Worker::spawn(shut, queue.clone()).join();
    assert!(matches!(queue.put(2), Err(PutError::Shutdown(2))));
    assert_eq!((queue.get(), queue.get()), (Ok(1), Err(GetError::Shutdown)));
}

#[test]
fn a_put_with_no_reader_can_be_timed_known_bad_46() {
    let queue = tight(1000, 32);
    while queue.try_put(vec![1; 20]).is_ok() {}
    assert!(!queue.is_full(), "by bytes, not by items");
    assert!(matches!(queue.try_put(vec![2; 20]), Err(PutError::Full(item)) if item == [2; 20]));
    assert!(
        matches!(queue.put_timeout(vec![2; 20], SHORT), Err(PutError::TimedOut(item)) if item == [2; 20])
    );
}

#[test]
fn batches_of_any_size_go_through_in_order() {
    for (max_items, bytes) in [(1, 8), (3, 100), (64, 1000), (1000, 40)] {
        let queue = queue::<Vec<u8>>(max_items);
        let items = || (0..500).map(|n| content(1 + n * 7 % bytes, n));
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(queue.put_many(items()).unwrap(), 500));
            let mut got = Vec::new();
            while got.len() < 500 {
                let max = 1 + got.len() % 70;
                let some = queue.get_many(&mut got, max).unwrap();
                assert!((1..=max).contains(&some));
            }
            assert!(got.iter().eq(items().collect::<Vec<_>>().iter()));
        });
        assert!(queue.is_empty());
    }
    assert_eq!(queue::<u8>(1).get_many(&mut Vec::new(), 0), Ok(0));
    assert_eq!(queue::<u8>(1).put_many([]).unwrap(), 0);
}

#[test]
fn a_batch_that_is_cut_short_loses_no_item() {
    let queue = QueueOptions::new(100).max_message(32).queue::<Vec<u8>>().unwrap();
    let too_long = queue.max_message() + 1;
    let mut items = (0..200).map(|n| if n == 70 { vec![0; too_long] } else { vec![n as u8] });
    let error = queue.put_many(items.by_ref()).unwrap_err();
    assert!(matches!(&error.error, PutError::TooLarge(item) if item.len() == too_long), "{error}");
    assert_eq!((error.put, error.rest.len(), items.next()), (70, 0, Some(vec![71])));
    assert_eq!(queue.len(), 70);
    let mut got = Vec::new();
    assert_eq!(queue.get_many(&mut got, 1000), Ok(70));
    assert!(got.iter().enumerate().all(|(n, item)| item == &[n as u8]));
    queue.shutdown();
    let error = queue.put_many((0..3).map(|n| vec![n])).unwrap_err();
    assert!(matches!(error.error, PutError::Shutdown(ref item) if item == &[0]), "{error}");
    assert_eq!((error.put, error.rest), (0, vec![vec![1], vec![2]]));
    assert_eq!(queue.get_many(&mut got, 10), Err(GetError::Shutdown));
}

#[test]
fn batches_of_a_joinable_queue_count_as_gets() {
    let jobs = multiproc::JoinableQueue::bounded(10).unwrap();
    jobs.put_many(0..5).unwrap();
    let mut got = Vec::new();
    assert_eq!(jobs.get_many(&mut got, 3), Ok(3));
    assert_eq!((got, jobs.unfinished()), (vec![0, 1, 2], Ok(5)));
    (0..3).for_each(|_| jobs.task_done().unwrap());
    assert_eq!(jobs.unfinished(), Ok(2));
}
