//! The futex: for each word its sleepers, in the order in which they came.
//!
//! The table is invisible to loom. What the lock of a word's bucket gives in the kernel is modelled by an atomic (of
//! [`BUCKETS`]) that every system call on that word updates: the calls are ordered, and each sees what was stored before an
//! earlier one. Calls on different words are not, where they have different buckets. A wake that falls between a sleeper's look
//! at the word and its entry in the table ends the sleep before it begins, which a futex may do. A model of time-outs hands in
//! a deadline that has passed.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use loom::thread::{self, Thread};

use super::atomic::{AtomicU32, AtomicU64};
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
    SetBit(u16),
    ClearBit(u16),
}

impl Change {
    fn of(self, word: u32) -> u32 {
        match self {
            Self::Set(value) => u32::from(value),
            Self::Or(bits) => word | u32::from(bits),
            Self::Add(value) => word.wrapping_add(u32::from(value)),
            Self::SetBit(bit) => word | 1_u32.wrapping_shl(u32::from(bit)),
            Self::ClearBit(bit) => word & !1_u32.wrapping_shl(u32::from(bit)),
        }
    }

    /// The same change of the low half of a wide word.
    fn of_low(self, wide: u64) -> u64 {
        wide & !u64::from(u32::MAX) | u64::from(self.of(wide as u32))
    }
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

#[derive(Default)]
struct Queue {
    sleepers: Vec<Arc<Sleeper>>,
    /// Wakes so far.
    wakes: usize,
}

loom::lazy_static! {
    /// By the words' addresses, in the order of their first use: the same one in each execution.
    static ref QUEUES: Mutex<Vec<(usize, Queue)>> = Mutex::new(Vec::new());
    static ref BUCKETS: [loom::sync::atomic::AtomicUsize; 8] =
        std::array::from_fn(|_| loom::sync::atomic::AtomicUsize::new(0));
    static ref SLICES: Slices = Slices::default();
}

fn in_order(word: Word<'_>) {
    let position = with_queues(word, |_, position| position);
    BUCKETS[position % BUCKETS.len()].fetch_add(0, Ordering::AcqRel);
}

fn with_queue<R>(word: Word<'_>, act: impl FnOnce(&mut Queue) -> R) -> R {
    with_queues(word, |queues, position| act(&mut queues[position].1))
}

fn with_queues<R>(word: Word<'_>, act: impl FnOnce(&mut [(usize, Queue)], usize) -> R) -> R {
    let mut queues = QUEUES.lock().unwrap();
    let position = queues.iter().position(|(address, _)| *address == word.address()).unwrap_or_else(|| {
        queues.push((word.address(), Queue::default()));
        queues.len() - 1
    });
    act(&mut queues, position)
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
pub(crate) fn wait<'a>(word: impl Into<Word<'a>>, expected: u32, deadline: Option<Deadline>) {
    let word = word.into();
    if !step() || deadline.is_some_and(Deadline::has_passed) {
        return;
    }
    in_order(word);
    let wakes = with_queue(word, |queue| queue.wakes);
    if word.seen_by_kernel() != expected {
        return;
    }
    in_order(word);
    // Nothing that loom can interrupt lies between this look and the entry in the table.
    if slice_has_ended() {
        return;
    }
    if liveness::any_died() {
        return thread::yield_now();
    }
    let sleeper = Arc::new(Sleeper { thread: thread::current(), asleep: AtomicBool::new(true) });
    let asleep = with_queue(word, |queue| {
        let in_time = queue.wakes == wakes;
        if in_time {
            queue.sleepers.push(sleeper.clone());
        }
        in_time
    });
    if asleep {
        // What the waker did before is seen: loom's unpark orders it.
        while sleeper.asleep.load(Ordering::Relaxed) {
            thread::park();
        }
    } else {
        in_order(word);
    }
    slice_has_ended();
}

/// Wakes up to `count` sleepers.
pub(crate) fn wake<'a>(word: impl Into<Word<'a>>, count: u32) -> usize {
    let word = word.into();
    match step() {
        true if Sabotage::NoWake.is_on() => 1,
        true => wake_by_kernel(word, count),
        false => 0,
    }
}

/// Changes the word and wakes up to `count` sleepers: one step.
pub(crate) fn wake_op(word: &AtomicU32, change: Change, count: u32) -> usize {
    if !step() {
        return 0;
    }
    let _ = word.by_kernel(|value| Some(change.of(value)));
    wake_after_change(word.into(), count)
}

/// [`wake_op`] on the low half of `word`.
pub(crate) fn wake_op_low(word: &AtomicU64, change: Change, count: u32) -> usize {
    if !step() {
        return 0;
    }
    let _ = word.by_kernel(|value| Some(change.of_low(value)));
    wake_after_change(half(word, Half::Low), count)
}

fn wake_after_change(word: Word<'_>, count: u32) -> usize {
    match Sabotage::SplitWakeOp.is_on() && !step() {
        true => 0,
        false if Sabotage::NoWake.is_on() => 1,
        false => wake_by_kernel(word, count),
    }
}

/// The kernel's own wake, at a death or as part of a system call: not a step.
pub(super) fn wake_by_kernel(word: Word<'_>, count: u32) -> usize {
    in_order(word);
    let woken: Vec<_> = with_queue(word, |queue| {
        queue.wakes += 1;
        queue.sleepers.drain(..queue.sleepers.len().min(count as usize)).collect()
    });
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
    let woken: Vec<_> =
        QUEUES.lock().unwrap().iter_mut().flat_map(|(_, queue)| queue.sleepers.drain(..)).collect();
    woken.iter().for_each(|sleeper| sleeper.wake());
}

/// A half of an [`AtomicU64`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Low,
    High,
}

/// A futex word: one of 32 bits, or a half of one of 64.
#[derive(Clone, Copy)]
pub(crate) enum Word<'a> {
    Whole(&'a AtomicU32),
    Half(&'a AtomicU64, Half),
}

impl<'a> From<&'a AtomicU32> for Word<'a> {
    fn from(word: &'a AtomicU32) -> Self {
        Self::Whole(word)
    }
}

/// The futex word that is `half` of `word`.
pub(crate) fn half(word: &AtomicU64, half: Half) -> Word<'_> {
    Word::Half(word, half)
}

impl Word<'_> {
    pub(super) fn address(self) -> usize {
        match self {
            Self::Whole(word) => std::ptr::from_ref(word).addr(),
            Self::Half(word, half) => std::ptr::from_ref(word).addr() + usize::from(half == Half::High),
        }
    }

    pub(super) fn seen_by_kernel(self) -> u32 {
        match self {
            Self::Whole(word) => word.seen_by_kernel(),
            Self::Half(word, Half::Low) => word.seen_by_kernel() as u32,
            Self::Half(word, Half::High) => (word.seen_by_kernel() >> 32) as u32,
        }
    }
}
