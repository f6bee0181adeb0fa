//! [`Mailbox`]: one message at a time, from one sender to one receiver, past the socket between them.
//!
//! A receiver looks at its mailbox, or sleeps on it, but never for long: the socket is where both stay that have nothing to do,
//! and where each learns of the other's end. What the mailbox saves is the socket: a message to a receiver that looks is
//! without a system call, and one to a receiver that sleeps takes a wake-up by futex. The message lies beside the word.
//!
//! ```text
//! word         the sender                                     the receiver
//! AWAY         sends by the socket                            opens: LOOKING or ASLEEP; or reads the socket
//! LOOKING      writes the message, then LOADED; or sends      has looked long enough: ASLEEP; or AWAY, then reads the
//!              by the socket, then ELSEWHERE                  socket
//! ASLEEP       as for LOOKING, and then wakes                 sleeps; has slept long enough: AWAY, then reads the socket
//! LOADED       takes it back: AWAY                            copies the message, then AWAY: taken
//! ELSEWHERE    sends by the socket                            AWAY, then reads the socket
//! ```
//! The length of the message is in the upper half of the word beside LOADED; the lower half is the futex. A receiver says
//! ASLEEP when it is about to sleep: who wakes one that does not sleep yet keeps it from sleeping.
//!
//! **Process death.** A sender killed before LOADED has sent nothing, and the receiver goes to the socket, where the end is, at
//! once or when it has slept long enough. One killed between LOADED or ELSEWHERE and the wake-up: likewise, and the receiver
//! finds what was sent. A receiver killed before it took the message leaves it LOADED: the sender, who learns of the end at the
//! socket, takes it back, and knows that nobody else has it. One that can't be taken back was taken.
//!
//! **Order** is the users' to keep: a sender posts only when the receiver has answered all it sent before, and a receiver opens
//! only while the sender has something to answer or waits for an answer. Then a message by the mailbox is never ahead of one by
//! the socket. A receiver to which more may have come by the socket meanwhile reads that when it has opened and before it
//! sleeps: what comes there later is announced. ELSEWHERE says nothing else: one that is for nothing sends the receiver to the
//! socket, to which everything then comes.
//!
//! **Ordering.** (M1) LOADED Release -> the receiver's Acquire: the message. (M2) LOOKING or ASLEEP Release -> the sender's
//! Acquire: the message before has been copied. (M3) ASLEEP, a SeqCst fence, then a look whether all is over; or what is over,
//! a SeqCst fence, then a look at the word: the receiver does not sleep, or is rung.

use core::sync::atomic::Ordering;

use crate::sys::Deadline;
use crate::sys::atomic::{AtomicU64, fence};
use crate::sys::futex::{self, Half};

const AWAY: u64 = 0;
const LOOKING: u64 = 1;
const LOADED: u64 = 2;
const ELSEWHERE: u64 = 3;
const ASLEEP: u64 = 4;
/// The same to the kernel.
const ASLEEP_LOW: u32 = 4;
/// What of the word is not the length.
const STATE: u64 = 0xffff_ffff;

/// What a receiver finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// A message of so many bytes, which is to be copied and then [taken](Mailbox::take).
    Message(u32),
    /// What comes comes by the socket.
    Elsewhere,
    /// No word of ours.
    Corrupt,
}

/// A place for a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mailbox<'a> {
    pub(crate) word: &'a AtomicU64,
}

impl Mailbox<'_> {
    /// Posts a message of `length` bytes, which `write` writes, if the receiver looks or sleeps here.
    pub(crate) fn post(self, length: u32, write: impl FnOnce()) -> bool {
        // SYNC: Acquire <- `open`'s Release: the message before has been copied (M2).
        let word = self.word.load(Ordering::Acquire);
        if word != LOOKING && word != ASLEEP {
            return false;
        }
        write();
        self.tell(word, u64::from(length).wrapping_shl(u32::BITS) | LOADED)
    }

    /// A message was sent by the socket.
    pub(crate) fn announce(self) {
        // Relaxed: the message's order is the socket's. Who opened before it looked there is seen, as the socket's lock is
        // between.
        let word = self.word.load(Ordering::Relaxed);
        if word == LOOKING || word == ASLEEP {
            let _ = self.tell(word, ELSEWHERE);
        }
    }

    /// All is over, which was made known before: the receiver goes to the socket.
    pub(crate) fn ring(self) {
        // SYNC: SeqCst fence, as `fall_asleep`'s: one of the two sees the other (M3).
        fence(Ordering::SeqCst);
        self.announce();
    }

    /// Has `word`, of a receiver that looks or sleeps, be `news`, and wakes one that sleeps; `false` if it does neither any more.
    fn tell(self, word: u64, news: u64) -> bool {
        // SYNC: Release -> `look`'s and `close`'s Acquire: publishes the message (M1).
        let mut told = self.word.compare_exchange(word, news, Ordering::Release, Ordering::Relaxed);
        if word == LOOKING && told == Err(ASLEEP) {
            // It has just fallen asleep, and does not look again before it has been woken.
            // SYNC: Release -> as above.
            told = self.word.compare_exchange(ASLEEP, news, Ordering::Release, Ordering::Relaxed);
        }
        if told == Ok(ASLEEP) {
            let _ = futex::wake(futex::half(self.word, Half::Low), 1);
        }
        told.is_ok()
    }

    /// Takes a posted message back, when the socket has ended; whether it was there still, and nobody has it.
    pub(crate) fn retract(self) -> bool {
        // Relaxed, both: the message is the sender's own.
        let word = self.word.load(Ordering::Relaxed);
        word & STATE == LOADED
            && self.word.compare_exchange(word, AWAY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// From here on the receiver looks, or will sleep without a look.
    pub(crate) fn open(self, looks: bool) {
        // SYNC: Release -> `post`'s Acquire: the message before has been copied (M2).
        self.word.store(if looks { LOOKING } else { ASLEEP }, Ordering::Release);
    }

    /// Looks for a message.
    pub(crate) fn look(self) -> Found {
        // SYNC: Acquire <- `tell`'s Release: the message (M1).
        found(self.word.load(Ordering::Acquire))
    }

    /// The receiver is about to sleep, unless there is something. What it then looks at, was not over before it could be rung.
    pub(crate) fn fall_asleep(self) {
        // SYNC: Release -> `post`'s Acquire: as in `open` (M2). Relaxed otherwise: it sleeps already, or does not.
        let _ = self.word.compare_exchange(LOOKING, ASLEEP, Ordering::Release, Ordering::Relaxed);
        // SYNC: SeqCst fence, as `ring`'s: one of the two sees the other (M3).
        fence(Ordering::SeqCst);
    }

    /// Sleeps until there is something, or until `deadline`; sometimes less, for no reason.
    pub(crate) fn sleep(self, deadline: Option<Deadline>) {
        futex::wait(futex::half(self.word, Half::Low), ASLEEP_LOW, deadline);
    }

    /// The receiver looks and sleeps here no more, unless there is something.
    pub(crate) fn close(self) -> Found {
        // SYNC: Acquire, both <- `tell`'s Release: the message (M1), if there is one. Relaxed otherwise: going away moves nothing.
        let mut word = self.word.load(Ordering::Acquire);
        if word == LOOKING || word == ASLEEP {
            match self.word.compare_exchange(word, AWAY, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return Found::Elsewhere,
                Err(now) => word = now,
            }
        }
        if word == ELSEWHERE {
            // Relaxed: as above.
            self.word.store(AWAY, Ordering::Relaxed);
        }
        found(word)
    }

    /// A message that was found has been copied; `false` if its sender has taken it back.
    pub(crate) fn take(self, length: u32) -> bool {
        let loaded = u64::from(length).wrapping_shl(u32::BITS) | LOADED;
        // Relaxed: the sender writes the next one when it has seen `open`'s Release.
        self.word.compare_exchange(loaded, AWAY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn found(word: u64) -> Found {
    let length = u32::try_from(word.wrapping_shr(u32::BITS)).unwrap_or(u32::MAX);
    match (word & STATE, length) {
        (LOOKING | ASLEEP, 0) => Found::Nothing,
        (LOADED, length) => Found::Message(length),
        (AWAY | ELSEWHERE, 0) => Found::Elsewhere,
        _ => Found::Corrupt,
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_to_a_receiver_that_looks_and_to_no_other() {
        let word = AtomicU64::new(0);
        let mailbox = Mailbox { word: &word };
        assert!(!mailbox.post(7, || panic!("nobody looks")));
        assert_eq!(mailbox.look(), Found::Elsewhere);
        mailbox.open(true);
        assert_eq!(mailbox.look(), Found::Nothing);
        assert!(mailbox.post(7, || {}));
        assert!(!mailbox.post(8, || panic!("there is one already")));
        assert_eq!((mailbox.look(), mailbox.close()), (Found::Message(7), Found::Message(7)));
        assert!(mailbox.take(7) && !mailbox.take(7));
        assert_eq!(mailbox.close(), Found::Elsewhere);
    }

    #[test]
    fn a_message_wakes_a_receiver_that_sleeps() {
        let word = AtomicU64::new(0);
        let mailbox = Mailbox { word: &word };
        std::thread::scope(|scope| {
            for looks in [true, false] {
                mailbox.open(looks);
                let receiver = scope.spawn(move || {
                    mailbox.fall_asleep();
                    // No slice: only a wake-up ends it, or what came before it.
                    while mailbox.look() == Found::Nothing {
                        mailbox.sleep(None);
                    }
                    assert_eq!(mailbox.close(), Found::Message(7));
                    assert!(mailbox.take(7));
                });
                assert!(mailbox.post(7, || {}));
                assert!(receiver.join().is_ok());
                mailbox.open(looks);
                let receiver = scope.spawn(move || {
                    mailbox.fall_asleep();
                    while mailbox.look() == Found::Nothing {
                        mailbox.sleep(None);
                    }
                    assert_eq!(mailbox.close(), Found::Elsewhere);
                });
                mailbox.ring();
                assert!(receiver.join().is_ok());
            }
        });
    }

    #[test]
    fn who_has_slept_long_enough_goes_to_the_socket() {
        let word = AtomicU64::new(0);
        let mailbox = Mailbox { word: &word };
        mailbox.open(true);
        mailbox.fall_asleep();
        assert_eq!((word.load(Ordering::Relaxed), mailbox.look()), (ASLEEP, Found::Nothing));
        mailbox.sleep(Some(Deadline::now()));
        assert_eq!(mailbox.close(), Found::Elsewhere);
        assert!(!mailbox.post(7, || panic!("it has gone")));
    }

    #[test]
    fn a_message_is_taken_or_taken_back() {
        let word = AtomicU64::new(0);
        let mailbox = Mailbox { word: &word };
        mailbox.open(true);
        assert!(!mailbox.retract());
        assert!(mailbox.post(u32::MAX, || {}));
        assert_eq!(mailbox.look(), Found::Message(u32::MAX));
        assert!(mailbox.retract() && !mailbox.retract());
        assert!(!mailbox.take(u32::MAX));
    }

    #[test]
    fn an_announcement_sends_the_receiver_to_the_socket() {
        let word = AtomicU64::new(0);
        let mailbox = Mailbox { word: &word };
        mailbox.announce();
        assert_eq!(mailbox.look(), Found::Elsewhere);
        mailbox.open(true);
        mailbox.announce();
        assert!(!mailbox.post(1, || panic!("it goes to the socket")));
        assert_eq!((mailbox.look(), mailbox.close()), (Found::Elsewhere, Found::Elsewhere));
        assert_eq!(word.load(Ordering::Relaxed), AWAY);
    }

    #[test]
    fn any_other_word_is_corrupt() {
        for word in [5, u64::MAX, 1 << 32, 1 << 32 | LOOKING, 1 << 32 | ELSEWHERE, 1 << 32 | ASLEEP] {
            let word = AtomicU64::new(word);
            let mailbox = Mailbox { word: &word };
            assert_eq!((mailbox.look(), mailbox.close()), (Found::Corrupt, Found::Corrupt));
            assert!(!mailbox.post(1, || panic!("nobody looks")) && !mailbox.retract());
        }
    }
}
