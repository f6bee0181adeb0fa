//! [`RLock`]: a lock between processes that its holder may take again.

use std::fmt;
use std::time::{Duration, Instant};

use super::lock_error::LockError;
use super::lock_guard::LockGuard;
use crate::error::Result;
use crate::raw::{Deadline, RawRLock};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// A lock that threads of several processes take in turn, and that nests within a thread.
///
/// A handle: clones are the same lock, and it travels in process arguments and results. The holder may take it again,
/// through any handle that its process has; it is free when every guard has been dropped. Barging is allowed: no order
/// among waiters is promised.
///
/// # Process death
/// If a holder dies, by SIGKILL too, however deep it was in the lock, the next one gets it at once, as
/// [`LockError::OwnerDied`] with the guard in it.
///
/// # Examples
/// ```
/// let lock = multiproc::RLock::new()?;
/// let outer = lock.lock().map_err(multiproc::Error::from)?;
/// let inner = lock.lock().map_err(multiproc::Error::from)?;
/// drop(inner);
/// assert!(lock.is_locked());
/// drop(outer);
/// assert!(!lock.is_locked());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "ReentrantMutex")]
pub struct RLock {
    pub(super) lock: Placed<RawRLock>,
}

/// An [`RLock`] that is held: one of its holder's guards.
///
/// # Examples
/// ```
/// let lock = multiproc::RLock::new()?;
/// let outer = lock.lock().map_err(multiproc::Error::from)?;
/// let inner: multiproc::RLockGuard = lock.lock().map_err(multiproc::Error::from)?;
/// drop(inner);
/// assert!(lock.is_locked());
/// # drop(outer);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub type RLockGuard<'a> = LockGuard<'a, RawRLock>;

impl RLock {
    /// A new lock, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::RLock::new()?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Self::create(Site::Anywhere)
    }

    /// A new nesting lock in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no nesting lock of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RLock, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// let lock = RLock::new_in(&segment, "a name")?;
    /// assert!(RLock::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::create(Site::In(segment, name))
    }

    fn create(site: Site<'_>) -> Result<Self> {
        Ok(Self { lock: Placed::make(site, Shape::of_head::<RawRLock>(object_type()), |_| Ok(()))? })
    }

    /// The nesting lock of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RLock, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// RLock::new_in(&segment, "door")?;
    /// assert!(!RLock::open_in(&segment, "door")?.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment.clone(), segment.locate(name)?)
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        Ok(Self { lock: Placed::open(segment, offset, &object_type(), 1)? })
    }

    /// Takes the lock, once more if this thread holds it, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, to a nested call too until the holder has recovered;
    /// [`LockError::TooManyHeld`], [`LockError::Unsupported`].
    ///
    /// # Process death
    /// A waiter that dies takes no wake-up with it; a holder that dies passes the lock on.
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::RLock::new()?;
    /// let guard = lock.lock().map_err(multiproc::Error::from)?;
    /// assert!(lock.lock().is_ok(), "it nests");
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_until(None)
    }

    /// Takes the lock if nobody alive, or this thread, holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::RLock::new()?;
    /// assert!(lock.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        LockGuard::try_lock(&self.lock)
    }

    /// Takes the lock, waiting up to `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let lock = multiproc::RLock::new()?;
    /// assert!(lock.lock_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
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
    /// let lock = multiproc::RLock::new()?;
    /// assert!(lock.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(&self, deadline: Instant) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
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
    /// let lock = multiproc::RLock::new()?;
    /// std::thread::scope(|scope| {
    ///     // It ends with the lock, as one that is killed.
    ///     scope.spawn(|| std::mem::forget(lock.lock()));
    /// });
    /// let mut was_told = false;
    /// let guard = lock.lock_or_recover(|_guard| was_told = true).map_err(multiproc::Error::from)?;
    /// # drop(guard);
    /// assert!(was_told && lock.lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_or_recover(
        &self,
        repair: impl FnOnce(&mut RLockGuard<'_>),
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        LockGuard::lock_or_recover(&self.lock, repair)
    }

    /// Whether anybody holds the lock at this moment.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::RLock::new()?.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    #[inline]
    pub(crate) fn lock_until(
        &self,
        deadline: Option<Deadline>,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        LockGuard::lock(&self.lock, deadline)
    }
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::RLock)
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("locked", &self.is_locked()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for RLock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.lock.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for RLock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}
