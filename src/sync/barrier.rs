//! [`Barrier`]: a place where threads of several processes wait for each other.
#![allow(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::barrier_ticket::BarrierTicket;
use super::broken_barrier::BrokenBarrier;
use super::lock_error::LockError;
use crate::error::{Error, Result};
use crate::raw::{Acquired, Arrival, Arrivals, BarrierHead, Deadline};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// The most parties that a barrier can have.
const MOST: u32 = 1 << 14;
/// Places for each party: more threads than parties may use a barrier, and some may still be leaving.
const PLACES: usize = 2;

/// A place where a number of threads, of any processes, wait until all of them have come.
///
/// A handle: clones are the same barrier, and it travels in process arguments and results. It can be used again at
/// once. When it is broken, everybody who waits at it or comes to it is told so, until somebody [resets](Self::reset) it.
///
/// # Process death
/// A party that dies while it waits, by SIGKILL too, breaks the barrier for the others within 200 ms. One that dies before
/// it comes to the barrier is waited for: give such waits a time.
///
/// # Examples
/// ```
/// let barrier = multiproc::Barrier::new(2)?;
/// let mut places = std::thread::scope(|scope| {
///     let other = scope.spawn(|| barrier.wait());
///     [barrier.wait(), other.join().unwrap()].map(|ticket| ticket.unwrap().index())
/// });
/// places.sort();
/// assert_eq!(places, [0, 1]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    barrier: Placed<BarrierHead>,
}

impl Barrier {
    /// A new barrier of this many parties, 1 to 16384, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another number; [`Error::OutOfMemory`], [`Error::TooManyFiles`],
    /// [`Error::Unsupported`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, Error};
    /// assert_eq!(Barrier::new(3)?.parties(), 3);
    /// assert!(matches!(Barrier::new(0), Err(Error::InvalidArgument { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(parties: u32) -> Result<Self> {
        Self::create(Site::Anywhere, parties)
    }

    /// A new barrier for `parties` parties in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`]; [`Error::InvalidArgument`] as for [`new`](Self::new).
    ///
    /// # Process death
    /// Killed here, a process leaves no barrier of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// let barrier = Barrier::new_in(&segment, "a name", 3)?;
    /// assert!(Barrier::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, parties: u32) -> Result<Self> {
        Self::create(Site::In(segment, name), parties)
    }

    fn create(site: Site<'_>, parties: u32) -> Result<Self> {
        let places = places(parties)?;
        let bytes = places * size_of::<Arrival>();
        let shape = Shape::new::<BarrierHead>(object_type(), places, bytes, align_of::<Arrival>());
        let barrier = Placed::make(site, shape, |barrier: &Placed<BarrierHead>| {
            barrier.set_parties(parties);
            Ok(())
        })?;
        Ok(Self { barrier })
    }

    /// The barrier of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Mismatch`] if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// Barrier::new_in(&segment, "start", 3)?;
    /// assert_eq!(Barrier::open_in(&segment, "start")?.parties(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment.clone(), segment.locate(name)?)
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        Ok(Self { barrier: Placed::open(segment, offset, &object_type(), align_of::<Arrival>())? })
    }

    /// Waits until all parties have come.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Process death
    /// The death of a party that waits is noticed within 200 ms; that of one that has not come yet, not at all.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::Barrier::new(1)?;
    /// assert_eq!(barrier.wait()?.index(), 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(&self) -> Result<BarrierTicket, BrokenBarrier> {
        self.wait_until(None, || ())
    }

    /// Waits up to `timeout` until all parties have come; if the time passes first, the barrier is broken.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, BrokenBarrier};
    /// use std::time::Duration;
    /// let barrier = Barrier::new(2)?;
    /// let waited = barrier.wait_timeout(Duration::from_millis(1));
    /// assert_eq!(waited, Err(BrokenBarrier::TimedOut));
    /// assert_eq!(barrier.wait(), Err(BrokenBarrier::Broken));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierTicket, BrokenBarrier> {
        self.wait_until(Deadline::after(timeout), || ())
    }

    /// Waits until `deadline` for all parties to come; if it passes first, the barrier is broken.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::Barrier::new(1)?;
    /// assert!(barrier.wait_deadline(std::time::Instant::now()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierTicket, BrokenBarrier> {
        self.wait_until(Deadline::at(deadline), || ())
    }

    /// Waits until all parties have come; if this one is the last, it runs `action` before anybody leaves.
    ///
    /// The barrier is not locked meanwhile: waits may time out, and somebody may abort. `action` must not wait at the same
    /// barrier.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Panics
    /// If `action` does; the barrier is broken then.
    ///
    /// # Process death
    /// A process that dies in `action` breaks the barrier.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::Barrier::new(1)?;
    /// let mut ran = false;
    /// barrier.wait_with(|| ran = true)?;
    /// assert!(ran);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierTicket, BrokenBarrier> {
        self.wait_until(None, action)
    }

    /// [`wait_with`](Self::wait_with) for up to `timeout`.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Panics
    /// If `action` does; the barrier is broken then.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let barrier = multiproc::Barrier::new(1)?;
    /// assert!(barrier.wait_with_timeout(Duration::from_secs(1), || ()).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_with_timeout(
        &self,
        timeout: Duration,
        action: impl FnOnce(),
    ) -> Result<BarrierTicket, BrokenBarrier> {
        self.wait_until(Deadline::after(timeout), action)
    }

    /// Makes the barrier usable again, broken or not. Who waits at it is told that it broke.
    ///
    /// # Errors
    /// [`LockError::TooManyHeld`], [`LockError::Corrupt`], [`LockError::Unsupported`], from a lock inside the barrier.
    ///
    /// # Process death
    /// Killed here, a process has reset the barrier, or has broken it for whoever waits, or has done neither.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::Barrier::new(2)?;
    /// barrier.abort();
    /// barrier.reset()?;
    /// assert!(!barrier.is_broken());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn reset(&self) -> Result<(), LockError<()>> {
        // SAFETY: `self` keeps the memory mapped.
        let reset = unsafe { self.arrivals().reset() };
        LockError::sort(reset.map(|()| Acquired::Consistent), || ())
    }

    /// Breaks the barrier: who waits at it, or comes to it, is told so until somebody resets it.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::Barrier::new(2)?;
    /// barrier.abort();
    /// assert!(barrier.is_broken());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn abort(&self) {
        self.arrivals().abort();
    }

    /// How many parties must come.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Barrier::new(5)?.parties(), 5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.barrier.parties()
    }

    /// How many parties have come and wait at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Barrier::new(5)?.waiting(), 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> u32 {
        self.arrivals().waiting()
    }

    /// Whether the barrier is broken.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::Barrier::new(5)?.is_broken());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.barrier.is_broken()
    }

    fn wait_until(
        &self,
        deadline: Option<Deadline>,
        action: impl FnOnce(),
    ) -> Result<BarrierTicket, BrokenBarrier> {
        // SAFETY: `self` keeps the memory mapped.
        let index = unsafe { self.arrivals().wait(deadline, action) }?;
        Ok(BarrierTicket::new(index))
    }

    fn arrivals(&self) -> Arrivals<'_> {
        Arrivals {
            head: &self.barrier,
            entries: self.barrier.tail_slice(0, self.barrier.length()).unwrap_or(&[]),
        }
    }
}

/// How many places a barrier of so many parties has.
fn places(parties: u32) -> Result<usize> {
    let refused = || Error::InvalidArgument {
        what: "parties of a barrier",
        expected: format!("1 to {MOST}"),
        found: parties.to_string(),
    };
    if !(1..=MOST).contains(&parties) {
        return Err(refused());
    }
    Ok(usize::try_from(parties).map_err(|_| refused())? * PLACES)
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::Barrier)
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Barrier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.barrier.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Barrier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}
