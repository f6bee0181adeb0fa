//! [`JoinableQueueProxy`] and [`RemoteTask`]: a queue on a server whose items are tasks.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::queue::QueueCall;
use super::queue_proxy::{get, get_many, put, put_many, state};
use super::wire::{Item, Kind};
use crate::segment::name_of;

/// A queue on a manager's server whose items are tasks: who puts them can wait until they are done.
///
/// # Process death
/// The tasks that a client has [taken](Self::take) when it is killed go to others, within 1 s. An item that it got by `get` is
/// lost, and [`join`](Self::join) waits for it, as in Python.
///
/// # Examples
/// ```
/// use multiproc::manager::JoinableQueueProxy;
/// use multiproc::{Manager, Process};
///
/// fn work(jobs: JoinableQueueProxy<u32>) {
///     while let Ok(job) = jobs.take() {
///         job.done().unwrap();
///     }
/// }
///
/// let manager = Manager::start()?;
/// let jobs = manager.joinable_queue::<u32>(0)?;
/// let mut worker = Process::spawn(work, jobs.clone())?;
/// jobs.put_many(0..10)?;
/// jobs.join()?;
/// assert_eq!(jobs.unfinished()?, 0);
/// jobs.shutdown()?;
/// worker.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct JoinableQueueProxy<T> {
    remote: Typed<JoinableQueue<T>>,
}

/// What a [`JoinableQueueProxy`] is of.
#[doc(hidden)]
pub struct JoinableQueue<T>(PhantomData<T>);

impl<T> Mark for JoinableQueue<T> {
    const KIND: Kind = Kind::JoinableQueue;

    fn of() -> String {
        name_of::<T>()
    }
}

/// A task from a [`JoinableQueueProxy`]. Dropped undone, it goes to another.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let jobs = manager.joinable_queue::<u32>(0)?;
/// jobs.put(&7)?;
/// let job = jobs.take()?;
/// assert_eq!((*job, job.attempt()), (7, 1));
/// drop(job);
/// // It has come back.
/// assert_eq!(jobs.take()?.attempt(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a task that is dropped goes to another"]
pub struct RemoteTask<'a, T> {
    queue: &'a JoinableQueueProxy<T>,
    lease: u64,
    attempt: u64,
    is_done: bool,
    value: T,
}

impl<T> RemoteTask<'_, T> {
    /// Says that it is done.
    ///
    /// # Errors
    /// [`ManagerError::NotHeld`]: the connection was lost, and another has it. Those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// jobs.take()?.done()?;
    /// assert_eq!(jobs.unfinished()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn done(mut self) -> Result<(), ManagerError> {
        self.is_done = true;
        self.queue.remote.ask(&QueueCall::Done(self.lease))
    }

    /// How many times it was taken, this time included.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// assert_eq!(jobs.take()?.attempt(), 1);
    /// assert_eq!(jobs.take()?.attempt(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn attempt(&self) -> u64 {
        self.attempt
    }
}

impl<T> Drop for RemoteTask<'_, T> {
    fn drop(&mut self) {
        if !self.is_done {
            // A server that can't be reached has given it to another, or is gone.
            let _ = self.queue.remote.ask::<_, ()>(&QueueCall::Return(self.lease));
        }
    }
}

impl<T> Deref for RemoteTask<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize + DeserializeOwned> JoinableQueueProxy<T> {
    /// Puts an item, waiting for room.
    ///
    /// # Errors
    /// [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// assert_eq!(jobs.unfinished()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put(&self, value: &T) -> Result<(), ManagerError> {
        put(&self.remote, value, None)
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`ManagerError::Full`], [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue(1)?;
    /// jobs.try_put(&7)?;
    /// assert!(matches!(jobs.try_put(&8), Err(ManagerError::Full)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_put(&self, value: &T) -> Result<(), ManagerError> {
        put(&self.remote, value, Some(Duration::ZERO))
    }

    /// Puts an item, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// [`ManagerError::TimedOut`], [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue(1)?;
    /// jobs.put(&7)?;
    /// let waited = jobs.put_timeout(&8, Duration::from_millis(5));
    /// assert!(matches!(waited, Err(ManagerError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<(), ManagerError> {
        put(&self.remote, value, Some(timeout))
    }

    /// Puts items, together, when there is room for the first: by one message.
    ///
    /// # Errors
    /// As [`put`](Self::put). Nothing is put then.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put_many(0..10)?;
    /// assert_eq!(jobs.len()?, 10);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        put_many(&self.remote, values)
    }

    /// Takes the next task, waiting for one.
    ///
    /// # Errors
    /// [`ManagerError::Shutdown`]: it was shut down, and is drained. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// let job = jobs.take()?;
    /// assert_eq!(*job, 7);
    /// job.done()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take(&self) -> Result<RemoteTask<'_, T>, ManagerError> {
        self.take_within(None)
    }

    /// Takes the next task if there is one.
    ///
    /// # Errors
    /// [`ManagerError::Empty`], [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// assert!(matches!(jobs.try_take(), Err(ManagerError::Empty)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_take(&self) -> Result<RemoteTask<'_, T>, ManagerError> {
        self.take_within(Some(Duration::ZERO))
    }

    /// Takes the next task, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`ManagerError::TimedOut`], [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// let waited = jobs.take_timeout(Duration::from_millis(5));
    /// assert!(matches!(waited, Err(ManagerError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take_timeout(&self, timeout: Duration) -> Result<RemoteTask<'_, T>, ManagerError> {
        self.take_within(Some(timeout))
    }

    fn take_within(&self, timeout: Option<Duration>) -> Result<RemoteTask<'_, T>, ManagerError> {
        let answer = self.remote.call(&QueueCall::Take(timeout))?;
        let (lease, attempt, item): (u64, u64, Item<'_>) = answer.read()?;
        Ok(RemoteTask { queue: self, lease, attempt, is_done: false, value: self.remote.unpack(&item)? })
    }

    /// Gets the next item, waiting for one. To be followed by a [`task_done`](Self::task_done).
    ///
    /// # Errors
    /// [`ManagerError::Shutdown`]: it was shut down, and is drained. Those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// assert_eq!(jobs.get()?, 7);
    /// jobs.task_done()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self) -> Result<T, ManagerError> {
        get(&self.remote, None)
    }

    /// Gets the next item if there is one.
    ///
    /// # Errors
    /// [`ManagerError::Empty`], [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// assert!(matches!(jobs.try_get(), Err(ManagerError::Empty)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T, ManagerError> {
        get(&self.remote, Some(Duration::ZERO))
    }

    /// Gets the next item, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`ManagerError::TimedOut`], [`ManagerError::Shutdown`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// assert_eq!(jobs.get_timeout(Duration::from_secs(1))?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
        get(&self.remote, Some(timeout))
    }

    /// Gets up to `most` items that are there, and as many as a message takes, waiting for the first: by one message. Each is
    /// to be followed by a [`task_done`](Self::task_done).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put_many([1, 2, 3])?;
    /// assert_eq!(jobs.get_many(2)?, [1, 2]);
    /// assert_eq!(jobs.unfinished()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, ManagerError> {
        get_many(&self.remote, most)
    }

    /// Says that an item that was got is done.
    ///
    /// # Errors
    /// [`ManagerError::TaskDoneTooOften`]; those of a call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// jobs.get()?;
    /// jobs.task_done()?;
    /// assert!(matches!(jobs.task_done(), Err(ManagerError::TaskDoneTooOften)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<(), ManagerError> {
        self.remote.ask(&QueueCall::TaskDone)
    }

    /// Waits until all items are done.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// assert!(jobs.join().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), ManagerError> {
        self.remote.ask::<_, bool>(&QueueCall::Join(None)).map(drop)
    }

    /// Waits until all items are done, for at most `timeout`; whether they are.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// assert!(!jobs.join_timeout(Duration::from_millis(5))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.remote.ask(&QueueCall::Join(Some(timeout)))
    }

    /// How many items there are; of those that were taken, none.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// assert_eq!(jobs.len()?, 1);
    /// let _job = jobs.take()?;
    /// assert_eq!(jobs.len()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn len(&self) -> Result<u64, ManagerError> {
        state(&self.remote).map(|state| state.0)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// assert!(jobs.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// Whether there are as many as there may be.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue(1)?;
    /// jobs.put(&7)?;
    /// assert!(jobs.is_full()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_full(&self) -> Result<bool, ManagerError> {
        state(&self.remote).map(|(len, most, _)| most > 0 && len >= most)
    }

    /// How many items are not done.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.put(&7)?;
    /// let _job = jobs.take()?;
    /// assert_eq!(jobs.unfinished()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn unfinished(&self) -> Result<u64, ManagerError> {
        state(&self.remote).map(|state| state.2)
    }

    /// Takes no more items. What is there can be taken.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let jobs = manager.joinable_queue::<u32>(0)?;
    /// jobs.shutdown()?;
    /// assert!(matches!(jobs.put(&7), Err(ManagerError::Shutdown)));
    /// assert!(matches!(jobs.take(), Err(ManagerError::Shutdown)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        self.remote.ask(&QueueCall::Shutdown)
    }
}

impl<T> Clone for JoinableQueueProxy<T> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<T> Proxy for JoinableQueueProxy<T> {}

#[expect(private_interfaces, reason = "sealed")]
impl<T> Named for JoinableQueueProxy<T> {
    type Mark = JoinableQueue<T>;

    fn remote(&self) -> &Typed<JoinableQueue<T>> {
        &self.remote
    }

    fn of_typed(remote: Typed<JoinableQueue<T>>) -> Self {
        Self { remote }
    }
}

impl<T> fmt::Debug for JoinableQueueProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "JoinableQueueProxy")
    }
}

impl<T: fmt::Debug> fmt::Debug for RemoteTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask").field("value", &self.value).field("attempt", &self.attempt).finish()
    }
}
