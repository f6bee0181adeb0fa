//! Loom models of [`Mailbox`]: a request and its reply beside a socket. Each question is answered once, whichever way each of
//! the two goes, and whether they look at their mailboxes or sleep there; a client that dies has asked or not; what a server
//! that dies has not taken comes back. Slices are off but after a death.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::VecDeque;
// loom's own can't be dropped after a deadlock, which twins end in.
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::mailbox::{Found, Mailbox};
use crate::sys::Deadline;
use crate::sys::atomic::AtomicU64;
use crate::sys::model::futex::end_slices;
use crate::sys::model::{Life, Outcome, Sabotage, every_death, every_death_with};

/// One direction of a socket.
#[derive(Default)]
struct Socket {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    messages: VecDeque<u64>,
    is_closed: bool,
}

impl Socket {
    fn send(&self, message: u64) {
        self.state.lock().unwrap().messages.push_back(message);
        self.changed.notify_all();
    }

    /// The next message, or the end.
    fn receive(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(message) = state.messages.pop_front() {
                return Some(message);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn is_closed(&self) -> bool {
        self.state.lock().unwrap().is_closed
    }

    fn close(&self) {
        self.state.lock().unwrap().is_closed = true;
        self.changed.notify_all();
    }
}

/// A mailbox and the socket beside it.
struct Way {
    word: AtomicU64,
    message: UnsafeCell<u64>,
    socket: Socket,
}

// SAFETY: the mailbox orders the accesses to the message; loom checks that it does.
unsafe impl Sync for Way {}
// SAFETY: as above.
unsafe impl Send for Way {}

impl Way {
    fn new() -> Self {
        Self { word: AtomicU64::new(0), message: UnsafeCell::new(0), socket: Socket::default() }
    }

    fn mailbox(&self) -> Mailbox<'_> {
        Mailbox { word: &self.word }
    }

    fn post(&self, message: u64) -> bool {
        self.mailbox().post(8, || {
            // SAFETY: the mailbox orders the accesses; loom checks that it does.
            self.message.with_mut(|place| unsafe { *place = message });
        })
    }

    fn message(&self) -> u64 {
        // SAFETY: as for `post`.
        self.message.with(|place| unsafe { *place })
    }

    fn send(&self, message: u64) {
        if !self.post(message) {
            self.socket.send(message);
            self.mailbox().announce();
        }
    }

    /// A look or a sleep, and then the socket.
    fn receive(&self, sleeps: bool) -> Option<u64> {
        if sleeps {
            self.mailbox().fall_asleep();
            if self.mailbox().look() == Found::Nothing {
                // The slice of who falls asleep after the end ends, too.
                self.mailbox().sleep(self.socket.is_closed().then(Deadline::now));
            }
        }
        let found = match self.mailbox().look() {
            Found::Message(length) => Found::Message(length),
            _ => self.mailbox().close(),
        };
        match found {
            Found::Message(length) => {
                assert_eq!(length, 8);
                let message = self.message();
                // Else its sender has taken it back, and there is an end.
                if self.mailbox().take(length) { Some(message) } else { self.socket.receive() }
            }
            Found::Elsewhere => self.socket.receive(),
            Found::Nothing | Found::Corrupt => panic!("no state"),
        }
    }
}

struct Line {
    requests: Way,
    replies: Way,
    /// What the server has answered.
    answered: Mutex<Vec<u64>>,
    /// Whether both sleep at their mailboxes.
    sleeps: bool,
}

impl Line {
    fn new(sleeps: bool) -> Arc<Self> {
        Arc::new(Self { requests: Way::new(), replies: Way::new(), answered: Mutex::default(), sleeps })
    }

    /// The server's thread, until the client has gone.
    fn serve(&self) {
        while let Some(request) = self.requests.receive(self.sleeps) {
            self.answered.lock().unwrap().push(request);
            self.requests.mailbox().open(!self.sleeps);
            self.replies.send(request + 10);
        }
    }

    fn ask(&self, request: u64) -> Option<u64> {
        self.replies.mailbox().open(!self.sleeps);
        self.requests.send(request);
        self.replies.receive(self.sleeps)
    }
}

/// A client asks twice, and dies at some step.
fn questions_are_answered_in_order(sleeps: bool) -> impl Fn(usize) + Send + Sync + 'static {
    move |step| {
        let line = Line::new(sleeps);
        let client = {
            let line = line.clone();
            thread::spawn(move || {
                let life = Life { tid: 1, dies_after: Some(step) };
                let outcome = life.run(|| {
                    assert_eq!(line.ask(1), Some(11), "the first answer");
                    assert_eq!(line.ask(2), Some(12), "the second answer");
                    // It hangs up.
                    line.requests.mailbox().announce();
                });
                // The kernel closes a dead process's sockets.
                line.requests.socket.close();
                if outcome == Outcome::Died {
                    end_slices();
                }
                outcome
            })
        };
        assert_eq!(Life::long(2).run(|| line.serve()), Outcome::Lived(()));
        let outcome = client.join().unwrap();
        let answered = line.answered.lock().unwrap().clone();
        match outcome {
            Outcome::Lived(()) => assert_eq!(answered, [1, 2]),
            Outcome::Died => assert!([1, 2].starts_with(&answered), "{answered:?}"),
        }
    }
}

/// A server dies at some step, and the client takes its question back, or does not.
fn a_question_comes_back_or_was_taken(sleeps: bool) -> impl Fn(usize) + Send + Sync + 'static {
    move |step| {
        let line = Line::new(sleeps);
        let server = {
            let line = line.clone();
            thread::spawn(move || {
                let life = Life { tid: 1, dies_after: Some(step) };
                let outcome = life.run(|| line.serve());
                line.replies.socket.close();
                if outcome == Outcome::Died {
                    end_slices();
                }
                outcome
            })
        };
        let client = Life::long(2).run(|| {
            let first = line.ask(1);
            line.replies.mailbox().open(!line.sleeps);
            let is_posted = line.requests.post(2);
            if !is_posted {
                line.requests.socket.send(2);
                line.requests.mailbox().announce();
            }
            let second = line.replies.receive(line.sleeps);
            let is_back = second.is_none() && is_posted && line.requests.mailbox().retract();
            line.requests.mailbox().announce();
            line.requests.socket.close();
            (first, second, is_back)
        });
        let Outcome::Lived((first, second, is_back)) = client else { panic!("nobody kills it") };
        let outcome = server.join().unwrap();
        let answered = line.answered.lock().unwrap().clone();
        assert!(first.is_none_or(|first| first == 11) && second.is_none_or(|second| second == 12));
        assert!(!(is_back && answered.contains(&2)), "taken, and taken back");
        if outcome == Outcome::Lived(()) {
            assert_eq!((first, second), (Some(11), Some(12)));
        }
    }
}

/// A server that has just opened its mailbox is told that all is over, and goes to the socket, where the end is.
fn a_sleeper_is_rung(looks: bool) -> impl Fn(usize) + Send + Sync + 'static {
    move |_| {
        let line = Line::new(true);
        let is_over = Arc::new(AtomicBool::new(false));
        let server = {
            let (line, is_over) = (line.clone(), is_over.clone());
            thread::spawn(move || {
                Life::long(1).run(|| {
                    let mailbox = line.requests.mailbox();
                    mailbox.open(looks);
                    mailbox.fall_asleep();
                    while mailbox.look() == Found::Nothing && !is_over.load(Ordering::Relaxed) {
                        mailbox.sleep(None);
                    }
                    assert_eq!(mailbox.close(), Found::Elsewhere);
                    line.requests.socket.receive()
                })
            })
        };
        let stopper = Life::long(2).run(|| {
            is_over.store(true, Ordering::Relaxed);
            line.requests.socket.close();
            line.requests.mailbox().ring();
        });
        assert_eq!(stopper, Outcome::Lived(()));
        assert_eq!(server.join().unwrap(), Outcome::Lived(None));
    }
}

#[test]
fn a_killed_client_has_asked_or_not() {
    every_death(questions_are_answered_in_order(false));
}

#[test]
fn a_client_killed_while_both_sleep_has_asked_or_not() {
    every_death(questions_are_answered_in_order(true));
}

#[test]
fn a_killed_servers_question_comes_back_or_was_taken() {
    every_death(a_question_comes_back_or_was_taken(false));
}

#[test]
fn a_sleeping_servers_question_comes_back_or_was_taken() {
    every_death(a_question_comes_back_or_was_taken(true));
}

#[test]
fn a_server_that_ends_is_found_asleep_or_awake() {
    every_death(a_sleeper_is_rung(true));
    every_death(a_sleeper_is_rung(false));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_without_release_a_message_is_read_before_it_is_there() {
    every_death_with(Sabotage::NoRelease, questions_are_answered_in_order(false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_a_wake_a_sleeper_sleeps_on() {
    every_death_with(Sabotage::NoWake, questions_are_answered_in_order(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_a_slice_a_death_is_not_noticed() {
    every_death_with(Sabotage::NoSlice, questions_are_answered_in_order(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_fences_who_is_rung_sleeps() {
    every_death_with(Sabotage::NoFence, a_sleeper_is_rung(false));
}
