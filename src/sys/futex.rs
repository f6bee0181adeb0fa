//! Futex system calls on words that processes share (never `FUTEX_PRIVATE_FLAG`).
//!
//! # References
//! futex(2); `FUTEX_WAKE_OP` changes a word and wakes its sleepers in one system call, so that no SIGKILL can come
//! between the two.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::thread::futex::{self, Flags, WakeOp, WakeOpCmp};

use super::Deadline;

/// "Wake everybody."
pub(crate) const ALL: u32 = i32::MAX as u32;

/// A comparison that is false for every value that a word of ours takes: `FUTEX_WAKE_OP` wakes extra sleepers when it is true.
const NEVER: (WakeOpCmp, u16) = (WakeOpCmp::Eq, 0xfff); // sign-extended: u32::MAX

const _: () = assert!(cfg!(target_endian = "little"), "the low half of a 64-bit word comes first");

/// What can be slept on: a 32-bit word, or the low half of a 64-bit one.
pub(crate) trait Futex {
    /// The word that the kernel looks at. For the kernel only: the program accesses `self`.
    fn word(&self) -> &AtomicU32;
}

impl Futex for AtomicU32 {
    #[inline]
    fn word(&self) -> &AtomicU32 {
        self
    }
}

impl Futex for AtomicU64 {
    #[inline]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the low half comes first, is aligned, lives as long as the whole, and only the kernel accesses it as a
        // word of its own.
        unsafe { &*(&raw const *self).cast::<AtomicU32>() }
    }
}

/// The change that [`wake_op`] makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Store a value of up to 11 bits.
    Set(u16),
    /// Set bits among the lowest 11.
    Or(u16),
    /// Add a value of up to 11 bits, wrapping around.
    Add(u16),
    /// Clear the bit of this number, of 0 to 31.
    ClearBit(u16),
}

/// Sleeps while `*word == expected`, until woken, or until `deadline`. May return early for no reason.
pub(crate) fn wait(word: &impl Futex, expected: u32, deadline: Option<Deadline>) {
    let deadline = deadline.map(Deadline::timespec);
    // Every outcome (woken, value changed, timed out, interrupted) means the same to a caller: look again.
    let _ = futex::wait_bitset(
        word.word(),
        Flags::empty(),
        expected,
        deadline.as_ref(),
        core::num::NonZeroU32::MAX,
    );
}

/// Wakes up to `count` sleepers and says how many there were.
pub(crate) fn wake(word: &impl Futex, count: u32) -> usize {
    futex::wake(word.word(), Flags::empty(), count).unwrap_or(0)
}

/// Changes the word and wakes up to `count` of its sleepers, in one system call. A full barrier.
pub(crate) fn wake_op(word: &impl Futex, change: Change, count: u32) {
    let (op, arg) = match change {
        Change::Set(value) => (WakeOp::Set, value),
        Change::Or(bits) => (WakeOp::Or, bits),
        Change::Add(value) => (WakeOp::Add, value),
        Change::ClearBit(bit) => (WakeOp::AndNShift, bit),
    };
    let (cmp, cmp_arg) = NEVER;
    let word = word.word();
    let done = futex::wake_op(word, Flags::empty(), count, 0, word, op, cmp, arg, cmp_arg);
    debug_assert!(done.is_ok(), "FUTEX_WAKE_OP: {done:?}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    fn changed(value: u32, change: Change) -> u32 {
        let word = AtomicU32::new(value);
        wake_op(&word, change, ALL);
        word.load(Relaxed)
    }

    #[test]
    fn wake_op_changes_the_word() {
        assert_eq!(changed(5, Change::Set(0x7ff)), 0x7ff);
        assert_eq!(changed(5, Change::Or(2)), 7);
        assert_eq!(changed(u32::MAX - 1, Change::Add(3)), 1);
        assert_eq!(changed(0xc000_0000, Change::ClearBit(31)), 0x4000_0000);
        assert_eq!(changed(3, Change::ClearBit(0)), 2);
    }

    #[test]
    fn the_futex_of_a_wide_word_is_its_low_half() {
        let word = AtomicU64::new(7 << 32 | 1 << 31);
        wake_op(&word, Change::ClearBit(31), 1);
        assert_eq!(word.load(Relaxed), 7 << 32);
    }
}
