//! [`Array`]: plain elements, edited in place under a lock.
//!
//! Every operation on elements takes the lock, `get` too: else it would race with the slice of another's guard. An
//! element of 1, 2, 4 or 8 bytes is stored by one single atomic store, so a killed writer leaves each one old or new.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::time::{Duration, Instant};

use bytemuck::Pod;

use super::array_error::ArrayError;
use super::array_guard::ArrayGuard;
use super::array_iter::ArrayIter;
use super::array_memory::ArrayMemory;
use super::hold::{Hold, Taken};
use super::raw_array::RawArray;
use crate::error::Result;
use crate::raw::Deadline;
use crate::segment::{ObjectType, Segment, Site};
use crate::sync::{ChosenLock, Lock, LockError, RLock};
use crate::sys::region::Region;

/// A fixed number of plain elements in shared memory, under one lock.
///
/// A handle: clones are the same array, and it travels in process arguments and results. Operations on elements take the
/// lock for their duration; [`lock`](Self::lock) gives all of them as a slice.
///
/// # Process death
/// After a holder died, every operation says [`LockError::OwnerDied`] until somebody has taken
/// [`lock`](Self::lock) and [recovered](LockError::recover). Each element of 1, 2, 4 or 8 bytes that [`set`](Self::set),
/// [`write`](Self::write) or [`fill`](Self::fill) was storing is old or new, never torn; one of another size may be. Over
/// somebody else's lock, the flag is that lock's.
///
/// # Examples
/// ```
/// let histogram = multiproc::Array::<u64>::zeroed(26)?;
/// histogram.update(4, |count| *count += 1)?;
/// assert_eq!(histogram.get(4)?, 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Array<T> {
    memory: ArrayMemory,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Pod> Array<T> {
    /// A new array of `len` elements, all bytes zero, with a lock of its own, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), also for a length beyond the address space;
    /// [`Error::TooManyFiles`](crate::Error::TooManyFiles), [`Error::Unsupported`](crate::Error::Unsupported);
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `T` asks for more alignment than a page has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Error};
    /// assert_eq!(Array::<i32>::zeroed(3)?.to_vec()?, [0, 0, 0]);
    /// assert!(matches!(Array::<i32>::zeroed(usize::MAX), Err(Error::OutOfMemory { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self> {
        Self::create(Site::Anywhere, len, ChosenLock::Own, &[])
    }

    /// A new array with the elements of `elements`.
    ///
    /// # Errors
    /// As for [`zeroed`](Self::zeroed).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Array::from_slice(&[1u8, 2, 3])?.get(1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        Self::of_elements(elements, ChosenLock::Own)
    }

    /// A new array of `len` zero elements in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// Array::<u16>::zeroed_in(&segment, "bins", 100)?;
    /// assert_eq!(Array::<u16>::open_in(&segment, "bins")?.len(), 100);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn zeroed_in(segment: &Segment, name: &str, len: usize) -> Result<Self> {
        Self::create(Site::In(segment, name), len, ChosenLock::Own, &[])
    }

    /// A new array with the elements of `elements` in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// Array::new_in(&segment, "primes", &[2u8, 3, 5])?;
    /// assert_eq!(Array::<u8>::open_in(&segment, "primes")?.to_vec()?, [2, 3, 5]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, elements: &[T]) -> Result<Self> {
        Self::create(Site::In(segment, name), elements.len(), ChosenLock::Own, elements)
    }

    /// The array of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// of another type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// Array::new_in(&segment, "squares", &[0_u32, 1, 4])?;
    /// assert_eq!(Array::<u32>::open_in(&segment, "squares")?.get(2)?, 4);
    /// assert!(Array::<f32>::open_in(&segment, "squares").is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        let found = ArrayMemory::open(segment, segment.locate(name)?, ObjectType::plain::<T>, layout::<T>())?;
        Ok(Self { memory: ArrayMemory::join(found, ChosenLock::Own)?, of: PhantomData })
    }

    /// A new array under a lock that there is already, and that may protect other things too. It travels with the array.
    ///
    /// # Errors
    /// As for [`zeroed`](Self::zeroed).
    ///
    /// # Process death
    /// If a holder of the lock dies, whatever it was doing, operations say [`LockError::OwnerDied`] until somebody has
    /// [recovered](LockError::recover) the lock, through the lock or through anything that it guards.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Lock};
    /// let lock = Lock::new()?;
    /// let (names, sizes) = (Array::with_lock(b"ab", &lock)?, Array::with_lock(&[1u64, 2], &lock)?);
    /// names.write(.., b"cd")?;
    /// assert_eq!(sizes.get(1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_lock(elements: &[T], lock: &Lock) -> Result<Self> {
        Self::of_elements(elements, ChosenLock::Lock(lock.clone()))
    }

    /// A new array under a nesting lock that there is already: whoever holds it works on the array too.
    ///
    /// What nests is the lock: on one thread, one guard or closure at a time has the array.
    ///
    /// # Errors
    /// As for [`zeroed`](Self::zeroed).
    ///
    /// # Process death
    /// As for [`with_lock`](Self::with_lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, RLock};
    /// let lock = RLock::new()?;
    /// let array = Array::with_rlock(&[1, 2, 3], &lock)?;
    /// let guard = lock.lock().map_err(multiproc::Error::from)?;
    /// array.set(0, array.get(1)? + array.get(2)?)?;
    /// drop(guard);
    /// assert_eq!(array.get(0)?, 5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_rlock(elements: &[T], lock: &RLock) -> Result<Self> {
        Self::of_elements(elements, ChosenLock::RLock(lock.clone()))
    }

    /// A lock-free handle of the same elements.
    ///
    /// Waits for the lock, once: from then on the slice of an [`ArrayGuard`] is a copy, since users of raw handles change
    /// elements without the lock. Everything else goes on as before.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), but for `OwnerDied`.
    ///
    /// # Process death
    /// Killed here, a process leaves the array as it was, but possibly flagged.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::from_slice(&[1u32, 2])?;
    /// let raw = array.raw()?;
    /// raw.fetch_add(0, 9)?;
    /// assert_eq!(array.to_vec()?, [10, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "get_obj")]
    pub fn raw(&self) -> Result<RawArray<T>, LockError<()>> {
        RawArray::over(&self.memory)
    }

    /// Element `index`.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`]; [`ArrayError::Lock`] with `OwnerDied`, `Deadlock` (the calling thread holds the array
    /// locked), `TooManyHeld` or `Unsupported`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, ArrayError};
    /// let array = Array::from_slice(&[5i64])?;
    /// assert_eq!(array.get(0)?, 5);
    /// assert!(matches!(array.get(1), Err(ArrayError::OutOfRange { len: 1, .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ArrayError> {
        let at = self.element(index)?;
        Ok(self.memory.during(|taken| self.load(taken, at))?)
    }

    /// Replaces element `index`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    ///
    /// # Process death
    /// Killed here, an element of 1, 2, 4 or 8 bytes is old or new, and the array is flagged.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::<f32>::zeroed(2)?;
    /// array.set(1, 0.5)?;
    /// assert_eq!(array.to_vec()?, [0.0, 0.5]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), ArrayError> {
        let at = self.element(index)?;
        Ok(self.memory.during(|taken| self.store(taken, at, &[value]))?)
    }

    /// Changes element `index` by `change`, which nobody else's operation can come between.
    ///
    /// If `change` panics, the element stays as it was.
    ///
    /// # Errors
    /// As for [`get`](Self::get). Inside `change` the array is locked: its operations give `Deadlock` there.
    ///
    /// # Process death
    /// As for [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::from_slice(&[1u32, 10])?;
    /// let new = array.update(1, |n| { *n += 1; *n })?;
    /// assert_eq!(new, 11);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut T) -> R) -> Result<R, ArrayError> {
        let at = self.element(index)?;
        Ok(self.memory.during(|taken| {
            let mut value = self.load(taken, at);
            let result = change(&mut value);
            // In a child that `change` forked, the lock is not held.
            if taken.is_own() {
                self.store(taken, at, &[value]);
            }
            result
        })?)
    }

    /// All elements, as they were at one moment.
    ///
    /// # Errors
    /// [`ArrayError::Lock`] as for [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Array::from_slice(&[1u8, 2])?.to_vec()?, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, ArrayError> {
        let mut elements = vec![T::zeroed(); self.len()];
        self.read(.., &mut elements)?;
        Ok(elements)
    }

    /// Copies the elements of `range`, as they were at one moment, into `elements`.
    ///
    /// # Errors
    /// [`ArrayError::Length`] if `elements` is not as long as the range; and as for [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::from_slice(&[1u16, 2, 3, 4])?;
    /// let mut middle = [0; 2];
    /// array.read(1..3, &mut middle)?;
    /// assert_eq!(middle, [2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn read(&self, range: impl RangeBounds<usize>, elements: &mut [T]) -> Result<(), ArrayError> {
        let from = self.memory.range(range, size_of::<T>(), Some(elements.len()))?;
        let bytes = bytemuck::cast_slice_mut(elements);
        Ok(self.memory.during(|taken| self.memory.load(taken, from, size_of::<T>(), bytes))?)
    }

    /// Replaces the elements of `range` by `elements`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    ///
    /// # Process death
    /// Killed here, each element of 1, 2, 4 or 8 bytes is old or new, and the array is flagged.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::<u8>::zeroed(4)?;
    /// array.write(2.., &[8, 9])?;
    /// assert_eq!(array.to_vec()?, [0, 0, 8, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn write(&self, range: impl RangeBounds<usize>, elements: &[T]) -> Result<(), ArrayError> {
        let to = self.memory.range(range, size_of::<T>(), Some(elements.len()))?;
        Ok(self.memory.during(|taken| self.store(taken, to, elements))?)
    }

    /// Sets every element to `value`.
    ///
    /// # Errors
    /// [`ArrayError::Lock`] as for [`get`](Self::get).
    ///
    /// # Process death
    /// As for [`write`](Self::write).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::<i8>::zeroed(2)?;
    /// array.fill(-1)?;
    /// assert_eq!(array.to_vec()?, [-1, -1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn fill(&self, value: T) -> Result<(), ArrayError> {
        self.memory.during(|taken| {
            (0..self.len()).try_for_each(|index| {
                self.store(taken, self.element(index)?, &[value]);
                Ok(())
            })
        })?
    }

    /// The elements one by one; each step takes the lock.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::from_slice(&[1u64, 2, 3])?;
    /// let sum: u64 = array.iter().sum::<Result<u64, _>>()?;
    /// assert_eq!(sum, 6);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&self) -> ArrayIter<'_, T> {
        ArrayIter::new(self)
    }

    /// Locks the array, waiting for as long as it takes, and gives its elements as a slice.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::Deadlock`], [`LockError::TooManyHeld`],
    /// [`LockError::Unsupported`].
    ///
    /// # Process death
    /// What a holder that dies has written stays, and the next one is told.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::from_slice(&[3u8, 1, 2])?;
    /// let mut guard = array.lock().map_err(multiproc::Error::from)?;
    /// guard.sort();
    /// drop(guard);
    /// assert_eq!(array.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.guard(self.memory.hold(None))
    }

    /// Locks the array if nobody alive holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::Array::<u8>::zeroed(1)?.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.guard(self.memory.try_hold())
    }

    /// Locks the array, waiting up to `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// assert!(multiproc::Array::<u8>::zeroed(1)?.lock_timeout(Duration::from_millis(1)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.guard(self.memory.hold(Deadline::after(timeout)))
    }

    /// Locks the array, waiting until `deadline`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// assert!(multiproc::Array::<u8>::zeroed(1)?.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.guard(self.memory.hold(Deadline::at(deadline)))
    }

    /// Locks the array; if a holder died, `repair` makes its elements consistent first.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), but for `OwnerDied`.
    ///
    /// # Process death
    /// A process that dies in `repair`, or panics there, leaves the array flagged: the next holder repairs.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::Array::<u8>::zeroed(1)?;
    /// std::thread::scope(|scope| {
    ///     // It ends with the lock, as one that is killed.
    ///     scope.spawn(|| std::mem::forget(array.lock()));
    /// });
    /// let guard = array.lock_or_recover(|elements| elements.fill(7)).map_err(multiproc::Error::from)?;
    /// drop(guard);
    /// assert_eq!(array.get(0)?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_or_recover(
        &self,
        repair: impl FnOnce(&mut ArrayGuard<'_, T>),
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock().or_else(|error| error.recover_after(repair))
    }

    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Array::<u8>::zeroed(12)?.len(), 12);
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
    /// assert!(multiproc::Array::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn element(&self, index: usize) -> Result<Region<'_>, ArrayError> {
        self.memory.element(index, size_of::<T>())
    }

    #[inline]
    fn load(&self, taken: Taken, from: Region<'_>) -> T {
        let mut value = T::zeroed();
        self.memory.load(taken, from, size_of::<T>(), bytemuck::bytes_of_mut(&mut value));
        value
    }

    #[inline]
    fn store(&self, taken: Taken, to: Region<'_>, elements: &[T]) {
        self.memory.store(taken, to, size_of::<T>(), bytemuck::cast_slice(elements));
    }

    #[inline]
    fn guard<'a>(
        &'a self,
        held: Result<Hold<'a>, LockError<Hold<'a>>>,
    ) -> Result<ArrayGuard<'a, T>, LockError<ArrayGuard<'a, T>>> {
        LockError::map_guard(held, |hold| ArrayGuard::new(&self.memory, hold))
    }

    fn create(site: Site<'_>, len: usize, lock: ChosenLock, elements: &[T]) -> Result<Self> {
        let bytes = bytemuck::cast_slice(elements);
        let memory = ArrayMemory::create(site, ObjectType::plain::<T>, lock, len, layout::<T>(), bytes)?;
        Ok(Self { memory, of: PhantomData })
    }

    fn of_elements(elements: &[T], lock: ChosenLock) -> Result<Self> {
        Self::create(Site::Anywhere, elements.len(), lock, elements)
    }
}

/// Size and alignment of an element.
fn layout<T>() -> (usize, usize) {
    (size_of::<T>(), align_of::<T>())
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), of: PhantomData }
    }
}

impl<T: Pod> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<'a, T: Pod> IntoIterator for &'a Array<T> {
    type Item = Result<T, ArrayError>;
    type IntoIter = ArrayIter<'a, T>;

    fn into_iter(self) -> ArrayIter<'a, T> {
        self.iter()
    }
}

#[cfg(feature = "serde")]
impl<T: Pod> serde::Serialize for Array<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.memory.placed, &self.memory.lock).serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Pod> serde::Deserialize<'de> for Array<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let open =
            |segment, offset| ArrayMemory::open(&segment, offset, ObjectType::plain::<T>, layout::<T>());
        let memory = super::reference::open(deserializer, open, ArrayMemory::join)?;
        Ok(Self { memory, of: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::error::Error;

    #[test]
    fn an_index_or_a_range_beyond_the_end_is_out_of_range() {
        let array = Array::from_slice(&[1u32, 2, 3]).unwrap();
        let out =
            |result: Result<(), ArrayError>| matches!(result, Err(ArrayError::OutOfRange { len: 3, .. }));
        assert!(out(array.get(3).map(drop)));
        assert!(out(array.get(usize::MAX).map(drop)));
        assert!(out(array.set(3, 0)));
        assert!(out(array.update(usize::MAX, |_| ())));
        assert!(out(array.write(2..4, &[0; 2])));
        #[expect(clippy::reversed_empty_ranges, reason = "the case")]
        let reversed = 2..1;
        assert!(out(array.write(reversed, &[])));
        assert!(out(array.read(..=usize::MAX, &mut [])));
        assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_slice_of_another_length_than_its_range_is_refused() {
        let array = Array::<u32>::zeroed(3).unwrap();
        let error = array.write(.., &[1; 2]).unwrap_err();
        assert!(matches!(error, ArrayError::Length { expected: 3, found: 2 }), "{error}");
    }

    #[test]
    fn a_length_beyond_memory_is_out_of_memory() {
        for len in [usize::MAX, usize::MAX / 8, usize::MAX / 8 - 4096, 1 << 59] {
            let error = Array::<u64>::zeroed(len).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }), "{len}: {error}");
        }
    }

    #[test]
    fn a_holder_that_dies_flags_the_array_until_somebody_recovers() {
        let array = Array::from_slice(&[1u8, 2, 3]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut guard = array.lock().unwrap();
                guard[0] = 9;
                std::mem::forget(guard);
            });
        });
        assert!(matches!(array.get(0), Err(ArrayError::Lock(LockError::OwnerDied(())))));
        assert!(matches!(array.set(0, 1), Err(ArrayError::Lock(LockError::OwnerDied(())))));
        let mut guard = array.lock().or_else(LockError::recover).unwrap();
        assert_eq!(*guard, [9, 2, 3]);
        guard[0] = 1;
        drop(guard);
        assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_panic_in_update_leaves_the_element_and_unlocks() {
        let array = Array::from_slice(&[4i64]).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            array.update(0, |n| {
                *n = 5;
                panic!("planned");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(array.get(0).unwrap(), 4);
    }

    #[test]
    fn an_operation_under_ones_own_guard_is_a_deadlock_error() {
        let array = Array::<u16>::zeroed(1).unwrap();
        let guard = array.lock().unwrap();
        assert!(matches!(array.get(0), Err(ArrayError::Lock(LockError::Deadlock))));
        drop(guard);
        assert_eq!(array.get(0).unwrap(), 0);
    }
}
