//! [`ValueGuard`]: a value that is locked, and the private copy that its holder works on.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread::panicking;

use bytemuck::Pod;

use super::hold::Hold;
use super::value_memory::ValueMemory;
use crate::sync::Flagged;

/// A locked [`Value`](crate::Value): a private copy, committed when the guard is dropped, and thrown away if that happens
/// in a panic.
///
/// # Process death
/// Until the drop, nothing is written to the value: a holder that dies leaves it as it was.
///
/// # Examples
/// ```
/// let value = multiproc::Value::new(1)?;
/// let mut guard = value.lock().map_err(multiproc::Error::from)?;
/// *guard += 1;
/// assert_eq!(value.get(), 1); // Committed when the guard goes.
/// drop(guard);
/// assert_eq!(value.get(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard commits and unlocks at once"]
pub struct ValueGuard<'a, T: Pod> {
    memory: &'a ValueMemory,
    /// That the copy is of.
    version: u64,
    copy: T,
    changed: bool,
    panicking_before: bool,
    hold: Hold<'a>,
}

impl<'a, T: Pod> ValueGuard<'a, T> {
    #[inline]
    pub(super) fn new(memory: &'a ValueMemory, hold: Hold<'a>) -> Self {
        let mut copy = T::zeroed();
        let version = memory.get_held(hold.taken(), bytemuck::bytes_of_mut(&mut copy));
        Self { memory, version, copy, changed: false, panicking_before: panicking(), hold }
    }
}

impl<T: Pod> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Pod> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.copy
    }
}

impl<T: Pod> Flagged for ValueGuard<'_, T> {
    fn declare_consistent(&self) {
        self.hold.declare_consistent();
    }
}

impl<T: Pod> Drop for ValueGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A guard made by a destructor that runs in a panic commits: the panic is not about its change.
        let panicked = panicking() && !self.panicking_before;
        if self.changed && !panicked {
            self.memory.commit(self.hold.taken(), self.version, bytemuck::bytes_of(&self.copy));
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValueGuard").field(&self.copy).finish()
    }
}
