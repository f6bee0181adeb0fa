//! [`QueueOptions`]: sizes of a queue.

use std::marker::PhantomData;

use super::layout::Layout;
use super::{Codec, JoinableQueue, Postcard, Queue};
use crate::error::{Error, Result};
use crate::segment::{Kind, Segment, Site};

/// Bytes of the longest encoded item that goes through a [`Queue`], unless it is asked for more.
const MESSAGE_BYTES: usize = 256 << 10;
/// The same for a [`JoinableQueue`], which keeps room for `max_taken` such items besides.
const TASK_BYTES: usize = 16 << 10;
const RING_BYTES: usize = 1 << 20;
const MAX_TAKEN: usize = 256;
const MAX_DEAD_LETTERS: usize = 64;

/// The sizes of a queue that is to be made, and its codec.
///
/// A queue *grows* unless [`ring_bytes`](Self::ring_bytes) are given or it lies in a segment: it then takes as many items
/// as it may, however long they are, and memory as they come. It gives back what it does not need any more. All other
/// memory is reserved when the queue is made.
///
/// # Examples
/// ```
/// use multiproc::{Queue, QueueOptions};
/// let queue: Queue<Vec<u8>> = QueueOptions::new(8).max_message(4 << 20).queue()?;
/// queue.put(vec![7; 4_000_000])?;
/// assert_eq!(queue.get()?.len(), 4_000_000);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options make nothing until `queue` or `joinable_queue` is called"]
pub struct QueueOptions<C = Postcard> {
    max_items: usize,
    ring_bytes: Option<usize>,
    max_message: Option<usize>,
    max_taken: Option<usize>,
    max_attempts: Option<u32>,
    max_dead_letters: Option<usize>,
    codec: PhantomData<fn(C)>,
}

impl QueueOptions {
    /// A queue of any number of items, which [`Postcard`] encodes.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::QueueOptions::unbounded().queue()?;
    /// (0..100_000).try_for_each(|n: u32| queue.put(n))?;
    /// assert_eq!(queue.len(), 100_000);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    /// A queue of at most `max_items` items at a time, which [`Postcard`] encodes.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Queue, QueueOptions};
    /// let queue: Queue<u32> = QueueOptions::new(8).queue()?;
    /// assert_eq!(queue.capacity(), 8);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new(max_items: usize) -> Self {
        Self {
            max_items,
            ring_bytes: None,
            max_message: None,
            max_taken: None,
            max_attempts: None,
            max_dead_letters: None,
            codec: PhantomData,
        }
    }
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl<C> QueueOptions<C> {
    /// How items are encoded. Default [`Postcard`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Plain, QueueOptions};
    /// let queue = QueueOptions::new(8).codec(Plain).queue()?;
    /// queue.put(7u16)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn codec<D>(self, codec: D) -> QueueOptions<D> {
        let _ = codec;
        let Self { max_items, ring_bytes, max_message, max_taken, max_attempts, max_dead_letters, .. } = self;
        let codec = PhantomData;
        QueueOptions { max_items, ring_bytes, max_message, max_taken, max_attempts, max_dead_letters, codec }
    }

    /// Makes a queue that does not grow: bytes for the data of the items that are in it, rounded up to a power of two. An item
    /// of up to 48 bytes takes none: it lies in one of the slots, of which there is one for each item, up to as many bytes. At
    /// least what two items of `max_message` take. Default, in a segment: 1 MiB.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Queue, QueueOptions};
    /// let queue: Queue<Vec<u8>> = QueueOptions::new(64).ring_bytes(1 << 16).max_message(1 << 10).queue()?;
    /// assert!(queue.max_message() >= 1 << 10);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn ring_bytes(self, bytes: usize) -> Self {
        Self { ring_bytes: Some(bytes), ..self }
    }

    /// Bytes of the longest encoded item. Default 256 KiB, of a joinable queue 16 KiB, of an unbounded one that is not
    /// joinable no limit below 4 GiB; where the codec always makes as many ([`Codec::BYTES`]), so many. A joinable queue has room
    /// for [`max_taken`](Self::max_taken) items of that length besides.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{PutError, Queue, QueueOptions};
    /// let queue: Queue<Vec<u8>> = QueueOptions::new(8).max_message(4 << 20).queue()?;
    /// assert!(queue.put(vec![0; 4_000_000]).is_ok());
    /// let longer = vec![0; queue.max_message() + 1];
    /// assert!(matches!(queue.put(longer), Err(PutError::TooLarge(_))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn max_message(self, bytes: usize) -> Self {
        Self { max_message: Some(bytes), ..self }
    }

    /// How many tasks of a joinable queue can be in somebody's hands at a time; each takes `max_message` bytes. Default 256.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, QueueOptions};
    /// let jobs = QueueOptions::new(8).max_taken(1).joinable_queue()?;
    /// jobs.put(1_u32)?;
    /// jobs.put(2)?;
    /// let first = jobs.take()?;
    /// assert!(jobs.try_take().is_err()); // As many as may be are taken.
    /// first.done();
    /// jobs.take()?.done();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn max_taken(self, tasks: usize) -> Self {
        Self { max_taken: Some(tasks), ..self }
    }

    /// How often a task of a joinable queue is taken, at least 1: when the last of those who took it has given it up or died,
    /// it becomes a dead letter (see [`JoinableQueue::dead_letters`]). Without this, it is taken until it is done.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, QueueOptions};
    /// let jobs = QueueOptions::new(8).max_attempts(2).joinable_queue()?;
    /// jobs.put("poison".to_owned())?;
    /// drop(jobs.take()?);
    /// drop(jobs.take()?);
    /// assert_eq!(jobs.try_take().unwrap_err(), GetError::Empty);
    /// assert_eq!(jobs.dead_letters()?[0].item, "poison");
    /// jobs.join()?; // it counts as done
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn max_attempts(self, attempts: u32) -> Self {
        Self { max_attempts: Some(attempts), ..self }
    }

    /// How many dead letters there may be; each takes `max_message` bytes. Default 64. While there are so many, other tasks
    /// are taken beyond their `max_attempts`: no item is thrown away.
    ///
    /// # Examples
    /// ```
    /// use multiproc::QueueOptions;
    /// let jobs = QueueOptions::unbounded().max_attempts(1).max_dead_letters(1).joinable_queue()?;
    /// jobs.put(13_u32)?;
    /// drop(jobs.take()?);
    /// jobs.join()?;
    /// assert_eq!(jobs.dead_letters()?.len(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn max_dead_letters(self, letters: usize) -> Self {
        Self { max_dead_letters: Some(letters), ..self }
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bound of no items and messages of 4 GiB; [`Error::OutOfMemory`], [`Error::TooManyFiles`],
    /// [`Error::Unsupported`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Queue, QueueOptions};
    /// let queue: Queue<u32> = QueueOptions::new(8).queue()?;
    /// queue.put(7)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn queue<T: 'static>(&self) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        Queue::create(Site::Anywhere, self, Kind::Queue)
    }

    /// Makes a joinable queue.
    ///
    /// # Errors
    /// As for [`queue`](Self::queue).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{JoinableQueue, QueueOptions};
    /// let jobs: JoinableQueue<u32> = QueueOptions::new(8).joinable_queue()?;
    /// jobs.put(7)?;
    /// assert_eq!(*jobs.take()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn joinable_queue<T: 'static>(&self) -> Result<JoinableQueue<T, C>>
    where
        C: Codec<T>,
    {
        JoinableQueue::create(Site::Anywhere, self)
    }

    /// Makes a queue in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`queue`](Self::queue) and [`Segment::place`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Queue, QueueOptions, Segment};
    /// let segment = Segment::anonymous(1 << 16)?;
    /// let options = QueueOptions::new(8).ring_bytes(4096).max_message(100);
    /// let queue: Queue<u8> = options.queue_in(&segment, "bytes")?;
    /// queue.put(7)?;
    /// assert_eq!(Queue::<u8>::open_in(&segment, "bytes")?.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn queue_in<T: 'static>(&self, segment: &Segment, name: &str) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        Queue::create(Site::In(segment, name), self, Kind::Queue)
    }

    /// Makes a joinable queue in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`queue_in`](Self::queue_in).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{JoinableQueue, QueueOptions, Segment};
    /// let segment = Segment::anonymous(64 << 20)?;
    /// QueueOptions::new(8).joinable_queue_in(&segment, "jobs")?.put(7_u32)?;
    /// assert_eq!(*JoinableQueue::<u32>::open_in(&segment, "jobs")?.take()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn joinable_queue_in<T: 'static>(&self, segment: &Segment, name: &str) -> Result<JoinableQueue<T, C>>
    where
        C: Codec<T>,
    {
        JoinableQueue::create(Site::In(segment, name), self)
    }

    pub(super) fn items(&self) -> usize {
        self.max_items
    }

    /// How a queue of `kind` lies in memory whose items take `bytes` each, if it is always as many.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::OutOfMemory`].
    pub(super) fn layout(&self, bytes: Option<usize>, kind: Kind, may_grow: bool) -> Result<Layout> {
        let joinable = kind == Kind::JoinableQueue;
        let unbounded = self.max_items == usize::MAX;
        let may_grow = may_grow && self.ring_bytes.is_none();
        if unbounded && !may_grow && self.ring_bytes.is_none() {
            return Err(Error::InvalidArgument {
                what: "queue in a segment, which can't grow",
                expected: "max_items or ring_bytes".into(),
                found: "neither".into(),
            });
        }
        let usual = bytes.unwrap_or(match joinable {
            true => TASK_BYTES,
            false if unbounded && may_grow => u32::MAX as usize,
            false => MESSAGE_BYTES,
        });
        let (longest, taken) = (self.max_message.unwrap_or(usual), self.max_taken.unwrap_or(MAX_TAKEN));
        if u32::try_from(longest).is_err() {
            return Err(Error::InvalidArgument {
                what: "max_message of a queue",
                expected: "less than 4 GiB".into(),
                found: longest.to_string(),
            });
        }
        Error::unless_positive("max_items of a queue", self.max_items)?;
        Error::unless_positive("max_taken of a joinable queue", taken)?;
        if self.max_attempts == Some(0) {
            Error::unless_positive("max_attempts of a joinable queue", 0)?;
        }
        let (_, dead) = self.limits();
        let entries = if joinable { taken.saturating_add(dead as usize) } else { 0 };
        // Where less is asked for than every item takes, each put says so.
        let bytes = bytes.filter(|&bytes| bytes <= longest);
        let longest = bytes.unwrap_or(longest);
        let ring_bytes = self.ring_bytes.unwrap_or(RING_BYTES);
        if unbounded && may_grow {
            return Layout::growing(self.max_items, bytes, longest, ring_bytes, entries);
        }
        let fixed = Layout::new(self.max_items, bytes, longest, ring_bytes, entries)?;
        if may_grow && !fixed.holds(self.max_items) {
            return Layout::growing(self.max_items, bytes, longest, ring_bytes, entries);
        }
        Ok(fixed)
    }

    /// How often a task is taken, 0 for no limit, and how many dead letters there may be.
    pub(super) fn limits(&self) -> (u32, u32) {
        let dead = self.max_dead_letters.unwrap_or(MAX_DEAD_LETTERS);
        match self.max_attempts {
            Some(attempts) => (attempts, u32::try_from(dead).unwrap_or(u32::MAX)),
            None => (0, 0),
        }
    }
}
