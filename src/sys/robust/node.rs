//! [`Node`]: a futex word at the distance from its list pointer that glibc's list prescribes.

use crate::sys::atomic::{AtomicU32, AtomicU64};

/// A word that a thread can hold, with the pointer that links it into the holder's robust list.
///
/// glibc registers `futex_offset` -32: the kernel finds the word 32 bytes before the pointer. The space between is free
/// for whoever owns the protocol of the word.
#[repr(C, align(8))]
#[derive(Debug)]
pub(crate) struct Node {
    /// Bits 0-29 the holder's thread id, bit 30 "owner died", bit 31 "waiters".
    pub(crate) word: AtomicU32,
    /// For the protocol of the word.
    pub(crate) beside: [AtomicU32; 7],
    /// Where the list goes on. Written by the holder for the kernel; never read by us.
    pub(super) next: AtomicU64,
}

/// What `futex_offset` must be for [`Node`] to work.
#[cfg(not(all(test, loom)))]
pub(super) const FUTEX_OFFSET: i64 = -32;

#[cfg(not(all(test, loom)))]
const _: () = {
    assert!(size_of::<Node>() == 40);
    assert!(
        core::mem::offset_of!(Node, word) as i64 - core::mem::offset_of!(Node, next) as i64 == FUTEX_OFFSET
    );
};

impl Node {
    /// A word that nobody holds; the same as all-zero bytes.
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            beside: core::array::from_fn(|_| AtomicU32::new(0)),
            next: AtomicU64::new(0),
        }
    }

    /// The address by which the kernel and the list know this node.
    #[inline]
    pub(super) fn link(&self) -> u64 {
        (&raw const self.next).addr() as u64
    }
}
