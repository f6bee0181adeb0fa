//! [`DynArray`]: an array whose C type is chosen at run time.

use std::fmt;
use std::ops::RangeBounds;
use std::time::{Duration, Instant};

use super::array_memory::{ArrayHead, ArrayMemory};
use super::dyn_array_guard::DynArrayGuard;
use super::dyn_error::DynError;
use super::hold::Hold;
use super::raw_array::RawArray;
use super::unlocked::Unlocked;
use crate::error::Error;
use crate::plain::{CType, ElementBytes, Number, OutOfRange, TypeCode};
use crate::raw::Deadline;
use crate::segment::{ObjectType, Segment, Site};
use crate::sync::{ChosenLock, Lock, LockError, RLock};

/// Numbers or characters in shared memory, of the C type that a [`TypeCode`] names, under one lock.
///
/// The same object as an [`Array`](crate::Array) of that type: what one process makes as a `DynArray` of code `d` another
/// may receive as an `Array<f64>`, and the other way round. A number that the type can't be is an error, never wrapped.
///
/// # Process death
/// As for [`Array`](crate::Array): each element is old or new, and after a holder died every operation says
/// [`LockError::OwnerDied`] until somebody has taken [`lock`](Self::lock) and [recovered](LockError::recover).
///
/// # Examples
/// ```
/// use multiproc::{DynArray, DynError, TypeCode};
/// let array = DynArray::from_numbers(TypeCode::try_from('B')?, [1, 2, 3])?;
/// array.set(0, 255)?;
/// assert!(matches!(array.set(1, 256), Err(DynError::OutOfRange { code: TypeCode::UChar, .. })));
/// assert_eq!(array.to_vec()?, [255.into(), 2.into(), 3.into()]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct DynArray {
    memory: ArrayMemory,
    code: TypeCode,
}

impl DynArray {
    /// A new array of `len` zeros of type `code`, with a lock of its own, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], also for a length beyond the address space; [`Error::TooManyFiles`],
    /// [`Error::Unsupported`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert_eq!(DynArray::zeroed(TypeCode::Int, 2)?.to_vec()?, [0.into(), 0.into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn zeroed(code: TypeCode, len: usize) -> Result<Self, Error> {
        Self::create(Site::Anywhere, code, len, ChosenLock::Own, &[])
    }

    /// A new array of `len` zeros in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, Segment, TypeCode};
    /// let segment = Segment::anonymous(4096)?;
    /// DynArray::zeroed_in(&segment, "levels", TypeCode::Float, 8)?;
    /// assert_eq!(DynArray::open_in(&segment, "levels")?.len(), 8);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn zeroed_in(segment: &Segment, name: &str, code: TypeCode, len: usize) -> Result<Self, Error> {
        Self::create(Site::In(segment, name), code, len, ChosenLock::Own, &[])
    }

    /// A new array of `numbers` in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`]; [`DynError::OutOfRange`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, Segment, TypeCode};
    /// let segment = Segment::anonymous(4096)?;
    /// DynArray::new_in(&segment, "odd", TypeCode::Short, [1, 3, 5])?;
    /// assert_eq!(DynArray::open_in(&segment, "odd")?.to_vec()?.len(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in<N: Into<Number>>(
        segment: &Segment,
        name: &str,
        code: TypeCode,
        numbers: impl IntoIterator<Item = N>,
    ) -> Result<Self, DynError> {
        let bytes = elements(code, numbers, Number::to_element)?;
        let len = bytes.len() / code.size();
        Ok(Self::create(Site::In(segment, name), code, len, ChosenLock::Own, &bytes)?)
    }

    /// The array of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// of another type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, Number, Segment, TypeCode};
    /// let segment = Segment::anonymous(4096)?;
    /// DynArray::new_in(&segment, "squares", TypeCode::Int, [0, 1, 4])?;
    /// let squares = DynArray::open_in(&segment, "squares")?;
    /// assert_eq!((squares.code(), squares.get(2)?), (TypeCode::Int, Number::Integer(4)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self, Error> {
        let (found, code) = Self::open(segment, segment.locate(name)?)?;
        Ok(Self { memory: ArrayMemory::join(found, ChosenLock::Own)?, code })
    }

    /// A new array of `numbers`.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; [`DynError::Setup`] as for [`zeroed`](Self::zeroed).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert_eq!(DynArray::from_numbers(TypeCode::WChar, "añ".chars())?.get(1)?, 'ñ'.into());
    /// assert!(DynArray::from_numbers(TypeCode::UChar, [1, -1]).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn from_numbers<N: Into<Number>>(
        code: TypeCode,
        numbers: impl IntoIterator<Item = N>,
    ) -> Result<Self, DynError> {
        Self::of_elements(code, elements(code, numbers, Number::to_element)?, ChosenLock::Own)
    }

    /// As [`from_numbers`](Self::from_numbers), wrapping as [`DynValue::wrapping_new`](crate::DynValue::wrapping_new) does.
    ///
    /// # Errors
    /// As for [`from_numbers`](Self::from_numbers), for what is no number, or no integer.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert_eq!(DynArray::wrapping_from_numbers(TypeCode::UChar, [-1])?.get(0)?, 255.into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wrapping_from_numbers<N: Into<Number>>(
        code: TypeCode,
        numbers: impl IntoIterator<Item = N>,
    ) -> Result<Self, DynError> {
        Self::of_elements(code, elements(code, numbers, Number::to_wrapped_element)?, ChosenLock::Own)
    }

    /// A new array of `numbers` under a lock that there is already, as [`Array::with_lock`](crate::Array::with_lock).
    ///
    /// # Errors
    /// As for [`from_numbers`](Self::from_numbers).
    ///
    /// # Process death
    /// As for [`Array::with_lock`](crate::Array::with_lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, Lock, TypeCode};
    /// let lock = Lock::new()?;
    /// let array = DynArray::with_lock(TypeCode::Double, [0.5, 1.5], &lock)?;
    /// array.set(0, 1)?;
    /// assert_eq!(array.get(0)?.as_f64(), Some(1.0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_lock<N: Into<Number>>(
        code: TypeCode,
        numbers: impl IntoIterator<Item = N>,
        lock: &Lock,
    ) -> Result<Self, DynError> {
        let elements = elements(code, numbers, Number::to_element)?;
        Self::of_elements(code, elements, ChosenLock::Lock(lock.clone()))
    }

    /// A new array of `numbers` under a nesting lock that there is already, as
    /// [`Array::with_rlock`](crate::Array::with_rlock).
    ///
    /// # Errors
    /// As for [`from_numbers`](Self::from_numbers).
    ///
    /// # Process death
    /// As for [`Array::with_lock`](crate::Array::with_lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, RLock, TypeCode};
    /// let lock = RLock::new()?;
    /// let array = DynArray::with_rlock(TypeCode::Double, [0.5, 1.5], &lock)?;
    /// let guard = lock.lock().map_err(multiproc::Error::from)?;
    /// array.set(0, 1)?;
    /// assert_eq!(array.get(0)?.as_f64(), Some(1.0));
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_rlock<N: Into<Number>>(
        code: TypeCode,
        numbers: impl IntoIterator<Item = N>,
        lock: &RLock,
    ) -> Result<Self, DynError> {
        let elements = elements(code, numbers, Number::to_element)?;
        Self::of_elements(code, elements, ChosenLock::RLock(lock.clone()))
    }

    /// A lock-free handle of the same elements, as [`Array::raw`](crate::Array::raw), for a `T` of this type's kind and
    /// size.
    ///
    /// # Errors
    /// [`DynError::Setup`] with [`Error::Mismatch`] for another `T`; [`DynError::Lock`].
    ///
    /// # Process death
    /// As for [`Array::raw`](crate::Array::raw).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Long, [1, 2])?;
    /// array.raw::<i64>()?.fetch_add(0, 9)?;
    /// assert_eq!(array.get(0)?, 10.into());
    /// assert!(array.raw::<u64>().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn raw<T: CType>(&self) -> Result<RawArray<T>, DynError> {
        if !self.code.is_like(T::CODE) {
            return Err(DynError::Setup(Error::Mismatch {
                object: "raw array".to_owned(),
                expected: format!("elements of type '{}'", T::CODE),
                found: format!("'{}'", self.code),
            }));
        }
        Ok(RawArray::over(&self.memory)?)
    }

    /// The type of the elements.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert_eq!(DynArray::zeroed(TypeCode::Double, 1)?.code().as_char(), 'd');
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn code(&self) -> TypeCode {
        self.code
    }

    /// Element `index`. A `u` that another process left as no character is an integer.
    ///
    /// # Errors
    /// [`DynError::Index`]; [`DynError::Lock`] as for [`Array::get`](crate::Array::get).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Float, [0.5])?;
    /// assert_eq!(array.get(0)?, 0.5.into());
    /// assert!(array.get(1).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Result<Number, DynError> {
        Ok(self.lock()?.get(index)?)
    }

    /// Replaces element `index`.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; and as for [`get`](Self::get).
    ///
    /// # Process death
    /// Killed here, the element is old or new, and the array is flagged.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Float, 1)?;
    /// array.set(0, 3)?;
    /// assert_eq!(array.get(0)?, 3.0.into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self, index: usize, value: impl Into<Number>) -> Result<(), DynError> {
        self.lock()?.set(index, value)
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
    /// let array = DynArray::zeroed(TypeCode::Short, 1)?;
    /// array.wrapping_set(0, 32_768)?;
    /// assert_eq!(array.get(0)?, (-32_768).into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wrapping_set(&self, index: usize, value: impl Into<Number>) -> Result<(), DynError> {
        self.lock()?.wrapping_set(index, value)
    }

    /// Changes element `index` by `change`, which nobody else's operation can come between.
    ///
    /// If `change` panics, the element stays as it was.
    ///
    /// # Errors
    /// As for [`set`](Self::set). Inside `change` the array is locked: its operations give `Deadlock` there.
    ///
    /// # Process death
    /// As for [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, Number, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Int, [20])?;
    /// let before = array.update(0, |number| std::mem::replace(number, Number::from(21)))?;
    /// assert_eq!((before, array.get(0)?), (20.into(), 21.into()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut Number) -> R) -> Result<R, DynError> {
        let mut guard = self.lock()?;
        let mut number = guard.get(index)?;
        let result = change(&mut number);
        guard.set(index, number)?;
        Ok(result)
    }

    /// All elements, as they were at one moment.
    ///
    /// # Errors
    /// [`DynError::Lock`] as for [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert_eq!(DynArray::zeroed(TypeCode::Int, 1)?.to_vec()?, [0.into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<Number>, DynError> {
        self.read(..)
    }

    /// The elements of `range`, as they were at one moment.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Int, [1, 2, 3])?;
    /// assert_eq!(array.read(1..)?, [2.into(), 3.into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn read(&self, range: impl RangeBounds<usize>) -> Result<Vec<Number>, DynError> {
        let size = self.code.size();
        let from = self.memory.range(range, size, None)?;
        let mut bytes = vec![0; from.len()];
        self.memory.during(|taken| self.memory.load(taken, from, size, &mut bytes))?;
        Ok(bytes.chunks_exact(size).map(|element| number(element, self.code)).collect())
    }

    /// Replaces the elements of `range` by `numbers`, of which there must be as many.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; [`DynError::Index`]; and as for [`get`](Self::get).
    ///
    /// # Process death
    /// Killed here, each element is old or new, and the array is flagged.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Int, 3)?;
    /// array.write(1.., [8, 9])?;
    /// assert_eq!(array.to_vec()?, [0.into(), 8.into(), 9.into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn write<N: Into<Number>>(
        &self,
        range: impl RangeBounds<usize>,
        numbers: impl IntoIterator<Item = N>,
    ) -> Result<(), DynError> {
        let bytes = elements(self.code, numbers, Number::to_element)?;
        let size = self.code.size();
        let to = self.memory.range(range, size, Some(bytes.len() / size))?;
        Ok(self.memory.during(|taken| self.memory.store(taken, to, size, &bytes))?)
    }

    /// Sets every element to `value`.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; [`DynError::Lock`] as for [`get`](Self::get).
    ///
    /// # Process death
    /// As for [`write`](Self::write).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Int, 2)?;
    /// array.fill(-1)?;
    /// assert_eq!(array.to_vec()?, [(-1).into(), (-1).into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn fill(&self, value: impl Into<Number>) -> Result<(), DynError> {
        let value = value.into();
        self.write(.., std::iter::repeat_n(value, self.len()))
    }

    /// The elements one by one; each step takes the lock.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::from_numbers(TypeCode::Int, [1, 2])?;
    /// let numbers = array.iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(numbers, [1.into(), 2.into()]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Number, DynError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Locks the array, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard; [`LockError::Deadlock`], [`LockError::TooManyHeld`],
    /// [`LockError::Unsupported`].
    ///
    /// # Process death
    /// What a holder that dies has written stays, and the next one is told.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Int, 3)?;
    /// let mut guard = array.lock().map_err(multiproc::Error::from)?;
    /// guard.set(0, 2)?;
    /// drop(guard);
    /// assert_eq!(array.get(0)?, 2.into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<DynArrayGuard<'_>, LockError<DynArrayGuard<'_>>> {
        self.guard(self.memory.hold(None))
    }

    /// Locks the array if nobody alive holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert!(DynArray::zeroed(TypeCode::Int, 3)?.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<DynArrayGuard<'_>, LockError<DynArrayGuard<'_>>> {
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
    /// use multiproc::{DynArray, TypeCode};
    /// assert!(DynArray::zeroed(TypeCode::Int, 3)?.lock_timeout(Duration::from_millis(1)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<DynArrayGuard<'_>, LockError<DynArrayGuard<'_>>> {
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
    /// use multiproc::{DynArray, TypeCode};
    /// assert!(DynArray::zeroed(TypeCode::Int, 3)?.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<DynArrayGuard<'_>, LockError<DynArrayGuard<'_>>> {
        self.guard(self.memory.hold(Deadline::at(deadline)))
    }

    /// Locks the array; if a holder died, `repair` makes what it protects consistent first.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), but for `OwnerDied`.
    ///
    /// # Process death
    /// A process that dies in `repair`, or panics there, leaves the flag: the next holder repairs.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// let array = DynArray::zeroed(TypeCode::Int, 3)?;
    /// let mut was_told = false;
    /// let guard = array.lock_or_recover(|_guard| was_told = true).map_err(multiproc::Error::from)?;
    /// # drop(guard);
    /// assert!(!was_told); // No holder died.
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_or_recover(
        &self,
        repair: impl FnOnce(&mut DynArrayGuard<'_>),
    ) -> Result<DynArrayGuard<'_>, LockError<DynArrayGuard<'_>>> {
        self.lock().or_else(|error| error.recover_after(repair))
    }

    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynArray, TypeCode};
    /// assert_eq!(DynArray::zeroed(TypeCode::Int, 12)?.len(), 12);
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
    /// assert!(DynArray::zeroed(TypeCode::Int, 0)?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn guard<'a>(
        &'a self,
        held: Result<Hold<'a>, LockError<Hold<'a>>>,
    ) -> Result<DynArrayGuard<'a>, LockError<DynArrayGuard<'a>>> {
        LockError::map_guard(held, |hold| DynArrayGuard::new(&self.memory, self.code, hold))
    }

    fn create(
        site: Site<'_>,
        code: TypeCode,
        len: usize,
        lock: ChosenLock,
        elements: &[u8],
    ) -> Result<Self, Error> {
        let ty = |kind| ObjectType::of_code(kind, code);
        Ok(Self { memory: ArrayMemory::create(site, ty, lock, len, layout(code), elements)?, code })
    }

    fn of_elements(code: TypeCode, elements: Vec<u8>, lock: ChosenLock) -> Result<Self, DynError> {
        Ok(Self::create(Site::Anywhere, code, elements.len() / code.size(), lock, &elements)?)
    }

    /// The array at `offset` and the type of its elements; its lock is still to come.
    fn open(segment: &Segment, offset: u64) -> Result<(Unlocked<ArrayHead>, TypeCode), Error> {
        let code = segment.code_at(offset)?;
        let ty = |kind| ObjectType::of_code(kind, code);
        Ok((ArrayMemory::open(segment, offset, ty, layout(code))?, code))
    }
}

/// Size and alignment of an element.
fn layout(code: TypeCode) -> (usize, usize) {
    (code.size(), code.size())
}

/// The bytes of `numbers`, each made by `convert`.
fn elements<N: Into<Number>>(
    code: TypeCode,
    numbers: impl IntoIterator<Item = N>,
    convert: fn(Number, TypeCode) -> Result<ElementBytes, OutOfRange>,
) -> Result<Vec<u8>, OutOfRange> {
    let mut bytes = Vec::new();
    for number in numbers {
        bytes.extend_from_slice(&convert(number.into(), code)?[..code.size()]);
    }
    Ok(bytes)
}

fn number(element: &[u8], code: TypeCode) -> Number {
    let mut bytes = ElementBytes::default();
    bytes[..element.len()].copy_from_slice(element);
    Number::from_element(bytes, code)
}

impl fmt::Debug for DynArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynArray").field("code", &self.code).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DynArray {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.memory.placed, &self.memory.lock).serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for DynArray {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let open = |segment, offset| Self::open(&segment, offset);
        super::reference::open(deserializer, open, |(object, code), lock| {
            Ok(Self { memory: ArrayMemory::join(object, lock)?, code })
        })
    }
}
