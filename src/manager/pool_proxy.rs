//! [`PoolProxy`]: a pool of processes that are the server's.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::pool::PoolCall;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::remote_result::{Pending, RemoteResult};
use super::wire::Kind;
use crate::pool::Job;

/// Chunks of a map for each process.
const CHUNKS: usize = 4;

/// A pool of processes that a manager's server started.
///
/// Its clients are processes of the same program as the server's, on its machine, over a Unix socket; of others it takes no
/// functions. Functions are as in [`Pool`](crate::Pool); their arguments and results hold no handles, and may hold proxies.
///
/// # Process death
/// A worker that dies fails its task, and is replaced. The results of a client that is killed are forgotten. Workers end with the
/// server, however it ends.
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
    /// [`ManagerError::Task`]: the first failure in that order. Those of a call.
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
    pub fn map<A, R>(&self, f: fn(A) -> R, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.imap(f, items)?.collect()
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
    pub fn map_async<A, R>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<RemoteResult<Vec<R>>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Ok(RemoteResult::of_all(self.submit_all(f, items)?))
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
    pub fn map_async_then<A, R, C>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        callback: C,
    ) -> Result<(), ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
        C: FnOnce(Result<Vec<R>, ManagerError>) + Send + 'static,
    {
        self.map_async(f, items)?.then(callback)
    }

    /// Has `f` called with each of `items`, which are taken at once; results come in their order, as soon as they are there: a few at a
    /// time. It goes on after a failure.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: the arguments can't travel. Those of a call, with which the results end.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(|n: u64| n * n, 0..5)?.collect();
    /// assert_eq!(squares?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap<A, R>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<impl Iterator<Item = Result<R, ManagerError>>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Ok(self.submit_all(f, items)?.results(Pending::next))
    }

    /// As [`imap`](Self::imap), but results come in the order in which they are ready.
    ///
    /// # Errors
    /// As `imap`.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let squares = pool.imap_unordered(|n: u64| n * n, 0..5)?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares.iter().sum::<u64>(), 30);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn imap_unordered<A, R>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<impl Iterator<Item = Result<R, ManagerError>>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Ok(self.submit_all(f, items)?.results(Pending::any))
    }

    /// Has the calls made, a chunk of them at a time: by about as many chunks as keep all processes busy to the end.
    fn submit_all<A, R>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Pending, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let items: Vec<A> = items.into_iter().collect();
        let processes: usize = self.remote.ask(&PoolCall::Processes)?;
        self.submit(f, &items, items.len().div_ceil(processes.saturating_mul(CHUNKS).max(1)).max(1))
    }

    fn submit<A, R>(&self, f: fn(A) -> R, items: &[A], chunk: usize) -> Result<Pending, ManagerError>
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
