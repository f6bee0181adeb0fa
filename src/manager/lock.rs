//! [`LockProxy`] and [`RLockProxy`]: locks on a server.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::wire::{Kind, SessionId};

/// What a lock is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LockCall {
    /// By this thread of the client's; within a time. -> `Option<u64>`: the lease.
    Acquire(u64, Option<Duration>),
    /// -> `()`
    Release(u64),
    /// -> `bool`
    IsLocked,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) session: SessionId,
    pub(super) thread: u64,
}

/// A lock that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) owner: Owner,
    pub(super) lease: u64,
    /// How many times it is to be released.
    pub(super) depth: u64,
}

/// A lock on the server. Whoever comes first when it is free gets it: there is no order among those that wait.
pub(super) struct LockObject {
    nests: bool,
    state: Monitor<Option<Held>>,
}

impl LockObject {
    pub(super) fn new(nests: bool) -> Self {
        Self { nests, state: Monitor::new(None) }
    }
}

/// Takes a lock, if it is free, or nests and is the owner's.
pub(super) fn take(held: &mut Option<Held>, owner: Owner, nests: bool, caller: &Caller<'_>) -> Option<u64> {
    match held {
        None => {
            let lease = caller.lease();
            *held = Some(Held { owner, lease, depth: 1 });
            Some(lease)
        }
        Some(held) if nests && held.owner == owner => {
            held.depth += 1;
            Some(held.lease)
        }
        Some(_) => None,
    }
}

/// Releases a lock once.
pub(super) fn give_back(held: &mut Option<Held>, lease: u64, caller: &Caller<'_>) -> Result<(), Fault> {
    match held {
        Some(now) if now.lease == lease && caller.session.has_lease(lease) => {
            now.depth -= 1;
            if now.depth == 0 {
                *held = None;
                caller.unlease(lease)?;
            }
            Ok(())
        }
        _ => Err(Fault::NotHeld),
    }
}

/// Releases the lock of a client that has gone.
pub(super) fn give_up(held: &mut Option<Held>, lease: u64) {
    held.take_if(|held| held.lease == lease);
}

impl Served for LockObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            LockCall::Acquire(thread, timeout) => {
                let owner = Owner { session: caller.session_id, thread };
                let lease = self.state.wait(caller, timeout, |held| take(held, owner, self.nests, caller))?;
                answer(reply, &lease)
            }
            LockCall::Release(lease) => self.state.change(|held| give_back(held, lease, caller)),
            LockCall::IsLocked => answer(reply, &self.state.look(Option::is_some)),
        }
    }

    fn release(&self, lease: u64) {
        self.state.change(|held| give_up(held, lease));
    }

    fn wake(&self) {
        self.state.wake();
    }
}

/// A number of this thread's, which no other of this process has. The server knows the process.
pub(super) fn own_thread() -> u64 {
    // Relaxed: a counter.
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: u64 = LAST.fetch_add(1, Ordering::Relaxed);
    }
    OWN.try_with(|own| *own).unwrap_or(u64::MAX)
}

/// A lock on a manager's server.
///
/// # Process death
/// A client that is killed, or loses its connection, unlocks: within 1 s the next one has the lock. It is not told of it; what
/// the lock guards is the server's, as a rule, and whole.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let lock = manager.lock()?;
/// let guard = lock.lock()?;
/// assert!(lock.try_lock()?.is_none());
/// drop(guard);
/// assert!(!lock.is_locked()?);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LockProxy {
    remote: Typed<Lock>,
}

/// A lock on a manager's server that nests: the thread that has it may lock it again.
///
/// # Process death
/// As for [`LockProxy`].
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let lock = manager.rlock()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(outer);
/// assert!(lock.is_locked()?);
/// drop(inner);
/// assert!(!lock.is_locked()?);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RLockProxy {
    remote: Typed<RLock>,
}

/// What a [`LockProxy`] is of.
#[doc(hidden)]
pub enum Lock {}

/// What an [`RLockProxy`] is of.
#[doc(hidden)]
pub enum RLock {}

impl Mark for Lock {
    const KIND: Kind = Kind::Lock;

    fn of() -> String {
        String::new()
    }
}

impl Mark for RLock {
    const KIND: Kind = Kind::RLock;

    fn of() -> String {
        String::new()
    }
}

/// A [`LockProxy`] or an [`RLockProxy`] that is held. Dropping it unlocks, on the thread that locked.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let lock = manager.lock()?;
/// {
///     let _guard = lock.lock()?;
///     assert!(lock.is_locked()?);
/// }
/// assert!(!lock.is_locked()?);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct RemoteLockGuard<'a, M> {
    remote: &'a Typed<M>,
    lease: u64,
    thread_bound: PhantomData<*const ()>,
}

impl<'a, M> RemoteLockGuard<'a, M> {
    fn take(remote: &'a Typed<M>, timeout: Option<Duration>) -> Result<Option<Self>, ManagerError> {
        let lease: Option<u64> = remote.ask(&LockCall::Acquire(own_thread(), timeout))?;
        Ok(lease.map(|lease| Self { remote, lease, thread_bound: PhantomData }))
    }

    fn wait(remote: &'a Typed<M>) -> Result<Self, ManagerError> {
        Self::take(remote, None)?.ok_or(ManagerError::TimedOut)
    }
}

impl<M> Drop for RemoteLockGuard<'_, M> {
    fn drop(&mut self) {
        // A server that can't be reached has released it, or is gone.
        let _ = self.remote.ask::<_, ()>(&LockCall::Release(self.lease));
    }
}

impl LockProxy {
    /// Waits for the lock.
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
    /// let lock = manager.lock()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.is_locked()?);
    /// drop(guard);
    /// assert!(!lock.is_locked()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RemoteLockGuard<'_, Lock>, ManagerError> {
        RemoteLockGuard::wait(&self.remote)
    }

    /// Takes the lock if it is free.
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
    /// let lock = manager.lock()?;
    /// let guard = lock.try_lock()?;
    /// assert!(guard.is_some() && lock.try_lock()?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<RemoteLockGuard<'_, Lock>>, ManagerError> {
        RemoteLockGuard::take(&self.remote, Some(Duration::ZERO))
    }

    /// Waits for the lock for at most `timeout`.
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
    /// let lock = manager.lock()?;
    /// let _guard = lock.lock()?;
    /// assert!(lock.lock_timeout(Duration::from_millis(5))?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RemoteLockGuard<'_, Lock>>, ManagerError> {
        RemoteLockGuard::take(&self.remote, Some(timeout))
    }

    /// Whether somebody holds it.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let lock = manager.lock()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_locked(&self) -> Result<bool, ManagerError> {
        self.remote.ask(&LockCall::IsLocked)
    }
}

impl RLockProxy {
    /// Waits for the lock, unless this thread has it.
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
    /// let lock = manager.rlock()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.is_locked()?);
    /// drop(guard);
    /// assert!(!lock.is_locked()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RemoteLockGuard<'_, RLock>, ManagerError> {
        RemoteLockGuard::wait(&self.remote)
    }

    /// Takes the lock if it is free, or this thread's.
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
    /// let lock = manager.rlock()?;
    /// let guard = lock.try_lock()?;
    /// assert!(guard.is_some() && lock.try_lock()?.is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<RemoteLockGuard<'_, RLock>>, ManagerError> {
        RemoteLockGuard::take(&self.remote, Some(Duration::ZERO))
    }

    /// Waits for the lock for at most `timeout`.
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
    /// let lock = manager.rlock()?;
    /// assert!(lock.lock_timeout(Duration::from_secs(1))?.is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<RemoteLockGuard<'_, RLock>>, ManagerError> {
        RemoteLockGuard::take(&self.remote, Some(timeout))
    }

    /// Whether somebody holds it.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let lock = manager.rlock()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_locked(&self) -> Result<bool, ManagerError> {
        self.remote.ask(&LockCall::IsLocked)
    }
}

impl Proxy for LockProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for LockProxy {
    type Mark = Lock;

    fn remote(&self) -> &Typed<Lock> {
        &self.remote
    }

    fn of_typed(remote: Typed<Lock>) -> Self {
        Self { remote }
    }
}

impl Proxy for RLockProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for RLockProxy {
    type Mark = RLock;

    fn remote(&self) -> &Typed<RLock> {
        &self.remote
    }

    fn of_typed(remote: Typed<RLock>) -> Self {
        Self { remote }
    }
}

impl fmt::Debug for LockProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "LockProxy")
    }
}

impl fmt::Debug for RLockProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "RLockProxy")
    }
}

impl<M> fmt::Debug for RemoteLockGuard<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLockGuard").finish_non_exhaustive()
    }
}
