//! [`PoolProxy`]: a pool of processes that are the server's.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::pool::PoolCall;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::remote_result::{Next, Pending, RemoteResult};
use super::stream::{Pace, Stream};
use super::wire::Kind;
use crate::MapOptions;
use crate::pool::Job;

/// A pool of processes that a manager's server started.
///
/// Its clients are processes of the same program as the server's, on its machine, over a Unix socket; of others it takes no
/// functions. Functions are as in [`Pool`](crate::Pool); their arguments and results hold no handles, and may hold proxies.
///
/// # Process death
/// A worker that dies fails its task, and is replaced. Workers end with the server, however it ends.
///
/// What was submitted is done, as in Python, although the client waits no longer, drops the result or is killed: it keeps a worker
/// busy for as long as it takes, and the server forgets what comes of it.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let pool = manager.pool(2)?;
/// assert_eq!(pool.apply(|(a, b): (u32, u32)| a * b, (6, 7))?, 42);
/// assert_eq!(pool.map(|n: u64| n * n, 0..5)?, [0, 1, 4, 9, 16]);
/// let later = pool.apply_async(|text: String| text.len(), "seven".to_owned())?;
/// assert_eq!(later.get()?, 5);
/// pool.close()?;
/// pool.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolProxy {
    remote: Typed<Pool>,
}

/// What a [`PoolProxy`] is of.
#[doc(hidden)]
pub enum Pool {}

impl Mark for Pool {
    const KIND: Kind = Kind::Pool;

    fn of() -> String {
        String::new()
    }
}

impl PoolProxy {
    /// Has `f(args)` called and waits for its result.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: it has no result. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// assert_eq!(pool.apply(|(a, b): (u32, u32)| a * b, (6, 7))?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply<A, R>(&self, f: fn(A) -> R, args: A) -> Result<R, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.apply_async(f, args)?.get()
    }

    /// Has `f(args)` called.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: the arguments can't travel. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let length = pool.apply_async(|text: String| text.len(), "seven".to_owned())?;
    /// assert_eq!(length.get()?, 5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply_async<A, R>(&self, f: fn(A) -> R, args: A) -> Result<RemoteResult<R>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Ok(RemoteResult::of_one(self.submit(f, &[args], 1)?))
    }

    /// As [`apply_async`](Self::apply_async); `callback` is called with the outcome, here, on a thread of its own.
    ///
    /// # Errors
    /// As `apply_async`; [`ManagerError::Refused`]: there is no thread for it.
    ///
    /// # Process death
    /// A server that is killed is the outcome [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.apply_async_then(|n: u32| n + 1, 1, move |result| sender.send(result).expect("the receiver is there"))?;
    /// assert_eq!(receiver.recv().expect("it is called")?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn apply_async_then<A, R, C>(&self, f: fn(A) -> R, args: A, callback: C) -> Result<(), ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
        C: FnOnce(Result<R, ManagerError>) + Send + 'static,
    {
        self.apply_async(f, args)?.then(callback)
    }

    /// Has `f` called with each of `items` and waits for all results, in the order of the items.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: the first failure in that order, after all items were done. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// assert_eq!(pool.map(|n: u64| n * n, 0..5)?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "starmap")]
    pub fn map<A, R, I>(&self, f: fn(A) -> R, items: I) -> Result<Vec<R>, ManagerError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.map_with(f, items, MapOptions::default())
    }

    /// As [`map`](Self::map), with options.
    ///
    /// # Errors
    /// Those of `map`; [`ManagerError::TimedOut`], and all items are worked on all the same, by a pool that is as busy as before.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let in_tens = multiproc::MapOptions { chunk: Some(10), ..Default::default() };
    /// assert_eq!(pool.map_with(|n: u64| n + 1, 0..100, in_tens)?.len(), 100);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_with<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
        options: MapOptions,
    ) -> Result<Vec<R>, ManagerError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.map_async_with(f, items, options)?.get()
    }

    /// Has `f` called with each of `items`, which are taken at once.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: the arguments can't travel. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let squares = pool.map_async(|n: u64| n * n, 0..5)?;
    /// assert_eq!(squares.get()?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "starmap_async")]
    pub fn map_async<A, R, I>(&self, f: fn(A) -> R, items: I) -> Result<RemoteResult<Vec<R>>, ManagerError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.map_async_with(f, items, MapOptions::default())
    }

    /// As [`map_async`](Self::map_async), with options.
    ///
    /// # Errors
    /// Those of `map_async`, and of the options, which are [`ManagerError::Task`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let one_by_one = multiproc::MapOptions { chunk: Some(1), ..Default::default() };
    /// assert_eq!(pool.map_async_with(|n: u64| n * n, 0..4, one_by_one)?.get()?, [0, 1, 4, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async_with<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
        options: MapOptions,
    ) -> Result<RemoteResult<Vec<R>>, ManagerError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let options = options.check().map_err(ManagerError::Task)?;
        let items: Vec<A> = items.into_iter().collect();
        let chunk = options.chunk_of(items.len(), self.processes()?);
        Ok(RemoteResult::of_all(self.submit(f, &items, chunk)?, options.deadline))
    }

    /// As [`map_async`](Self::map_async); `callback` is called with the outcome, here, on a thread of its own.
    ///
    /// # Errors
    /// As `map_async`; [`ManagerError::Refused`]: there is no thread for it.
    ///
    /// # Process death
    /// A server that is killed is the outcome [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.map_async_then(|n: u64| n * n, 0..5, move |squares| sender.send(squares).expect("the receiver is there"))?;
    /// assert_eq!(receiver.recv().expect("it is called")?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn map_async_then<A, R, I, C>(&self, f: fn(A) -> R, items: I, callback: C) -> Result<(), ManagerError>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
        C: FnOnce(Result<Vec<R>, ManagerError>) + Send + 'static,
    {
        self.map_async(f, items)?.then(callback)
    }

    /// Has `f` called with each of `items`, which may be without end; results come in their order, each when it is there. It
    /// goes on after a failure.
    ///
    /// # Errors
    /// Each result has its own. One that is no [`ManagerError::Task`] is the last.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(|n: u64| n * n, 0..).take(5).collect();
    /// assert_eq!(squares?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> impl Iterator<Item = Result<R, ManagerError>> + use<A, R, I>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.imap_with(f, items, MapOptions::default())
    }

    /// As [`imap`](Self::imap), with options. A timeout is [`ManagerError::TimedOut`]; what is on its way then is done all the
    /// same.
    ///
    /// # Errors
    /// Each result has its own. One that is no [`ManagerError::Task`] is the last.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let bounded = multiproc::MapOptions { buffersize: Some(8), ..Default::default() };
    /// let squares: Result<Vec<u64>, _> = pool.imap_with(|n: u64| n * n, 0.., bounded).take(3).collect();
    /// assert_eq!(squares?, [0, 1, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_with<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
        options: MapOptions,
    ) -> impl Iterator<Item = Result<R, ManagerError>> + use<A, R, I>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Stream::new(self.clone(), f, items.into_iter(), self.pace(options, Pending::next))
    }

    /// As [`imap`](Self::imap), but results come in the order in which they are ready.
    ///
    /// # Errors
    /// Each result has its own. One that is no [`ManagerError::Task`] is the last.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let squares = pool.imap_unordered(|n: u64| n * n, 0..5).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares.iter().sum::<u64>(), 30);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> impl Iterator<Item = Result<R, ManagerError>> + use<A, R, I>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.imap_unordered_with(f, items, MapOptions::default())
    }

    /// As [`imap_unordered`](Self::imap_unordered), with options.
    ///
    /// # Errors
    /// Each result has its own. One that is no [`ManagerError::Task`] is the last.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let in_pairs = multiproc::MapOptions { chunk: Some(2), ..Default::default() };
    /// let squares = pool.imap_unordered_with(|n: u64| n * n, 0..4, in_pairs).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares.iter().sum::<u64>(), 14);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered_with<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
        options: MapOptions,
    ) -> impl Iterator<Item = Result<R, ManagerError>> + use<A, R, I>
    where
        I: IntoIterator<Item = A>,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Stream::new(self.clone(), f, items.into_iter(), self.pace(options, Pending::any))
    }

    fn pace(&self, options: MapOptions, next: Next) -> Result<Pace, ManagerError> {
        let options = options.check().map_err(ManagerError::Task)?;
        let chunk = options.chunk.unwrap_or(1);
        let most = options.buffer(chunk, self.processes()?);
        Ok(Pace { chunk, most, deadline: options.deadline, next })
    }

    fn processes(&self) -> Result<usize, ManagerError> {
        self.remote.ask(&PoolCall::Processes)
    }

    /// No results.
    pub(super) fn pending(&self) -> Pending {
        Pending::new(self.remote.clone(), VecDeque::new())
    }

    /// Has `f` called with each of `items`, with so many of them in a job.
    pub(super) fn submit<A, R>(
        &self,
        f: fn(A) -> R,
        items: &[A],
        chunk: usize,
    ) -> Result<Pending, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let jobs = items.chunks(chunk).map(|chunk| Job::new(f, chunk)).collect::<Result<Vec<_>, _>>();
        let leases: Vec<u64> = self.remote.ask(&PoolCall::Submit(jobs.map_err(ManagerError::Task)?))?;
        let chunks = leases.into_iter().zip(items.chunks(chunk).map(<[A]>::len)).collect();
        Ok(Pending::new(self.remote.clone(), chunks))
    }

    /// The numbers of the processes, on the server's machine, at this moment.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// assert_eq!(pool.pids()?, [pool.apply(|()| std::process::id(), ())?]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pids(&self) -> Result<Vec<u32>, ManagerError> {
        self.remote.ask(&PoolCall::Pids)
    }

    /// Takes no more tasks. What was given to it is done.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// use multiproc::TaskError;
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// pool.close()?;
    /// let late = pool.apply(|n: u32| n, 1);
    /// assert!(matches!(late, Err(ManagerError::Task(TaskError::PoolClosed))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(&self) -> Result<(), ManagerError> {
        self.remote.ask(&PoolCall::Close)
    }

    /// Takes no more tasks, fails all that are not done, and ends the processes.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// use multiproc::TaskError;
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let slow = pool.apply_async(|()| std::thread::sleep(std::time::Duration::from_secs(60)), ())?;
    /// pool.terminate()?;
    /// assert!(matches!(slow.get(), Err(ManagerError::Task(TaskError::Terminated))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn terminate(&self) -> Result<(), ManagerError> {
        self.remote.ask(&PoolCall::Terminate)
    }

    /// Waits until all processes have ended.
    ///
    /// # Errors
    /// [`ManagerError::PoolStillRunning`]: it was neither closed nor terminated. Those of a call.
    ///
    /// # Process death
    /// A server that is killed ends the wait: [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// assert!(matches!(pool.join(), Err(ManagerError::PoolStillRunning)));
    /// pool.close()?;
    /// assert!(pool.join().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), ManagerError> {
        self.remote.ask::<_, bool>(&PoolCall::Join(None)).map(drop)
    }

    /// Waits until all processes have ended, for at most `timeout`; whether they have.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Process death
    /// As `join`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// pool.close()?;
    /// assert!(pool.join_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.remote.ask(&PoolCall::Join(Some(timeout)))
    }
}

impl Proxy for PoolProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for PoolProxy {
    type Mark = Pool;

    fn remote(&self) -> &Typed<Pool> {
        &self.remote
    }

    fn of_typed(remote: Typed<Pool>) -> Self {
        Self { remote }
    }
}

impl fmt::Debug for PoolProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "PoolProxy")
    }
}
