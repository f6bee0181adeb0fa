//! [`MapOptions`]: how a map is done.

use std::time::Duration;

use super::error::TaskError;
use crate::sys::Deadline;

/// Chunks of a map for each worker, when their size is automatic: as in Python.
const CHUNKS_PER_WORKER: usize = 4;
/// From so many items on a larger chunk saves nothing, and workers begin and callers go on later.
const LARGEST_CHUNK: usize = 1024;
/// Items of a streamed map that are on their way at a time, at least and for each worker's chunk.
const LEAST_BUFFER: usize = 64;
const CHUNKS_BUFFERED: usize = 8;

/// How a map is done. `MapOptions::default()` is what the methods without options do.
///
/// # Examples
/// ```
/// use multiproc::MapOptions;
/// use multiproc::threads::Pool;
/// let pool = Pool::new(2)?;
/// let lengths = pool.map_with(|word: &str| word.len(), ["a", "bc"], MapOptions { chunk: Some(1), ..MapOptions::default() })?;
/// assert_eq!(lengths, [1, 2]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapOptions {
    /// How many items a worker takes at once. Default: of a map that gathers its results, a quarter of a worker's share, and
    /// 1024 at most; else 1. A chunk is one task to its worker: if that is killed, all of its items fail; a panic fails its own
    /// item only. 0 is refused with [`TaskError::InvalidOption`](crate::TaskError::InvalidOption).
    #[doc(alias = "chunksize")]
    pub chunk: Option<usize>,
    /// How many items of the input are taken at most before their results are asked for, where results are an iterator.
    /// Default: 8 chunks for each worker, and at least 64 items. 0 is refused. Maps that gather their results ignore it.
    pub buffersize: Option<usize>,
    /// How long the whole map may take, from the call on. Then the result is
    /// [`TaskError::WaitTimedOut`](crate::TaskError::WaitTimedOut), and what no worker has begun is not done any more. Default:
    /// no limit.
    pub timeout: Option<Duration>,
}

/// Options that were checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) chunk: Option<usize>,
    pub(crate) buffersize: Option<usize>,
    pub(crate) deadline: Option<Deadline>,
}

impl MapOptions {
    /// # Errors
    /// [`TaskError::InvalidOption`].
    pub(crate) fn check(self) -> Result<Checked, TaskError> {
        for (name, value) in [("chunk", self.chunk), ("buffersize", self.buffersize)] {
            if value == Some(0) {
                return Err(TaskError::InvalidOption(format!("{name}: expected at least 1, found 0")));
            }
        }
        let deadline = self.timeout.and_then(Deadline::after);
        Ok(Checked { chunk: self.chunk, buffersize: self.buffersize, deadline })
    }
}

impl Checked {
    /// The chunk for `items` items, all gathered.
    pub(crate) fn chunk_of(&self, items: usize, workers: usize) -> usize {
        let automatic = || items.div_ceil(workers.max(1) * CHUNKS_PER_WORKER).min(LARGEST_CHUNK);
        self.chunk.unwrap_or_else(automatic).max(1)
    }

    /// How many items are on their way at most.
    pub(crate) fn buffer(&self, chunk: usize, workers: usize) -> usize {
        let default = || chunk.saturating_mul(workers.saturating_mul(CHUNKS_BUFFERED)).max(LEAST_BUFFER);
        self.buffersize.unwrap_or_else(default)
    }
}
