//! [`SemaphoreProxy`] and [`BoundedSemaphoreProxy`]: semaphores on a server.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::wire::Kind;

/// What a semaphore is asked.
#[derive(Debug, Serialize, Deserialize)]
enum SemaphoreCall {
    /// Within a time. -> `Option<u64>`: the lease.
    Acquire(Option<Duration>),
    /// Gives a permit back. -> `()`
    Return(u64),
    /// The permit is nobody's any more, and stays taken. -> `()`
    Forget(u64),
    /// One permit more. -> `()`
    Release,
    /// -> `u64`
    Value,
}

/// A semaphore on the server: its permits.
pub(super) struct SemaphoreObject {
    most: Option<u64>,
    state: Monitor<u64>,
}

impl SemaphoreObject {
    pub(super) fn new(permits: u64, is_bounded: bool) -> Self {
        Self { most: is_bounded.then_some(permits), state: Monitor::new(permits) }
    }

    fn add(&self) -> Result<(), Fault> {
        self.state.change(|permits| {
            if self.most.is_some_and(|most| *permits >= most) {
                return Err(Fault::OverReleased);
            }
            *permits = permits.saturating_add(1);
            Ok(())
        })
    }
}

impl Served for SemaphoreObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            SemaphoreCall::Acquire(timeout) => {
                let lease = self.state.wait(caller, timeout, |permits| {
                    *permits = permits.checked_sub(1)?;
                    Some(caller.lease())
                })?;
                answer(reply, &lease)
            }
            SemaphoreCall::Return(lease) => {
                caller.unlease(lease)?;
                self.add()
            }
            SemaphoreCall::Forget(lease) => caller.unlease(lease),
            SemaphoreCall::Release => self.add(),
            SemaphoreCall::Value => answer(reply, &self.state.look(|permits| *permits)),
        }
    }

    fn release(&self, _: u64) {
        // One that was released by others as well has as many as it may.
        let _ = self.add();
    }

    fn wake(&self) {
        self.state.wake();
    }
}

/// A semaphore on a manager's server.
///
/// # Process death
/// The permits of a client that is killed come back within 1 s.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let seats = manager.semaphore(2)?;
/// let one = seats.acquire()?;
/// let other = seats.acquire()?;
/// assert!(seats.try_acquire()?.is_none());
/// drop(one);
/// assert_eq!(seats.value()?, 1);
/// // Taken here, and to be released by whoever may.
/// other.forget()?;
/// seats.release()?;
/// assert_eq!(seats.value()?, 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SemaphoreProxy {
    remote: Typed<Semaphore>,
}

/// A semaphore on a manager's server that never has more permits than at the start.
///
/// # Process death
/// As for [`SemaphoreProxy`].
///
/// # Examples
/// ```
/// use multiproc::manager::ManagerError;
/// let manager = multiproc::Manager::start()?;
/// let seats = manager.bounded_semaphore(1)?;
/// drop(seats.acquire()?);
/// assert!(matches!(seats.release(), Err(ManagerError::OverReleased)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BoundedSemaphoreProxy {
    remote: Typed<BoundedSemaphore>,
}

/// What a [`SemaphoreProxy`] is of.
#[doc(hidden)]
pub enum Semaphore {}

/// What a [`BoundedSemaphoreProxy`] is of.
#[doc(hidden)]
pub enum BoundedSemaphore {}

impl Mark for Semaphore {
    const KIND: Kind = Kind::Semaphore;

    fn of() -> String {
        String::new()
    }
}

impl Mark for BoundedSemaphore {
    const KIND: Kind = Kind::BoundedSemaphore;

    fn of() -> String {
        String::new()
    }
}

/// A permit of a semaphore on a server. Dropping it gives it back.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let seats = manager.semaphore(2)?;
/// let (one, other) = (seats.acquire()?, seats.acquire()?);
/// drop(one);
/// assert_eq!(seats.value()?, 1);
/// # drop(other);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the permit gives it back at once"]
pub struct RemotePermit<'a, M> {
    remote: &'a Typed<M>,
    lease: u64,
}

impl<'a, M> RemotePermit<'a, M> {
    fn take(remote: &'a Typed<M>, timeout: Option<Duration>) -> Result<Option<Self>, ManagerError> {
        let lease: Option<u64> = remote.ask(&SemaphoreCall::Acquire(timeout))?;
        Ok(lease.map(|lease| Self { remote, lease }))
    }

    /// Leaves it taken: it is nobody's, and doesn't come back when this process dies. `release` of the semaphore adds one.
    ///
    /// # Errors
    /// [`ManagerError::NotHeld`]: the connection was lost, and it has come back. Those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.semaphore(1)?;
    /// seats.acquire()?.forget()?;
    /// assert_eq!(seats.value()?, 0);
    /// seats.release()?;
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn forget(self) -> Result<(), ManagerError> {
        let forgotten = self.remote.ask(&SemaphoreCall::Forget(self.lease));
        std::mem::forget(self);
        forgotten
    }
}

impl<M> Drop for RemotePermit<'_, M> {
    fn drop(&mut self) {
        // A server that can't be reached has it back, or is gone.
        let _ = self.remote.ask::<_, ()>(&SemaphoreCall::Return(self.lease));
    }
}

impl SemaphoreProxy {
    /// Waits for a permit.
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
    /// let seats = manager.semaphore(1)?;
    /// let seat = seats.acquire()?;
    /// assert_eq!(seats.value()?, 0);
    /// drop(seat);
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<RemotePermit<'_, Semaphore>, ManagerError> {
        RemotePermit::take(&self.remote, None)?.ok_or(ManagerError::TimedOut)
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.semaphore(1)?;
    /// let _seat = seats.try_acquire()?;
    /// assert!(seats.try_acquire()?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Option<RemotePermit<'_, Semaphore>>, ManagerError> {
        RemotePermit::take(&self.remote, Some(Duration::ZERO))
    }

    /// Waits for a permit for at most `timeout`.
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
    /// let seats = manager.semaphore(1)?;
    /// let _seat = seats.acquire()?;
    /// assert!(seats.acquire_timeout(Duration::from_millis(5))?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<RemotePermit<'_, Semaphore>>, ManagerError> {
        RemotePermit::take(&self.remote, Some(timeout))
    }

    /// Adds a permit.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.semaphore(1)?;
    /// seats.release()?;
    /// assert_eq!(seats.value()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn release(&self) -> Result<(), ManagerError> {
        self.remote.ask(&SemaphoreCall::Release)
    }

    /// How many permits there are now.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.semaphore(1)?;
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn value(&self) -> Result<u64, ManagerError> {
        self.remote.ask(&SemaphoreCall::Value)
    }
}

impl BoundedSemaphoreProxy {
    /// Waits for a permit.
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
    /// let seats = manager.bounded_semaphore(1)?;
    /// let seat = seats.acquire()?;
    /// assert_eq!(seats.value()?, 0);
    /// drop(seat);
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<RemotePermit<'_, BoundedSemaphore>, ManagerError> {
        RemotePermit::take(&self.remote, None)?.ok_or(ManagerError::TimedOut)
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.bounded_semaphore(1)?;
    /// let _seat = seats.try_acquire()?;
    /// assert!(seats.try_acquire()?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Option<RemotePermit<'_, BoundedSemaphore>>, ManagerError> {
        RemotePermit::take(&self.remote, Some(Duration::ZERO))
    }

    /// Waits for a permit for at most `timeout`.
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
    /// let seats = manager.bounded_semaphore(1)?;
    /// let _seat = seats.acquire()?;
    /// assert!(seats.acquire_timeout(Duration::from_millis(5))?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<RemotePermit<'_, BoundedSemaphore>>, ManagerError> {
        RemotePermit::take(&self.remote, Some(timeout))
    }

    /// Adds a permit: of those that were [forgotten](RemotePermit::forget).
    ///
    /// # Errors
    /// [`ManagerError::OverReleased`]: there are as many as at the start. Those of a call.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.bounded_semaphore(1)?;
    /// assert!(matches!(seats.release(), Err(ManagerError::OverReleased)));
    /// seats.acquire()?.forget()?;
    /// seats.release()?;
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn release(&self) -> Result<(), ManagerError> {
        self.remote.ask(&SemaphoreCall::Release)
    }

    /// How many permits there are now.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let seats = manager.bounded_semaphore(1)?;
    /// assert_eq!(seats.value()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn value(&self) -> Result<u64, ManagerError> {
        self.remote.ask(&SemaphoreCall::Value)
    }
}

impl Proxy for SemaphoreProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for SemaphoreProxy {
    type Mark = Semaphore;

    fn remote(&self) -> &Typed<Semaphore> {
        &self.remote
    }

    fn of_typed(remote: Typed<Semaphore>) -> Self {
        Self { remote }
    }
}

impl Proxy for BoundedSemaphoreProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for BoundedSemaphoreProxy {
    type Mark = BoundedSemaphore;

    fn remote(&self) -> &Typed<BoundedSemaphore> {
        &self.remote
    }

    fn of_typed(remote: Typed<BoundedSemaphore>) -> Self {
        Self { remote }
    }
}

impl fmt::Debug for SemaphoreProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "SemaphoreProxy")
    }
}

impl fmt::Debug for BoundedSemaphoreProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "BoundedSemaphoreProxy")
    }
}

impl<M> fmt::Debug for RemotePermit<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePermit").finish_non_exhaustive()
    }
}
