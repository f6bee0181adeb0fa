//! Loom models of [`RawTasks`]: a task whose holder dies is somebody else's, exactly once, and `join` sees the last one done.
//!
//! The death of a holder wakes nobody (whoever waits looks after each slice, and slices are off here), so survivors look
//! for themselves; everything else that is waited for has to come with a wake.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::as_conversions, clippy::arithmetic_side_effects)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loom::thread::{self, JoinHandle};

use super::ring::{Attempt, Consuming};
use super::tasks::Tasks;
use super::{RawRing, RawTasks, RingError, RingShape, Taken, TaskEntry, Wait};
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

struct Shared {
    ring: RawRing,
    raw: RawTasks,
    entries: Vec<TaskEntry>,
    words: Vec<AtomicU64>,
    payloads: Vec<AtomicU64>,
    /// A note beside the model, of no effect in it: the mortal thread has begun to finish its task.
    finishing: AtomicBool,
}

/// Four items in their slots.
fn shape() -> RingShape {
    RingShape::varying(4, 8, 0).unwrap()
}

/// The mortal thread's step of death, or never.
fn mortal(step: usize) -> Life {
    Life { tid: 1, dies_after: Some(step) }
}

impl Shared {
    /// With items 100, 101 and so on, and room for so many tasks.
    fn new(items: u64, entries: usize) -> Arc<Self> {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Self {
            ring: RawRing::new(4),
            raw: RawTasks::default(),
            entries: (0..entries).map(|_| TaskEntry::default()).collect(),
            words: words(shape().words()),
            payloads: words(entries),
            finishing: AtomicBool::new(false),
        });
        let put = || (0..items).for_each(|item| shared.put(100 + item));
        assert_eq!(Life::long(9).run(put), Outcome::Lived(()));
        shared
    }

    fn tasks(&self) -> Tasks<'_> {
        Tasks {
            ring: self.ring.with_words(shape(), &self.words).unwrap(),
            raw: &self.raw,
            entries: &self.entries,
            payloads: &self.payloads,
        }
    }

    fn put(&self, item: u64) {
        // SAFETY: the models keep the queue until all threads have ended.
        unsafe { self.tasks().ring.put(&item.to_le_bytes(), None) }.unwrap();
    }

    fn consume<R>(
        &self,
        step: impl for<'a> Fn(&Tasks<'a>, &Consuming<'_, 'a>, &mut Vec<u8>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<(R, Vec<u8>), RingError> {
        let (tasks, mut payload) = (self.tasks(), Vec::new());
        // SAFETY: as for `put`.
        let done =
            unsafe { tasks.ring.consume(Wait::Until(None), || false, |c| step(&tasks, c, &mut payload)) };
        done.map(|done| (done, payload))
    }

    /// Takes a task, waiting for one.
    fn take(&self) -> Result<(Taken, u64), RingError> {
        let (taken, payload) = self.consume(|tasks, consuming, payload| tasks.take(consuming, payload))?;
        Ok((taken, u64::from_le_bytes(payload.try_into().unwrap())))
    }

    /// Takes a task if there is one at this moment.
    fn look(&self) -> Option<(Taken, u64)> {
        let (taken, payload) = self
            .consume(|tasks, consuming, payload| {
                Ok(Attempt::Done(match tasks.take(consuming, payload) {
                    Ok(Attempt::Done(taken)) => Some(taken),
                    Ok(Attempt::NotYet(_)) | Err(RingError::Closed) => None,
                    Err(error) => return Err(error),
                }))
            })
            .unwrap();
        taken.map(|taken| (taken, u64::from_le_bytes(payload.try_into().unwrap())))
    }

    /// Gets an item if there is one at this moment; without repairing the claim of a dead taker, if so told.
    fn get_by(&self, repairing: bool) -> Option<u64> {
        let (got, payload) = self
            .consume(|tasks, consuming, payload| {
                let attempt = if repairing {
                    tasks.get(consuming, payload)?
                } else {
                    consuming.get_by(|front| front.read(payload))?
                };
                Ok(Attempt::Done(matches!(attempt, Attempt::Done(()))))
            })
            .unwrap();
        got.then(|| u64::from_le_bytes(payload.try_into().unwrap()))
    }

    fn get(&self) -> Option<u64> {
        self.get_by(true)
    }

    fn finish(&self, taken: Taken) {
        self.finishing.store(true, Ordering::Relaxed);
        assert!(self.tasks().finish(taken));
    }

    fn unfinished(&self) -> u64 {
        self.consume(|tasks, consuming, _| tasks.unfinished(consuming)).unwrap().0
    }

    /// As `JoinableQueue::join`.
    fn join(&self) {
        let tasks = self.tasks();
        loop {
            let spot = tasks.spot();
            if self.unfinished() == 0 {
                return;
            }
            Tasks::wait(spot, None);
        }
    }

    /// Takes and finishes what there is, one after the other, and says what that was and at which attempt.
    fn finish_all(&self) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| self.look())
            .map(|(taken, item)| {
                assert!(self.tasks().finish(taken));
                (item, taken.attempt)
            })
            .collect()
    }
}

fn spawn<R: 'static>(
    shared: &Arc<Shared>,
    life: Life,
    body: impl FnOnce(&Shared) -> R + 'static,
) -> JoinHandle<Outcome<R>> {
    let shared = shared.clone();
    thread::spawn(move || life.run(|| body(&shared)))
}

fn lived<R>(outcome: Outcome<R>) -> R {
    match outcome {
        Outcome::Lived(result) => result,
        Outcome::Died => panic!("nobody killed it"),
    }
}

/// A mortal thread takes the only item and finishes it, while a survivor looks; then the survivor does what is left.
fn a_task_is_done_once(sabotage: Sabotage, beside: bool) {
    every_death_with(sabotage, move |step| {
        let shared = Shared::new(1, 1);
        let mortal = spawn(&shared, mortal(step), |shared| {
            let taken = shared.look();
            taken.map(|(taken, _)| shared.finish(taken)).is_some()
        });
        let finish_all = |shared: &Shared| shared.finish_all();
        let mut done = if beside { lived(Life::long(2).run(|| finish_all(&shared))) } else { Vec::new() };
        let mortal = mortal.join().unwrap();
        done.extend(lived(Life::long(3).run(|| finish_all(&shared))));
        match (mortal, done.as_slice()) {
            (Outcome::Lived(true), []) | (Outcome::Lived(false), [(100, 1)]) => {}
            (Outcome::Died, [(100, 1 | 2)]) => {}
            (Outcome::Died, []) => assert!(shared.finishing.load(Ordering::Relaxed), "the item is lost"),
            other => panic!("{other:?}"),
        }
        assert_eq!(Life::long(4).run(|| shared.unfinished()), Outcome::Lived(0));
    });
}

#[test]
fn a_killed_takers_task_is_done_once_by_the_survivor() {
    a_task_is_done_once(Sabotage::None, true);
}

#[test]
#[should_panic(expected = "(Lived(true), [(100, 1)])")]
fn twin_without_release_a_task_is_done_twice() {
    a_task_is_done_once(Sabotage::NoRelease, true);
}

/// A mortal thread takes and dies; another gets the item plainly, and takes what is left.
fn an_item_is_got_or_an_orphan(repairing: bool) {
    every_death(move |step| {
        let shared = Shared::new(1, 1);
        let mortal = spawn(&shared, mortal(step), |shared| shared.look().is_some());
        let got = lived(Life::long(2).run(|| shared.get_by(repairing)));
        let mortal = mortal.join().unwrap();
        let (again, unfinished) = lived(Life::long(3).run(|| {
            let again = shared.get_by(repairing);
            (again, shared.unfinished())
        }));
        let tasks = lived(Life::long(4).run(|| shared.finish_all()));
        assert_eq!(unfinished, 1, "got and not done, or taken, or in the ring");
        match (got.or(again), tasks.as_slice()) {
            // The thread that ends with a task has died with it.
            (None, [(100, 2)]) => assert!(mortal != Outcome::Lived(false)),
            (Some(100), []) => assert!(mortal != Outcome::Lived(true)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_item_is_got_or_an_orphan_and_never_both() {
    an_item_is_got_or_an_orphan(true);
}

#[test]
#[should_panic(expected = "got and not done")]
fn twin_without_repair_an_item_is_got_and_an_orphan() {
    an_item_is_got_or_an_orphan(false);
}

#[test]
fn a_task_that_is_given_up_comes_again_though_its_holder_is_killed() {
    every_death(|step| {
        let shared = Shared::new(1, 1);
        let mortal = spawn(&shared, mortal(step), |shared| {
            let taken = shared.look();
            taken.map(|(taken, _)| shared.tasks().give_up(taken)).is_some()
        });
        let mut done = lived(Life::long(2).run(|| shared.finish_all()));
        let mortal = mortal.join().unwrap();
        done.extend(lived(Life::long(3).run(|| shared.finish_all())));
        match (mortal, done.as_slice()) {
            (Outcome::Lived(took), [(100, attempt)]) => assert_eq!(*attempt, 1 + u32::from(took)),
            (Outcome::Died, [(100, 1 | 2)]) => {}
            other => panic!("{other:?}"),
        }
    });
}

/// Two takers and room for one task: the second waits for the first, and is woken.
fn a_full_table_goes_on(sabotage: Sabotage) {
    every_death_with(sabotage, |_| {
        let shared = Shared::new(2, 1);
        let take = |shared: &Shared| {
            let (taken, item) = shared.take().unwrap();
            assert!(shared.tasks().finish(taken));
            item
        };
        let other = spawn(&shared, Life::long(1), take);
        let one = lived(Life::long(2).run(|| take(&shared)));
        assert_eq!(one + lived(other.join().unwrap()), 201);
    });
}

#[test]
fn a_taker_that_waits_for_room_in_the_table_is_woken() {
    a_full_table_goes_on(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_a_full_table_stays_full() {
    a_full_table_goes_on(Sabotage::NoWake);
}

/// A joiner sleeps; the items are done by a taker, and by a getter that calls `task_done`.
fn join_ends(sabotage: Sabotage) {
    every_death_with(sabotage, |_| {
        let shared = Shared::new(2, 1);
        let joiner = spawn(&shared, Life::long(1), |shared| shared.join());
        let _ = Life::long(2).run(|| {
            assert_eq!(shared.get(), Some(100));
            let (taken, item) = shared.look().unwrap();
            assert_eq!((item, shared.tasks().task_done()), (101, Ok(true)));
            assert!(shared.tasks().finish(taken));
        });
        assert_eq!(joiner.join().unwrap(), Outcome::Lived(()));
    });
}

#[test]
fn the_last_task_done_wakes_a_joiner() {
    join_ends(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_a_joiner_sleeps() {
    join_ends(Sabotage::NoWake);
}

/// Somebody joins, or sleeps already, while a survivor finishes the task of a dead holder, which wakes the joiner. What it sees
/// while a task changes hands says the model below.
#[test]
fn join_waits_for_the_task_of_a_dead_holder() {
    every_death(|step| {
        let shared = Shared::new(1, 1);
        let _ = mortal(step).run(|| shared.look().is_some());
        let joiner = spawn(&shared, Life::long(2), |shared| {
            shared.join();
            shared.finishing.load(Ordering::Relaxed)
        });
        let _ = Life::long(3).run(|| {
            let (taken, item) = shared.look().unwrap();
            assert_eq!(item, 100);
            shared.finish(taken);
        });
        assert_eq!(joiner.join().unwrap(), Outcome::Lived(true), "joined before the task was done");
    });
}

/// While a task changes hands, whoever asks sees it unfinished.
#[test]
fn unfinished_is_one_wherever_the_item_is() {
    every_death(|step| {
        let shared = Shared::new(1, 1);
        let taker = spawn(&shared, mortal(step), |shared| {
            let taken = shared.look();
            taken.map(|(taken, _)| shared.tasks().give_up(taken)).is_some()
        });
        for _ in 0..2 {
            assert_eq!(Life::long(2).run(|| shared.unfinished()), Outcome::Lived(1));
        }
        let _ = taker.join().unwrap();
        assert_eq!(Life::long(3).run(|| shared.unfinished()), Outcome::Lived(1));
    });
}

#[test]
fn one_get_is_done_once_by_two_that_say_so() {
    every_death(|step| {
        let shared = Shared::new(1, 1);
        assert_eq!(lived(Life::long(9).run(|| shared.get())), Some(100));
        let other = spawn(&shared, mortal(step), |shared| shared.tasks().task_done().unwrap());
        let one = lived(Life::long(2).run(|| shared.tasks().task_done().unwrap()));
        let other = other.join().unwrap();
        let again = lived(Life::long(3).run(|| shared.tasks().task_done().unwrap()));
        let times = u32::from(one) + u32::from(other == Outcome::Lived(true)) + u32::from(again);
        assert!(times == 1 || (times == 0 && other == Outcome::Died), "{times}");
        assert_eq!(Life::long(4).run(|| shared.unfinished()), Outcome::Lived(0));
    });
}

/// A task that was taken as often as it may be is found by two, one of whom may die at any step.
#[test]
fn an_exhausted_task_becomes_a_dead_letter_once() {
    every_death(|step| {
        let shared = Shared::new(1, 1);
        shared.raw.set_limits(1, 1);
        lived(Life::long(9).run(|| shared.tasks().give_up(shared.look().unwrap().0)));
        let mortal = spawn(&shared, mortal(step), |shared| shared.look().is_none());
        let beside = lived(Life::long(2).run(|| shared.look().is_none()));
        assert!(beside && mortal.join().unwrap() != Outcome::Lived(false), "taken once too often");
        let (letters, unfinished) = lived(Life::long(3).run(|| {
            let letters = shared.consume(|tasks, consuming, _| tasks.dead_letters(consuming)).unwrap().0;
            (letters, shared.unfinished())
        }));
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert_eq!((letter.number, letter.attempts, unfinished), (0, 1, 0));
        assert_eq!(letter.payload, 100_u64.to_le_bytes());
    });
}

/// A joiner sleeps while a task is given up for the last time: nobody takes any more, so it has to see to it itself.
fn join_ends_with_a_dead_letter(sabotage: Sabotage) {
    every_death_with(sabotage, |_| {
        let shared = Shared::new(1, 1);
        shared.raw.set_limits(1, 1);
        let joiner = spawn(&shared, Life::long(1), |shared| shared.join());
        // A deadlock ends it in the middle.
        let _ = Life::long(2).run(|| shared.tasks().give_up(shared.look().unwrap().0));
        assert_eq!(joiner.join().unwrap(), Outcome::Lived(()));
    });
}

#[test]
fn a_task_given_up_for_the_last_time_wakes_a_joiner() {
    join_ends_with_a_dead_letter(Sabotage::None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_the_wake_a_joiner_sleeps_beside_an_exhausted_task() {
    join_ends_with_a_dead_letter(Sabotage::NoWake);
}
