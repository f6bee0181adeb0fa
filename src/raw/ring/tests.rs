//! States of a ring that a death leaves, made by hand, and counts at the ends of their ranges.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects
)]

use core::sync::atomic::Ordering::Relaxed;
use std::collections::VecDeque;

use super::*;
use crate::raw::{Acquired, Deadline};

struct Owned {
    ring: RawRing,
    shape: RingShape,
    words: Vec<AtomicU64>,
}

impl Owned {
    fn new(shape: Option<RingShape>, max_items: u64) -> Self {
        let shape = shape.unwrap();
        let words = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
        Self { ring: RawRing::new(max_items), shape, words }
    }

    /// Before which `number` items have gone through, as far as can be seen.
    fn starting_at(shape: Option<RingShape>, max_items: u64, number: u64) -> Self {
        let owned = Self::new(shape, max_items);
        for position in [&owned.ring.producing.tail, &owned.ring.producing.free, &owned.ring.consuming.head] {
            position.store(number, Relaxed);
        }
        for number in (number..).take(owned.shape.items()) {
            owned.ring().slot(number).unwrap().state.store(slot::not_ready(number), Relaxed);
        }
        owned
    }

    fn ring(&self) -> Ring<'_> {
        self.ring.with_words(self.shape, &self.words).unwrap()
    }

    fn try_put(&self, payload: &[u8]) -> Result<(), RingError> {
        // SAFETY: the ring lives as long as the thread that uses it.
        unsafe { self.ring().try_put(payload) }
    }

    fn try_get(&self) -> Result<Vec<u8>, RingError> {
        let mut payload = Vec::new();
        // SAFETY: as for `try_put`.
        unsafe { self.ring().try_get(&mut payload) }.map(|()| payload)
    }

    /// Lets a thread die that holds `lease`.
    fn die_with(&self, lease: &RawMutex) {
        std::thread::scope(|scope| {
            // SAFETY: the memory outlives the thread, with which the lease ends.
            let dying = scope.spawn(|| assert_eq!(unsafe { lease.lock(None) }, Ok(Acquired::Consistent)));
            dying.join().unwrap();
        });
    }

    /// Puts an item by a thread that dies between the commit and the store of the tails.
    fn put_and_die(&self, payload: &[u8]) {
        let line = &self.ring.producing;
        let (tail, data_tail) = (line.tail.load(Relaxed), line.data_tail.load(Relaxed));
        self.try_put(payload).unwrap();
        self.die_with(&line.lease);
        line.tail.store(tail, Relaxed);
        line.data_tail.store(data_tail, Relaxed);
    }

    /// Gets an item by a thread that dies between the free and the store of the head.
    fn get_and_die(&self) -> Vec<u8> {
        let before = self.ring().gets().unwrap();
        let payload = self.try_get().unwrap();
        self.die_with(&self.ring.consuming.lease);
        self.ring.consuming.head.store(before, Relaxed);
        payload
    }

    fn counts(&self) -> (u64, u64, u64) {
        (self.ring().puts().unwrap(), self.ring().gets().unwrap(), self.ring().len().unwrap())
    }
}

impl RawRing {
    /// Lets a thread die in the middle of a get.
    pub(in crate::raw) fn let_a_consumer_die(&self) {
        std::thread::scope(|scope| {
            // SAFETY: the memory outlives the thread, with which the lease ends.
            let dying = scope.spawn(|| unsafe { self.consuming.lease.lock(None) }.is_ok());
            assert!(dying.join().unwrap());
        });
    }
}

fn payload(number: usize) -> Vec<u8> {
    (0..number * 5 % 33).map(|at| (number + at) as u8).collect()
}

/// 8 items: up to 8 bytes in their slots, longer ones in 96 bytes of data, or rather 128.
fn small() -> Option<RingShape> {
    RingShape::varying(8, 8, 96)
}

/// Rings at every place where an item and its data can begin, and with every size in the next; data that skips the end too.
fn at_every_place(mut test: impl FnMut(&Owned, usize)) {
    for passed in 0..80 {
        let owned = Owned::new(small(), 8);
        for number in 0..passed {
            owned.try_put(&payload(number)).unwrap();
            owned.try_get().unwrap();
        }
        test(&owned, passed);
    }
}

#[test]
fn an_item_counts_once_it_is_committed_though_its_producer_died_there() {
    at_every_place(|owned, n| {
        let before = n as u64;
        owned.put_and_die(&payload(n));
        assert_eq!(owned.counts(), (before + 1, before, 1));
        // The next producer repairs the tail, and its item goes behind.
        owned.try_put(&payload(n + 1)).unwrap();
        assert_eq!(owned.counts(), (before + 2, before, 2));
        assert_eq!(owned.try_get().unwrap(), payload(n));
        assert_eq!(owned.try_get().unwrap(), payload(n + 1));
        assert_eq!((owned.counts().2, owned.try_get()), (0, Err(RingError::WouldBlock)));
    });
}

#[test]
fn an_item_is_got_beyond_the_tail_of_its_dead_producer() {
    at_every_place(|owned, n| {
        let before = n as u64;
        owned.put_and_die(&payload(n));
        assert_eq!(owned.try_get().unwrap(), payload(n));
        // The head is ahead of the tail now.
        assert_eq!(owned.counts(), (before + 1, before + 1, 0));
        assert_eq!(owned.try_get(), Err(RingError::WouldBlock));
        owned.try_put(&payload(n + 1)).unwrap();
        assert_eq!(owned.counts(), (before + 2, before + 1, 1));
        assert_eq!(owned.try_get().unwrap(), payload(n + 1));
    });
}

#[test]
fn an_item_is_got_once_it_is_freed_though_its_consumer_died_there() {
    at_every_place(|owned, n| {
        let before = n as u64;
        owned.try_put(&payload(n)).unwrap();
        assert_eq!(owned.get_and_die(), payload(n));
        assert_eq!(owned.counts(), (before + 1, before + 1, 0));
        assert_eq!(owned.try_get(), Err(RingError::WouldBlock));
        owned.try_put(&payload(n + 1)).unwrap();
        assert_eq!(owned.try_get().unwrap(), payload(n + 1));
        assert_eq!(owned.counts(), (before + 2, before + 2, 0));
    });
}

#[test]
fn producers_reuse_what_a_dead_consumer_freed_and_the_next_consumer_goes_on_behind() {
    at_every_place(|owned, n| {
        let before = n as u64;
        owned.try_put(&payload(n)).unwrap();
        assert_eq!(owned.get_and_die(), payload(n));
        // As much as fits: beyond the head, which still lies at the freed record.
        let put = (n + 1..).take_while(|&number| owned.try_put(&payload(number)).is_ok()).count();
        assert!(put >= 2);
        assert_eq!(owned.counts(), (before + 1 + put as u64, before + 1, put as u64));
        for number in n + 1..=n + put {
            assert_eq!(owned.try_get().unwrap(), payload(number));
        }
        assert_eq!(owned.counts().2, 0);
    });
}

#[test]
fn a_producer_and_a_consumer_dead_at_once_leave_exact_counts() {
    at_every_place(|owned, n| {
        let before = n as u64;
        owned.try_put(&payload(n)).unwrap();
        owned.put_and_die(&payload(n + 1));
        assert_eq!(owned.get_and_die(), payload(n));
        assert_eq!(owned.counts(), (before + 2, before + 1, 1));
        assert_eq!(owned.get_and_die(), payload(n + 1));
        assert_eq!(owned.counts(), (before + 2, before + 2, 0));
        owned.try_put(&payload(n + 2)).unwrap();
        assert_eq!(owned.counts(), (before + 3, before + 2, 1));
        assert_eq!(owned.try_get().unwrap(), payload(n + 2));
    });
}

#[test]
fn full_is_said_beside_a_stopped_producer_only_when_there_is_no_room() {
    // The data are full first, the items or the slots. An item of the data's end skips to its start.
    for (shape, max_items, fit) in [
        (RingShape::varying(8, 0, 64), 100, 8),
        (RingShape::varying(16, 0, 64), 100, 8),
        (RingShape::varying(64, 8, 64), 2, 2),
        (RingShape::fixed(4, 6), 100, 4),
    ] {
        let owned = Owned::new(shape, max_items);
        let mut puts = 0;
        let (held, done) = (&std::sync::Barrier::new(2), &std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let owned = &owned;
            loop {
                let stopped = scope.spawn(move || {
                    // SAFETY: the memory outlives the thread.
                    let locked = unsafe { owned.ring.producing.lease.lock(None) };
                    assert_eq!(locked, Ok(Acquired::Consistent));
                    held.wait();
                    done.wait();
                    owned.ring.producing.lease.unlock().unwrap();
                });
                held.wait();
                let said = owned.try_put(b"beside");
                done.wait();
                stopped.join().unwrap();
                // What it would have said without the other.
                match owned.try_put(b"alone!") {
                    Ok(()) => assert_eq!(said, Err(RingError::Busy), "after {puts}"),
                    Err(error) => {
                        assert_eq!((said, error), (Err(RingError::WouldBlock), RingError::WouldBlock));
                        break;
                    }
                }
                puts += 1;
            }
        });
        assert_eq!(puts, fit);
        assert_eq!(owned.ring().len(), Ok(puts));
    }
}

#[test]
fn numbers_wrap_at_the_ends_of_their_ranges() {
    for end in [1_u64 << 26, 1 << 27, 1 << 32] {
        let start = end.wrapping_sub(10);
        let owned = Owned::starting_at(small(), 3, start);
        let mut oracle = VecDeque::new();
        let (mut puts, mut gets) = (0_usize, 0_u64);
        for step in 0..60 {
            if step % 3 != 2 && owned.try_put(&payload(puts)).is_ok() {
                oracle.push_back(payload(puts));
                puts += 1;
            } else if let Some(expected) = oracle.pop_front() {
                assert_eq!(owned.try_get(), Ok(expected));
                gets += 1;
            }
            let (put, got, len) = owned.counts();
            assert_eq!((put, got), (start.wrapping_add(puts as u64), start.wrapping_add(gets)));
            assert_eq!(len, oracle.len() as u64);
            assert_eq!(owned.ring().got(), Ok(gets));
        }
        assert!(gets > 20);
    }
}

#[test]
fn whoever_sleeps_is_woken_while_numbers_wrap() {
    for end in [1_u64 << 26, 1 << 32] {
        let owned = Owned::starting_at(small(), 1, end.wrapping_sub(50));
        let soon = Deadline::after(std::time::Duration::from_secs(20));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..100_u8 {
                    // SAFETY: as for `try_put`.
                    unsafe { owned.ring().put(&[n], soon) }.unwrap();
                }
            });
            for n in 0..100 {
                let mut payload = Vec::new();
                // SAFETY: as for `try_put`.
                unsafe { owned.ring().get(&mut payload, soon) }.unwrap();
                assert_eq!(payload, [n]);
            }
        });
    }
}

#[test]
fn a_payload_of_every_length_keeps_its_bytes() {
    let owned = Owned::new(RingShape::varying(4, 24, 256), 100);
    assert_eq!(owned.ring().max_payload(), 256);
    for lap in 0..3 {
        for length in 0..=owned.ring().max_payload() as usize {
            let payload: Vec<u8> = (0..length).map(|at| (at + lap * 3 + 1) as u8).collect();
            owned.try_put(&payload).unwrap();
            assert_eq!(owned.try_get().unwrap(), payload);
        }
    }
    assert_eq!(owned.try_put(&[0; 257]), Err(RingError::TooLarge));
}

#[test]
fn a_ring_of_one_length_takes_no_other() {
    for length in [0, 1, 7, 8, 9, 24, 25] {
        let owned = Owned::new(RingShape::fixed(2, length), 2);
        let length = length as usize;
        for item in 0..9 {
            owned.try_put(&vec![item; length]).unwrap();
            assert_eq!(owned.try_get().unwrap(), vec![item; length]);
        }
        assert_eq!(owned.try_put(&vec![0; length + 1]), Err(RingError::TooLarge));
        if let Some(less) = length.checked_sub(1) {
            assert_eq!(owned.try_put(&vec![0; less]), Err(RingError::TooLarge));
        }
        assert_eq!(owned.ring().max_payload(), length as u64);
    }
}

#[test]
fn items_in_and_beside_their_slots_keep_their_order() {
    let owned = Owned::new(small(), 8);
    let mut oracle = VecDeque::new();
    let mut random = 7_usize;
    let (mut put, mut refused) = (0, 0);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if random >> 60 < 9 {
            let payload: Vec<u8> = (0..(random >> 40) % 60).map(|at| (at + put) as u8).collect();
            match owned.try_put(&payload) {
                Ok(()) => oracle.push_back(payload),
                Err(error) => {
                    assert_eq!(error, RingError::WouldBlock);
                    // What is refused has no room: 8 items, or less than its bytes left even without what is skipped.
                    let used: usize =
                        oracle.iter().filter(|item: &&Vec<u8>| item.len() > 8).map(Vec::len).sum();
                    assert!(
                        oracle.len() == 8 || used + payload.len() > 128 - 60 - 8,
                        "{used} {}",
                        payload.len()
                    );
                    refused += 1;
                }
            }
            put += 1;
        } else {
            assert_eq!(owned.try_get().ok(), oracle.pop_front());
        }
        assert_eq!(owned.ring().len(), Ok(oracle.len() as u64));
    }
    assert!(refused > 1000);
}

#[test]
fn batches_are_put_and_got_in_order_as_far_as_they_fit() {
    let owned = Owned::new(small(), 8);
    let (mut put, mut got) = (0_usize, 0_usize);
    for round in 1..500 {
        let (count, from) = (round % 11, put);
        let length_of = |index: usize| payload(from + index).len();
        let fill = |index: usize, words: &[AtomicU64]| slot::write(words, &payload(from + index));
        // SAFETY: the ring lives as long as the thread that uses it.
        let done = unsafe { owned.ring().put_many(Wait::Never, count, length_of, fill) };
        match done {
            Ok(done) => put += done,
            Err(error) => assert_eq!(error, RingError::WouldBlock),
        }
        assert_eq!(owned.ring().len(), Ok((put - got) as u64));
        let read = |words: &[AtomicU64], length| {
            let mut bytes = Vec::new();
            slot::read(words, length, &mut bytes);
            assert_eq!(bytes, payload(got));
            got += 1;
        };
        // SAFETY: as above.
        match unsafe { owned.ring().get_many(Wait::Never, round % 7, read) } {
            Ok(done) => assert!(done <= round % 7),
            Err(error) => assert_eq!((error, put), (RingError::WouldBlock, got)),
        }
    }
    assert!(put > 1000 && owned.counts() == (put as u64, got as u64, (put - got) as u64));
}

#[test]
fn a_panic_in_a_closure_puts_nothing_and_gets_nothing() {
    let owned = Owned::new(small(), 8);
    owned.try_put(b"first").unwrap();
    let puts = || {
        // SAFETY: the ring lives as long as the thread that uses it.
        unsafe { owned.ring().put_with(Wait::Never, 20, |_| panic!("while it is put")) }
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(puts)).is_err());
    let gets = || {
        // SAFETY: as above.
        unsafe { owned.ring().get_with(Wait::Never, |_, _| panic!("while it is got")) }
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(gets)).is_err());
    assert_eq!(owned.counts(), (1, 0, 1));
    owned.try_put(&[9; 100]).unwrap();
    assert_eq!((owned.try_get().unwrap(), owned.try_get().unwrap()), (b"first".to_vec(), vec![9; 100]));
}

#[test]
fn a_full_ring_is_closed_when_it_is_drained() {
    let owned = Owned::new(RingShape::fixed(2, 1), 2);
    owned.try_put(&[1]).unwrap();
    owned.try_put(&[2]).unwrap();
    // SAFETY: the ring lives as long as the thread that uses it.
    assert_eq!(unsafe { owned.ring().close(None) }, Ok(()));
    assert_eq!(owned.try_put(&[3]), Err(RingError::Closed));
    assert_eq!((owned.try_get(), owned.try_get()), (Ok(vec![1]), Ok(vec![2])));
    assert_eq!((owned.try_get(), owned.try_get()), (Err(RingError::Closed), Err(RingError::Closed)));
    assert_eq!((owned.counts(), owned.try_put(&[3])), ((2, 2, 0), Err(RingError::Closed)));
}

#[test]
fn a_shape_that_another_wrote_is_checked() {
    for shape in [RingShape::fixed(3, 8), RingShape::fixed(1, 0), small(), RingShape::varying(1, 0, 0)] {
        let shape = shape.unwrap();
        assert_eq!(RingShape::from_words(shape.to_words()), Some(shape));
        for (index, word) in shape.to_words().into_iter().enumerate() {
            for other in [0, 1, 3, 1 << 31, u64::MAX, word + 1, word << 40] {
                let mut words = shape.to_words();
                words[index] = other;
                if let Some(shape) = RingShape::from_words(words) {
                    assert_eq!(shape.to_words(), words);
                    assert!(shape.words() >= shape.slot_area() && shape.items().is_power_of_two());
                    assert!(shape.fixed_bytes().is_none_or(|bytes| bytes as usize <= shape.inline_bytes()));
                }
            }
        }
    }
    assert_eq!((RingShape::fixed(0, 8), RingShape::varying(1 << 25, 0, 0)), (None, None));
    assert_eq!((RingShape::varying(1, 0, 1 << 40), RingShape::fixed(1 << 24, u32::MAX)), (None, None));
}
