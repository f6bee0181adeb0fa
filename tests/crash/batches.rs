//! Batches, and items made and read in place: killed anywhere, the first so many items of a batch are put, or gone, each
//! whole; and whoever sleeps for what was done is woken. The sleep slice is off.

use std::time::Duration;

use multiproc::{Plain, PlainQueue, QueueOptions};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Settled, Witness};

const NONE: &str = "none of the items";
const SOME: &str = "some of the items";
const ALL: &str = "all of the items";

const CAPACITY: u64 = 4;
/// Items of a batch.
const BATCH: u64 = 3;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "batches::put_many", run: || Case::new(Act::PutMany)?.test(&[NONE, SOME, ALL]) },
    Scenario {
        name: "batches::put_many_with_sleeping_consumer",
        run: || Case { sleeper: true, ..Case::new(Act::PutMany)? }.test(&[NONE, SOME, ALL]),
    },
    Scenario { name: "batches::get_many", run: || Case::new(Act::GetMany)?.test(&[NONE, SOME, ALL]) },
    Scenario {
        name: "batches::get_many_with_blocked_producer",
        run: || Case { sleeper: true, ..Case::new(Act::GetMany)? }.test(&[NONE, SOME, ALL]),
    },
    Scenario { name: "batches::put_in_place", run: || Case::new(Act::PutWith)?.test(&[NONE, ALL]) },
    Scenario {
        name: "batches::put_in_place_with_sleeping_consumer",
        run: || Case { sleeper: true, ..Case::new(Act::PutWith)? }.test(&[NONE, ALL]),
    },
    Scenario { name: "batches::get_in_place", run: || Case::new(Act::GetWith)?.test(&[NONE, ALL]) },
    Scenario {
        name: "batches::get_in_place_with_blocked_producer",
        run: || Case { sleeper: true, ..Case::new(Act::GetWith)? }.test(&[NONE, ALL]),
    },
    Scenario {
        name: "batches::puts_of_an_endpoint",
        run: || Case::new(Act::EndpointPuts)?.test(&[NONE, SOME, ALL]),
    },
    Scenario {
        name: "batches::puts_of_an_endpoint_with_sleeping_consumer",
        run: || Case { sleeper: true, ..Case::new(Act::EndpointPuts)? }.test(&[NONE, SOME, ALL]),
    },
    Scenario {
        name: "batches::gets_of_an_endpoint",
        run: || Case::new(Act::EndpointGets)?.test(&[NONE, SOME, ALL]),
    },
    Scenario {
        name: "batches::gets_of_an_endpoint_with_blocked_producer",
        run: || Case { sleeper: true, ..Case::new(Act::EndpointGets)? }.test(&[NONE, SOME, ALL]),
    },
];

/// What the victim does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    PutMany,
    GetMany,
    PutWith,
    GetWith,
    /// One by one, of which the second and the third find the endpoint's cursor where it is.
    EndpointPuts,
    EndpointGets,
}

impl Act {
    fn puts(self) -> bool {
        matches!(self, Self::PutMany | Self::PutWith | Self::EndpointPuts)
    }

    /// How many items it moves.
    fn items(self) -> u64 {
        match self {
            Self::PutMany | Self::GetMany | Self::EndpointPuts | Self::EndpointGets => BATCH,
            Self::PutWith | Self::GetWith => 1,
        }
    }

    fn run(self, queue: &PlainQueue<u64>) {
        match self {
            Self::PutMany => _ = queue.put_many(0..BATCH),
            Self::GetMany => _ = queue.get_many(&mut Vec::with_capacity(8), BATCH as usize),
            Self::PutWith => _ = queue.put_with(8, |bytes| bytes.copy_from_slice(&0u64.to_ne_bytes())),
            Self::GetWith => _ = queue.get_with(|bytes| bytes.len()),
            Self::EndpointPuts => {
                let done = queue.producer().map(|mut end| (0..BATCH).all(|number| end.put(number).is_ok()));
                debug_assert!(matches!(done, Ok(true)));
            }
            Self::EndpointGets => {
                let done = queue.consumer().map(|mut end| (0..BATCH).all(|_| end.get().is_ok()));
                debug_assert!(matches!(done, Ok(true)));
            }
        }
    }
}

struct Case {
    act: Act,
    /// Whether a consumer sleeps before a put, or a producer before a get.
    sleeper: bool,
    spare: PlainQueue<u64>,
}

impl Case {
    fn new(act: Act) -> Result<Self, String> {
        let spare = queue()?;
        // This process's first use of a lock starts a thread; a victim's must not.
        rehearse(act, &spare);
        Ok(Self { act, sleeper: false, spare })
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

fn queue() -> Result<PlainQueue<u64>, String> {
    QueueOptions::new(CAPACITY as usize).codec(Plain).queue().map_err(|error| error.to_string())
}

/// Does what the victims do, so that they allocate what this gave back.
fn rehearse(act: Act, queue: &PlainQueue<u64>) {
    if !act.puts() {
        queue.put_many(0..BATCH).expect("room for a batch");
    }
    act.run(queue);
    while queue.try_get().is_ok() {}
}

struct Scene {
    queue: PlainQueue<u64>,
    sleeper: Option<Witness>,
}

impl Operation for Case {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        multiproc::testing::set_sleep_slice(None);
        let queue = queue()?;
        if !self.act.puts() {
            queue.put_many(0..CAPACITY).map_err(|error| error.to_string())?;
        }
        let sleeper = self.sleeper.then(|| {
            let sleeper = match self.act.puts() {
                true => Witness::spawn(|| queue.get().unwrap_or(u64::MAX)),
                false => Witness::spawn(|| u64::from(queue.put(CAPACITY).is_ok())),
            }?;
            sleeper.wait_until_asleep().map(|()| sleeper)
        });
        Ok(Scene { sleeper: sleeper.transpose()?, queue })
    }

    fn enter(&self, _: &Scene) {
        rehearse(self.act, &self.spare);
    }

    fn run(&self, scene: &Scene) {
        self.act.run(&scene.queue);
    }

    fn turns(&self) -> usize {
        1
    }

    fn verify(&self, scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        let Scene { queue, mut sleeper } = scene;
        let mut left = Vec::new();
        // What the sleeper waits for is there, so it must have been woken; or it has come and gone just before the look.
        let is_woken = || if self.act.puts() { !queue.is_empty() } else { queue.len() < CAPACITY as usize };
        if let Some(woken) = sleeper.take_if(|_| is_woken()) {
            left.extend(Some(woken.finish_within(BOUND)?).filter(|_| self.act.puts()));
        } else if let Some(asleep) = sleeper.take() {
            match asleep.settle()? {
                Settled::Finished => {
                    left.extend(Some(asleep.finish_within(BOUND)?).filter(|_| self.act.puts()))
                }
                _ => sleeper = Some(asleep),
            }
        }
        while let Ok(item) = queue.get_timeout(Duration::ZERO) {
            left.push(item);
        }
        let moved = if self.act.puts() {
            let moved = left.len() as u64;
            if left != (0..moved).collect::<Vec<_>>() {
                return Err(format!("in the queue: {left:?}"));
            }
            if let Some(asleep) = sleeper.take() {
                queue.put(7).map_err(|error| error.to_string())?;
                asleep.finish_within(BOUND)?;
            }
            moved
        } else {
            if let Some(asleep) = sleeper.take() {
                // The gets above have made room.
                asleep.finish_within(BOUND)?;
            }
            while let Ok(item) = queue.get_timeout(Duration::ZERO) {
                left.push(item);
            }
            let end = CAPACITY + u64::from(self.sleeper);
            let moved = end.checked_sub(left.len() as u64).ok_or("more items than were put")?;
            if left != (moved..end).collect::<Vec<_>>() {
                return Err(format!("left in the queue: {left:?}"));
            }
            moved
        };
        if kill.is_after_the_end() && moved != self.act.items() {
            return Err(format!("the operation was over, but moved are {moved}"));
        }
        // The queue works as before.
        queue.put_many(0..CAPACITY).map_err(|error| error.to_string())?;
        let got = queue.get_many(&mut left, CAPACITY as usize).map_err(|error| error.to_string())?;
        if got as u64 != CAPACITY {
            return Err(format!("{got} items got of {CAPACITY}"));
        }
        match moved {
            0 => Ok(NONE),
            moved if moved == self.act.items() => Ok(ALL),
            moved if moved < self.act.items() => Ok(SOME),
            moved => Err(format!("{moved} items moved")),
        }
    }
}
