//! [`Condition`]: waiting, without the lock, for what others do under it.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use super::chosen_lock::{ChosenLock, ChosenRaw};
use super::condition_guard::ConditionGuard;
use super::condition_options::ConditionOptions;
use super::lock::Lock;
use super::lock_error::LockError;
use super::lock_guard::RawLock;
use super::rlock::RLock;
use crate::error::Result;
use crate::raw::{Deadline, RawRLock, Waiter, Waiters};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Share, Site};

/// What stands before the table of waiters.
#[repr(C)]
pub(super) struct ConditionHead {
    /// Unless the condition is over somebody else's.
    lock: RawRLock,
    next_ticket: AtomicU32,
    used: AtomicU32,
}

// SAFETY: repr(C), a raw primitive and atomics; zeros are an unlocked lock and the first ticket.
unsafe impl Share for ConditionHead {}

/// A lock, and a way to wait, with the lock released, until somebody who holds it says that something has changed.
///
/// A handle: clones are the same condition, and it travels in process arguments and results, with its lock. Waiting and
/// notifying need the lock, so they are methods of the [`ConditionGuard`]. A notification wakes who waits when it is made
/// and is not remembered; so wait for a predicate, in a loop or with [`wait_for`](ConditionGuard::wait_for).
///
/// # Process death
/// If a holder of the lock dies, the next one gets it as [`LockError::OwnerDied`]. A notification given to a waiter that
/// dies before it has the lock again goes to another that was waiting, within 200 ms. Notifiers never wait for waiters.
///
/// # Examples
/// ```
/// let condition = multiproc::Condition::new()?;
/// let guard = condition.lock().map_err(multiproc::Error::from)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| condition.lock().unwrap().notify_all());
///     let guard = guard.wait().unwrap();
///     assert_eq!(guard.waiting(), 0);
/// });
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Condvar")]
pub struct Condition {
    placed: Placed<ConditionHead>,
    /// The lock that is released while one waits.
    lock: ChosenLock,
}

impl Condition {
    /// A new condition with a lock of its own, which nests, in anonymous memory of its own. There is room for 64 waiters:
    /// see [`ConditionOptions`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// assert!(condition.lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        ConditionOptions::new().create()
    }

    /// A new condition with a lock of its own in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no condition of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// let condition = Condition::new_in(&segment, "a name")?;
    /// assert!(Condition::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str) -> Result<Self> {
        ConditionOptions::new().create_in(segment, name)
    }

    /// The condition of that name in `segment`, which has a lock of its own.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// Condition::new_in(&segment, "changed")?;
    /// assert!(Condition::open_in(&segment, "changed")?.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        let placed = Self::open(segment.clone(), segment.locate(name)?)?;
        Ok(Self { placed, lock: ChosenLock::Own })
    }

    /// A new condition over a lock that there is already. Several conditions may share one.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, Lock};
    /// let lock = Lock::new()?;
    /// let (not_full, not_empty) = (Condition::with_lock(&lock)?, Condition::with_lock(&lock)?);
    /// let guard = not_full.lock().map_err(multiproc::Error::from)?;
    /// assert!(lock.is_locked());
    /// # drop((guard, not_empty));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_lock(lock: &Lock) -> Result<Self> {
        ConditionOptions::new().with_lock(lock)
    }

    /// A new condition over a nesting lock that there is already. A wait releases all levels and restores them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, RLock};
    /// let lock = RLock::new()?;
    /// let condition = Condition::with_rlock(&lock)?;
    /// let outer = lock.lock().map_err(multiproc::Error::from)?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// assert!(lock.is_locked());
    /// # drop((guard, outer));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_rlock(lock: &RLock) -> Result<Self> {
        ConditionOptions::new().with_rlock(lock)
    }

    /// Takes the lock, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::Deadlock`] if the calling thread holds it and it is a
    /// [`Lock`], [`LockError::TooManyHeld`], [`LockError::Unsupported`].
    ///
    /// # Process death
    /// As for [`Lock::lock`].
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// let guard = condition.lock().map_err(multiproc::Error::from)?;
    /// assert_eq!(guard.notify_all(), 0); // Nobody waits.
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<ConditionGuard<'_>, LockError<ConditionGuard<'_>>> {
        self.lock_until(None)
    }

    /// Takes the lock if nobody alive holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::Condition::new()?.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ConditionGuard<'_>, LockError<ConditionGuard<'_>>> {
        // SAFETY: the guard borrows the handle, which keeps the memory mapped; a leaked guard leaks the mapping (I5).
        let acquired = unsafe { self.raw_lock().try_lock() };
        LockError::sort(acquired, || ConditionGuard::new(self))
    }

    /// Takes the lock, waiting up to `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// assert!(multiproc::Condition::new()?.lock_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ConditionGuard<'_>, LockError<ConditionGuard<'_>>> {
        self.lock_until(Deadline::after(timeout))
    }

    /// Takes the lock, waiting until `deadline`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// assert!(multiproc::Condition::new()?.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<ConditionGuard<'_>, LockError<ConditionGuard<'_>>> {
        self.lock_until(Deadline::at(deadline))
    }

    /// Takes the lock; if a holder died, `repair` makes what it protects consistent first.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), but for `OwnerDied`.
    ///
    /// # Process death
    /// A process that dies in `repair`, or panics there, leaves the lock flagged: the next holder repairs.
    ///
    /// # Examples
    /// ```
    /// let condition = multiproc::Condition::new()?;
    /// std::thread::scope(|scope| {
    ///     // It ends with the lock, as one that is killed.
    ///     scope.spawn(|| std::mem::forget(condition.lock()));
    /// });
    /// let mut was_told = false;
    /// let guard = condition.lock_or_recover(|_guard| was_told = true).map_err(multiproc::Error::from)?;
    /// # drop(guard);
    /// assert!(was_told && condition.lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_or_recover(
        &self,
        repair: impl FnOnce(&mut ConditionGuard<'_>),
    ) -> Result<ConditionGuard<'_>, LockError<ConditionGuard<'_>>> {
        self.lock().or_else(|error| error.recover_after(repair))
    }

    pub(super) fn create(site: Site<'_>, waiters: usize, lock: ChosenLock) -> Result<Self> {
        let tail = waiters.saturating_mul(size_of::<Waiter>());
        let shape = Shape::new::<ConditionHead>(object_type(), waiters, tail, align_of::<Waiter>());
        Ok(Self { placed: Placed::make(site, shape, |_| Ok(()))?, lock })
    }

    fn open(segment: Segment, offset: u64) -> Result<Placed<ConditionHead>> {
        Placed::open(segment, offset, &object_type(), align_of::<Waiter>())
    }

    /// See [`look`](super::look::look).
    #[cfg(feature = "inspect")]
    pub(super) fn look(
        segment: Segment,
        offset: u64,
        leases: &mut Vec<crate::raw::LeaseInfo>,
    ) -> Result<Vec<(&'static str, u64)>> {
        let condition = Self { placed: Self::open(segment, offset)?, lock: ChosenLock::Own };
        condition.placed.lock.look("lock", leases);
        condition.waiters().look(leases);
        let waiting = u64::try_from(condition.waiters().count()).unwrap_or(u64::MAX);
        Ok(vec![("waiting", waiting)])
    }

    #[inline]
    pub(super) fn raw_lock(&self) -> ChosenRaw<'_> {
        self.lock.raw(&self.placed.lock)
    }

    pub(super) fn waiters(&self) -> Waiters<'_> {
        Waiters {
            next_ticket: &self.placed.next_ticket,
            used: &self.placed.used,
            entries: self.placed.tail_slice(0, self.placed.length()).unwrap_or(&[]),
        }
    }

    #[inline(always)] // As `RawMutex::lock`.
    fn lock_until(
        &self,
        deadline: Option<Deadline>,
    ) -> Result<ConditionGuard<'_>, LockError<ConditionGuard<'_>>> {
        // SAFETY: the guard borrows the handle, which keeps the memory mapped; a leaked guard leaks the mapping (I5).
        let acquired = unsafe { self.raw_lock().lock_by(deadline) };
        let tid = acquired.map_or(0, |(_, tid)| tid);
        LockError::sort(acquired.map(|(acquired, _)| acquired), || ConditionGuard::by(self, tid))
    }
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::Condition)
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("max_waiters", &self.placed.length()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.placed, &self.lock).serialize(serializer)
    }
}

/// The condition's own part of a message.
#[cfg(feature = "serde")]
struct Reference(Placed<ConditionHead>);

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, |segment, offset| {
            Ok(Self(Condition::open(segment, offset)?))
        })
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Reference(placed), lock) = serde::Deserialize::deserialize(deserializer)?;
        Ok(Self { placed, lock })
    }
}
