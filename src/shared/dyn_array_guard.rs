//! [`DynArrayGuard`]: an array of a type chosen at run time that is locked.

use std::fmt;

use super::array_error::ArrayError;
use super::array_memory::ArrayMemory;
use super::dyn_error::DynError;
use super::hold::Hold;
use crate::plain::{ElementBytes, Number, TypeCode};
use crate::sync::Flagged;

/// A locked [`DynArray`](crate::DynArray): its elements in place, by their indices.
///
/// # Process death
/// What a holder that dies has written stays; the next one is told [`OwnerDied`](crate::LockError::OwnerDied).
///
/// # Examples
/// ```
/// use multiproc::{DynArray, TypeCode};
/// let array = DynArray::from_numbers(TypeCode::Int, [1, 2])?;
/// let mut elements = array.lock().map_err(multiproc::Error::from)?;
/// elements.set(0, 7)?;
/// assert!(elements.set(1, 1_i64 << 40).is_err());
/// drop(elements);
/// assert_eq!(array.get(0)?.as_integer(), Some(7));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct DynArrayGuard<'a> {
    memory: &'a ArrayMemory,
    code: TypeCode,
    hold: Hold<'a>,
}

impl<'a> DynArrayGuard<'a> {
    pub(super) fn new(memory: &'a ArrayMemory, code: TypeCode, hold: Hold<'a>) -> Self {
        Self { memory, code, hold }
    }

    /// Element `index`.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Int, [1, 2])?;
    /// let guard = array.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(guard.get(1)?, 2.into());
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Result<Number, ArrayError> {
        let size = self.code.size();
        let mut element = ElementBytes::default();
        let from = self.memory.element(index, size)?;
        self.memory.load(self.hold.taken(), from, size, &mut element[..size]);
        Ok(Number::from_element(element, self.code))
    }

    /// Replaces element `index`.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; [`DynError::Index`].
    ///
    /// # Process death
    /// Killed here, the element is old or new, and the array is flagged.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Int, [1, 2])?;
    /// let mut guard = array.lock().map_err(multiproc::Error::from)?;
    /// guard.set(0, 5)?;
    /// drop(guard);
    /// assert_eq!(array.to_vec()?, [5.into(), 2.into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&mut self, index: usize, value: impl Into<Number>) -> Result<(), DynError> {
        self.store(index, value.into().to_element(self.code)?)
    }

    /// As [`set`](Self::set), wrapping as [`DynValue::wrapping_new`](crate::DynValue::wrapping_new) does.
    ///
    /// # Errors
    /// As for [`set`](Self::set), for what is no number, or no integer.
    ///
    /// # Process death
    /// As for [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::UChar, 2)?;
    /// let mut guard = array.lock().map_err(multiproc::Error::from)?;
    /// guard.wrapping_set(0, -1)?;
    /// assert_eq!(guard.get(0)?, 255.into());
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wrapping_set(&mut self, index: usize, value: impl Into<Number>) -> Result<(), DynError> {
        self.store(index, value.into().to_wrapped_element(self.code)?)
    }

    /// The elements one by one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Int, [1, 2])?;
    /// let guard = array.lock().map_err(multiproc::Error::from)?;
    /// assert!(guard.iter().eq([1.into(), 2.into()]));
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Number> + '_ {
        (0..self.len()).map_while(|index| self.get(index).ok())
    }

    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Int, 2)?;
    /// assert_eq!(array.lock().map_err(multiproc::Error::from)?.len(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are no elements.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Int, 0)?;
    /// assert!(array.lock().map_err(multiproc::Error::from)?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn store(&self, index: usize, element: ElementBytes) -> Result<(), DynError> {
        let size = self.code.size();
        let to = self.memory.element(index, size)?;
        // In a forked child the lock is not held.
        let taken = self.hold.taken();
        if taken.is_own() {
            self.memory.store(taken, to, size, &element[..size]);
        }
        Ok(())
    }
}

impl Flagged for DynArrayGuard<'_> {
    fn declare_consistent(&self) {
        self.hold.declare_consistent();
    }
}

impl fmt::Debug for DynArrayGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
