//! Which threads have died without the kernel's marking their words.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use loom::sync::atomic::{AtomicU32, Ordering};

use super::{futex, life};

#[derive(Default)]
struct Deaths {
    /// Invisible to loom.
    tids: Mutex<BTreeSet<u32>>,
    /// Invisible to loom.
    any: AtomicBool,
    /// What the system orders by saying that a thread is dead.
    told: AtomicU32,
}

loom::lazy_static! {
    static ref DEATHS: Deaths = Deaths::default();
}

/// Whether the thread `tid` died so, and nobody was born with its id since. A system call: a step.
pub(crate) fn is_dead(tid: u32) -> bool {
    if !life::step() {
        return false;
    }
    DEATHS.told.fetch_add(0, Ordering::Acquire);
    DEATHS.tids.lock().unwrap().contains(&tid)
}

/// Whether any thread died so.
pub(super) fn any_died() -> bool {
    DEATHS.any.load(Ordering::Relaxed)
}

pub(super) fn born(tid: u32) {
    if any_died() {
        // A birth is ordered against nothing: others may act before it.
        DEATHS.told.fetch_add(0, Ordering::Relaxed);
    }
    DEATHS.tids.lock().unwrap().remove(&tid);
}

pub(super) fn died_unmarked(tid: u32) {
    DEATHS.told.fetch_add(1, Ordering::Release);
    DEATHS.tids.lock().unwrap().insert(tid);
    DEATHS.any.store(true, Ordering::Relaxed);
    futex::end_slices();
}
