//! `RawArray`: a killed writer leaves each element old or new, and there is nothing that anybody waits for.

use multiproc::RawArray;

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Witness};

const OLD: u64 = 1;
/// What the victim leaves in an element.
const NEW: u64 = u64::MAX;
const LEN: usize = 6;

const ALL_OLD: &str = "all old";
const SOME_NEW: &str = "some new";
const ALL_NEW: &str = "all new";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "raw_array::store", run: || Write::new(store, 2..3).test(&[ALL_OLD, ALL_NEW]) },
    Scenario { name: "raw_array::fetch_add", run: || Write::new(fetch_add, 2..3).test(&[ALL_OLD, ALL_NEW]) },
    Scenario {
        name: "raw_array::write",
        run: || Write::new(write, 1..5).test(&[ALL_OLD, SOME_NEW, ALL_NEW]),
    },
];

/// One write to an array, killed at each instruction.
struct Write {
    run: fn(&RawArray<u64>),
    /// The elements that it writes.
    range: std::ops::Range<usize>,
}

impl Write {
    fn new(run: fn(&RawArray<u64>), range: std::ops::Range<usize>) -> Write {
        Write { run, range }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

fn store(array: &RawArray<u64>) {
    let _ = array.store(2, NEW);
}

fn fetch_add(array: &RawArray<u64>) {
    let _ = array.fetch_add(2, NEW - OLD);
}

fn write(array: &RawArray<u64>) {
    let _ = array.write(1..5, &[NEW; 4]);
}

impl Operation for Write {
    type State = RawArray<u64>;

    fn prepare(&self) -> Result<Self::State, String> {
        RawArray::from_slice(&[OLD; LEN]).map_err(|error| error.to_string())
    }

    fn run(&self, array: &Self::State) {
        (self.run)(array);
    }

    fn verify(&self, array: Self::State, kill: &Kill) -> Result<&'static str, String> {
        let elements = array.to_vec();
        let (inside, outside): (Vec<_>, Vec<_>) =
            elements.iter().enumerate().partition(|(index, _)| self.range.contains(index));
        let new = inside.iter().filter(|(_, element)| **element == NEW).count();
        let old = inside.iter().filter(|(_, element)| **element == OLD).count();
        if new + old != inside.len() || outside.iter().any(|(_, element)| **element != OLD) {
            return Err(format!("torn or astray: {elements:?}"));
        }
        let survivor = Witness::spawn(|| array.swap(2, 7).unwrap_or(0))?;
        if survivor.finish_within(BOUND)? != elements[2] || array.load(2).ok() != Some(7) {
            return Err("a survivor found another element".to_owned());
        }
        match (old, new) {
            (_, 0) if kill.is_after_the_end() => Err("the write was over".to_owned()),
            (_, 0) => Ok(ALL_OLD),
            (0, _) => Ok(ALL_NEW),
            _ => Ok(SOME_NEW),
        }
    }
}
