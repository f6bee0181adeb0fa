//! [`Producer`]: the producers' end of a queue, for one thread alone.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::{Codec, Postcard, PutError, PutManyError, Queue};
use crate::raw::{Cursor, Deadline, Wait};

/// The producers' end of a [`Queue`], for the calling thread alone: [`Queue::producer`] makes one. Faster than the queue itself,
/// for it takes no lock for each item.
///
/// As long as it lives, everybody else's puts are refused with [`PutError::Exclusive`]. It does not travel.
///
/// # Process death
/// When its thread dies, by SIGKILL too, the end is free for everybody; what the endpoint had put is in the queue. An
/// exclusive consumer that waits is told ([`GetError::ProducerDied`](super::GetError::ProducerDied)).
///
/// # Examples
/// ```
/// use multiproc::{PutError, Queue};
/// let queue = Queue::bounded(4)?;
/// let mut producer = queue.producer()?;
/// producer.put(1)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| assert!(matches!(queue.put(2), Err(PutError::Exclusive(2)))));
/// });
/// drop(producer);
/// queue.put(2)?;
/// assert_eq!((queue.get()?, queue.get()?), (1, 2));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the end is free again when this is dropped"]
pub struct Producer<T, C = Postcard> {
    queue: Queue<T, C>,
    cursor: Cursor,
    /// What the kernel sees die is a thread.
    thread_bound: PhantomData<*const ()>,
}

impl<T, C> Queue<T, C> {
    /// The producers' end for the calling thread alone, until it is dropped.
    ///
    /// A put of somebody else's that is under way is waited for; one that waits for room is refused. A queue that grows
    /// keeps its last chunk, of up to 4 MiB or one item, when it is drained: until the first get after the endpoint was dropped.
    ///
    /// # Errors
    /// [`PutError::Exclusive`] if another thread has it, [`PutError::Deadlock`] if the calling one does;
    /// [`PutError::TooManyHeld`], [`PutError::Corrupt`], [`PutError::Unsupported`].
    ///
    /// # Process death
    /// Killed here, the end is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{PutError, Queue};
    /// let queue = Queue::bounded(4)?;
    /// let mut producer = queue.producer()?;
    /// assert!(matches!(queue.producer(), Err(PutError::Deadlock(()))));
    /// producer.put(7)?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn producer(&self) -> Result<Producer<T, C>, PutError<()>> {
        // SAFETY: the endpoint has a handle, which keeps the memory mapped, and gives the end back before that goes.
        let fences = self.at_tail(|ring| unsafe { ring.keep_producers_end() });
        // SAFETY: the endpoint has a handle, which outlives it.
        let cursor = |fences| unsafe { self.cursor(fences) };
        let give_back = |_: &_| self.ring().leave_producers_end();
        let cursor = fences.and_then(|fences| cursor(fences).inspect_err(give_back));
        let cursor = cursor.map_err(|error| PutError::new((), error))?;
        Ok(Producer { queue: self.clone(), cursor, thread_bound: PhantomData })
    }
}

impl<T: 'static, C: Codec<T>> Producer<T, C> {
    /// Puts an item, waiting for room for as long as it takes.
    ///
    /// # Errors
    /// Those of [`Queue::put`]; [`PutError::ConsumerDied`] if the queue is full and its exclusive consumer died.
    ///
    /// # Process death
    /// Killed here, the item is in the queue or not, whole; a consumer that waits for it is woken in either case.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(4)?;
    /// queue.producer()?.put(7)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn put(&mut self, item: T) -> Result<(), PutError<T>> {
        self.queue.put_kept(&mut self.cursor, item, Wait::Until(None))
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`PutError::Full`], only when there is no room; and those of [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{PutError, Queue};
    /// let queue = Queue::bounded(1)?;
    /// let mut producer = queue.producer()?;
    /// producer.try_put(1)?;
    /// assert!(matches!(producer.try_put(2), Err(PutError::Full(2))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_put(&mut self, item: T) -> Result<(), PutError<T>> {
        self.queue.put_kept(&mut self.cursor, item, Wait::Never)
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
    /// queue.put(1)?;
    /// let full = queue.producer()?.put_timeout(2, Duration::from_millis(1));
    /// assert!(matches!(full, Err(PutError::TimedOut(2))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_timeout(&mut self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.queue.put_kept(&mut self.cursor, item, Wait::Until(Deadline::after(timeout)))
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
    /// assert!(matches!(queue.producer()?.put_deadline(2, Instant::now()), Err(PutError::TimedOut(2))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_deadline(&mut self, item: T, deadline: Instant) -> Result<(), PutError<T>> {
        self.queue.put_kept(&mut self.cursor, item, Wait::Until(Deadline::at(deadline)))
    }

    /// Puts all items, as [`Queue::put_many`] does.
    ///
    /// # Errors
    /// As for [`put`](Self::put), with all the items that were taken from the iterator and not put.
    ///
    /// # Process death
    /// Killed here, the first so many items are put, each whole.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(8)?;
    /// assert_eq!(queue.producer()?.put_many(0..5)?, 5);
    /// assert_eq!(queue.len(), 5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_many(&mut self, items: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        self.cursor.forget();
        self.queue.put_many_by(Some(self.cursor.fences()), items)
    }
}

impl<T, C> Producer<T, C> {
    /// Puts an item of `length` bytes, which `fill` writes where they will lie, as [`Queue::put_with`] does.
    ///
    /// # Errors
    /// Those of [`Queue::put_with`], and [`PutError::ConsumerDied`].
    ///
    /// # Process death
    /// Killed here, also in `fill`, nothing is put, or the whole item.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::<Vec<u8>>::bounded(4)?;
    /// queue.producer()?.put_with(3, |bytes| bytes.fill(7))?;
    /// assert_eq!(queue.get()?, [7; 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_with(&mut self, length: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), PutError<()>> {
        self.cursor.forget();
        self.queue.put_with_by(Some(self.cursor.fences()), Wait::Until(None), length, fill)
    }

    /// The queue.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::<u32>::bounded(4)?;
    /// assert!(queue.producer()?.queue().is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn queue(&self) -> &Queue<T, C> {
        &self.queue
    }
}

impl<T, C> Drop for Producer<T, C> {
    fn drop(&mut self) {
        self.queue.ring().leave_producers_end();
    }
}

impl<T, C> fmt::Debug for Producer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("queue", &self.queue).finish_non_exhaustive()
    }
}
