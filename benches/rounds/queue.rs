//! One producer and one consumer of a `PlainQueue<u64>`, in threads and in processes.

use std::time::Instant;

use multiproc::{PlainQueue, Process, Queue};

/// Items that fit into each queue, the peers' too.
pub(crate) const CAPACITY: usize = 1024;

/// Sends `operations` numbers by `send` from a second thread, receives them by `receive`, and returns the nanoseconds.
pub(crate) fn threads(operations: u64, send: impl Fn(u64) + Send, receive: impl Fn() -> u64) -> u64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..operations).for_each(send));
        receive_all(operations, receive);
    });
    nanos(begun)
}

/// A process that sends numbers when it is told to.
pub(crate) struct Producer {
    orders: Queue<u64>,
    items: PlainQueue<u64>,
    process: Process<()>,
}

impl Producer {
    pub(crate) fn spawn() -> multiproc::Result<Self> {
        let (orders, items) = (Queue::bounded(1)?, Queue::plain(CAPACITY)?);
        let process = Process::spawn(produce, (orders.clone(), items.clone()))?;
        Ok(Self { orders, items, process })
    }

    /// Receives `operations` numbers from the process and returns the nanoseconds.
    pub(crate) fn run(&self, operations: u64) -> u64 {
        let begun = Instant::now();
        self.orders.put(operations).expect("the process takes orders");
        receive_all(operations, || self.items.get().expect("an item"));
        nanos(begun)
    }

    pub(crate) fn end(mut self) -> multiproc::Result<()> {
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
