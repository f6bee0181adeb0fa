//! `JoinableQueue`: a task is done at least once, one that is done never comes again, and the counts are exact.
//!
//! A sleeper that has to notice a death on another word than its own does so after a slice; there the slice is on. It is
//! off everywhere else.

use std::cell::Cell;
use std::time::Duration;

use multiproc::{GetError, JoinableQueue, QueueOptions, Task};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::witness::{BOUND, Settled, Witness};

type Jobs = JoinableQueue<u64>;

const TAKEN: &str = "the item taken";
const NOT_TAKEN: &str = "the item not taken";
const DONE: &str = "the item done";
const NOT_DONE: &str = "the item not done";
const HANDED_OVER: &str = "the item handed over before the death";
const INHERITED: &str = "the item inherited";

/// Short, so that a test does not wait longer than it must; the default is 100 ms.
const SLICE: Duration = Duration::from_millis(10);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "joinable::take", run: || Case::new(Act::Take)?.test(&[TAKEN, NOT_TAKEN]) },
    Scenario {
        name: "joinable::take_of_an_orphan",
        run: || Case { items: 1, orphan: true, ..Case::new(Act::Take)? }.test(&[TAKEN, NOT_TAKEN]),
    },
    Scenario {
        name: "joinable::take_blocked_with_taker_behind",
        run: || Case { items: 0, taker: true, ..Case::new(Act::Take)? }.test(&[TAKEN, NOT_TAKEN]),
    },
    Scenario { name: "joinable::done", run: || Case::new(Act::Done)?.test(&[DONE, NOT_DONE]) },
    Scenario {
        name: "joinable::done_with_sleeping_taker",
        run: || Case { items: 1, taker: true, ..Case::new(Act::Done)? }.test(&[DONE, NOT_DONE]),
    },
    Scenario {
        name: "joinable::done_with_sleeping_joiner",
        run: || Case { items: 1, joiner: true, ..Case::new(Act::Done)? }.test(&[DONE, NOT_DONE]),
    },
    Scenario { name: "joinable::task_done", run: || Case::new(Act::TaskDone)?.test(&[DONE, NOT_DONE]) },
    Scenario { name: "joinable::give_up", run: || Case::new(Act::GiveUp)?.test(&[NOT_DONE]) },
    Scenario {
        name: "joinable::give_up_with_sleeping_taker",
        run: || {
            let case = Case { items: 1, taker: true, ..Case::new(Act::GiveUp)? };
            case.test(&[HANDED_OVER, INHERITED])
        },
    },
];

/// What the victim does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Take,
    /// With a task that it has taken before.
    Done,
    /// The same.
    GiveUp,
    /// After a plain get.
    TaskDone,
}

/// One operation in a situation, killed at each instruction.
struct Case {
    act: Act,
    /// How many are put before.
    items: u64,
    /// Whether the first of them was taken by a process that died.
    orphan: bool,
    /// Whether another process sleeps in a take. If the victim is to sleep itself, it comes behind the victim.
    taker: bool,
    /// Whether another process sleeps in a join.
    joiner: bool,
    spare: Jobs,
}

impl Case {
    fn new(act: Act) -> Result<Case, String> {
        let spare = jobs()?;
        // This process's first use of a lock starts a thread; a victim's must not.
        rehearse(&spare)?;
        Ok(Case { act, items: 3, orphan: false, taker: false, joiner: false, spare })
    }

    /// Kills at each instruction, and demands that each class of `notes` occurs.
    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }

    /// Whether a sleeper has to notice a death on another word than its own. A victim that sleeps itself must do so until
    /// it is woken, so that its steps repeat.
    fn deaths_are_noticed(&self) -> bool {
        self.act != Act::Take && (self.taker || self.joiner)
    }

    fn add_taker(&self, scene: &mut Scene) -> Result<(), String> {
        if self.taker && scene.taker.is_none() {
            let taker = Witness::spawn(|| match scene.jobs.take() {
                Ok(task) => finish(task),
                Err(_) => u64::MAX,
            })?;
            taker.settle()?;
            scene.taker = Some(taker);
        }
        Ok(())
    }
}

fn jobs() -> Result<Jobs, String> {
    let options = QueueOptions::new(8).max_message(64).ring_bytes(1024).max_taken(3);
    options.joinable_queue().map_err(|error| error.to_string())
}

/// Does what the victims do, so that they allocate what this gave back.
fn rehearse(jobs: &Jobs) -> Result<(), String> {
    for number in [1, 2] {
        jobs.put(number).map_err(|error| error.to_string())?;
        drop(jobs.take().map_err(|error| error.to_string())?);
        jobs.take().map_err(|error| error.to_string())?.done();
    }
    Ok(())
}

/// Finishes the task, and tells which it was and at which attempt.
fn finish(task: Task<u64>) -> u64 {
    let told = *task << 32 | u64::from(task.attempt());
    task.done();
    told
}

struct Scene {
    jobs: Jobs,
    /// The victim's, in its own process.
    task: Cell<Option<Task<u64>>>,
    /// Items that were put.
    put: u64,
    taker: Option<Witness>,
    joiner: Option<Witness>,
    /// Whether the taker had finished when the victim was about to be killed.
    handed_over: bool,
}

impl Scene {
    fn put(&mut self) -> Result<(), String> {
        self.jobs.put_timeout(self.put, BOUND).map_err(|error| error.to_string())?;
        self.put += 1;
        Ok(())
    }

    /// What the taker has finished. It must, with nobody's help, if there is an item; or also a task that is not done,
    /// if the deaths of their holders are `noticed`.
    fn taken_by_taker(&mut self, noticed: bool) -> Result<Option<u64>, String> {
        let Some(taker) = &self.taker else { return Ok(None) };
        let must_finish = if noticed { self.unfinished()? > 0 } else { !self.jobs.is_empty() };
        // It may have finished the last one just before that look.
        if must_finish || taker.settle()? == Settled::Finished {
            return self.taker.take().map(|taker| taker.finish_within(BOUND)).transpose();
        }
        Ok(None)
    }

    fn unfinished(&self) -> Result<u64, String> {
        let unfinished = self.jobs.unfinished().map_err(|error| error.to_string())?;
        Ok(u64::try_from(unfinished).unwrap_or(u64::MAX))
    }
}

impl Operation for Case {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        multiproc::testing::set_sleep_slice(self.deaths_are_noticed().then_some(SLICE));
        let task = Cell::new(None);
        let mut scene = Scene { jobs: jobs()?, task, put: 0, taker: None, joiner: None, handed_over: false };
        for _ in 0..self.items {
            scene.put()?;
        }
        if self.orphan {
            let holder = Witness::spawn(|| {
                let task = scene.jobs.take();
                let taken = u64::from(task.is_ok());
                std::mem::forget(task);
                taken
            })?;
            holder.finish_within(BOUND)?;
        }
        Ok(scene)
    }

    fn enter(&self, scene: &Scene) {
        rehearse(&self.spare).expect("a queue that nobody else uses works");
        match self.act {
            Act::Take => {}
            Act::Done | Act::GiveUp => scene.task.set(scene.jobs.take().ok()),
            Act::TaskDone => _ = scene.jobs.get(),
        }
    }

    fn entered(&self, scene: &mut Scene) -> Result<(), String> {
        if self.act != Act::Take {
            self.add_taker(scene)?;
        }
        if self.joiner {
            let joiner = Witness::spawn(|| u64::from(scene.jobs.join().is_ok()))?;
            joiner.wait_until_asleep()?;
            scene.joiner = Some(joiner);
        }
        Ok(())
    }

    fn run(&self, scene: &Scene) {
        match (self.act, scene.task.take()) {
            (Act::Take, _) => scene.task.set(scene.jobs.take().ok()),
            (Act::Done, Some(task)) => task.done(),
            (_, task @ Some(_)) => drop(task),
            (_, None) => _ = scene.jobs.task_done(),
        }
    }

    fn turns(&self) -> usize {
        1
    }

    fn asleep(&self, scene: &mut Scene, nth: usize) -> Result<Sleep, String> {
        if nth > 0 {
            return Ok(Sleep::Last);
        }
        self.add_taker(scene)?;
        scene.put()?;
        Ok(Sleep::Woken)
    }

    fn doomed(&self, scene: &mut Scene, _: &Kill) -> Result<(), String> {
        self.add_taker(scene)?;
        if self.act == Act::GiveUp {
            let taker = scene.taker.as_ref().map(Witness::settle).transpose()?;
            scene.handed_over = taker == Some(Settled::Finished);
        }
        Ok(())
    }

    fn verify(&self, mut scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        // Whether the item left the ring, as far as nobody else has taken one.
        let left_ring = scene.jobs.len() < usize::try_from(scene.put).unwrap_or(0);
        let all = scene.put;
        let mut finished = 0;
        let mut tasks = Vec::new();
        let mut again = false;
        tasks.extend(scene.taken_by_taker(self.deaths_are_noticed())?);
        if self.joiner && scene.unfinished()? == 0 {
            scene.joiner.take().map(|joiner| joiner.finish_within(BOUND)).transpose()?;
        }
        let by_taker = u64::try_from(tasks.len()).unwrap_or(0);
        let unfinished = scene.unfinished()?;
        let done = all.checked_sub(unfinished + by_taker).ok_or("more tasks unfinished than were put")?;
        if done > u64::from(matches!(self.act, Act::Done | Act::TaskDone)) {
            return Err(format!("{unfinished} unfinished of {all}, {by_taker} done by the taker"));
        }
        if kill.is_after_the_end() && self.act == Act::Done && done == 0 {
            return Err("the task was done, but it is not".to_owned());
        }
        let lost = u64::from(self.act == Act::TaskDone && done == 0);
        while unfinished > finished + lost {
            let task = scene.jobs.take_timeout(BOUND).map_err(|error| format!("the test's take: {error}"))?;
            tasks.push(finish(task));
            finished += 1;
            if scene.unfinished()? != unfinished - finished {
                return Err("finishing a task does not count as one".to_owned());
            }
        }
        if !matches!(scene.jobs.try_take(), Err(GetError::Empty)) {
            return Err("more tasks than were put".to_owned());
        }
        if lost > 0 {
            // Python's way: an item that was got dies with its consumer, and somebody has to answer for it.
            scene.jobs.task_done().map_err(|error| error.to_string())?;
        }
        let mut numbers: Vec<_> = tasks.iter().map(|told| told >> 32).collect();
        numbers.sort_unstable();
        let victims_own = u64::from(matches!(self.act, Act::TaskDone)) | done;
        if numbers != (victims_own..all).collect::<Vec<_>>() {
            return Err(format!("done were {numbers:?} of {all}, and {done} by the victim"));
        }
        if let Some(first) = tasks.iter().find(|told| **told >> 32 == 0) {
            again = first & 0xffff_ffff > 1 + u64::from(self.orphan);
        }
        if self.act == Act::Take && !self.taker && !self.orphan && again != left_ring {
            return Err(format!("attempts {tasks:x?}, and it left the ring: {left_ring}"));
        }
        if let Some(joiner) = scene.joiner.take() {
            joiner.finish_within(BOUND)?;
        }
        if let Some(taker) = scene.taker.take() {
            scene.put()?;
            taker.finish_within(BOUND)?;
        }
        if !scene.jobs.join_timeout(BOUND).map_err(|error| error.to_string())? {
            return Err("join does not return".to_owned());
        }
        scene.put()?;
        finish(scene.jobs.take_timeout(BOUND).map_err(|error| error.to_string())?);
        Ok(match self.act {
            Act::Take if again => TAKEN,
            Act::Take => NOT_TAKEN,
            Act::GiveUp if scene.handed_over => HANDED_OVER,
            Act::GiveUp if self.taker => INHERITED,
            Act::Done | Act::TaskDone if done > 0 => DONE,
            _ => NOT_DONE,
        })
    }
}
