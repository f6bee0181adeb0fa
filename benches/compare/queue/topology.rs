//! Who sends how much to whom, and how long that takes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::processes::{Child, Cores, Shared, pin};

/// What messages go through. Each actor makes its own end, in its own process or thread.
pub(crate) trait Wire: Sync {
    /// Sends one message at each call.
    fn sender(&self) -> impl FnMut();
    /// Receives one message at each call.
    fn receiver(&self) -> impl FnMut();
}

/// So many producers and consumers, each on the next core.
#[derive(Clone, Copy)]
pub(crate) struct Topology {
    pub(crate) producers: u32,
    pub(crate) consumers: u32,
}

/// What the actors share beside the wire.
struct Stage {
    ready: AtomicU32,
    has_begun: AtomicU32,
    /// When the last consumer was done.
    ended: AtomicU64,
}

impl Stage {
    fn new() -> Self {
        Self { ready: AtomicU32::new(0), has_begun: AtomicU32::new(0), ended: AtomicU64::new(0) }
    }

    /// For an actor that is ready.
    fn wait(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.has_begun.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
    }

    fn end(&self) {
        self.ended.fetch_max(now(), Ordering::AcqRel);
    }

    /// Lets all `actors` begin, and says when that was.
    fn begin(&self, actors: u32) -> u64 {
        while self.ready.load(Ordering::Acquire) < actors {
            std::thread::yield_now();
        }
        let begun = now();
        self.has_begun.store(1, Ordering::Release);
        begun
    }
}

impl Topology {
    fn actors(self) -> u32 {
        self.producers + self.consumers
    }

    /// The nanoseconds of so many messages between processes.
    pub(crate) fn processes(self, messages: u64, cores: &Cores, wire: &impl Wire) -> u64 {
        let stage = Shared::new(Stage::new());
        let actors: Vec<_> = (0..self.actors())
            .map(|actor| Child::fork(|| self.act(actor, messages, cores, wire, &stage)))
            .collect();
        let begun = stage.begin(self.actors());
        actors.into_iter().for_each(Child::join);
        (stage.ended.load(Ordering::Acquire) - begun) * messages / self.rounded(messages)
    }

    /// The nanoseconds of so many messages between threads.
    pub(crate) fn threads(self, messages: u64, cores: &Cores, wire: &impl Wire) -> u64 {
        let stage = Stage::new();
        let begun = std::thread::scope(|scope| {
            for actor in 0..self.actors() {
                let stage = &stage;
                scope.spawn(move || self.act(actor, messages, cores, wire, stage));
            }
            stage.begin(self.actors())
        });
        (stage.ended.load(Ordering::Acquire) - begun) * messages / self.rounded(messages)
    }

    /// The next number of messages that each producer and each consumer has an equal part of.
    fn rounded(self, messages: u64) -> u64 {
        messages.next_multiple_of(u64::from(self.producers * self.consumers))
    }

    fn act(self, actor: u32, messages: u64, cores: &Cores, wire: &impl Wire, stage: &Stage) {
        pin(cores.of(actor as usize));
        let messages = self.rounded(messages);
        if actor < self.producers {
            let mut send = wire.sender();
            stage.wait();
            (0..messages / u64::from(self.producers)).for_each(|_| send());
        } else {
            let mut receive = wire.receiver();
            stage.wait();
            (0..messages / u64::from(self.consumers)).for_each(|_| receive());
            stage.end();
        }
    }
}

/// CLOCK_MONOTONIC, the same in all processes.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("after the start of the machine")
}
