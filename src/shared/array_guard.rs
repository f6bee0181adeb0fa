//! [`ArrayGuard`]: an array that is locked, as a slice.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use super::array::Array;
use crate::sync::{Flagged, LockGuard};

/// A locked [`Array`]: its elements in place, as a slice. Dropping it unlocks, on the thread that locked.
///
/// No other process or thread that keeps to the protocol touches the elements meanwhile.
///
/// # Process death
/// What a holder that dies has written stays; the next one is told [`OwnerDied`](crate::LockError::OwnerDied).
#[must_use = "dropping the guard unlocks at once"]
pub struct ArrayGuard<'a, T: Pod> {
    array: &'a Array<T>,
    lock: LockGuard<'a>,
}

impl<'a, T: Pod> ArrayGuard<'a, T> {
    pub(super) fn new(array: &'a Array<T>, lock: LockGuard<'a>) -> Self {
        Self { array, lock }
    }
}

impl<T: Pod> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let start = self.array.elements().start().cast::<T>().as_ptr();
        // SAFETY: the elements lie there, aligned (I4), any bytes are a valid `T` (Pod), and the lock, held by this guard,
        // keeps everybody else who keeps to the protocol from writing (I6).
        unsafe { std::slice::from_raw_parts(start, self.array.len()) }
    }
}

impl<T: Pod> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        let start = self.array.elements().start().cast::<T>().as_ptr();
        // SAFETY: as in `deref`; and this guard is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(start, self.array.len()) }
    }
}

impl<T: Pod> Flagged for ArrayGuard<'_, T> {
    fn declare_consistent(&self) {
        self.lock.declare_consistent();
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
