//! [`DictObject`]: a dictionary on the server, by the bytes of its keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::body::{Body, Sequence, answer, answer_all, answer_items, bytes_len};
use super::fault::Fault;
use super::served::{Caller, Monitor, Served};
use super::table::Stored;
use super::wire::{Bytes, Item};

/// What a dictionary is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum DictCall<'a> {
    /// -> `Option<Item>`
    #[serde(borrow)]
    Get(Bytes<'a>),
    /// -> `Vec<Option<Item>>`
    GetMany(Vec<Bytes<'a>>),
    /// -> `()`
    Set(Bytes<'a>, Item<'a>),
    /// -> `()`
    SetMany(Vec<(Bytes<'a>, Item<'a>)>),
    /// -> `Option<Item>`: the value before.
    Insert(Bytes<'a>, Item<'a>),
    /// Sets what is not there. -> `Item`: the value afterwards.
    SetDefault(Bytes<'a>, Item<'a>),
    /// Changes the value from the first to the second, none being that there is none. -> `bool`: whether it was the first.
    Exchange(Bytes<'a>, Option<Item<'a>>, Option<Item<'a>>),
    /// -> `Option<Item>`
    Remove(Bytes<'a>),
    /// The one that came last. -> `Option<(Bytes, Item)>`
    PopItem,
    /// -> `bool`
    Contains(Bytes<'a>),
    /// -> `u64`
    Len,
    /// -> `()`
    Clear,
    /// -> `Vec<Bytes>`
    Keys,
    /// -> `Vec<Item>`
    Values,
    /// So many at most. -> `Vec<(Bytes, Item)>`
    Items(u64),
}

/// A dictionary, in the order in which its keys came.
#[derive(Default)]
pub(super) struct DictObject {
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Arc<[u8]>, Slot>,
    order: BTreeMap<u64, Arc<[u8]>>,
    last: u64,
}

struct Slot {
    value: Stored,
    place: u64,
}

impl State {
    fn get(&self, key: Bytes<'_>) -> Option<&Stored> {
        self.slots.get(key.0).map(|slot| &slot.value)
    }

    /// Sets a value; the one before.
    fn set(&mut self, key: Bytes<'_>, value: Stored) -> Option<Stored> {
        if let Some(slot) = self.slots.get_mut(key.0) {
            return Some(std::mem::replace(&mut slot.value, value));
        }
        self.last += 1;
        let key: Arc<[u8]> = key.0.into();
        self.order.insert(self.last, Arc::clone(&key));
        self.slots.insert(key, Slot { value, place: self.last });
        None
    }

    fn remove(&mut self, key: &[u8]) -> Option<Stored> {
        let slot = self.slots.remove(key)?;
        self.order.remove(&slot.place);
        Some(slot.value)
    }

    /// What is there, in order: each key there is one of the slots'.
    fn in_order(&self) -> impl ExactSizeIterator<Item = (&Arc<[u8]>, &Stored)> {
        self.order.values().map(|key| (key, &self.slots[key].value))
    }
}

impl Served for DictObject {
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault> {
        let call = postcard::from_bytes(body).map_err(|error| Fault::malformed(&error))?;
        match call {
            DictCall::Get(key) => {
                self.state.look(|state| answer(reply, &state.get(key).map(|stored| caller.item(stored))))
            }
            DictCall::GetMany(keys) => self.state.look(|state| {
                let values = || keys.iter().map(|key| state.get(*key));
                let len = values().map(|stored| 1 + stored.map_or(0, Stored::len)).sum();
                answer_all(reply, len, || values().map(|stored| stored.map(|stored| caller.item(stored))))
            }),
            // What is replaced goes when nothing is locked: it may be the last reference to an object.
            DictCall::Set(key, value) => {
                let value = caller.store(&value)?;
                drop(self.state.change(|state| state.set(key, value)));
                Ok(())
            }
            DictCall::SetMany(items) => {
                let stored = |(key, value): &(_, Item<'_>)| Ok((*key, caller.store(value)?));
                let items: Vec<(Bytes<'_>, Stored)> =
                    items.iter().map(stored).collect::<Result<_, Fault>>()?;
                let set = |state: &mut State| -> Vec<_> {
                    items.into_iter().map(|(key, value)| state.set(key, value)).collect()
                };
                drop(self.state.change(set));
                Ok(())
            }
            DictCall::Insert(key, value) => {
                let value = caller.store(&value)?;
                let before = self.state.change(|state| {
                    reply.check_item(state.get(key))?;
                    Ok::<_, Fault>(state.set(key, value))
                })?;
                answer(reply, &before.as_ref().map(|stored| caller.item(stored)))
            }
            DictCall::SetDefault(key, value) => {
                let value = caller.store(&value)?;
                self.state.change(|state| {
                    if state.get(key).is_none() {
                        state.set(key, value);
                    }
                    answer(
                        reply,
                        &state.get(key).map(|stored| caller.item(stored)).ok_or(Fault::NoSuchObject)?,
                    )
                })
            }
            DictCall::Exchange(key, from, to) => {
                let to = to.map(|to| caller.store(&to)).transpose()?;
                let (done, _before) = self.state.change(|state| {
                    let is_same = match (state.get(key), &from) {
                        (Some(now), Some(from)) => now.is(from),
                        (None, None) => true,
                        _ => false,
                    };
                    match to {
                        Some(to) if is_same => (true, state.set(key, to)),
                        None if is_same => (true, state.remove(key.0)),
                        to => (false, to),
                    }
                });
                answer(reply, &done)
            }
            DictCall::Remove(key) => {
                let removed = self.state.change(|state| {
                    reply.check_item(state.get(key))?;
                    Ok::<_, Fault>(state.remove(key.0))
                })?;
                answer(reply, &removed.as_ref().map(|stored| caller.item(stored)))
            }
            DictCall::PopItem => {
                let popped = self.state.change(|state| {
                    let Some((_, key)) = state.order.last_key_value() else { return Ok(None) };
                    let key = Arc::clone(key);
                    reply.check(bytes_len(&key) + state.get(Bytes(&key)).map_or(0, Stored::len))?;
                    Ok::<_, Fault>(state.remove(&key).map(|value| (key, value)))
                })?;
                answer(reply, &popped.as_ref().map(|(key, value)| (Bytes(key), caller.item(value))))
            }
            DictCall::Contains(key) => self.state.look(|state| answer(reply, &state.get(key).is_some())),
            DictCall::Len => answer(reply, &self.state.look(|state| state.slots.len())),
            DictCall::Clear => {
                drop(self.state.change(std::mem::take));
                Ok(())
            }
            DictCall::Keys => self
                .state
                .look(|state| answer(reply, &Sequence(|| state.order.values().map(|key| Bytes(key))))),
            DictCall::Values => self
                .state
                .look(|state| answer_items(reply, caller, || state.in_order().map(|(_, value)| value))),
            DictCall::Items(most) => self.state.look(|state| {
                let items = || state.in_order().take(usize::try_from(most).unwrap_or(usize::MAX));
                let len = items().map(|(key, value)| bytes_len(key) + value.len()).sum();
                answer_all(reply, len, || items().map(|(key, value)| (Bytes(key), caller.item(value))))
            }),
        }
    }
}
