//! [`RawArray`]: plain elements without a lock.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use bytemuck::Pod;

use super::array_error::ArrayError;
use super::array_memory::{ArrayHead, ArrayMemory, elements_in, make_elements, open_elements};
use super::cell::{Cell, assert_size, load_all, store_all};
use super::raw_integer::RawInteger;
use super::span;
use crate::error::Result;
use crate::segment::{Kind, ObjectType, Placed, Segment, Site};
use crate::sync::LockError;

/// A fixed number of plain elements of 1, 2, 4 or 8 bytes in shared memory, without a lock.
///
/// A handle: clones are the same array, and it travels in process arguments and results. Each operation on an element is
/// one atomic instruction, and sequentially consistent; operations on many are made of one for each element, and others'
/// may come between. There is no slice: for that there is [`Array`](crate::Array), whose memory a
/// [`raw`](crate::Array::raw) array can share.
///
/// # Process death
/// Each element that a process that dies was changing is old or new. There is nothing to hold, so nobody waits for the
/// dead.
///
/// # Examples
/// ```
/// let histogram = multiproc::RawArray::<u32>::zeroed(26)?;
/// histogram.fetch_add(4, 1)?;
/// assert_eq!(histogram.load(4)?, 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// ```compile_fail
/// // No processor stores 24 bytes at once.
/// multiproc::RawArray::<[u64; 3]>::zeroed(1);
/// ```
pub struct RawArray<T> {
    placed: Placed<ArrayHead>,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Pod> RawArray<T> {
    /// A new array of `len` elements, all bytes zero, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), also for a length beyond the address space;
    /// [`Error::TooManyFiles`](crate::Error::TooManyFiles), [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::RawArray::<i32>::zeroed(3)?.to_vec(), [0, 0, 0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self> {
        Self::create(Site::Anywhere, len, &[])
    }

    /// A new array of `len` elements, all bytes zero, in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RawArray, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// RawArray::<u8>::zeroed_in(&segment, "map", 1000)?;
    /// assert_eq!(RawArray::<u8>::open_in(&segment, "map")?.len(), 1000);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn zeroed_in(segment: &Segment, name: &str, len: usize) -> Result<Self> {
        Self::create(Site::In(segment, name), len, &[])
    }

    /// The array of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// of another type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RawArray, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// RawArray::<u32>::zeroed_in(&segment, "hits", 4)?.store(3, 9)?;
    /// assert_eq!(RawArray::<u32>::open_in(&segment, "hits")?.load(3)?, 9);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment, segment.locate(name)?)
    }

    /// A new array with the elements of `elements`.
    ///
    /// # Errors
    /// As for [`zeroed`](Self::zeroed).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::RawArray::from_slice(&[1u8, 2, 3])?.load(1)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        Self::create(Site::Anywhere, elements.len(), elements)
    }

    /// Element `index`.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ArrayError, RawArray};
    /// let array = RawArray::from_slice(&[5i64])?;
    /// assert_eq!(array.load(0)?, 5);
    /// assert!(matches!(array.load(1), Err(ArrayError::OutOfRange { len: 1, .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "get")]
    pub fn load(&self, index: usize) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.load())
    }

    /// Replaces element `index`.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// Killed here, a process leaves the old element or the new one.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::<f32>::zeroed(2)?;
    /// array.store(1, 0.5)?;
    /// assert_eq!(array.to_vec(), [0.0, 0.5]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "set")]
    pub fn store(&self, index: usize, value: T) -> Result<(), ArrayError> {
        self.cell(index)?.store(value);
        Ok(())
    }

    /// [`store`](Self::store) that orders only what was done before. Nothing is done if there is no such element.
    #[cfg(feature = "process")]
    #[inline]
    pub(crate) fn publish(&self, index: usize, value: T) {
        if let Ok(cell) = self.cell(index) {
            cell.publish(value);
        }
    }

    /// Replaces element `index` and returns what it was.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[1u16, 2])?;
    /// assert_eq!(array.swap(1, 9)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn swap(&self, index: usize, value: T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.swap(value))
    }

    /// Replaces element `index` by `new` if it is `current`, bit by bit, and returns what it was: in `Ok` if it was that,
    /// in `Err` if it was something else and nothing was changed.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[1u16])?;
    /// assert_eq!(array.compare_exchange(0, 1, 2)?, Ok(1));
    /// assert_eq!(array.compare_exchange(0, 1, 3)?, Err(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<Result<T, T>, ArrayError> {
        Ok(self.cell(index)?.compare_exchange(current, new))
    }

    /// Replaces element `index` by what `change` makes of it, and returns what it was.
    ///
    /// `change` is asked again whenever somebody else's operation came between.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[0.5f64])?;
    /// assert_eq!(array.update(0, |x| x * 2.0)?, 0.5);
    /// assert_eq!(array.load(0)?, 1.0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "fetch_update")]
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.update(change))
    }

    /// All elements, each as it was at some moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::RawArray::from_slice(&[1u8, 2])?.to_vec(), [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        let mut elements = vec![T::zeroed(); self.len()];
        load_all(self.placed.tail(), &mut elements);
        elements
    }

    /// Copies the elements of `range`, each as it was at some moment, into `elements`.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`]; [`ArrayError::Length`] if `elements` is not as long as the range.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[1u16, 2, 3, 4])?;
    /// let mut middle = [0; 2];
    /// array.read(1..3, &mut middle)?;
    /// assert_eq!(middle, [2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn read(&self, range: impl RangeBounds<usize>, elements: &mut [T]) -> Result<(), ArrayError> {
        load_all(elements_in(&self.placed, range, size_of::<T>(), Some(elements.len()))?, elements);
        Ok(())
    }

    /// Replaces the elements of `range` by `elements`, one by one.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    ///
    /// # Process death
    /// Killed here, a process leaves each element old or new.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::<u8>::zeroed(4)?;
    /// array.write(2.., &[8, 9])?;
    /// assert_eq!(array.to_vec(), [0, 0, 8, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn write(&self, range: impl RangeBounds<usize>, elements: &[T]) -> Result<(), ArrayError> {
        let to = elements_in(&self.placed, range, size_of::<T>(), Some(elements.len()))?;
        store_all(to, elements.iter().copied());
        Ok(())
    }

    /// Sets every element to `value`, one by one.
    ///
    /// # Process death
    /// As for [`write`](Self::write).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::<i8>::zeroed(2)?;
    /// array.fill(-1);
    /// assert_eq!(array.to_vec(), [-1, -1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn fill(&self, value: T) {
        store_all(self.placed.tail(), std::iter::repeat_n(value, self.len()));
    }

    /// The elements one by one, each as it is when its turn comes.
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[1u64, 2, 3])?;
    /// assert_eq!(array.iter().sum::<u64>(), 6);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        // The index is in range, whatever peers do: the length is this handle's.
        (0..self.len()).map(|index| self.load(index).unwrap_or(T::zeroed()))
    }

    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::RawArray::<u8>::zeroed(12)?.len(), 12);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.placed.length()
    }

    /// Whether there are no elements.
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::RawArray::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A lock-free handle of the elements of `memory`, of which nobody has a slice any more.
    pub(super) fn over(memory: &ArrayMemory) -> Result<Self, LockError<()>> {
        const { assert_size::<T>() };
        memory.make_raw()?;
        Ok(Self { placed: memory.placed.clone(), of: PhantomData })
    }

    #[inline]
    fn cell(&self, index: usize) -> Result<Cell<'_, T>, ArrayError> {
        let none = || span::no_element(index, self.len());
        if index >= self.len() {
            return Err(none());
        }
        let size = size_of::<T>();
        self.placed.tail().slice(index * size, size).and_then(Cell::all_of).ok_or_else(none)
    }

    /// The raw array at `offset`; or an array that others have made raw, whose lock does not matter here.
    fn create(site: Site<'_>, len: usize, elements: &[T]) -> Result<Self> {
        const { assert_size::<T>() };
        let ty = ObjectType::plain::<T>(Kind::RawArray);
        let layout = (size_of::<T>(), align_of::<T>());
        let placed = make_elements(site, ty, len, layout, bytemuck::cast_slice(elements))?;
        Ok(Self { placed, of: PhantomData })
    }

    fn open(segment: &Segment, offset: u64) -> Result<Self> {
        const { assert_size::<T>() };
        let open = |kind| {
            let ty = ObjectType::plain::<T>(kind);
            open_elements(segment, offset, &ty, (size_of::<T>(), align_of::<T>()))
        };
        let of_locked = |kind| open(kind).ok().filter(|placed| placed.is_raw());
        let locked = || [Kind::Array, Kind::ArrayUnderLock].into_iter().find_map(of_locked);
        let placed = open(Kind::RawArray).or_else(|error| locked().ok_or(error))?;
        Ok(Self { placed, of: PhantomData })
    }
}

impl<T: RawInteger> RawArray<T> {
    /// Adds `value`, wrapping around, and returns what the element was.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[5u32])?;
    /// assert_eq!(array.fetch_add(0, 6)?, 5);
    /// assert_eq!(array.load(0)?, 11);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_add(&self, index: usize, value: T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.fetch_add(value))
    }

    /// Subtracts `value`, wrapping around, and returns what the element was.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[5u32])?;
    /// assert_eq!(array.fetch_sub(0, 6)?, 5);
    /// assert_eq!(array.load(0)?, u32::MAX);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_sub(&self, index: usize, value: T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.fetch_sub(value))
    }

    /// Keeps those bits that `value` has too, and returns what the element was.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[0b110u32])?;
    /// assert_eq!(array.fetch_and(0, 0b011)?, 0b110);
    /// assert_eq!(array.load(0)?, 0b010);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_and(&self, index: usize, value: T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.fetch_and(value))
    }

    /// Sets the bits of `value`, and returns what the element was.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[0b110u32])?;
    /// assert_eq!(array.fetch_or(0, 0b011)?, 0b110);
    /// assert_eq!(array.load(0)?, 0b111);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_or(&self, index: usize, value: T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.fetch_or(value))
    }

    /// Flips the bits of `value`, and returns what the element was.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let array = multiproc::RawArray::from_slice(&[0b110u32])?;
    /// assert_eq!(array.fetch_xor(0, 0b011)?, 0b110);
    /// assert_eq!(array.load(0)?, 0b101);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_xor(&self, index: usize, value: T) -> Result<T, ArrayError> {
        Ok(self.cell(index)?.fetch_xor(value))
    }
}

impl<T> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        Self { placed: self.placed.clone(), of: PhantomData }
    }
}

impl<T: Pod> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawArray").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl<T: Pod> serde::Serialize for RawArray<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.placed.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Pod> serde::Deserialize<'de> for RawArray<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, |segment, offset| Self::open(&segment, offset))
    }
}
