//! [`Region`]: a span of memory that other processes may write, copied in and out by relaxed atomic words.
//!
//! No reference to the bytes is ever formed: what a peer writes meanwhile is a value, never a data race. Nothing here
//! orders anything, so every access is Relaxed: who needs an order takes a lease, or fences (`Value`).
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bytes of the widest single load or store.
const WORD: usize = size_of::<u64>();

/// A span of shared memory. Offsets count from its start, and are checked.
#[derive(Clone, Copy)]
pub(crate) struct Region<'a> {
    start: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'a AtomicU8>,
}

impl<'a> Region<'a> {
    /// The `len` bytes from `start`.
    ///
    /// # Safety
    /// They lie in one mapping that is readable and writable for all of `'a`; and whoever else in this process touches
    /// them meanwhile does so atomically, or is excluded by a lease.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len, memory: PhantomData }
    }

    /// The `len` bytes at `offset`, if they lie within.
    #[inline]
    pub(crate) fn slice(self, offset: usize, len: usize) -> Option<Self> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset <= self.len` was checked, and the region lies in one mapping.
        let start = unsafe { self.start.add(offset) };
        Some(Self { start, len, memory: PhantomData })
    }

    /// Copies bytes from `offset` into `bytes`; `None`, and nothing is copied, if they don't all lie within.
    #[inline]
    pub(crate) fn load(self, offset: usize, bytes: &mut [u8]) -> Option<()> {
        let from = self.slice(offset, bytes.len())?;
        let head = from.unaligned_head();
        let (narrow, words) = bytes.split_at_mut(head);
        from.load_narrow(0, narrow);
        let mut done = head;
        let mut words = words.chunks_exact_mut(WORD);
        for word in &mut words {
            word.copy_from_slice(&from.atomic::<AtomicU64>(done).load(Relaxed).to_ne_bytes());
            done += WORD;
        }
        from.load_narrow(done, words.into_remainder());
        Some(())
    }

    /// Copies `bytes` to `offset`; `None`, and nothing is copied, if they don't all fit.
    ///
    /// Whatever part of `bytes` is 1, 2, 4 or 8 bytes long and goes to a multiple of its length is in one single store,
    /// so a writer that is killed leaves it old or new.
    #[inline]
    pub(crate) fn store(self, offset: usize, bytes: &[u8]) -> Option<()> {
        let to = self.slice(offset, bytes.len())?;
        let head = to.unaligned_head();
        let (narrow, words) = bytes.split_at(head);
        to.store_narrow(0, narrow);
        let mut done = head;
        let (words, narrow) = words.as_chunks::<WORD>();
        for word in words {
            to.atomic::<AtomicU64>(done).store(u64::from_ne_bytes(*word), Relaxed);
            done += WORD;
        }
        to.store_narrow(done, narrow);
        Some(())
    }

    /// The 8 bytes at `offset` as an atomic word; `None` if they don't lie within, or not at a multiple of 8.
    #[inline]
    pub(crate) fn word(self, offset: usize) -> Option<&'a AtomicU64> {
        let start = self.slice(offset, WORD)?.start.cast::<AtomicU64>();
        if !start.is_aligned() {
            return None;
        }
        // SAFETY: the word lies in the region and is aligned; any bits are valid, and it changes atomically (see `new`).
        Some(unsafe { start.as_ref() })
    }

    /// Where the region begins.
    pub(crate) fn start(self) -> NonNull<u8> {
        self.start
    }

    /// Bytes that the region is long.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    fn load_narrow(self, mut done: usize, bytes: &mut [u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let width = self.narrow_width(done, bytes.len());
            let (part, rest) = bytes.split_at_mut(width);
            match width {
                4 => part.copy_from_slice(&self.atomic::<AtomicU32>(done).load(Relaxed).to_ne_bytes()),
                2 => part.copy_from_slice(&self.atomic::<AtomicU16>(done).load(Relaxed).to_ne_bytes()),
                _ => part.fill(self.atomic::<AtomicU8>(done).load(Relaxed)),
            }
            bytes = rest;
            done += width;
        }
    }

    fn store_narrow(self, mut done: usize, bytes: &[u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let width = self.narrow_width(done, bytes.len());
            let (part, rest) = bytes.split_at(width);
            match *part {
                [a, b, c, d] => {
                    self.atomic::<AtomicU32>(done).store(u32::from_ne_bytes([a, b, c, d]), Relaxed);
                }
                [a, b] => self.atomic::<AtomicU16>(done).store(u16::from_ne_bytes([a, b]), Relaxed),
                _ => self.atomic::<AtomicU8>(done).store(part[0], Relaxed),
            }
            bytes = rest;
            done += width;
        }
    }

    /// Bytes before the first word boundary.
    #[inline]
    fn unaligned_head(self) -> usize {
        (self.start.as_ptr().addr().wrapping_neg() % WORD).min(self.len)
    }

    /// The widest single access below a word that `left` bytes at `offset` allow.
    fn narrow_width(self, offset: usize, left: usize) -> usize {
        let address = self.start.as_ptr().addr() + offset;
        [4, 2].into_iter().find(|&width| width <= left && address.is_multiple_of(width)).unwrap_or(1)
    }

    /// The atomic integer `A` at `offset`, which the caller has found to be in bounds and aligned.
    #[inline]
    fn atomic<A: AtomicInteger>(self, offset: usize) -> &'a A {
        debug_assert!(offset + size_of::<A>() <= self.len);
        // SAFETY: the callers stay within the slice that `load` and `store` checked.
        let at = unsafe { self.start.add(offset) }.cast::<A>();
        debug_assert!(at.is_aligned());
        // SAFETY: in bounds and aligned, as above; any bytes are a valid integer; `'a` is the mapping's, as `new` asks.
        unsafe { at.as_ref() }
    }
}

/// An atomic integer: valid whatever its bytes are.
trait AtomicInteger {}
impl AtomicInteger for AtomicU8 {}
impl AtomicInteger for AtomicU16 {}
impl AtomicInteger for AtomicU32 {}
impl AtomicInteger for AtomicU64 {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// 64 bytes of this process, word aligned.
    fn region(memory: &mut [u64; 8]) -> Region<'_> {
        let start = NonNull::from(memory).cast();
        // SAFETY: the array is borrowed for as long as the region lives.
        unsafe { Region::new(start, 64) }
    }

    #[test]
    fn what_is_stored_at_any_offset_and_length_is_loaded_again() {
        let mut memory = [0; 8];
        let region = region(&mut memory);
        let pattern: Vec<u8> = (1..=64).collect();
        for offset in 0..=64 {
            for len in 0..=64 - offset {
                region.store(0, &[0; 64]).unwrap();
                region.store(offset, &pattern[..len]).unwrap();
                let mut all = [0; 64];
                region.load(0, &mut all).unwrap();
                let mut expected = [0; 64];
                expected[offset..offset + len].copy_from_slice(&pattern[..len]);
                assert_eq!(all, expected);
                let mut part = vec![0; len];
                region.load(offset, &mut part).unwrap();
                assert_eq!(part, pattern[..len]);
            }
        }
    }

    #[test]
    fn nothing_outside_is_touched() {
        let mut memory = [0; 8];
        let region = region(&mut memory);
        assert!(region.store(60, &[1; 5]).is_none());
        assert!(region.load(usize::MAX, &mut [0; 2]).is_none());
        assert!(region.slice(65, 0).is_none());
        assert!(region.slice(8, 8).unwrap().store(8, &[1]).is_none());
        assert_eq!(memory, [0; 8]);
    }
}
