//! [`Host`]: what all threads of a server share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::refusal::Refusal;
use super::registry::Registry;
use super::session::Session;
use super::table::{Hold, Table};
use super::wire::SessionId;
use crate::Result;
use crate::connection::nonce;
use crate::sys::Deadline;

/// Large enough that all leases are encoded in as many bytes.
const FIRST_LEASE: u64 = 1 << 32;
/// How long what a client refers to stays after its last connection.
const GRACE: Duration = Duration::from_secs(1);
/// How long a proxy may be on its way to another process.
const JOURNEY: Duration = Duration::from_secs(60);
/// Refused clients that are remembered, the last ones.
const REFUSALS: usize = 32;

/// What all threads of a server share.
pub(super) struct Host {
    pub(super) table: Arc<Table>,
    /// The number of the next lease.
    pub(super) leases: AtomicU64,
    pub(super) incarnation: u64,
    pub(super) longest: u64,
    pub(super) registry: Registry,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    names: Mutex<BTreeMap<String, Hold>>,
    tickets: Mutex<Tickets>,
    refusals: Mutex<VecDeque<Refusal>>,
    stopping: AtomicBool,
    /// Device and inode of this executable.
    program: Option<(u64, u64)>,
}

/// References of proxies on their way.
#[derive(Default)]
struct Tickets {
    last: u64,
    /// In the order in which they end.
    queue: VecDeque<(u64, Deadline)>,
    holds: HashMap<u64, Hold>,
}

impl Host {
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the system has no random bytes.
    pub(super) fn new(registry: Registry, longest: u64) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            table: Arc::default(),
            leases: AtomicU64::new(FIRST_LEASE),
            incarnation: u64::from_le_bytes(nonce::random()?),
            longest,
            registry,
            sessions: Mutex::default(),
            names: Mutex::default(),
            tickets: Mutex::default(),
            refusals: Mutex::default(),
            stopping: AtomicBool::new(false),
            program: program_at("/proc/self/exe"),
        }))
    }

    /// The session of that name, with one more connection; whether it was there before.
    pub(super) fn enter(&self, id: SessionId) -> (Arc<Session>, bool) {
        let mut sessions = lock(&self.sessions);
        let known = sessions.get(&id).cloned();
        let is_known = known.is_some();
        let session = known.unwrap_or_default();
        session.open();
        sessions.entry(id).or_insert_with(|| Arc::clone(&session));
        (session, is_known)
    }

    /// A connection of the session has ended. With the last one, what it holds goes to others at once; what it refers to stays
    /// for a while, for a client that merely lost its connections. Returns after that.
    pub(super) fn leave(&self, id: SessionId, session: &Arc<Session>) {
        if !session.close() {
            return;
        }
        session.end_leases();
        if session.refers() && !self.is_stopping() {
            std::thread::sleep(GRACE);
        }
        let mut sessions = lock(&self.sessions);
        if session.is_open() {
            // It has come back.
            return;
        }
        if sessions.get(&id).is_some_and(|now| Arc::ptr_eq(now, session)) {
            sessions.remove(&id);
        }
        drop(sessions);
        session.end(&self.table);
    }

    pub(super) fn clients(&self) -> usize {
        lock(&self.sessions).values().filter(|session| session.is_open()).count()
    }

    pub(super) fn names(&self) -> MutexGuard<'_, BTreeMap<String, Hold>> {
        lock(&self.names)
    }

    /// A ticket for a reference to an object, which ends it if it is not claimed in time.
    pub(super) fn ticket(&self, hold: Hold) -> u64 {
        let expired = {
            let mut tickets = lock(&self.tickets);
            tickets.last += 1;
            let number = tickets.last;
            tickets.holds.insert(number, hold);
            if let Some(deadline) = Deadline::after(JOURNEY) {
                tickets.queue.push_back((number, deadline));
            }
            (number, tickets.expire())
        };
        // Its references go when nothing is locked.
        expired.0
    }

    /// Takes a ticket back, if it has not ended.
    pub(super) fn claim(&self, ticket: u64) -> Option<Hold> {
        lock(&self.tickets).holds.remove(&ticket)
    }

    /// Ends the tickets whose time is over.
    pub(super) fn expire_tickets(&self) {
        let expired = lock(&self.tickets).expire();
        drop(expired);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        let mut refusals = lock(&self.refusals);
        if refusals.len() == REFUSALS {
            refusals.pop_front();
        }
        refusals.push_back(refusal);
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        lock(&self.refusals).iter().cloned().collect()
    }

    pub(super) fn is_stopping(&self) -> bool {
        // Relaxed: whoever sees it late sees it a slice later.
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        // Relaxed: as above.
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Lets everything go that clients made.
    pub(super) fn clear(&self) {
        let names = std::mem::take(&mut *self.names());
        let tickets = std::mem::take(&mut *lock(&self.tickets));
        drop((names, tickets));
        self.table.clear();
    }

    /// Whether the process runs this executable. It lives, as it has a connection.
    pub(super) fn runs_this_program(&self, pid: i32) -> bool {
        self.program.is_some() && program_at(&format!("/proc/{pid}/exe")) == self.program
    }
}

impl Tickets {
    fn expire(&mut self) -> Vec<Hold> {
        let mut expired = Vec::new();
        while let Some((number, _)) = self.queue.pop_front_if(|(_, deadline)| deadline.has_passed()) {
            expired.extend(self.holds.remove(&number));
        }
        expired
    }
}

fn program_at(link: &str) -> Option<(u64, u64)> {
    std::fs::metadata(link).ok().map(|file| (file.dev(), file.ino()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
