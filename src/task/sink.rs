//! [`Sink`]: where the results of chunks go, and [`Outcomes`]: those of one chunk.

use std::sync::Arc;

use super::error::TaskError;

/// Where the results of a job's chunks go. A chunk is what a worker takes at once: one task, or some items of a map, and is
/// known by the number of its first item.
pub(crate) trait Sink<R>: Send + Sync {
    /// A worker of this process begins a chunk; `false` if it is not to be done.
    fn begin(&self, chunk: u64) -> bool;

    /// The results of a chunk of so many items; missing ones are failures.
    /// It runs with locks held: `results` does no more than decode.
    fn deliver(self: Arc<Self>, chunk: u64, items: usize, results: &mut dyn Outcomes<R>);

    /// The results of chunks, as many as there are.
    fn deliver_all(self: Arc<Self>, chunks: &mut dyn Chunks<R>) {
        while let Some((chunk, items)) = chunks.next_chunk() {
            Arc::clone(&self).deliver(chunk, items, chunks);
        }
    }

    /// There are no results of a chunk of so many items.
    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError);
}

/// What came of the items of a chunk, in their order.
pub(crate) trait Outcomes<R> {
    /// What came of the next item; one that is missing has failed.
    fn next(&mut self) -> Result<R, TaskError>;

    /// The next so many results, until an item has failed: why.
    fn next_many(&mut self, items: usize, results: &mut Vec<R>) -> Result<(), TaskError>;
}

/// What came of several chunks: of the one at hand.
pub(crate) trait Chunks<R>: Outcomes<R> {
    /// Goes to the next chunk: the number of its first item, and how many there are.
    fn next_chunk(&mut self) -> Option<(u64, usize)>;
}

impl<R> Outcomes<R> for std::vec::IntoIter<Result<R, TaskError>> {
    fn next(&mut self) -> Result<R, TaskError> {
        Iterator::next(self).unwrap_or_else(|| Err(missing()))
    }

    fn next_many(&mut self, items: usize, results: &mut Vec<R>) -> Result<(), TaskError> {
        (0..items).try_for_each(|_| Outcomes::next(self).map(|result| results.push(result)))
    }
}

/// Why an item has failed of which nothing came.
pub(crate) fn missing() -> TaskError {
    TaskError::Decode("a result is missing".to_owned())
}
