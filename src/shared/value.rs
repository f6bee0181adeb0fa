//! [`Value`]: one plain value that is never seen half written.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use bytemuck::Pod;

use super::hold::Hold;
use super::value_guard::ValueGuard;
use super::value_memory::ValueMemory;
use crate::error::Result;
use crate::raw::Deadline;
use crate::segment::{ObjectType, Segment, Site};
use crate::sync::{ChosenLock, Lock, LockError, RLock};

/// A plain value in shared memory: read without a lock, and written as a whole.
///
/// A handle: clones are the same value, and it travels in process arguments and results. [`get`](Self::get) never waits
/// and never sees half of a write, whatever the size of `T`.
///
/// # Process death
/// A writer that dies leaves the old value or the new one, and the value unlocked. Over somebody else's lock, a holder
/// that dies flags that lock; the value is old or new still.
///
/// # Examples
/// ```
/// let total = multiproc::Value::new(40u64)?;
/// total.update(|n| *n += 2)?;
/// assert_eq!(total.get(), 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "get_lock")]
pub struct Value<T> {
    memory: ValueMemory,
    of: PhantomData<fn(T) -> T>,
}

type Locked<'a, T> = Result<ValueGuard<'a, T>, LockError<ValueGuard<'a, T>>>;

impl<T: Pod> Value<T> {
    /// A new value with a lock of its own, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Value::new([1.0, 2.0])?.get(), [1.0, 2.0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        Self::create(Site::Anywhere, value, ChosenLock::Own)
    }

    /// A new value with a lock of its own in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Segment, Value};
    /// let segment = Segment::anonymous(4096)?;
    /// Value::new_in(&segment, "answer", 42u8)?;
    /// assert_eq!(Value::<u8>::open_in(&segment, "answer")?.get(), 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, value: T) -> Result<Self> {
        Self::create(Site::In(segment, name), value, ChosenLock::Own)
    }

    /// The value of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// of another type.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment, Value};
    /// let segment = Segment::anonymous(4096)?;
    /// Value::new_in(&segment, "answer", 42i64)?;
    /// assert!(matches!(Value::<f64>::open_in(&segment, "answer"), Err(Error::Mismatch { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        let found =
            ValueMemory::open(segment, segment.locate(name)?, ObjectType::plain::<T>, size_of::<T>())?;
        Ok(Self { memory: ValueMemory::join(found, ChosenLock::Own)?, of: PhantomData })
    }

    /// A new value under a lock that there is already, and that may protect other things too. It travels with the value.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Process death
    /// If a holder of the lock dies, everything here that locks says [`LockError::OwnerDied`], and changes nothing, until
    /// somebody has [recovered](LockError::recover) the lock. No operation on the value does that of itself: it does not
    /// know what else the lock protects. [`get`](Self::get) goes on.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, LockError, Value};
    /// let lock = Lock::new()?;
    /// let (paid, owed) = (Value::with_lock(0, &lock)?, Value::with_lock(10, &lock)?);
    /// paid.update(|sum| *sum += 3)?;
    /// let guard = lock.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(paid.get() + owed.get(), 13);
    /// assert!(matches!(paid.set(4), Err(LockError::Deadlock)), "this thread holds the lock");
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_lock(value: T, lock: &Lock) -> Result<Self> {
        Self::create(Site::Anywhere, value, ChosenLock::Lock(lock.clone()))
    }

    /// A new value under a nesting lock that there is already: whoever holds it works on the value too.
    ///
    /// What nests is the lock: on one thread, one guard or closure at a time has the value.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Process death
    /// As for [`with_lock`](Self::with_lock).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RLock, Value};
    /// let lock = RLock::new()?;
    /// let (from, to) = (Value::with_rlock(10, &lock)?, Value::with_rlock(0, &lock)?);
    /// let both = lock.lock().map_err(multiproc::Error::from)?;
    /// from.update(|sum| *sum -= 4)?;
    /// to.update(|sum| *sum += 4)?;
    /// drop(both);
    /// assert_eq!((from.get(), to.get()), (6, 4));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_rlock(value: T, lock: &RLock) -> Result<Self> {
        Self::create(Site::Anywhere, value, ChosenLock::RLock(lock.clone()))
    }

    /// The last committed value. Never waits.
    ///
    /// # Process death
    /// A writer that died does not show.
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::Value::new(7i32)?;
    /// let _writing = value.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(value.get(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn get(&self) -> T {
        let mut value = T::zeroed();
        self.memory.get(bytemuck::bytes_of_mut(&mut value));
        value
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] if the calling thread holds the value locked, [`LockError::TooManyHeld`],
    /// [`LockError::Unsupported`]; [`LockError::OwnerDied`] over somebody else's lock. Nothing was changed then.
    ///
    /// # Process death
    /// Killed here, the old value or the new one is left, and nobody waits for the dead.
    ///
    /// # Examples
    /// ```
    /// let value = multiproc::Value::new(1u8)?;
    /// value.set(2)?;
    /// assert_eq!(value.get(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn set(&self, value: T) -> Result<(), LockError<()>> {
        self.memory.during(|taken| self.memory.set_held(taken, bytemuck::bytes_of(&value)))
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
    /// let value = multiproc::Value::new(20u64)?;
    /// let before = value.update(|n| std::mem::replace(n, 21))?;
    /// assert_eq!((before, value.get()), (20, 21));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError<()>> {
        self.memory.change(|taken| {
            let mut value = T::zeroed();
            let version = self.memory.get_held(taken, bytemuck::bytes_of_mut(&mut value));
            let result = change(&mut value);
            (result, (version, value))
        })
    }

    /// Locks the value, waiting for as long as it takes, and returns a private copy of it, which is committed when the
    /// guard is dropped.
    ///
    /// # Errors
    /// As for [`set`](Self::set); [`LockError::OwnerDied`] with the guard.
    ///
    /// # Process death
    /// A holder that dies leaves the value as it was before, and unlocked.
    ///
    /// # Examples
    /// ```
    /// let point = multiproc::Value::new([0, 0])?;
    /// let mut guard = point.lock().map_err(multiproc::Error::from)?;
    /// guard[0] = 3;
    /// guard[1] = 4;
    /// assert_eq!(point.get(), [0, 0]);
    /// drop(guard);
    /// assert_eq!(point.get(), [3, 4]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        self.guard(self.memory.hold(None))
    }

    /// Locks the value if nobody alive holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::Value::new(1)?.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
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
    /// assert!(multiproc::Value::new(1)?.lock_timeout(Duration::from_millis(1)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
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
    /// assert!(multiproc::Value::new(1)?.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        self.guard(self.memory.hold(Deadline::at(deadline)))
    }

    /// Locks the value; if a holder of somebody else's lock died, `repair` makes what it protects consistent first.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), but for `OwnerDied`.
    ///
    /// # Process death
    /// A process that dies in `repair`, or panics there, leaves the lock flagged: the next holder repairs.
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::Lock::new()?;
    /// let value = multiproc::Value::with_lock(1, &lock)?;
    /// std::thread::scope(|scope| {
    ///     // It ends with the lock, as one that is killed.
    ///     scope.spawn(|| std::mem::forget(lock.lock()));
    /// });
    /// let guard = value.lock_or_recover(|value| **value = 7).map_err(multiproc::Error::from)?;
    /// drop(guard);
    /// assert_eq!(value.get(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_or_recover(
        &self,
        repair: impl FnOnce(&mut ValueGuard<'_, T>),
    ) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        self.lock().or_else(|error| error.recover_after(repair))
    }

    #[inline(always)] // Else the guard travels through memory once more.
    fn guard<'a>(&'a self, held: Result<Hold<'a>, LockError<Hold<'a>>>) -> Locked<'a, T> {
        LockError::map_guard(held, |hold| ValueGuard::new(&self.memory, hold))
    }

    fn create(site: Site<'_>, value: T, lock: ChosenLock) -> Result<Self> {
        let memory = ValueMemory::create(site, ObjectType::plain::<T>, lock, bytemuck::bytes_of(&value))?;
        Ok(Self { memory, of: PhantomData })
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), of: PhantomData }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.get()).finish()
    }
}

#[cfg(feature = "serde")]
impl<T: Pod> serde::Serialize for Value<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.memory.placed, &self.memory.lock).serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Pod> serde::Deserialize<'de> for Value<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let open =
            |segment, offset| ValueMemory::open(&segment, offset, ObjectType::plain::<T>, size_of::<T>());
        let memory = super::reference::open(deserializer, open, ValueMemory::join)?;
        Ok(Self { memory, of: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::value_memory::copy_offset;
    use super::*;

    #[test]
    fn a_reader_never_sees_half_of_a_write() {
        let value = Value::new([0u64; 37]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=20_000 {
                    value.set([n; 37]).unwrap();
                }
                done.store(true, Ordering::Release);
            });
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let seen = value.get();
                assert!(seen.iter().all(|&word| word == seen[0]), "{seen:?}");
                assert!(seen[0] >= last);
                last = seen[0];
            }
        });
        assert_eq!(value.get(), [20_000; 37]);
    }

    #[test]
    fn updates_of_two_threads_all_count() {
        let value = Value::new(0u32).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..5_000).for_each(|_| value.update(|n| *n += 1).unwrap()));
            }
        });
        assert_eq!(value.get(), 10_000);
    }

    #[test]
    fn a_panic_in_update_rolls_back_and_unlocks() {
        let value = Value::new([1u8, 2, 3]).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            value.update(|bytes| {
                bytes[0] = 9;
                panic!("planned");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(value.get(), [1, 2, 3]);
        value.set([4, 5, 6]).unwrap();
    }

    #[test]
    fn a_holder_that_dies_leaves_the_old_value_and_no_flag() {
        let value = Value::new(5u64).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut guard = value.lock().unwrap();
                *guard = 6;
                std::mem::forget(guard);
            });
        });
        assert_eq!(value.get(), 5);
        assert_eq!(value.update(|n| std::mem::replace(n, 7)).unwrap(), 5);
        assert_eq!(*value.lock().unwrap(), 7);
    }

    #[test]
    fn a_half_filled_idle_copy_does_not_show() {
        let value = Value::new([1u64; 4]).unwrap();
        value.memory.placed.tail().store(copy_offset(1, 32), &[0xff; 17]).unwrap();
        assert_eq!(value.get(), [1; 4]);
        value.set([2; 4]).unwrap();
        assert_eq!(value.get(), [2; 4]);
    }

    #[test]
    fn an_update_inside_an_update_is_a_deadlock_error() {
        let value = Value::new(0u8).unwrap();
        let inner = value.update(|_| value.set(1)).unwrap();
        assert!(matches!(inner, Err(LockError::Deadlock)));
    }

    #[test]
    fn any_version_a_peer_writes_is_harmless() {
        let value = Value::new(3u8).unwrap();
        for version in [u64::MAX, 1 << 63, 12_345] {
            value.memory.placed.version.store(version, Ordering::Relaxed);
            let _ = value.get();
            value.set(8).unwrap();
            assert_eq!(value.get(), 8);
        }
    }

    #[test]
    fn a_value_of_no_bytes_or_of_an_odd_size_works() {
        Value::new(()).unwrap().set(()).unwrap();
        let odd = Value::new([7u8; 13]).unwrap();
        odd.update(|bytes| bytes[12] = 1).unwrap();
        assert_eq!(odd.get(), [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 1]);
    }

    #[test]
    fn more_alignment_than_a_page_is_refused() {
        #[derive(Clone, Copy, Pod, bytemuck::Zeroable)]
        #[repr(C, align(8192))]
        struct Wide([u8; 8192]);
        assert!(Value::new(Wide([1; 8192])).is_ok(), "a value is copied, so its alignment does not matter");
        let array = crate::Array::<Wide>::zeroed(1);
        assert!(matches!(array, Err(crate::Error::InvalidArgument { .. })));
    }
}
