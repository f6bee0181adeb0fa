//! [`DynValueGuard`]: a value of a type chosen at run time that is locked, and the private copy that its holder works on.

use std::fmt;
use std::thread::panicking;

use super::hold::Hold;
use super::value_memory::ValueMemory;
use crate::plain::{ElementBytes, Number, OutOfRange, TypeCode};
use crate::sync::Flagged;

/// A locked [`DynValue`](crate::DynValue): a private copy, committed when the guard is dropped, and thrown away if that
/// happens in a panic.
///
/// # Process death
/// Until the drop, nothing is written to the value: a holder that dies leaves it as it was.
///
/// # Examples
/// ```
/// use multiproc::{DynValue, Number, TypeCode};
/// let value = DynValue::new(TypeCode::Int, 7)?;
/// let mut guard = value.lock().map_err(multiproc::Error::from)?;
/// guard.set(8)?;
/// assert_eq!(guard.get(), Number::Integer(8));
/// drop(guard);
/// assert_eq!(value.get(), Number::Integer(8));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard commits and unlocks at once"]
pub struct DynValueGuard<'a> {
    memory: &'a ValueMemory,
    code: TypeCode,
    /// That the copy is of.
    version: u64,
    copy: ElementBytes,
    changed: bool,
    panicking_before: bool,
    hold: Hold<'a>,
}

impl<'a> DynValueGuard<'a> {
    pub(super) fn new(memory: &'a ValueMemory, code: TypeCode, hold: Hold<'a>) -> Self {
        let mut copy = ElementBytes::default();
        let version = memory.get_held(hold.taken(), &mut copy[..code.size()]);
        Self { memory, code, version, copy, changed: false, panicking_before: panicking(), hold }
    }

    /// The value, as this guard has it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// let value = DynValue::new(TypeCode::Int, 7)?;
    /// let guard = value.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(guard.get(), 7.into());
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn get(&self) -> Number {
        Number::from_element(self.copy, self.code)
    }

    /// Replaces the value, in this guard until it is dropped.
    ///
    /// # Errors
    /// [`OutOfRange`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// let value = DynValue::new(TypeCode::UChar, 7)?;
    /// let mut guard = value.lock().map_err(multiproc::Error::from)?;
    /// assert!(guard.set(256).is_err());
    /// guard.set(255)?;
    /// drop(guard);
    /// assert_eq!(value.get(), 255.into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&mut self, value: impl Into<Number>) -> Result<(), OutOfRange> {
        self.copy = value.into().to_element(self.code)?;
        self.changed = true;
        Ok(())
    }
}

impl Flagged for DynValueGuard<'_> {
    fn declare_consistent(&self) {
        self.hold.declare_consistent();
    }
}

impl Drop for DynValueGuard<'_> {
    fn drop(&mut self) {
        // A guard made by a destructor that runs in a panic commits: the panic is not about its change.
        let panicked = panicking() && !self.panicking_before;
        if self.changed && !panicked {
            self.memory.commit(self.hold.taken(), self.version, &self.copy[..self.code.size()]);
        }
    }
}

impl fmt::Debug for DynValueGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynValueGuard").field(&self.get()).finish()
    }
}
