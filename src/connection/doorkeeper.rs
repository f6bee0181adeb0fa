//! [`Doorkeeper`]: the thread of a listener, which greets its clients.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt::set_tcp_nodelay};

use super::authentication_error::AuthenticationError;
use super::error::ConnectionError;
use super::greeting::Greeting;
use super::handshake::Role;
use super::listener::Door;
use crate::sys::{Deadline, poll};

/// How long a handshake may take, unless its listener says otherwise.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients that are greeted at once. Of more, the one that has been here longest is turned away.
const GREETED: usize = 256;
/// How long nobody is let in when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(20);

/// The thread of a listener.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    door: Arc<Door>,
    /// In the order in which they came.
    greetings: VecDeque<(Greeting, Option<Deadline>)>,
    /// Until when nobody is let in.
    paused: Option<Deadline>,
}

impl Doorkeeper {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door, greetings: VecDeque::new(), paused: None }
    }

    /// Greets clients until the listener is closed.
    pub(super) fn run(mut self) {
        while !self.door.is_closing() {
            let mut fds: Vec<(BorrowedFd<'_>, PollFlags)> = vec![(self.door.wake.as_fd(), PollFlags::IN)];
            fds.extend(self.greetings.iter().map(|(greeting, _)| (greeting.socket(), PollFlags::IN)));
            let lets_in = self.paused.is_none() && !self.door.is_full();
            if lets_in {
                fds.push((self.door.socket.as_fd(), PollFlags::IN));
            }
            let ready = poll::wait_for_all(&fds, self.next_moment());
            let client_place = self.greetings.len() + 1;
            let Ok(ready) = ready else {
                // No memory: what has come is looked at all the same.
                std::thread::sleep(PAUSE);
                continue;
            };
            if ready.first() == Some(&0) {
                // Nothing else reads it, and nothing counts how often.
                let _ = rustix::io::read(&self.door.wake, &mut [0; 8]);
            }
            self.advance(&ready);
            if ready.last() == Some(&client_place) {
                self.let_in();
            }
            self.paused = self.paused.filter(|pause| !pause.has_passed());
        }
    }

    /// When there is something to do even if nobody says anything.
    fn next_moment(&self) -> Option<Deadline> {
        let first = self.greetings.front().and_then(|(_, deadline)| *deadline);
        [first, self.paused].into_iter().flatten().min()
    }

    /// Goes on with the clients at these places, and turns those away whose time is over.
    fn advance(&mut self, ready: &[usize]) {
        let door = &self.door;
        let greetings = std::mem::take(&mut self.greetings);
        for (place, (mut greeting, deadline)) in (1..).zip(greetings) {
            let advanced = if ready.binary_search(&place).is_ok() { greeting.advance() } else { Ok(false) };
            match advanced {
                Ok(true) => {
                    // One that the process has no room for is closed: its client sees that.
                    let _ = greeting.into_connection().map(|connection| door.put(Ok(connection)));
                }
                Ok(false) if deadline.is_some_and(Deadline::has_passed) => {
                    if door.options.reports_silent {
                        door.put(Err(AuthenticationError::Silent));
                    }
                }
                Ok(false) => self.greetings.push_back((greeting, deadline)),
                Err(error) => report(door, error),
            }
        }
    }

    /// Greets whoever has come.
    fn let_in(&mut self) {
        for _ in 0..GREETED {
            match accept_with(&self.door.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => self.greet(socket),
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.paused = Deadline::after(PAUSE);
                    return;
                }
                // This one has gone again: the next.
                Err(_) => {}
            }
        }
    }

    fn greet(&mut self, socket: OwnedFd) {
        // Fails on Unix sockets, which don't wait for more to send.
        let _ = set_tcp_nodelay(&socket, true);
        match Greeting::begin(socket, Role::Listener, self.door.options.key.clone()) {
            Ok(greeting) => {
                if self.greetings.len() == GREETED {
                    self.greetings.pop_front();
                }
                self.greetings.push_back((greeting, Deadline::after(self.door.options.handshake_timeout)));
            }
            Err(error) => report(&self.door, error),
        }
    }
}

/// Tells who accepts why a client was turned away. That one has hung up is no news.
fn report(door: &Door, error: ConnectionError) {
    match error {
        ConnectionError::Authentication(AuthenticationError::HungUp) => {}
        ConnectionError::Authentication(why) => door.put(Err(why)),
        // The system refuses to talk to it.
        _ => {}
    }
}
