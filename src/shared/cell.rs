//! [`Cell`]: a plain value of a word at most, reached by one atomic operation at a time.
//!
//! # Notes about memory ordering
//! Operations on single cells are SeqCst. Who asks for no order expects the one that needs no thought, Python's: all
//! processes agree on one order of these operations, so that of two that each store into one cell and then load the
//! other, one at least sees the other's store. A handle says nothing about what else a program keeps beside it, so no
//! weaker pair can be named here. On x86-64 that costs a store a locked instruction, and loads nothing.
//!
//! Copies of many cells are Relaxed, one by one, between fences: who sees an element that `store_all` stored sees what
//! its caller wrote before (A1).
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{self, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};

use bytemuck::{Pod, cast};

use crate::sys::region::Region;

/// A `T` of 1, 2, 4 or 8 bytes in shared memory.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a, T> {
    start: NonNull<u8>,
    of: PhantomData<(&'a AtomicU64, T)>,
}

/// Runs an operation on the cell's word, which is the atomic integer of `T`'s size.
macro_rules! on_word {
    ($cell:expr, $word:ident => $operation:expr) => {
        // The sizes are constants: one arm is left.
        match size_of::<T>() {
            1 => {
                let $word = $cell.word::<AtomicU8>();
                $operation
            }
            2 => {
                let $word = $cell.word::<AtomicU16>();
                $operation
            }
            4 => {
                let $word = $cell.word::<AtomicU32>();
                $operation
            }
            _ => {
                let $word = $cell.word::<AtomicU64>();
                $operation
            }
        }
    };
}

impl<'a, T: Pod> Cell<'a, T> {
    /// The cell at the start of `word`.
    #[inline]
    pub(super) fn first_of(word: &'a AtomicU64) -> Self {
        const { assert_size::<T>() };
        Self { start: NonNull::from(word).cast(), of: PhantomData }
    }

    /// The cell that is all of `region`, if that is one.
    #[inline]
    pub(super) fn all_of(region: Region<'a>) -> Option<Self> {
        const { assert_size::<T>() };
        let start = region.start();
        let is_one = region.len() == size_of::<T>() && start.addr().get().is_multiple_of(size_of::<T>());
        is_one.then_some(Self { start, of: PhantomData })
    }

    #[inline]
    pub(super) fn load(self) -> T {
        self.load_with(SeqCst)
    }

    #[inline]
    pub(super) fn store(self, value: T) {
        self.store_with(value, SeqCst);
    }

    #[cfg(feature = "process")]
    #[inline]
    pub(super) fn publish(self, value: T) {
        // SYNC: Release -> the SeqCst loads of a pool's claims and hands: what was done before.
        self.store_with(value, Ordering::Release);
    }

    #[inline]
    pub(super) fn swap(self, value: T) -> T {
        on_word!(self, word => cast(word.swap(cast(value), SeqCst)))
    }

    #[inline]
    pub(super) fn compare_exchange(self, current: T, new: T) -> Result<T, T> {
        on_word!(self, word => {
            word.compare_exchange(cast(current), cast(new), SeqCst, SeqCst).map(cast).map_err(cast)
        })
    }

    /// Replaces the value by what `change` makes of it, which is asked again whenever somebody else came between.
    #[inline]
    pub(super) fn update(self, mut change: impl FnMut(T) -> T) -> T {
        let mut current = self.load();
        loop {
            match self.compare_exchange(current, change(current)) {
                Ok(before) => return before,
                Err(now) => current = now,
            }
        }
    }

    #[inline]
    pub(super) fn fetch_add(self, value: T) -> T {
        on_word!(self, word => cast(word.fetch_add(cast(value), SeqCst)))
    }

    #[inline]
    pub(super) fn fetch_sub(self, value: T) -> T {
        on_word!(self, word => cast(word.fetch_sub(cast(value), SeqCst)))
    }

    #[inline]
    pub(super) fn fetch_and(self, value: T) -> T {
        on_word!(self, word => cast(word.fetch_and(cast(value), SeqCst)))
    }

    #[inline]
    pub(super) fn fetch_or(self, value: T) -> T {
        on_word!(self, word => cast(word.fetch_or(cast(value), SeqCst)))
    }

    #[inline]
    pub(super) fn fetch_xor(self, value: T) -> T {
        on_word!(self, word => cast(word.fetch_xor(cast(value), SeqCst)))
    }

    #[inline]
    fn load_with(self, ordering: Ordering) -> T {
        on_word!(self, word => cast(word.load(ordering)))
    }

    #[inline]
    fn store_with(self, value: T, ordering: Ordering) {
        on_word!(self, word => word.store(cast(value), ordering));
    }

    /// The word as the atomic integer of its size.
    #[inline]
    fn word<A: Word>(self) -> &'a A {
        debug_assert!(size_of::<A>() == size_of::<T>());
        // SAFETY: the constructors saw that so many bytes lie there, aligned, in memory that lives for `'a` (I3); any
        // bytes are a valid integer.
        unsafe { self.start.cast().as_ref() }
    }
}

/// Copies the cells that `region` is made of.
pub(super) fn load_all<T: Pod>(region: Region<'_>, elements: &mut [T]) {
    for (index, element) in elements.iter_mut().enumerate() {
        // Relaxed: the fence below orders all of them.
        if let Some(cell) = cell_of(region, index) {
            *element = cell.load_with(Relaxed);
        }
    }
    // SYNC: Acquire fence <- `store_all`'s Release fence, or a SeqCst store of an element (A1).
    fence(Ordering::Acquire);
}

/// Replaces the cells that `region` is made of.
pub(super) fn store_all<T: Pod>(region: Region<'_>, elements: impl Iterator<Item = T>) {
    // SYNC: Release fence -> `load_all`'s Acquire fence, or a SeqCst load of an element (A1).
    fence(Ordering::Release);
    for (index, element) in elements.enumerate() {
        // Relaxed: the fence above orders all of them.
        if let Some(cell) = cell_of(region, index) {
            cell.store_with(element, Relaxed);
        }
    }
}

#[inline]
fn cell_of<T: Pod>(region: Region<'_>, index: usize) -> Option<Cell<'_, T>> {
    Cell::all_of(region.slice(index * size_of::<T>(), size_of::<T>())?)
}

/// Refuses, when the program is compiled, a `T` that no atomic operation has room for.
pub(super) const fn assert_size<T>() {
    assert!(
        matches!(size_of::<T>(), 1 | 2 | 4 | 8),
        "lock-free operations are those of the processor: they need an element type of 1, 2, 4 or 8 bytes"
    );
}

/// An atomic integer: valid whatever its bytes are.
trait Word {}
impl Word for AtomicU8 {}
impl Word for AtomicU16 {}
impl Word for AtomicU32 {}
impl Word for AtomicU64 {}
