//! One death for every instruction of an operation.

use std::fmt;

use crate::mutex::rehearse;
use crate::room;
use crate::scenario::Report;
use crate::trace::Trace;
use crate::victim::{Stop, Symbol, Victim, end_pc};

/// Runs that a kill point may take to reach. They differ when one of them adds to a time at the end of a second.
const RUNS: usize = 4;

/// Says that a victim went another way than was recorded.
const STRAYED: &str = "where the trace has";

/// Recordings that are made of an operation, if no victim goes that way again.
const RECORDINGS: usize = 3;

/// Kill points that are taken of an operation. All of them where it is optimised: else it has more instructions, and a plain
/// `cargo test` would take too long.
const POINTS: usize = if cfg!(debug_assertions) { 8 } else { usize::MAX };

/// One of so many kill points is taken where nobody knows beforehand how many there are.
const EVERY: usize = if cfg!(debug_assertions) { 32 } else { 1 };

/// An operation on a shared object, and what its victims must leave to the survivors.
pub(crate) trait Operation {
    /// The shared object, and the survivors that already use it.
    type State;

    /// Makes a fresh object, before the victim exists.
    fn prepare(&self) -> Result<Self::State, String>;

    /// In the victim, untraced: what comes before the operation.
    fn enter(&self, _state: &Self::State) {}

    /// The victim stands before the operation.
    fn entered(&self, _state: &mut Self::State) -> Result<(), String> {
        Ok(())
    }

    /// In the victim: the operation. It must make the same steps each time.
    fn run(&self, state: &Self::State);

    /// Where the operation spins, with more than twice as many turns that are all alike, only the first and the last so
    /// many turns have kill points.
    fn turns(&self) -> usize {
        usize::MAX
    }

    /// At most about so many kill points are taken, evenly spread, and the first and the last.
    fn points(&self) -> usize {
        POINTS
    }

    /// Whether the kill points before the first sleep are those of another scenario, and not taken.
    fn begins_asleep(&self) -> bool {
        false
    }

    /// The victim sleeps inside of the operation, for the `nth` time (from 0).
    fn asleep(&self, _state: &mut Self::State, _nth: usize) -> Result<Sleep, String> {
        Ok(Sleep::Last)
    }

    /// The victim stands, or sleeps, where it is about to be killed.
    fn doomed(&self, _state: &mut Self::State, _kill: &Kill) -> Result<(), String> {
        Ok(())
    }

    /// The victim is dead. Asks the survivors to go on, and names the class of this death.
    fn verify(&self, state: Self::State, kill: &Kill) -> Result<&'static str, String>;
}

/// What becomes of a victim that sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sleep {
    /// The scenario has woken it, and wants to kill it after that too.
    Woken,
    /// Nobody wakes it: the last kill point is in its sleep.
    Last,
}

/// How the tracer comes to a kill point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// By a breakpoint, in time proportional to the trace; for operations that repeat their instructions exactly.
    Replay,
    /// By single steps from the beginning, in time quadratic in the trace; the length may differ from run to run.
    Step,
}

/// Where a victim is killed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Point {
    /// Before the instruction at this address.
    Before(u64),
    /// In its sleep, counted from 0.
    Asleep(usize),
}

/// One death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kill {
    /// The kill point's number, from 0.
    pub(crate) index: usize,
    /// Where in the operation it is.
    pub(crate) point: Point,
}

impl Kill {
    /// Whether the operation was over.
    pub(crate) fn is_after_the_end(&self) -> bool {
        self.point == Point::Before(end_pc())
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.point {
            Point::Asleep(nth) => write!(f, "kill point {}, in sleep {nth}", self.index),
            Point::Before(pc) => write!(f, "kill point {}, at {}", self.index, Symbol(pc)),
        }
    }
}

/// Kills a victim at each instruction of `operation`, and in each of its sleeps.
pub(crate) fn kill_at_every_instruction<O: Operation>(operation: &O, mode: Mode) -> Result<Report, String> {
    // What this process did for the first time in `verify` only would make other steps of its forks, after the recording.
    rehearse();
    if mode == Mode::Step {
        let every = if operation.points() == usize::MAX { 1 } else { EVERY };
        let mut report = Report { every, ..Report::default() };
        for index in (0..).step_by(report.every) {
            let mut run = Run::begin(operation)?;
            if !run.step_to(index).map_err(|why| format!("on the way to kill point {index}: {why}"))? {
                break;
            }
            run.die(index, &mut report)?;
        }
        return Ok(report);
    }
    let mut outcome = along_a_recording(operation);
    for _ in 1..RECORDINGS {
        // What was recorded was a rare way, which a victim goes no more.
        if !outcome.as_ref().is_err_and(|why| why.contains(STRAYED)) {
            break;
        }
        outcome = along_a_recording(operation);
    }
    outcome
}

/// Records the way through the operation, and kills a victim at each point of it.
fn along_a_recording<O: Operation>(operation: &O) -> Result<Report, String> {
    let mut report = Report::default();
    let trace = Trace::record_twice(operation)?;
    let last = trace.points.len() - 1;
    let sleep = trace.points.iter().position(|point| matches!(point, Point::Asleep(_)));
    let first = sleep.filter(|_| operation.begins_asleep()).unwrap_or(0);
    let left_out = trace.left_out(operation.turns());
    let kept: Vec<_> = (first..=last).filter(|index| !left_out[*index]).collect();
    report.left_out = last + 1 - first - kept.len();
    report.every = kept.len().div_ceil(operation.points());
    for (nth, &index) in kept.iter().enumerate() {
        if !nth.is_multiple_of(report.every) && index != last {
            continue;
        }
        let reached = (0..RUNS).map(|_| Run::begin(operation)?.replay(&trace, index));
        let kill = Kill { index, point: trace.points[index] };
        let run = first_ok(reached).map_err(|why| format!("on the way to {kill}: {why}"))?;
        run.die(index, &mut report)?;
    }
    Ok(report)
}

/// The first success, or the last error. Nothing is attempted after a success.
fn first_ok<R>(attempts: impl Iterator<Item = Result<R, String>>) -> Result<R, String> {
    let mut outcome = Err("no attempt".to_owned());
    for attempt in attempts {
        outcome = attempt;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// One victim on its way through the operation.
pub(crate) struct Run<'a, O: Operation> {
    operation: &'a O,
    state: O::State,
    victim: Victim,
    stop: Stop,
    sleeps: usize,
}

impl<'a, O: Operation> Run<'a, O> {
    /// A victim before the first instruction.
    pub(crate) fn begin(operation: &'a O) -> Result<Run<'a, O>, String> {
        // Whoever asks for it, the victim finds its stack at the same place in a page.
        room::at_a_page(|| {
            let mut state = operation.prepare().map_err(|why| format!("prepare: {why}"))?;
            let victim = Victim::spawn(|| operation.enter(&state), || operation.run(&state))?;
            operation.entered(&mut state).map_err(|why| format!("before the operation: {why}"))?;
            Ok(Run { operation, state, victim, stop: Stop::Trapped, sleeps: 0 })
        })
    }

    pub(crate) fn point(&self) -> Result<Point, String> {
        match self.stop {
            Stop::Asleep => Ok(Point::Asleep(self.sleeps - 1)),
            Stop::Trapped => self.victim.pc().map(Point::Before),
        }
    }

    /// Goes on to the next kill point; `false` if this is the last.
    pub(crate) fn step(&mut self) -> Result<bool, String> {
        let stop = if self.stop == Stop::Asleep {
            let sleep = self.operation.asleep(&mut self.state, self.sleeps - 1);
            if sleep.map_err(|why| format!("in its sleep: {why}"))? == Sleep::Last {
                return Ok(false);
            }
            self.victim.wait_until_there()?
        } else if self.victim.has_ended()? {
            return Ok(false);
        } else {
            self.victim.step()?
        };
        self.stop = stop;
        self.sleeps += usize::from(stop == Stop::Asleep);
        Ok(true)
    }

    /// Goes to kill point `index`; `false` if the operation has fewer.
    fn step_to(&mut self, index: usize) -> Result<bool, String> {
        for _ in 0..index {
            if !self.step()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes to point `index` of `trace`. Into a sleep and out of it by single steps, so that a woken victim stands still
    /// until the scenario lets it go on; everywhere else by breakpoints.
    fn replay(mut self, trace: &Trace, index: usize) -> Result<Self, String> {
        let points = &trace.points;
        let mut at = 0;
        while at < index {
            let sleep = points[at + 1..=index].iter().position(|point| matches!(point, Point::Asleep(_)));
            let goal = at + sleep.unwrap_or(index - at);
            if self.stop == Stop::Asleep || goal == at {
                self.step()?;
                at += 1;
            } else {
                self.run_along(trace, goal)?;
                at = goal;
            }
            if self.point()? != points[at] {
                return Err(format!("hollow: at {:x?}, {STRAYED} {:x?}", self.point()?, points[at]));
            }
        }
        Ok(self)
    }

    /// Goes to point `goal`, before which there is no sleep.
    fn run_along(&mut self, trace: &Trace, goal: usize) -> Result<(), String> {
        let stop_at = trace.breakpoint(goal);
        let Point::Before(pc) = trace.points[stop_at] else { return Ok(()) };
        for _ in 0..trace.nth[stop_at] {
            if self.victim.run_to(pc)? == Stop::Asleep {
                return Err("hollow: sleeps where the trace does not".to_owned());
            }
        }
        for _ in stop_at..goal {
            self.step()?;
        }
        Ok(())
    }

    /// Kills the victim here and now, and adds the class of this death to the report.
    fn die(mut self, index: usize, report: &mut Report) -> Result<(), String> {
        let kill = Kill { index, point: self.point()? };
        let die = || {
            self.operation
                .doomed(&mut self.state, &kill)
                .map_err(|why| format!("before the death: {why}"))?;
            self.victim.kill()?;
            self.operation.verify(self.state, &kill)
        };
        report.add(die().map_err(|why| format!("{kill}: {why}"))?);
        Ok(())
    }
}
