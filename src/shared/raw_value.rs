//! [`RawValue`]: a plain value without a lock.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use bytemuck::Pod;

use super::cell::{Cell, assert_size};
use super::raw_integer::RawInteger;
use crate::error::Result;
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// A plain value of 1, 2, 4 or 8 bytes in shared memory, without a lock: each operation is one atomic instruction.
///
/// A handle: clones are the same value, and it travels in process arguments and results. All operations are sequentially
/// consistent. Integers calculate; other types, floats too, are exchanged by their bits and [updated](Self::update).
/// For a `T` of another size there is [`Value`](crate::Value).
///
/// # Process death
/// An operation of a process that dies has happened or has not. There is nothing to hold, so nobody waits for the dead.
///
/// # Examples
/// ```
/// let hits = multiproc::RawValue::new(0u64)?;
/// hits.fetch_add(2);
/// assert_eq!(hits.load(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// ```compile_fail
/// // No processor stores 24 bytes at once.
/// multiproc::RawValue::new([0u64; 3]);
/// ```
pub struct RawValue<T> {
    placed: Placed<AtomicU64>,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Pod> RawValue<T> {
    /// A new value, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::RawValue::new(-1i16)?.load(), -1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        Self::create(Site::Anywhere, value)
    }

    /// A new value in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RawValue, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// RawValue::new_in(&segment, "runs", 7u64)?;
    /// assert_eq!(RawValue::<u64>::open_in(&segment, "runs")?.load(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, value: T) -> Result<Self> {
        Self::create(Site::In(segment, name), value)
    }

    /// The value of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// of another type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RawValue, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// RawValue::new_in(&segment, "hits", 7_u64)?;
    /// assert_eq!(RawValue::<u64>::open_in(&segment, "hits")?.load(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment.clone(), segment.locate(name)?)
    }

    /// The value.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::RawValue::new(0.5f64)?.load(), 0.5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn load(&self) -> T {
        self.cell().load()
    }

    /// Replaces the value.
    ///
    /// # Process death
    /// Killed here, a process leaves the old value or the new one.
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(1u8)?;
    /// value.store(2);
    /// assert_eq!(value.load(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn store(&self, value: T) {
        self.cell().store(value);
    }

    /// Replaces the value and returns what it was.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(*b"ab")?;
    /// assert_eq!(value.swap(*b"cd"), *b"ab");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn swap(&self, value: T) -> T {
        self.cell().swap(value)
    }

    /// Replaces the value by `new` if it is `current`, bit by bit, and returns what it was.
    ///
    /// # Errors
    /// What it is instead: nothing was changed.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(1.5f32)?;
    /// assert_eq!(value.compare_exchange(1.5, 2.5), Ok(1.5));
    /// assert_eq!(value.compare_exchange(1.5, 3.5), Err(2.5));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        self.cell().compare_exchange(current, new)
    }

    /// Replaces the value by what `change` makes of it, and returns what it was.
    ///
    /// `change` is asked again whenever somebody else's operation came between.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let largest = multiproc::RawValue::new(1.0f64)?;
    /// assert_eq!(largest.update(|so_far| so_far.max(2.0)), 1.0);
    /// assert_eq!(largest.load(), 2.0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "fetch_update")]
    pub fn update(&self, change: impl FnMut(T) -> T) -> T {
        self.cell().update(change)
    }

    #[inline]
    fn cell(&self) -> Cell<'_, T> {
        Cell::first_of(&self.placed)
    }

    fn create(site: Site<'_>, value: T) -> Result<Self> {
        const { assert_size::<T>() };
        let shape = Shape::of_head::<AtomicU64>(object_type::<T>());
        let placed = Placed::make(site, shape, |placed| {
            Cell::first_of(placed).store(value);
            Ok(())
        })?;
        Ok(Self { placed, of: PhantomData })
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        const { assert_size::<T>() };
        let placed = Placed::open(segment, offset, &object_type::<T>(), 1)?;
        Ok(Self { placed, of: PhantomData })
    }
}

impl<T: RawInteger> RawValue<T> {
    /// Adds `value`, wrapping around, and returns what the value was.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(5u32)?;
    /// assert_eq!(value.fetch_add(6), 5);
    /// assert_eq!(value.load(), 11);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_add(&self, value: T) -> T {
        self.cell().fetch_add(value)
    }

    /// Subtracts `value`, wrapping around, and returns what the value was.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(5u32)?;
    /// assert_eq!(value.fetch_sub(6), 5);
    /// assert_eq!(value.load(), u32::MAX);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_sub(&self, value: T) -> T {
        self.cell().fetch_sub(value)
    }

    /// Keeps those bits that `value` has too, and returns what the value was.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(0b110u32)?;
    /// assert_eq!(value.fetch_and(0b011), 0b110);
    /// assert_eq!(value.load(), 0b010);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_and(&self, value: T) -> T {
        self.cell().fetch_and(value)
    }

    /// Sets the bits of `value`, and returns what the value was.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(0b110u32)?;
    /// assert_eq!(value.fetch_or(0b011), 0b110);
    /// assert_eq!(value.load(), 0b111);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_or(&self, value: T) -> T {
        self.cell().fetch_or(value)
    }

    /// Flips the bits of `value`, and returns what the value was.
    ///
    /// # Process death
    /// As for [`store`](Self::store).
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::RawValue::new(0b110u32)?;
    /// assert_eq!(value.fetch_xor(0b011), 0b110);
    /// assert_eq!(value.load(), 0b101);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn fetch_xor(&self, value: T) -> T {
        self.cell().fetch_xor(value)
    }
}

fn object_type<T: Pod>() -> ObjectType {
    ObjectType::plain::<T>(Kind::RawValue)
}

impl<T> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        Self { placed: self.placed.clone(), of: PhantomData }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.load()).finish()
    }
}

#[cfg(feature = "serde")]
impl<T: Pod> serde::Serialize for RawValue<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.placed.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Pod> serde::Deserialize<'de> for RawValue<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}
