//! [`DynValue`]: a value whose C type is chosen at run time.

use std::fmt;
use std::time::{Duration, Instant};

use super::dyn_error::DynError;
use super::dyn_value_guard::DynValueGuard;
use super::hold::Hold;
use super::unlocked::Unlocked;
use super::value_memory::{ValueHead, ValueMemory};
use crate::error::Result;
use crate::plain::{ElementBytes, Number, TypeCode};
use crate::raw::Deadline;
use crate::segment::{ObjectType, Segment, Site};
use crate::sync::{ChosenLock, Lock, LockError, RLock};

/// A number or a character in shared memory, of the C type that a [`TypeCode`] names.
///
/// The same object as a [`Value`](crate::Value) of that type: what one process makes as a `DynValue` of code `d` another
/// may receive as a `Value<f64>`, and the other way round. A number that the type can't be is an error, never wrapped.
///
/// # Process death
/// As for [`Value`](crate::Value): a writer that dies leaves the old value or the new one.
///
/// # Examples
/// ```
/// use multiproc::{DynError, DynValue, TypeCode};
/// let value = DynValue::new(TypeCode::try_from('b')?, 100)?;
/// value.set(-128)?;
/// assert!(matches!(value.set(200), Err(DynError::OutOfRange { code: TypeCode::SChar, .. })));
/// assert_eq!(value.get(), (-128).into());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct DynValue {
    memory: ValueMemory,
    code: TypeCode,
}

impl DynValue {
    /// A new value of type `code` with a lock of its own, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; [`DynError::Setup`] as for [`Value::new`](crate::Value::new).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// assert_eq!(DynValue::new(TypeCode::WChar, 'é')?.get().as_char(), Some('é'));
    /// assert!(DynValue::new(TypeCode::Int, 1.5).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(code: TypeCode, value: impl Into<Number>) -> Result<Self, DynError> {
        Self::create(Site::Anywhere, code, value.into().to_element(code)?, ChosenLock::Own)
    }

    /// A new value in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`]; [`DynError::OutOfRange`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, Segment, TypeCode};
    /// let segment = Segment::anonymous(4096)?;
    /// DynValue::new_in(&segment, "level", TypeCode::Double, 0.5)?;
    /// assert_eq!(DynValue::open_in(&segment, "level")?.code(), TypeCode::Double);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(
        segment: &Segment,
        name: &str,
        code: TypeCode,
        value: impl Into<Number>,
    ) -> Result<Self, DynError> {
        Self::create(Site::In(segment, name), code, value.into().to_element(code)?, ChosenLock::Own)
    }

    /// The value of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// of another type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, Number, Segment, TypeCode};
    /// let segment = Segment::anonymous(4096)?;
    /// DynValue::new_in(&segment, "hits", TypeCode::Int, 7)?;
    /// assert_eq!(DynValue::open_in(&segment, "hits")?.get(), Number::Integer(7));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        let (found, code) = Self::open(segment, segment.locate(name)?)?;
        Ok(Self { memory: ValueMemory::join(found, ChosenLock::Own)?, code })
    }

    /// As [`new`](Self::new), but an integer wraps to the width of the type as in Python and C, and a float too large for
    /// it is infinite.
    ///
    /// # Errors
    /// As for [`new`](Self::new), for what is no number, or no integer.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// assert_eq!(DynValue::wrapping_new(TypeCode::SChar, 200)?.get(), (-56).into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wrapping_new(code: TypeCode, value: impl Into<Number>) -> Result<Self, DynError> {
        Self::create(Site::Anywhere, code, value.into().to_wrapped_element(code)?, ChosenLock::Own)
    }

    /// A new value under a lock that there is already, as [`Value::with_lock`](crate::Value::with_lock).
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Process death
    /// As for [`Value::with_lock`](crate::Value::with_lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, Lock, TypeCode};
    /// let lock = Lock::new()?;
    /// let value = DynValue::with_lock(TypeCode::Double, 0.5, &lock)?;
    /// value.set(1)?;
    /// assert_eq!(value.get().as_f64(), Some(1.0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_lock(code: TypeCode, value: impl Into<Number>, lock: &Lock) -> Result<Self, DynError> {
        Self::create(Site::Anywhere, code, value.into().to_element(code)?, ChosenLock::Lock(lock.clone()))
    }

    /// A new value under a nesting lock that there is already, as [`Value::with_rlock`](crate::Value::with_rlock).
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Process death
    /// As for [`Value::with_lock`](crate::Value::with_lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, RLock, TypeCode};
    /// let lock = RLock::new()?;
    /// let value = DynValue::with_rlock(TypeCode::Double, 0.5, &lock)?;
    /// let guard = lock.lock().map_err(multiproc::Error::from)?;
    /// value.set(1)?;
    /// assert_eq!(value.get().as_f64(), Some(1.0));
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_rlock(code: TypeCode, value: impl Into<Number>, lock: &RLock) -> Result<Self, DynError> {
        Self::create(Site::Anywhere, code, value.into().to_element(code)?, ChosenLock::RLock(lock.clone()))
    }

    /// The type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// assert_eq!(DynValue::new(TypeCode::Double, 1)?.code().as_char(), 'd');
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn code(&self) -> TypeCode {
        self.code
    }

    /// The last committed value. Never waits. A `u` that another process left as no character is an integer.
    ///
    /// # Process death
    /// A writer that died does not show.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// assert_eq!(DynValue::new(TypeCode::Float, 0.5)?.get().as_f64(), Some(0.5));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn get(&self) -> Number {
        let mut element = ElementBytes::default();
        self.memory.get(&mut element[..self.code.size()]);
        Number::from_element(element, self.code)
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`DynError::OutOfRange`]; [`DynError::Lock`] as for [`Value::set`](crate::Value::set).
    ///
    /// # Process death
    /// Killed here, the old value or the new one is left, and nobody waits for the dead.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// let value = DynValue::new(TypeCode::UShort, 1)?;
    /// value.set(65_535)?;
    /// assert_eq!(value.set(-1).unwrap_err().to_string(), "-1 is out of range for 'H': 0 to 65535");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self, value: impl Into<Number>) -> Result<(), DynError> {
        self.replace(value.into().to_element(self.code)?)
    }

    /// As [`set`](Self::set), wrapping as [`wrapping_new`](Self::wrapping_new) does.
    ///
    /// # Errors
    /// As for [`set`](Self::set), for what is no number, or no integer.
    ///
    /// # Process death
    /// As for [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// let value = DynValue::new(TypeCode::UShort, 1)?;
    /// value.wrapping_set(-1)?;
    /// assert_eq!(value.get(), 65_535.into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wrapping_set(&self, value: impl Into<Number>) -> Result<(), DynError> {
        self.replace(value.into().to_wrapped_element(self.code)?)
    }

    /// Changes the value by `change`, which nobody else's write can come between.
    ///
    /// If `change` panics, the value stays as it was.
    ///
    /// # Errors
    /// As for [`set`](Self::set). Inside `change` the same value is locked: `set` gives `Deadlock` there.
    ///
    /// # Process death
    /// As for [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, Number, TypeCode};
    /// let value = DynValue::new(TypeCode::Int, 20)?;
    /// let before = value.update(|number| std::mem::replace(number, Number::from(21)))?;
    /// assert_eq!((before, value.get()), (20.into(), 21.into()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<R>(&self, change: impl FnOnce(&mut Number) -> R) -> Result<R, DynError> {
        let mut guard = self.lock()?;
        let mut number = guard.get();
        let result = change(&mut number);
        guard.set(number)?;
        Ok(result)
    }

    /// Locks the value, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard over somebody else's lock; [`LockError::Deadlock`], [`LockError::TooManyHeld`],
    /// [`LockError::Unsupported`].
    ///
    /// # Process death
    /// A holder that dies leaves the value as it was before, and a lock of its own unlocked.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// let value = DynValue::new(TypeCode::Int, 1)?;
    /// let mut guard = value.lock().map_err(multiproc::Error::from)?;
    /// guard.set(2)?;
    /// drop(guard);
    /// assert_eq!(value.get(), 2.into());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<DynValueGuard<'_>, LockError<DynValueGuard<'_>>> {
        self.guard(self.memory.hold(None))
    }

    /// Locks the value if nobody alive holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// assert!(DynValue::new(TypeCode::Int, 1)?.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<DynValueGuard<'_>, LockError<DynValueGuard<'_>>> {
        self.guard(self.memory.try_hold())
    }

    /// Locks the value, waiting up to `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{DynValue, TypeCode};
    /// assert!(DynValue::new(TypeCode::Int, 1)?.lock_timeout(Duration::from_millis(1)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<DynValueGuard<'_>, LockError<DynValueGuard<'_>>> {
        self.guard(self.memory.hold(Deadline::after(timeout)))
    }

    /// Locks the value, waiting until `deadline`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::{DynValue, TypeCode};
    /// assert!(DynValue::new(TypeCode::Int, 1)?.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<DynValueGuard<'_>, LockError<DynValueGuard<'_>>> {
        self.guard(self.memory.hold(Deadline::at(deadline)))
    }

    /// Locks the value; if a holder of somebody else's lock died, `repair` makes what it protects consistent first.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), but for `OwnerDied`.
    ///
    /// # Process death
    /// A process that dies in `repair`, or panics there, leaves the flag: the next holder repairs.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{DynValue, TypeCode};
    /// let value = DynValue::new(TypeCode::Int, 1)?;
    /// let mut was_told = false;
    /// let guard = value.lock_or_recover(|_guard| was_told = true).map_err(multiproc::Error::from)?;
    /// # drop(guard);
    /// assert!(!was_told); // No holder died.
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_or_recover(
        &self,
        repair: impl FnOnce(&mut DynValueGuard<'_>),
    ) -> Result<DynValueGuard<'_>, LockError<DynValueGuard<'_>>> {
        self.lock().or_else(|error| error.recover_after(repair))
    }

    fn replace(&self, element: ElementBytes) -> Result<(), DynError> {
        Ok(self.memory.during(|taken| self.memory.set_held(taken, &element[..self.code.size()]))?)
    }

    fn guard<'a>(
        &'a self,
        held: Result<Hold<'a>, LockError<Hold<'a>>>,
    ) -> Result<DynValueGuard<'a>, LockError<DynValueGuard<'a>>> {
        LockError::map_guard(held, |hold| DynValueGuard::new(&self.memory, self.code, hold))
    }

    fn create(
        site: Site<'_>,
        code: TypeCode,
        element: ElementBytes,
        lock: ChosenLock,
    ) -> Result<Self, DynError> {
        let ty = |kind| ObjectType::of_code(kind, code);
        Ok(Self { memory: ValueMemory::create(site, ty, lock, &element[..code.size()])?, code })
    }

    /// The value at `offset` and its type; its lock is still to come.
    fn open(segment: &Segment, offset: u64) -> Result<(Unlocked<ValueHead>, TypeCode)> {
        let code = segment.code_at(offset)?;
        let ty = |kind| ObjectType::of_code(kind, code);
        Ok((ValueMemory::open(segment, offset, ty, code.size())?, code))
    }
}

impl fmt::Debug for DynValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynValue").field("code", &self.code).field("value", &self.get()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DynValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.memory.placed, &self.memory.lock).serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for DynValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let open = |segment, offset| Self::open(&segment, offset);
        super::reference::open(deserializer, open, |(object, code), lock| {
            Ok(Self { memory: ValueMemory::join(object, lock)?, code })
        })
    }
}
