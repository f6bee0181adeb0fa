//! `Value`: a killed writer leaves the old value or the new one, and nobody waits for the dead.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.

use multiproc::Value;

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Witness};

/// Words that are alike unless the value is torn.
type Words<const N: usize> = [u64; N];

/// How many they are, where they are two copies and a version, and where they are one word.
const LONG: usize = 9;
const WORD: usize = 1;

const OLD: u64 = 1;
/// What the victim writes.
const NEW: u64 = 100;

const LEFT_OLD: &str = "the old value";
const LEFT_NEW: &str = "the new value";
const BOTH: &[&str] = &[LEFT_OLD, LEFT_NEW];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "value::set", run: || Write::<LONG>::new(set, 0)?.test() },
    Scenario {
        name: "value::first_set_of_a_process",
        run: || Write { enter: |_| {}, ..Write::<LONG>::new(set, 0)? }.test(),
    },
    Scenario { name: "value::set_with_writers_behind", run: || Write::<LONG>::new(set, 2)?.test() },
    Scenario { name: "value::update", run: || Write::<LONG>::new(update, 0)?.test() },
    Scenario { name: "value::update_with_writer_behind", run: || Write::<LONG>::new(update, 1)?.test() },
    Scenario { name: "value::guard", run: || Write::<LONG>::new(guard, 0)?.test() },
    Scenario { name: "value::guard_with_writer_behind", run: || Write::<LONG>::new(guard, 1)?.test() },
    Scenario { name: "value::set_word", run: || Write::<WORD>::new(set, 0)?.test() },
    Scenario { name: "value::set_word_with_writers_behind", run: || Write::<WORD>::new(set, 2)?.test() },
    Scenario { name: "value::update_word", run: || Write::<WORD>::new(update, 0)?.test() },
    Scenario { name: "value::guard_word_with_writer_behind", run: || Write::<WORD>::new(guard, 1)?.test() },
];

/// One write of a value, killed at each instruction.
struct Write<const N: usize> {
    enter: fn(&Value<Words<N>>),
    run: fn(&Value<Words<N>>),
    /// Writers that come while the victim stands where it will die.
    behind: usize,
    spare: Value<Words<N>>,
}

impl<const N: usize> Write<N> {
    fn new(run: fn(&Value<Words<N>>), behind: usize) -> Result<Self, String> {
        let spare = value()?;
        // This process's first use of a lock starts a thread; a victim's must not.
        run(&spare);
        Ok(Write { enter: run, run, behind, spare })
    }

    fn test(&self) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(BOTH)
    }
}

fn value<const N: usize>() -> Result<Value<Words<N>>, String> {
    Value::new([OLD; N]).map_err(|error| error.to_string())
}

fn set<const N: usize>(value: &Value<Words<N>>) {
    let _ = value.set([NEW; N]);
}

fn update<const N: usize>(value: &Value<Words<N>>) {
    let _ = value.update(|words| words.fill(NEW));
}

fn guard<const N: usize>(value: &Value<Words<N>>) {
    if let Ok(mut guard) = value.lock() {
        let words: &mut Words<N> = &mut guard;
        words[0] = NEW;
        words[N - 1] = NEW;
        words.fill(NEW);
    }
}

/// Adds one; 0 if it could not.
fn add<const N: usize>(value: &Value<Words<N>>) -> u64 {
    let added = value.update(|words| words.iter_mut().for_each(|word| *word += 1));
    u64::from(added.is_ok())
}

/// What a reader finds, unless it is torn.
fn read<const N: usize>(value: &Value<Words<N>>) -> Result<u64, String> {
    let words = value.get();
    if words.iter().all(|word| *word == words[0]) { Ok(words[0]) } else { Err(format!("torn: {words:?}")) }
}

/// The value, and what a reader saw before the victim's death.
struct Scene<const N: usize> {
    value: Value<Words<N>>,
    seen: u64,
    writers: Vec<Witness>,
}

impl<const N: usize> Operation for Write<N> {
    type State = Scene<N>;

    fn prepare(&self) -> Result<Scene<N>, String> {
        multiproc::testing::set_sleep_slice(None);
        Ok(Scene { value: value()?, seen: OLD, writers: Vec::new() })
    }

    fn enter(&self, _: &Scene<N>) {
        (self.enter)(&self.spare);
    }

    fn run(&self, scene: &Scene<N>) {
        (self.run)(&scene.value);
    }

    fn doomed(&self, scene: &mut Scene<N>, _: &Kill) -> Result<(), String> {
        // Another process reads while the victim stands in the middle of its write.
        scene.seen = read(&scene.value)?;
        for _ in 0..self.behind {
            let writer = Witness::spawn(|| add(&scene.value))?;
            writer.settle()?;
            scene.writers.push(writer);
        }
        Ok(())
    }

    fn verify(&self, scene: Scene<N>, kill: &Kill) -> Result<&'static str, String> {
        let added = u64::try_from(scene.writers.len()).unwrap_or(0);
        for writer in scene.writers {
            if writer.finish_within(BOUND)? != 1 {
                return Err("a writer behind the victim failed".to_owned());
            }
        }
        let found = read(&scene.value)?.checked_sub(added).ok_or("an older value than the old one")?;
        // Who came behind a victim that had not locked yet was there first.
        if found != scene.seen || ![OLD, NEW].contains(&found) || kill.is_after_the_end() && found != NEW {
            return Err(format!(
                "the value was {} before the death and is {found} without {added}",
                scene.seen
            ));
        }
        let last = Witness::spawn(|| u64::from(scene.value.set([7; N]).is_ok()))?;
        match (last.finish_within(BOUND)?, read(&scene.value)?) {
            (1, 7) => Ok(if found == NEW { LEFT_NEW } else { LEFT_OLD }),
            wrong => Err(format!("a survivor's set: {wrong:?}")),
        }
    }
}
