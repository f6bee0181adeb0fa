//! [`Consumer`]: the consumers' end of a queue, for one thread alone.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::{Codec, GetError, Postcard, Queue};
use crate::raw::{Cursor, Deadline, Wait};

/// The consumers' end of a [`Queue`], for the calling thread alone: [`Queue::consumer`] makes one. Faster than the queue itself,
/// for it takes no lock for each item.
///
/// As long as it lives, everybody else's gets are refused with [`GetError::Exclusive`]. It does not travel.
///
/// # Process death
/// When its thread dies, by SIGKILL too, the end is free for everybody, with all that the endpoint had not got. An exclusive
/// producer that waits for room is told ([`PutError::ConsumerDied`](super::PutError::ConsumerDied)).
///
/// # Examples
/// ```
/// use multiproc::Queue;
/// let queue = Queue::bounded(4)?;
/// queue.put_many(1..=3)?;
/// let mut consumer = queue.consumer()?;
/// assert_eq!(consumer.get()?, 1);
/// queue.shutdown();
/// assert_eq!(consumer.iter().collect::<Vec<_>>(), [2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the end is free again when this is dropped"]
pub struct Consumer<T, C = Postcard> {
    queue: Queue<T, C>,
    cursor: Cursor,
    /// What the kernel sees die is a thread.
    thread_bound: PhantomData<*const ()>,
}

impl<T, C> Queue<T, C> {
    /// The consumers' end for the calling thread alone, until it is dropped.
    ///
    /// A get of somebody else's that is under way is waited for; one that waits for an item is refused.
    ///
    /// # Errors
    /// [`GetError::Exclusive`] if another thread has it, [`GetError::Deadlock`] if the calling one does;
    /// [`GetError::TooManyHeld`], [`GetError::Corrupt`]; [`GetError::Unsupported`], also for a
    /// [`JoinableQueue`](super::JoinableQueue), whose tasks are taken at that end.
    ///
    /// # Process death
    /// Killed here, the end is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, Queue};
    /// let queue = Queue::bounded(4)?;
    /// queue.put(7)?;
    /// let mut consumer = queue.consumer()?;
    /// assert!(matches!(queue.consumer(), Err(GetError::Deadlock)));
    /// assert_eq!(consumer.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn consumer(&self) -> Result<Consumer<T, C>, GetError> {
        if self.has_tasks() {
            return Err(GetError::Unsupported("an exclusive consumer of a joinable queue"));
        }
        // SAFETY: the endpoint has a handle, which keeps the memory mapped, and gives the end back before that goes.
        let fences = self.at_head(|ring| unsafe { ring.keep_consumers_end() })?;
        // SAFETY: the endpoint has a handle, which outlives it.
        let cursor = unsafe { self.cursor(fences) };
        let cursor = cursor.inspect_err(|_| self.ring().leave_consumers_end())?;
        Ok(Consumer { queue: self.clone(), cursor, thread_bound: PhantomData })
    }
}

impl<T: 'static, C: Codec<T>> Consumer<T, C> {
    /// Gets an item, waiting for one for as long as it takes.
    ///
    /// # Errors
    /// Those of [`Queue::get`]; [`GetError::ProducerDied`] if the queue is empty and its exclusive producer died.
    ///
    /// # Process death
    /// Killed here, the item is still in the queue, or it is gone with the caller.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(4)?;
    /// queue.put(7)?;
    /// assert_eq!(queue.consumer()?.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn get(&mut self) -> Result<T, GetError> {
        self.queue.get_kept(&mut self.cursor, Wait::Until(None))
    }

    /// Gets an item if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`], only when there is none; and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, Queue};
    /// let queue = Queue::<u32>::bounded(4)?;
    /// assert_eq!(queue.consumer()?.try_get(), Err(GetError::Empty));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_get(&mut self) -> Result<T, GetError> {
        self.queue.get_kept(&mut self.cursor, Wait::Never)
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
    /// let queue = Queue::<u32>::bounded(4)?;
    /// assert_eq!(queue.consumer()?.get_timeout(Duration::from_millis(1)), Err(GetError::TimedOut));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<T, GetError> {
        self.queue.get_kept(&mut self.cursor, Wait::Until(Deadline::after(timeout)))
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
    /// let queue = Queue::<u32>::bounded(4)?;
    /// assert_eq!(queue.consumer()?.get_deadline(Instant::now()), Err(GetError::TimedOut));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_deadline(&mut self, deadline: Instant) -> Result<T, GetError> {
        self.queue.get_kept(&mut self.cursor, Wait::Until(Deadline::at(deadline)))
    }

    /// Gets up to `max` items to the end of `items`, as [`Queue::get_many`] does.
    ///
    /// # Errors
    /// As for [`get`](Self::get). Of items that can't be decoded the first is reported, when the others are in `items`.
    ///
    /// # Process death
    /// Killed here, the items are still in the queue, or the first so many of them are gone with the caller.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(8)?;
    /// queue.put_many(0..5)?;
    /// let mut items = Vec::new();
    /// assert_eq!(queue.consumer()?.get_many(&mut items, 3)?, 3);
    /// assert_eq!(items, [0, 1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_many(&mut self, items: &mut Vec<T>, max: usize) -> Result<usize, GetError> {
        self.cursor.forget();
        self.queue.get_many_of(Some(self.cursor.fences()), Wait::Until(None), items, max)
    }

    /// The items, until the queue is shut down and drained, its exclusive producer died, or a get fails.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(8)?;
    /// queue.put_many(0..5)?;
    /// queue.shutdown();
    /// assert_eq!(queue.consumer()?.iter().sum::<i32>(), 10);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.get().ok())
    }
}

impl<T, C> Consumer<T, C> {
    /// Gets an item by giving its bytes to `read` where they lie, as [`Queue::get_with`] does.
    ///
    /// # Errors
    /// Those of [`Queue::get_with`], and [`GetError::ProducerDied`].
    ///
    /// # Process death
    /// Killed here, also in `read`, the item is still in the queue, or it is gone with the caller, who has read it.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::<Vec<u8>>::bounded(4)?;
    /// queue.put(vec![1, 2, 3])?;
    /// assert_eq!(queue.consumer()?.get_with(|bytes| bytes.len())?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, GetError> {
        self.queue.get_with_by(Some(&mut self.cursor), Wait::Until(None), read)
    }

    /// The queue.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(4)?;
    /// queue.put(7)?;
    /// assert_eq!(queue.consumer()?.queue().len(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn queue(&self) -> &Queue<T, C> {
        &self.queue
    }
}

impl<T, C> Drop for Consumer<T, C> {
    fn drop(&mut self) {
        self.queue.ring().leave_consumers_end();
    }
}

impl<T, C> fmt::Debug for Consumer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}
