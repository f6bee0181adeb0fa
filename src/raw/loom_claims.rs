//! Loom models of [`Claims`]: each task has one result, or is lost once with its worker, or was withdrawn and never begun,
//! wherever a worker dies. The ring of tasks is the real one; a result is the one store that commits it.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread::{self, JoinHandle};

use super::claims::{Claims, SEAT, Words, id_of};
use super::ring::{Attempt, read};
use super::{RawRing, RingShape, Wait};
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, every_death};

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A word is compared, and then swapped.
    Torn,
    /// A worker says what it has in its hand when the task has left the ring.
    LateHand,
}

struct Memory {
    words: Vec<AtomicU64>,
    fault: Fault,
}

impl Words for Memory {
    fn load(&self, index: usize) -> Option<u64> {
        Some(self.words[index].load(Ordering::SeqCst))
    }

    fn store(&self, index: usize, value: u64) {
        self.words[index].store(value, Ordering::Release);
    }

    fn change(&self, index: usize, current: u64, new: u64) -> bool {
        let word = &self.words[index];
        if self.fault == Fault::Torn {
            let is_current = word.load(Ordering::SeqCst) == current;
            if is_current {
                word.store(new, Ordering::SeqCst);
            }
            return is_current;
        }
        word.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

const ID: u64 = 1 << 32;

struct Shared {
    ring: RawRing,
    slots: Vec<AtomicU64>,
    claims: Memory,
    seats: Memory,
    /// Of the only task.
    results: AtomicU64,
}

impl Shared {
    /// With one task in the ring, and two workers.
    fn new(fault: Fault) -> Arc<Self> {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let memory = |count| Memory { words: words(count), fault };
        let shared = Arc::new(Self {
            ring: RawRing::new(1),
            slots: words(shape().words()),
            claims: memory(1),
            seats: memory(2 * SEAT),
            results: AtomicU64::new(0),
        });
        let offer = || {
            assert_eq!(id_of(0, 1), ID);
            shared.claims().offer(ID);
            let ring = shared.ring.with_words(shape(), &shared.slots).unwrap();
            // SAFETY: the models keep the ring until all threads have ended.
            unsafe { ring.put(&ID.to_le_bytes(), None) }.unwrap();
        };
        assert_eq!(Life::long(9).run(offer), Outcome::Lived(()));
        shared
    }

    fn claims(&self) -> Claims<'_, Memory> {
        Claims { claims: &self.claims, seats: &self.seats }
    }

    /// As a worker's step: does the task if it is in the ring.
    fn work(&self, seat: u32) {
        let ring = self.ring.with_words(shape(), &self.slots).unwrap();
        let mut bytes = Vec::new();
        let is_late = self.claims.fault == Fault::LateHand;
        // SAFETY: as in `new`.
        let taken = unsafe {
            ring.consume(
                Wait::Until(None),
                || false,
                |consuming| {
                    let attempt = consuming.get_by(|front| {
                        read(front.payload, front.length, &mut bytes);
                        if !is_late {
                            self.claims().set_in_hand(seat, Some(ID));
                        }
                    })?;
                    Ok(Attempt::Done(matches!(attempt, Attempt::Done(()))))
                },
            )
        };
        if !taken.unwrap() {
            return;
        }
        assert_eq!(bytes, ID.to_le_bytes());
        if is_late {
            self.claims().set_in_hand(seat, Some(ID));
        }
        if self.claims().begin(ID, seat) {
            self.results.fetch_add(1, Ordering::SeqCst);
        }
        self.claims().set_in_hand(seat, None);
    }

    fn results(&self) -> u64 {
        self.results.load(Ordering::SeqCst)
    }

    /// As the pool does when it has seen that a worker has ended; whether the task fails.
    fn bury(&self, seat: u32) -> bool {
        let is_done = self.results() > 0;
        let lost = self.claims().lost(seat);
        lost == Some(ID) && !is_done
    }
}

fn shape() -> RingShape {
    RingShape::fixed(1, 8).unwrap()
}

fn spawn(shared: &Arc<Shared>, life: Life, seat: u32) -> JoinHandle<Outcome<()>> {
    let shared = shared.clone();
    thread::spawn(move || life.run(|| shared.work(seat)))
}

fn lived<R>(outcome: Outcome<R>) -> R {
    match outcome {
        Outcome::Lived(result) => result,
        Outcome::Died => panic!("nobody killed it"),
    }
}

/// A worker dies; while the pool sees to what it had, another one works.
fn a_task_is_done_or_lost_once(fault: Fault) {
    every_death(move |step| {
        let shared = Shared::new(fault);
        let mortal = spawn(&shared, Life { tid: 1, dies_after: Some(step) }, 0);
        let died = mortal.join().unwrap() == Outcome::Died;
        let survivor = spawn(&shared, Life::long(2), 1);
        let lost = lived(Life::long(3).run(|| died && shared.bury(0)));
        lived(survivor.join().unwrap());
        // What the survivor did not find in the ring, nobody has.
        let results = lived(Life::long(4).run(|| {
            shared.work(1);
            shared.results()
        }));
        assert_eq!(results + u64::from(lost), 1, "results and losses");
    });
}

/// Two workers at once, one of whom dies, and then the pool sees to it.
fn a_task_has_one_of_two_workers(fault: Fault) {
    every_death(move |step| {
        let shared = Shared::new(fault);
        let mortal = spawn(&shared, Life { tid: 1, dies_after: Some(step) }, 0);
        lived(Life::long(2).run(|| shared.work(1)));
        let died = mortal.join().unwrap() == Outcome::Died;
        let (lost, results) = lived(Life::long(3).run(|| {
            let lost = died && shared.bury(0);
            shared.work(1);
            (lost, shared.results())
        }));
        assert_eq!(results + u64::from(lost), 1, "results and losses");
    });
}

/// A caller withdraws a task while a worker that may die takes it.
fn a_withdrawn_task_is_never_done(fault: Fault) {
    every_death(move |step| {
        let shared = Shared::new(fault);
        let mortal = spawn(&shared, Life { tid: 1, dies_after: Some(step) }, 0);
        let is_withdrawn = lived(Life::long(2).run(|| shared.claims().withdraw(ID)));
        let died = mortal.join().unwrap() == Outcome::Died;
        let (lost, results) = lived(Life::long(3).run(|| {
            // What a caller has withdrawn fails once, with the caller.
            let lost = died && shared.bury(0) && !is_withdrawn;
            shared.work(1);
            (lost, shared.results())
        }));
        assert_eq!(results + u64::from(lost) + u64::from(is_withdrawn), 1, "results, losses and withdrawals");
    });
}

#[test]
fn a_killed_workers_task_is_done_or_lost_once() {
    a_task_is_done_or_lost_once(Fault::None);
}

#[test]
#[should_panic(expected = "results and losses")]
fn twin_with_torn_claims_a_lost_task_is_done() {
    a_task_is_done_or_lost_once(Fault::Torn);
}

#[test]
fn a_task_taken_beside_a_dying_worker_is_done_or_lost_once() {
    a_task_has_one_of_two_workers(Fault::None);
}

#[test]
#[should_panic(expected = "results and losses")]
fn twin_with_a_late_hand_a_task_is_neither_done_nor_lost() {
    a_task_has_one_of_two_workers(Fault::LateHand);
}

#[test]
fn a_task_is_withdrawn_or_done_or_lost() {
    a_withdrawn_task_is_never_done(Fault::None);
}

#[test]
#[should_panic(expected = "results, losses and withdrawals")]
fn twin_with_torn_claims_a_withdrawn_task_is_done() {
    a_withdrawn_task_is_never_done(Fault::Torn);
}
