//! The futex: for each word its sleepers, in the order in which they came.
//!
//! The table is invisible to loom, and every system call has one operation that is not: it reads the word. A context
//! switch is possible before it, and none between it and the change of the table, which is what the kernel's bucket lock
//! gives. A model of time-outs hands in a deadline that has passed.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use loom::thread::{self, Thread};

use super::life::{Sabotage, step};
use super::liveness;
use crate::sys::Deadline;

/// "Wake everybody."
pub(crate) const ALL: u32 = i32::MAX as u32;

/// The change that [`wake_op`] makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Set(u16),
    Or(u16),
    Add(u16),
    ClearBit(u16),
}

impl Change {
    fn of(self, word: u32) -> u32 {
        match self {
            Self::Set(value) => u32::from(value),
            Self::Or(bits) => word | u32::from(bits),
            Self::Add(value) => word.wrapping_add(u32::from(value)),
            Self::ClearBit(bit) => word & !(1 << bit),
        }
    }
}

/// What can be slept on: a 32-bit word, or the low half of a 64-bit one.
pub(crate) trait Futex {
    /// What the kernel does to the word in a system call or at a death: not a step.
    fn by_kernel(&self, change: &mut dyn FnMut(u32) -> Option<u32>) -> Result<u32, u32>;

    /// The newest value, without what reading it through an atomic of the program would order.
    fn newest(&self) -> u32;

    fn address(&self) -> usize;
}

struct Sleeper {
    thread: Thread,
    /// Invisible to loom, like the table.
    asleep: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.thread.unpark();
    }
}

type Sleepers = HashMap<usize, Vec<Arc<Sleeper>>>;

loom::lazy_static! {
    static ref SLEEPERS: Mutex<Sleepers> = Mutex::new(HashMap::new());
    static ref SLICES: Slices = Slices::default();
}

#[derive(Default)]
struct Slices {
    /// How often they have ended. Invisible to loom.
    ended: AtomicUsize,
    /// What passing time orders: who wakes then sees what was written long before.
    time: loom::sync::atomic::AtomicU32,
}

loom::thread_local! {
    /// How many of these ends this thread has noticed.
    static NOTICED: Cell<usize> = Cell::new(0);
}

/// Whether slices have ended since the thread last asked.
fn slice_has_ended() -> bool {
    let ended = SLICES.ended.load(Ordering::Relaxed);
    let now = NOTICED.with(|noticed| noticed.replace(ended) != ended);
    if now {
        SLICES.time.fetch_add(0, Ordering::Acquire);
    }
    now
}

/// Sleeps while `*word == expected`.
pub(crate) fn wait(word: &impl Futex, expected: u32, deadline: Option<Deadline>) {
    if !step() || deadline.is_some_and(Deadline::has_passed) {
        return;
    }
    if word.newest() != expected {
        return;
    }
    if slice_has_ended() {
        return;
    }
    if liveness::any_died() {
        return thread::yield_now();
    }
    let sleeper = Arc::new(Sleeper { thread: thread::current(), asleep: AtomicBool::new(true) });
    SLEEPERS.lock().unwrap().entry(word.address()).or_default().push(sleeper.clone());
    while sleeper.asleep.load(Ordering::Relaxed) {
        thread::park();
    }
    slice_has_ended();
}

/// Wakes up to `count` sleepers.
pub(crate) fn wake(word: &impl Futex, count: u32) -> usize {
    match step() {
        true if Sabotage::NoWake.is_on() => 1,
        true => {
            word.newest();
            wake_by_kernel(word, count)
        }
        false => 0,
    }
}

/// Changes the word and wakes up to `count` sleepers: one step.
pub(crate) fn wake_op(word: &impl Futex, change: Change, count: u32) {
    if !step() {
        return;
    }
    let _ = word.by_kernel(&mut |value| Some(change.of(value)));
    if Sabotage::SplitWakeOp.is_on() && !step() {
        return;
    }
    wake_by_kernel(word, count);
}

/// The kernel's own wake, at a death or as part of a system call: not a step.
pub(super) fn wake_by_kernel(word: &(impl Futex + ?Sized), count: u32) -> usize {
    let woken: Vec<_> = match SLEEPERS.lock().unwrap().get_mut(&word.address()) {
        Some(queue) => queue.drain(..queue.len().min(count as usize)).collect(),
        None => Vec::new(),
    };
    woken.iter().for_each(|sleeper| sleeper.wake());
    woken.len()
}

/// What happens to every thread after a while: the slice of its sleep ends, the one that it is in or else the next one.
/// A model in which a death must be noticed by somebody who sleeps on another word calls this after the death.
pub(crate) fn end_slices() {
    if Sabotage::NoSlice.is_on() {
        return;
    }
    SLICES.time.fetch_add(1, Ordering::Release);
    SLICES.ended.fetch_add(1, Ordering::Relaxed);
    let woken: Vec<_> = SLEEPERS.lock().unwrap().drain().flat_map(|(_, queue)| queue).collect();
    woken.iter().for_each(|sleeper| sleeper.wake());
}
