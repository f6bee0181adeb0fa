//! [`QueueObject`]: a queue on the server, and what it is asked.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::body::{Body, answer, answer_items};
use super::fault::Fault;
use super::served::{Caller, Monitor, Served};
use super::table::Stored;
use super::wire::Item;

/// What a queue is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum QueueCall<'a> {
    /// Within a time. -> `()`
    Put(#[serde(borrow)] Item<'a>, Option<Duration>),
    /// Together, when there is room for the first. -> `()`
    PutMany(Vec<Item<'a>>, Option<Duration>),
    /// Within a time. -> `Item`
    Get(Option<Duration>),
    /// So many at most, when there is one, within a time. -> `Vec<Item>`
    GetMany(u64, Option<Duration>),
    /// Gets one that comes back if the client goes. -> `(u64, u64, Item)`: the lease, the attempt
    Take(Option<Duration>),
    /// A task that was taken is done. -> `()`
    Done(u64),
    /// A task that was taken is for another. -> `()`
    Return(u64),
    /// One that was got is done. -> `()`
    TaskDone,
    /// Within a time. -> `bool`: whether all are done.
    Join(Option<Duration>),
    /// How many there are, and how many there may be, and how many are not done. -> `(u64, u64, u64)`
    State,
    /// -> `()`
    Shutdown,
}

/// A queue on the server.
pub(super) struct QueueObject {
    /// 0 for no limit.
    most: u64,
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// By their leases.
    taken: HashMap<u64, Entry>,
    /// Those that were got and not said to be done.
    got: u64,
    is_shut_down: bool,
}

struct Entry {
    value: Stored,
    /// How many times it was taken.
    attempts: u64,
}

impl State {
    fn unfinished(&self) -> u64 {
        (self.entries.len() + self.taken.len()) as u64 + self.got
    }
}

impl QueueObject {
    pub(super) fn new(most: u64) -> Self {
        Self { most, state: Monitor::default() }
    }

    fn put(&self, caller: &Caller<'_>, values: Vec<Stored>, timeout: Option<Duration>) -> Result<(), Fault> {
        let mut values = Some(values);
        let put = self.state.wait(caller, timeout, |state| {
            if state.is_shut_down {
                return Some(Err(Fault::Shutdown));
            }
            if self.most > 0 && state.entries.len() as u64 >= self.most {
                return None;
            }
            let entries = values.take().unwrap_or_default();
            state.entries.extend(entries.into_iter().map(|value| Entry { value, attempts: 0 }));
            Some(Ok(()))
        })?;
        put.unwrap_or_else(|| Err(over(timeout, Fault::Full)))
    }

    /// Waits until `take` takes something from the entries, of which there is one.
    fn get<R>(
        &self,
        caller: &Caller<'_>,
        timeout: Option<Duration>,
        mut take: impl FnMut(&mut State) -> R,
    ) -> Result<R, Fault> {
        let got = self.state.wait(caller, timeout, |state| match state.entries.is_empty() {
            false => Some(Ok(take(state))),
            true if state.is_shut_down => Some(Err(Fault::Shutdown)),
            true => None,
        })?;
        got.unwrap_or_else(|| Err(over(timeout, Fault::Empty)))
    }
}

/// What an operation says that has not waited, or long enough.
fn over(timeout: Option<Duration>, at_once: Fault) -> Fault {
    if timeout.is_some_and(|timeout| timeout.is_zero()) { at_once } else { Fault::TimedOut }
}

impl Served for QueueObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            QueueCall::Put(value, timeout) => self.put(caller, vec![caller.store(&value)?], timeout),
            QueueCall::PutMany(values, timeout) => {
                let values = values.iter().map(|value| caller.store(value)).collect::<Result<_, _>>()?;
                self.put(caller, values, timeout)
            }
            QueueCall::Get(timeout) => {
                let got = self.get(caller, timeout, |state| {
                    reply.check_item(state.entries.front().map(|entry| &entry.value))?;
                    state.got += 1;
                    Ok::<_, Fault>(state.entries.pop_front())
                })?;
                let entry = got?.ok_or(Fault::Empty)?;
                answer(reply, &caller.item(&entry.value))
            }
            QueueCall::GetMany(most, timeout) => {
                let got = self.get(caller, timeout, |state| {
                    reply.check_item(state.entries.front().map(|entry| &entry.value))?;
                    // What does not fit is for the next call.
                    let most = usize::try_from(most).unwrap_or(usize::MAX);
                    let count = reply.count(state.entries.iter().take(most).map(|entry| &entry.value));
                    state.got += count as u64;
                    Ok::<_, Fault>(state.entries.drain(..count).collect::<Vec<_>>())
                })??;
                answer_items(reply, caller, || got.iter().map(|entry| &entry.value))
            }
            QueueCall::Take(timeout) => {
                let lease = self.get(caller, timeout, |state| {
                    reply.check_item(state.entries.front().map(|entry| &entry.value))?;
                    let mut entry = state.entries.pop_front().ok_or(Fault::Empty)?;
                    entry.attempts += 1;
                    let lease = caller.lease();
                    state.taken.insert(lease, entry);
                    Ok::<_, Fault>(lease)
                })??;
                self.state.look(|state| {
                    let entry = state.taken.get(&lease).ok_or(Fault::Empty)?;
                    answer(reply, &(lease, entry.attempts, caller.item(&entry.value)))
                })
            }
            QueueCall::Done(lease) => {
                caller.unlease(lease)?;
                drop(self.state.change(|state| state.taken.remove(&lease)));
                Ok(())
            }
            QueueCall::Return(lease) => {
                caller.unlease(lease)?;
                self.release(lease);
                Ok(())
            }
            QueueCall::TaskDone => self.state.change(|state| {
                state.got = state.got.checked_sub(1).ok_or(Fault::TaskDoneTooOften)?;
                Ok(())
            }),
            QueueCall::Join(timeout) => {
                let done =
                    self.state.wait(caller, timeout, |state| (state.unfinished() == 0).then_some(()))?;
                answer(reply, &done.is_some())
            }
            QueueCall::State => {
                let (len, unfinished) =
                    self.state.look(|state| (state.entries.len() as u64, state.unfinished()));
                answer(reply, &(len, self.most, unfinished))
            }
            QueueCall::Shutdown => {
                self.state.change(|state| state.is_shut_down = true);
                Ok(())
            }
        }
    }

    fn release(&self, lease: u64) {
        // The next one gets it, before those that came after it.
        self.state.change(|state| {
            let entry = state.taken.remove(&lease);
            entry.into_iter().for_each(|entry| state.entries.push_front(entry));
        });
    }

    fn wake(&self) {
        self.state.wake();
    }
}
