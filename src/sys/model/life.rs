//! [`Life`]: a thread of a model, and its death.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::robust;

loom::thread_local! {
    static LIFE: State = State::default();
}

#[derive(Default)]
struct State {
    steps_left: Cell<Option<usize>>,
    dead: Cell<bool>,
}

/// What unwinds a thread that was killed.
struct Killed;

/// How a thread of a model ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<R> {
    /// It ran to its end.
    Lived(R),
    /// It was killed.
    Died,
}

/// A thread of a model: its thread id, and after how many steps it dies.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) tid: u32,
    pub(crate) dies_after: Option<usize>,
}

impl Life {
    /// A thread that nobody kills.
    pub(crate) fn long(tid: u32) -> Self {
        Self { tid, dies_after: None }
    }

    /// Runs `body` as this thread.
    pub(crate) fn run<R>(self, body: impl FnOnce() -> R) -> Outcome<R> {
        self.run_with(false, body)
    }

    /// Runs `body` as this thread, whose robust list the kernel won't find when it dies.
    pub(crate) fn run_unlisted<R>(self, body: impl FnOnce() -> R) -> Outcome<R> {
        self.run_with(true, body)
    }

    fn run_with<R>(self, lost: bool, body: impl FnOnce() -> R) -> Outcome<R> {
        robust::enrol(self.tid, lost);
        LIFE.with(|state| {
            state.dead.set(false);
            state.steps_left.set(self.dies_after);
        });
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(value) => {
                robust::exit_walk();
                Outcome::Lived(value)
            }
            Err(panic) if panic.is::<Killed>() => {
                DEATHS.set(DEATHS.get() + 1);
                Outcome::Died
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

// loom runs all threads of a model on the thread that explores it, so explorations don't share these.
std::thread_local! {
    /// Deaths in the exploration under way.
    static DEATHS: Cell<usize> = const { Cell::new(0) };
    /// The fault that the model is asked to make.
    static SABOTAGE: Cell<Sabotage> = const { Cell::new(Sabotage::None) };
}

/// A fault in the machine, for negative twins: an algorithm that passes its model must fail it with the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Release orderings are Relaxed.
    NoRelease,
    /// `futex::wake` and `futex::wake_op` wake nobody and say that they did.
    NoWake,
    /// The kernel does not wake sleepers of a dead thread's pending word.
    NoPendingWake,
    /// SeqCst fences order nothing.
    NoFence,
    /// `futex::wake_op` is two steps, the change and the wake.
    SplitWakeOp,
    /// No slice ever ends.
    NoSlice,
    /// The kernel marks the words that a dead thread held, and wakes nobody.
    NoOwnerWake,
    /// Each thief finds a reaper of its own.
    ManyReapers,
}

impl Sabotage {
    /// Whether the model is to make this fault.
    pub(super) fn is_on(self) -> bool {
        SABOTAGE.get() == self
    }
}

/// With 2 the lost wake-ups of glibc's protocol are not found.
const PREEMPTIONS: usize = 3;

/// Explores `model` once for every step at which its mortal thread can die, and once where it lives. The model gets
/// the step.
pub(crate) fn every_death(model: impl Fn(usize) + Send + Sync + 'static) {
    every_death_with(Sabotage::None, model);
}

/// [`every_death`] on a faulty machine.
pub(crate) fn every_death_with(sabotage: Sabotage, model: impl Fn(usize) + Send + Sync + 'static) {
    deaths(sabotage, 0, 1, PREEMPTIONS, model);
}

/// [`every_death`] with two preemptions only, for a model in which three take hours.
pub(crate) fn every_death_with_two_preemptions(model: impl Fn(usize) + Send + Sync + 'static) {
    deaths(Sabotage::None, 0, 1, 2, model);
}

/// The deaths of [`every_death`] at every so manieth step, of which this is one `part`: for a model that takes long, whose
/// parts are explored at the same time.
pub(crate) fn deaths_in_part(part: usize, parts: usize, model: impl Fn(usize) + Send + Sync + 'static) {
    deaths(Sabotage::None, part, parts, PREEMPTIONS, model);
}

fn deaths(
    sabotage: Sabotage,
    first: usize,
    by: usize,
    preemptions: usize,
    model: impl Fn(usize) + Send + Sync + 'static,
) {
    let model = Arc::new(model);
    SABOTAGE.set(sabotage);
    let executions = Arc::new(AtomicUsize::new(0));
    for (explored, step) in (first..).step_by(by).enumerate() {
        DEATHS.set(0);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        let (model, count) = (model.clone(), executions.clone());
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            model(step);
        });
        if DEATHS.get() == 0 {
            // Nobody lives this long: every death has been explored.
            println!("    {explored} deaths explored in {} executions", executions.load(Ordering::Relaxed));
            return;
        }
    }
}

/// Whether to explore the scenarios that take minutes too: the environment variable `LOOM_FULL` is set.
pub(crate) fn in_full() -> bool {
    std::env::var_os("LOOM_FULL").is_some()
}

/// One step of the calling thread: false if it is dead and nothing may happen any more.
pub(super) fn step() -> bool {
    if std::thread::panicking() {
        // Killed, or the model has failed: what destructors do has no effect.
        return false;
    }
    let now = LIFE.with(|state| {
        if state.dead.get() {
            return Step::IsDead;
        }
        match state.steps_left.get() {
            Some(0) => {
                state.dead.set(true);
                Step::Dies
            }
            left => {
                state.steps_left.set(left.map(|left| left - 1));
                Step::Lives
            }
        }
    });
    match now {
        Step::Lives => true,
        Step::IsDead => false,
        Step::Dies => {
            robust::exit_walk();
            resume_unwind(Box::new(Killed))
        }
    }
}

enum Step {
    Lives,
    Dies,
    IsDead,
}
