//! Eight processes of four threads use everything at once while one after the other is killed at random: counts come out
//! exact.
//!
//! Three seconds, or as many as the environment variable `STRESS_SECONDS` says.
#![cfg(feature = "process")]

mod random;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use multiproc::{
    Array, Barrier, BoundedSemaphore, Condition, Event, GetError, Lock, Permits, Process, ProcessError,
    Queue, RLock, Semaphore, Value,
};
use random::{Random, stress_time};
use serde::{Deserialize, Serialize};
use worker::SOON;

const PROCESSES: usize = 8;
const THREADS: usize = 4;
const SLOTS: usize = PROCESSES * THREADS;
/// What excludes others: a lock, a nesting one, a condition's, a single permit, an array's.
const LOCKS: usize = 5;
const ADMITTED: u32 = 3;
const MOMENT: Duration = Duration::from_millis(2);

/// What a lock protects: each slot's count is read, and written back a little later.
type Counts = [u64; SLOTS];
/// What a process knows that it has counted: one count per thread and lock.
type Known = [[u64; LOCKS]; THREADS];

#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    stop: Event,
    counts: Vec<Value<Counts>>,
    known: Vec<Value<Known>>,
    lock: Lock,
    rlock: RLock,
    condition: Condition,
    permit: Permits,
    array: Array<u64>,
    permits: Permits,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    barrier: Barrier,
    queue: Queue<Message>,
}

/// Of a thread: its slot, how many processes its slot had before, and how many messages it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    slot: usize,
    life: u32,
    number: u64,
}

impl Shared {
    fn new() -> multiproc::Result<Self> {
        Ok(Self {
            stop: Event::new()?,
            counts: (0..LOCKS).map(|_| Value::new([0; SLOTS])).collect::<Result<_, _>>()?,
            known: (0..PROCESSES).map(|_| Value::new([[0; LOCKS]; THREADS])).collect::<Result<_, _>>()?,
            lock: Lock::new()?,
            rlock: RLock::new()?,
            condition: Condition::new()?,
            permit: Permits::new(1)?,
            array: Array::zeroed(1)?,
            permits: Permits::new(ADMITTED as usize)?,
            semaphore: Semaphore::new(ADMITTED)?,
            bounded: BoundedSemaphore::new(ADMITTED)?,
            event: Event::new()?,
            barrier: Barrier::new(3)?,
            queue: Queue::bounded(64)?,
        })
    }
}

/// One thread of one process.
struct Worker {
    shared: Shared,
    process: usize,
    thread: usize,
    life: u32,
    sent: u64,
    random: Random,
}

impl Worker {
    fn slot(&self) -> usize {
        self.process * THREADS + self.thread
    }

    /// Runs `section` while nobody else runs one with the same lock.
    fn exclusively<R>(&self, which: usize, section: impl FnOnce() -> R) -> R {
        let shared = &self.shared;
        match which {
            0 => {
                let _guard = shared.lock.lock_or_recover(|_| ()).unwrap();
                section()
            }
            1 => {
                let _outer = shared.rlock.lock_or_recover(|_| ()).unwrap();
                let _inner = shared.rlock.lock().unwrap();
                section()
            }
            2 => {
                let _guard = shared.condition.lock_or_recover(|_| ()).unwrap();
                section()
            }
            3 => {
                let _permit = shared.permit.acquire().unwrap();
                section()
            }
            _ => {
                let _guard = shared.array.lock_or_recover(|_| ()).unwrap();
                section()
            }
        }
    }

    /// Counts one, in two steps that others must not come between.
    fn count(&self, which: usize) {
        let (slot, counts) = (self.slot(), &self.shared.counts[which]);
        self.exclusively(which, || {
            let mut seen = counts.get();
            seen[slot] += 1;
            counts.set(seen).unwrap();
        });
        let count = |known: &mut Known| known[self.thread][which] += 1;
        self.shared.known[self.process].update(count).unwrap();
    }

    /// Learns what the thread that was killed in this slot has counted last: nothing is missing, and one may be unknown.
    fn inherit(&self) {
        for which in 0..LOCKS {
            let counted = self.exclusively(which, || self.shared.counts[which].get()[self.slot()]);
            let inherit = |known: &mut Known| {
                let known = &mut known[self.thread][which];
                assert!(
                    counted == *known || counted == *known + 1,
                    "{which}: {counted} counted, {known} known"
                );
                *known = counted;
            };
            self.shared.known[self.process].update(inherit).unwrap();
        }
    }

    fn send(&mut self) {
        let message = Message { slot: self.slot(), life: self.life, number: self.sent };
        self.shared.queue.put(message).unwrap();
        self.sent += 1;
    }

    fn operate(&mut self) {
        let which = self.random.index(16);
        let shared = &self.shared;
        match which {
            0..=8 => self.count(which % LOCKS),
            9 => drop(shared.permits.acquire_timeout(MOMENT)),
            10 => {
                if shared.semaphore.acquire_timeout(MOMENT) {
                    shared.semaphore.release();
                }
            }
            11 => {
                if shared.bounded.acquire_timeout(MOMENT) {
                    shared.bounded.release().unwrap();
                }
            }
            12 => {
                let _ = shared.event.wait_timeout(MOMENT);
                shared.event.set();
                shared.event.clear();
            }
            13 => {
                let guard = shared.condition.lock_or_recover(|_| ()).unwrap();
                drop(guard.wait_timeout(MOMENT));
            }
            14 => {
                let guard = shared.condition.lock_or_recover(|_| ()).unwrap();
                let woken = guard.notify(2);
                assert!(woken <= 2, "{woken}");
                drop(guard);
                if shared.barrier.wait_timeout(MOMENT).is_err() {
                    let _ = shared.barrier.reset();
                }
            }
            _ => self.send(),
        }
    }

    fn run(mut self) -> u64 {
        self.inherit();
        while !self.shared.stop.is_set() {
            self.operate();
        }
        self.sent
    }
}

/// What a process does; says how many messages its threads have sent.
fn work((shared, process, life): (Shared, usize, u32)) -> Vec<u64> {
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let seed = ((u64::from(life) * 64 + process as u64) * 64) + thread as u64;
            let shared = shared.clone();
            let worker = Worker { shared, process, thread, life, sent: 0, random: Random::new(seed) };
            std::thread::spawn(move || worker.run())
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Gets messages until the queue is shut down: of each thread the first ones, in their order, each once.
fn receive(queue: &Queue<Message>) -> BTreeMap<(usize, u32), u64> {
    let mut received = BTreeMap::new();
    loop {
        match queue.get() {
            Ok(Message { slot, life, number }) => {
                let expected = received.entry((slot, life)).or_default();
                assert_eq!(number, *expected, "slot {slot}, life {life}");
                *expected += 1;
            }
            Err(GetError::Shutdown) => return received,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn counts_are_exact_whoever_is_killed() {
    let time = stress_time(Duration::from_secs(3));
    let shared = Shared::new().unwrap();
    let spawn = |process, life| Process::spawn(work, (shared.clone(), process, life)).unwrap();
    let mut processes: Vec<_> = (0..PROCESSES).map(|process| (spawn(process, 0), 0)).collect();
    let mut random = Random::new(time.as_secs());
    let mut kills = 0;

    let received = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&shared.queue));
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::thread::sleep(Duration::from_millis(20 + random.index(60) as u64));
            let process = random.index(PROCESSES);
            let (victim, life) = &mut processes[process];
            victim.kill().unwrap();
            let ended = victim.join();
            // A process that failed by itself says why.
            assert!(matches!(ended, Err(ProcessError::Signaled(_))), "{ended:?}");
            *life += 1;
            *victim = spawn(process, *life);
            kills += 1;
        }
        shared.stop.set();
        let mut sent = BTreeMap::new();
        for (process, (handle, life)) in processes.iter_mut().enumerate() {
            for (thread, count) in handle.join_timeout(SOON).unwrap().into_iter().enumerate() {
                sent.insert((process * THREADS + thread, *life), count);
            }
        }
        shared.queue.shutdown();
        let received = receiver.join().unwrap();
        for (key, count) in sent {
            assert_eq!(received.get(&key).copied().unwrap_or(0), count, "slot and life {key:?}");
        }
        received
    });

    let mut sections = [0; LOCKS];
    for (which, total) in sections.iter_mut().enumerate() {
        let counted = shared.counts[which].get();
        for (slot, counted) in counted.iter().enumerate() {
            let known = shared.known[slot / THREADS].get()[slot % THREADS][which];
            assert_eq!(*counted, known, "lock {which}, slot {slot}");
        }
        *total = counted.iter().sum();
        assert!(*total > 0, "lock {which}");
    }
    assert_eq!(shared.permits.available(), ADMITTED as usize);
    assert_eq!(shared.permit.available(), 1);
    for value in [shared.semaphore.value(), shared.bounded.value()] {
        assert!(value <= ADMITTED, "{value}");
    }
    let messages: u64 = received.values().sum();
    println!("{kills} kills; {sections:?} sections of the {LOCKS} locks; {messages} messages");
}
