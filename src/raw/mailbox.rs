//! [`Mailbox`]: one message at a time, from one sender to one receiver, past the socket between them while the receiver looks.
//!
//! The socket is where both sleep, and learn of each other's end; nobody ever sleeps on the mailbox. What it saves is the system
//! calls and the wake-up of a message to a receiver that is awake. The message lies beside the word.
//!
//! ```text
//! word         the sender                                     the receiver
//! AWAY         sends by the socket                            opens: LOOKING; or reads the socket
//! LOOKING      writes the message, then LOADED; or sends      has looked long enough: AWAY, then reads the socket
//!              by the socket, then ELSEWHERE
//! LOADED       takes it back: AWAY                            copies the message, then AWAY: taken
//! ELSEWHERE    sends by the socket                            AWAY, then reads the socket
//! ```
//! The length of the message is in the upper half of the word beside LOADED.
//!
//! **Process death.** A sender killed before LOADED has sent nothing, and the receiver goes to the socket, where the end is. A
//! receiver killed before it took the message leaves it LOADED: the sender, who learns of the end at the socket, takes it back, and
//! knows that nobody else has it. One that can't be taken back was taken.
//!
//! **Order** is the users' to keep: a sender posts only when the receiver has answered all it sent before, and a receiver opens only
//! while the sender has something to answer or waits for an answer. Then a message by the mailbox is never ahead of one
//! by the socket. ELSEWHERE spares the receiver the rest of its looks and says nothing else: one that comes late sends it to the
//! socket, to which everything then comes.
//!
//! **Ordering.** (M1) LOADED Release -> the receiver's Acquire: the message. (M2) LOOKING Release -> the sender's Acquire: the message
//! before has been copied.

use core::sync::atomic::Ordering;

use crate::sys::atomic::AtomicU64;

const AWAY: u64 = 0;
const LOOKING: u64 = 1;
const LOADED: u64 = 2;
const ELSEWHERE: u64 = 3;
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
    /// Posts a message of `length` bytes, which `write` writes, if the receiver looks.
    pub(crate) fn post(self, length: u32, write: impl FnOnce()) -> bool {
        // SYNC: Acquire <- `open`'s Release: the message before has been copied (M2).
        if self.word.load(Ordering::Acquire) != LOOKING {
            return false;
        }
        write();
        let loaded = u64::from(length).wrapping_shl(u32::BITS) | LOADED;
        // SYNC: Release -> `found`'s Acquire: publishes the message (M1).
        self.word.compare_exchange(LOOKING, loaded, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// A message was sent by the socket.
    pub(crate) fn announce(self) {
        // Relaxed: the message's order is the socket's.
        let _ = self.word.compare_exchange(LOOKING, ELSEWHERE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Takes a posted message back, when the socket has ended; whether it was there still, and nobody has it.
    pub(crate) fn retract(self) -> bool {
        // Relaxed, both: the message is the sender's own.
        let word = self.word.load(Ordering::Relaxed);
        word & STATE == LOADED
            && self.word.compare_exchange(word, AWAY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// From here on the receiver looks.
    pub(crate) fn open(self) {
        // SYNC: Release -> `post`'s Acquire: the message before has been copied (M2).
        self.word.store(LOOKING, Ordering::Release);
    }

    /// Looks for a message.
    pub(crate) fn look(self) -> Found {
        // SYNC: Acquire <- `post`'s Release: the message (M1).
        found(self.word.load(Ordering::Acquire))
    }

    /// The receiver looks no more, unless there is something.
    pub(crate) fn close(self) -> Found {
        // SYNC: Acquire <- `post`'s Release: the message (M1), if there is one. Relaxed otherwise: going away moves nothing.
        let closed = self.word.compare_exchange(LOOKING, AWAY, Ordering::Relaxed, Ordering::Acquire);
        let Err(word) = closed else { return Found::Elsewhere };
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
        (LOOKING, 0) => Found::Nothing,
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
        mailbox.open();
        assert_eq!(mailbox.look(), Found::Nothing);
        assert!(mailbox.post(7, || {}));
        assert!(!mailbox.post(8, || panic!("there is one already")));
        assert_eq!((mailbox.look(), mailbox.close()), (Found::Message(7), Found::Message(7)));
        assert!(mailbox.take(7) && !mailbox.take(7));
        assert_eq!(mailbox.close(), Found::Elsewhere);
    }

    #[test]
    fn a_message_is_taken_or_taken_back() {
        let word = AtomicU64::new(0);
        let mailbox = Mailbox { word: &word };
        mailbox.open();
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
        mailbox.open();
        mailbox.announce();
        assert!(!mailbox.post(1, || panic!("it goes to the socket")));
        assert_eq!((mailbox.look(), mailbox.close()), (Found::Elsewhere, Found::Elsewhere));
        assert_eq!(word.load(Ordering::Relaxed), AWAY);
    }

    #[test]
    fn any_other_word_is_corrupt() {
        for word in [4, u64::MAX, 1 << 32, 1 << 32 | LOOKING, 1 << 32 | ELSEWHERE] {
            let word = AtomicU64::new(word);
            let mailbox = Mailbox { word: &word };
            assert_eq!((mailbox.look(), mailbox.close()), (Found::Corrupt, Found::Corrupt));
            assert!(!mailbox.post(1, || panic!("nobody looks")) && !mailbox.retract());
        }
    }
}
