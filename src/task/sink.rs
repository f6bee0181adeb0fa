//! [`Sink`]: where the results of chunks go.

use std::sync::Arc;

use super::error::TaskError;

/// Where the results of a job's chunks go. A chunk is what a worker takes at once: one task, or some items of a map, and is
/// known by the number of its first item.
pub(crate) trait Sink<R>: Send + Sync {
    /// A worker of this process begins a chunk; `false` if it is not to be done.
    fn begin(&self, chunk: u64) -> bool;

    /// The results of a chunk of so many items; missing ones are failures.
    /// It runs with locks held: the iterator does no more than decode.
    fn deliver(
        self: Arc<Self>,
        chunk: u64,
        items: usize,
        results: &mut dyn Iterator<Item = Result<R, TaskError>>,
    );

    /// There are no results of a chunk of so many items.
    fn fail(self: Arc<Self>, chunk: u64, items: usize, error: TaskError);
}
