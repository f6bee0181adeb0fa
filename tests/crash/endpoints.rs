//! Exclusive endpoints, killed at each instruction from the one that takes the end to the one that gives it back: the end is
//! free, what was committed comes exactly once, and whoever sleeps is woken. The sleep slice is off.

use std::cell::Cell;
use std::time::Duration;

use multiproc::{GetError, Plain, PlainQueue, PutError, QueueOptions};

use crate::crowd::Role::{Consumer, Producer};
use crate::fifo::{Fifo, Refusal, Size, of_get, of_put};
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::transfer::{Act, COMMITTED, Case, FREED, LEFT, NOT_COMMITTED};
use crate::witness::{BOUND, Holder, Settled, Witness};

/// A queue of which the victim has an end for itself while it puts or gets.
type Victims = Case<Kept<true, false>>;
/// One of which those have it who sleep meanwhile.
type Sleepers = Case<Kept<false, true>>;
/// Both.
type Both = Case<Kept<true, true>>;

const PUT: &[&str] = &[COMMITTED, NOT_COMMITTED];
const GET: &[&str] = &[FREED, LEFT];
/// A full queue of four.
const FULL: (u64, u64) = (4, 0);
/// An empty queue that was used.
const EMPTY: (u64, u64) = (2, 2);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "endpoints::put", run: || Victims::new(Act::Put)?.test(PUT) },
    Scenario {
        name: "endpoints::put_with_sleeping_consumer",
        run: || Victims { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "endpoints::put_blocked",
        run: || Victims { before: FULL, ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "endpoints::get", run: || Victims::new(Act::Get)?.test(GET) },
    Scenario {
        name: "endpoints::get_with_blocked_producer",
        run: || Victims { before: FULL, asleep: (Producer, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "endpoints::get_blocked",
        run: || Victims { before: EMPTY, ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "endpoints::put_for_a_sleeping_endpoint",
        run: || Sleepers { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "endpoints::get_beside_a_blocked_endpoint",
        run: || Sleepers { before: FULL, asleep: (Producer, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "endpoints::put_between_endpoints",
        run: || Both { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "endpoints::shutdown_beside_an_idle_endpoint", run: || Closing::new()?.test() },
];

/// A queue of which victims, or survivors that wait for ever, keep an end while they put or get; the test itself does not.
struct Kept<const VICTIM: bool, const SURVIVORS: bool>(PlainQueue<u64>);

impl<const VICTIM: bool, const SURVIVORS: bool> Kept<VICTIM, SURVIVORS> {
    /// Told that the one at the other end died, it goes on without an end of its own.
    fn put_kept(&self, number: u64) -> Result<(), Refusal> {
        let done = self.0.producer().map_err(of_put)?.put(number);
        match done {
            Err(PutError::ConsumerDied(number)) => self.0.put(number),
            done => done,
        }
        .map_err(of_put)
    }

    /// The same.
    fn get_kept(&self) -> Result<u64, Refusal> {
        let done = self.0.consumer().and_then(|mut consumer| consumer.get());
        match done {
            Err(GetError::ProducerDied) => self.0.get(),
            done => done,
        }
        .map_err(|error| of_get(&error))
    }
}

impl<const VICTIM: bool, const SURVIVORS: bool> Fifo for Kept<VICTIM, SURVIVORS> {
    fn new(size: Size) -> Result<Self, String> {
        let queue = QueueOptions::new(size.max_items).ring_bytes(size.ring_bytes).codec(Plain).queue();
        queue.map(Self).map_err(|error| error.to_string())
    }

    fn put(&self, number: u64, timeout: Option<Duration>) -> Result<(), Refusal> {
        match timeout {
            None if SURVIVORS => self.put_kept(number),
            None => self.0.put(number).map_err(of_put),
            Some(timeout) => self.0.put_timeout(number, timeout).map_err(of_put),
        }
    }

    fn try_put(&self, number: u64) -> Result<(), Refusal> {
        self.0.try_put(number).map_err(of_put)
    }

    fn get(&self, timeout: Option<Duration>) -> Result<u64, Refusal> {
        match timeout {
            None if SURVIVORS => self.get_kept(),
            None => self.0.get().map_err(|error| of_get(&error)),
            Some(timeout) => self.0.get_timeout(timeout).map_err(|error| of_get(&error)),
        }
    }

    fn try_get(&self) -> Result<u64, Refusal> {
        self.0.try_get().map_err(|error| of_get(&error))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn shutdown(&self) {
        self.0.shutdown();
    }

    fn victims_put(&self, number: u64) -> Result<(), Refusal> {
        if VICTIM { self.put_kept(number) } else { self.0.put(number).map_err(of_put) }
    }

    fn victims_get(&self) -> Result<u64, Refusal> {
        if VICTIM { self.get_kept() } else { self.0.get().map_err(|error| of_get(&error)) }
    }

    fn rehearse(&self) {
        for number in [1, 2] {
            let shared = self.0.put(number).is_ok() && self.0.get().is_ok();
            let kept = self.put_kept(number).is_ok() && self.get_kept().is_ok();
            assert!(shared && kept, "a queue that nobody else uses works");
        }
    }
}

/// Nothing shut down, or begun: the next who shuts it down completes it.
const OPEN: &str = "the shutdown completed by another";
const COMPLETE: &str = "the shutdown complete";

/// A shutdown while somebody keeps the producers' end, and does not use it, and a consumer sleeps.
struct Closing {
    spare: PlainQueue<u64>,
}

struct Scene {
    queue: PlainQueue<u64>,
    keeper: Holder,
    consumer: Option<Witness>,
}

impl Closing {
    fn new() -> Result<Self, String> {
        let spare = queue()?;
        shut_down_beside_an_endpoint(&spare);
        Ok(Self { spare })
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[OPEN, COMPLETE])
    }
}

fn queue() -> Result<PlainQueue<u64>, String> {
    QueueOptions::new(4).codec(Plain).queue().map_err(|error| error.to_string())
}

fn shut_down_beside_an_endpoint(queue: &PlainQueue<u64>) {
    let endpoint = queue.producer();
    queue.shutdown();
    drop(endpoint);
}

impl Operation for Closing {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        multiproc::testing::set_sleep_slice(None);
        let queue = queue()?;
        let endpoint = Cell::new(None);
        let keep = || {
            endpoint.set(queue.producer().ok());
            u64::from(endpoint.take().map(|kept| endpoint.set(Some(kept))).is_some())
        };
        let keeper = Holder::spawn(keep, || drop(endpoint.take()))?;
        let consumer = Witness::spawn(|| match queue.get() {
            Err(GetError::Shutdown) => 1,
            _ => 0,
        })?;
        consumer.wait_until_asleep()?;
        Ok(Scene { queue: queue.clone(), keeper, consumer: Some(consumer) })
    }

    fn enter(&self, _: &Scene) {
        shut_down_beside_an_endpoint(&self.spare);
    }

    fn run(&self, scene: &Scene) {
        scene.queue.shutdown();
    }

    fn verify(&self, scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        let Scene { queue, keeper, consumer } = scene;
        let consumer = consumer.ok_or("no consumer")?;
        let class = match consumer.settle()? {
            Settled::Finished => COMPLETE,
            _ if kill.is_after_the_end() => {
                return Err("the shutdown was over, but a consumer sleeps".to_owned());
            }
            _ => OPEN,
        };
        queue.shutdown();
        if consumer.finish_within(BOUND)? != 1 {
            return Err("a consumer was not told of the end".to_owned());
        }
        if queue.try_get() != Err(GetError::Shutdown) {
            return Err("the queue is open".to_owned());
        }
        keeper.release()?;
        match (queue.producer().map(|mut endpoint| endpoint.put(1)), queue.len()) {
            (Ok(Err(PutError::Shutdown(1))), 0) => Ok(class),
            wrong => Err(format!("after the shutdown: {wrong:?}")),
        }
    }
}
