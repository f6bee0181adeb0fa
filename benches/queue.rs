//! One producer, one consumer, 8-byte items: `Queue<u64>` and `PlainQueue<u64>` between processes and threads, beside
//! std's bounded channel: `cargo bench --bench queue [-- --quick]`. The peers that are crates: `benches/compare`.

mod rounds;

use std::sync::mpsc::sync_channel;
use std::time::Instant;

use multiproc::{PlainQueue, Process, Queue};
use rounds::Contestant;

const STD: &str = "std sync_channel, threads";
const POSTCARD: &str = "multiproc::Queue, threads";
const THREADS: &str = "multiproc::PlainQueue, threads";
const PROCESSES: &str = "multiproc::PlainQueue, processes";

/// Items that fit into each queue, std's too.
const CAPACITY: usize = 1024;

fn main() -> multiproc::Result<()> {
    let (rounds, operations) = if rounds::is_quick() { (1, 2_000) } else { (15, 1_000_000) };
    let producer = Producer::spawn()?;
    let (plain, queue) = (Queue::plain(CAPACITY)?, Queue::<u64>::bounded(CAPACITY)?);
    let mut contestants = [
        Contestant::new(STD, |n| {
            let (sender, receiver) = sync_channel(CAPACITY);
            let send = move |item| sender.send(item).expect("a receiver");
            threads(n, send, || receiver.recv().expect("a sender"))
        }),
        Contestant::new(POSTCARD, |n| {
            let send = |item| queue.put(item).expect("room in time");
            threads(n, send, || queue.get().expect("an item"))
        }),
        Contestant::new(THREADS, |n| {
            let send = |item| plain.put(item).expect("room in time");
            threads(n, send, || plain.get().expect("an item"))
        }),
        Contestant::new(PROCESSES, |n| producer.run(n)),
    ];
    let figures = rounds::measure(&mut contestants, rounds, operations);
    drop(contestants);
    figures.print_rates(&[STD]);
    producer.end()
}

/// Sends `operations` numbers by `send` from a second thread, receives them by `receive`, and returns the nanoseconds.
fn threads(operations: u64, send: impl Fn(u64) + Send, receive: impl Fn() -> u64) -> u64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..operations).for_each(send));
        receive_all(operations, receive);
    });
    nanos(begun)
}

/// A process that sends numbers when it is told to.
struct Producer {
    orders: Queue<u64>,
    items: PlainQueue<u64>,
    process: Process<()>,
}

impl Producer {
    fn spawn() -> multiproc::Result<Self> {
        let (orders, items) = (Queue::bounded(1)?, Queue::plain(CAPACITY)?);
        let process = Process::spawn(produce, (orders.clone(), items.clone()))?;
        Ok(Self { orders, items, process })
    }

    /// Receives `operations` numbers from the process and returns the nanoseconds.
    fn run(&self, operations: u64) -> u64 {
        let begun = Instant::now();
        self.orders.put(operations).expect("the process takes orders");
        receive_all(operations, || self.items.get().expect("an item"));
        nanos(begun)
    }

    fn end(mut self) -> multiproc::Result<()> {
        self.orders.shutdown();
        Ok(self.process.join()?)
    }
}

fn produce((orders, items): (Queue<u64>, PlainQueue<u64>)) {
    for operations in orders.iter() {
        (0..operations).for_each(|item| items.put(item).expect("the parent reads"));
    }
}

fn receive_all(operations: u64, receive: impl Fn() -> u64) {
    for expected in 0..operations {
        assert_eq!(receive(), expected);
    }
}

fn nanos(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
