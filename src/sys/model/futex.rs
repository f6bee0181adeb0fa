//! The futex: buckets of sleepers, in the order in which they came. A deadline is modelled as "passes while asleep or
//! not", by the model's own choice of the `Deadline` it hands in: models of time-outs use one that has passed.

use std::collections::HashMap;
use std::sync::Arc;

use loom::sync::{Mutex, Notify};

use super::atomic::AtomicU32;
use super::life::{Sabotage, step};
use crate::sys::Deadline;

/// "Wake everybody."
pub(crate) const ALL: u32 = i32::MAX as u32;

/// The change that [`wake_op`] makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Set(u16),
    Or(u16),
}

type Sleepers = HashMap<usize, Vec<Arc<Notify>>>;

loom::lazy_static! {
    static ref SLEEPERS: Mutex<Sleepers> = Mutex::new(HashMap::new());
}

/// Sleeps while `*word == expected`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Deadline>) {
    if !step() || deadline.is_some_and(Deadline::has_passed) {
        return;
    }
    let bell = {
        let mut sleepers = SLEEPERS.lock().unwrap();
        if word.newest() != expected {
            return;
        }
        let bell = Arc::new(Notify::new());
        sleepers.entry(address(word)).or_default().push(bell.clone());
        bell
    };
    bell.wait();
    // A spurious return leaves no trace in the bucket.
    let mut sleepers = SLEEPERS.lock().unwrap();
    if let Some(queue) = sleepers.get_mut(&address(word)) {
        queue.retain(|other| !Arc::ptr_eq(other, &bell));
    }
}

/// Wakes up to `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    match step() {
        true if Sabotage::NoWake.is_on() => 1,
        true => wake_by_kernel(word, count),
        false => 0,
    }
}

/// Changes the word and wakes up to `count` sleepers: one step.
pub(crate) fn wake_op(word: &AtomicU32, change: Change, count: u32) {
    if !step() {
        return;
    }
    let mut sleepers = SLEEPERS.lock().unwrap();
    let _ = word.by_kernel(|value| match change {
        Change::Set(value) => Some(u32::from(value)),
        Change::Or(bits) => Some(value | u32::from(bits)),
    });
    ring(&mut sleepers, word, count);
}

/// The kernel's own wake at a death: not a step.
pub(super) fn wake_by_kernel(word: &AtomicU32, count: u32) -> usize {
    ring(&mut SLEEPERS.lock().unwrap(), word, count)
}

fn ring(sleepers: &mut Sleepers, word: &AtomicU32, count: u32) -> usize {
    let Some(queue) = sleepers.get_mut(&address(word)) else { return 0 };
    let count = queue.len().min(count as usize);
    queue.drain(..count).for_each(|bell| bell.notify());
    count
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}
