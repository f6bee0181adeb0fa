//! [`Lock`]: a mutual exclusion lock between processes.

use std::fmt;
use std::time::{Duration, Instant};

use super::lock_error::LockError;
use super::lock_guard::LockGuard;
use crate::error::Result;
use crate::raw::{Deadline, RawMutex};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// A lock that threads of several processes take in turn.
///
/// A handle: clones are the same lock, and it travels in process arguments and results. Not re-entrant: a thread that
/// takes it twice gets [`LockError::Deadlock`]. Barging is allowed: no order among waiters is promised.
///
/// # Process death
/// If a holder dies, by SIGKILL too, the next one gets the lock at once, as [`LockError::OwnerDied`] with the guard in it.
///
/// # Examples
/// ```
/// let lock = multiproc::Lock::new()?;
/// let guard = lock.lock().map_err(multiproc::Error::from)?;
/// assert!(lock.is_locked());
/// drop(guard);
/// assert!(!lock.is_locked());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Mutex")]
pub struct Lock {
    pub(super) mutex: Placed<RawMutex>,
}

impl Lock {
    /// A new lock, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::Lock::new()?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Self::create(Site::Anywhere)
    }

    /// A new lock in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no lock of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// let lock = Lock::new_in(&segment, "a name")?;
    /// assert!(Lock::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::create(Site::In(segment, name))
    }

    fn create(site: Site<'_>) -> Result<Self> {
        Ok(Self { mutex: Placed::make(site, Shape::of_head::<RawMutex>(object_type()), |_| Ok(()))? })
    }

    /// The lock of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Lock, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// Lock::new_in(&segment, "door")?;
    /// assert!(!Lock::open_in(&segment, "door")?.is_locked());
    /// assert!(matches!(Lock::open_in(&segment, "gate"), Err(Error::NotFound { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment.clone(), segment.locate(name)?)
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        Ok(Self { mutex: Placed::open(segment, offset, &object_type(), 1)? })
    }

    /// Takes the lock, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard, [`LockError::Deadlock`], [`LockError::TooManyHeld`],
    /// [`LockError::Unsupported`].
    ///
    /// # Process death
    /// A waiter that dies takes no wake-up with it; a holder that dies passes the lock on.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, LockError};
    /// let lock = Lock::new()?;
    /// let guard = lock.lock().map_err(multiproc::Error::from)?;
    /// assert!(matches!(lock.lock(), Err(LockError::Deadlock)));
    /// # drop(guard);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.lock_until(None)
    }

    /// Takes the lock if nobody alive holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::Lock::new()?;
    /// assert!(lock.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        LockGuard::try_lock(&self.mutex)
    }

    /// Takes the lock, waiting up to `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let lock = multiproc::Lock::new()?;
    /// assert!(lock.lock_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
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
    /// let lock = multiproc::Lock::new()?;
    /// assert!(lock.lock_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lock_deadline(&self, deadline: Instant) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
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
    /// let lock = multiproc::Lock::new()?;
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
        repair: impl FnOnce(&mut LockGuard<'_>),
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        LockGuard::lock_or_recover(&self.mutex, repair)
    }

    /// Whether anybody holds the lock at this moment.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::Lock::new()?.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.mutex.is_locked()
    }

    #[inline]
    pub(crate) fn lock_until(
        &self,
        deadline: Option<Deadline>,
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        LockGuard::lock(&self.mutex, deadline)
    }
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::Lock)
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("locked", &self.is_locked()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Lock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.mutex.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Lock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::segment::Segment;

    #[test]
    fn a_leaked_guard_leaks_its_mapping_and_it_is_found_again() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let lock = Lock::new().unwrap();
                let fd = lock.mutex.segment().descriptor().unwrap().try_clone_to_owned().unwrap();
                let address = lock.mutex.segment().region().start();
                std::mem::forget(lock.lock());
                drop(lock);
                let again = Segment::from_fd(fd).unwrap();
                assert_eq!(again.region().start(), address);
            });
        });
    }
}
