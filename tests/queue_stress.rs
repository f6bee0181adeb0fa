//! Four producers and three consumers, each a process: every item arrives once and in its producer's order, also while one
//! after the other of them is killed at random and started again.
//!
//! Three seconds of kills for each kind of queue, or as many as the environment variable `STRESS_SECONDS` says.
#![cfg(feature = "process")]

mod random;
mod worker;

use std::time::{Duration, Instant};

use multiproc::{Event, GetError, PlainQueue, PutError, Queue, RawArray};
use random::{Random, stress_time};
use serde::{Deserialize, Serialize};
use worker::Worker;

const PRODUCERS: usize = 4;
const CONSUMERS: usize = 3;
/// Numbers that a producer has: more than it puts in a minute.
const NUMBERS: u64 = 1 << 27;

/// How a consumer gets an item.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    /// It notes the item where it lies: killed after that, the item may come again, to a consumer of either way.
    InPlace,
    /// It notes what it got: killed before that, the item went with it.
    Get,
}

const WAYS: [Way; CONSUMERS] = [Way::InPlace, Way::Get, Way::InPlace];

#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    queue: PlainQueue<u64>,
    stop: Event,
    /// How many items a producer may put.
    numbers: u64,
    /// Of each producer: all items before this number are put.
    put: RawArray<u64>,
    /// A bit for each number of each producer: it was noted where it lay.
    seen: RawArray<u64>,
    /// The same: it was noted by who had got it.
    got: RawArray<u64>,
    /// How often an item came that had been noted where it lay.
    again: RawArray<u64>,
}

impl Shared {
    fn new(queue: PlainQueue<u64>, numbers: u64) -> Self {
        let words = PRODUCERS * usize::try_from(numbers.div_ceil(64)).unwrap();
        Self {
            queue,
            stop: Event::new().unwrap(),
            numbers,
            put: RawArray::zeroed(PRODUCERS).unwrap(),
            seen: RawArray::zeroed(words).unwrap(),
            got: RawArray::zeroed(words).unwrap(),
            again: RawArray::zeroed(1).unwrap(),
        }
    }

    /// Where the bit of an item is.
    fn bit(&self, producer: usize, number: u64) -> (usize, u64) {
        let words = self.got.len() / PRODUCERS;
        (producer * words + usize::try_from(number / 64).unwrap(), 1 << (number % 64))
    }

    /// Notes an item. Nobody has got it before; who was killed while it lay before him may have noted that.
    fn note(&self, way: Way, producer: usize, number: u64) {
        let (word, bit) = self.bit(producer, number);
        assert!(self.got.load(word).unwrap() & bit == 0, "{number} of {producer} comes again");
        let before = match way {
            Way::InPlace => self.seen.fetch_or(word, bit).unwrap(),
            Way::Get => {
                self.got.fetch_or(word, bit).unwrap();
                self.seen.load(word).unwrap()
            }
        };
        if before & bit != 0 {
            self.again.fetch_add(0, 1).unwrap();
        }
    }

    fn is_noted(&self, producer: usize, number: u64) -> bool {
        let (word, bit) = self.bit(producer, number);
        (self.seen.load(word).unwrap() | self.got.load(word).unwrap()) & bit != 0
    }
}

/// An item says whose it is, and the how manieth.
fn item(producer: usize, number: u64) -> u64 {
    (producer as u64) << 32 | number
}

/// Puts all items from a number on, and notes how far it is.
fn produce((shared, producer, first): (Shared, usize, u64)) {
    for number in first..shared.numbers {
        // No longer than the bits last, and no faster than they come where there is no bound.
        while shared.queue.capacity() == usize::MAX && number % 64 == 0 && shared.queue.len() > 20_000 {
            std::thread::yield_now();
        }
        match shared.queue.put(item(producer, number)) {
            Ok(()) => shared.put.store(producer, number + 1).unwrap(),
            Err(PutError::Shutdown(_)) => return,
            Err(error) => panic!("{error}"),
        }
        if shared.stop.is_set() {
            return;
        }
    }
}

/// Gets and notes items until the end. Those of one producer come in their order.
fn consume((shared, way): (Shared, Way)) {
    let mut next = [0; PRODUCERS];
    let mut check = |item: u64| {
        let (producer, number) = (usize::try_from(item >> 32).unwrap(), item & u64::from(u32::MAX));
        assert!(number >= next[producer], "{number} of {producer} after {}", next[producer]);
        next[producer] = number + 1;
        (producer, number)
    };
    loop {
        let done = match way {
            Way::InPlace => shared.queue.get_with(|bytes| {
                let (producer, number) = check(u64::from_ne_bytes(bytes.try_into().unwrap()));
                shared.note(way, producer, number);
            }),
            Way::Get => shared.queue.get().map(|item| {
                let (producer, number) = check(item);
                shared.note(way, producer, number);
            }),
        };
        match done {
            Ok(()) => {}
            Err(GetError::Shutdown) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Those who put and those who get, and what was killed.
struct Crowd {
    shared: Shared,
    producers: Vec<Worker<()>>,
    consumers: Vec<Worker<()>>,
    /// Numbers whose producer was killed: put or not.
    uncertain: Vec<(usize, u64)>,
    /// Kills of consumers, of each way.
    kills: [u64; 2],
}

impl Crowd {
    fn start(shared: Shared) -> Self {
        let producers = (0..PRODUCERS).map(|n| Worker::spawn(produce, (shared.clone(), n, 0))).collect();
        let consumers = WAYS.map(|way| Worker::spawn(consume, (shared.clone(), way))).into();
        Self { shared, producers, consumers, uncertain: Vec::new(), kills: [0; 2] }
    }

    fn kill_producer(&mut self, producer: usize) {
        self.producers.remove(producer).kill();
        let put = self.shared.put.load(producer).unwrap();
        self.uncertain.push((producer, put));
        let first = (put + 1).min(self.shared.numbers);
        self.producers.insert(producer, Worker::spawn(produce, (self.shared.clone(), producer, first)));
    }

    fn kill_consumer(&mut self, consumer: usize) {
        self.consumers.remove(consumer).kill();
        self.kills[usize::from(WAYS[consumer] == Way::Get)] += 1;
        let again = Worker::spawn(consume, (self.shared.clone(), WAYS[consumer]));
        self.consumers.insert(consumer, again);
    }

    /// Lets all end, and counts: nothing is missing or came twice but for what a killed consumer had in its hands.
    fn end(self) -> (u64, u64, u64) {
        let shared = &self.shared;
        self.producers.into_iter().for_each(Worker::join);
        shared.queue.shutdown();
        self.consumers.into_iter().for_each(Worker::join);
        assert!(shared.queue.is_empty());
        let (mut put, mut missing) = (0, 0);
        for producer in 0..PRODUCERS {
            let end = shared.put.load(producer).unwrap();
            put += end;
            for number in (0..end).filter(|&number| !shared.is_noted(producer, number)) {
                missing += u64::from(!self.uncertain.contains(&(producer, number)));
            }
            // What was never put did not come either; the last of a killed producer may have.
            let late = (end..(end + 64).min(shared.numbers)).filter(|&late| shared.is_noted(producer, late));
            assert!(late.into_iter().all(|late| self.uncertain.contains(&(producer, late))));
        }
        let again = shared.again.load(0).unwrap();
        let [in_place, got] = self.kills;
        assert!(missing <= got, "{missing} of {put} items are missing, {got} consumers were killed in a get");
        assert!(
            again <= in_place,
            "{again} items came again, {in_place} consumers were killed that read in place"
        );
        (put, missing, again)
    }
}

/// Nobody is killed: exact.
fn all_arrive(queue: PlainQueue<u64>, numbers: u64) {
    let begun = Instant::now();
    let (put, missing, again) = Crowd::start(Shared::new(queue, numbers)).end();
    println!("{put} items in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!((put, missing, again), (numbers * PRODUCERS as u64, 0, 0));
}

#[test]
fn each_item_of_four_producers_arrives_once_and_in_order() {
    all_arrive(Queue::plain(1024).unwrap(), 50_000);
    all_arrive(Queue::plain_unbounded().unwrap(), 50_000);
}

#[test]
#[ignore = "a million items of each producer"]
fn each_of_a_million_items_of_four_producers_arrives_once_and_in_order() {
    all_arrive(Queue::plain(1024).unwrap(), 1_000_000);
    all_arrive(Queue::plain_unbounded().unwrap(), 1_000_000);
}

/// Kills one after the other, of both sides.
fn random_kills(queue: PlainQueue<u64>) {
    let time = stress_time(Duration::from_secs(3));
    let mut crowd = Crowd::start(Shared::new(queue, NUMBERS));
    let mut random = Random::new(u64::from(std::process::id()));
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        match random.index(PRODUCERS + CONSUMERS) {
            producer if producer < PRODUCERS => crowd.kill_producer(producer),
            consumer => crowd.kill_consumer(consumer - PRODUCERS),
        }
    }
    crowd.shared.stop.set();
    let (producers, [in_place, got]) = (crowd.uncertain.len(), crowd.kills);
    let (put, missing, again) = crowd.end();
    println!(
        "{put} items; {producers} producers killed, {got} consumers in a get took {missing} items with them, \
         {in_place} that read in place left {again} that they had noted"
    );
    assert!(producers > 2 && in_place + got > 2);
}

#[test]
fn random_kills_of_both_sides_of_a_ring_lose_nothing() {
    random_kills(Queue::plain(256).unwrap());
}

#[test]
fn random_kills_of_both_sides_of_a_queue_that_grows_lose_nothing() {
    random_kills(Queue::plain_unbounded().unwrap());
}
