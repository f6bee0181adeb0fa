//! [`Value`]: one plain value that is never seen half written.
//!
//! Two copies and a 64-bit *version*; the copy that counts is `version & 1`.
//!
//! | who | what |
//! |---|---|
//! | `get` | reads the version, copies the copy that counts, reads the version again; again from the start iff it changed |
//! | a writer, under the lock | fills the idle copy word by word, then commits with one store of version + 1 |
//! | a writer that is killed, or rolls back | has changed only the idle copy |
//!
//! # Notes about memory ordering
//! Owed: `get` returns a value that one commit wrote, whole. A reader of version v copies what commit v published: its
//! Acquire load pairs with the commit's Release store (V1). The copy may be overwritten meanwhile, by the writer of
//! v + 2, which fills the same copy only after v + 1 was committed. That writer puts a Release fence before its words,
//! and the reader an Acquire fence behind its own: a reader that saw one of those words sees v + 1 or later in its
//! second look (V2), and starts again.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytemuck::Pod;

use super::value_guard::ValueGuard;
use crate::error::{Error, Result};
use crate::raw::RawMutex;
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Share};
use crate::sync::{LockError, LockGuard};

/// Copies lie at multiples of this, so that their words are aligned.
const WORD: usize = size_of::<u64>();

/// What stands before the two copies.
#[repr(C)]
pub(super) struct ValueHead {
    mutex: RawMutex,
    version: AtomicU64,
}

// SAFETY: repr(C), a raw primitive and an atomic; zeros are an unlocked mutex and version 0.
unsafe impl Share for ValueHead {}

/// A plain value in shared memory: read without a lock, and written as a whole.
///
/// A handle: clones are the same value, and it travels in process arguments and results. [`get`](Self::get) never waits
/// and never sees half of a write, whatever the size of `T`.
///
/// # Process death
/// A writer that dies leaves the old value or the new one, and the value unlocked.
///
/// # Examples
/// ```
/// let total = multiproc::Value::new(40u64)?;
/// total.update(|n| *n += 2)?;
/// assert_eq!(total.get(), 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Value<T> {
    placed: Placed<ValueHead>,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Pod> Value<T> {
    /// A new value, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::TooManyFiles`], [`Error::Unsupported`]; [`Error::InvalidArgument`] if `T` asks
    /// for more alignment than a page has.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Value::new([1.0, 2.0])?.get(), [1.0, 2.0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        let tail = copies_bytes::<T>().ok_or_else(out_of_memory::<T>)?;
        let placed = Placed::<ValueHead>::create(&object_type::<T>(), 1, tail, WORD)?;
        placed.tail().store(0, bytemuck::bytes_of(&value)).ok_or_else(out_of_memory::<T>)?;
        Ok(Self { placed, of: PhantomData })
    }

    /// A new value in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`]; [`Error::InvalidArgument`] as for [`new`](Self::new).
    ///
    /// # Process death
    /// Killed here, a process leaves no value of that name, or a whole one.
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
        let tail = copies_bytes::<T>().ok_or_else(out_of_memory::<T>)?;
        let shape = Shape::new::<ValueHead>(object_type::<T>(), 1, tail, WORD);
        let placed = Placed::create_in(segment, name, shape, |placed: &Placed<ValueHead>| {
            placed.tail().store(0, bytemuck::bytes_of(&value)).ok_or_else(out_of_memory::<T>)
        })?;
        Ok(Self { placed, of: PhantomData })
    }

    /// The value of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Mismatch`] if it is something else, or a value of another type.
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
        Self::open(segment.clone(), segment.locate(name)?)
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
        loop {
            // SYNC: Acquire <- `commit`'s Release store (V1): the words of this version are seen.
            let version = self.placed.version.load(Ordering::Acquire);
            let value = self.load(version);
            // SYNC: Acquire fence <- `commit`'s Release fence (V2): if one of the words was a later writer's, the next
            // load sees that the version has moved.
            fence(Ordering::Acquire);
            // Relaxed: the fence above orders it.
            if self.placed.version.load(Ordering::Relaxed) == version {
                return value;
            }
        }
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] if the calling thread holds the value locked, [`LockError::TooManyHeld`],
    /// [`LockError::Unsupported`].
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
    pub fn set(&self, value: T) -> Result<(), LockError<()>> {
        let lock = self.acquire().map_err(|error| error.map(drop))?;
        self.commit(&lock, &value);
        Ok(())
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
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError<()>> {
        let mut guard = self.lock().map_err(|error| error.map(drop))?;
        Ok(change(&mut guard))
    }

    /// Locks the value and returns a private copy of it, which is committed when the guard is dropped.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
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
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        match self.acquire() {
            Ok(lock) => Ok(ValueGuard::new(self, lock)),
            Err(error) => Err(error.map(|lock| ValueGuard::new(self, lock))),
        }
    }

    /// The value as the holder of the lock sees it.
    pub(super) fn get_locked(&self, _lock: &LockGuard<'_>) -> T {
        // Relaxed: only a holder of the lock changes it, and the lock orders holders.
        self.load(self.placed.version.load(Ordering::Relaxed))
    }

    /// Makes `value` the value. A guard that is not held, as in a forked child, changes nothing.
    pub(super) fn commit(&self, lock: &LockGuard<'_>, value: &T) {
        if !lock.is_held() {
            return;
        }
        // Relaxed: only a holder of the lock changes it, and the lock orders holders.
        let version = self.placed.version.load(Ordering::Relaxed).wrapping_add(1);
        // SYNC: Release fence -> `get`'s Acquire fence (V2): whoever sees a word stored below sees that the version has
        // moved past the one that it read.
        fence(Ordering::Release);
        // The offset was in range when the object was made or opened, and still is.
        let stored = self.placed.tail().store(copy_offset::<T>(version), bytemuck::bytes_of(value));
        debug_assert!(stored.is_some());
        // SYNC: Release -> `get`'s Acquire load (V1): publishes the words above. The one store that commits.
        self.placed.version.store(version, Ordering::Release);
    }

    /// The copy that counts in `version`. Whoever wants it whole checks the version afterwards.
    #[inline]
    fn load(&self, version: u64) -> T {
        let mut value = T::zeroed();
        let loaded = self.placed.tail().load(copy_offset::<T>(version), bytemuck::bytes_of_mut(&mut value));
        debug_assert!(loaded.is_some());
        value
    }

    /// The lock. A holder that died is of no consequence: it changed nothing but the idle copy.
    fn acquire(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        // SAFETY: the guard borrows `self`, which keeps the memory mapped; a leaked guard leaks the mapping (I5).
        let acquired = unsafe { self.placed.mutex.lock(None) };
        LockError::sort(acquired, || LockGuard::new(&self.placed.mutex)).or_else(LockError::recover)
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        let ty = object_type::<T>();
        let placed = Placed::<ValueHead>::open(segment, offset, &ty, WORD)?;
        if copies_bytes::<T>().is_none_or(|bytes| placed.tail().len() < bytes) {
            return Err(Error::Mismatch {
                object: format!("object at offset {offset}"),
                expected: format!("{ty} with room for two copies"),
                found: format!("{} bytes", placed.tail().len()),
            });
        }
        Ok(Self { placed, of: PhantomData })
    }
}

fn out_of_memory<T>() -> Error {
    Error::OutOfMemory { operation: "create value", bytes: u64::try_from(size_of::<T>()).unwrap_or(u64::MAX) }
}

fn object_type<T: Pod>() -> ObjectType {
    ObjectType::plain::<T>(Kind::Value)
}

/// Bytes of both copies.
fn copies_bytes<T>() -> Option<usize> {
    size_of::<T>().checked_next_multiple_of(WORD)?.checked_mul(2)
}

/// Where the copy lies that counts in `version`.
#[inline]
fn copy_offset<T>(version: u64) -> usize {
    if version & 1 == 0 { 0 } else { size_of::<T>().next_multiple_of(WORD) }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { placed: self.placed.clone(), of: PhantomData }
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
        self.placed.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Pod> serde::Deserialize<'de> for Value<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicBool;

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
        value.placed.tail().store(copy_offset::<[u64; 4]>(1), &[0xff; 17]).unwrap();
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
            value.placed.version.store(version, Ordering::Relaxed);
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
        #[derive(Clone, Copy)]
        #[repr(C, align(8192))]
        struct Wide([u8; 8192]);
        // SAFETY: bytes only, no padding.
        unsafe impl bytemuck::Zeroable for Wide {}
        // SAFETY: as above.
        unsafe impl Pod for Wide {}
        assert!(Value::new(Wide([1; 8192])).is_ok(), "a value is copied, so its alignment does not matter");
        let array = crate::Array::<Wide>::zeroed(1);
        assert!(matches!(array, Err(Error::InvalidArgument { .. })));
    }
}
