//! [`ListObject`]: a list on the server.

use serde::{Deserialize, Serialize};

use super::body::{Body, Sequence, answer, answer_items};
use super::fault::Fault;
use super::served::{Caller, Monitor, Served};
use super::table::Stored;
use super::wire::Item;

/// What a list is asked. A place counts from the front.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ListCall<'a> {
    /// -> `Item`
    Get(u64),
    /// -> `()`
    Set(u64, #[serde(borrow)] Item<'a>),
    /// Changes an element from the first to the second. -> `bool`: whether it was the first.
    Exchange(u64, Item<'a>, Item<'a>),
    /// -> `()`
    Push(Item<'a>),
    /// -> `()`
    Extend(Vec<Item<'a>>),
    /// -> `()`
    Insert(u64, Item<'a>),
    /// The last one. -> `Option<Item>`
    Pop,
    /// -> `Item`
    Remove(u64),
    /// The first that is this. -> `bool`
    RemoveItem(Item<'a>),
    /// The first that is this. -> `Option<u64>`
    IndexOf(Item<'a>),
    /// -> `u64`
    Count(Item<'a>),
    /// -> `u64`
    Len,
    /// -> `()`
    Clear,
    /// -> `()`
    Reverse,
    /// -> `()`
    Swap(u64, u64),
    /// -> `()`
    Truncate(u64),
    /// From the first place to before the second, which may be [`END`]. -> `Vec<Item>`
    Slice(u64, u64),
    /// Replaces them, as above. -> `Vec<Item>`: what was there.
    Splice(u64, u64, Vec<Item<'a>>),
    /// The version, and all elements. -> `(u64, Vec<Item>)`
    Snapshot,
    /// Replaces all elements if the version is this one. -> `bool`
    Replace(u64, Vec<Item<'a>>),
    /// -> `Option<Item>`
    Last,
    /// The last one comes in its place. -> `Item`
    SwapRemove(u64),
}

/// Instead of a place: the end, wherever that is when the list is looked at.
pub(super) const END: u64 = u64::MAX;

/// A list.
pub(super) struct ListObject {
    state: Monitor<State>,
}

struct State {
    items: Vec<Stored>,
    /// Counts the changes.
    version: u64,
}

impl ListObject {
    pub(super) fn new(items: Vec<Stored>) -> Self {
        Self { state: Monitor::new(State { items, version: 0 }) }
    }

    /// Changes the elements.
    fn change<R>(&self, change: impl FnOnce(&mut Vec<Stored>) -> R) -> R {
        self.state.change(|state| {
            state.version += 1;
            change(&mut state.items)
        })
    }
}

/// A place at which there is an element.
pub(super) fn place(index: u64, len: usize) -> Result<usize, Fault> {
    let found = usize::try_from(index).ok().filter(|&index| index < len);
    found.ok_or(Fault::OutOfRange { index, len: len as u64 })
}

/// The places from `start` to before `end`.
pub(super) fn span(start: u64, end: u64, len: usize) -> Result<std::ops::Range<usize>, Fault> {
    let before = |index: u64| {
        let found = usize::try_from(index).ok().filter(|&index| index <= len);
        found.ok_or(Fault::OutOfRange { index, len: len as u64 })
    };
    let (first, last) = (before(start)?, before(end)?);
    if first <= last { Ok(first..last) } else { Err(Fault::OutOfRange { index: start, len: end }) }
}

/// As [`span`], with an `end` that may be [`END`].
fn span_to(start: u64, end: u64, len: usize) -> Result<std::ops::Range<usize>, Fault> {
    span(start, if end == END { len as u64 } else { end }, len)
}

pub(super) fn store_all(caller: &Caller<'_>, items: &[Item<'_>]) -> Result<Vec<Stored>, Fault> {
    items.iter().map(|item| caller.store(item)).collect()
}

impl Served for ListObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        // What is replaced or removed goes when nothing is locked: it may be the last reference to an object.
        match call {
            ListCall::Get(index) => self.state.look(|state| {
                let index = place(index, state.items.len())?;
                answer(reply, &caller.item(&state.items[index]))
            }),
            ListCall::Set(index, value) => {
                let value = caller.store(&value)?;
                let _before = self.change(|items| {
                    let index = place(index, items.len())?;
                    Ok::<_, Fault>(std::mem::replace(&mut items[index], value))
                })?;
                Ok(())
            }
            ListCall::Exchange(index, from, to) => {
                let to = caller.store(&to)?;
                let (done, _other) = self.change(|items| {
                    let index = place(index, items.len())?;
                    let is_same = items[index].is(&from);
                    let other = if is_same { std::mem::replace(&mut items[index], to) } else { to };
                    Ok::<_, Fault>((is_same, other))
                })?;
                answer(reply, &done)
            }
            ListCall::Push(value) => {
                let value = caller.store(&value)?;
                self.change(|items| items.push(value));
                Ok(())
            }
            ListCall::Extend(values) => {
                let values = store_all(caller, &values)?;
                self.change(|items| items.extend(values));
                Ok(())
            }
            ListCall::Insert(index, value) => {
                let value = caller.store(&value)?;
                self.change(|items| {
                    let index = span(index, index, items.len())?.start;
                    items.insert(index, value);
                    Ok(())
                })
            }
            ListCall::Pop => {
                let popped = self.change(|items| {
                    reply.check_item(items.last())?;
                    Ok::<_, Fault>(items.pop())
                })?;
                answer(reply, &popped.as_ref().map(|stored| caller.item(stored)))
            }
            ListCall::Remove(index) => {
                let removed = self.change(|items| {
                    let index = place(index, items.len())?;
                    reply.check_item(items.get(index))?;
                    Ok::<_, Fault>(items.remove(index))
                })?;
                answer(reply, &caller.item(&removed))
            }
            ListCall::RemoveItem(value) => {
                let removed = self.change(|items| {
                    let index = items.iter().position(|item| item.is(&value))?;
                    Some(items.remove(index))
                });
                answer(reply, &removed.is_some())
            }
            ListCall::IndexOf(value) => {
                let index = self.state.look(|state| state.items.iter().position(|item| item.is(&value)));
                answer(reply, &index)
            }
            ListCall::Count(value) => {
                let count =
                    self.state.look(|state| state.items.iter().filter(|item| item.is(&value)).count());
                answer(reply, &count)
            }
            ListCall::Len => answer(reply, &self.state.look(|state| state.items.len())),
            ListCall::Clear => {
                drop(self.change(std::mem::take));
                Ok(())
            }
            ListCall::Reverse => {
                self.change(|items| items.reverse());
                Ok(())
            }
            ListCall::Swap(one, other) => self.change(|items| {
                let (one, other) = (place(one, items.len())?, place(other, items.len())?);
                items.swap(one, other);
                Ok(())
            }),
            ListCall::Truncate(len) => {
                let gone = self.change(|items| {
                    let len = usize::try_from(len).unwrap_or(usize::MAX).min(items.len());
                    items.split_off(len)
                });
                drop(gone);
                Ok(())
            }
            ListCall::Slice(start, end) => self.state.look(|state| {
                let span = span_to(start, end, state.items.len())?;
                answer_items(reply, caller, || state.items[span.clone()].iter())
            }),
            ListCall::Splice(start, end, values) => {
                let values = store_all(caller, &values)?;
                let before = self.change(|items| {
                    let span = span_to(start, end, items.len())?;
                    reply.check(items[span.clone()].iter().map(Stored::len).sum())?;
                    Ok::<Vec<Stored>, Fault>(items.splice(span, values).collect())
                })?;
                answer_items(reply, caller, || before.iter())
            }
            ListCall::Last => {
                self.state.look(|state| answer(reply, &state.items.last().map(|stored| caller.item(stored))))
            }
            ListCall::SwapRemove(index) => {
                let removed = self.change(|items| {
                    let index = place(index, items.len())?;
                    reply.check_item(items.get(index))?;
                    Ok::<_, Fault>(items.swap_remove(index))
                })?;
                answer(reply, &caller.item(&removed))
            }
            ListCall::Snapshot => self.state.look(|state| {
                reply.check(state.items.iter().map(Stored::len).sum())?;
                let items = Sequence(|| state.items.iter().map(|stored| caller.item(stored)));
                answer(reply, &(state.version, items))
            }),
            ListCall::Replace(version, values) => {
                let values = store_all(caller, &values)?;
                let (done, _other) = self.state.change(|state| {
                    if state.version != version {
                        return (false, values);
                    }
                    state.version += 1;
                    (true, std::mem::replace(&mut state.items, values))
                });
                answer(reply, &done)
            }
        }
    }
}
