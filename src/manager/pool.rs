//! [`PoolProxy`]: a pool of processes that are the server's.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served, answer};
use super::wire::{Bytes, Kind};
use crate::pool::{Job, outcomes};
use crate::{Pool as LocalPool, TaskError};

/// Chunks of a map for each process.
const CHUNKS: usize = 4;

/// What a pool is asked.
#[derive(Debug, Serialize, Deserialize)]
enum PoolCall {
    /// -> `Vec<u64>`: leases of results.
    Submit(Vec<Job>),
    /// Within a time. -> `Option<Bytes>`: the result, which the client has then.
    Get(u64, Option<Duration>),
    /// -> `bool`: whether the result is there.
    IsReady(u64),
    /// Nobody wants the result. -> `()`
    Forget(u64),
    /// -> `u64`
    Processes,
    /// -> `()`
    Close,
    /// -> `()`
    Terminate,
    /// Within a time. -> `bool`: whether all processes have ended.
    Join(Option<Duration>),
}

/// A pool on the server.
pub(super) struct PoolObject {
    pool: Arc<LocalPool>,
    processes: u64,
    state: Arc<Monitor<State>>,
}

#[derive(Default)]
struct State {
    /// By their leases, as they come.
    results: HashMap<u64, Option<Result<Vec<u8>, TaskError>>>,
    is_closed: bool,
    is_joining: bool,
    is_joined: bool,
}

impl PoolObject {
    pub(super) fn new(processes: u64) -> Result<Self, Fault> {
        let refused = |error: crate::Error| Fault::Refused(error.to_string());
        let count = usize::try_from(processes).unwrap_or(usize::MAX);
        let pool = LocalPool::new(count).map_err(refused)?;
        Ok(Self { pool: Arc::new(pool), processes, state: Arc::default() })
    }

    fn submit(&self, caller: &Caller<'_>, job: Job) -> u64 {
        let lease = caller.lease();
        self.state.change(|state| state.results.insert(lease, None));
        let results = Arc::clone(&self.state);
        self.pool.apply_async_then(Job::run, job, move |result| {
            let result = result.cloned().map_err(TaskError::clone);
            results.change(|state| {
                // Not if nobody wants it any more.
                state.results.entry(lease).and_modify(|place| *place = Some(result));
            });
        });
        lease
    }

    fn join(&self, caller: &Caller<'_>, timeout: Option<Duration>) -> Result<bool, Fault> {
        let begins = self.state.change(|state| {
            if !state.is_closed {
                return Err(Fault::PoolStillRunning);
            }
            Ok(!std::mem::replace(&mut state.is_joining, true))
        })?;
        if begins {
            let (pool, state) = (Arc::clone(&self.pool), Arc::clone(&self.state));
            let thread = std::thread::Builder::new().name("multiproc-join".to_owned());
            let started = thread.spawn(move || {
                // It is closed.
                let _ = pool.join();
                drop(pool);
                state.change(|state| state.is_joined = true);
            });
            if let Err(error) = started {
                self.state.change(|state| state.is_joining = false);
                return Err(Fault::Refused(error.to_string()));
            }
        }
        let joined = self.state.wait(caller, timeout, |state| state.is_joined.then_some(()))?;
        Ok(joined.is_some())
    }
}

impl Served for PoolObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        if !caller.is_same_program {
            return Err(Fault::Refused("a pool's functions are those of the server's program".to_owned()));
        }
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            PoolCall::Submit(jobs) => {
                let leases: Vec<u64> = jobs.into_iter().map(|job| self.submit(caller, job)).collect();
                answer(reply, &leases)
            }
            PoolCall::Get(lease, timeout) => {
                if !caller.session.has_lease(lease) {
                    return Err(Fault::NotHeld);
                }
                let result = self.state.wait(caller, timeout, |state| {
                    if !matches!(state.results.get(&lease), Some(None)) {
                        return Some(state.results.remove(&lease).flatten());
                    }
                    None
                })?;
                let Some(result) = result else { return answer(reply, &None::<Bytes<'_>>) };
                caller.unlease(lease)?;
                let result = result.ok_or(Fault::NotHeld)?.map_err(Fault::Task)?;
                answer(reply, &Some(Bytes(&result)))
            }
            PoolCall::IsReady(lease) => {
                let is_ready = self.state.look(|state| matches!(state.results.get(&lease), Some(Some(_))));
                answer(reply, &is_ready)
            }
            PoolCall::Forget(lease) => {
                caller.unlease(lease)?;
                self.release(lease);
                Ok(())
            }
            PoolCall::Processes => answer(reply, &self.processes),
            PoolCall::Close => {
                self.pool.close();
                self.state.change(|state| state.is_closed = true);
                Ok(())
            }
            PoolCall::Terminate => {
                self.pool.terminate();
                self.state.change(|state| state.is_closed = true);
                Ok(())
            }
            PoolCall::Join(timeout) => answer(reply, &self.join(caller, timeout)?),
        }
    }

    fn release(&self, lease: u64) {
        self.state.change(|state| state.results.remove(&lease));
    }
}

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
    pub fn apply_async<A, R>(&self, f: fn(A) -> R, args: A) -> Result<RemoteResult<R>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let job = Job::new(f, &[args]).map_err(ManagerError::Task)?;
        let leases: Vec<u64> = self.remote.ask(&PoolCall::Submit(vec![job]))?;
        let lease = leases.first().copied().ok_or(ManagerError::NotHeld)?;
        Ok(RemoteResult { pool: self.clone(), lease, is_taken: false, result: PhantomData })
    }

    /// Has `f` called with each of `items` and waits for all results, in the order of the items.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: the first failure in that order. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    #[doc(alias = "starmap")]
    pub fn map<A, R>(&self, f: fn(A) -> R, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.imap(f, items)?.collect()
    }

    /// Has `f` called with each of `items`, which are taken at once; results come in their order, each when it is there.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: the arguments can't travel. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    pub fn imap<A, R>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<impl Iterator<Item = Result<R, ManagerError>>, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let items: Vec<A> = items.into_iter().collect();
        let processes: usize = self.remote.ask(&PoolCall::Processes)?;
        let chunk = items.len().div_ceil(processes.saturating_mul(CHUNKS).max(1)).max(1);
        let jobs = items.chunks(chunk).map(|chunk| Job::new(f, chunk)).collect::<Result<Vec<_>, _>>();
        let lengths: Vec<usize> = items.chunks(chunk).map(<[A]>::len).collect();
        let leases: Vec<u64> = self.remote.ask(&PoolCall::Submit(jobs.map_err(ManagerError::Task)?))?;
        let results =
            |lease| RemoteResult::<R> { pool: self.clone(), lease, is_taken: false, result: PhantomData };
        let chunks: Vec<_> = leases.into_iter().map(results).zip(lengths).collect();
        Ok(chunks.into_iter().flat_map(|(result, len)| result.take_all(len)))
    }

    /// Takes no more tasks. What was given to it is done.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    pub fn close(&self) -> Result<(), ManagerError> {
        self.remote.ask(&PoolCall::Close)
    }

    /// Takes no more tasks, fails all that are not done, and ends the processes.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
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
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.remote.ask(&PoolCall::Join(Some(timeout)))
    }
}

/// The result of a task of a [`PoolProxy`], which is there or will be. Dropped, it is forgotten.
pub struct RemoteResult<R> {
    pool: PoolProxy,
    lease: u64,
    is_taken: bool,
    result: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> RemoteResult<R> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: there is none. [`ManagerError::NotHeld`]: the connection was lost, and the result is forgotten. Those
    /// of a call.
    ///
    /// # Process death
    /// A server that is killed ends the wait: [`ManagerError::Disconnected`].
    pub fn get(self) -> Result<R, ManagerError> {
        let missing = || ManagerError::Task(TaskError::Decode("a result is missing".to_owned()));
        self.take_all(1).pop().ok_or_else(missing)?
    }

    /// As [`get`](Self::get), for at most `timeout`; then the result is still to come.
    ///
    /// # Errors
    /// [`ManagerError::TimedOut`]; those of `get`.
    ///
    /// # Process death
    /// As `get`.
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, ManagerError> {
        let missing = || ManagerError::Task(TaskError::Decode("a result is missing".to_owned()));
        self.take_within(1, Some(timeout))?.pop().ok_or_else(missing)?
    }

    /// Whether the result is there.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    #[doc(alias = "ready")]
    pub fn is_ready(&self) -> Result<bool, ManagerError> {
        self.pool.remote.ask(&PoolCall::IsReady(self.lease))
    }

    fn take_all(mut self, len: usize) -> Vec<Result<R, ManagerError>> {
        self.take_within(len, None).unwrap_or_else(|error| vec![Err(error)])
    }

    fn take_within(
        &mut self,
        len: usize,
        timeout: Option<Duration>,
    ) -> Result<Vec<Result<R, ManagerError>>, ManagerError> {
        let answer = self.pool.remote.call(&PoolCall::Get(self.lease, timeout))?;
        let bytes: Option<Bytes<'_>> = answer.read()?;
        let bytes = bytes.ok_or(ManagerError::TimedOut)?;
        self.is_taken = true;
        Ok(outcomes(bytes.0, len).into_iter().map(|result| result.map_err(ManagerError::Task)).collect())
    }
}

impl<R> Drop for RemoteResult<R> {
    fn drop(&mut self) {
        if !self.is_taken {
            // A server that can't be reached has forgotten it, or is gone.
            let _ = self.pool.remote.ask::<_, ()>(&PoolCall::Forget(self.lease));
        }
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

impl<R> fmt::Debug for RemoteResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteResult").finish_non_exhaustive()
    }
}
