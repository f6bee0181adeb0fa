//! [`QueueProxy`]: a queue on a server.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;
use super::list::items;
use super::proxy::{Mark, Named, Proxy, Remote, Typed};
use super::queue::QueueCall;
use super::wire::{Item, Kind};
use crate::segment::name_of;

/// A queue on a manager's server.
///
/// # Process death
/// A client killed while it puts has put the item or not. One killed while it gets has taken it, perhaps before it knew: where
/// that matters, a [`JoinableQueueProxy`](super::JoinableQueueProxy) gives tasks.
///
/// # Examples
/// ```
/// use multiproc::manager::ManagerError;
/// let manager = multiproc::Manager::start()?;
/// let queue = manager.queue::<String>(2)?;
/// queue.put(&"a".to_owned())?;
/// queue.put(&"b".to_owned())?;
/// assert!(matches!(queue.try_put(&"c".to_owned()), Err(ManagerError::Full)));
/// assert_eq!(queue.get()?, "a");
/// queue.shutdown()?;
/// assert_eq!(queue.iter().collect::<Result<Vec<_>, _>>()?, ["b"]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct QueueProxy<T> {
    remote: Typed<Queue<T>>,
}

/// What a [`QueueProxy`] is of.
#[doc(hidden)]
pub struct Queue<T>(PhantomData<T>);

impl<T> Mark for Queue<T> {
    const KIND: Kind = Kind::Queue;

    fn of() -> String {
        name_of::<T>()
    }
}

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

/// What both kinds of queues do.
pub(super) fn put<T: Serialize>(
    remote: &Remote,
    value: &T,
    timeout: Option<Duration>,
) -> Result<(), ManagerError> {
    remote.ask(&QueueCall::Put(remote.pack(value)?.item(), timeout))
}

pub(super) fn put_many<T: Serialize>(
    remote: &Remote,
    values: impl IntoIterator<Item = T>,
) -> Result<(), ManagerError> {
    let packed: Result<Vec<_>, _> = values.into_iter().map(|value| remote.pack(&value)).collect();
    remote.ask(&QueueCall::PutMany(items(&packed?), None))
}

pub(super) fn get<T: DeserializeOwned>(
    remote: &Remote,
    timeout: Option<Duration>,
) -> Result<T, ManagerError> {
    remote.unpack(&remote.call(&QueueCall::Get(timeout))?.read()?)
}

pub(super) fn get_many<T: DeserializeOwned>(remote: &Remote, most: usize) -> Result<Vec<T>, ManagerError> {
    let answer = remote.call(&QueueCall::GetMany(most as u64, None))?;
    remote.unpack_all(&answer.read::<Vec<Item<'_>>>()?)
}

/// How many items there are, how many there may be, how many are not done.
pub(super) fn state(remote: &Remote) -> Result<(u64, u64, u64), ManagerError> {
    remote.ask(&QueueCall::State)
}

impl<T: Serialize + DeserializeOwned> QueueProxy<T> {
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
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put(&7)?;
    /// assert_eq!(queue.get()?, 7);
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
    /// let queue = manager.queue(1)?;
    /// queue.try_put(&7)?;
    /// assert!(matches!(queue.try_put(&8), Err(ManagerError::Full)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, value: &T) -> Result<(), ManagerError> {
        put(&self.remote, value, AT_ONCE)
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
    /// let queue = manager.queue(1)?;
    /// queue.put(&7)?;
    /// let waited = queue.put_timeout(&8, Duration::from_millis(5));
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
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put_many(0..5)?;
    /// assert_eq!(queue.len()?, 5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        put_many(&self.remote, values)
    }

    /// Gets the next item, waiting for one.
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
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put(&7)?;
    /// assert_eq!(queue.get()?, 7);
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
    /// let queue = manager.queue::<u32>(0)?;
    /// assert!(matches!(queue.try_get(), Err(ManagerError::Empty)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, ManagerError> {
        get(&self.remote, AT_ONCE)
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
    /// use multiproc::manager::ManagerError;
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue::<u32>(0)?;
    /// let waited = queue.get_timeout(Duration::from_millis(5));
    /// assert!(matches!(waited, Err(ManagerError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
        get(&self.remote, Some(timeout))
    }

    /// Gets up to `most` items that are there, and as many as a message takes, waiting for the first: by one message.
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
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put_many(0..5)?;
    /// assert_eq!(queue.get_many(3)?, [0, 1, 2]);
    /// assert_eq!(queue.get_many(3)?, [3, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, ManagerError> {
        get_many(&self.remote, most)
    }

    /// Its items as they come, until it is shut down and drained, or a call fails.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put_many([1, 2])?;
    /// queue.shutdown()?;
    /// assert_eq!(queue.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Result<T, ManagerError>> {
        let mut failed = false;
        std::iter::from_fn(move || match self.get() {
            _ if failed => None,
            Err(ManagerError::Shutdown) => None,
            got => {
                failed = got.is_err();
                Some(got)
            }
        })
    }

    /// How many items there are.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put(&7)?;
    /// assert_eq!(queue.len()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "qsize")]
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
    /// let queue = manager.queue::<u32>(0)?;
    /// assert!(queue.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "empty")]
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
    /// let queue = manager.queue(1)?;
    /// assert!(!queue.is_full()?);
    /// queue.put(&7)?;
    /// assert!(queue.is_full()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool, ManagerError> {
        state(&self.remote).map(|(len, most, _)| most > 0 && len >= most)
    }

    /// Takes no more items. What is there can be got.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let queue = manager.queue::<u32>(0)?;
    /// queue.put(&7)?;
    /// queue.shutdown()?;
    /// assert!(matches!(queue.put(&8), Err(ManagerError::Shutdown)));
    /// assert_eq!(queue.get()?, 7);
    /// assert!(matches!(queue.get(), Err(ManagerError::Shutdown)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        self.remote.ask(&QueueCall::Shutdown)
    }
}

impl<T> Clone for QueueProxy<T> {
    fn clone(&self) -> Self {
        Self { remote: self.remote.clone() }
    }
}

impl<T> Proxy for QueueProxy<T> {}

#[expect(private_interfaces, reason = "sealed")]
impl<T> Named for QueueProxy<T> {
    type Mark = Queue<T>;

    fn remote(&self) -> &Typed<Queue<T>> {
        &self.remote
    }

    fn of_typed(remote: Typed<Queue<T>>) -> Self {
        Self { remote }
    }
}

impl<T> fmt::Debug for QueueProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "QueueProxy")
    }
}
