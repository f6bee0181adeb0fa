//! Long payloads, copied by memcpy.
//!
//! A payload belongs to one thread from the moment in which its end's lease is held until its commit, or its free: nobody else
//! who keeps to the protocol touches its words, so they need no atomic access. What a hostile peer writes meanwhile is a
//! data race on bytes that are copied and not looked at: the copy has its bytes or ours, in any mixture. The same is
//! true of `Region::copy_out`.
#![allow(unsafe_code)]

use super::slot;
use crate::sys::atomic::AtomicU64;

/// From so many bytes on, memcpy is faster than words.
#[cfg(not(all(test, loom)))]
const BULK: usize = 64;
/// loom's words are no words.
#[cfg(all(test, loom))]
const BULK: usize = usize::MAX;

/// Copies `bytes` into `words`, which are long enough.
///
/// # Safety
/// They are those of an item that the caller is putting: it has the producers' lease and has not committed.
#[inline]
pub(crate) unsafe fn write(words: &[AtomicU64], bytes: &[u8]) {
    if bytes.len() < BULK || size_of_val(words) < bytes.len() {
        return slot::write(words, bytes);
    }
    let to = words.as_ptr().cast::<u8>().cast_mut();
    // SAFETY: `words` are as long, just compared, and may be written through a shared reference, being atomics; `bytes` are this
    // process's own. By the caller's promise nobody reads or writes the words meanwhile.
    unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

/// Copies `length` bytes out of `words`, which hold them, to the end of `bytes`.
///
/// # Safety
/// They are those of an item that the caller is getting: it has the consumers' lease and has not freed it.
#[inline]
pub(crate) unsafe fn read(words: &[AtomicU64], length: usize, bytes: &mut Vec<u8>) {
    if length < BULK || size_of_val(words) < length {
        return slot::read(words, length, bytes);
    }
    bytes.reserve(length);
    let (end, from) = (bytes.len(), words.as_ptr().cast::<u8>());
    let to = bytes.spare_capacity_mut().as_mut_ptr().cast::<u8>();
    // SAFETY: `words` are as long, just compared, and so is the spare capacity, just reserved. By the caller's promise nobody
    // writes to the words meanwhile.
    unsafe { to.copy_from_nonoverlapping(from, length) };
    // SAFETY: so many bytes were reserved and written.
    unsafe { bytes.set_len(end.wrapping_add(length)) };
}

/// Copies the first bytes of `words` to all of `bytes`.
///
/// # Safety
/// As for [`read`].
#[inline]
pub(crate) unsafe fn read_to(words: &[AtomicU64], bytes: &mut [u8]) {
    if bytes.len() < BULK || size_of_val(words) < bytes.len() {
        return slot::read_to(words, bytes);
    }
    let from = words.as_ptr().cast::<u8>();
    // SAFETY: `words` are as long, just compared; `bytes` are this process's own. By the caller's promise nobody writes to the
    // words meanwhile.
    unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(from, bytes.len()) };
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_whole_and_no_byte_more() {
        for length in (0..200_usize).chain([1000, 4095, 4096, 65_537]) {
            let item: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let words: Vec<AtomicU64> =
                (0..length.div_ceil(8) + 1).map(|_| AtomicU64::new(u64::MAX)).collect();
            // SAFETY: nobody else has these words.
            unsafe { write(&words, &item) };
            assert_eq!(words[length.div_ceil(8)].load(core::sync::atomic::Ordering::Relaxed), u64::MAX);
            let (mut appended, mut filled) = (vec![7], vec![0; length]);
            // SAFETY: as above.
            unsafe { read(&words, length, &mut appended) };
            assert_eq!((appended[0], &appended[1..]), (7, item.as_slice()));
            // SAFETY: as above.
            unsafe { read_to(&words, &mut filled) };
            assert_eq!(filled, item);
        }
    }
}
