//! [`Pool`]: functions called on a fixed number of threads.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::cpu_count;
use crate::task::{
    AsyncResult, Calls, Crew, CrewInitializer, CrewOptions, Future, Manner, MapOptions, PoolStillRunning,
    Results, TaskError, crew_initializer, gather,
};
use crate::{Error, Result};

/// A fixed number of threads that call functions, any closures: the twin of `crate::Pool`.
///
/// Dropping it terminates it: tasks that no thread has begun fail with [`TaskError::Terminated`]; those that run can't be
/// stopped, and run on. To have everything done, [`close`](Self::close) and [`join`](Self::join).
///
/// # Examples
/// ```
/// use multiproc::threads::Pool;
/// let pool = Pool::new(4)?;
/// let offset = 10;
/// assert_eq!(pool.map(move |n: u32| n + offset, 0..3)?, [10, 11, 12]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "ThreadPool")]
pub struct Pool {
    crew: Crew,
}

impl Pool {
    /// A pool of so many threads.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0; [`Error::Os`]: the system has no thread left.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
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
    /// let pool = multiproc::threads::Pool::builder().processes(2).build()?;
    /// assert_eq!(pool.map(|n: u64| n * n, [1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder { processes: None, initializer: None }
    }

    /// Has `f(args)` called and waits for its result.
    ///
    /// # Errors
    /// [`TaskError::Panicked`], [`TaskError::PoolClosed`], [`TaskError::Initializer`].
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// assert_eq!(pool.apply(|(a, b): (u32, u32)| a * b, (6, 7))?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply<A, R, F>(&self, f: F, args: A) -> Result<R, TaskError>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        self.apply_async(f, args).into_inner()
    }

    /// Has `f(args)` called.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let factor = 20;
    /// let product = pool.apply_async(move |n: u64| n * factor, 20);
    /// assert_eq!(product.get(), Ok(&400));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply_async<A, R, F>(&self, f: F, args: A) -> AsyncResult<R>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        AsyncResult::new(self.crew.call(f, args), None)
    }

    /// As [`apply_async`](Self::apply_async); `callback` is called with the outcome, in the thread that had the task.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.apply_async_then(|n: u32| n + 1, 1, move |result| sender.send(result.ok().copied()).expect("the receiver is there"));
    /// assert_eq!(receiver.recv(), Ok(Some(2)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply_async_then<A, R, F, C>(&self, f: F, args: A, callback: C) -> AsyncResult<R>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + Sync + 'static,
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
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let offset = 10;
    /// assert_eq!(pool.map(move |word: &str| word.len() + offset, ["a", "bc"])?, [11, 12]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "starmap")]
    pub fn map<A, R, F, I>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
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
    /// use multiproc::MapOptions;
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let in_tens = MapOptions { chunk: Some(10), ..MapOptions::default() };
    /// assert_eq!(pool.map_with(|n: u64| n + 1, 0..100, in_tens)?.len(), 100);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_with<A, R, F, I>(&self, f: F, items: I, options: MapOptions) -> Result<Vec<R>, TaskError>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        let checked = options.check()?;
        gather(Calls::new(&self.crew, f), items, &checked).within(checked.deadline)
    }

    /// Has `f` called with each of `items`. The input is taken whole before this returns.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// assert_eq!(pool.map_async(|n: u64| n * n, 0..4).into_inner()?, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async<A, R, F, I>(&self, f: F, items: I) -> AsyncResult<Vec<R>>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        self.map_async_with(f, items, MapOptions::default())
    }

    /// As [`map_async`](Self::map_async), with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::MapOptions;
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let one_by_one = MapOptions { chunk: Some(1), ..MapOptions::default() };
    /// assert_eq!(pool.map_async_with(|n: u64| n * n, 0..4, one_by_one).into_inner()?, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async_with<A, R, F, I>(&self, f: F, items: I, options: MapOptions) -> AsyncResult<Vec<R>>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        match options.check() {
            Ok(checked) => gather(Calls::new(&self.crew, f), items, &checked),
            Err(error) => AsyncResult::new(Future::failed(error), None),
        }
    }

    /// As [`map_async`](Self::map_async); `callback` is called with the outcome.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.map_async_then(|n: u64| n * n, 0..4, move |squares| {
    ///     sender.send(squares.map(|squares| squares.iter().sum::<u64>()).ok()).expect("the receiver is there");
    /// });
    /// assert_eq!(receiver.recv(), Ok(Some(14)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async_then<A, R, F, I, C>(&self, f: F, items: I, callback: C) -> AsyncResult<Vec<R>>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
        C: FnOnce(Result<&Vec<R>, &TaskError>) + Send + 'static,
    {
        self.map_async(f, items).then(callback)
    }

    /// Has `f` called with each of `items`; results come in their order, each when it is there. It goes on after a failure.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(|n: u64| n * n, 0..).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap<A, R, F, I>(&self, f: F, items: I) -> Results<I::IntoIter, R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        self.imap_with(f, items, MapOptions::default())
    }

    /// As [`imap`](Self::imap), with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::MapOptions;
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let bounded = MapOptions { buffersize: Some(8), ..MapOptions::default() };
    /// let squares: Result<Vec<u64>, _> = pool.imap_with(|n: u64| n * n, 0.., bounded).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_with<A, R, F, I>(&self, f: F, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        Results::new(Calls::new(&self.crew, f), items.into_iter(), options, Manner::Ordered)
    }

    /// As [`imap`](Self::imap), but results come in the order in which they are ready.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let mut squares = pool.imap_unordered(|n: u64| n * n, 0..4).collect::<Result<Vec<_>, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered<A, R, F, I>(&self, f: F, items: I) -> Results<I::IntoIter, R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        self.imap_unordered_with(f, items, MapOptions::default())
    }

    /// As [`imap_unordered`](Self::imap_unordered), with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::MapOptions;
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let in_pairs = MapOptions { chunk: Some(2), ..MapOptions::default() };
    /// let squares = pool.imap_unordered_with(|n: u64| n * n, 0..4, in_pairs).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares.iter().sum::<u64>(), 14);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered_with<A, R, F, I>(
        &self,
        f: F,
        items: I,
        options: MapOptions,
    ) -> Results<I::IntoIter, R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        Results::new(Calls::new(&self.crew, f), items.into_iter(), options, Manner::Unordered)
    }

    /// Takes no more tasks. What was given to it is done.
    ///
    /// # Examples
    /// ```
    /// use multiproc::TaskError;
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let result = pool.apply_async(|n: u32| n + 1, 1);
    /// pool.close();
    /// assert_eq!(pool.apply(|n: u32| n + 1, 1), Err(TaskError::PoolClosed));
    /// assert_eq!(result.get(), Ok(&2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(&self) {
        self.crew.close();
    }

    /// Takes no more tasks, and fails those that no thread has begun, with [`TaskError::Terminated`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, TaskError};
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let event = Event::new()?;
    /// let first = pool.apply_async(|event: Event| event.wait(), event.clone());
    /// let second = pool.apply_async(|n: u32| n + 1, 1);
    /// pool.terminate();
    /// assert_eq!(second.get(), Err(&TaskError::Terminated));
    /// event.set();
    /// # drop(first);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn terminate(&self) {
        self.crew.close_and_fail(&TaskError::Terminated);
    }

    /// Waits until all threads have ended.
    ///
    /// # Errors
    /// [`PoolStillRunning`]: neither [`close`](Self::close) nor [`terminate`](Self::terminate) was called.
    ///
    /// # Examples
    /// ```
    /// use multiproc::PoolStillRunning;
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// assert_eq!(pool.join(), Err(PoolStillRunning));
    /// pool.close();
    /// assert_eq!(pool.join(), Ok(()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), PoolStillRunning> {
        if self.crew.is_open() {
            return Err(PoolStillRunning);
        }
        self.crew.join();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("processes", &self.crew.size()).finish_non_exhaustive()
    }
}

/// How a [`Pool`] is to be.
///
/// # Examples
/// ```
/// let pool = multiproc::threads::Pool::builder().processes(1).build()?;
/// assert_eq!(pool.apply(|n: u32| n + 1, 1)?, 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a builder makes nothing until `build` is called"]
pub struct PoolBuilder {
    processes: Option<usize>,
    initializer: Option<CrewInitializer>,
}

impl PoolBuilder {
    /// How many threads. Default: as many as there are processors.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Error;
    /// use multiproc::threads::Pool;
    /// assert!(Pool::builder().processes(2).build().is_ok());
    /// assert!(matches!(Pool::builder().processes(0).build(), Err(Error::InvalidArgument { .. })));
    /// ```
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(processes);
        self
    }

    /// Has each thread call `f(args)` before anything else. If that panics, the pool is broken: every task fails with
    /// [`TaskError::Initializer`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::RawValue;
    /// let started = RawValue::new(0)?;
    /// let count = |started: RawValue<u32>| { started.fetch_add(1); };
    /// let pool = multiproc::threads::Pool::builder().processes(1).initializer(count, started.clone()).build()?;
    /// pool.apply(|()| (), ())?;
    /// assert_eq!(started.load(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn initializer<A>(mut self, f: impl Fn(A) + Send + Sync + 'static, args: A) -> Self
    where
        A: Clone + Send + Sync + 'static,
    {
        self.initializer = Some(crew_initializer(f, args));
        self
    }

    /// The pool, with its threads.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0 threads; [`Error::Os`]: the system has no thread left.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::builder().build()?; // As many threads as there are processors.
    /// assert_eq!(pool.apply(|n: u32| n + 1, 1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn build(self) -> Result<Pool> {
        // Relaxed: a counter, nothing depends on the order.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let threads = self.processes.unwrap_or_else(cpu_count);
        Error::unless_positive("processes", threads)?;
        let prefix = format!("Pool-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let crew = Crew::new(CrewOptions { threads, prefix, initializer: self.initializer });
        crew.start()?;
        Ok(Pool { crew })
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("processes", &self.processes).finish_non_exhaustive()
    }
}
