//! [`ProcessPoolExecutor`]: functions called in processes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::executor::{Executor, Shutdown};
use crate::pool::{Calls, Engine, Staffing, submit};
use crate::task::{Future, Manner, MapOptions, Results, TaskError};
use crate::{Result, StartMethod};

/// Calls functions in processes: `fn(A) -> R`, so functions and closures that capture nothing. Arguments and results travel
/// by serde, the handles of this crate included.
///
/// Workers are started with the executor, and are daemons: they end with this process, however it ends. When the executor is
/// dropped, it waits for what was submitted.
///
/// A future is [running](Future::running) when a worker has begun its task, and can be cancelled until then.
///
/// # Process death
/// A worker that dies fails the future whose task it has, with [`TaskError::WorkerDied`] or [`TaskError::WorkerExited`],
/// unless the task is to be [given to another](ProcessPoolExecutorBuilder::retries). All others are done, and the worker is
/// replaced.
///
/// # Examples
/// ```
/// use multiproc::futures::ProcessPoolExecutor;
/// let executor = ProcessPoolExecutor::new(2)?;
/// let sum = executor.submit(|(a, b): (u32, u32)| a + b, (40, 2));
/// assert_eq!(sum.result(), Ok(&42));
/// let squares: Result<Vec<u64>, _> = executor.map(|n: u64| n * n, 0..4).collect();
/// assert_eq!(squares?, [0, 1, 4, 9]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct ProcessPoolExecutor {
    engine: Arc<Engine>,
}

impl ProcessPoolExecutor {
    /// An executor of so many workers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for 0; [`Error::OutOfMemory`](crate::Error::OutOfMemory);
    /// those of [`Process::spawn`](crate::Process::spawn).
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ProcessPoolExecutor::new(1)?;
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
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(100).build()?;
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> ProcessPoolExecutorBuilder {
        ProcessPoolExecutorBuilder { staffing: Staffing::new("max_workers") }
    }

    /// Has `f(args)` called. What goes wrong is told by the future.
    ///
    /// # Process death
    /// A worker that dies with the task fails the future.
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ProcessPoolExecutor::new(1)?;
    /// let future = executor.submit(|(a, b): (u32, u32)| a * b, (6, 7));
    /// assert_eq!(future.result(), Ok(&42));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn submit<A, R>(&self, f: fn(A) -> R, args: A) -> Future<R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        submit(&self.engine, f, args)
    }

    /// Has `f` called with each of `items`. The results come in their order; after the first failure none comes, and what no
    /// worker has begun is not done.
    ///
    /// # Process death
    /// A worker that dies is a failure of the chunk that it had.
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ProcessPoolExecutor::new(2)?;
    /// let squares: Result<Vec<_>, _> = executor.map(|n: u64| n * n, 0..4).collect();
    /// assert_eq!(squares?, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map<A, R, I>(&self, f: fn(A) -> R, items: I) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
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
    /// use multiproc::futures::{MapOptions, ProcessPoolExecutor};
    /// let executor = ProcessPoolExecutor::new(1)?;
    /// let bounded = MapOptions { buffersize: Some(8), ..MapOptions::default() };
    /// let squares: Result<Vec<_>, _> = executor.map_with(|n: u64| n * n, 0.., bounded).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_with<A, R, I>(&self, f: fn(A) -> R, items: I, options: MapOptions) -> Results<I::IntoIter, R>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Results::new(Calls::new(&self.engine, f, false), items.into_iter(), options, Manner::UntilError)
    }

    /// Takes no more tasks. What was submitted is done, unless it is to be cancelled. More than once does no harm.
    ///
    /// # Examples
    /// ```
    /// use multiproc::TaskError;
    /// use multiproc::futures::{ProcessPoolExecutor, Shutdown};
    /// let executor = ProcessPoolExecutor::new(1)?;
    /// let future = executor.submit(|n: u32| n + 1, 41);
    /// executor.shutdown(Shutdown::default());
    /// assert_eq!(future.result(), Ok(&42)); // What was submitted is done.
    /// assert_eq!(executor.submit(|n: u32| n, 7).into_result(), Err(TaskError::PoolClosed));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) {
        if how.cancel_futures {
            self.engine.close_and_cancel();
        } else {
            self.engine.close();
        }
        if how.wait {
            self.engine.join();
        }
    }

    /// Ends all workers, by `SIGTERM`, and by `SIGKILL` those that live on for 0.1 s. What is not done fails with
    /// [`TaskError::Terminated`], and no more tasks are taken.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::new(1)?;
    /// let future = executor.submit(|()| std::thread::sleep(Duration::from_secs(60)), ());
    /// executor.terminate_workers();
    /// assert!(future.result().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn terminate_workers(&self) {
        self.engine.end(&TaskError::Terminated);
        self.engine.join();
    }

    /// Ends all workers, by `SIGKILL`. What is not done fails with [`TaskError::Terminated`], and no more tasks are taken.
    ///
    /// # Examples
    /// ```
    /// use multiproc::TaskError;
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::new(1)?;
    /// let future = executor.submit(|()| std::thread::sleep(std::time::Duration::from_secs(600)), ());
    /// executor.kill_workers();
    /// assert_eq!(future.exception(), Some(&TaskError::Terminated));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn kill_workers(&self) {
        self.engine.kill(&TaskError::Terminated);
        self.engine.join();
    }

    /// The numbers of the workers' processes at this moment.
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ProcessPoolExecutor::new(1)?;
    /// let pid = executor.submit(|()| std::process::id(), ()).into_result()?;
    /// assert_eq!(executor.pids(), [pid]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.engine.pids()
    }
}

impl Executor for ProcessPoolExecutor {
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

impl Drop for ProcessPoolExecutor {
    fn drop(&mut self) {
        self.shutdown(Shutdown::default());
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("max_workers", &self.engine.workers())
            .finish_non_exhaustive()
    }
}

/// How a [`ProcessPoolExecutor`] is to be.
///
/// # Examples
/// ```
/// use multiproc::futures::ProcessPoolExecutor;
/// let executor = ProcessPoolExecutor::builder().max_workers(1).retries(1).build()?;
/// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a builder makes nothing until `build` is called"]
pub struct ProcessPoolExecutorBuilder {
    staffing: Staffing,
}

impl ProcessPoolExecutorBuilder {
    /// How many workers. Default: as many as there are processors.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Error;
    /// use multiproc::futures::ProcessPoolExecutor;
    /// assert!(ProcessPoolExecutor::builder().max_workers(1).build().is_ok());
    /// let none = ProcessPoolExecutor::builder().max_workers(0).build();
    /// assert!(matches!(none, Err(Error::InvalidArgument { .. })));
    /// ```
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.staffing.workers = Some(max_workers);
        self
    }

    /// Has each worker call `f(args)` before anything else, those that replace others too. If that panics, the executor is
    /// broken: every task fails with [`TaskError::Initializer`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::RawValue;
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let started = RawValue::new(0)?;
    /// let count = |started: RawValue<u32>| { started.fetch_add(1); };
    /// let executor = ProcessPoolExecutor::builder().max_workers(1).initializer(count, started.clone()).build()?;
    /// executor.submit(|()| (), ()).into_result()?;
    /// assert_eq!(started.load(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn initializer<I>(mut self, f: fn(I), args: I) -> Self
    where
        I: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.staffing.set_initializer(f, args);
        self
    }

    /// After how many tasks a worker is replaced; a chunk of a map is one. 0, the default, is never.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build()?;
    /// let pid = || executor.submit(|()| std::process::id(), ()).into_result();
    /// assert_ne!(pid()?, pid()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        self.staffing.most_tasks = tasks;
        self
    }

    /// How often a task is given to another worker when the one that has it dies. Default 0.
    ///
    /// # Examples
    /// ```
    /// use multiproc::RawValue;
    /// use multiproc::futures::ProcessPoolExecutor;
    ///
    /// /// The first time, the worker goes.
    /// fn flaky(count: RawValue<u32>) -> u32 {
    ///     if count.fetch_add(1) == 0 {
    ///         std::process::exit(1);
    ///     }
    ///     count.load()
    /// }
    ///
    /// fn main() -> multiproc::Result<()> {
    ///     let executor = ProcessPoolExecutor::builder().max_workers(1).retries(1).build()?;
    ///     assert_eq!(executor.submit(flaky, RawValue::new(0)?).into_result()?, 2);
    ///     Ok(())
    /// }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.staffing.retries = retries;
        self
    }

    /// How long a task may take; see [`PoolBuilder::task_timeout`](crate::PoolBuilder::task_timeout).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::TaskError;
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let builder = ProcessPoolExecutor::builder().max_workers(1).task_timeout(Duration::from_millis(100));
    /// let slow = builder.build()?.submit(|()| std::thread::sleep(Duration::from_secs(60)), ());
    /// assert_eq!(slow.result(), Err(&TaskError::TaskTimedOut));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.staffing.task_timeout = Some(timeout);
        self
    }

    /// How workers are started; see [`PoolBuilder::start_method`](crate::PoolBuilder::start_method).
    ///
    /// # Examples
    /// ```
    /// use multiproc::StartMethod;
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::builder().max_workers(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.staffing.method = method;
        self
    }

    /// Whether workers that crash may leave core files. Default false.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::builder().max_workers(1).core_dumps(true).build()?;
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn core_dumps(mut self, allowed: bool) -> Self {
        self.staffing.dumps_core = allowed;
        self
    }

    /// The executor, with its workers.
    ///
    /// # Errors
    /// Those of [`ProcessPoolExecutor::new`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ProcessPoolExecutor;
    /// let executor = ProcessPoolExecutor::builder().build()?; // As many workers as there are processors.
    /// assert_eq!(executor.submit(|n: u32| n + 1, 41).into_result()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn build(self) -> Result<ProcessPoolExecutor> {
        Ok(ProcessPoolExecutor { engine: self.staffing.engine()? })
    }
}

impl fmt::Debug for ProcessPoolExecutorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutorBuilder")
            .field("max_workers", &self.staffing.workers)
            .finish_non_exhaustive()
    }
}
