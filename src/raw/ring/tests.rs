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
    words: Vec<AtomicU64>,
}

impl Owned {
    /// With so many `words` for records, and a state for each four.
    fn new(words: usize, max_items: u64) -> Self {
        let all = words + words / 4;
        Self { ring: RawRing::new(max_items), words: (0..all).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Before which `number` items have gone through, as far as can be seen.
    fn starting_at(words: usize, max_items: u64, number: u64) -> Self {
        let owned = Self::new(words, max_items);
        owned.words[words / 4].store(number, Relaxed);
        owned.ring.producing.freed.store(number, Relaxed);
        owned
    }

    fn ring(&self) -> Ring<'_> {
        self.ring.with_words(&self.words).unwrap()
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

    /// Puts an item by a thread that dies between the commit and the store of the tail.
    fn put_and_die(&self, payload: &[u8]) {
        let tail = self.ring.producing.tail.load(Relaxed);
        self.try_put(payload).unwrap();
        self.die_with(&self.ring.producing.lease);
        self.ring.producing.tail.store(tail, Relaxed);
    }

    /// Gets an item by a thread that dies between the free and the store of the head.
    fn get_and_die(&self) -> Vec<u8> {
        // A pad is passed in a step of its own, whose head is stored.
        let front = self.ring().front().unwrap().unwrap().position;
        let pad = self.ring().slot(front).unwrap().extent;
        let before = if pad.pad { front + pad.words() } else { front };
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

/// Rings at every place where a record can begin, and with every size in the next: the pad before it too.
fn at_every_place(mut test: impl FnMut(&Owned, usize)) {
    for passed in 0..40 {
        let owned = Owned::new(32, 8);
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
    // The words are full first, or the items.
    for max_items in [100, 2] {
        let owned = Owned::new(32, max_items);
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
                match owned.try_put(b"alone") {
                    Ok(()) => assert_eq!(said, Err(RingError::Busy), "after {puts}"),
                    Err(error) => {
                        assert_eq!((said, error), (Err(RingError::WouldBlock), RingError::WouldBlock));
                        break;
                    }
                }
                puts += 1;
            }
        });
        assert_eq!(puts, max_items.min(7));
        assert_eq!(owned.ring().len(), Ok(puts));
    }
}

#[test]
fn numbers_wrap_at_the_ends_of_their_ranges() {
    for end in [1_u64 << 26, 1 << 27, 1 << 32] {
        let start = end.wrapping_sub(10);
        let owned = Owned::starting_at(32, 3, start);
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
        let owned = Owned::starting_at(16, 1, end.wrapping_sub(50));
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
    let owned = Owned::new(64, 100);
    for lap in 0..3 {
        for length in 0..=owned.ring().max_payload() as usize {
            let payload: Vec<u8> = (0..length).map(|at| (at + lap * 3 + 1) as u8).collect();
            owned.try_put(&payload).unwrap();
            assert_eq!(owned.try_get().unwrap(), payload);
        }
    }
    assert_eq!(owned.try_put(&[0; 30 * 8 + 1]), Err(RingError::TooLarge));
}
