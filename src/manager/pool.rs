//! [`PoolObject`]: a pool on the server, and what it is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, answer, bytes_len};
use super::fault::Fault;
use super::served::{Caller, Monitor, Served};
use super::wire::Bytes;
use crate::pool::Job;
use crate::{Pool, TaskError};

/// What a pool is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PoolCall {
    /// -> `Vec<u64>`: leases of results.
    Submit(Vec<Job>),
    /// The first result of these that is there, within a time. -> `Option<(u64, Result<Bytes, TaskError>)>`: which it is, and
    /// the result, which the client has then.
    Get(Vec<u64>, Option<Duration>),
    /// -> `bool`: whether all these results are there.
    AreReady(Vec<u64>),
    /// Nobody wants these results. -> `()`
    Forget(Vec<u64>),
    /// -> `u64`
    Processes,
    /// -> `()`
    Close,
    /// -> `()`
    Terminate,
    /// Within a time. -> `bool`: whether all processes have ended.
    Join(Option<Duration>),
    /// -> `Vec<u32>`: the processes at this moment.
    Pids,
}

/// A pool on the server.
pub(super) struct PoolObject {
    pool: Arc<Pool>,
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
        let pool = Pool::new(count).map_err(refused)?;
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
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        if !caller.is_same_program {
            return Err(Fault::Refused("a pool's functions are those of the server's program".to_owned()));
        }
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            PoolCall::Submit(jobs) => {
                let leases: Vec<u64> = jobs.into_iter().map(|job| self.submit(caller, job)).collect();
                answer(reply, &leases)
            }
            PoolCall::Get(leases, timeout) => {
                let not_held = leases.iter().any(|lease| !caller.session.has_lease(*lease));
                if not_held || leases.is_empty() {
                    return Err(Fault::NotHeld);
                }
                let got = self.state.wait(caller, timeout, |state| {
                    let is_there = |lease: &&u64| !matches!(state.results.get(lease), Some(None));
                    let lease = leases.iter().copied().find(|lease| is_there(&lease))?;
                    if let Some(Some(Ok(bytes))) = state.results.get(&lease)
                        && let Err(too_long) = reply.check(bytes_len(bytes))
                    {
                        return Some(Err(too_long));
                    }
                    Some(Ok((lease, state.results.remove(&lease).flatten())))
                })?;
                let Some((lease, result)) = got.transpose()? else {
                    return answer(reply, &None::<(u64, Result<Bytes<'_>, TaskError>)>);
                };
                caller.unlease(lease)?;
                let result = result.ok_or(Fault::NotHeld)?;
                answer(reply, &Some((lease, result.as_deref().map(Bytes).map_err(TaskError::clone))))
            }
            PoolCall::AreReady(leases) => {
                let is_there = |state: &State, lease| matches!(state.results.get(lease), Some(Some(_)));
                let are_ready = self.state.look(|state| leases.iter().all(|lease| is_there(state, lease)));
                answer(reply, &are_ready)
            }
            PoolCall::Forget(leases) => {
                // Others may have been got.
                leases
                    .into_iter()
                    .filter(|lease| caller.unlease(*lease).is_ok())
                    .for_each(|lease| self.release(lease));
                Ok(())
            }
            PoolCall::Processes => answer(reply, &self.processes),
            PoolCall::Pids => answer(reply, &self.pool.pids()),
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

    fn wake(&self) {
        self.state.wake();
    }
}
