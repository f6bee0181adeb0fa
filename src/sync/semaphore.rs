//! [`Semaphore`]: a count of permissions.

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::raw::{Deadline, RawSemaphore};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// A count that [`acquire`](Self::acquire) takes from, waiting while it is 0, and [`release`](Self::release) adds to.
///
/// A handle: clones are the same semaphore, and it travels in process arguments and results. Any thread of any process
/// may release, whether it has acquired or not. Barging is allowed: no order among waiters is promised.
///
/// # Process death
/// Nobody owns a permission: one that a killed process had acquired is gone. A process killed inside an operation has
/// done it or has not, and leaves nobody asleep beside a positive count. Permissions that come back from the dead are a
/// [`Permits`](crate::Permits).
///
/// # Examples
/// ```
/// let items = multiproc::Semaphore::new(0)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| items.release());
///     items.acquire();
/// });
/// assert_eq!(items.value(), 0);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    semaphore: Placed<RawSemaphore>,
}

impl Semaphore {
    /// A new semaphore of this count, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Semaphore::new(3)?.value(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(count: u32) -> Result<Self> {
        Self::create(Site::Anywhere, count)
    }

    /// A new semaphore with `count` permissions in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no semaphore of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Semaphore, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// let semaphore = Semaphore::new_in(&segment, "a name", 3)?;
    /// assert!(Semaphore::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, count: u32) -> Result<Self> {
        Self::create(Site::In(segment, name), count)
    }

    fn create(site: Site<'_>, count: u32) -> Result<Self> {
        let shape = Shape::of_head::<RawSemaphore>(object_type());
        let semaphore = Placed::make(site, shape, |semaphore: &Placed<RawSemaphore>| {
            semaphore.set_up(count, u32::MAX);
            Ok(())
        })?;
        Ok(Self { semaphore })
    }

    /// The semaphore of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Segment, Semaphore};
    /// let segment = Segment::anonymous(4096)?;
    /// Semaphore::new_in(&segment, "items", 3)?;
    /// assert_eq!(Semaphore::open_in(&segment, "items")?.value(), 3);
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
    /// let semaphore = multiproc::Semaphore::new(1)?;
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
    /// let semaphore = multiproc::Semaphore::new(1)?;
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
    /// let semaphore = multiproc::Semaphore::new(0)?;
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
    /// assert!(multiproc::Semaphore::new(1)?.acquire_deadline(Instant::now()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn acquire_deadline(&self, deadline: Instant) -> bool {
        self.semaphore.acquire(Deadline::at(deadline))
    }

    /// Gives a permission and wakes somebody who waits for one. A count of `u32::MAX` stays as it is.
    ///
    /// # Process death
    /// Killed here, a process has given a permission, which then reaches whoever waits, or has not.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiproc::Semaphore::new(1)?;
    /// semaphore.release();
    /// assert_eq!(semaphore.value(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn release(&self) {
        self.semaphore.release();
    }

    /// The count at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Semaphore::new(7)?.value(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "get_value")]
    pub fn value(&self) -> u32 {
        self.semaphore.value()
    }
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::Semaphore)
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("value", &self.value()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Semaphore {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.semaphore.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Semaphore {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}
