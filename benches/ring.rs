//! `RawRing` with one producer and one consumer on a core each, beside std's bounded channel:
//! `cargo bench --bench ring [-- --quick]`. Payloads of 8 bytes in a ring of one length; in one of varying length, in their
//! slots and beside them.
#![allow(unsafe_code)]

mod rounds;

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use multiproc::raw::{RawRing, Ring, RingShape};
use rounds::Contestant;
use rustix::thread::{CpuSet, sched_setaffinity};

const ITEMS: usize = 1024;
const STD: &str = "std sync_channel";

fn main() {
    let (rounds, operations) = if rounds::is_quick() { (1, 2_000) } else { (15, 1_000_000) };
    let memories = [
        ("RawRing, one length", RingShape::fixed(ITEMS, 8)),
        ("RawRing, varying, in slots of 32 bytes", RingShape::varying(ITEMS, 16, 0)),
        ("RawRing, varying, in slots of 64 bytes", RingShape::varying(ITEMS, 48, 0)),
        ("RawRing, varying, beside slots of 16 bytes", RingShape::varying(ITEMS, 0, ITEMS * 8)),
    ]
    .map(|(name, shape)| (name, Memory::new(shape.expect("a shape"))));
    let mut contestants = vec![Contestant::new(STD, |n| {
        let (sender, receiver) = sync_channel(ITEMS);
        run(n, move |item| sender.send(item).expect("a receiver"), || receiver.recv().expect("a sender"))
    })];
    for (name, memory) in &memories {
        contestants.push(Contestant::new(name, |n| {
            // SAFETY: the memory outlives the threads.
            let put = |item: u64| unsafe { memory.ring().put(&item.to_le_bytes(), None) }.expect("room");
            let buffer = RefCell::new(Vec::with_capacity(8));
            run(n, put, || {
                let mut buffer = buffer.borrow_mut();
                buffer.clear();
                // SAFETY: as above.
                unsafe { memory.ring().get(&mut buffer, None) }.expect("an item");
                u64::from_le_bytes(*buffer.first_chunk().expect("8 bytes"))
            })
        }));
    }
    rounds::measure(&mut contestants, rounds, operations).print_rates(&[STD]);
}

/// A ring and its words, which begin at a cache line.
struct Memory {
    ring: RawRing,
    shape: RingShape,
    words: Vec<AtomicU64>,
}

impl Memory {
    fn new(shape: RingShape) -> Self {
        let words = (0..shape.words() + 8).map(|_| AtomicU64::new(0)).collect();
        Self { ring: RawRing::new(ITEMS as u64), shape, words }
    }

    fn ring(&self) -> Ring<'_> {
        let skip = self.words.as_ptr().align_offset(64);
        self.ring.with_words(self.shape, &self.words[skip..]).expect("enough words")
    }
}

/// Sends so many numbers from another core and receives them on this one; the nanoseconds it took.
fn run(operations: u64, send: impl Fn(u64) + Send, receive: impl Fn() -> u64) -> u64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            (0..operations).for_each(send);
        });
        pin(0);
        (0..operations).for_each(|expected| assert_eq!(receive(), expected));
    });
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Keeps the calling thread on the core of this number, if there is one.
fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // With one core, both are on it.
    let _ = sched_setaffinity(None, &set);
}
