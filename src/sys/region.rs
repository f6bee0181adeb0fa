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
/// From so many bytes on it pays to ask what the processor has.
#[cfg(target_arch = "x86_64")]
const WIDE: usize = 512;

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
        // Most are a word or a part of one, whose length is known when this is compiled.
        match bytes.len() {
            8 if from.is_aligned(8) => {
                bytes.copy_from_slice(&from.atomic::<AtomicU64>(0).load(Relaxed).to_ne_bytes())
            }
            4 if from.is_aligned(4) => {
                bytes.copy_from_slice(&from.atomic::<AtomicU32>(0).load(Relaxed).to_ne_bytes())
            }
            _ => from.load_many(bytes),
        }
        Some(())
    }

    /// [`load`](Self::load) of all of the region.
    fn load_many(self, bytes: &mut [u8]) {
        let head = self.unaligned_head();
        let (narrow, words) = bytes.split_at_mut(head);
        self.load_narrow(0, narrow);
        let mut done = head;
        let mut words = words.chunks_exact_mut(WORD);
        for word in &mut words {
            word.copy_from_slice(&self.atomic::<AtomicU64>(done).load(Relaxed).to_ne_bytes());
            done += WORD;
        }
        self.load_narrow(done, words.into_remainder());
    }

    /// Copies `bytes` to `offset`; `None`, and nothing is copied, if they don't all fit.
    ///
    /// Whatever part of `bytes` is 1, 2, 4 or 8 bytes long and goes to a multiple of its length is in one single store,
    /// so a writer that is killed leaves it old or new.
    #[inline]
    pub(crate) fn store(self, offset: usize, bytes: &[u8]) -> Option<()> {
        let to = self.slice(offset, bytes.len())?;
        // As in `load`.
        match *bytes {
            [a, b, c, d, e, f, g, h] if to.is_aligned(8) => {
                to.atomic::<AtomicU64>(0).store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Relaxed);
            }
            [a, b, c, d] if to.is_aligned(4) => {
                to.atomic::<AtomicU32>(0).store(u32::from_ne_bytes([a, b, c, d]), Relaxed);
            }
            _ => to.store_many(bytes),
        }
        Some(())
    }

    /// [`store`](Self::store) to all of the region.
    fn store_many(self, bytes: &[u8]) {
        let head = self.unaligned_head();
        let (narrow, words) = bytes.split_at(head);
        self.store_narrow(0, narrow);
        let mut done = head;
        let (words, narrow) = words.as_chunks::<WORD>();
        for word in words {
            self.atomic::<AtomicU64>(done).store(u64::from_ne_bytes(*word), Relaxed);
            done += WORD;
        }
        self.store_narrow(done, narrow);
    }

    /// [`load`](Self::load) of all of the region at the speed of memcpy, with words of any width.
    ///
    /// # Safety
    /// Nobody who keeps to the protocol writes to the region meanwhile: the caller holds its lease. What a hostile peer
    /// writes is copied, whole or not.
    pub(crate) unsafe fn copy_out(self, bytes: &mut [u8]) -> Option<()> {
        if bytes.len() != self.len {
            return None;
        }
        // SAFETY: both are as long, `bytes` is this process's own, and nobody writes to the region meanwhile.
        unsafe { self.start.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), self.len) };
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

    /// [`store`](Self::store) to all of the region, faster, and as safe against a kill: no byte of an aligned word is
    /// stored without the others.
    ///
    /// # Safety
    /// Nobody who keeps to the protocol reads or writes the region meanwhile: the caller holds its lease.
    #[cfg(target_arch = "x86_64")]
    pub(crate) unsafe fn copy_in(self, bytes: &[u8]) -> Option<()> {
        use std::arch::x86_64::__m128i;
        if bytes.len() >= WIDE && std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has the instructions, and the caller's promise is the same.
            return unsafe { self.copy_in_wide(bytes) };
        }
        // SAFETY: the caller's promise is the same, and all processors of this kind have the instructions.
        unsafe { self.copy_in_by::<__m128i>(bytes) }
    }

    /// [`copy_in`](Self::copy_in) by 32 bytes at a time.
    ///
    /// # Safety
    /// As for [`copy_in`](Self::copy_in); and the processor has AVX.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx")]
    unsafe fn copy_in_wide(self, bytes: &[u8]) -> Option<()> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.copy_in_by::<std::arch::x86_64::__m256i>(bytes) }
    }

    /// [`copy_in`](Self::copy_in) by so many bytes at a time as a `V` has.
    ///
    /// # Safety
    /// As for [`copy_in`](Self::copy_in); and a `V`, in which any bits are valid, is stored by one instruction.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn copy_in_by<V: Copy>(self, bytes: &[u8]) -> Option<()> {
        if bytes.len() != self.len {
            return None;
        }
        let before = self.start.as_ptr().align_offset(align_of::<V>()).min(self.len);
        let (head, rest) = bytes.split_at(before);
        let vectors = rest.chunks_exact(size_of::<V>());
        let tail = vectors.remainder();
        self.store(0, head)?;
        let mut done = before;
        for vector in vectors {
            // SAFETY: as many bytes, which may lie at any address, and are valid, by the caller's promise.
            let vector = unsafe { vector.as_ptr().cast::<V>().read_unaligned() };
            // SAFETY: within the region, since `bytes` is as long.
            let to = unsafe { self.start.add(done) };
            // SAFETY: in bounds, and aligned since `before`; volatile, so that it is one instruction, and nothing that a
            // kill can interrupt, as memcpy's string instructions are. Nobody reads or writes it meanwhile.
            unsafe { to.cast::<V>().write_volatile(vector) };
            done += size_of::<V>();
        }
        self.store(done, tail)
    }

    /// [`store`](Self::store) to all of the region.
    ///
    /// # Safety
    /// None here: elsewhere it is faster.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) unsafe fn copy_in(self, bytes: &[u8]) -> Option<()> {
        self.store(0, bytes)
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

    #[inline]
    fn is_aligned(self, align: usize) -> bool {
        self.start.as_ptr().addr().is_multiple_of(align)
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
    fn what_is_copied_under_a_lease_is_what_was_given_at_any_offset_and_length() {
        let mut memory = [0; 8];
        let region = region(&mut memory);
        let pattern: Vec<u8> = (1..=64).collect();
        for offset in 0..=64 {
            for len in 0..=64 - offset {
                region.store(0, &[0; 64]).unwrap();
                let part = region.slice(offset, len).unwrap();
                // SAFETY: nobody else uses the memory.
                unsafe { part.copy_in(&pattern[..len]) }.unwrap();
                let mut all = [0; 64];
                region.load(0, &mut all).unwrap();
                let mut expected = [0; 64];
                expected[offset..offset + len].copy_from_slice(&pattern[..len]);
                assert_eq!(all, expected);
                let mut copy = vec![0; len];
                // SAFETY: as above.
                unsafe { part.copy_out(&mut copy) }.unwrap();
                assert_eq!(copy, pattern[..len]);
                // SAFETY: as above; and too many are refused.
                assert!(unsafe { part.copy_out(&mut vec![0; len + 1]) }.is_none());
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
