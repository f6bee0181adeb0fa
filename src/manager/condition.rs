//! [`ConditionProxy`]: a condition on a server.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::body::{Body, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::lock::{Held, Owner, give_back, give_up, own_thread, take};
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::wire::Kind;

/// What a condition is asked.
#[derive(Debug, Serialize, Deserialize)]
enum ConditionCall {
    /// By this thread of the client's; within a time. -> `Option<u64>`: the lease.
    Acquire(u64, Option<Duration>),
    /// -> `()`
    Release(u64),
    /// Releases the lease, waits to be notified within a time, and takes it again. -> `bool`: whether it was notified.
    Wait(u64, Option<Duration>),
    /// So many of those who wait. -> `()`
    Notify(u64, u64),
    /// -> `bool`
    IsLocked,
}

/// A condition on the server, with a lock of its own that nests. Notified are those who have waited longest.
#[derive(Default)]
pub(super) struct ConditionObject {
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    last: u64,
    /// Those who wait to be notified, in their order.
    waiters: VecDeque<u64>,
    /// Those who were, and have not gone on yet.
    notified: HashSet<u64>,
}

impl State {
    fn notify(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.waiters.len());
        self.notified.extend(self.waiters.drain(..count));
    }

    /// A waiter gives up; whether it had been notified.
    fn remove(&mut self, waiter: u64) -> bool {
        self.waiters.retain(|other| *other != waiter);
        self.notified.remove(&waiter)
    }

    fn is_held_by(&self, lease: u64) -> Option<Held> {
        self.held.filter(|held| held.lease == lease)
    }
}

impl ConditionObject {
    fn wait(&self, caller: &Caller<'_>, lease: u64, timeout: Option<Duration>) -> Result<bool, Fault> {
        let (held, waiter) = self.state.change(|state| {
            let held = state.is_held_by(lease).filter(|_| caller.session.has_lease(lease));
            let held = held.ok_or(Fault::NotHeld)?;
            state.held = None;
            state.last += 1;
            state.waiters.push_back(state.last);
            Ok((held, state.last))
        })?;
        let notified = self.state.wait(caller, timeout, |state| state.notified.remove(&waiter).then_some(()));
        let is_notified = match notified {
            Ok(Some(())) => true,
            Ok(None) => self.state.change(|state| state.remove(waiter)),
            Err(gone) => {
                self.state.change(|state| {
                    if state.remove(waiter) {
                        state.notify(1);
                    }
                });
                return Err(gone);
            }
        };
        let taken =
            self.state.wait(caller, None, |state| state.held.is_none().then(|| state.held = Some(held)));
        if taken.is_err() && is_notified {
            // It has gone, and does nothing with it: another may.
            self.state.change(|state| state.notify(1));
        }
        taken.map(|_| is_notified)
    }
}

impl Served for ConditionObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            ConditionCall::Acquire(thread, timeout) => {
                let owner = Owner { session: caller.session_id, thread };
                let attempt = |state: &mut State| take(&mut state.held, owner, true, caller);
                answer(reply, &self.state.wait(caller, timeout, attempt)?)
            }
            ConditionCall::Release(lease) => {
                self.state.change(|state| give_back(&mut state.held, lease, caller))
            }
            ConditionCall::Wait(lease, timeout) => answer(reply, &self.wait(caller, lease, timeout)?),
            ConditionCall::Notify(lease, count) => self.state.change(|state| {
                state.is_held_by(lease).filter(|_| caller.session.has_lease(lease)).ok_or(Fault::NotHeld)?;
                state.notify(count);
                Ok(())
            }),
            ConditionCall::IsLocked => answer(reply, &self.state.look(|state| state.held.is_some())),
        }
    }

    fn release(&self, lease: u64) {
        self.state.change(|state| give_up(&mut state.held, lease));
    }

    fn wake(&self) {
        self.state.wake();
    }
}

/// A condition on a manager's server, with a lock of its own that nests.
///
/// # Process death
/// A client that is killed unlocks within 1 s; a notification that a dead waiter got goes to another.
///
/// # Examples
/// ```
/// use multiproc::manager::{ConditionProxy, ListProxy};
/// use multiproc::{Manager, Process};
///
/// fn produce((changed, items): (ConditionProxy, ListProxy<u32>)) {
///     let guard = changed.lock().unwrap();
///     items.push(&7).unwrap();
///     guard.notify_all().unwrap();
/// }
///
/// let manager = Manager::start()?;
/// let (changed, items) = (manager.condition()?, manager.list::<u32>([])?);
/// let guard = changed.lock()?;
/// let mut process = Process::spawn(produce, (changed.clone(), items.clone()))?;
/// let guard = guard.wait_for(|| items.is_empty().is_ok_and(|is_empty| !is_empty))?;
/// assert_eq!(items.pop()?, Some(7));
/// drop(guard);
/// process.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConditionProxy {
    remote: Typed<Condition>,
}

/// What a [`ConditionProxy`] is of.
#[doc(hidden)]
pub enum Condition {}

impl Mark for Condition {
    const KIND: Kind = Kind::Condition;

    fn of() -> String {
        String::new()
    }
}

/// A [`ConditionProxy`] that is locked. Dropping it unlocks, on the thread that locked.
///
/// # Examples
/// ```
/// let manager = multiproc::Manager::start()?;
/// let changed = manager.condition()?;
/// let guard = changed.lock()?;
/// guard.notify_all()?;
/// drop(guard);
/// assert!(!changed.is_locked()?);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct RemoteConditionGuard<'a> {
    remote: &'a Typed<Condition>,
    lease: u64,
    thread_bound: PhantomData<*const ()>,
}

impl ConditionProxy {
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
    /// let changed = manager.condition()?;
    /// let guard = changed.lock()?;
    /// assert!(changed.is_locked()?);
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RemoteConditionGuard<'_>, ManagerError> {
        self.take(None)?.ok_or(ManagerError::TimedOut)
    }

    /// Takes the lock if it is free, or this thread's.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let outer = changed.try_lock()?;
    /// assert!(outer.is_some());
    /// // It nests.
    /// assert!(changed.try_lock()?.is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<Option<RemoteConditionGuard<'_>>, ManagerError> {
        self.take(Some(Duration::ZERO))
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
    /// let changed = manager.condition()?;
    /// assert!(changed.lock_timeout(Duration::from_secs(1))?.is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<RemoteConditionGuard<'_>>, ManagerError> {
        self.take(Some(timeout))
    }

    /// Whether somebody holds the lock.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// assert!(!changed.is_locked()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_locked(&self) -> Result<bool, ManagerError> {
        self.remote.ask(&ConditionCall::IsLocked)
    }

    fn take(&self, timeout: Option<Duration>) -> Result<Option<RemoteConditionGuard<'_>>, ManagerError> {
        let lease: Option<u64> = self.remote.ask(&ConditionCall::Acquire(own_thread(), timeout))?;
        let guard = |lease| RemoteConditionGuard { remote: &self.remote, lease, thread_bound: PhantomData };
        Ok(lease.map(guard))
    }
}

impl RemoteConditionGuard<'_> {
    /// Unlocks, waits to be notified, and locks again. It may return without.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`]. The lock is not held then.
    ///
    /// # Process death
    /// A server that is killed ends the wait: [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::{ConditionProxy, EventProxy};
    /// use multiproc::{Manager, Process};
    ///
    /// fn finish((changed, done): (ConditionProxy, EventProxy)) {
    ///     let guard = changed.lock().unwrap();
    ///     done.set().unwrap();
    ///     guard.notify_one().unwrap();
    /// }
    ///
    /// let manager = Manager::start()?;
    /// let (changed, done) = (manager.condition()?, manager.event()?);
    /// let mut guard = changed.lock()?;
    /// let mut process = Process::spawn(finish, (changed.clone(), done.clone()))?;
    /// while !done.is_set()? {
    ///     guard = guard.wait()?;
    /// }
    /// drop(guard);
    /// assert!(process.join().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(self) -> Result<Self, ManagerError> {
        self.wait_within(None).map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout`; whether it was notified.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// # Process death
    /// As `wait`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let (_guard, is_notified) = changed.lock()?.wait_timeout(Duration::from_millis(5))?;
    /// assert!(!is_notified);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<(Self, bool), ManagerError> {
        self.wait_within(Some(timeout))
    }

    /// Waits until `is_so`, which is called here, with the lock held.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Process death
    /// As `wait`.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let numbers = manager.list([1])?;
    /// let guard = changed.lock()?.wait_for(|| numbers.len().is_ok_and(|len| len > 0))?;
    /// assert_eq!(numbers.pop()?, Some(1));
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_for(mut self, mut is_so: impl FnMut() -> bool) -> Result<Self, ManagerError> {
        while !is_so() {
            self = self.wait()?;
        }
        Ok(self)
    }

    /// As [`wait_for`](Self::wait_for), for at most `timeout`; whether it is so.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Process death
    /// As `wait`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let (_guard, is_so) = changed.lock()?.wait_for_timeout(Duration::from_millis(5), || false)?;
    /// assert!(!is_so);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_for_timeout(
        mut self,
        timeout: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<(Self, bool), ManagerError> {
        let start = Instant::now();
        loop {
            if is_so() {
                return Ok((self, true));
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok((self, false));
            }
            (self, _) = self.wait_timeout(left)?;
        }
    }

    /// Notifies so many of those who wait.
    ///
    /// # Errors
    /// [`ManagerError::NotHeld`]: the connection was lost, and the lock with it. Those of a call.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let guard = changed.lock()?;
    /// // Two of those who wait: here there is nobody.
    /// assert!(guard.notify(2).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn notify(&self, count: u64) -> Result<(), ManagerError> {
        self.remote.ask(&ConditionCall::Notify(self.lease, count))
    }

    /// Notifies one of those who wait.
    ///
    /// # Errors
    /// As [`notify`](Self::notify).
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let guard = changed.lock()?;
    /// assert!(guard.notify_one().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn notify_one(&self) -> Result<(), ManagerError> {
        self.notify(1)
    }

    /// Notifies all who wait.
    ///
    /// # Errors
    /// As [`notify`](Self::notify).
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let changed = manager.condition()?;
    /// let guard = changed.lock()?;
    /// assert!(guard.notify_all().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "notifyAll")]
    pub fn notify_all(&self) -> Result<(), ManagerError> {
        self.notify(u64::MAX)
    }

    fn wait_within(self, timeout: Option<Duration>) -> Result<(Self, bool), ManagerError> {
        let is_notified = self.remote.ask(&ConditionCall::Wait(self.lease, timeout))?;
        Ok((self, is_notified))
    }
}

impl Drop for RemoteConditionGuard<'_> {
    fn drop(&mut self) {
        // A server that can't be reached has released it, or is gone.
        let _ = self.remote.ask::<_, ()>(&ConditionCall::Release(self.lease));
    }
}

impl Proxy for ConditionProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for ConditionProxy {
    type Mark = Condition;

    fn remote(&self) -> &Typed<Condition> {
        &self.remote
    }

    fn of_typed(remote: Typed<Condition>) -> Self {
        Self { remote }
    }
}

impl fmt::Debug for ConditionProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "ConditionProxy")
    }
}

impl fmt::Debug for RemoteConditionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteConditionGuard").finish_non_exhaustive()
    }
}
