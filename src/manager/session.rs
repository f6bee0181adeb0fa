//! [`Session`]: what a server keeps for a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::table::{Object, Table};

/// What a server keeps for a client, which is a process.
#[derive(Default)]
pub(super) struct Session {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: usize,
    /// How many references of each object it has.
    references: HashMap<u64, u64>,
    /// Locks, permits and tasks, by their numbers.
    leases: HashMap<u64, Arc<Object>>,
}

impl Session {
    pub(super) fn open(&self) {
        self.state().connections += 1;
    }

    /// A connection has ended; whether that was the last one.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        state.connections = state.connections.saturating_sub(1);
        state.connections == 0
    }

    /// Notes references that were taken for it.
    pub(super) fn refer(&self, object: u64) {
        *self.state().references.entry(object).or_default() += 1;
    }

    pub(super) fn refers_to(&self, object: u64) -> bool {
        self.state().references.contains_key(&object)
    }

    /// It gives references back; how many of them it had.
    pub(super) fn release(&self, object: u64, count: u64) -> u64 {
        let mut state = self.state();
        let Some(references) = state.references.get_mut(&object) else { return 0 };
        let released = count.min(*references);
        *references -= released;
        if *references == 0 {
            state.references.remove(&object);
        }
        released
    }

    pub(super) fn lease(&self, number: u64, object: &Arc<Object>) {
        self.state().leases.insert(number, Arc::clone(object));
    }

    /// Whether it had this lease, which it no longer has.
    pub(super) fn unlease(&self, number: u64) -> bool {
        self.state().leases.remove(&number).is_some()
    }

    pub(super) fn has_lease(&self, number: u64) -> bool {
        self.state().leases.contains_key(&number)
    }

    /// Whether there is a connection of it.
    pub(super) fn is_open(&self) -> bool {
        self.state().connections > 0
    }

    pub(super) fn refers(&self) -> bool {
        !self.state().references.is_empty()
    }

    /// The client has gone: what it held goes to others.
    pub(super) fn end_leases(&self) {
        let leases = std::mem::take(&mut self.state().leases);
        for (number, object) in leases {
            object.served.release(number);
        }
    }

    /// The client has gone, and does not come back: what it referred to goes.
    pub(super) fn end(&self, table: &Table) {
        self.end_leases();
        let references = std::mem::take(&mut self.state().references);
        for (object, count) in references {
            table.release(object, count);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
