//! Loom models of [`Slots`]: a message in a slot is read as it was written, wherever a sender or a receiver dies; a death
//! costs a slot at most. The socket is a queue, whose every step is the kernel's, whole.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::Mutex;
use loom::thread::{self, JoinHandle};

use super::claims::Words;
use super::slots::Slots;
use crate::sys::atomic::AtomicU64;
use crate::sys::model::{Life, Outcome, every_death};

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A word is compared, and then swapped.
    Torn,
    /// A receiver frees a slot before it reads it.
    EarlyFree,
}

struct Memory {
    word: AtomicU64,
    fault: Fault,
}

impl Words for Memory {
    fn load(&self, _: usize) -> Option<u64> {
        Some(self.word.load(Ordering::SeqCst))
    }

    fn store(&self, _: usize, value: u64) {
        self.word.store(value, Ordering::Release);
    }

    fn change(&self, _: usize, current: u64, new: u64) -> bool {
        if self.fault == Fault::Torn {
            let is_current = self.word.load(Ordering::SeqCst) == current;
            if is_current {
                self.word.store(new, Ordering::SeqCst);
            }
            return is_current;
        }
        self.word.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// A message on its way, by its number.
#[derive(Clone, Copy)]
enum Message {
    InSlot(u64),
    Inline(u64),
}

struct Shared {
    words: Memory,
    /// The bytes of the only slot.
    halves: [AtomicU64; 2],
    socket: Mutex<VecDeque<Message>>,
}

impl Shared {
    fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            words: Memory { word: AtomicU64::new(0), fault },
            halves: [AtomicU64::new(0), AtomicU64::new(0)],
            socket: Mutex::new(VecDeque::new()),
        })
    }

    fn send(&self, number: u64) {
        let mut message = Message::Inline(number);
        if (Slots { words: &self.words }).take(0) {
            for half in &self.halves {
                half.store(number, Ordering::Relaxed);
            }
            message = Message::InSlot(number);
        }
        self.socket.lock().unwrap().push_back(message);
    }

    /// Receives a message, if there is one.
    fn receive(&self) -> Option<u64> {
        let message = self.socket.lock().unwrap().pop_front();
        let number = match message? {
            Message::Inline(number) => return Some(number),
            Message::InSlot(number) => number,
        };
        let slots = Slots { words: &self.words };
        let frees_early = self.words.fault == Fault::EarlyFree;
        if frees_early {
            slots.free(0);
        }
        let halves = [0, 1].map(|half: usize| self.halves[half].load(Ordering::Relaxed));
        assert_eq!(halves, [number; 2], "the bytes of a message");
        if !frees_early {
            slots.free(0);
        }
        Some(number)
    }
}

fn spawn(
    shared: &Arc<Shared>,
    life: Life,
    work: impl Fn(&Shared) + Send + 'static,
) -> JoinHandle<Outcome<()>> {
    let shared = shared.clone();
    thread::spawn(move || life.run(|| work(&shared)))
}

fn lived<R>(outcome: Outcome<R>) -> R {
    match outcome {
        Outcome::Lived(result) => result,
        Outcome::Died => panic!("nobody killed it"),
    }
}

/// Two senders, one of whom dies, while somebody receives.
fn what_is_sent_arrives_as_it_was(fault: Fault) {
    every_death(move |step| {
        let shared = Shared::new(fault);
        let mortal = spawn(&shared, Life { tid: 1, dies_after: Some(step) }, |shared| shared.send(1));
        let other = spawn(&shared, Life::long(2), |shared| shared.send(2));
        let first = lived(Life::long(3).run(|| shared.receive()));
        let died = mortal.join().unwrap() == Outcome::Died;
        lived(other.join().unwrap());
        let rest = lived(Life::long(3).run(|| [shared.receive(), shared.receive()]));
        let all: Vec<u64> = [first].into_iter().chain(rest).flatten().collect();
        assert!(all.contains(&2) && (died || all.contains(&1)), "a message that was sent is lost");
        assert_eq!(all.len(), 1 + usize::from(all.contains(&1)), "a message came twice");
    });
}

/// A receiver dies with a message; the others go on.
fn a_killed_receiver_takes_a_message_and_a_slot_at_most(fault: Fault) {
    every_death(move |step| {
        let shared = Shared::new(fault);
        lived(Life::long(2).run(|| shared.send(1)));
        let mortal = spawn(&shared, Life { tid: 1, dies_after: Some(step) }, |shared| drop(shared.receive()));
        let received = lived(Life::long(2).run(|| {
            shared.send(2);
            [shared.receive(), shared.receive()]
        }));
        mortal.join().unwrap();
        let last = lived(Life::long(3).run(|| shared.receive()));
        let all = [received[0], received[1], last];
        assert!(all.contains(&Some(2)) || last.is_none(), "messages out of order");
        lived(Life::long(2).run(|| {
            shared.send(3);
            assert_eq!(shared.receive(), Some(3));
        }));
    });
}

#[test]
fn a_message_in_a_slot_arrives_as_it_was_sent() {
    what_is_sent_arrives_as_it_was(Fault::None);
}

#[test]
#[should_panic(expected = "the bytes of a message")]
fn twin_with_torn_words_two_messages_share_a_slot() {
    what_is_sent_arrives_as_it_was(Fault::Torn);
}

#[test]
#[should_panic(expected = "the bytes of a message")]
fn twin_that_frees_early_a_message_is_written_over() {
    what_is_sent_arrives_as_it_was(Fault::EarlyFree);
}

#[test]
fn a_receiver_killed_with_a_slot_leaves_the_connection_working() {
    a_killed_receiver_takes_a_message_and_a_slot_at_most(Fault::None);
}
