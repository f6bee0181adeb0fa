//! [`Table`]: the objects of a server, and how many references there are to each.

use std::cell::RefCell;
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
            gone.into_iter().for_each(|entry| let_go(entry.object));
        }
    }

    /// Has all who wait at an object look whether the server ends.
    pub(super) fn wake(&self) {
        let objects: Vec<_> =
            self.entries().objects.values().map(|entry| Arc::clone(&entry.object)).collect();
        objects.iter().for_each(|object| object.served.wake());
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

thread_local! {
    /// Objects that are to go on this thread, while one of them goes.
    static GOING: RefCell<Option<Vec<Arc<Object>>>> = const { RefCell::new(None) };
}

/// Lets an object go, and those that go with it, one after the other: they may lie in each other deeper than a stack is.
fn let_go(object: Arc<Object>) {
    /// The end of it, also by unwinding: a user's object may panic when it is dropped.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            let rest = GOING.try_with(|going| going.borrow_mut().take());
            drop(rest);
        }
    }
    let first = GOING.try_with(|going| match &mut *going.borrow_mut() {
        Some(going) => {
            going.push(object);
            None
        }
        none => {
            *none = Some(Vec::new());
            Some(object)
        }
    });
    let Ok(Some(mut object)) = first else { return };
    let _end = End;
    loop {
        drop(object);
        let next = GOING.try_with(|going| going.borrow_mut().as_mut().and_then(Vec::pop));
        let Ok(Some(next)) = next else { return };
        object = next;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::list_object::ListObject;

    #[test]
    fn lists_that_lie_in_each_other_go_without_recursion() {
        const DEEP: usize = 50_000;
        let table = Arc::new(Table::default());
        let list =
            |items| Object { kind: Kind::List, of: String::new(), served: Box::new(ListObject::new(items)) };
        let mut outermost = table.add(list(Vec::new()));
        for _ in 0..DEEP {
            let item = Item { refs: vec![outermost].into(), bytes: Bytes(&[]) };
            let inner = Stored::new(&table, &item).unwrap();
            table.release(outermost, 1);
            outermost = table.add(list(vec![inner]));
        }
        assert_eq!(table.len(), DEEP + 1);
        table.release(outermost, 1);
        assert_eq!(table.len(), 0);
    }
}
