//! [`EventProxy`]: an event on a server.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::wire::Kind;

/// What an event is asked.
#[derive(Debug, Serialize, Deserialize)]
enum EventCall {
    /// -> `()`
    Set,
    /// -> `()`
    Clear,
    /// -> `bool`
    IsSet,
    /// Within a time. -> `bool`
    Wait(Option<Duration>),
}

/// An event on the server.
#[derive(Default)]
pub(super) struct EventObject {
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    is_set: bool,
    /// How often it was set: who waits is woken even if it is cleared at once.
    sets: u64,
}

impl Served for EventObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            EventCall::Set => {
                self.state.change(|state| {
                    state.is_set = true;
                    state.sets += 1;
                });
                Ok(())
            }
            EventCall::Clear => {
                self.state.change(|state| state.is_set = false);
                Ok(())
            }
            EventCall::IsSet => answer(reply, &self.state.look(|state| state.is_set)),
            EventCall::Wait(timeout) => {
                let before = self.state.look(|state| state.sets);
                let was_set = self
                    .state
                    .wait(caller, timeout, |state| (state.is_set || state.sets > before).then_some(()))?;
                answer(reply, &was_set.is_some())
            }
        }
    }

    fn wake(&self) {
        self.state.wake();
    }
}

/// An event on a manager's server.
///
/// # Process death
/// A killed client leaves it as it is.
///
/// # Examples
/// ```
/// use multiproc::manager::EventProxy;
/// use multiproc::{Manager, Process};
/// use std::time::Duration;
///
/// let manager = Manager::start()?;
/// let ready = manager.event()?;
/// assert!(!ready.wait_timeout(Duration::from_millis(5))?);
/// let mut process = Process::spawn(|ready: EventProxy| ready.set().unwrap(), ready.clone())?;
/// ready.wait()?;
/// assert!(ready.is_set()?);
/// process.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventProxy {
    remote: Typed<Event>,
}

/// What an [`EventProxy`] is of.
#[doc(hidden)]
pub enum Event {}

impl Mark for Event {
    const KIND: Kind = Kind::Event;

    fn of() -> String {
        String::new()
    }
}

impl EventProxy {
    /// Sets it, and wakes all who wait.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// ready.set()?;
    /// assert!(ready.is_set()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self) -> Result<(), ManagerError> {
        self.remote.ask(&EventCall::Set)
    }

    /// Clears it.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// ready.set()?;
    /// ready.clear()?;
    /// assert!(!ready.is_set()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.remote.ask(&EventCall::Clear)
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// assert!(!ready.is_set()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        self.remote.ask(&EventCall::IsSet)
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// A server that is killed ends the wait: [`ManagerError::Disconnected`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// ready.set()?;
    /// assert!(ready.wait().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(&self) -> Result<(), ManagerError> {
        self.remote.ask::<_, bool>(&EventCall::Wait(None)).map(drop)
    }

    /// Waits until it is set, for at most `timeout`; whether it was.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Process death
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// assert!(!ready.wait_timeout(Duration::from_millis(5))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.remote.ask(&EventCall::Wait(Some(timeout)))
    }
}

impl Proxy for EventProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for EventProxy {
    type Mark = Event;

    fn remote(&self) -> &Typed<Event> {
        &self.remote
    }

    fn of_typed(remote: Typed<Event>) -> Self {
        Self { remote }
    }
}

impl fmt::Debug for EventProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "EventProxy")
    }
}
