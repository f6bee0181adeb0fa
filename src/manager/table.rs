//! [`Table`]: the objects of a server, and how many references there are to each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::fault::Fault;
use super::served::Served;
use super::wire::{Bytes, Item, Kind};

/// An object of a server.
pub(super) struct Object {
    pub(super) kind: Kind,
    /// The names of the types in it, without paths.
    pub(super) of: String,
    pub(super) served: Box<dyn Served>,
}

/// The objects of a server. A number is never used again.
#[derive(Default)]
pub(super) struct Table {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    last: u64,
    objects: HashMap<u64, Entry>,
}

struct Entry {
    object: Arc<Object>,
    /// Of clients, names, tickets and other objects.
    references: u64,
}

impl Table {
    /// Adds an object, with one reference.
    pub(super) fn add(&self, object: Object) -> u64 {
        let mut entries = self.entries();
        entries.last += 1;
        let number = entries.last;
        entries.objects.insert(number, Entry { object: Arc::new(object), references: 1 });
        number
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Object>> {
        self.entries().objects.get(&number).map(|entry| Arc::clone(&entry.object))
    }

    /// Takes a reference; `false` if there is no such object any more.
    pub(super) fn refer(&self, number: u64) -> bool {
        let mut entries = self.entries();
        let entry = entries.objects.get_mut(&number);
        entry.map(|entry| entry.references += 1).is_some()
    }

    /// Gives references back, of which there are as many. With the last one the object goes.
    pub(super) fn release(&self, number: u64, count: u64) {
        let mut entries = self.entries();
        let Some(entry) = entries.objects.get_mut(&number) else { return };
        entry.references = entry.references.saturating_sub(count);
        if entry.references == 0 {
            let gone = entries.objects.remove(&number);
            // It gives references back itself.
            drop(entries);
            drop(gone);
        }
    }

    /// Removes all objects.
    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut self.entries().objects);
        drop(gone);
    }

    pub(super) fn len(&self) -> usize {
        self.entries().objects.len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reference that is given back when it is dropped.
pub(super) struct Hold {
    table: Weak<Table>,
    pub(super) number: u64,
}

impl Hold {
    pub(super) fn new(table: &Arc<Table>, number: u64) -> Result<Self, Fault> {
        if !table.refer(number) {
            return Err(Fault::NoSuchObject);
        }
        Ok(Self { table: Arc::downgrade(table), number })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.release(self.number, 1);
        }
    }
}

/// A user's value as it is kept, with references to the objects that are referred to in it.
pub(super) struct Stored {
    pub(super) bytes: Box<[u8]>,
    holds: Box<[Hold]>,
}

impl Stored {
    pub(super) fn new(table: &Arc<Table>, item: &Item<'_>) -> Result<Self, Fault> {
        let holds = item.refs.iter().map(|&number| Hold::new(table, number)).collect::<Result<_, _>>()?;
        Ok(Self { bytes: item.bytes.0.into(), holds })
    }

    pub(super) fn refs(&self) -> impl ExactSizeIterator<Item = u64> {
        self.holds.iter().map(|hold| hold.number)
    }

    pub(super) fn bytes(&self) -> Bytes<'_> {
        Bytes(&self.bytes)
    }

    pub(super) fn is(&self, item: &Item<'_>) -> bool {
        *self.bytes == *item.bytes.0
    }
}
