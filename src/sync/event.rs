//! [`Event`]: a flag that processes wait for.

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::raw::{Deadline, RawEvent};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Site};

/// A flag that is set or not, and that any process may set, clear and wait for.
///
/// A handle: clones are the same event, and it travels in process arguments and results. What was written before
/// [`set`](Self::set) is visible to whoever sees it set. An event that is set and cleared at once still wakes everybody
/// who was waiting.
///
/// # Process death
/// Nobody holds an event: the death of a process changes nothing, and leaves nobody asleep whom it had begun to wake.
///
/// # Examples
/// ```
/// let started = multiproc::Event::new()?;
/// assert!(!started.is_set());
/// started.set();
/// started.wait();
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Event {
    event: Placed<RawEvent>,
}

impl Event {
    /// A new event, not set, in anonymous memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::Event::new()?.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Self::create(Site::Anywhere)
    }

    /// A new event in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no event of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// let event = Event::new_in(&segment, "a name")?;
    /// assert!(Event::open_in(&segment, "a name").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::create(Site::In(segment, name))
    }

    fn create(site: Site<'_>) -> Result<Self> {
        Ok(Self { event: Placed::make(site, Shape::of_head::<RawEvent>(object_type()), |_| Ok(()))? })
    }

    /// The event of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Segment};
    /// let segment = Segment::anonymous(4096)?;
    /// Event::new_in(&segment, "ready")?.set();
    /// assert!(Event::open_in(&segment, "ready")?.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open(segment.clone(), segment.locate(name)?)
    }

    fn open(segment: Segment, offset: u64) -> Result<Self> {
        Ok(Self { event: Placed::open(segment, offset, &object_type(), 1)? })
    }

    /// Sets the event and wakes everybody who waits for it.
    ///
    /// # Process death
    /// A process killed here has set the event and woken its waiters, or has done neither.
    ///
    /// # Examples
    /// ```
    /// let event = multiproc::Event::new()?;
    /// event.set();
    /// assert!(event.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set(&self) {
        self.event.set();
    }

    /// Clears the event.
    ///
    /// # Examples
    /// ```
    /// let event = multiproc::Event::new()?;
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) {
        self.event.clear();
    }

    /// Whether the event is set.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::Event::new()?.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.event.is_set()
    }

    /// Waits until the event is set.
    ///
    /// # Process death
    /// Waits for ever if everybody who could set it has died: give such waits a time.
    ///
    /// # Examples
    /// ```
    /// let event = multiproc::Event::new()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| event.set());
    ///     event.wait();
    /// });
    /// assert!(event.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(&self) {
        while !self.event.wait(None) {}
    }

    /// Waits up to `timeout` until the event is set; false if the time passed first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let event = multiproc::Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(1)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.event.wait(Deadline::after(timeout))
    }

    /// Waits until `deadline` for the event to be set; false if the time passed first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// assert!(!multiproc::Event::new()?.wait_deadline(Instant::now()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.event.wait(Deadline::at(deadline))
    }
}

fn object_type() -> ObjectType {
    ObjectType::untyped(Kind::Event)
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.event.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Event {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open)
    }
}
