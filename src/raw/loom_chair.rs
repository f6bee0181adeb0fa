//! Loom models of [`Chair`]: no result is left unread while a thread waits for it, whoever reads, leaves or goes without, and
//! nobody is woken twice. In the models nobody looks from time to time.
#![allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::VecDeque;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use super::chair::{Chair, Read, Refused, Seated};
use crate::sys::model::{Life, Outcome, Sabotage, every_death_with};

/// What the first of two callers does, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// They wait for their results.
    Wait,
    /// The first leaves the chair after each message, as for a callback, and sits down again.
    Leave,
    /// The first goes when it has taken in one message, or is refused: its time is over, or it panics.
    Quit,
    /// Who is refused is not counted as one that waits.
    Uncounted,
    /// The first never leaves the chair.
    Stick,
    /// Who sits down knows of its result what it knew before.
    Stale,
    /// Who delivers a result does not take its waiter off.
    Forget,
}

/// Who waits for one result.
#[derive(Default)]
struct Task {
    is_done: bool,
    /// Threads that sleep for it, and that the chair counts.
    waiting: u32,
}

struct Shared {
    chair: Chair,
    /// The ring: which task each message is of; `None` is a nudge.
    ring: Mutex<VecDeque<Option<usize>>>,
    came: Condvar,
    tasks: [(Mutex<Task>, Condvar); 2],
    is_over: AtomicBool,
    /// Only who sits touches it.
    read: UnsafeCell<u32>,
    manner: Manner,
}

impl Shared {
    fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self {
            chair: Chair::new(),
            ring: Mutex::new(VecDeque::new()),
            came: Condvar::new(),
            tasks: std::array::from_fn(|_| (Mutex::new(Task::default()), Condvar::new())),
            is_over: AtomicBool::new(false),
            read: UnsafeCell::new(0),
            manner,
        })
    }

    fn put(&self, message: Option<usize>) {
        self.ring.lock().unwrap().push_back(message);
        self.came.notify_one();
    }

    /// As the pool's `receive`: takes in one message, for which it waits.
    fn receive(&self, _: &Seated<'_>) {
        let message = {
            let mut ring = self.ring.lock().unwrap();
            loop {
                match ring.pop_front() {
                    Some(message) => break message,
                    None => ring = self.came.wait(ring).unwrap(),
                }
            }
        };
        // SAFETY: the chair lets one in at a time, which loom checks.
        self.read.with_mut(|read| unsafe { *read += 1 });
        if let Some(index) = message {
            self.deliver(index);
        }
    }

    /// As a task's `end`.
    fn deliver(&self, index: usize) {
        let (task, ended) = &self.tasks[index];
        let mut task = task.lock().unwrap();
        assert!(!std::mem::replace(&mut task.is_done, true), "woken twice");
        let waiting = std::mem::take(&mut task.waiting);
        drop(task);
        if self.manner != Manner::Forget {
            self.chair.stand_up(waiting);
        }
        ended.notify_all();
    }

    fn is_done(&self, index: usize) -> bool {
        self.tasks[index].0.lock().unwrap().is_done
    }

    /// As a task's `wait`.
    fn wait(&self, index: usize) {
        let was_done = self.is_done(index);
        if was_done || self.help(index) {
            return;
        }
        let quits = self.manner == Manner::Quit && index == 0;
        let (task, ended) = &self.tasks[index];
        let mut task = task.lock().unwrap();
        if self.manner == Manner::Uncounted {
            // Nobody knows of it.
        } else if task.is_done || quits {
            self.chair.stand_up(1);
        } else {
            task.waiting += 1;
        }
        while !task.is_done && !quits {
            task = ended.wait(task).unwrap();
        }
    }

    /// As the pool's `help`.
    fn help(&self, index: usize) -> bool {
        if self.manner == Manner::Uncounted {
            let Some(seat) = self.chair.sit() else { return false };
            while !self.is_done(index) {
                self.receive(&seat);
            }
            return true;
        }
        let knows = self.manner != Manner::Stale;
        let has_read = std::cell::Cell::new(false);
        self.chair.read_until(
            Refused::Waits,
            || (knows || has_read.get()) && self.is_done(index),
            |seat| {
                self.receive(&seat);
                has_read.set(true);
                match self.manner {
                    Manner::Leave if index == 0 => Read::Left,
                    Manner::Quit if index == 0 => Read::End,
                    Manner::Stick if index == 0 => {
                        std::mem::forget(seat);
                        Read::End
                    }
                    _ => Read::Seated(seat),
                }
            },
        )
    }

    /// As the pool's thread, which has left reading to the callers.
    fn attend(&self) {
        while !self.is_over.load(Ordering::Acquire) {
            if self.chair.await_call(None)
                && let Some(seat) = self.chair.sit()
            {
                self.receive(&seat);
            }
        }
    }
}

fn spawn(shared: &Arc<Shared>, tid: u32, body: impl FnOnce(&Shared) + 'static) -> JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || assert_eq!(Life::long(tid).run(|| body(&shared)), Outcome::Lived(())))
}

/// Two callers wait for a result each, which come in either order, and then the pool ends.
fn each_result_is_read(manner: Manner, order: [usize; 2], sabotage: Sabotage) {
    every_death_with(sabotage, move |_| {
        let shared = Shared::new(manner);
        let callers = [0, 1].map(|index| spawn(&shared, 1 + index as u32, move |shared| shared.wait(index)));
        let thread = spawn(&shared, 3, Shared::attend);
        let came = Life::long(4).run(|| {
            order.iter().for_each(|index| shared.put(Some(*index)));
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            shared.is_over.store(true, Ordering::Release);
            shared.put(None);
            shared.chair.call();
            thread.join().unwrap();
            assert!(shared.chair.is_left(), "somebody is still counted");
        });
        assert_eq!(came, Outcome::Lived(()));
    });
}

#[test]
fn each_caller_gets_its_result() {
    each_result_is_read(Manner::Wait, [0, 1], Sabotage::None);
}

#[test]
fn who_leaves_for_a_callback_hands_over() {
    each_result_is_read(Manner::Leave, [1, 0], Sabotage::None);
}

#[test]
fn who_goes_without_its_result_hands_over() {
    each_result_is_read(Manner::Quit, [0, 1], Sabotage::None);
    each_result_is_read(Manner::Quit, [1, 0], Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_where_nobody_knows_who_waits_leaves_a_result() {
    each_result_is_read(Manner::Uncounted, [0, 1], Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_never_leaves_keeps_anothers_result() {
    each_result_is_read(Manner::Stick, [0, 1], Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_asks_before_it_sits_waits_for_what_was_read() {
    each_result_is_read(Manner::Stale, [0, 1], Sabotage::None);
}

#[test]
#[should_panic(expected = "still counted")]
fn twin_that_takes_nobody_off_keeps_the_thread_in_the_chair() {
    each_result_is_read(Manner::Forget, [0, 1], Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_whose_calls_wake_nobody_leaves_a_result() {
    each_result_is_read(Manner::Wait, [0, 1], Sabotage::NoWake);
}

#[test]
#[should_panic(expected = "Causality")]
fn twin_that_releases_nothing_touches_what_another_reads() {
    each_result_is_read(Manner::Wait, [0, 1], Sabotage::NoRelease);
}
