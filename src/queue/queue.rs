//! [`Queue`]: items that any process puts and any process gets.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::chunks::{Chunks, Growing};
use super::codec::{Buffer, Codec, Payload, Plain};
use super::layout::{Layout, QueueHead};
use super::{GetError, Postcard, PutError, QueueIter, QueueOptions};
use crate::error::Result;
use crate::raw::{Chunk, Cursor, Deadline, Fences, RawRing, Ring, RingError, Tasks, Wait};
use crate::segment::{Kind, ObjectType, Placed, Segment, Site};

/// How long [`Queue::shutdown`] waits for a put that is under way; a stopped producer's is completed by whoever comes next.
const CLOSING: Duration = Duration::from_secs(1);

/// How often an operation may find that its end has gone on to another chunk, and that it is the same one.
const MOST_MOVES: u32 = 1000;

/// A first-in, first-out queue of values, between any number of processes. `C` is the [`Codec`]: [`Postcard`] for
/// values of any serde type, [`Plain`] for plain data.
///
/// A handle: clones are the same queue, and it travels in process arguments and results. An item is encoded in
/// [`put`](Self::put) and is visible to every consumer when that returns: no thread feeds it, nothing is lost when the
/// producer ends. Items of one producer are got in their order; consumers are served in none.
///
/// # Process death
/// A producer that is killed has put its item whole or not at all; a consumer that is killed in a get has taken its item
/// with it, or left it to the next. Nobody else waits longer for it. To get an item back when its consumer dies later, use
/// [`JoinableQueue::take`](super::JoinableQueue::take).
///
/// # Examples
/// ```
/// use multiproc::{Process, Queue};
///
/// fn square((numbers, squares): (Queue<u32>, Queue<u32>)) {
///     for n in numbers.iter() {
///         squares.put(n * n).expect("the parent reads");
///     }
/// }
///
/// let (numbers, squares) = (Queue::bounded(8)?, Queue::bounded(8)?);
/// let mut child = Process::spawn(square, (numbers.clone(), squares.clone()))?;
/// numbers.put(12)?;
/// assert_eq!(squares.get()?, 144);
/// numbers.shutdown();
/// child.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Queue<T, C = Postcard> {
    pub(super) placed: Placed<QueueHead>,
    pub(super) layout: Layout,
    /// If it grows.
    chunks: Option<Arc<Chunks>>,
    items: PhantomData<fn(T, C) -> T>,
}

/// A [`Queue`] of plain data.
///
/// # Examples
/// ```
/// let queue: multiproc::PlainQueue<[f32; 2]> = multiproc::Queue::plain(16)?;
/// queue.put([1.0, 2.0])?;
/// assert_eq!(queue.get()?, [1.0, 2.0]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub type PlainQueue<T> = Queue<T, Plain>;

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned + 'static> Queue<T> {
    /// A queue of any number of items, in anonymous memory of its own: a put never waits for room.
    ///
    /// Its memory grows and shrinks with what is in it, in chunks of 64 KiB to 4 MiB, or of one item if that is longer;
    /// empty, it takes 104 KiB. An item takes 64 bytes and, if it is longer than 48 encoded, its length. Where memory ends,
    /// puts say [`PutError::OutOfMemory`].
    ///
    /// Drained while a producer is at work, it keeps the last chunk; the next get, also one that finds nothing, gives it
    /// back. An exclusive [`producer`](Self::producer) is at work until it is dropped.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Process death
    /// A process that is killed while the queue grows or shrinks leaves it as it was, or grown, or shrunk.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::unbounded()?;
    /// (0..10_000).try_for_each(|n| queue.put(n))?;
    /// assert_eq!(queue.iter().take(10_000).sum::<u64>(), 49_995_000);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn unbounded() -> Result<Self> {
        QueueOptions::unbounded().queue()
    }

    /// A queue of at most `max_items` items, in anonymous memory of its own. It grows beyond 1 MiB if they need more.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for 0 items;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(2)?;
    /// queue.put("hello".to_owned())?;
    /// assert_eq!(queue.get()?, "hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn bounded(max_items: usize) -> Result<Self> {
        QueueOptions::new(max_items).queue()
    }

    /// A new queue of up to `max_items` items in `segment`, by a name; a ring of 1 MiB.
    /// [`QueueOptions::queue_in`] makes others.
    ///
    /// # Errors
    /// As for [`bounded`](Self::bounded) and [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no queue of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Queue, Segment};
    /// let segment = Segment::anonymous(4 << 20)?;
    /// Queue::new_in(&segment, "words", 16)?.put("hello".to_owned())?;
    /// assert_eq!(Queue::<String>::open_in(&segment, "words")?.get()?, "hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, max_items: usize) -> Result<Self> {
        QueueOptions::new(max_items).queue_in(segment, name)
    }

    /// The queue of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or a
    /// queue of other items or another codec.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Queue, Segment};
    /// let segment = Segment::anonymous(4 << 20)?;
    /// Queue::new_in(&segment, "words", 16)?.put("hello".to_owned())?;
    /// assert_eq!(Queue::<String>::open_in(&segment, "words")?.len(), 1);
    /// assert!(Queue::<u64>::open_in(&segment, "words").is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open_with(segment, name, Postcard)
    }
}

impl<T: bytemuck::Pod> Queue<T, Plain> {
    /// A queue of any number of items of plain data, as [`unbounded`](Self::unbounded); an item takes its size and 8 bytes.
    ///
    /// # Errors
    /// As for [`unbounded`](Self::unbounded).
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::plain_unbounded()?;
    /// queue.put(7u64)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn plain_unbounded() -> Result<Self> {
        QueueOptions::unbounded().codec(Plain).queue()
    }

    /// A queue of at most `max_items` items of plain data, in anonymous memory of its own. It grows beyond 1 MiB if they
    /// need more.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for 0 items;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::TooManyFiles`](crate::Error::TooManyFiles),
    /// [`Error::Unsupported`](crate::Error::Unsupported).
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::plain(1000)?;
    /// queue.put(7u64)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn plain(max_items: usize) -> Result<Self> {
        QueueOptions::new(max_items).codec(Plain).queue()
    }
}

impl<T: 'static, C: Codec<T>> Queue<T, C> {
    /// The queue of that name in `segment`, whose items `codec` encodes.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or a
    /// queue of other items or another codec.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Plain, Queue, QueueOptions, Segment};
    /// let segment = Segment::anonymous(4 << 20)?;
    /// QueueOptions::new(16).codec(Plain).queue_in(&segment, "numbers")?.put(3u8)?;
    /// assert_eq!(Queue::<u8, _>::open_with(&segment, "numbers", Plain)?.get()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_with(segment: &Segment, name: &str, codec: C) -> Result<Self> {
        let _ = codec;
        Self::open_at(segment.clone(), segment.locate(name)?, Kind::Queue)
    }

    pub(super) fn create(site: Site<'_>, options: &QueueOptions<C>, kind: Kind) -> Result<Self> {
        let layout = options.layout(C::BYTES, kind, matches!(site, Site::Anywhere))?;
        let site = if layout.grows() { Site::Growing } else { site };
        let placed = layout.create(site, Self::object_type(kind), options.items(), options.limits())?;
        Ok(Self::of(placed, layout))
    }

    pub(super) fn open_at(segment: Segment, offset: u64, kind: Kind) -> Result<Self> {
        let placed = Placed::open(segment, offset, &Self::object_type(kind), 64)?;
        let layout = Layout::of(&placed)?;
        Ok(Self::of(placed, layout))
    }

    fn of(placed: Placed<QueueHead>, layout: Layout) -> Self {
        Self { placed, layout, chunks: layout.grows().then(Arc::default), items: PhantomData }
    }

    fn object_type(kind: Kind) -> ObjectType {
        ObjectType::encoded::<T>(kind, C::NAME)
    }

    /// Puts an item, waiting for room for as long as it takes.
    ///
    /// # Errors
    /// [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Shutdown`], [`PutError::Corrupt`].
    ///
    /// # Process death
    /// Killed here, the item is in the queue or not, whole; a consumer that waits for it is woken in either case.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(1)?;
    /// queue.put(7)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_waiting(item, Wait::Until(None))
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`PutError::Full`], only when there is no room; [`PutError::Busy`]; and those of [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{PutError, Queue};
    /// let queue = Queue::bounded(1)?;
    /// queue.try_put(1)?;
    /// assert!(matches!(queue.try_put(2), Err(PutError::Full(2))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_waiting(item, Wait::Never)
    }

    /// Puts an item, waiting up to `timeout` for room.
    ///
    /// # Errors
    /// [`PutError::TimedOut`], and those of [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{PutError, Queue};
    /// let queue = Queue::bounded(1)?;
    /// queue.put_timeout(1, Duration::from_secs(1))?;
    /// assert!(matches!(queue.put_timeout(2, Duration::from_millis(1)), Err(PutError::TimedOut(2))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_waiting(item, Wait::Until(Deadline::after(timeout)))
    }

    /// Puts an item, waiting until `deadline` for room.
    ///
    /// # Errors
    /// [`PutError::TimedOut`], and those of [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::{PutError, Queue};
    /// let queue = Queue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(matches!(queue.put_deadline(2, Instant::now()), Err(PutError::TimedOut(2))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_deadline(&self, item: T, deadline: Instant) -> Result<(), PutError<T>> {
        self.put_waiting(item, Wait::Until(Deadline::at(deadline)))
    }

    /// Gets an item, waiting for one for as long as it takes.
    ///
    /// # Errors
    /// [`GetError::Shutdown`], [`GetError::Decode`], [`GetError::Corrupt`].
    ///
    /// # Process death
    /// Killed here, the item is still in the queue, or it is gone with the caller.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(1)?;
    /// queue.put(1.5)?;
    /// assert_eq!(queue.get()?, 1.5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self) -> Result<T, GetError> {
        self.get_waiting(Wait::Until(None))
    }

    /// Gets an item if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`], only when there is none; [`GetError::Busy`]; and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, Queue};
    /// assert_eq!(Queue::<u8>::bounded(1)?.try_get(), Err(GetError::Empty));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_waiting(Wait::Never)
    }

    /// Gets an item, waiting up to `timeout` for one.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{GetError, Queue};
    /// let queue = Queue::<u32>::bounded(1)?;
    /// assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(GetError::TimedOut));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_waiting(Wait::Until(Deadline::after(timeout)))
    }

    /// Gets an item, waiting until `deadline` for one.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::{GetError, Queue};
    /// let queue = Queue::<u32>::bounded(1)?;
    /// assert_eq!(queue.get_deadline(Instant::now()), Err(GetError::TimedOut));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetError> {
        self.get_waiting(Wait::Until(Deadline::at(deadline)))
    }

    /// The items, until the queue is shut down and drained, or a get fails, as it does for an item that can't be decoded: to tell
    /// these apart, loop over [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(3)?;
    /// (1..=3).try_for_each(|n| queue.put(n))?;
    /// queue.shutdown();
    /// assert_eq!(queue.iter().sum::<i32>(), 6);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&self) -> QueueIter<'_, T, C> {
        QueueIter::new(self)
    }

    #[inline(always)]
    fn put_waiting(&self, item: T, wait: Wait) -> Result<(), PutError<T>> {
        Self::put_by(
            item,
            #[inline(always)]
            |bytes| self.put_bytes(bytes, wait),
        )
    }

    /// Puts an item by who keeps the end.
    #[inline(always)]
    pub(super) fn put_kept(&self, cursor: &mut Cursor, item: T, wait: Wait) -> Result<(), PutError<T>> {
        Self::put_by(
            item,
            #[inline(always)]
            |bytes| {
                if cursor.put(wait, bytes) {
                    return Ok(());
                }
                cursor.forget();
                self.put_slowly(Some(cursor.fences()), bytes, wait)
            },
        )
    }

    /// Puts an item by putting its bytes.
    #[inline(always)]
    fn put_by(item: T, put: impl FnOnce(&[u8]) -> Result<(), RingError>) -> Result<(), PutError<T>> {
        let mut failure = None;
        // What became of it goes beside: a result within a result goes through memory.
        let encoded = C::encode(
            &item,
            #[inline(always)]
            |bytes| put(bytes).map_err(|error| failure = Some(error)).is_ok(),
        );
        match (encoded, failure) {
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(error)) => Err(PutError::new(item, error)),
            (Err(why), _) => Err(PutError::Encode(item, why)),
        }
    }

    #[inline(always)]
    fn get_waiting(&self, wait: Wait) -> Result<T, GetError> {
        let mut buffer = C::Buffer::default();
        self.get_by(wait, |words, length| {
            // SAFETY: `get_by` gives the words of an item that is being got.
            buffer.fill(unsafe { Payload::in_words(words, length) });
        })?;
        C::decode(buffer).map_err(GetError::Decode)
    }

    /// Gets an item by who keeps the end.
    #[inline(always)]
    pub(super) fn get_kept(&self, cursor: &mut Cursor, wait: Wait) -> Result<T, GetError> {
        let mut buffer = C::Buffer::default();
        self.get_by_keeper(cursor, wait, |words, length| {
            // SAFETY: as for `get_waiting`.
            buffer.fill(unsafe { Payload::in_words(words, length) });
        })?;
        C::decode(buffer).map_err(GetError::Decode)
    }

    /// An item from its bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<T, GetError> {
        let mut buffer = C::Buffer::default();
        buffer.fill(Payload::new(bytes));
        C::decode(buffer).map_err(GetError::Decode)
    }
}

impl<T, C> Queue<T, C> {
    /// Items in the queue at one moment; exact when nobody moves any, also after a process was killed.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(4)?;
    /// queue.put(7)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        // An overwritten queue holds nothing that could be got.
        let items = self.at_tail(|ring| ring.len()).unwrap_or(0);
        usize::try_from(items).unwrap_or(usize::MAX)
    }

    /// Whether there is no item at this moment.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(4)?;
    /// assert!(queue.is_empty());
    /// queue.put(7)?;
    /// assert!(!queue.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are as many items as there may be. A put can also wait because the items are large.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(1)?;
    /// assert!(!queue.is_full());
    /// queue.put(7)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many items there may be at a time.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Queue::<u32>::bounded(4)?.capacity(), 4);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> usize {
        usize::try_from(self.placed.ring.max_items()).unwrap_or(usize::MAX)
    }

    /// Bytes of the longest item, encoded, that the queue takes.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::<String>::bounded(4)?;
    /// assert!(queue.max_message() >= 256 << 10);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.layout.max_message()
    }

    /// Refuses every later put, and lets the gets fail once the queue is drained. Whoever waits is woken.
    ///
    /// # Process death
    /// Killed in here, the queue is shut down or not; if it has begun, whoever uses the queue next completes it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, PutError, Queue};
    /// let queue = Queue::bounded(2)?;
    /// queue.put(1)?;
    /// queue.shutdown();
    /// assert!(matches!(queue.put(2), Err(PutError::Shutdown(2))));
    /// assert_eq!((queue.get(), queue.get()), (Ok(1), Err(GetError::Shutdown)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn shutdown(&self) {
        let deadline = Deadline::after(CLOSING);
        // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
        // An overwritten queue fails every operation anyway; a stopped producer's put is waited for by the others.
        let _ = self.at_tail(|ring| unsafe { ring.close(deadline) });
    }

    /// Closes this handle, as its drop does. Nothing is lost: what was put is in the queue.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(1)?;
    /// let other = queue.clone();
    /// queue.put(1)?;
    /// queue.close();
    /// assert_eq!(other.get()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(self) {}

    /// The control part of the ring.
    pub(super) fn ring(&self) -> &RawRing {
        &self.placed.ring
    }

    /// Whether items can be taken as tasks.
    pub(super) fn has_tasks(&self) -> bool {
        self.layout.has_tasks()
    }

    #[cfg(all(test, feature = "serde"))]
    pub(super) fn placed(&self) -> &Placed<QueueHead> {
        &self.placed
    }

    /// The place at one end of the calling thread, which keeps that.
    ///
    /// # Safety
    /// It is not used after this handle and its clones are gone.
    pub(super) unsafe fn cursor(&self, fences: Fences) -> Result<Cursor, RingError> {
        let ring = self.layout.quick(&self.placed).ok_or(RingError::Corrupt)?;
        // SAFETY: the handle keeps the memory mapped.
        unsafe { ring.cursor(fences, self.layout.max_message()) }.ok_or(RingError::Corrupt)
    }

    #[inline(always)]
    fn put_bytes(&self, bytes: &[u8], wait: Wait) -> Result<(), RingError> {
        if bytes.len() <= self.layout.max_message()
            && let Some(ring) = self.layout.quick(&self.placed)
            // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
            && unsafe { ring.put(wait, bytes) }
        {
            return Ok(());
        }
        self.put_slowly(None, bytes, wait)
    }

    /// Puts bytes the long way, also by who keeps the end.
    #[inline(never)]
    fn put_slowly(&self, keeper: Option<Fences>, bytes: &[u8], wait: Wait) -> Result<(), RingError> {
        if bytes.len() > self.layout.max_message() {
            return Err(RingError::TooLarge);
        }
        // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
        self.at_tail(|ring| unsafe { by(keeper, ring).put_bytes(wait, bytes) })
    }

    /// Gets an item's payload, which `read` is given as words and bytes of them, once.
    #[inline(always)]
    pub(crate) fn get_by<R>(
        &self,
        wait: Wait,
        mut read: impl FnMut(&[AtomicU64], usize) -> R,
    ) -> Result<R, RingError> {
        if !self.layout.has_tasks()
            && let Some(ring) = self.layout.quick(&self.placed)
            // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
            && let Some(done) = unsafe { ring.get(wait, &mut read) }
        {
            return Ok(done);
        }
        self.get_slowly(wait, read)
    }

    #[inline(never)]
    fn get_slowly<R>(
        &self,
        wait: Wait,
        mut read: impl FnMut(&[AtomicU64], usize) -> R,
    ) -> Result<R, RingError> {
        if self.layout.has_tasks() {
            return self.with_tasks(|tasks| {
                // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
                unsafe {
                    tasks.ring.consume(wait, || false, |consuming| tasks.get_with(consuming, &mut read))
                }
            });
        }
        // SAFETY: as above.
        self.at_head(|ring| unsafe { ring.get_with(wait, &mut read) })
    }

    /// [`get_by`](Self::get_by) by who keeps the end.
    #[inline(always)]
    pub(super) fn get_by_keeper<R>(
        &self,
        cursor: &mut Cursor,
        wait: Wait,
        mut read: impl FnMut(&[AtomicU64], usize) -> R,
    ) -> Result<R, RingError> {
        if let Some(done) = cursor.get(wait, &mut read) {
            return Ok(done);
        }
        cursor.forget();
        self.get_slowly_by_keeper(cursor.fences(), wait, read)
    }

    #[inline(never)]
    fn get_slowly_by_keeper<R>(
        &self,
        fences: Fences,
        wait: Wait,
        mut read: impl FnMut(&[AtomicU64], usize) -> R,
    ) -> Result<R, RingError> {
        // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
        self.at_head(|ring| unsafe { ring.of_keeper(fences).get_with(wait, &mut read) })
    }

    /// A guess whether there is something to get; never wrong about an item that has been there since before the call.
    #[cfg(feature = "process")]
    #[inline]
    pub(crate) fn seems_ready(&self) -> bool {
        // What can't be looked at is told by a get.
        self.at_head(|ring| Ok(ring.seems_ready())).unwrap_or(true)
    }

    /// Gets up to `count` payloads, and at least one, for which it waits; `read` is given each. Says how many.
    #[cfg(feature = "process")]
    pub(crate) fn get_many_by(
        &self,
        wait: Wait,
        count: usize,
        mut read: impl FnMut(&[AtomicU64], usize),
    ) -> Result<usize, RingError> {
        // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
        self.at_head(|ring| unsafe { ring.get_many(wait, count, &mut read) })
    }

    /// Puts a payload as it is.
    #[cfg(feature = "process")]
    #[inline]
    pub(crate) fn put_payload(&self, wait: Wait, payload: &[u8]) -> Result<(), RingError> {
        self.put_bytes(payload, wait)
    }

    /// Puts payloads as they are, as many as fit at once, and at least one, for which it waits. Says how many.
    #[cfg(feature = "process")]
    pub(crate) fn put_payloads<'p>(
        &self,
        wait: Wait,
        count: usize,
        payload: impl Fn(usize) -> &'p [u8],
    ) -> Result<usize, RingError> {
        let fill = |index, words: &_| {
            // SAFETY: `put_many` gives the words of an item that is being put.
            unsafe { crate::raw::write_item(words, payload(index)) };
        };
        // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
        self.at_tail(|ring| unsafe { ring.put_many(wait, count, |index| payload(index).len(), &fill) })
    }

    /// An operation on the ring as the producers see it.
    #[inline(always)]
    pub(super) fn at_tail<R>(
        &self,
        operation: impl FnMut(Ring<'_>) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        self.with_ring(RawRing::tail_chunk, operation)
    }

    /// An operation on the ring as the consumers see it.
    #[inline(always)]
    pub(super) fn at_head<R>(
        &self,
        operation: impl FnMut(Ring<'_>) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        self.with_ring(RawRing::head_chunk, operation)
    }

    /// An operation on the ring with the words of the chunk that `end` names; again, while that changes.
    #[inline(always)]
    fn with_ring<R>(
        &self,
        end: fn(&RawRing) -> Chunk,
        mut operation: impl FnMut(Ring<'_>) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        let Some(chunks) = &self.chunks else { return operation(self.layout.ring(&self.placed)?) };
        let (mut last, mut moves) = (Chunk::HOME, 0);
        while moves < MOST_MOVES {
            let growing = Growing::new(&self.placed, self.layout, chunks);
            let chunk = end(&self.placed.ring);
            match self.placed.ring.growing(self.layout.shape(), chunk, &growing).and_then(&mut operation) {
                Err(RingError::Moved) if chunk == last => moves += 1,
                Err(RingError::Moved) => (last, moves) = (chunk, 0),
                done => return done,
            }
        }
        Err(RingError::Corrupt)
    }

    /// An operation on the queue's tasks.
    pub(super) fn with_tasks<R>(
        &self,
        mut operation: impl FnMut(Tasks<'_>) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        self.at_head(|ring| operation(self.layout.tasks(&self.placed, ring)?))
    }
}

/// The ring for an operation of everybody's, or of who keeps the end.
#[inline(always)]
pub(super) fn by(keeper: Option<Fences>, ring: Ring<'_>) -> Ring<'_> {
    match keeper {
        Some(fences) => ring.of_keeper(fences),
        None => ring,
    }
}

impl<T, C> Clone for Queue<T, C> {
    fn clone(&self) -> Self {
        let (placed, layout, chunks) = (self.placed.clone(), self.layout, self.chunks.clone());
        Self { placed, layout, chunks, items: PhantomData }
    }
}

impl<T, C> fmt::Debug for Queue<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl<T, C> serde::Serialize for Queue<T, C> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.placed.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: 'static, C: Codec<T>> serde::Deserialize<'de> for Queue<T, C> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, |segment, offset| {
            Self::open_at(segment, offset, Kind::Queue)
        })
    }
}
