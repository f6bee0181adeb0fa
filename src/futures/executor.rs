//! [`Executor`]: what threads and processes can both do.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::task::{Future, MapOptions, Results};

/// How an executor is shut down. The default waits, and cancels nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Whether to wait until all that was submitted is done and the workers have ended.
    pub wait: bool,
    /// Whether to cancel what no worker has begun.
    pub cancel_futures: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { wait: true, cancel_futures: false }
    }
}

/// Whoever calls functions elsewhere: code that is generic over it runs on threads and on processes.
///
/// What it asks of functions and values is what processes need: no captures, and serde. The executors' own methods of the
/// same names ask for less where they can.
///
/// # Examples
/// ```
/// use multiproc::futures::{Executor, ThreadPoolExecutor};
///
/// fn lengths(executor: &impl Executor, words: Vec<String>) -> Vec<usize> {
///     executor.map(|word: String| word.len(), words).map(|length| length.expect("it does not fail")).collect()
/// }
///
/// let executor = ThreadPoolExecutor::new(2)?;
/// assert_eq!(lengths(&executor, vec!["a".to_owned(), "bc".to_owned()]), [1, 2]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait Executor {
    /// Has `f(args)` called. What goes wrong is told by the future.
    ///
    /// # Process death
    /// The future of a task whose worker process dies ends with
    /// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied).
    fn submit<A, R>(&self, f: fn(A) -> R, args: A) -> Future<R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Has `f` called with each of `items`; the results come in their order, and none after the first failure.
    ///
    /// # Process death
    /// A worker process that dies is a failure of the item that it had.
    fn map<A, R, I>(&self, f: fn(A) -> R, items: I) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.map_with(f, items, MapOptions::default())
    }

    /// As [`map`](Self::map), with options.
    ///
    /// # Process death
    /// As for [`map`](Self::map).
    fn map_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Takes no more tasks. What was submitted is done, unless it is to be cancelled. More than once does no harm.
    fn shutdown(&self, how: Shutdown);
}
