//! [`ThreadPoolExecutor`]: functions called on threads of this process.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::executor::{Executor, Shutdown};
use crate::process::cpu_count;
use crate::task::{
    Calls, Crew, CrewInitializer, CrewOptions, Future, Manner, MapOptions, Results, TaskError,
    crew_initializer,
};
use crate::{Error, Result};

/// The most threads, if nobody says how many.
const MOST_THREADS: usize = 32;

/// Calls functions on threads of this process, any closure.
///
/// Threads are started when there is something to do and none is idle. Tasks wait in an unbounded queue and are begun in its
/// order. When the executor is dropped, it waits for what was submitted. A program that ends before does not wait.
///
/// A task that waits for another one of the same executor can wait for ever: all threads may be busy so.
///
/// # Examples
/// ```
/// use multiproc::futures::ThreadPoolExecutor;
/// let executor = ThreadPoolExecutor::new(4)?;
/// let offset = 10;
/// let futures: Vec<_> = (0..3).map(|n| executor.submit(move |n: i32| n + offset, n)).collect();
/// let sums: Result<Vec<_>, _> = futures.into_iter().map(|future| future.into_result()).collect();
/// assert_eq!(sums?, [10, 11, 12]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct ThreadPoolExecutor {
    crew: Crew,
}

impl ThreadPoolExecutor {
    /// An executor of at most `max_workers` threads.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0.
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(2)?;
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(max_workers: usize) -> Result<Self> {
        Self::builder().max_workers(max_workers).build()
    }

    /// An executor with options.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::builder().max_workers(2).thread_name_prefix("reader").build()?;
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> ThreadPoolExecutorBuilder {
        ThreadPoolExecutorBuilder { max_workers: None, prefix: None, initializer: None }
    }

    /// Has `f(args)` called. What goes wrong is told by the future: [`TaskError::Panicked`]; [`TaskError::PoolClosed`] after
    /// a shutdown; [`TaskError::Initializer`].
    ///
    /// # Examples
    /// ```
    /// let offset = 1;
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(2)?;
    /// assert_eq!(executor.submit(move |n: u32| n + offset, 41).result(), Ok(&42));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn submit<A, R, F>(&self, f: F, args: A) -> Future<R>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        self.crew.call(f, args)
    }

    /// Has `f` called with each of `items`. The results come in their order; after the first failure none comes, and what no
    /// thread has begun is not done.
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(2)?;
    /// // The input may be endless.
    /// let squares: Vec<u64> = executor.map(|n: u64| n * n, 0..).map_while(Result::ok).take(4).collect();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map<A, R, F, I>(&self, f: F, items: I) -> Results<I::IntoIter, R>
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
    /// # Examples
    /// ```
    /// use multiproc::futures::{MapOptions, ThreadPoolExecutor};
    /// let executor = ThreadPoolExecutor::new(2)?;
    /// let bounded = MapOptions { buffersize: Some(8), ..MapOptions::default() };
    /// let squares: Result<Vec<_>, _> = executor.map_with(|n: u64| n * n, 0.., bounded).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_with<A, R, F, I>(&self, f: F, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        Results::new(Calls::new(&self.crew, f), items.into_iter(), options, Manner::UntilError)
    }

    /// Takes no more tasks. What was submitted is done, unless it is to be cancelled. More than once does no harm.
    ///
    /// # Examples
    /// ```
    /// use multiproc::TaskError;
    /// use multiproc::futures::{Shutdown, ThreadPoolExecutor};
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let before = executor.submit(|()| 1, ());
    /// executor.shutdown(Shutdown::default());
    /// assert_eq!(before.result(), Ok(&1));
    /// assert_eq!(executor.submit(|()| 2, ()).exception(), Some(&TaskError::PoolClosed));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) {
        if how.cancel_futures {
            self.crew.close_and_fail(&TaskError::Cancelled);
        } else {
            self.crew.close();
        }
        if how.wait {
            self.crew.join();
        }
    }
}

impl Executor for ThreadPoolExecutor {
    fn submit<A, R>(&self, f: fn(A) -> R, args: A) -> Future<R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.submit(f, args)
    }

    fn map_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.map_with(f, items, options)
    }

    fn shutdown(&self, how: Shutdown) {
        self.shutdown(how);
    }
}

impl Drop for ThreadPoolExecutor {
    fn drop(&mut self) {
        self.shutdown(Shutdown::default());
    }
}

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolExecutor").field("max_workers", &self.crew.size()).finish_non_exhaustive()
    }
}

/// How a [`ThreadPoolExecutor`] is to be.
///
/// # Examples
/// ```
/// use multiproc::futures::ThreadPoolExecutor;
/// let executor = ThreadPoolExecutor::builder().max_workers(1).build()?;
/// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a builder makes nothing until `build` is called"]
pub struct ThreadPoolExecutorBuilder {
    max_workers: Option<usize>,
    prefix: Option<String>,
    initializer: Option<CrewInitializer>,
}

impl ThreadPoolExecutorBuilder {
    /// How many threads there are at most. Default: four more than processors, and at most 32.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Error;
    /// use multiproc::futures::ThreadPoolExecutor;
    /// assert!(ThreadPoolExecutor::builder().max_workers(2).build().is_ok());
    /// let none = ThreadPoolExecutor::builder().max_workers(0).build();
    /// assert!(matches!(none, Err(Error::InvalidArgument { .. })));
    /// ```
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = Some(max_workers);
        self
    }

    /// What the threads are called: this, an underscore and a number. Default `ThreadPoolExecutor-0` and so on.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("reader").build()?;
    /// let name = executor.submit(|()| std::thread::current().name().map(str::to_owned), ()).into_result()?;
    /// assert!(name.is_some_and(|name| name.starts_with("reader")));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Has each thread call `f(args)` before anything else. If that panics, the executor is broken: what was submitted, and
    /// what will be, fails with [`TaskError::Initializer`].
    ///
    /// # Examples
    /// ```
    /// use std::cell::Cell;
    /// use multiproc::futures::ThreadPoolExecutor;
    /// thread_local!(static SEED: Cell<u32> = const { Cell::new(0) });
    /// let executor = ThreadPoolExecutor::builder().initializer(|seed| SEED.set(seed), 7).build()?;
    /// assert_eq!(executor.submit(|()| SEED.get(), ()).result(), Ok(&7));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn initializer<A>(mut self, f: impl Fn(A) + Send + Sync + 'static, args: A) -> Self
    where
        A: Clone + Send + Sync + 'static,
    {
        self.initializer = Some(crew_initializer(f, args));
        self
    }

    /// The executor.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0 threads.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::builder().build()?;
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn build(self) -> Result<ThreadPoolExecutor> {
        // Relaxed: a counter, nothing depends on the order.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let threads = self.max_workers.unwrap_or_else(|| MOST_THREADS.min(cpu_count() + 4));
        Error::unless_positive("max_workers", threads)?;
        let number = || COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = self.prefix.unwrap_or_else(|| format!("ThreadPoolExecutor-{}", number()));
        Ok(ThreadPoolExecutor {
            crew: Crew::new(CrewOptions { threads, prefix, initializer: self.initializer }),
        })
    }
}

impl fmt::Debug for ThreadPoolExecutorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolExecutorBuilder")
            .field("max_workers", &self.max_workers)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
