//! Loom models of a ring whose ends are kept by exclusive endpoints: the survivors go on and nothing committed is lost,
//! wherever a keeper dies.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use super::ring::read;
use super::{Cursor, Fences, Home, RawRing, Ring, RingError, RingShape, Wait};
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with, in_full};

struct Shared {
    ring: RawRing,
    words: Vec<AtomicU64>,
    slots: usize,
}

impl Shared {
    fn new(slots: usize) -> Arc<Self> {
        let shape = RingShape::fixed(slots, 8).unwrap();
        let words = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { ring: RawRing::new(u64::try_from(slots).unwrap()), words, slots })
    }

    fn ring(&self) -> Ring<'_> {
        self.ring.with_words(RingShape::fixed(self.slots, 8).unwrap(), &self.words).unwrap()
    }

    fn put(&self, item: u64) -> Result<(), RingError> {
        // SAFETY: the models keep the ring until all threads have ended.
        unsafe { self.ring().put(&item.to_le_bytes(), None) }
    }

    fn get(&self) -> Result<u64, RingError> {
        self.get_from(self.ring())
    }

    fn get_from(&self, ring: Ring<'_>) -> Result<u64, RingError> {
        let mut bytes = Vec::new();
        // SAFETY: as for `put`.
        unsafe { ring.get(&mut bytes, None) }?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn try_get(&self) -> Result<u64, RingError> {
        let mut bytes = Vec::new();
        // SAFETY: as for `put`.
        unsafe { self.ring().try_get(&mut bytes) }?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
    }

    /// What the thread knows that keeps an end.
    fn cursor(&self, fences: Fences) -> Cursor {
        let home = Home::new(RingShape::fixed(self.slots, 8).unwrap(), false);
        // SAFETY: as for `put`.
        unsafe { self.ring.quick(home, &self.words).cursor(fences, 8) }.unwrap()
    }

    /// The thread that keeps the end puts an item, as `Producer` does.
    fn put_by(&self, cursor: &mut Cursor, item: u64) -> Result<(), RingError> {
        let bytes = item.to_le_bytes();
        if cursor.put(Wait::Until(None), &bytes) {
            return Ok(());
        }
        cursor.forget();
        // SAFETY: as for `put`.
        unsafe { self.ring().of_keeper(cursor.fences()).put(&bytes, None) }
    }

    /// The thread that keeps the end gets an item, as `Consumer` does.
    fn get_by(&self, cursor: &mut Cursor) -> Result<u64, RingError> {
        let mut bytes = Vec::new();
        if cursor.get(Wait::Until(None), |words, length| read(words, length, &mut bytes)).is_some() {
            return Ok(u64::from_le_bytes(bytes.try_into().unwrap()));
        }
        cursor.forget();
        self.get_from(self.ring().of_keeper(cursor.fences()))
    }

    /// An endpoint puts these items, or as many as come before the ring is closed.
    fn keep_and_put(&self, items: &[u64]) -> Result<(), RingError> {
        // SAFETY: as for `put`.
        let fences = unsafe { self.ring().keep_producers_end() }?;
        let mut cursor = self.cursor(fences);
        let done = items.iter().try_for_each(|item| self.put_by(&mut cursor, *item));
        self.ring.leave_producers_end();
        done
    }

    /// An endpoint gets an item.
    fn keep_and_get(&self) -> Result<u64, RingError> {
        // SAFETY: as for `put`.
        let fences = unsafe { self.ring().keep_consumers_end() }?;
        let done = self.get_by(&mut self.cursor(fences));
        self.ring.leave_consumers_end();
        done
    }

    fn close(&self) {
        // SAFETY: as for `put`.
        unsafe { self.ring().close(None) }.unwrap();
    }

    /// What is left when all threads have ended; the counts agree before and after.
    fn drain(&self) -> Vec<u64> {
        let counted = self.ring().len().unwrap();
        let rest: Vec<u64> = std::iter::from_fn(|| self.try_get().ok()).collect();
        assert_eq!(Ok(counted), u64::try_from(rest.len()));
        assert_eq!(self.ring().len(), Ok(0));
        rest
    }

    fn drain_until_closed(&self) -> Vec<u64> {
        let next = || match self.get() {
            Ok(item) => Some(item),
            Err(error) => {
                assert_eq!(error, RingError::Closed);
                None
            }
        };
        std::iter::from_fn(next).collect()
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

/// A mortal endpoint puts the only item; a consumer that sleeps, or is about to, is woken for it with nobody's help.
fn a_lone_item_of_an_endpoint_wakes_the_consumer(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(2);
        let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = mortal(1, step).run(|| shared.keep_and_put(&[100]).unwrap());
        // The end is free: uncommitted, the item is put by somebody else.
        let _ = Life::long(3).run(|| {
            if shared.ring().puts() == Ok(0) {
                shared.put(100).unwrap();
            }
        });
        assert_eq!(consumer.join().unwrap(), Outcome::Lived(Ok(100)));
    });
}

#[test]
fn an_item_of_a_killed_endpoint_wakes_the_consumer() {
    a_lone_item_of_an_endpoint_wakes_the_consumer(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_fences_the_item_of_an_endpoint_sleeps() {
    a_lone_item_of_an_endpoint_wakes_the_consumer(Sabotage::NoFence);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_wake_the_item_of_a_killed_endpoint_sleeps() {
    a_lone_item_of_an_endpoint_wakes_the_consumer(Sabotage::NoPendingWake);
}

/// A mortal endpoint gets from a full ring; a producer that sleeps for room, or is about to, is woken.
fn room_of_an_endpoint_wakes_the_producer(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(1);
        let _ = Life::long(9).run(|| shared.put(100).unwrap());
        let producer = spawn(&shared, Life::long(1), |shared| shared.put(200).unwrap());
        let got = mortal(2, step).run(|| shared.keep_and_get());
        let rest = Life::long(3).run(|| {
            // The end is free; what the endpoint left is got by somebody else.
            let first = if shared.ring().gets() == Ok(0) { Some(shared.get().unwrap()) } else { None };
            (first, shared.get().unwrap())
        });
        assert_eq!(producer.join().unwrap(), Outcome::Lived(()));
        match (got, rest) {
            (Outcome::Lived(Ok(100)), Outcome::Lived((None, 200)))
            | (Outcome::Died, Outcome::Lived((None | Some(100), 200))) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn room_that_a_killed_endpoint_made_wakes_the_producer() {
    room_of_an_endpoint_wakes_the_producer(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_fences_room_of_an_endpoint_is_slept_through() {
    room_of_an_endpoint_wakes_the_producer(Sabotage::NoFence);
}

/// A mortal endpoint puts two items beside somebody who puts one: refused, or before or after it.
#[test]
fn who_puts_beside_a_killed_endpoint_is_refused_or_goes_on() {
    every_death(|step| {
        let shared = Shared::new(4);
        let died = spawn(&shared, mortal(1, step), |shared| shared.keep_and_put(&[100, 101]));
        let Outcome::Lived(put) = Life::long(2).run(|| shared.put(200)) else { panic!() };
        let died = died.join().unwrap();
        let Outcome::Lived(all) = Life::long(3).run(|| shared.drain()) else { panic!() };
        let own: Vec<u64> = all.iter().copied().filter(|&item| item == 200).collect();
        match put {
            Ok(()) => assert_eq!(own, [200]),
            Err(error) => assert_eq!((error, own.as_slice()), (RingError::Exclusive, [].as_slice())),
        }
        let batch: Vec<u64> = all.into_iter().filter(|&item| item != 200).collect();
        match died {
            Outcome::Lived(done) => assert_eq!((done, batch), (Ok(()), vec![100, 101])),
            Outcome::Died => assert!([100, 101].starts_with(&batch), "{batch:?}"),
        }
        // The end is nobody's.
        let again = Life::long(4).run(|| (shared.keep_and_put(&[300]), shared.keep_and_get()));
        assert_eq!(again, Outcome::Lived((Ok(()), Ok(300))));
    });
}

/// A mortal endpoint puts an item beside somebody who closes the ring: it is refused, or got before the end.
fn a_close_beside_an_endpoint(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(2);
        let put = spawn(&shared, mortal(1, step), |shared| shared.keep_and_put(&[100]));
        let got = Life::long(2).run(|| {
            shared.close();
            shared.drain_until_closed()
        });
        let (put, Outcome::Lived(got)) = (put.join().unwrap(), got) else { panic!() };
        match put {
            Outcome::Lived(Ok(())) => assert_eq!(got, [100], "an item was lost"),
            Outcome::Lived(Err(error)) => assert_eq!((error, got), (RingError::Closed, vec![])),
            Outcome::Died => assert!(got.is_empty() || got == [100]),
        }
        // Not even a part of it came after the end.
        let left = Life::long(3).run(|| shared.drain());
        assert_eq!(left, Outcome::Lived(vec![]), "an item was lost");
    });
}

#[test]
fn a_close_beside_an_endpoint_loses_nothing() {
    a_close_beside_an_endpoint(Sabotage::None);
}

#[test]
#[should_panic(expected = "lost")]
fn twin_without_the_fences_a_close_loses_an_item_of_an_endpoint() {
    a_close_beside_an_endpoint(Sabotage::NoFence);
}

/// An idle endpoint lives on while a mortal thread closes the ring and a consumer sleeps, or is about to.
#[test]
fn full_a_close_beside_an_idle_endpoint_wakes_the_consumer() {
    if !in_full() {
        return;
    }
    every_death(|step| {
        let shared = Shared::new(1);
        let _ = Life::long(1).run(|| {
            // SAFETY: as for `put`.
            let fences = unsafe { shared.ring().keep_producers_end() }.unwrap();
            let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
            let closer = spawn(&shared, mortal(3, step), |shared| shared.close());
            let _ = closer.join().unwrap();
            // Killed before it was done, somebody else closes.
            let again = spawn(&shared, Life::long(4), |shared| shared.close());
            let _ = again.join().unwrap();
            assert_eq!(consumer.join().unwrap(), Outcome::Lived(Err(RingError::Closed)));
            assert_eq!(shared.put_by(&mut shared.cursor(fences), 0), Err(RingError::Closed));
            shared.ring.leave_producers_end();
        });
    });
}

/// Both ends are kept: one keeper waits for room that the other, who is mortal, makes, or is told of its death.
#[test]
fn full_two_endpoints_go_on() {
    if !in_full() {
        return;
    }
    every_death(|step| {
        let shared = Shared::new(1);
        let _ = Life::long(9).run(|| shared.put(100).unwrap());
        let producer = spawn(&shared, Life::long(1), |shared| shared.keep_and_put(&[200]));
        let died = mortal(2, step).run(|| shared.keep_and_get()) == Outcome::Died;
        // Whoever comes next gets what the dead one left, or made room for.
        let Outcome::Lived(Ok(got)) = Life::long(3).run(|| shared.get()) else { panic!() };
        let put = producer.join().unwrap();
        let Outcome::Lived(rest) = Life::long(4).run(|| shared.drain()) else { panic!() };
        match (put, got, rest.as_slice()) {
            (Outcome::Lived(Ok(())), 100, [200]) => assert!(died),
            (Outcome::Lived(Ok(())), 200, []) => {}
            // It was told of the death before the survivor came.
            (Outcome::Lived(Err(RingError::PeerDied)), 100, []) => assert!(died),
            other => panic!("{other:?}"),
        }
    });
}
