//! Queues that grow: a put that links the next chunk, a get that steps to it and gives its memory back, killed at each
//! instruction. Nothing is lost, nobody sleeps for ever, and an empty queue takes no more memory than before.

use std::time::Duration;

use multiproc::{JoinableQueue, Plain, PlainQueue, Queue, QueueOptions};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Settled, Witness};

const NOT_DONE: &str = "the operation not done";
const DONE: &str = "the operation done";

/// With its state it takes 512 bytes: few of them are a chunk.
type Item = [u64; 63];

/// Items in the home ring of an unbounded queue, and in its first chunk.
const HOME: u64 = 127;
const CHUNK: u64 = 126;
/// Items in a bounded queue that grows, and in its home ring.
const BOUND_ITEMS: u64 = 2100;
const BOUNDED_HOME: u64 = 2047;

/// The item of the victim, and of a producer that sleeps.
const VICTIMS: u64 = 1 << 40;
const SLEEPERS: u64 = 1 << 41;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "growth::put_that_links", run: || Case::new(Act::Put, HOME, 0)?.test() },
    Scenario {
        name: "growth::put_that_links_a_second_chunk",
        run: || Case::new(Act::Put, HOME + CHUNK, 0)?.test(),
    },
    Scenario {
        name: "growth::put_that_goes_home",
        run: || Case::new(Act::Put, HOME + CHUNK, HOME + CHUNK - 1)?.test(),
    },
    Scenario {
        name: "growth::put_into_a_chunk_with_sleeping_consumer",
        run: || Case { sleeper: true, ..Case::new(Act::Put, HOME + 1, HOME + 1)? }.test(),
    },
    Scenario {
        name: "growth::put_that_goes_home_with_consumer_at_the_mark",
        run: || Case { behind: true, ..Case::new(Act::Put, HOME + CHUNK, HOME + CHUNK - 1)? }.test(),
    },
    Scenario {
        name: "growth::put_that_links_with_consumer_at_the_mark",
        run: || {
            let (put, got) = (BOUNDED_HOME + CHUNK, BOUNDED_HOME + CHUNK - 1);
            let max_items = BOUND_ITEMS as usize;
            Case { behind: true, max_items, ..Case::new(Act::Put, put, got)? }.test()
        },
    },
    Scenario { name: "growth::get_that_steps", run: || Case::new(Act::Get, HOME + 2, HOME)?.test() },
    Scenario {
        name: "growth::get_that_punches",
        run: || Case::new(Act::Get, HOME + CHUNK + 2, HOME + CHUNK - 1)?.test(),
    },
    Scenario { name: "growth::get_that_goes_home", run: || Case::new(Act::Get, HOME + 2, HOME + 1)?.test() },
    Scenario { name: "growth::take_that_steps", run: || Case::new(Act::Take, HOME + 2, HOME)?.test() },
    Scenario {
        name: "growth::take_that_goes_home",
        run: || Case::new(Act::Take, HOME + 2, HOME + 1)?.test(),
    },
    Scenario { name: "growth::get_that_steps_with_blocked_producer", run: || blocked(BOUNDED_HOME)?.test() },
    Scenario {
        name: "growth::get_that_punches_with_blocked_producer",
        run: || blocked(BOUNDED_HOME + BOUND_ITEMS - BOUNDED_HOME - 1)?.test(),
    },
];

/// A get from a bounded queue that is full, after so many gets.
fn blocked(got: u64) -> Result<Case, String> {
    let max_items = BOUND_ITEMS as usize;
    Ok(Case { max_items, sleeper: true, ..Case::new(Act::Get, BOUND_ITEMS + got, got)? })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Put,
    Get,
    Take,
}

struct Case {
    act: Act,
    max_items: usize,
    /// How many items were put before, and how many of those were got.
    put: u64,
    got: u64,
    /// Whether a consumer sleeps before a put, or a producer before a get.
    sleeper: bool,
    /// Whether a consumer gets the last item, and waits for the victim's, while that stands where it will die.
    behind: bool,
    spare: Any,
}

/// A queue, whose items are taken or not.
enum Any {
    Plain(PlainQueue<Item>),
    Jobs(JoinableQueue<Item, Plain>),
}

impl Any {
    fn new(act: Act, max_items: usize) -> Result<Self, String> {
        let options = QueueOptions::new(max_items).max_taken(4).codec(Plain);
        let made = match act {
            Act::Take => options.joinable_queue().map(Self::Jobs),
            _ => options.queue().map(Self::Plain),
        };
        made.map_err(|error| error.to_string())
    }

    fn queue(&self) -> &Queue<Item, Plain> {
        match self {
            Self::Plain(queue) => queue,
            Self::Jobs(jobs) => jobs,
        }
    }

    fn put(&self, number: u64) -> Result<(), String> {
        self.queue().try_put([number; 63]).map_err(|error| format!("{number}: {error}"))
    }

    /// The next item, and how often it was taken.
    fn next(&self) -> Result<Option<(u64, u32)>, String> {
        let got = match self {
            Self::Plain(queue) => queue.get_timeout(Duration::ZERO).map(|item| (item, 1)),
            Self::Jobs(jobs) => jobs.take_timeout(Duration::ZERO).map(|task| {
                let got = (*task, task.attempt());
                task.done();
                got
            }),
        };
        match got {
            Ok((item, _)) if item.iter().any(|word| *word != item[0]) => Err(format!("torn: {item:?}")),
            Ok((item, attempt)) => Ok(Some((item[0], attempt))),
            Err(multiproc::GetError::TimedOut) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Puts and gets the items of numbers below these.
    fn fill(&self, put: u64, got: u64) -> Result<(), String> {
        let room = self.queue().capacity() as u64;
        let mut next = 0;
        for number in 0..put {
            if number - next == room {
                next += self.next()?.map_or(0, |_| 1);
            }
            self.put(number)?;
        }
        while next < got {
            next += self.next()?.map_or(0, |_| 1);
        }
        Ok(())
    }

    fn bytes(&self) -> Result<u64, String> {
        self.queue().stats().map(|stats| stats.bytes).map_err(|error| error.to_string())
    }
}

impl Case {
    fn new(act: Act, put: u64, got: u64) -> Result<Self, String> {
        let spare = Any::new(act, usize::MAX)?;
        let case = Self { act, max_items: usize::MAX, put, got, sleeper: false, behind: false, spare };
        // This process's first use of a lock starts a thread; a victim's must not.
        case.rehearse()?;
        Ok(case)
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(&[NOT_DONE, DONE])
    }

    /// Does what the victims do, so that they allocate what this gave back.
    fn rehearse(&self) -> Result<(), String> {
        self.spare.fill(HOME + CHUNK + 2, 0)?;
        while self.spare.next()?.is_some() {}
        Ok(())
    }
}

struct Scene {
    queue: Any,
    /// What the queue took when it was new.
    idle: u64,
    sleeper: Option<Witness>,
}

impl Operation for Case {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        multiproc::testing::set_sleep_slice(None);
        let queue = Any::new(self.act, self.max_items)?;
        let idle = queue.bytes()?;
        queue.fill(self.put, self.got)?;
        let sleeper = self.sleeper.then(|| {
            let sleeper = match self.act {
                Act::Put => Witness::spawn(|| queue.queue().get().map_or(u64::MAX, |item| item[0])),
                _ => Witness::spawn(|| u64::from(queue.queue().put([SLEEPERS; 63]).is_ok())),
            }?;
            sleeper.wait_until_asleep().map(|()| sleeper)
        });
        Ok(Scene { sleeper: sleeper.transpose()?, queue, idle })
    }

    fn enter(&self, _: &Scene) {
        let _ = self.rehearse();
    }

    fn run(&self, scene: &Scene) {
        match (self.act, &scene.queue) {
            (Act::Put, queue) => _ = queue.queue().put([VICTIMS; 63]),
            (Act::Take, Any::Jobs(jobs)) => std::mem::forget(jobs.take()),
            (_, queue) => _ = queue.queue().get(),
        }
    }

    fn turns(&self) -> usize {
        1
    }

    fn doomed(&self, scene: &mut Scene, _: &Kill) -> Result<(), String> {
        if self.behind {
            let queue = scene.queue.queue();
            let get = || queue.get().map_or(u64::MAX, |item| item[0]);
            let witness = Witness::spawn(|| if get() == self.put - 1 { get() } else { u64::MAX })?;
            witness.settle()?;
            scene.sleeper = Some(witness);
        }
        Ok(())
    }

    fn verify(&self, scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        let Scene { queue, idle, mut sleeper } = scene;
        let (len, before) = (queue.queue().len() as u64, self.put - self.got - u64::from(self.behind));
        let mut all = Vec::new();
        if let Some(witness) = sleeper.take() {
            // Awake, or for good reason asleep: then it goes on with what is done next.
            let asleep = witness.settle()? == Settled::Asleep;
            if asleep && (len != before || queue.queue().len() as u64 != before) {
                return Err(format!("the sleeper is not woken, and the length is {len}"));
            }
            match self.act {
                Act::Put if asleep => {
                    queue.put(0)?;
                    if witness.finish_within(BOUND)? != 0 {
                        return Err("the sleeper got another item".to_owned());
                    }
                }
                Act::Put => all.push(witness.finish_within(BOUND)?),
                _ => {
                    if asleep {
                        all.extend(queue.next()?.map(|(number, _)| number));
                    }
                    witness.finish_within(BOUND)?;
                }
            }
        }
        let len = queue.queue().len();
        let mut redelivered = false;
        let own = all.len();
        while let Some((number, attempt)) = queue.next()? {
            redelivered |= attempt > 1;
            all.push(number);
        }
        if all.len() - own != len && self.act != Act::Take {
            return Err(format!("len is {len}, but {} items come", all.len() - own));
        }
        let ends = |number: &u64| matches!(*number, VICTIMS | SLEEPERS);
        let done = match self.act {
            Act::Put => all.contains(&VICTIMS),
            Act::Get => all.first() != Some(&self.got),
            Act::Take => redelivered,
        };
        let first = self.got + u64::from(self.behind || done && self.act == Act::Get);
        let behind =
            usize::from(done && self.act == Act::Put) + usize::from(self.sleeper && self.act != Act::Put);
        let expected: Vec<u64> = (first..self.put).collect();
        let mut numbers: Vec<u64> = all.iter().copied().filter(|number| !ends(number)).collect();
        if self.act == Act::Take {
            // One that comes again does so later.
            numbers.sort_unstable();
        }
        if numbers != expected || all.iter().filter(|number| ends(number)).count() != behind {
            return Err(format!("{} items from {first}: {all:?}", expected.len()));
        }
        if kill.is_after_the_end() && !done {
            return Err("the operation was over, but it is not done".to_owned());
        }
        // The next ones repair what is left; then an empty queue has its home ring and nothing else.
        queue.put(1)?;
        queue.next()?.ok_or("an item was put, but none comes")?;
        let bytes = queue.bytes()?;
        if bytes > idle {
            return Err(format!("{bytes} bytes when empty, {idle} at first"));
        }
        queue.fill(HOME + CHUNK + 2, HOME + CHUNK + 2)?;
        Ok(if done { DONE } else { NOT_DONE })
    }
}
