//! [`Served`]: what an object does on the server, and what it is told of who asks.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::body::Body;
use super::fault::Fault;
use super::host::Host;
use super::session::Session;
use super::table::{Object, Stored};
use super::wire::{Item, SessionId};
use crate::sys::Deadline;

/// An object on the server. It is called by many threads at once.
pub(super) trait Served: Send + Sync {
    /// Does what `body` asks and appends the answer to `reply`.
    ///
    /// # Errors
    /// Why it did not. What is in `reply` then doesn't count.
    fn call(&self, caller: &Caller<'_>, body: &[u8], reply: &mut Body) -> Result<(), Fault>;

    /// A client that had this lease has gone.
    fn release(&self, _lease: u64) {}

    /// Has who waits here look whether the server ends.
    fn wake(&self) {}
}

/// Who asks.
pub(super) struct Caller<'a> {
    pub(super) host: &'a Arc<Host>,
    pub(super) session: &'a Arc<Session>,
    pub(super) session_id: SessionId,
    pub(super) object: &'a Arc<Object>,
    /// Whether it has gone.
    pub(super) is_gone: &'a dyn Fn() -> bool,
    /// Whether it runs this executable, as the kernel says.
    pub(super) is_same_program: bool,
}

impl Caller<'_> {
    /// Keeps a user's value.
    pub(super) fn store(&self, item: &Item<'_>) -> Result<Stored, Fault> {
        Stored::new(&self.host.table, item)
    }

    /// A kept value on its way to the client, which gets references to the objects in it before it knows of them: whoever
    /// changes the value meanwhile does not take them away.
    pub(super) fn item<'s>(&self, stored: &'s Stored) -> Item<'s> {
        let refs: Vec<u64> = stored.refs().filter(|&number| self.host.table.refer(number)).collect();
        refs.iter().for_each(|&number| self.session.refer(number));
        Item { refs: Cow::Owned(refs), bytes: stored.bytes() }
    }

    /// A number for a lock, permit or task that is the client's from now on.
    pub(super) fn lease(&self) -> u64 {
        // Relaxed: a counter.
        let number = self.host.leases.fetch_add(1, Ordering::Relaxed);
        self.session.lease(number, self.object);
        number
    }

    /// Takes a lease back from the client.
    ///
    /// # Errors
    /// [`Fault::NotHeld`]: it is not the client's.
    pub(super) fn unlease(&self, number: u64) -> Result<(), Fault> {
        if self.session.unlease(number) { Ok(()) } else { Err(Fault::NotHeld) }
    }
}

/// How long a thread of the server's sleeps before it looks whether its client is still there.
const SLICE: Duration = Duration::from_millis(250);

/// A state, and who waits for it to change.
#[derive(Default)]
pub(super) struct Monitor<S> {
    inside: Mutex<Inside<S>>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside<S> {
    state: S,
    /// Threads that sleep.
    waiting: usize,
}

impl<S> Monitor<S> {
    pub(super) fn new(state: S) -> Self {
        Self { inside: Mutex::new(Inside { state, waiting: 0 }), changed: Condvar::new() }
    }

    /// Looks at the state.
    pub(super) fn look<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.inside().state)
    }

    /// Changes the state. Who waits looks at it again.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let mut inside = self.inside();
        let changed = change(&mut inside.state);
        self.leave(inside);
        changed
    }

    /// Waits until `attempt` succeeds, which may change the state, and whoever waits looks at it again; `None` after `timeout`, of
    /// which none is for ever.
    ///
    /// # Errors
    /// [`Fault::Gone`]: the client has gone, which is found out within a slice. [`Fault::Stopping`]: the server ends.
    pub(super) fn wait<R>(
        &self,
        caller: &Caller<'_>,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut S) -> Option<R>,
    ) -> Result<Option<R>, Fault> {
        let deadline = timeout.and_then(Deadline::after);
        let mut inside = self.inside();
        loop {
            if let Some(done) = attempt(&mut inside.state) {
                self.leave(inside);
                return Ok(Some(done));
            }
            let left = deadline.map_or(SLICE, Deadline::remaining);
            if left.is_zero() {
                return Ok(None);
            }
            // In this order: a server that ends shuts its connections afterwards.
            let is_gone = (caller.is_gone)();
            if caller.host.is_stopping() {
                return Err(Fault::Stopping);
            }
            if is_gone {
                return Err(Fault::Gone);
            }
            inside.waiting += 1;
            let waited = self.changed.wait_timeout(inside, left.min(SLICE));
            (inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
            inside.waiting -= 1;
        }
    }

    /// Wakes who waits: what it waits for may be in vain.
    pub(super) fn wake(&self) {
        self.leave(self.inside());
    }

    /// Unlocks, and wakes who waits.
    fn leave(&self, inside: MutexGuard<'_, Inside<S>>) {
        let is_awaited = inside.waiting > 0;
        drop(inside);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    /// A panic in a user's method leaves the state as it was then: nobody else is kept out.
    fn inside(&self) -> MutexGuard<'_, Inside<S>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
