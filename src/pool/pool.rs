//! [`Pool`]: functions called in a fixed number of processes.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::PoolBuilder;
use super::calls::{Calls, submit};
use super::engine::Engine;
use crate::Result;
use crate::task::{AsyncResult, Future, Manner, MapOptions, PoolStillRunning, Results, TaskError, gather};

/// A fixed number of processes that call functions.
///
/// Functions are `fn(A) -> R`, so functions and closures that capture nothing; arguments and results travel by serde, the
/// handles of this crate included. Tasks and results go through rings in shared memory.
///
/// Dropping it terminates it and waits for the workers' ends. To have everything done, [`close`](Self::close) and
/// [`join`](Self::join). Workers are daemons: they end with this process, however it ends, and may not start processes. They
/// leave no core files unless [asked to](PoolBuilder::core_dumps).
///
/// # Process death
/// A worker that dies fails the task that it has with [`TaskError::WorkerDied`] or [`TaskError::WorkerExited`], unless it is
/// to be [given to another](PoolBuilder::retries); all other tasks are done, and the worker is replaced. Killed at any
/// instruction it holds up nobody. One that is stopped holds up its own task.
///
/// # Examples
/// ```
/// use multiproc::Pool;
///
/// fn is_prime(n: u64) -> bool {
///     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
/// }
///
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(is_prime, 10..14)?, [false, true, false, true]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Pool {
    engine: Arc<Engine>,
}

impl Pool {
    /// A pool of so many workers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for 0; [`Error::OutOfMemory`](crate::Error::OutOfMemory);
    /// those of [`Process::spawn`](crate::Process::spawn).
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// assert_eq!(pool.map(|n: u64| n * n, [1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(processes: usize) -> Result<Self> {
        Self::builder().processes(processes).build()
    }

    /// A pool with options.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::builder().processes(2).max_tasks_per_child(1000).build()?;
    /// assert_eq!(pool.map(|n: u64| n * n, [1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(super) fn from_engine(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// The numbers of the workers' processes at this moment.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(1)?;
    /// let pid = pool.apply(|()| std::process::id(), ())?;
    /// assert_eq!(pool.pids(), [pid]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.engine.pids()
    }

    /// Has `f(args)` called and waits for its result.
    ///
    /// # Errors
    /// Any [`TaskError`] but those of waiting.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(1)?;
    /// assert_eq!(pool.apply(|(a, b): (u32, u32)| a * b, (6, 7))?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply<A, R>(&self, f: fn(A) -> R, args: A) -> Result<R, TaskError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.apply_async(f, args).into_inner()
    }

    /// Has `f(args)` called.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// let (a, b) = (pool.apply_async(|n: u64| n * n, 20), pool.apply_async(|n: u64| n + 1, 20));
    /// assert_eq!((a.get(), b.get()), (Ok(&400), Ok(&21)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply_async<A, R>(&self, f: fn(A) -> R, args: A) -> AsyncResult<R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        AsyncResult::new(submit(&self.engine, f, args), None)
    }

    /// As [`apply_async`](Self::apply_async); `callback` is called with the outcome, in the thread that took in the result:
    /// one that waits for a result of this pool, or one of the pool's own.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.apply_async_then(|n: u32| n + 1, 1, move |result| sender.send(result.ok().copied()).expect("the receiver is there"));
    /// assert_eq!(receiver.recv(), Ok(Some(2)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply_async_then<A, R, C>(&self, f: fn(A) -> R, args: A, callback: C) -> AsyncResult<R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
        C: FnOnce(Result<&R, &TaskError>) + Send + 'static,
    {
        self.apply_async(f, args).then(callback)
    }

    /// Has `f` called with each of `items` and waits for all results, in the order of the items.
    ///
    /// # Errors
    /// The first failure that came, after all items were done.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Pool;
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|word: String| word.len(), ["a", "bc"].map(str::to_owned))?, [1, 2]);
    /// // More than one argument: a tuple.
    /// assert_eq!(pool.map(|(a, b): (u32, u32)| a * b, [(1, 2), (3, 4)])?, [2, 12]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "starmap")]
    pub fn map<A, R, I>(&self, f: fn(A) -> R, items: I) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.map_with(f, items, MapOptions::default())
    }

    /// As [`map`](Self::map), with options.
    ///
    /// # Errors
    /// Those of [`map`](Self::map), [`TaskError::InvalidOption`] and [`TaskError::WaitTimedOut`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{MapOptions, Pool};
    /// let pool = Pool::new(2)?;
    /// let in_tens = MapOptions { chunk: Some(10), ..MapOptions::default() };
    /// assert_eq!(pool.map_with(|n: u64| n + 1, 0..100, in_tens)?.len(), 100);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let checked = options.check()?;
        gather(Calls::new(&self.engine, f, checked.deadline.is_none()), items, &checked)
            .within(checked.deadline)
    }

    /// Has `f` called with each of `items`. The input is taken whole before this returns.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// let squares = pool.map_async(|n: u64| n * n, 0..4);
    /// assert_eq!(squares.into_inner()?, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async<A, R, I>(&self, f: fn(A) -> R, items: I) -> AsyncResult<Vec<R>>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.map_async_with(f, items, MapOptions::default())
    }

    /// As [`map_async`](Self::map_async), with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{MapOptions, Pool};
    /// let pool = Pool::new(2)?;
    /// let one_by_one = MapOptions { chunk: Some(1), ..MapOptions::default() };
    /// assert_eq!(pool.map_async_with(|n: u64| n * n, 0..4, one_by_one).into_inner()?, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> AsyncResult<Vec<R>>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        match options.check() {
            Ok(checked) => gather(Calls::new(&self.engine, f, false), items, &checked),
            Err(error) => AsyncResult::new(Future::failed(error), None),
        }
    }

    /// As [`map_async`](Self::map_async); `callback` is called with the outcome.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.map_async_then(|n: u64| n * n, 0..4, move |squares| {
    ///     sender.send(squares.map(|squares| squares.iter().sum::<u64>()).ok()).expect("the receiver is there");
    /// });
    /// assert_eq!(receiver.recv(), Ok(Some(14)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async_then<A, R, I, C>(&self, f: fn(A) -> R, items: I, callback: C) -> AsyncResult<Vec<R>>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
        C: FnOnce(Result<&Vec<R>, &TaskError>) + Send + 'static,
    {
        self.map_async(f, items).then(callback)
    }

    /// Has `f` called with each of `items`; results come in their order, each when it is there. It goes on after a failure.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(|n: u64| n * n, 0..).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap<A, R, I>(&self, f: fn(A) -> R, items: I) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.imap_with(f, items, MapOptions::default())
    }

    /// As [`imap`](Self::imap), with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{MapOptions, Pool};
    /// let pool = Pool::new(2)?;
    /// let bounded = MapOptions { buffersize: Some(8), ..MapOptions::default() };
    /// let squares: Result<Vec<u64>, _> = pool.imap_with(|n: u64| n * n, 0.., bounded).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Results::new(Calls::new(&self.engine, f, false), items.into_iter(), options, Manner::Ordered)
    }

    /// As [`imap`](Self::imap), but results come in the order in which they are ready.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// let mut squares = pool.imap_unordered(|n: u64| n * n, 0..4).collect::<Result<Vec<_>, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered<A, R, I>(&self, f: fn(A) -> R, items: I) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.imap_unordered_with(f, items, MapOptions::default())
    }

    /// As [`imap_unordered`](Self::imap_unordered), with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{MapOptions, Pool};
    /// let pool = Pool::new(2)?;
    /// let in_pairs = MapOptions { chunk: Some(2), ..MapOptions::default() };
    /// let squares = pool.imap_unordered_with(|n: u64| n * n, 0..4, in_pairs).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares.iter().sum::<u64>(), 14);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered_with<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
        options: MapOptions,
    ) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Results::new(Calls::new(&self.engine, f, false), items.into_iter(), options, Manner::Unordered)
    }

    /// Takes no more tasks. What was given to it is done.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Pool, TaskError};
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(|n: u32| n + 1, 1);
    /// pool.close();
    /// assert_eq!(pool.apply(|n: u32| n + 1, 1), Err(TaskError::PoolClosed));
    /// assert_eq!(result.get(), Ok(&2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(&self) {
        self.engine.close();
    }

    /// Takes no more tasks, fails all that are not done with [`TaskError::Terminated`], and ends the workers: by `SIGTERM`,
    /// and by `SIGKILL` those that live on for 0.1 s. It does not wait for that; [`join`](Self::join) does.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Pool, TaskError};
    /// let pool = Pool::new(1)?;
    /// let slow = pool.apply_async(|()| std::thread::sleep(Duration::from_secs(60)), ());
    /// pool.terminate();
    /// assert_eq!(slow.get(), Err(&TaskError::Terminated));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn terminate(&self) {
        self.engine.end(&TaskError::Terminated);
    }

    /// Waits until all workers have ended.
    ///
    /// # Errors
    /// [`PoolStillRunning`]: neither [`close`](Self::close) nor [`terminate`](Self::terminate) was called.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Pool, PoolStillRunning};
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.join(), Err(PoolStillRunning));
    /// pool.close();
    /// assert_eq!(pool.join(), Ok(()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), PoolStillRunning> {
        if self.engine.is_open() {
            return Err(PoolStillRunning);
        }
        self.engine.join();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
        self.engine.join();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("processes", &self.engine.workers()).finish_non_exhaustive()
    }
}
