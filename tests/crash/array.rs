//! `Array`: a killed writer leaves each element old or new, and whoever comes next is told until somebody recovers.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.

use multiproc::{Array, ArrayError, Lock, LockError, RLock};

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Witness};

const OLD: u64 = 1;
/// What the victim writes.
const NEW: u64 = 100;
const LEN: usize = 6;
/// So many that they are written by the widest instructions that the processor has.
const LONG: usize = 96;

const OLD_FREE: &str = "all old, array consistent";
const OLD_FLAGGED: &str = "all old, OwnerDied reported";
const SOME_FLAGGED: &str = "some new, OwnerDied reported";
const NEW_FLAGGED: &str = "all new, OwnerDied reported";
const NEW_FREE: &str = "all new, array consistent";

const ONE: &[&str] = &[OLD_FREE, OLD_FLAGGED, NEW_FLAGGED, NEW_FREE];
const MANY: &[&str] = &[OLD_FREE, OLD_FLAGGED, SOME_FLAGGED, NEW_FLAGGED, NEW_FREE];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "array::set", run: || Write::new(set, 2..3, 0)?.test(ONE) },
    Scenario { name: "array::set_with_survivors_behind", run: || Write::new(set, 2..3, 2)?.test(ONE) },
    Scenario { name: "array::update", run: || Write::new(update, 2..3, 0)?.test(ONE) },
    Scenario { name: "array::write", run: || Write::new(write, 1..5, 0)?.test(MANY) },
    Scenario { name: "array::write_with_survivor_behind", run: || Write::new(write, 1..5, 1)?.test(MANY) },
    Scenario { name: "array::write_long", run: || Write::over(long, write_long, 1..LONG - 2)?.test(MANY) },
    Scenario { name: "array::fill", run: || Write::new(fill, 0..LEN, 0)?.test(MANY) },
    Scenario { name: "array::guard", run: || Write::new(guard, 0..LEN, 0)?.test(MANY) },
    Scenario {
        name: "array::write_under_a_callers_lock",
        run: || Write::over(under_lock, write, 1..5)?.test(MANY),
    },
    Scenario {
        name: "array::set_under_a_nesting_lock",
        run: || Write::over(under_rlock, set, 2..3)?.test(ONE),
    },
    Scenario { name: "array::guard_with_raw_handles", run: || Write::over(raw, guard, 0..LEN)?.test(MANY) },
];

/// One write to an array, killed at each instruction.
struct Write {
    make: fn() -> Result<Array<u64>, String>,
    run: fn(&Array<u64>),
    /// The elements that it writes.
    range: std::ops::Range<usize>,
    /// Survivors that come while the victim stands where it will die.
    behind: usize,
    spare: Array<u64>,
}

impl Write {
    fn new(run: fn(&Array<u64>), range: std::ops::Range<usize>, behind: usize) -> Result<Write, String> {
        Ok(Write { behind, ..Write::over(array, run, range)? })
    }

    /// On an array of another make.
    fn over(
        make: fn() -> Result<Array<u64>, String>,
        run: fn(&Array<u64>),
        range: std::ops::Range<usize>,
    ) -> Result<Write, String> {
        let spare = make()?;
        // This process's first use of a lock starts a thread; a victim's must not.
        run(&spare);
        Ok(Write { make, run, range, behind: 0, spare })
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

fn array() -> Result<Array<u64>, String> {
    Array::from_slice(&[OLD; LEN]).map_err(|error| error.to_string())
}

fn long() -> Result<Array<u64>, String> {
    Array::from_slice(&[OLD; LONG]).map_err(|error| error.to_string())
}

fn under_lock() -> Result<Array<u64>, String> {
    let array = Lock::new().and_then(|lock| Array::with_lock(&[OLD; LEN], &lock));
    array.map_err(|error| error.to_string())
}

fn under_rlock() -> Result<Array<u64>, String> {
    let array = RLock::new().and_then(|lock| Array::with_rlock(&[OLD; LEN], &lock));
    array.map_err(|error| error.to_string())
}

fn raw() -> Result<Array<u64>, String> {
    let array = array()?;
    array.raw().map_err(|error| error.to_string())?;
    Ok(array)
}

fn set(array: &Array<u64>) {
    let _ = array.set(2, NEW);
}

fn update(array: &Array<u64>) {
    let _ = array.update(2, |element| *element = NEW);
}

fn write(array: &Array<u64>) {
    let _ = array.write(1..5, &[NEW; 4]);
}

fn write_long(array: &Array<u64>) {
    let _ = array.write(1..LONG - 2, &[NEW; LONG - 3]);
}

fn fill(array: &Array<u64>) {
    let _ = array.fill(NEW);
}

fn guard(array: &Array<u64>) {
    if let Ok(mut guard) = array.lock() {
        guard.iter_mut().for_each(|element| *element = NEW);
    }
}

/// How a survivor found the array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Consistent,
    OwnerDied,
    Broken,
}

fn found<T>(outcome: &Result<T, ArrayError>) -> Found {
    match outcome {
        Ok(_) => Found::Consistent,
        Err(ArrayError::Lock(LockError::OwnerDied(()))) => Found::OwnerDied,
        Err(_) => Found::Broken,
    }
}

struct Scene {
    array: Array<u64>,
    behind: Vec<Witness>,
}

impl Scene {
    /// What a process that runs `operation` finds.
    fn ask<T>(&self, operation: impl Fn(&Array<u64>) -> Result<T, ArrayError>) -> Result<Witness, String> {
        Witness::spawn(|| found(&operation(&self.array)) as u64)
    }
}

fn answer(witness: Witness) -> Result<Found, String> {
    let code = witness.finish_within(BOUND)?;
    let all = [Found::Consistent, Found::OwnerDied];
    all.into_iter().find(|found| *found as u64 == code).ok_or_else(|| "a survivor failed".to_owned())
}

impl Operation for Write {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        multiproc::testing::set_sleep_slice(None);
        Ok(Scene { array: (self.make)()?, behind: Vec::new() })
    }

    fn enter(&self, _: &Scene) {
        (self.run)(&self.spare);
    }

    fn run(&self, scene: &Scene) {
        (self.run)(&scene.array);
    }

    fn doomed(&self, scene: &mut Scene, _: &Kill) -> Result<(), String> {
        for _ in 0..self.behind {
            let survivor = scene.ask(|array| array.get(0))?;
            survivor.settle()?;
            scene.behind.push(survivor);
        }
        Ok(())
    }

    fn verify(&self, mut scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        let behind = std::mem::take(&mut scene.behind);
        // Who comes behind a victim that does not hold the lock yet has finished by now, and was told nothing.
        for survivor in behind {
            answer(survivor)?;
        }
        let first = answer(scene.ask(|array| array.get(0))?)?;
        let second = answer(scene.ask(|array| array.read(.., &mut vec![0; array.len()]))?)?;
        if first != second {
            return Err(format!(
                "the first found it {first:?}, the next {second:?}, without a recovery between"
            ));
        }
        let flagged = first == Found::OwnerDied;
        let guard = scene.array.lock().or_else(LockError::recover).map_err(|error| error.to_string())?;
        let elements = guard.to_vec();
        drop(guard);
        if answer(scene.ask(|array| array.get(0))?)? != Found::Consistent {
            return Err("flagged after the recovery".to_owned());
        }
        let (inside, outside): (Vec<_>, Vec<_>) =
            elements.iter().enumerate().partition(|(index, _)| self.range.contains(index));
        let new = inside.iter().filter(|(_, element)| **element == NEW).count();
        let old = inside.iter().filter(|(_, element)| **element == OLD).count();
        if new + old != inside.len() || outside.iter().any(|(_, element)| **element != OLD) {
            return Err(format!("torn or astray: {elements:?}"));
        }
        match (old == 0, new == 0, flagged) {
            (_, _, true) | (false, true, _) if kill.is_after_the_end() => {
                Err("the write was over".to_owned())
            }
            (_, true, false) => Ok(OLD_FREE),
            (_, true, true) => Ok(OLD_FLAGGED),
            (true, _, true) => Ok(NEW_FLAGGED),
            (true, _, false) => Ok(NEW_FREE),
            (false, false, true) => Ok(SOME_FLAGGED),
            (false, false, false) => Err(format!("half written, and nobody is told: {elements:?}")),
        }
    }
}
