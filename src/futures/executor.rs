//! [`Executor`]: what threads and processes can both do.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::task::{Future, MapOptions, Results};

/// How an executor is shut down. The default waits, and cancels nothing.
///
/// # Examples
/// ```
/// use multiproc::Event;
/// use multiproc::futures::{Shutdown, ThreadPoolExecutor};
/// let executor = ThreadPoolExecutor::new(1)?;
/// let (begun, end) = (Event::new()?, Event::new()?);
/// let first = executor.submit(|(begun, end): (Event, Event)| { begun.set(); end.wait() }, (begun.clone(), end.clone()));
/// begun.wait();
/// let second = executor.submit(|n: u32| n, 7);
/// executor.shutdown(Shutdown { wait: false, cancel_futures: true });
/// assert!(second.cancelled());
/// end.set();
/// assert!(first.result().is_ok());
/// # Ok::<(), multiproc::Error>(())
/// ```
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
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::{Executor, Future, ThreadPoolExecutor};
    ///
    /// fn square(executor: &impl Executor, n: u64) -> Future<u64> {
    ///     executor.submit(|n: u64| n * n, n)
    /// }
    ///
    /// assert_eq!(square(&ThreadPoolExecutor::new(1)?, 3).result(), Ok(&9));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    fn submit<A, R>(&self, f: fn(A) -> R, args: A) -> Future<R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Has `f` called with each of `items`; the results come in their order, and none after the first failure.
    ///
    /// # Process death
    /// A worker process that dies is a failure of the item that it had.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::{Executor, ThreadPoolExecutor};
    ///
    /// fn sum(executor: &impl Executor) -> u64 {
    ///     executor.map(|n: u64| n * n, 0..4).map(|square| square.expect("it does not fail")).sum()
    /// }
    ///
    /// assert_eq!(sum(&ThreadPoolExecutor::new(1)?), 14);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::{Executor, MapOptions, ThreadPoolExecutor};
    ///
    /// fn first(executor: &impl Executor) -> Option<u64> {
    ///     let bounded = MapOptions { buffersize: Some(8), ..MapOptions::default() };
    ///     executor.map_with(|n: u64| n * n, 3.., bounded).next()?.ok()
    /// }
    ///
    /// assert_eq!(first(&ThreadPoolExecutor::new(1)?), Some(9));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    fn map_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Takes no more tasks. What was submitted is done, unless it is to be cancelled. More than once does no harm.
    ///
    /// # Examples
    /// ```
    /// use multiproc::TaskError;
    /// use multiproc::futures::{Executor, Shutdown, ThreadPoolExecutor};
    ///
    /// fn end(executor: &impl Executor) {
    ///     executor.shutdown(Shutdown::default());
    ///     assert_eq!(executor.submit(|n: u32| n, 7).into_result(), Err(TaskError::PoolClosed));
    /// }
    ///
    /// end(&ThreadPoolExecutor::new(1)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    fn shutdown(&self, how: Shutdown);
}
