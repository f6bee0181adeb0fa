//! [`PoolBuilder`]: how a pool is to be.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::{Engine, Policy};
use super::pool::Pool;
use super::runner::Function;
use super::wire::Wire;
use super::worker::{Common, Employment, Ending, Initializer, work};
use crate::process::cpu_count;
use crate::{Error, Process, Result, StartMethod};

/// How workers are started and treated: what pools and executors have in common.
pub(crate) struct Staffing {
    pub(crate) what: &'static str,
    pub(crate) workers: Option<usize>,
    pub(crate) most_tasks: u64,
    pub(crate) retries: u32,
    pub(crate) task_timeout: Option<Duration>,
    pub(crate) dumps_core: bool,
    pub(crate) method: StartMethod,
    hire: Arc<Hire>,
}

type Hire = dyn Fn(&Engine, Terms) -> Result<Process<Ending>> + Send + Sync;

/// What is different for each worker, and each pool.
struct Terms {
    seat: u32,
    wire: Wire,
    name: String,
    most_tasks: u64,
    dumps_core: bool,
    method: StartMethod,
}

impl Staffing {
    /// `what` is what the number of workers is called.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            workers: None,
            most_tasks: 0,
            retries: 0,
            task_timeout: None,
            dumps_core: false,
            method: StartMethod::Zygote,
            hire: Arc::new(|engine, terms| hire::<()>(engine, terms, None)),
        }
    }

    pub(crate) fn set_initializer<I>(&mut self, f: fn(I), args: I)
    where
        I: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let initializer = Initializer { function: Function::new(f), arguments: Common(Arc::new(args)) };
        self.hire = Arc::new(move |engine, terms| hire(engine, terms, Some(initializer.clone())));
    }

    /// # Errors
    /// [`Error::InvalidArgument`] for 0 workers or tasks; those of [`Process::spawn`].
    pub(crate) fn engine(self) -> Result<Arc<Engine>> {
        // Relaxed: a counter, nothing depends on the order.
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let Self { what, workers, most_tasks, retries, task_timeout, dumps_core, method, hire } = self;
        let workers = workers.unwrap_or_else(cpu_count);
        Error::unless_positive(what, workers)?;
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let policy = Policy { workers, retries, task_timeout };
        Engine::start(
            policy,
            Box::new(move |engine, seat, wire| {
                let name = format!("PoolWorker-{number}:{}", seat + 1);
                hire(engine, Terms { seat, wire, name, most_tasks, dumps_core, method })
            }),
        )
    }
}

fn hire<I>(engine: &Engine, terms: Terms, initializer: Option<Initializer<I>>) -> Result<Process<Ending>>
where
    I: Serialize + DeserializeOwned,
{
    let Terms { seat, wire, name, most_tasks, dumps_core, method } = terms;
    let employment = Employment {
        tasks: engine.tasks.clone(),
        results: engine.results.clone(),
        board: engine.board.clone(),
        wire,
        seat,
        most_tasks,
        is_timed: engine.policy.task_timeout.is_some(),
        dumps_core,
        initializer,
    };
    Process::builder().name(name).daemon(true).start_method(method).spawn(work::<I>, employment)
}

/// How a [`Pool`] is to be.
///
/// # Examples
/// ```
/// use multiproc::Pool;
/// let pool = Pool::builder().processes(1).max_tasks_per_child(100).retries(1).build()?;
/// assert_eq!(pool.map(|n: u32| n + 1, [1, 2])?, [2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a builder makes nothing until `build` is called"]
pub struct PoolBuilder {
    staffing: Staffing,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self { staffing: Staffing::new("processes") }
    }

    /// How many workers. Default: as many as there are processors.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::builder().processes(2).build()?;
    /// assert_eq!(pool.pids().len(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn processes(mut self, processes: usize) -> Self {
        self.staffing.workers = Some(processes);
        self
    }

    /// Has each worker call `f(args)` before anything else, those that replace others too. If that panics, the pool is
    /// broken: every task fails with [`TaskError::Initializer`](crate::TaskError::Initializer).
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use multiproc::Pool;
    /// static SCALE: AtomicU32 = AtomicU32::new(0);
    /// let pool = Pool::builder().processes(1).initializer(|scale| SCALE.store(scale, Relaxed), 3).build()?;
    /// assert_eq!(pool.apply(|n: u32| n * SCALE.load(Relaxed), 4)?, 12);
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
    /// use multiproc::Pool;
    /// let pool = Pool::builder().processes(1).max_tasks_per_child(1).build()?;
    /// let pid = |()| std::process::id();
    /// assert_ne!(pool.apply(pid, ())?, pool.apply(pid, ())?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        self.staffing.most_tasks = tasks;
        self
    }

    /// How often a task is given to another worker when the one that has it dies. Default 0: it fails with
    /// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Pool, RawValue};
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
    ///     let pool = Pool::builder().processes(1).retries(1).build()?;
    ///     assert_eq!(pool.apply(flaky, RawValue::new(0)?)?, 2);
    ///     Ok(())
    /// }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.staffing.retries = retries;
        self
    }

    /// How long a task, or a chunk of a map, may take. Then its worker is killed and replaced, and it fails with
    /// [`TaskError::TaskTimedOut`](crate::TaskError::TaskTimedOut), an eighth of that time later at most, or 0.2 s. Default: no
    /// limit.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Pool, TaskError};
    /// let pool = Pool::builder().processes(1).task_timeout(Duration::from_millis(100)).build()?;
    /// let slow = pool.apply(|()| std::thread::sleep(Duration::from_secs(60)), ());
    /// assert_eq!(slow, Err(TaskError::TaskTimedOut));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.staffing.task_timeout = Some(timeout);
        self
    }

    /// How workers are started. Default [`StartMethod::Zygote`]: they are copies of a helper, which is quicker, above all where
    /// workers are replaced.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Pool, StartMethod};
    /// let pool = Pool::builder().processes(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.apply(|n: u32| n + 1, 1)?, 2);
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
    /// use multiproc::Pool;
    /// let pool = Pool::builder().processes(1).core_dumps(true).build()?;
    /// assert_eq!(pool.apply(|n: u32| n + 1, 1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn core_dumps(mut self, allowed: bool) -> Self {
        self.staffing.dumps_core = allowed;
        self
    }

    /// The pool, with its workers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for 0 workers; [`Error::OutOfMemory`]; those of [`Process::spawn`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Pool};
    /// assert!(Pool::builder().processes(1).build().is_ok());
    /// assert!(matches!(Pool::builder().processes(0).build(), Err(Error::InvalidArgument { .. })));
    /// ```
    pub fn build(self) -> Result<Pool> {
        Ok(Pool::from_engine(self.staffing.engine()?))
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("processes", &self.staffing.workers).finish_non_exhaustive()
    }
}
