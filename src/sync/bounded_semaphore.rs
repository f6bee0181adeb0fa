//! [`BoundedSemaphore`]: a semaphore that can't be released more often than it was acquired.

use std::fmt;
use std::time::{Duration, Instant};

use super::over_released::OverReleased;
use crate::error::Result;
use crate::raw::{Deadline, RawSemaphore};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// A [`Semaphore`](crate::Semaphore) whose count never exceeds its first value.
///
/// A handle: clones are the same semaphore, and it travels in process arguments and results.
///
/// # Process death
/// As for [`Semaphore`](crate::Semaphore): a killed process takes the permissions it has acquired with it. Permissions
/// that come back are a [`Permits`](crate::Permits).
///
/// # Examples
/// ```
/// let connections = multiproc::BoundedSemaphore::new(2)?;
/// connections.acquire();
/// connections.release()?;
/// assert!(connections.release().is_err(), "released more often than acquired");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore {
    semaphore: Placed<RawSemaphore>,
}

impl BoundedSemaphore {
    /// A new semaphore of this count, which is its maximum too, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::BoundedSemaphore::new(3)?.value(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(count: u32) -> Result<Self> {
        Self::create(Site::Anywhere, count)
    }

    /// A new bounded semaphore with `count` permissions in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no bounded semaphore of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{BoundedSemaphore, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// let semaphore = BoundedSemaphore::new_in(&segment, "a name", 3)?;
    /// assert!(BoundedSemaphore::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, count: u32) -> Result<Self> {
        Self::create(Site::In(segment, name), count)
    }

    fn create(site: Site<'_>, count: u32) -> Result<Self> {
        let shape = Shape::of_head::<RawSemaphore>(object_type());
        let semaphore = Placed::make(site, shape, |semaphore: &Placed<RawSemaphore>| {
            semaphore.set_up(count, count);
            Ok(())
        })?;
        Ok(Self { semaphore })
    }

    /// The bounded semaphore of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{BoundedSemaphore, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// BoundedSemaphore::new_in(&segment, "places", 3)?;
    /// assert_eq!(BoundedSemaphore::open_in(&segment, "places")?.value(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment.clone(), segment.locate(name)?)
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        Ok(Self { semaphore: Placed::open(segment, offset, &object_type(), 1)? })
    }

    /// Takes a permission, waiting for as long as it takes.
    ///
    /// # Process death
    /// Killed here, a process has taken a permission or has not. It takes no wake-up with it.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiproc::BoundedSemaphore::new(1)?;
    /// semaphore.acquire();
    /// assert_eq!(semaphore.value(), 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn acquire(&self) {
        while !self.semaphore.acquire(None) {}
    }

    /// Takes a permission if there is one.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiproc::BoundedSemaphore::new(1)?;
    /// assert!(semaphore.try_acquire());
    /// assert!(!semaphore.try_acquire());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn try_acquire(&self) -> bool {
        self.semaphore.try_acquire()
    }

    /// Takes a permission, waiting up to `timeout`; false if the time passed first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let semaphore = multiproc::BoundedSemaphore::new(0)?;
    /// assert!(!semaphore.acquire_timeout(Duration::from_millis(1)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.semaphore.acquire(Deadline::after(timeout))
    }

    /// Takes a permission, waiting until `deadline`; false if that passed first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// assert!(multiproc::BoundedSemaphore::new(1)?.acquire_deadline(Instant::now()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn acquire_deadline(&self, deadline: Instant) -> bool {
        self.semaphore.acquire(Deadline::at(deadline))
    }

    /// Gives a permission and wakes somebody who waits for one.
    ///
    /// # Errors
    /// [`OverReleased`] if the count is at its maximum; it is not changed.
    ///
    /// # Process death
    /// Killed here, a process has given a permission, which then reaches whoever waits, or has not.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{BoundedSemaphore, OverReleased};
    /// let semaphore = BoundedSemaphore::new(1)?;
    /// assert_eq!(semaphore.release(), Err(OverReleased));
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), OverReleased> {
        if self.semaphore.release() { Ok(()) } else { Err(OverReleased) }
    }

    /// The count at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::BoundedSemaphore::new(7)?.value(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "get_value")]
    pub fn value(&self) -> u32 {
        self.semaphore.value()
    }
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::BoundedSemaphore)
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore").field("value", &self.value()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for BoundedSemaphore {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.semaphore.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for BoundedSemaphore {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}
