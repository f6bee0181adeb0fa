//! What workers tell the parent.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::count::{Counter, Totals};

/// Most bytes of a result in a message: a queue has a largest message, a vocabulary hasn't.
const CHUNK: usize = 32 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    Chunk(Chunk),
    /// This worker holds a task and waits to be killed.
    Holding(usize),
}

/// A piece of an encoded [`Outcome`]. The pieces that one attempt at a task sends arrive in their order, and an attempt
/// that is killed has sent the first few or all of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Chunk {
    pub worker: usize,
    pub task: u64,
    pub attempt: u32,
    pub last: bool,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Cuts the outcome of a task into chunks.
    pub fn cut(worker: usize, task: u64, attempt: u32, outcome: &[u8]) -> impl Iterator<Item = Self> {
        let count = outcome.len().div_ceil(CHUNK);
        outcome.chunks(CHUNK).enumerate().map(move |(index, bytes)| {
            let last = index + 1 == count;
            Self { worker, task, attempt, last, bytes: bytes.to_vec() }
        })
    }
}

/// What came of a task.
#[derive(Serialize, Deserialize)]
pub struct Outcome<'a> {
    pub totals: Totals,
    #[serde(borrow)]
    pub words: Vec<(&'a Bytes, u64)>,
    pub failures: Vec<String>,
}

impl<'a> Outcome<'a> {
    pub fn encode(counter: &Counter) -> Vec<u8> {
        let words = counter.words.iter().map(|(word, &count)| (Bytes::new(word), count)).collect();
        let outcome = Outcome { totals: counter.totals, words, failures: counter.failures.clone() };
        postcard::to_stdvec(&outcome).expect("memory is all that this needs")
    }

    pub fn decode(bytes: &'a [u8]) -> multiproc::Result<Self> {
        postcard::from_bytes(bytes).map_err(|error| multiproc::Error::Decode(error.to_string()))
    }
}
