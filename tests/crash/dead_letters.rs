//! Dead letters: whoever is killed while it makes or removes one, the item is a dead letter once, or is gone because it was
//! removed, and `join` waits for nothing.

use multiproc::{GetError, JoinableQueue, QueueOptions};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Witness};

type Jobs = JoinableQueue<u64>;

const KEPT: &str = "the dead letter kept";
const REMOVED: &str = "the dead letter removed";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "dead_letters::make", run: || Case::new(Act::Make)?.test(&[KEPT]) },
    Scenario { name: "dead_letters::remove", run: || Case::new(Act::Remove)?.test(&[KEPT, REMOVED]) },
];

/// What the victim does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It takes, and finds a task that nobody may take any more.
    Make,
    Remove,
}

struct Case {
    act: Act,
    spare: Jobs,
}

impl Case {
    fn new(act: Act) -> Result<Self, String> {
        let spare = jobs()?;
        // This process's first use of a lock starts a thread; a victim's must not.
        rehearse(&spare)?;
        Ok(Self { act, spare })
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

fn jobs() -> Result<Jobs, String> {
    let options = QueueOptions::new(8).max_message(64).ring_bytes(1024).max_taken(3).max_attempts(1);
    options.joinable_queue().map_err(|error| error.to_string())
}

/// Does what the victims do, so that they allocate what this gave back.
fn rehearse(jobs: &Jobs) -> Result<(), String> {
    jobs.put(1).map_err(|error| error.to_string())?;
    drop(jobs.take().map_err(|error| error.to_string())?);
    if !matches!(jobs.try_take(), Err(GetError::Empty)) {
        return Err("a task was taken twice".to_owned());
    }
    letters(jobs)?.iter().try_for_each(|number| jobs.remove_dead_letter(*number).map(drop)).map_err(text)
}

fn letters(jobs: &Jobs) -> Result<Vec<u64>, String> {
    Ok(jobs.dead_letters().map_err(text)?.iter().map(|letter| letter.number).collect())
}

fn text(error: GetError) -> String {
    error.to_string()
}

impl Operation for Case {
    type State = Jobs;

    fn prepare(&self) -> Result<Jobs, String> {
        multiproc::testing::set_sleep_slice(None);
        let jobs = jobs()?;
        jobs.put(7).map_err(|error| error.to_string())?;
        let holder = Witness::spawn(|| {
            let task = jobs.take();
            let taken = u64::from(task.is_ok());
            std::mem::forget(task);
            taken
        })?;
        holder.finish_within(BOUND)?;
        if self.act == Act::Remove && letters(&jobs)? != [0] {
            return Err("no dead letter to remove".to_owned());
        }
        Ok(jobs)
    }

    fn enter(&self, _: &Jobs) {
        rehearse(&self.spare).expect("a queue that nobody else uses works");
    }

    fn run(&self, jobs: &Jobs) {
        match self.act {
            Act::Make => _ = jobs.try_take(),
            Act::Remove => _ = jobs.remove_dead_letter(0),
        }
    }

    fn verify(&self, jobs: Jobs, kill: &Kill) -> Result<&'static str, String> {
        if !jobs.join_timeout(BOUND).map_err(text)? {
            return Err("join waits for a dead letter".to_owned());
        }
        let found = letters(&jobs)?;
        let removed = self.act == Act::Remove && found.is_empty();
        if !removed && found != [0] {
            return Err(format!("dead letters {found:?}"));
        }
        if kill.is_after_the_end() && self.act == Act::Remove && !removed {
            return Err("the dead letter was removed, but it is there".to_owned());
        }
        if !matches!(jobs.try_take(), Err(GetError::Empty)) {
            return Err("a dead letter was taken".to_owned());
        }
        jobs.put(8).map_err(|error| error.to_string())?;
        let task = jobs.take_timeout(BOUND).map_err(text)?;
        if (*task, task.number(), task.attempt()) != (8, 1, 1) {
            return Err(format!("taken: {task:?}"));
        }
        task.done();
        if !jobs.join_timeout(BOUND).map_err(text)? {
            return Err("join does not return".to_owned());
        }
        Ok(if removed { REMOVED } else { KEPT })
    }
}
