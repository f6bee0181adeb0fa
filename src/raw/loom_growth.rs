//! Loom models of a ring that grows: wherever a thread dies, in a link or a step too, nothing is lost, nobody sleeps for
//! ever, and no chunk keeps its memory.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use loom::thread::{self, JoinHandle};

use super::{Chunk, Growth, RawRing, Ring, RingError, RingShape, Wait, read};
use crate::sys::atomic::AtomicU64;
use crate::sys::model::atomic::{punch, reserve};
use crate::sys::model::{
    Life, Outcome, Sabotage, every_death, every_death_with, every_death_with_two_preemptions, in_full,
};

/// Places of chunks; each has room for one item and the mark.
const PLACES: usize = 5;
const UNIT: usize = 6;

struct Shared {
    ring: RawRing,
    home: Vec<AtomicU64>,
    file: Vec<AtomicU64>,
    /// Which places have memory: a bit each. Invisible to loom.
    reserved: AtomicU32,
}

impl Growth for Shared {
    fn words(&self, chunk: Chunk) -> Result<&[AtomicU64], RingError> {
        if chunk.is_home() {
            return Ok(&self.home);
        }
        let start = place(chunk) * UNIT;
        self.file.get(start..start + chunk.words()).ok_or(RingError::Corrupt)
    }

    fn reserve(&self, chunk: Chunk) -> Result<(), RingError> {
        let words = self.words(chunk).map_err(|_| RingError::OutOfMemory)?;
        reserve(words);
        if !std::thread::panicking() {
            self.reserved.fetch_or(1 << place(chunk), Ordering::Relaxed);
        }
        Ok(())
    }

    fn release(&self, chunk: Chunk) {
        if let Ok(words) = self.words(chunk) {
            punch(words);
            if !std::thread::panicking() {
                self.reserved.fetch_and(!(1 << place(chunk)), Ordering::Relaxed);
            }
        }
    }

    /// Nobody who is late gives a place memory again here.
    fn release_through(&self, chunk: Chunk) {
        self.release(chunk);
    }
}

fn place(chunk: Chunk) -> usize {
    usize::try_from(chunk.offset()).unwrap() / (UNIT * 8)
}

/// The home ring holds one item, and the mark.
fn shape() -> RingShape {
    RingShape::fixed(2, 8).unwrap()
}

impl Shared {
    /// With these items in it.
    fn with(max_items: u64, items: &[u64]) -> Arc<Self> {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        let home = zeros(shape().words());
        let reserved = AtomicU32::new(0);
        let shared =
            Arc::new(Self { ring: RawRing::new(max_items), home, file: zeros(PLACES * UNIT), reserved });
        let _ = Life::long(9).run(|| items.iter().for_each(|&item| shared.put(item).unwrap()));
        shared
    }

    fn at<R>(
        &self,
        end: fn(&RawRing) -> Chunk,
        mut operation: impl FnMut(Ring<'_>) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        loop {
            let ring = self.ring.growing(shape(), end(&self.ring), self);
            match ring.and_then(&mut operation) {
                Err(RingError::Moved) => {}
                done => return done,
            }
        }
    }

    fn put(&self, item: u64) -> Result<(), RingError> {
        // SAFETY: the models keep the ring until all threads have ended.
        self.at(RawRing::tail_chunk, |ring| unsafe { ring.put(&item.to_le_bytes(), None) })
    }

    fn get(&self) -> Result<u64, RingError> {
        self.get_waiting(Wait::Until(None))
    }

    fn get_waiting(&self, wait: Wait) -> Result<u64, RingError> {
        let mut bytes = Vec::new();
        let mut fill = |words: &[AtomicU64], length| read(words, length, &mut bytes);
        // SAFETY: as for `put`.
        self.at(RawRing::head_chunk, |ring| unsafe { ring.get_with(wait, &mut fill) })?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn len(&self) -> u64 {
        self.at(RawRing::tail_chunk, |ring| ring.len()).unwrap()
    }

    fn close(&self) {
        // SAFETY: as for `put`.
        self.at(RawRing::tail_chunk, |ring| unsafe { ring.close(None) }).unwrap();
    }

    /// What is left when all threads have ended; the counts agree. No chunk has memory then, or one that the next put and
    /// get repair.
    fn drain(&self) -> Vec<u64> {
        let counted = self.len();
        let rest: Vec<u64> = std::iter::from_fn(|| self.get_waiting(Wait::Never).ok()).collect();
        assert_eq!((counted, self.len()), (rest.len() as u64, 0));
        self.put(999).unwrap();
        assert_eq!((self.len(), self.get_waiting(Wait::Never)), (1, Ok(999)));
        let reserved = self.reserved.load(Ordering::Relaxed);
        assert_eq!(reserved, 0, "places with memory: {reserved:b}");
        rest
    }
}

fn spawn<R: 'static>(
    shared: &Arc<Shared>,
    life: Life,
    body: impl FnOnce(&Shared) -> R + 'static,
) -> JoinHandle<Outcome<R>> {
    let shared = shared.clone();
    thread::spawn(move || life.run(|| body(&shared)))
}

fn mortal(tid: u32, step: usize) -> Life {
    Life { tid, dies_after: Some(step) }
}

fn drain(shared: &Arc<Shared>) -> Vec<u64> {
    let Outcome::Lived(rest) = Life::long(8).run(|| shared.drain()) else { panic!() };
    rest
}

/// What came is what was there, then what was put in any order; of the mortal producer's item, it or nothing.
fn check_puts(all: &[u64], before: &[u64], died: bool) {
    let (first, mut put) = (&all[..before.len()], all[before.len()..].to_vec());
    put.sort_unstable();
    assert_eq!(first, before);
    assert!(put == [100, 200] || (died && put == [200]), "got {all:?}");
}

#[test]
fn a_producer_killed_in_the_first_link_leaves_its_item_whole_or_nothing() {
    producers_link(&[1]);
}

#[test]
fn a_producer_killed_in_the_second_link_leaves_its_item_whole_or_nothing() {
    producers_link(&[1, 2]);
}

/// A mortal and a lasting producer put an item each where there is no room.
fn producers_link(before: &'static [u64]) {
    every_death(move |step| {
        let shared = Shared::with(u64::MAX, before);
        let died = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        assert_eq!(Life::long(2).run(|| shared.put(200)), Outcome::Lived(Ok(())));
        let died = died.join().unwrap() == Outcome::Died;
        check_puts(&drain(&shared), before, died);
    });
}

/// A consumer waits at the mark of a full chunk, or goes home, while a mortal producer links the next one for its item.
fn a_link_wakes_the_consumer(step: usize) {
    let shared = Shared::with(u64::MAX, &[1, 2]);
    let _ = Life::long(9).run(|| {
        let lease = shared.ring.producers_lease();
        // SAFETY: as for `put`.
        let _ = unsafe { lease.lock(None) }.unwrap();
        // A producer is at work: nobody goes home. The chunk is full and drained.
        assert_eq!((shared.get(), shared.get()), (Ok(1), Ok(2)));
        lease.unlock().unwrap();
    });
    let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
    let died = mortal(1, step).run(|| shared.put(100)) == Outcome::Died;
    // Uncommitted, the item is put by somebody else.
    let puts = Life::long(3).run(|| {
        let puts = shared.at(RawRing::tail_chunk, |ring| ring.puts());
        if died && puts == Ok(2) {
            shared.put(100).unwrap();
        }
        puts
    });
    assert_eq!(consumer.join().unwrap(), Outcome::Lived(Ok(100)));
    assert_eq!(drain(&shared), [], "step {step}, {puts:?} puts seen");
}

#[test]
fn full_a_link_wakes_the_consumer_though_its_producer_is_killed() {
    if in_full() {
        every_death_with_two_preemptions(a_link_wakes_the_consumer);
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_the_link_is_slept_through() {
    every_death_with(Sabotage::NoWake, a_link_wakes_the_consumer);
}

/// A mortal consumer steps over chunks while a producer links another one.
fn a_step_beside_a_link(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::with(u64::MAX, &[1, 2]);
        let got = spawn(&shared, mortal(1, step), |shared| [(); 2].map(|()| shared.get().unwrap()));
        assert_eq!(Life::long(2).run(|| shared.put(100)), Outcome::Lived(Ok(())));
        let got = got.join().unwrap();
        let rest = drain(&shared);
        match got {
            Outcome::Lived(got) => assert_eq!((got, rest.as_slice()), ([1, 2], [100].as_slice())),
            Outcome::Died => assert!([1, 2, 100].ends_with(&rest) && rest.ends_with(&[100]), "{rest:?}"),
        }
    });
}

#[test]
fn a_consumer_killed_in_a_step_leaves_all_but_what_it_got() {
    a_step_beside_a_link(Sabotage::None);
}

#[test]
#[should_panic(expected = "assertion")]
fn twin_without_release_a_chunk_is_entered_unfinished() {
    every_death_with(Sabotage::NoRelease, a_link_wakes_the_consumer);
}

/// Two consumers step over the same chunks, of whom one dies.
#[test]
fn one_consumer_finishes_the_step_of_another() {
    every_death(|step| {
        let shared = Shared::with(u64::MAX, &[1, 2, 3]);
        let got = spawn(&shared, mortal(1, step), |shared| [(); 2].map(|()| shared.get().unwrap()));
        let Outcome::Lived(own) = Life::long(2).run(|| shared.get().unwrap()) else { panic!() };
        let got = got.join().unwrap();
        let mut rest = drain(&shared);
        rest.push(own);
        rest.sort_unstable();
        match got {
            Outcome::Lived(got) => {
                rest.extend(got);
                rest.sort_unstable();
                assert_eq!(rest, [1, 2, 3]);
            }
            Outcome::Died => {
                assert!(rest.contains(&own) && rest.windows(2).all(|pair| pair[0] < pair[1]), "{rest:?}");
            }
        }
    });
}

/// A producer that may not have more than three items at a time waits for one in the oldest chunk.
fn a_blocked_producer_goes_on(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::with(3, &[1, 2, 3]);
        let producer = spawn(&shared, Life::long(1), |shared| shared.put(100));
        let got = mortal(2, step).run(|| shared.get());
        // Room that was made, the producer finds with nobody's help.
        let left = Life::long(3).run(|| {
            let is_left = shared.at(RawRing::head_chunk, |ring| ring.gets()) == Ok(0);
            is_left.then(|| shared.get().unwrap())
        });
        assert_eq!(producer.join().unwrap(), Outcome::Lived(Ok(())));
        assert_eq!(drain(&shared), [2, 3, 100]);
        match (got, left) {
            (Outcome::Lived(Ok(1)), Outcome::Lived(None))
            | (Outcome::Died, Outcome::Lived(None | Some(1))) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_producer_waits_for_room_in_another_chunk() {
    a_blocked_producer_goes_on(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_room_in_another_chunk_is_slept_through() {
    a_blocked_producer_goes_on(Sabotage::NoWake);
}

#[test]
fn a_close_beside_a_link_loses_nothing() {
    every_death(|step| {
        let shared = Shared::with(u64::MAX, &[1]);
        let put = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        let _ = Life::long(2).run(|| shared.close());
        let put = put.join().unwrap();
        let got = Life::long(3).run(|| {
            std::iter::from_fn(|| match shared.get() {
                Ok(item) => Some(item),
                Err(error) => {
                    assert_eq!(error, RingError::Closed);
                    None
                }
            })
            .collect::<Vec<_>>()
        });
        let Outcome::Lived(got) = got else { panic!() };
        match put {
            Outcome::Lived(Ok(())) => assert_eq!(got, [1, 100]),
            Outcome::Lived(Err(error)) => assert_eq!((error, got), (RingError::Closed, vec![1])),
            Outcome::Died => assert!(got == [1] || got == [1, 100]),
        }
    });
}

/// Whoever counts meanwhile is never off by more than what moves.
#[test]
fn a_count_during_a_step_and_a_link_is_one_of_the_true_ones() {
    every_death(|step| {
        let shared = Shared::with(u64::MAX, &[1, 2]);
        let got = spawn(&shared, mortal(1, step), |shared| {
            shared.get().unwrap();
            shared.get().unwrap();
            shared.put(100).unwrap();
        });
        let Outcome::Lived(len) = Life::long(2).run(|| shared.len()) else { panic!() };
        assert!(len <= 2, "{len}");
        let _ = got.join().unwrap();
        drain(&shared);
    });
}
