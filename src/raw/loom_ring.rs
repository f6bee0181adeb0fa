//! Loom models of [`RawRing`]: the survivors go on and nothing committed is lost, wherever one of them dies.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects
)]

use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use super::{RawRing, Ring, RingError, RingShape, Wait, read, write};
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with, in_full};

struct Shared {
    ring: RawRing,
    words: Vec<AtomicU64>,
    start: Start,
}

/// How large a ring and its items are, and where it begins.
#[derive(Clone, Copy, Debug)]
struct Start {
    slots: usize,
    /// Words of an item.
    item: usize,
    /// Words of data that all items share; with none, an item lies in its slot.
    data: usize,
    /// Words of an item that has gone through, if there was one.
    passed: usize,
    /// Whether all items are of one length.
    fixed: bool,
}

/// One item fits, and all are of one length.
const FIXED: Start = Start { slots: 1, item: 1, data: 0, passed: 0, fixed: true };
/// One item fits, in its slot.
const SMALL: Start = Start { slots: 1, item: 1, data: 0, passed: 0, fixed: false };
/// One item fits, at the data's start; there is no room for it at the end, where the last one left off.
const SMALL_SKIP: Start = Start { slots: 2, item: 3, data: 4, passed: 2, fixed: false };
/// Four items fit, in their slots.
const WIDE: Start = Start { slots: 4, item: 1, data: 0, passed: 0, fixed: false };
/// Two items fit, the first one after a skip.
const WIDE_SKIP: Start = Start { slots: 4, item: 3, data: 8, passed: 6, fixed: false };
/// Two items fit, the second one after a skip.
const WIDE_SKIP_BETWEEN: Start = Start { slots: 4, item: 3, data: 8, passed: 3, fixed: false };

impl Start {
    fn shape(self) -> RingShape {
        if self.fixed {
            return RingShape::fixed(self.slots, 8).unwrap();
        }
        let inline = if self.data == 0 { 8 } else { 0 };
        RingShape::varying(self.slots, inline, self.data * 8).unwrap()
    }

    /// Items that have gone through.
    fn before(self) -> u64 {
        u64::from(self.passed > 0)
    }
}

impl Shared {
    fn new(max_items: u64, start: Start) -> Arc<Self> {
        let words = (0..start.shape().words()).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Self { ring: RawRing::new(max_items), words, start });
        let _ = Life::long(9).run(|| {
            if start.passed > 0 {
                // SAFETY: the models keep the ring until all threads have ended.
                unsafe { shared.ring().put(&vec![1; start.passed * 8], None) }.unwrap();
                // SAFETY: as above.
                unsafe { shared.ring().get(&mut Vec::new(), None) }.unwrap();
            }
        });
        shared
    }

    fn ring(&self) -> Ring<'_> {
        self.ring.with_words(self.start.shape(), &self.words).unwrap()
    }

    fn put(&self, item: u64) -> Result<(), RingError> {
        let ring = self.ring();
        // SAFETY: the models keep the ring until all threads have ended.
        unsafe { ring.put(&item.to_le_bytes().repeat(self.start.item), None) }
    }

    fn get(&self) -> Result<u64, RingError> {
        self.get_by(|bytes| {
            let ring = self.ring();
            // SAFETY: as for `put`.
            unsafe { ring.get(bytes, None) }
        })
    }

    fn put_many(&self, items: &[u64]) -> Result<usize, RingError> {
        let fill = |index: usize, words: &[AtomicU64]| write(words, &items[index].to_le_bytes());
        // SAFETY: as for `put`.
        unsafe { self.ring().put_many(Wait::Until(None), items.len(), |_| 8, fill) }
    }

    fn get_many(&self) -> Vec<u64> {
        let mut items = Vec::new();
        let read = |words: &[AtomicU64], length| {
            let mut bytes = Vec::new();
            read(words, length, &mut bytes);
            items.push(u64::from_le_bytes(bytes.try_into().unwrap()));
        };
        // SAFETY: as for `put`.
        let done = unsafe { self.ring().get_many(Wait::Until(None), 3, read) };
        assert_eq!(done, Ok(items.len()));
        items
    }

    fn close(&self) -> Result<(), RingError> {
        let ring = self.ring();
        // SAFETY: as for `put`.
        unsafe { ring.close(None) }
    }

    fn try_get(&self) -> Result<u64, RingError> {
        self.get_by(|bytes| {
            let ring = self.ring();
            // SAFETY: as for `put`.
            unsafe { ring.try_get(bytes) }
        })
    }

    fn get_by(&self, get: impl FnOnce(&mut Vec<u8>) -> Result<(), RingError>) -> Result<u64, RingError> {
        let mut bytes = Vec::new();
        get(&mut bytes)?;
        let (words, rest) = bytes.as_chunks::<8>();
        let whole =
            words.len() == self.start.item && rest.is_empty() && words.iter().all(|word| *word == words[0]);
        assert!(whole, "torn: {bytes:?}");
        Ok(u64::from_le_bytes(words[0]))
    }

    /// What is left when all threads have ended; the counts agree before and after.
    fn drain(&self) -> Vec<u64> {
        let ring = self.ring();
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

/// A mortal and a lasting producer put an item each.
fn producers_put(start: Start) {
    every_death(move |step| {
        let shared = Shared::new(2, start);
        let died = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        assert_eq!(Life::long(2).run(|| shared.put(200)), Outcome::Lived(Ok(())));
        let died = died.join().unwrap() == Outcome::Died;
        let Outcome::Lived(all) = Life::long(3).run(|| shared.drain()) else { panic!() };
        match all.as_slice() {
            [100, 200] | [200, 100] => {}
            [200] => assert!(died),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_killed_producer_leaves_its_item_whole_or_nothing() {
    producers_put(WIDE);
}

/// A mortal producer puts two items at once beside a lasting one. What comes is a beginning of the two, in order.
#[test]
fn a_killed_producer_leaves_a_beginning_of_its_batch() {
    every_death(|step| {
        let shared = Shared::new(4, WIDE);
        let died = spawn(&shared, mortal(1, step), |shared| shared.put_many(&[100, 101]));
        assert_eq!(Life::long(2).run(|| shared.put(200)), Outcome::Lived(Ok(())));
        let died = died.join().unwrap();
        let Outcome::Lived(all) = Life::long(3).run(|| shared.drain()) else { panic!() };
        assert_eq!(all.iter().filter(|&&item| item == 200).count(), 1);
        let batch: Vec<u64> = all.into_iter().filter(|&item| item != 200).collect();
        match died {
            Outcome::Lived(put) => assert_eq!((put, batch), (Ok(2), vec![100, 101])),
            Outcome::Died => assert!([100, 101].starts_with(&batch), "{batch:?}"),
        }
    });
}

/// A consumer sleeps, or is about to, while a mortal producer puts two items at once: it is woken for the first of them.
fn a_batch_wakes_the_consumer(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(4, WIDE);
        let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = mortal(1, step).run(|| shared.put_many(&[100, 101]));
        let _ = Life::long(3).run(|| {
            if shared.ring().puts() == Ok(0) {
                shared.put(100).unwrap();
            }
        });
        assert_eq!(consumer.join().unwrap(), Outcome::Lived(Ok(100)));
    });
}

#[test]
fn a_batch_wakes_the_consumer_though_its_producer_is_killed() {
    a_batch_wakes_the_consumer(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_wake_the_batch_of_a_killed_producer_sleeps() {
    a_batch_wakes_the_consumer(Sabotage::NoPendingWake);
}

/// A mortal consumer gets two items at once; it takes a beginning of them with it, and leaves the rest in order.
#[test]
fn a_killed_consumer_leaves_the_rest_of_its_batch() {
    every_death(|step| {
        let shared = Shared::new(4, WIDE);
        let _ = Life::long(9).run(|| shared.put_many(&[100, 101]).unwrap());
        let died = spawn(&shared, mortal(1, step), |shared| shared.get_many());
        assert_eq!(Life::long(2).run(|| shared.put(200)), Outcome::Lived(Ok(())));
        let died = died.join().unwrap();
        let Outcome::Lived(rest) = Life::long(3).run(|| shared.drain()) else { panic!() };
        assert!([100, 101, 200].ends_with(&rest) && rest.contains(&200) || rest.is_empty(), "{rest:?}");
        if let Outcome::Lived(got) = died {
            assert_eq!([got, rest].concat(), [100, 101, 200]);
        }
    });
}

/// Items of one length, without a header: a lone one wakes the consumer, and a free wakes the producer.
#[test]
fn a_ring_of_one_length_loses_nothing() {
    a_lone_item_wakes_the_consumer(Sabotage::None, FIXED);
    producers_put(Start { slots: 2, ..FIXED });
}

#[test]
fn a_producer_killed_at_the_wrap_leaves_its_item_whole_or_nothing() {
    producers_put(WIDE_SKIP);
    producers_put(WIDE_SKIP_BETWEEN);
}

/// The same beside a consumer that gets one of the items.
fn a_consumer_gets_what_was_put(sabotage: Sabotage, start: Start) {
    every_death_with(sabotage, move |step| {
        let shared = Shared::new(2, start);
        let died = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        let lived = spawn(&shared, Life::long(2), |shared| shared.put(200));
        let got = Life::long(3).run(|| shared.get());
        let died = died.join().unwrap() == Outcome::Died;
        assert_eq!(lived.join().unwrap(), Outcome::Lived(Ok(())));
        let Outcome::Lived(Ok(got)) = got else { panic!("{got:?}") };
        let Outcome::Lived(mut all) = Life::long(4).run(|| shared.drain()) else { panic!() };
        all.push(got);
        all.sort_unstable();
        assert!(all == [100, 200] || (died && all == [200]), "got {all:?}");
    });
}

#[test]
fn full_two_producers_and_a_consumer_go_on() {
    if in_full() {
        a_consumer_gets_what_was_put(Sabotage::None, SMALL);
        a_consumer_gets_what_was_put(Sabotage::None, SMALL_SKIP);
    }
}

#[test]
#[should_panic(expected = "torn")]
fn twin_commit_without_release_is_read_early() {
    a_consumer_gets_what_was_put(Sabotage::NoRelease, SMALL);
}

/// A mortal producer puts the only item; if it was committed, a sleeping consumer is woken for it with nobody's help.
fn a_lone_item_wakes_the_consumer(sabotage: Sabotage, start: Start) {
    every_death_with(sabotage, move |step| {
        let shared = Shared::new(2, start);
        let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = mortal(1, step).run(|| shared.put(100));
        // Uncommitted, the item is put by somebody else; committed, nobody else comes.
        let _ = Life::long(3).run(|| {
            let ring = shared.ring();
            if ring.puts() == Ok(start.before()) {
                shared.put(100).unwrap();
            }
        });
        assert_eq!(consumer.join().unwrap(), Outcome::Lived(Ok(100)));
    });
}

#[test]
fn a_committed_item_wakes_the_consumer_though_its_producer_is_killed() {
    a_lone_item_wakes_the_consumer(Sabotage::None, SMALL);
    a_lone_item_wakes_the_consumer(Sabotage::None, SMALL_SKIP);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_wake_the_item_of_a_killed_producer_sleeps() {
    a_lone_item_wakes_the_consumer(Sabotage::NoPendingWake, SMALL);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_the_consumer_sleeps() {
    a_lone_item_wakes_the_consumer(Sabotage::NoWake, SMALL);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_fences_the_consumer_sleeps() {
    a_lone_item_wakes_the_consumer(Sabotage::NoFence, SMALL);
}

/// A put waits for a get in a ring that is full with one item. One of two consumers dies.
fn a_blocked_producer_goes_on(sabotage: Sabotage, start: Start) {
    every_death_with(sabotage, move |step| {
        let shared = Shared::new(1, start);
        let _ = Life::long(9).run(|| shared.put(100).unwrap());
        let producer = spawn(&shared, Life::long(1), |shared| shared.put(200).unwrap());
        let got = mortal(2, step).run(|| shared.get());
        // Room that was made, the producer finds with nobody's help.
        let left = Life::long(3).run(|| {
            let is_left = shared.ring().gets() == Ok(start.before());
            is_left.then(|| shared.get().unwrap())
        });
        assert_eq!(producer.join().unwrap(), Outcome::Lived(()));
        let Outcome::Lived(rest) = Life::long(4).run(|| shared.drain()) else { panic!() };
        assert_eq!(rest, [200]);
        match (got, left) {
            (Outcome::Lived(Ok(100)), Outcome::Lived(None))
            | (Outcome::Died, Outcome::Lived(None | Some(100))) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_killed_consumer_leaves_its_item_or_its_room() {
    a_blocked_producer_goes_on(Sabotage::None, SMALL);
}

#[test]
fn a_consumer_killed_at_the_wrap_leaves_its_item_or_its_room() {
    a_blocked_producer_goes_on(Sabotage::None, SMALL_SKIP);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_the_producer_sleeps() {
    a_blocked_producer_goes_on(Sabotage::NoWake, SMALL);
}

/// A mortal thread holds the waiting room; a consumer that waits for it gets the item that is put then.
fn the_waiting_room_passes_on(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(2, SMALL);
        let holder = spawn(&shared, mortal(1, step), |shared| {
            let room = shared.ring.consumers_room();
            // SAFETY: as for `put`.
            let _ = unsafe { room.lock(None) }.unwrap();
            room.unlock().unwrap();
        });
        let consumer = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = Life::long(3).run(|| shared.put(100).unwrap());
        let _ = holder.join().unwrap();
        assert_eq!(consumer.join().unwrap(), Outcome::Lived(Ok(100)));
    });
}

#[test]
fn the_waiting_room_passes_on_when_its_holder_is_killed() {
    the_waiting_room_passes_on(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_kernels_wake_the_waiting_room_is_stuck() {
    the_waiting_room_passes_on(Sabotage::NoPendingWake);
}

#[test]
fn a_consumer_that_is_killed_asleep_leaves_the_ring_to_the_next() {
    every_death(|step| {
        let shared = Shared::new(2, SMALL);
        let died = spawn(&shared, mortal(1, step), |shared| shared.get());
        let _ = Life::long(2).run(|| shared.put(100).unwrap());
        let died = died.join().unwrap();
        let got = Life::long(3).run(|| {
            let ring = shared.ring();
            if ring.len() == Ok(1) { shared.get() } else { Ok(0) }
        });
        match (died, got) {
            (Outcome::Lived(Ok(100)), Outcome::Lived(Ok(0)))
            | (Outcome::Died, Outcome::Lived(Ok(0 | 100))) => {}
            other => panic!("{other:?}"),
        }
        let again = Life::long(4).run(|| {
            shared.put(300).unwrap();
            shared.get()
        });
        assert_eq!(again, Outcome::Lived(Ok(300)));
    });
}

/// A mortal and a lasting consumer wait, in turn in the waiting room, for the only item.
#[test]
fn full_the_waiting_room_passes_on_between_consumers() {
    if !in_full() {
        return;
    }
    every_death(|step| {
        let shared = Shared::new(2, SMALL);
        let died = spawn(&shared, mortal(1, step), |shared| shared.get());
        let lived = spawn(&shared, Life::long(2), |shared| shared.get());
        let _ = Life::long(3).run(|| shared.put(100).unwrap());
        let died = died.join().unwrap();
        let _ = Life::long(3).run(|| {
            let ring = shared.ring();
            // Left in the ring, the lasting one gets it with nobody's help.
            if ring.len() == Ok(0) {
                shared.put(200).unwrap();
            }
        });
        let Outcome::Lived(Ok(lived)) = lived.join().unwrap() else { panic!() };
        let Outcome::Lived(rest) = Life::long(4).run(|| shared.drain()) else { panic!() };
        match died {
            Outcome::Lived(Ok(item)) => assert_eq!((item + lived, rest.len()), (300, 0)),
            Outcome::Lived(Err(error)) => panic!("{error}"),
            Outcome::Died => assert!(rest.len() <= 1 && !rest.contains(&lived)),
        }
    });
}

/// How many items were got, asked while others get.
#[test]
fn got_is_exact_while_items_are_got_and_after_a_death() {
    every_death(|step| {
        let shared = Shared::new(3, WIDE);
        let _ = Life::long(9).run(|| {
            let ring = shared.ring();
            // SAFETY: as for `put`.
            (0..3).for_each(|_| unsafe { ring.put(&[], None) }.unwrap());
        });
        let consumer = spawn(&shared, mortal(1, step), |shared| {
            let ring = shared.ring();
            // SAFETY: as for `put`.
            (0..3).for_each(|_| unsafe { ring.get(&mut Vec::new(), None) }.unwrap());
        });
        let _ = Life::long(2).run(|| {
            let ring = shared.ring();
            let got = ring.got().unwrap();
            let gets = ring.gets().unwrap();
            assert!(got <= gets, "{got} of {gets}");
        });
        let _ = consumer.join().unwrap();
        let _ = Life::long(3).run(|| {
            let ring = shared.ring();
            assert_eq!(ring.got(), ring.gets());
        });
    });
}

/// Everything, until the ring is closed.
fn drain_until_closed(shared: &Shared) -> Vec<u64> {
    std::iter::from_fn(|| match shared.get() {
        Ok(item) => Some(item),
        Err(error) => {
            assert_eq!(error, RingError::Closed);
            None
        }
    })
    .collect()
}

/// Whatever a put says that it has put is got before the consumer is told that it is over.
fn check_put(put: Outcome<Result<(), RingError>>, got: &[u64]) {
    match put {
        Outcome::Lived(Ok(())) => assert_eq!(got, [100]),
        Outcome::Lived(Err(error)) => assert_eq!((error, got), (RingError::Closed, [].as_slice())),
        Outcome::Died => assert!(got.is_empty() || got == [100]),
    }
}

#[test]
fn close_loses_no_item_of_a_producer_that_may_be_killed() {
    every_death(|step| {
        let shared = Shared::new(2, SMALL);
        let put = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        let _ = Life::long(2).run(|| shared.close().unwrap());
        let put = put.join().unwrap();
        let Outcome::Lived(got) = Life::long(3).run(|| drain_until_closed(&shared)) else { panic!() };
        check_put(put, &got);
    });
}

#[test]
fn close_loses_no_item_when_the_closer_is_killed() {
    every_death(|step| {
        let shared = Shared::new(2, SMALL);
        let put = spawn(&shared, Life::long(1), |shared| shared.put(100));
        let _ = mortal(2, step).run(|| shared.close().unwrap());
        let got = Life::long(3).run(|| {
            // Killed before it has begun, somebody else closes; after that, whoever gets completes it.
            if !shared.ring.is_closed() {
                shared.close().unwrap();
            }
            drain_until_closed(&shared)
        });
        let Outcome::Lived(got) = got else { panic!() };
        check_put(put.join().unwrap(), &got);
    });
}

#[test]
fn full_close_loses_no_item_beside_a_consumer() {
    if !in_full() {
        return;
    }
    every_death(|step| {
        let shared = Shared::new(2, SMALL);
        let put = spawn(&shared, mortal(1, step), |shared| shared.put(100));
        let close = spawn(&shared, Life::long(2), |shared| shared.close().unwrap());
        let Outcome::Lived(got) = Life::long(3).run(|| drain_until_closed(&shared)) else { panic!() };
        let _ = close.join().unwrap();
        check_put(put.join().unwrap(), &got);
    });
}

/// Who sleeps for an item, and who sleeps for room, is told of the end.
fn close_wakes(sabotage: Sabotage) {
    every_death_with(sabotage, |step| {
        let shared = Shared::new(1, SMALL);
        let consumer = spawn(&shared, mortal(1, step), |shared| shared.get());
        let _ = Life::long(2).run(|| shared.close().unwrap());
        let consumer = consumer.join().unwrap();
        assert!(matches!(consumer, Outcome::Died | Outcome::Lived(Err(RingError::Closed))), "{consumer:?}");
    });
    every_death_with(sabotage, |step| {
        let shared = Shared::new(1, SMALL);
        let _ = Life::long(2).run(|| shared.put(100).unwrap());
        let producer = spawn(&shared, mortal(1, step), |shared| shared.put(200));
        let _ = Life::long(2).run(|| shared.close().unwrap());
        let producer = producer.join().unwrap();
        assert!(matches!(producer, Outcome::Died | Outcome::Lived(Err(RingError::Closed))), "{producer:?}");
        let Outcome::Lived(got) = Life::long(3).run(|| drain_until_closed(&shared)) else { panic!() };
        assert_eq!(got, [100]);
    });
}

#[test]
fn close_wakes_who_sleeps() {
    close_wakes(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_nobody_is_told_of_the_close() {
    close_wakes(Sabotage::NoWake);
}
