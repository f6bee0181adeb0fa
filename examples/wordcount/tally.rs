//! Adding up: at-least-once work, exact totals.
//!
//! A worker that is killed leaves its task to another, so parts of a result may arrive twice, from two attempts, and
//! even a whole result may. If workers added to the totals themselves, such a task would count twice, or by half: no
//! lock helps against that. Here only the parent adds, a task at a time, and only the first complete result of each:
//! - chunks are kept apart by task *and attempt* until the attempt's last chunk is here;
//! - they arrive in the order in which the attempt sent them, and each exactly once: the queue sees to that, also when
//!   the sender is killed, so the last one here means that all are here;
//! - a task that was added once is never added again.

use std::collections::HashSet;

use foldhash::{HashMap, HashMapExt};
use multiproc::{Array, Result, Value};

use crate::count::{Totals, Words, add};
use crate::message::{Chunk, Outcome};

/// Word lengths are counted up to this many characters; the last element stands for all longer ones too.
pub const LENGTHS: usize = 24;

/// The totals, as far as they have been added up.
pub struct Tally {
    /// In shared memory, so that any process that gets the handle can watch.
    pub totals: Value<Totals>,
    /// How many words have 1, 2, .. characters.
    pub lengths: Array<u64>,
    pub words: Words,
    pub failures: Vec<String>,
    /// What each worker has contributed.
    pub shares: Vec<Totals>,
    added: HashSet<u64>,
    partial: HashMap<(u64, u32), Vec<u8>>,
}

impl Tally {
    pub fn new(workers: usize) -> Result<Self> {
        Ok(Self {
            totals: Value::new(Totals::default())?,
            lengths: Array::zeroed(LENGTHS)?,
            words: Words::new(),
            failures: Vec::new(),
            shares: vec![Totals::default(); workers],
            added: HashSet::new(),
            partial: HashMap::new(),
        })
    }

    /// How many tasks have been added.
    pub fn tasks(&self) -> usize {
        self.added.len()
    }

    /// Takes a chunk, and with the last one of an attempt adds the task.
    pub fn take(&mut self, chunk: Chunk) -> Result<()> {
        let Chunk { worker, task, attempt, last, bytes } = chunk;
        if self.added.contains(&task) {
            return Ok(());
        }
        self.partial.entry((task, attempt)).or_default().extend_from_slice(&bytes);
        if last {
            let outcome = self.partial.remove(&(task, attempt)).unwrap_or_default();
            self.partial.retain(|&(other, _), _| other != task);
            self.added.insert(task);
            self.add(worker, Outcome::decode(&outcome)?)?;
        }
        Ok(())
    }

    /// Adds files and directories that never made it into a task.
    pub fn add_failures(&mut self, failures: Vec<String>) -> Result<()> {
        self.totals.update(|totals| totals.unreadable += failures.len() as u64)?;
        self.failures.extend(failures);
        Ok(())
    }

    fn add(&mut self, worker: usize, outcome: Outcome<'_>) -> Result<()> {
        self.totals.update(|totals| totals.add(&outcome.totals))?;
        self.shares[worker].add(&outcome.totals);
        let mut lengths = self.lengths.lock().map_err(multiproc::Error::from)?;
        for (word, count) in outcome.words {
            lengths[length(word) - 1] += count;
            add(&mut self.words, word, count);
        }
        self.failures.extend(outcome.failures);
        Ok(())
    }
}

/// The characters of a word, at most [`LENGTHS`].
pub fn length(word: &[u8]) -> usize {
    // Each character has one byte that is no continuation byte.
    let characters = word.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    characters.clamp(1, LENGTHS)
}
