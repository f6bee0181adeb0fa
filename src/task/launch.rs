//! [`Launch`]: hands the chunks of one map to workers.

use std::sync::Arc;

use super::driver::Driver;
use super::sink::Sink;

/// Hands the chunks of one map to workers: a function, and who calls it.
pub(crate) trait Launch<A, R> {
    /// How many workers there are.
    fn workers(&self) -> usize;

    /// Whose results the caller may help to take in.
    fn driver(&self) -> Option<Arc<dyn Driver>>;

    /// Has the chunk done whose first item is number `chunk` and whose items `items` gives, its results to `sink`; `sink` is
    /// the same at each call. Says how many items there were; none are no chunk.
    fn launch(&mut self, chunk: u64, items: &mut dyn Iterator<Item = A>, sink: &Arc<dyn Sink<R>>) -> usize;

    /// Everything launched so far goes to the workers now.
    fn flush(&mut self) {}

    /// Chunks that no worker has begun need not be done; the sink refuses them, too.
    fn abandon(&mut self) {}
}
