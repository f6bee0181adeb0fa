//! Futex system calls on words that processes share (never `FUTEX_PRIVATE_FLAG`).
//!
//! # References
//! futex(2); `FUTEX_WAKE_OP` changes a word and wakes its sleepers in one system call, so that no SIGKILL can come
//! between the two.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::thread::futex::{self, Flags, WakeOp, WakeOpCmp};

use super::Deadline;

/// "Wake everybody."
pub(crate) const ALL: u32 = i32::MAX as u32;

/// A comparison that is false for every value that a word of ours takes: `FUTEX_WAKE_OP` wakes extra sleepers when it is true.
const NEVER: (WakeOpCmp, u16) = (WakeOpCmp::Eq, 0xfff); // sign-extended: u32::MAX

/// A futex word: one of 32 bits, or a half of one of 64.
pub(crate) type Word<'a> = &'a AtomicU32;

/// The change that [`wake_op`] makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Store a value of up to 11 bits.
    Set(u16),
    /// Set bits among the lowest 11.
    Or(u16),
    /// Add a value of up to 11 bits, wrapping around.
    Add(u16),
    /// Set the bit of this number, of 0 to 31.
    SetBit(u16),
    /// Clear the bit of this number, of 0 to 31.
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

/// Sleeps while `*word == expected`, until woken, or until `deadline`. May return early for no reason.
pub(crate) fn wait(word: Word<'_>, expected: u32, deadline: Option<Deadline>) {
    let deadline = deadline.map(Deadline::timespec);
    // Every outcome (woken, value changed, timed out, interrupted) means the same to a caller: look again.
    let _ = futex::wait_bitset(word, Flags::empty(), expected, deadline.as_ref(), core::num::NonZeroU32::MAX);
}

/// Wakes up to `count` sleepers and says how many there were.
pub(crate) fn wake(word: Word<'_>, count: u32) -> usize {
    futex::wake(word, Flags::empty(), count).unwrap_or(0)
}

/// Changes the word and wakes up to `count` of its sleepers, in one system call, and says how many there were. A full
/// barrier.
pub(crate) fn wake_op(word: &AtomicU32, change: Change, count: u32) -> usize {
    change_and_wake(word, change, count).unwrap_or_else(|| {
        // Refused, by a seccomp filter for instance: in two steps, between which a kill costs the sleepers a slice.
        // SYNC: SeqCst, because the system call is a full barrier: it pairs with what the callers say.
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |value| Some(change.of(value)));
        wake(word, count)
    })
}

/// [`wake_op`] on the low half of `word`.
pub(crate) fn wake_op_low(word: &AtomicU64, change: Change, count: u32) -> usize {
    let low = half(word, Half::Low);
    change_and_wake(low, change, count).unwrap_or_else(|| {
        // As above. Rust changes the word as a whole.
        // SYNC: SeqCst, as above.
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |value| Some(change.of_low(value)));
        wake(low, count)
    })
}

/// How many were woken, if the system call was allowed.
fn change_and_wake(word: Word<'_>, change: Change, count: u32) -> Option<usize> {
    let (op, arg) = match change {
        Change::Set(value) => (WakeOp::Set, value),
        Change::Or(bits) => (WakeOp::Or, bits),
        Change::Add(value) => (WakeOp::Add, value),
        Change::SetBit(bit) => (WakeOp::OrShift, bit),
        Change::ClearBit(bit) => (WakeOp::AndNShift, bit),
    };
    let (cmp, cmp_arg) = NEVER;
    futex::wake_op(word, Flags::empty(), count, 0, word, op, cmp, arg, cmp_arg).ok()
}

/// A half of an [`AtomicU64`] as a futex word: for the kernel only, never loaded or stored as such by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Bits 0-31.
    Low,
    /// Bits 32-63.
    High,
}

/// The futex word that is `half` of `word`.
pub(crate) fn half(word: &AtomicU64, half: Half) -> Word<'_> {
    let place = if (half == Half::High) == cfg!(target_endian = "little") { 4 } else { 0 };
    let half = std::ptr::from_ref(word).cast::<AtomicU32>().wrapping_byte_add(place);
    // SAFETY: both halves lie in the word; they are handed to system calls only, so Rust sees no access of mixed size.
    unsafe { &*half }
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
        assert_eq!(changed(5, Change::SetBit(30)), 0x4000_0005);
        assert_eq!(changed(5, Change::SetBit(31)), 0x8000_0005);
        assert_eq!(changed(0xc000_0000, Change::ClearBit(31)), 0x4000_0000);
        assert_eq!(changed(3, Change::ClearBit(0)), 2);
    }

    #[test]
    fn a_change_means_the_same_in_two_steps() {
        let changes = [Change::Set(0x7ff), Change::Or(2), Change::Add(3)];
        let bits = [Change::SetBit(30), Change::SetBit(31), Change::ClearBit(31), Change::ClearBit(0)];
        for change in changes.into_iter().chain(bits) {
            for value in [0, 5, u32::MAX - 1, 0xc000_0000] {
                assert_eq!(change.of(value), changed(value, change));
                let wide = AtomicU64::new(7 << 32 | u64::from(value));
                wake_op_low(&wide, change, 1);
                assert_eq!(change.of_low(7 << 32 | u64::from(value)), wide.load(Relaxed));
            }
        }
    }

    #[test]
    fn wake_op_low_changes_the_low_half_alone() {
        let word = AtomicU64::new(7 << 32 | 1 << 31);
        wake_op_low(&word, Change::ClearBit(31), 1);
        assert_eq!(word.load(Relaxed), 7 << 32);
    }
}
