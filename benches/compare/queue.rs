//! `Queue<u64>` and `PlainQueue<u64>` with one producer and one consumer, beside crossbeam's bounded channel between threads:
//! `cargo bench --bench queue [-- --quick]` in this directory.

#[path = "../rounds/queue.rs"]
mod one_to_one;
#[path = "../rounds/mod.rs"]
mod rounds;

use multiproc::Queue;
use one_to_one::{CAPACITY, Producer};
use rounds::Contestant;

const CROSSBEAM: &str = "crossbeam-channel, threads";
const POSTCARD: &str = "multiproc::Queue, threads";
const THREADS: &str = "multiproc::PlainQueue, threads";
const PROCESSES: &str = "multiproc::PlainQueue, processes";

fn main() -> multiproc::Result<()> {
    let (rounds, operations) = if rounds::is_quick() { (1, 2_000) } else { (15, 1_000_000) };
    let producer = Producer::spawn()?;
    let (plain, queue) = (Queue::plain(CAPACITY)?, Queue::<u64>::bounded(CAPACITY)?);
    let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
    let mut contestants = [
        Contestant::new(CROSSBEAM, |n| {
            let send = |item| sender.send(item).expect("a receiver");
            one_to_one::threads(n, send, || receiver.recv().expect("a sender"))
        }),
        Contestant::new(POSTCARD, |n| {
            let send = |item| queue.put(item).expect("room in time");
            one_to_one::threads(n, send, || queue.get().expect("an item"))
        }),
        Contestant::new(THREADS, |n| {
            let send = |item| plain.put(item).expect("room in time");
            one_to_one::threads(n, send, || plain.get().expect("an item"))
        }),
        Contestant::new(PROCESSES, |n| producer.run(n)),
    ];
    let figures = rounds::measure(&mut contestants, rounds, operations);
    drop(contestants);
    figures.print_rates(&[CROSSBEAM]);
    producer.end()
}
