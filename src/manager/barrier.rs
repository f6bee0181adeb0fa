//! [`BarrierProxy`]: a barrier on a server.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, answer};
use super::error::ManagerError;
use super::fault::Fault;
use super::proxy::{Mark, Named, Proxy, Typed};
use super::served::{Caller, Monitor, Served};
use super::wire::Kind;

/// What a barrier is asked.
#[derive(Debug, Serialize, Deserialize)]
enum BarrierCall {
    /// Within a time. -> `u64`: the place among those who came.
    Wait(Option<Duration>),
    /// -> `()`
    Reset,
    /// -> `()`
    Abort,
    /// Parties, how many wait, whether it is broken. -> `(u64, u64, bool)`
    State,
}

/// A barrier on the server.
pub(super) struct BarrierObject {
    parties: u64,
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    waiting: u64,
    /// Whether those who wait come through, once it is known. The next ones have another.
    round: Arc<OnceLock<bool>>,
    is_broken: bool,
}

impl State {
    /// Ends the round of those who wait.
    fn end_round(&mut self, comes_through: bool) {
        // A round ends once.
        let _ = std::mem::take(&mut self.round).set(comes_through);
        self.waiting = 0;
    }
}

impl BarrierObject {
    pub(super) fn new(parties: u64) -> Result<Self, Fault> {
        if parties == 0 {
            return Err(Fault::Refused("parties: expected at least 1, found 0".to_owned()));
        }
        Ok(Self { parties, state: Monitor::default() })
    }

    fn wait(&self, caller: &Caller<'_>, timeout: Option<Duration>) -> Result<u64, Fault> {
        let (round, place) = self.state.change(|state| {
            if state.is_broken {
                return Err(Fault::BrokenBarrier);
            }
            let came = (Arc::clone(&state.round), state.waiting);
            state.waiting += 1;
            if state.waiting == self.parties {
                state.end_round(true);
            }
            Ok(came)
        })?;
        let waited = self.state.wait(caller, timeout, |_| round.get().copied());
        let comes_through = match &waited {
            Ok(Some(comes_through)) => *comes_through,
            // The others learn it as well.
            Err(Fault::Stopping) => false,
            // It gave up, or has gone: the others can't come through any more.
            Ok(None) | Err(_) => self.state.change(|state| {
                if round.get().is_none() {
                    state.is_broken = true;
                    state.end_round(false);
                }
                round.get().copied().unwrap_or(false)
            }),
        };
        waited?;
        if comes_through { Ok(place) } else { Err(Fault::BrokenBarrier) }
    }
}

impl Served for BarrierObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            BarrierCall::Wait(timeout) => answer(reply, &self.wait(caller, timeout)?),
            BarrierCall::Reset => {
                self.state.change(|state| {
                    state.is_broken = false;
                    state.end_round(false);
                });
                Ok(())
            }
            BarrierCall::Abort => {
                self.state.change(|state| {
                    state.is_broken = true;
                    state.end_round(false);
                });
                Ok(())
            }
            BarrierCall::State => {
                let (waiting, is_broken) = self.state.look(|state| (state.waiting, state.is_broken));
                answer(reply, &(self.parties, waiting, is_broken))
            }
        }
    }

    fn wake(&self) {
        self.state.wake();
    }
}

/// A barrier on a manager's server: so many parties wait for each other.
///
/// # Process death
/// A client that is killed while it waits breaks the barrier within 1 s, for the others wait in vain.
///
/// # Examples
/// ```
/// use multiproc::manager::BarrierProxy;
/// use multiproc::{Manager, Process};
///
/// let manager = Manager::start()?;
/// let start = manager.barrier(2)?;
/// let mut process = Process::spawn(|start: BarrierProxy| start.wait().unwrap(), start.clone())?;
/// let own = start.wait()?;
/// assert_eq!(own + process.join()?, 1);
/// start.abort()?;
/// assert!(start.wait().is_err());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BarrierProxy {
    remote: Typed<Barrier>,
}

/// What a [`BarrierProxy`] is of.
#[doc(hidden)]
pub enum Barrier {}

impl Mark for Barrier {
    const KIND: Kind = Kind::Barrier;

    fn of() -> String {
        String::new()
    }
}

impl BarrierProxy {
    /// Waits for the other parties; this one's place in the order in which they came, from 0.
    ///
    /// # Errors
    /// [`ManagerError::BrokenBarrier`]; those of a call.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let alone = manager.barrier(1)?;
    /// assert_eq!(alone.wait()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(&self) -> Result<u64, ManagerError> {
        self.remote.ask(&BarrierCall::Wait(None))
    }

    /// As [`wait`](Self::wait), for at most `timeout`; then it breaks the barrier.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// # Process death
    /// As for the type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// use std::time::Duration;
    /// let manager = multiproc::Manager::start()?;
    /// let pair = manager.barrier(2)?;
    /// let waited = pair.wait_timeout(Duration::from_millis(5));
    /// assert!(matches!(waited, Err(ManagerError::BrokenBarrier)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u64, ManagerError> {
        self.remote.ask(&BarrierCall::Wait(Some(timeout)))
    }

    /// Makes it as new. Those who wait find it broken.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let start = manager.barrier(1)?;
    /// start.abort()?;
    /// start.reset()?;
    /// assert!(start.wait().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn reset(&self) -> Result<(), ManagerError> {
        self.remote.ask(&BarrierCall::Reset)
    }

    /// Breaks it, until it is reset.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::manager::ManagerError;
    /// let manager = multiproc::Manager::start()?;
    /// let start = manager.barrier(2)?;
    /// start.abort()?;
    /// assert!(matches!(start.wait(), Err(ManagerError::BrokenBarrier)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn abort(&self) -> Result<(), ManagerError> {
        self.remote.ask(&BarrierCall::Abort)
    }

    /// How many parties it waits for.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert_eq!(manager.barrier(3)?.parties()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn parties(&self) -> Result<u64, ManagerError> {
        self.state().map(|state| state.0)
    }

    /// How many parties wait now.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// assert_eq!(manager.barrier(3)?.waiting()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> Result<u64, ManagerError> {
        self.state().map(|state| state.1)
    }

    /// Whether it is broken.
    ///
    /// # Errors
    /// Those of a call: [`ManagerError`].
    ///
    /// # Examples
    /// ```
    /// let manager = multiproc::Manager::start()?;
    /// let start = manager.barrier(2)?;
    /// assert!(!start.is_broken()?);
    /// start.abort()?;
    /// assert!(start.is_broken()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, ManagerError> {
        self.state().map(|state| state.2)
    }

    fn state(&self) -> Result<(u64, u64, bool), ManagerError> {
        self.remote.ask(&BarrierCall::State)
    }
}

impl Proxy for BarrierProxy {}

#[expect(private_interfaces, reason = "sealed")]
impl Named for BarrierProxy {
    type Mark = Barrier;

    fn remote(&self) -> &Typed<Barrier> {
        &self.remote
    }

    fn of_typed(remote: Typed<Barrier>) -> Self {
        Self { remote }
    }
}

impl fmt::Debug for BarrierProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.debug(f, "BarrierProxy")
    }
}
