//! Loom models of [`RawRing`]: the survivors go on and nothing committed is lost, wherever one of them dies.
#![allow(unsafe_code, clippy::unwrap_used, clippy::as_conversions, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use super::{RawRing, RingError};
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

/// A ring of 8 words and their 2 states: an item of 8 bytes takes 4 with its header, so every other one wraps around.
struct Shared {
    ring: RawRing,
    words: Vec<AtomicU64>,
}

impl Shared {
    /// For `max_items`, after `passed` items have gone through.
    fn new(max_items: u64, passed: u64) -> Arc<Self> {
        let words = (0..10).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Self { ring: RawRing::new(max_items), words });
        let _ = Life::long(9).run(|| {
            for item in 0..passed {
                shared.put(item).unwrap();
                assert_eq!(shared.get(), Ok(item));
            }
        });
        shared
    }

    fn put(&self, item: u64) -> Result<(), RingError> {
        let ring = self.ring.with_words(&self.words).unwrap();
        // SAFETY: the models keep the ring until all threads have ended.
        unsafe { ring.put(&item.to_le_bytes(), None) }
    }

    fn get(&self) -> Result<u64, RingError> {
        self.get_by(|bytes| {
            let ring = self.ring.with_words(&self.words).unwrap();
            // SAFETY: as for `put`.
            unsafe { ring.get(bytes, None) }
        })
    }

    fn close(&self) -> Result<(), RingError> {
        let ring = self.ring.with_words(&self.words).unwrap();
        // SAFETY: as for `put`.
        unsafe { ring.close(None) }
    }

    fn try_get(&self) -> Result<u64, RingError> {
        self.get_by(|bytes| {
            let ring = self.ring.with_words(&self.words).unwrap();
            // SAFETY: as for `put`.
            unsafe { ring.try_get(bytes) }
        })
    }

    fn get_by(&self, get: impl FnOnce(&mut Vec<u8>) -> Result<(), RingError>) -> Result<u64, RingError> {
        let mut bytes = Vec::new();
        get(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
    }

    /// What is left when all threads have ended; the counts agree before and after.
    fn drain(&self) -> Vec<u64> {
        let ring = self.ring.with_words(&self.words).unwrap();
        let counted = ring.len().unwrap();
        let rest: Vec<u64> = std::iter::from_fn(|| self.try_get().ok()).collect();
        assert_eq!(counted, rest.len() as u64);
        assert_eq!(ring.len(), Ok(0));
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

/// A mortal and a lasting producer put an item each, a consumer gets one.
fn a_consumer_gets_what_was_put(sabotage: Sabotage, passed: u64) {
    every_death_with(sabotage, move |step| {
        let shared = Shared::new(2, passed);
        let died = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        let lived = spawn(&shared, Life::long(2), |shared| shared.put(200));
        let got = Life::long(3).run(|| shared.get());
        let died = died.join().unwrap() == Outcome::Died;
        assert_eq!(lived.join().unwrap(), Outcome::Lived(Ok(())));
        let Outcome::Lived(Ok(got)) = got else { panic!("{got:?}") };
        let Outcome::Lived(mut all) = Life::long(4).run(|| shared.drain()) else { panic!() };
        all.push(got);
        all.sort_unstable();
        assert!(all == [100, 200] || (died && all == [200]), "{all:?}");
    });
}

#[test]
fn a_killed_producer_leaves_its_item_whole_or_nothing() {
    a_consumer_gets_what_was_put(Sabotage::None, 0);
}

#[test]
fn a_producer_killed_at_the_wrap_leaves_its_item_whole_or_nothing() {
    a_consumer_gets_what_was_put(Sabotage::None, 1);
}

#[test]
#[should_panic]
fn twin_commit_without_release_is_read_early() {
    a_consumer_gets_what_was_put(Sabotage::NoRelease, 0);
}

/// A mortal producer puts the only item; if it was committed, a sleeping consumer is woken for it with nobody's help.
fn a_lone_item_wakes_the_consumer(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(2, 0);
        let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = mortal(1, step).run(|| shared.put(100));
        // Uncommitted, the item is put by somebody else; committed, nobody else comes.
        let _ = Life::long(3).run(|| {
            let ring = shared.ring.with_words(&shared.words).unwrap();
            if ring.puts() == Ok(0) {
                shared.put(100).unwrap();
            }
        });
        assert_eq!(consumer.join().unwrap(), Outcome::Lived(Ok(100)));
    });
}

#[test]
fn a_committed_item_wakes_the_consumer_though_its_producer_is_killed() {
    a_lone_item_wakes_the_consumer(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_wake_the_item_of_a_killed_producer_sleeps() {
    a_lone_item_wakes_the_consumer(Sabotage::NoPendingWake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_the_consumer_sleeps() {
    a_lone_item_wakes_the_consumer(Sabotage::NoWake);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_fences_the_consumer_sleeps() {
    a_lone_item_wakes_the_consumer(Sabotage::NoFence);
}

/// Two producers' worth of items through a ring of one: the second put waits for a get. One of two consumers dies.
fn a_blocked_producer_goes_on(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(1, 1);
        let producer = spawn(&shared, Life::long(1), |shared| {
            shared.put(100).unwrap();
            shared.put(200).unwrap();
        });
        let died = mortal(2, step).run(|| shared.get()) == Outcome::Died;
        // The survivor gets the item that the mortal one left, or the second: there is one in either case.
        let Outcome::Lived(Ok(got)) = Life::long(3).run(|| shared.get()) else { panic!() };
        assert_eq!(producer.join().unwrap(), Outcome::Lived(()));
        let Outcome::Lived(rest) = Life::long(4).run(|| shared.drain()) else { panic!() };
        match (got, rest.as_slice()) {
            (100, [200]) => assert!(died),
            (200, []) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_killed_consumer_leaves_its_item_or_its_room() {
    a_blocked_producer_goes_on(Sabotage::None);
}

#[test]
#[should_panic]
fn twin_without_the_wake_the_producer_sleeps() {
    a_blocked_producer_goes_on(Sabotage::NoWake);
}

#[test]
fn the_waiting_room_passes_on_when_its_holder_is_killed() {
    every_death(|step| {
        let shared = Shared::new(2, 0);
        let died = spawn(&shared, mortal(1, step), |shared| shared.get());
        let lived = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = Life::long(3).run(|| {
            shared.put(100).unwrap();
            shared.put(200).unwrap();
        });
        let died = died.join().unwrap();
        let Outcome::Lived(Ok(lived)) = lived.join().unwrap() else { panic!() };
        let Outcome::Lived(rest) = Life::long(4).run(|| shared.drain()) else { panic!() };
        match died {
            Outcome::Lived(item) => assert_eq!((item.unwrap() + lived, rest.len()), (300, 0)),
            Outcome::Died => assert!(rest.len() <= 1 && !rest.contains(&lived)),
        }
    });
}

/// A put and a close at once: whatever the put says it has put is got before the consumer is told that it is over.
fn close_loses_nothing(killed: usize) {
    every_death(move |step| {
        let shared = Shared::new(2, 0);
        let life = |who, tid| if who == killed { mortal(tid, step) } else { Life::long(tid) };
        let put = spawn(&shared, life(0, 1), |shared| shared.put(100));
        let close = spawn(&shared, life(1, 2), |shared| shared.close());
        let drain = |shared: &Shared| std::iter::from_fn(|| shared.get().ok()).collect::<Vec<_>>();
        let got = if killed == 1 {
            // Killed half-way the ring is closed or not; a second close makes it certain.
            let _ = close.join().unwrap();
            Life::long(3).run(|| {
                shared.close().unwrap();
                drain(&shared)
            })
        } else {
            let got = Life::long(3).run(|| drain(&shared));
            let _ = close.join().unwrap();
            got
        };
        let Outcome::Lived(got) = got else { panic!() };
        match put.join().unwrap() {
            Outcome::Lived(Ok(())) => assert_eq!(got, [100]),
            Outcome::Lived(Err(error)) => assert_eq!((error, got.len()), (RingError::Closed, 0)),
            Outcome::Died => assert!(got.len() <= 1),
        }
    });
}

#[test]
fn close_loses_no_item_of_a_producer_that_may_be_killed() {
    close_loses_nothing(0);
}

#[test]
fn close_loses_no_item_when_the_closer_is_killed() {
    close_loses_nothing(1);
}
