//! [`ArrayGuard`]: an array that is locked, as a slice.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use super::array_memory::ArrayMemory;
use super::hold::{Hold, Taken};
use crate::sync::Flagged;

/// A locked [`Array`](crate::Array): its elements in place, as a slice. Dropping it unlocks, on the thread that locked.
///
/// No other process or thread that keeps to the protocol touches the elements meanwhile. If the array has
/// [raw](crate::Array::raw) handles, whose users don't ask for the lock, the slice is a copy instead, and those elements
/// that were changed are stored when the guard is dropped.
///
/// # Process death
/// What a holder that dies has written stays; the next one is told [`OwnerDied`](crate::LockError::OwnerDied).
///
/// # Examples
/// ```
/// let array = multiproc::Array::from_slice(&[3, 1, 2])?;
/// let mut elements = array.lock().map_err(multiproc::Error::from)?;
/// elements.sort();
/// drop(elements);
/// assert_eq!(array.to_vec()?, [1, 2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct ArrayGuard<'a, T: Pod> {
    memory: &'a ArrayMemory,
    /// If the array is raw.
    copy: Option<Copy<T>>,
    hold: Hold<'a>,
}

/// The elements as they were, and as they shall be.
struct Copy<T> {
    before: Vec<T>,
    now: Vec<T>,
}

impl<'a, T: Pod> ArrayGuard<'a, T> {
    #[inline]
    pub(super) fn new(memory: &'a ArrayMemory, hold: Hold<'a>) -> Self {
        let copy = memory.is_raw(hold.taken()).then(|| Copy::new(memory, hold.taken()));
        Self { memory, copy, hold }
    }
}

impl<T: Pod> Copy<T> {
    #[cold]
    fn new(memory: &ArrayMemory, taken: Taken) -> Self {
        let mut before = vec![T::zeroed(); memory.len()];
        memory.load(taken, memory.placed.tail(), size_of::<T>(), bytemuck::cast_slice_mut(&mut before));
        Self { now: before.clone(), before }
    }

    /// Stores what was changed.
    #[cold]
    fn commit(&self, memory: &ArrayMemory, taken: Taken) {
        for (index, (before, now)) in self.before.iter().zip(&self.now).enumerate() {
            let now = bytemuck::bytes_of(now);
            if bytemuck::bytes_of(before) != now
                && let Ok(to) = memory.element(index, now.len())
            {
                memory.store(taken, to, now.len(), now);
            }
        }
    }
}

impl<T: Pod> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        if let Some(copy) = &self.copy {
            return &copy.now;
        }
        let start = self.memory.placed.tail().start().cast::<T>().as_ptr();
        // SAFETY: the elements lie there, aligned (I4), any bytes are a valid `T` (Pod), and the lock, held by this guard,
        // keeps everybody else who keeps to the protocol from writing (I6).
        unsafe { std::slice::from_raw_parts(start, self.memory.len()) }
    }
}

impl<T: Pod> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        if let Some(copy) = &mut self.copy {
            return &mut copy.now;
        }
        let start = self.memory.placed.tail().start().cast::<T>().as_ptr();
        // SAFETY: as in `deref`; and this guard is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(start, self.memory.len()) }
    }
}

impl<T: Pod> Flagged for ArrayGuard<'_, T> {
    fn declare_consistent(&self) {
        self.hold.declare_consistent();
    }
}

impl<T: Pod> Drop for ArrayGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let taken = self.hold.taken();
        if let Some(copy) = self.copy.take().filter(|_| taken.is_own()) {
            copy.commit(self.memory, taken);
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
