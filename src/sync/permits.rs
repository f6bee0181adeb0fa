//! [`Permits`]: a semaphore whose permits come back from the dead.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::time::{Duration, Instant};

use super::permit_error::PermitError;
use crate::error::{Error, Result};
use crate::raw::{Deadline, Lease, RawPermits, own_tid};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// The most permits that one object can have: as many as one thread can hold.
const MOST: usize = 1024;

/// A number of permits of which threads of several processes take one each at a time.
///
/// A handle: clones are the same permits, and it travels in process arguments and results. Unlike a semaphore's, the
/// permits are owned: a [`Permit`] is given back when it is dropped, by the thread that took it. Whoever comes when one is
/// free takes it, past those who wait: no order among waiters is promised.
///
/// # Process death
/// The permit of a holder that dies, by SIGKILL too, comes back: at once for whoever comes, within 200 ms for whoever
/// waits already.
///
/// # Examples
/// ```
/// let permits = multiproc::Permits::new(2)?;
/// let first = permits.acquire()?;
/// assert_eq!(permits.available(), 1);
/// drop(first);
/// assert_eq!(permits.available(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Semaphore")]
pub struct Permits {
    pub(super) permits: PlacedPermits,
}

/// The permits where they lie: behind the head, in the object's tail.
#[derive(Clone)]
pub(super) struct PlacedPermits(pub(super) Placed<RawPermits<[Lease; 0]>>);

/// A permit that is held. Dropping it gives it back, on the thread that took it: what the kernel sees die is a thread.
///
/// In a forked child it is not held, and dropping it there does nothing.
///
/// # Examples
/// ```
/// let permits = multiproc::Permits::new(2)?;
/// let permit = permits.acquire()?;
/// assert_eq!(permits.available(), 1);
/// drop(permit);
/// assert_eq!(permits.available(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "dropping the permit gives it back at once"]
pub struct Permit<'a> {
    permits: &'a RawPermits,
    index: usize,
    /// Who holds it: a forked child has a copy of the permit, and may take permits itself.
    tid: u32,
    thread_bound: PhantomData<*const ()>,
}

impl Permits {
    /// `n` permits, 1 to 1024, none of them taken, in anonymous memory of their own.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another `n`; [`Error::OutOfMemory`], [`Error::TooManyFiles`],
    /// [`Error::Unsupported`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Permits};
    /// assert_eq!(Permits::new(3)?.available(), 3);
    /// assert!(matches!(Permits::new(0), Err(Error::InvalidArgument { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(n: usize) -> Result<Self> {
        Self::create(Site::Anywhere, n)
    }

    /// `n` permits in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`]; [`Error::InvalidArgument`] as for [`new`](Self::new).
    ///
    /// # Process death
    /// Killed here, a process leaves no permits of that name, or all of them.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Permits, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// let permits = Permits::new_in(&segment, "a name", 3)?;
    /// assert!(Permits::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, n: usize) -> Result<Self> {
        Self::create(Site::In(segment, name), n)
    }

    fn create(site: Site<'_>, n: usize) -> Result<Self> {
        let (ty, bytes) = (PlacedPermits::object_type(), bytes_of(n)?);
        let shape = Shape::new::<RawPermits<[Lease; 0]>>(ty, n, bytes, align_of::<Lease>());
        Ok(Self { permits: PlacedPermits(Placed::make(site, shape, |_| Ok(()))?) })
    }

    /// The permits of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Mismatch`] if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Permits, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// Permits::new_in(&segment, "places", 3)?;
    /// assert_eq!(Permits::open_in(&segment, "places")?.available(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Ok(Self { permits: PlacedPermits::open(segment.clone(), segment.locate(name)?)? })
    }

    /// Takes a permit, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`PermitError::Deadlock`] if the calling thread holds all permits, [`PermitError::TooManyHeld`],
    /// [`PermitError::Unsupported`].
    ///
    /// # Process death
    /// A waiter that dies takes no wake-up with it; the permit of a holder that dies comes back.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{PermitError, Permits};
    /// let permits = Permits::new(1)?;
    /// let only = permits.acquire()?;
    /// assert_eq!(permits.acquire().unwrap_err(), PermitError::Deadlock);
    /// # drop(only);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>, PermitError> {
        self.acquire_until(None)
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`PermitError::WouldBlock`], and those of [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```
    /// let permits = multiproc::Permits::new(1)?;
    /// assert!(permits.try_acquire().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, PermitError> {
        // SAFETY: the permit borrows the handle, which keeps the memory mapped; a leaked one leaks the mapping (I5).
        let index = unsafe { self.permits.try_acquire() }?;
        Ok(Permit::new(&self.permits, index))
    }

    /// Takes a permit, waiting up to `timeout`.
    ///
    /// # Errors
    /// [`PermitError::TimedOut`], and those of [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let permits = multiproc::Permits::new(1)?;
    /// assert!(permits.acquire_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, PermitError> {
        self.acquire_until(Deadline::after(timeout))
    }

    /// Takes a permit, waiting until `deadline`.
    ///
    /// # Errors
    /// [`PermitError::TimedOut`], and those of [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// let permits = multiproc::Permits::new(1)?;
    /// assert!(permits.acquire_deadline(Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit<'_>, PermitError> {
        self.acquire_until(Deadline::at(deadline))
    }

    /// How many permits nobody holds at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Permits::new(7)?.available(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "get_value")]
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    #[inline]
    fn acquire_until(&self, deadline: Option<Deadline>) -> Result<Permit<'_>, PermitError> {
        // SAFETY: the permit borrows the handle, which keeps the memory mapped; a leaked one leaks the mapping (I5).
        let index = unsafe { self.permits.acquire(deadline) }?;
        Ok(Permit::new(&self.permits, index))
    }
}

/// What that many permits take behind the head.
fn bytes_of(n: usize) -> Result<usize> {
    if !(1..=MOST).contains(&n) {
        return Err(Error::InvalidArgument {
            what: "number of permits",
            expected: format!("1 to {MOST}"),
            found: n.to_string(),
        });
    }
    Ok(n * size_of::<Lease>())
}

impl PlacedPermits {
    fn object_type() -> ObjectType {
        ObjectType::untyped(Kind::Permits)
    }
}

impl Deref for PlacedPermits {
    type Target = RawPermits;

    #[inline]
    fn deref(&self) -> &RawPermits {
        // The length is the one that was checked then: this process's copy.
        let leases = ptr::slice_from_raw_parts(self.0.head().as_ptr().cast::<Lease>(), self.0.length());
        // SAFETY: `new` made, or `open` found, room in the mapping for as many leases behind the head; any bytes are
        // valid ones, which change through atomics only; the mapping lives as long as `self` is borrowed (I3).
        unsafe { &*(leases as *const RawPermits) }
    }
}

impl<'a> Permit<'a> {
    #[inline]
    fn new(permits: &'a RawPermits, index: usize) -> Self {
        Self { permits, index, tid: own_tid().unwrap_or(0), thread_bound: PhantomData }
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if own_tid() == Some(self.tid) {
            // `Corrupt` after a peer's scribble: it is not held any more then.
            let _ = self.permits.release(self.index);
        }
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits")
            .field("available", &self.available())
            .field("of", &self.permits.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Permits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.permits.0.serialize(serializer)
    }
}

impl PlacedPermits {
    /// The permits at `offset` of `segment`, if as many as their header says lie in the segment.
    fn open(segment: Segment, offset: u64) -> Result<Self> {
        let placed: Placed<RawPermits<[Lease; 0]>> =
            Placed::open(segment, offset, &Self::object_type(), align_of::<Lease>())?;
        let room = placed.tail().len() / size_of::<Lease>();
        if !(1..=MOST.min(room)).contains(&placed.length()) {
            return Err(Error::Mismatch {
                object: format!("object at offset {offset}"),
                expected: format!("1 to {MOST} permits, and room for them"),
                found: format!("{} of them, and room for {room}", placed.length()),
            });
        }
        Ok(Self(placed))
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Permits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, |segment, offset| {
            Ok(Self { permits: PlacedPermits::open(segment, offset)? })
        })
    }
}
