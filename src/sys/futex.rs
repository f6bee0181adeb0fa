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

/// Changes the word and wakes up to `count` of its sleepers, in one system call. A full barrier.
pub(crate) fn wake_op(word: &AtomicU32, change: Change, count: u32) {
    let (op, arg) = match change {
        Change::Set(value) => (WakeOp::Set, value),
        Change::Or(bits) => (WakeOp::Or, bits),
    };
    let (cmp, cmp_arg) = NEVER;
    if futex::wake_op(word, Flags::empty(), count, 0, word, op, cmp, arg, cmp_arg).is_err() {
        // Refused, by a seccomp filter for instance: in two steps, between which a kill costs the sleepers a slice.
        // SYNC: SeqCst, because the system call is a full barrier: it pairs with what the callers say.
        match change {
            Change::Set(value) => word.store(u32::from(value), Ordering::SeqCst),
            Change::Or(bits) => {
                word.fetch_or(u32::from(bits), Ordering::SeqCst);
            }
        }
        wake(word, count);
    }
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
