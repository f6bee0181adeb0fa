//! Does the tracer see every store, and does it refuse hollow evidence?

use std::sync::atomic::{AtomicU32, Ordering};

use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "harness::replay_comes_between_two_stores", run: || two_stores(Mode::Replay) },
    Scenario { name: "harness::step_comes_between_two_stores", run: || two_stores(Mode::Step) },
    Scenario { name: "harness::replay_reaches_each_turn_of_a_loop", run: each_turn_of_a_loop },
    Scenario { name: "harness::point_that_is_not_reached_fails", run: point_not_reached },
    Scenario { name: "harness::operation_that_does_not_repeat_fails", run: steps_not_repeated },
];

/// Two stores that belong together, with nothing that holds them together.
struct TwoStores;

impl Operation for TwoStores {
    type State = Page<[AtomicU32; 2]>;

    fn prepare(&self) -> Result<Self::State, String> {
        Page::new([const { AtomicU32::new(0) }; 2])
    }

    fn points(&self) -> usize {
        usize::MAX
    }

    fn run(&self, state: &Self::State) {
        let [first, second] = &**state;
        // Relaxed: the reader looks when the writer is dead.
        first.store(1, Ordering::Relaxed);
        second.store(1, Ordering::Relaxed);
    }

    fn verify(&self, state: Self::State, kill: &Kill) -> Result<&'static str, String> {
        let [first, second] = state.each_ref().map(|word| word.load(Ordering::Relaxed));
        match (first, second) {
            (0, 0) => Ok("neither store"),
            (1, 0) => Ok("one store"),
            (1, 1) if kill.is_after_the_end() => Ok("the end"),
            (1, 1) => Ok("both stores"),
            found => Err(format!("found {found:?}")),
        }
    }
}

fn two_stores(mode: Mode) -> Result<Report, String> {
    let report = kill_at_every_instruction(&TwoStores, mode)?;
    report.demand(&["neither store", "one store", "both stores", "the end"])
}

/// Adds one, `TURNS` times.
struct Loop;

const TURNS: u32 = 10;

impl Operation for Loop {
    type State = Page<AtomicU32>;

    fn prepare(&self) -> Result<Self::State, String> {
        Page::new(AtomicU32::new(0))
    }

    fn points(&self) -> usize {
        usize::MAX
    }

    fn run(&self, state: &Self::State) {
        for _ in 0..TURNS {
            // Relaxed: the reader looks when the writer is dead.
            state.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn verify(&self, state: Self::State, kill: &Kill) -> Result<&'static str, String> {
        match state.load(Ordering::Relaxed) {
            0 => Ok("no turn"),
            5 => Ok("half of the turns"),
            TURNS if kill.is_after_the_end() => Ok("all turns at the end"),
            _ => Ok("another number of turns"),
        }
    }
}

fn each_turn_of_a_loop() -> Result<Report, String> {
    let report = kill_at_every_instruction(&Loop, Mode::Replay)?;
    report.demand(&["no turn", "half of the turns", "all turns at the end"])
}

/// An operation that is shorter each time, from the run with this number on.
struct Shrinking {
    from: u32,
    runs: Page<AtomicU32>,
}

impl Operation for Shrinking {
    type State = u32;

    fn prepare(&self) -> Result<u32, String> {
        // Relaxed: one process changes it.
        let runs = self.runs.fetch_add(1, Ordering::Relaxed);
        Ok(100 - runs.saturating_sub(self.from).min(100))
    }

    fn points(&self) -> usize {
        usize::MAX
    }

    fn run(&self, turns: &u32) {
        (0..*turns).for_each(|turn| {
            std::hint::black_box(turn);
        });
    }

    fn verify(&self, _: u32, _: &Kill) -> Result<&'static str, String> {
        Ok("a shorter operation")
    }
}

/// The first two runs, which are recorded, are alike.
fn point_not_reached() -> Result<Report, String> {
    refused(1, "hollow: operation ended")
}

fn steps_not_repeated() -> Result<Report, String> {
    refused(0, "hollow: no two")
}

fn refused(from: u32, because: &str) -> Result<Report, String> {
    let operation = Shrinking { from, runs: Page::new(AtomicU32::new(0))? };
    match kill_at_every_instruction(&operation, Mode::Replay) {
        Err(why) if why.contains(because) => Ok(Report::default()),
        Err(why) => Err(why),
        Ok(report) => Err(format!("missed: {report}")),
    }
}
