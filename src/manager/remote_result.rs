//! [`RemoteResult`]: what comes of the tasks of a pool that is a server's.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::error::ManagerError;
use super::pool::PoolCall;
use super::pool_proxy::Pool;
use super::proxy::Typed;
use super::wire::Bytes;
use crate::TaskError;
use crate::pool::outcomes;
use crate::sys::Deadline;
use crate::task::missing;

/// Results that have not come yet. Dropped, they are forgotten.
pub(super) struct Pending {
    remote: Typed<Pool>,
    /// In the order in which they were asked for: the lease of each, and of how many calls it is.
    chunks: VecDeque<(u64, usize)>,
}

/// What came of so many calls, encoded.
pub(super) type Came = (Result<Vec<u8>, TaskError>, usize);

/// How the next one is waited for.
pub(super) type Next = fn(&mut Pending, Option<Duration>) -> Option<Result<Came, ManagerError>>;

/// How a result is made of what came.
type Read<R> = fn(Vec<Came>) -> Result<R, ManagerError>;

impl Pending {
    pub(super) fn new(remote: Typed<Pool>, chunks: VecDeque<(u64, usize)>) -> Self {
        Self { remote, chunks }
    }

    /// Waits for the next one in their order; `None` after the last.
    pub(super) fn next(&mut self, timeout: Option<Duration>) -> Option<Result<Came, ManagerError>> {
        let &(lease, _) = self.chunks.front()?;
        Some(self.first_of(vec![lease], timeout))
    }

    /// Waits for one of them, whichever; `None` after the last.
    pub(super) fn any(&mut self, timeout: Option<Duration>) -> Option<Result<Came, ManagerError>> {
        let leases: Vec<u64> = self.chunks.iter().map(|(lease, _)| *lease).collect();
        (!leases.is_empty()).then(|| self.first_of(leases, timeout))
    }

    fn first_of(&mut self, leases: Vec<u64>, timeout: Option<Duration>) -> Result<Came, ManagerError> {
        let answer = self.remote.call(&PoolCall::Get(leases, timeout))?;
        let came: Option<(u64, Result<Bytes<'_>, TaskError>)> = answer.read()?;
        let (lease, result) = came.ok_or(ManagerError::TimedOut)?;
        let place = self.chunks.iter().position(|chunk| chunk.0 == lease).ok_or(ManagerError::NotHeld)?;
        let calls = self.chunks.remove(place).map_or(0, |(_, calls)| calls);
        Ok((result.map(|bytes| bytes.0.to_vec()), calls))
    }

    /// Adds others, behind these.
    pub(super) fn append(&mut self, mut others: Self) {
        self.chunks.append(&mut others.chunks);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.chunks.is_empty() {
            let leases = self.chunks.iter().map(|(lease, _)| *lease).collect();
            // A server that can't be reached has forgotten them, or is gone.
            let _ = self.remote.ask::<_, ()>(&PoolCall::Forget(leases));
        }
    }
}

/// The results of some calls. A worker that died fails all of them.
pub(super) fn results_of<R: DeserializeOwned>((result, calls): Came) -> Vec<Result<R, ManagerError>> {
    match result {
        Ok(bytes) => {
            outcomes(&bytes, calls).into_iter().map(|result| result.map_err(ManagerError::Task)).collect()
        }
        Err(error) => (0..calls).map(|_| Err(ManagerError::Task(error.clone()))).collect(),
    }
}

/// The result of the only call.
fn only<R: DeserializeOwned>(came: Vec<Came>) -> Result<R, ManagerError> {
    came.into_iter().flat_map(results_of).next().ok_or_else(|| ManagerError::Task(missing()))?
}

/// The results of all calls, or the first failure.
fn all<R: DeserializeOwned>(came: Vec<Came>) -> Result<Vec<R>, ManagerError> {
    came.into_iter().flat_map(results_of).collect()
}

/// The result of a task or a map of a [`PoolProxy`](super::PoolProxy), which is there or will be. Dropped, it is forgotten,
/// although the task is done; as it is if its client dies.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let pool = manager.pool(1)?;
/// let result = pool.apply_async(|n: u32| n + 1, 1)?;
/// // Meanwhile, something else.
/// assert_eq!(result.get()?, 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct RemoteResult<R> {
    pending: Pending,
    came: Vec<Came>,
    /// Makes the result of what came, once.
    read: Option<Read<R>>,
    /// Until when it may come.
    deadline: Option<Deadline>,
}

impl<R: DeserializeOwned> RemoteResult<R> {
    /// Of one call.
    pub(super) fn of_one(pending: Pending) -> Self {
        Self { pending, came: Vec::new(), read: Some(only), deadline: None }
    }
}

impl<R: DeserializeOwned> RemoteResult<Vec<R>> {
    /// Of all the calls.
    pub(super) fn of_all(pending: Pending, deadline: Option<Deadline>) -> Self {
        Self { pending, came: Vec::new(), read: Some(all), deadline }
    }
}

impl<R> RemoteResult<R> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`ManagerError::Task`]: there is none; of a map, the first failure in the order of the items. [`ManagerError::NotHeld`]: the
    /// connection was lost, and the result is forgotten. [`ManagerError::TimedOut`], of a map with that option. Those of a call.
    ///
    /// # Process death
    /// A server that is killed ends the wait: [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// assert_eq!(pool.apply_async(|n: u32| n + 1, 1)?.get()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(mut self) -> Result<R, ManagerError> {
        self.take_within(None)
    }

    /// As [`get`](Self::get), for at most `timeout`; then the result is still to come.
    ///
    /// # Errors
    /// [`ManagerError::TimedOut`]; those of `get`. [`ManagerError::NotHeld`]: it has been got.
    ///
    /// # Process death
    /// As `get`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// use std::time::Duration;
    /// use multiproc::manager::EventProxy;
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let go = manager.event()?;
    /// let mut result = pool.apply_async(|go: EventProxy| go.wait().is_ok(), go.clone())?;
    /// assert!(matches!(result.get_timeout(Duration::from_millis(5)), Err(ManagerError::TimedOut)));
    /// go.set()?;
    /// assert!(result.get()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, ManagerError> {
        self.take_within(Some(timeout))
    }

    /// Whether the result is there.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let result = pool.apply_async(|n: u32| n + 1, 1)?;
    /// while !result.is_ready()? {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(result.get()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "ready")]
    pub fn is_ready(&self) -> Result<bool, ManagerError> {
        let leases = self.pending.chunks.iter().map(|(lease, _)| *lease).collect();
        self.pending.remote.ask(&PoolCall::AreReady(leases))
    }

    /// Has `callback` called with the outcome, here, on a thread of its own.
    ///
    /// # Errors
    /// [`ManagerError::Refused`]: there is no thread for it.
    ///
    /// # Process death
    /// A server that is killed is the outcome [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let pool = manager.pool(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let result = pool.apply_async(|n: u32| n + 1, 1)?;
    /// result.then(move |result| sender.send(result).expect("the receiver is there"))?;
    /// assert_eq!(receiver.recv().expect("it is called")?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn then<C>(self, callback: C) -> Result<(), ManagerError>
    where
        R: 'static,
        C: FnOnce(Result<R, ManagerError>) + Send + 'static,
    {
        let thread = std::thread::Builder::new().name("multiproc-callback".to_owned());
        let started = thread.spawn(move || callback(self.get()));
        started.map(drop).map_err(|error| ManagerError::Refused(format!("no thread for a callback: {error}")))
    }

    fn take_within(&mut self, timeout: Option<Duration>) -> Result<R, ManagerError> {
        let within = timeout.and_then(Deadline::after);
        let deadline = within.map_or(self.deadline, |within| Some(within.earlier(self.deadline)));
        let read = self.read.ok_or(ManagerError::NotHeld)?;
        while let Some(came) = self.pending.next(deadline.map(Deadline::remaining)) {
            self.came.push(came?);
        }
        self.read = None;
        read(std::mem::take(&mut self.came))
    }
}

impl<R> fmt::Debug for RemoteResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteResult").finish_non_exhaustive()
    }
}
