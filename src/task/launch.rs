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

    /// Has the chunk done whose first item is number `chunk`, its results to `sink`, which is the same at each call. Takes all
    /// of `items`, of which there is at least one.
    fn launch(&mut self, chunk: u64, items: &mut Vec<A>, sink: &Arc<dyn Sink<R>>);

    /// Everything launched so far goes to the workers now.
    fn flush(&mut self) {}

    /// Chunks that no worker has begun need not be done; the sink refuses them, too.
    fn abandon(&mut self) {}
}
