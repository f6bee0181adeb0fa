//! [`JoinableQueue`]: a queue that knows when everything put into it is done.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use super::{Codec, GetError, Plain, Postcard, Queue, QueueOptions, Task, TaskIter};
use crate::error::{Error, Result};
use crate::raw::{self, Deadline, RingError, Tasks, Wait};
use crate::segment::{Kind, Segment, Site};

/// A [`Queue`] whose items are done, not just got; everything that a queue can do, it can too (it derefs to one).
///
/// [`take`](Self::take) leases an item: it stays the queue's until the [`Task`] is done, and goes to somebody else if the
/// task is dropped or its holder dies. [`join`](Self::join) waits until everything that was put is done.
///
/// # Process death
/// An item that was taken survives its holder. An item that was got (by [`Queue::get`]) does not, and
/// [`join`](Self::join) then waits for its [`task_done`](Self::task_done), as in Python: use `take`.
///
/// # Examples
/// ```
/// use multiproc::{JoinableQueue, Process};
///
/// fn worker(jobs: JoinableQueue<u32>) {
///     for job in jobs.tasks() {
///         assert!(*job < 100);
///         job.done();
///     }
/// }
///
/// let jobs = JoinableQueue::bounded(16)?;
/// let mut child = Process::spawn(worker, jobs.clone())?;
/// (0..100).try_for_each(|n| jobs.put(n))?;
/// jobs.join()?;
/// jobs.shutdown();
/// child.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct JoinableQueue<T, C = Postcard> {
    queue: Queue<T, C>,
}

/// A task that nobody takes any more: all who took it have given it up or died.
///
/// # Examples
/// ```
/// use multiproc::QueueOptions;
/// let jobs = QueueOptions::unbounded().max_attempts(1).joinable_queue()?;
/// jobs.put("poison".to_owned())?;
/// drop(jobs.take()?); // Given up, as by a process that is killed.
/// jobs.join()?;
/// let letters = jobs.dead_letters()?;
/// assert_eq!((letters[0].item.as_str(), letters[0].attempts), ("poison", 1));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// What was put.
    pub item: T,
    /// How many items were put before it; what [`Task::number`] said.
    pub number: u64,
    /// How often it was taken.
    pub attempts: u32,
}

/// [`JoinableQueue::task_done`] was called more often than items were got.
///
/// # Examples
/// ```
/// use multiproc::{JoinableQueue, TaskDoneTooOften};
/// let queue = JoinableQueue::<u32>::bounded(4)?;
/// assert_eq!(queue.task_done(), Err(TaskDoneTooOften));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskDoneTooOften;

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned + 'static> JoinableQueue<T> {
    /// A queue of any number of items that wait, and 256 that are taken, of at most 16 KiB each, encoded: a longer one is
    /// [`PutError::TooLarge`](crate::PutError::TooLarge), and [`max_message`](crate::QueueOptions::max_message) allows more.
    ///
    /// Its memory grows and shrinks with what is in it; the 5 MiB for the taken items are reserved.
    ///
    /// # Errors
    /// As for [`Queue::unbounded`].
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::unbounded()?;
    /// (0..10_000).try_for_each(|n| jobs.put(n))?;
    /// jobs.take()?.done();
    /// assert_eq!(jobs.unfinished()?, 9_999);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn unbounded() -> Result<Self> {
        QueueOptions::unbounded().joinable_queue()
    }

    /// A queue of at most `max_items` items at a time that wait, and 256 that are taken, of at most 16 KiB each, encoded; as
    /// [`unbounded`](Self::unbounded) says.
    ///
    /// # Errors
    /// As for [`Queue::bounded`].
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(4)?;
    /// jobs.put("job".to_owned())?;
    /// assert_eq!(*jobs.take()?, "job");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn bounded(max_items: usize) -> Result<Self> {
        QueueOptions::new(max_items).joinable_queue()
    }

    /// A new queue of up to `max_items` items in `segment`, by a name; a ring of 1 MiB, and up to 256 tasks at a time.
    /// [`QueueOptions::joinable_queue_in`] makes others.
    ///
    /// # Errors
    /// As for [`bounded`](Self::bounded) and [`Segment::place`].
    ///
    /// # Process death
    /// Killed here, a process leaves no queue of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{JoinableQueue, Segment};
    /// let segment = Segment::anonymous(64 << 20)?;
    /// JoinableQueue::new_in(&segment, "jobs", 16)?.put(7u32)?;
    /// let task = JoinableQueue::<u32>::open_in(&segment, "jobs")?.take()?;
    /// assert_eq!(*task, 7);
    /// # task.done();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn new_in(segment: &Segment, name: &str, max_items: usize) -> Result<Self> {
        QueueOptions::new(max_items).joinable_queue_in(segment, name)
    }

    /// The queue of that name in `segment`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::Mismatch`](crate::Error::Mismatch) if it is something else, or
    /// a queue of other items or another codec.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{JoinableQueue, Segment};
    /// let segment = Segment::anonymous(64 << 20)?;
    /// JoinableQueue::new_in(&segment, "jobs", 16)?.put(7_u32)?;
    /// assert_eq!(JoinableQueue::<u32>::open_in(&segment, "jobs")?.unfinished()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_in(segment: &Segment, name: &str) -> Result<Self> {
        Self::open_with(segment, name, Postcard)
    }
}

impl<T: bytemuck::Pod> JoinableQueue<T, Plain> {
    /// A queue of any number of items of plain data that wait, and of 256 that are taken.
    ///
    /// # Errors
    /// As for [`Queue::unbounded`].
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::plain_unbounded()?;
    /// (0..1000).try_for_each(|n: u64| jobs.put(n))?;
    /// let task = jobs.take()?;
    /// assert_eq!(*task, 0);
    /// task.done();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn plain_unbounded() -> Result<Self> {
        QueueOptions::unbounded().codec(Plain).joinable_queue()
    }

    /// A queue of at most `max_items` items of plain data at a time that wait, and of 256 that are taken.
    ///
    /// # Errors
    /// As for [`Queue::bounded`].
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::plain(4)?;
    /// jobs.put([1u16, 2])?;
    /// assert_eq!(*jobs.take()?, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn plain(max_items: usize) -> Result<Self> {
        QueueOptions::new(max_items).codec(Plain).joinable_queue()
    }
}

impl<T: 'static, C: Codec<T>> JoinableQueue<T, C> {
    /// The queue of that name in `segment`, whose items `codec` encodes.
    ///
    /// # Errors
    /// As for [`Queue::open_with`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{JoinableQueue, Plain, QueueOptions, Segment};
    /// let segment = Segment::anonymous(64 << 20)?;
    /// let options = QueueOptions::new(16).codec(Plain);
    /// options.joinable_queue_in::<u64>(&segment, "jobs")?.put(7)?;
    /// let jobs = JoinableQueue::<u64, Plain>::open_with(&segment, "jobs", Plain)?;
    /// assert_eq!(jobs.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn open_with(segment: &Segment, name: &str, codec: C) -> Result<Self> {
        let _ = codec;
        Self::open_at(segment.clone(), segment.locate(name)?)
    }

    pub(super) fn create(site: Site<'_>, options: &QueueOptions<C>) -> Result<Self> {
        Ok(Self { queue: Queue::create(site, options, Kind::JoinableQueue)? })
    }

    fn open_at(segment: Segment, offset: u64) -> Result<Self> {
        Ok(Self { queue: Queue::open_at(segment, offset, Kind::JoinableQueue)? })
    }

    /// Takes an item as a task, waiting for one for as long as it takes.
    ///
    /// # Errors
    /// [`GetError::Shutdown`] once the queue is shut down, drained, and no task of somebody else can come back; a caller
    /// that holds a task itself does not wait for those of others. [`GetError::Decode`]: the item is done then.
    /// [`GetError::Deadlock`] if the caller holds all tasks that may be taken at a time. [`GetError::TooManyHeld`],
    /// [`GetError::Corrupt`].
    ///
    /// # Process death
    /// Killed here, the item is still in the queue, or goes to whoever takes next. A task whose holder dies is found by
    /// those who wait when their sleep slice ends, 100 ms later at most.
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(1)?;
    /// jobs.put(5)?;
    /// drop(jobs.take()?); // given up
    /// let again = jobs.take()?;
    /// assert_eq!((*again, again.attempt()), (5, 2));
    /// again.done();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take(&self) -> Result<Task<T, C>, GetError> {
        self.take_waiting(Wait::Until(None))
    }

    /// Takes an item as a task if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`] if there is none, or as many tasks are taken as may be; and those of [`take`](Self::take).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{GetError, JoinableQueue};
    /// let jobs = JoinableQueue::bounded(4)?;
    /// jobs.put(7_u32)?;
    /// jobs.try_take()?.done();
    /// assert!(matches!(jobs.try_take(), Err(GetError::Empty)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_take(&self) -> Result<Task<T, C>, GetError> {
        self.take_waiting(Wait::Never)
    }

    /// Takes an item as a task, waiting up to `timeout` for one.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], and those of [`take`](Self::take).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{GetError, JoinableQueue};
    /// let jobs = JoinableQueue::<u32>::bounded(4)?;
    /// assert!(matches!(jobs.take_timeout(Duration::from_millis(1)), Err(GetError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take_timeout(&self, timeout: Duration) -> Result<Task<T, C>, GetError> {
        self.take_waiting(Wait::Until(Deadline::after(timeout)))
    }

    /// Takes an item as a task, waiting until `deadline` for one.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], and those of [`take`](Self::take).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::{GetError, JoinableQueue};
    /// let jobs = JoinableQueue::<u32>::bounded(4)?;
    /// assert!(matches!(jobs.take_deadline(Instant::now()), Err(GetError::TimedOut)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take_deadline(&self, deadline: Instant) -> Result<Task<T, C>, GetError> {
        self.take_waiting(Wait::Until(Deadline::at(deadline)))
    }

    /// The tasks, until the queue is shut down and drained, or a take fails, as it does for an item that can't be decoded: to
    /// tell these apart, loop over [`take`](Self::take).
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(2)?;
    /// jobs.put(1)?;
    /// jobs.put(2)?;
    /// jobs.shutdown();
    /// let mut sum = 0;
    /// for job in jobs.tasks() {
    ///     sum += *job;
    ///     job.done();
    /// }
    /// assert_eq!(sum, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn tasks(&self) -> TaskIter<'_, T, C> {
        TaskIter::new(self)
    }

    fn take_waiting(&self, wait: Wait) -> Result<Task<T, C>, GetError> {
        let mut bytes = Vec::new();
        let taken = self.queue.with_tasks(|tasks| {
            let orphaned = || tasks.seem_orphaned();
            // SAFETY: the handle keeps the memory mapped for as long as it is borrowed; the task that is returned has one
            // too.
            unsafe { tasks.ring.consume(wait, orphaned, |consuming| tasks.take(consuming, &mut bytes)) }
        })?;
        match Queue::<T, C>::decode(&bytes) {
            Ok(item) => Ok(Task::new(item, taken, self.queue.clone())),
            Err(error) => {
                // Nobody could decode it: given back it would come again for ever.
                let _ = self.queue.with_tasks(|tasks| Ok(tasks.finish(taken)));
                Err(error)
            }
        }
    }
}

impl<T: 'static, C: Codec<T>> JoinableQueue<T, C> {
    /// The tasks that were taken as often as [`QueueOptions::max_attempts`] allows and not done, in the order in which they
    /// were put. They count as done, and stay in the queue until they are [removed](Self::remove_dead_letter).
    ///
    /// # Errors
    /// [`GetError::Decode`], [`GetError::Deadlock`], [`GetError::TooManyHeld`], [`GetError::Corrupt`],
    /// [`GetError::Unsupported`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::QueueOptions;
    /// let jobs = QueueOptions::unbounded().max_attempts(2).joinable_queue()?;
    /// jobs.put(13_u32)?;
    /// drop(jobs.take()?);
    /// assert_eq!(jobs.take()?.attempt(), 2); // And given up again.
    /// jobs.join()?;
    /// assert_eq!(jobs.dead_letters()?[0].item, 13);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter<T>>, GetError> {
        let letters = self.queue.with_tasks(|tasks| {
            // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
            unsafe {
                tasks.ring.consume(Wait::Until(None), || false, |consuming| tasks.dead_letters(consuming))
            }
        })?;
        let decode = |letter: raw::DeadLetter| {
            let item = Queue::<T, C>::decode(&letter.payload)?;
            Ok(DeadLetter { item, number: letter.number, attempts: letter.attempts })
        };
        letters.into_iter().map(decode).collect()
    }
}

impl<T, C> JoinableQueue<T, C> {
    /// Removes the dead letter with this [number](DeadLetter::number), and makes room for another; false if there is none.
    ///
    /// # Errors
    /// [`GetError::Deadlock`], [`GetError::TooManyHeld`], [`GetError::Corrupt`], [`GetError::Unsupported`].
    ///
    /// # Process death
    /// Killed here, the dead letter is removed or not.
    ///
    /// # Examples
    /// ```
    /// use multiproc::QueueOptions;
    /// let jobs = QueueOptions::unbounded().max_attempts(1).joinable_queue()?;
    /// jobs.put(13_u32)?;
    /// drop(jobs.take()?);
    /// jobs.join()?;
    /// let number = jobs.dead_letters()?[0].number;
    /// assert!(jobs.remove_dead_letter(number)?);
    /// assert!(jobs.dead_letters()?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn remove_dead_letter(&self, number: u64) -> Result<bool, GetError> {
        let removed = self.queue.with_tasks(|tasks| {
            // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
            unsafe {
                tasks.ring.consume(
                    Wait::Until(None),
                    || false,
                    |consuming| tasks.remove_dead_letter(consuming, number),
                )
            }
        });
        Ok(removed?)
    }

    /// An item that was got, not taken, is done.
    ///
    /// # Errors
    /// [`TaskDoneTooOften`] if it was called for as many items already as were got.
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(1)?;
    /// jobs.put(1)?;
    /// jobs.get()?;
    /// assert!(jobs.task_done().is_ok());
    /// assert!(jobs.task_done().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<(), TaskDoneTooOften> {
        // In an overwritten queue no count stands for anything.
        match self.queue.with_tasks(|tasks| tasks.task_done()) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TaskDoneTooOften),
        }
    }

    /// Waits until everything that was put is done.
    ///
    /// # Errors
    /// [`GetError::Deadlock`], [`GetError::TooManyHeld`], [`GetError::Corrupt`], [`GetError::Unsupported`].
    ///
    /// # Process death
    /// A task whose holder dies is done once somebody else took it and finished it; if nobody takes any more, this waits.
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::<u8>::bounded(1)?;
    /// jobs.put(7)?;
    /// jobs.take()?.done();
    /// assert_eq!(jobs.join(), Ok(()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), GetError> {
        while !self.join_until(None)? {}
        Ok(())
    }

    /// Waits up to `timeout` until everything that was put is done; false if the time passed first.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let jobs = multiproc::JoinableQueue::bounded(4)?;
    /// jobs.put(7_u32)?;
    /// assert!(!jobs.join_timeout(Duration::from_millis(1))?);
    /// jobs.take()?.done();
    /// assert!(jobs.join_timeout(Duration::ZERO)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, GetError> {
        self.join_until(Deadline::after(timeout))
    }

    /// Waits until `deadline` for everything that was put to be done; false if the time passed first.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// let jobs = multiproc::JoinableQueue::bounded(4)?;
    /// assert!(jobs.join_deadline(Instant::now())?);
    /// jobs.put(7_u32)?;
    /// assert!(!jobs.join_deadline(Instant::now())?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join_deadline(&self, deadline: Instant) -> Result<bool, GetError> {
        self.join_until(Deadline::at(deadline))
    }

    /// Items that were put and are not done.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(4)?;
    /// jobs.put(7_u32)?;
    /// let task = jobs.take()?;
    /// assert_eq!(jobs.unfinished()?, 1);
    /// task.done();
    /// assert_eq!(jobs.unfinished()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn unfinished(&self) -> Result<usize, GetError> {
        let unfinished = self.queue.with_tasks(|tasks| count_unfinished(&tasks, None))?;
        Ok(usize::try_from(unfinished).unwrap_or(usize::MAX))
    }

    fn join_until(&self, deadline: Option<Deadline>) -> Result<bool, GetError> {
        let joined = self.queue.with_tasks(|tasks| {
            loop {
                let late = deadline.is_some_and(Deadline::has_passed);
                let spot = tasks.spot();
                match count_unfinished(&tasks, deadline)? {
                    0 => return Ok(true),
                    _ if late => return Ok(false),
                    _ => Tasks::wait(spot, deadline),
                }
            }
        });
        match joined {
            Err(RingError::TimedOut) => Ok(false),
            joined => Ok(joined?),
        }
    }
}

fn count_unfinished(tasks: &Tasks<'_>, deadline: Option<Deadline>) -> Result<u64, RingError> {
    // SAFETY: whoever calls borrows the handle that keeps the memory mapped.
    unsafe { tasks.ring.consume(Wait::Until(deadline), || false, |consuming| tasks.unfinished(consuming)) }
}

impl<T, C> Deref for JoinableQueue<T, C> {
    type Target = Queue<T, C>;

    fn deref(&self) -> &Queue<T, C> {
        &self.queue
    }
}

impl<T, C> Clone for JoinableQueue<T, C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T, C> fmt::Debug for JoinableQueue<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl<T, C> serde::Serialize for JoinableQueue<T, C> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.queue.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: 'static, C: Codec<T>> serde::Deserialize<'de> for JoinableQueue<T, C> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::segment::open_reference(deserializer, Self::open_at)
    }
}

impl fmt::Display for TaskDoneTooOften {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done was called more often than items were got")
    }
}

impl std::error::Error for TaskDoneTooOften {}

impl From<TaskDoneTooOften> for Error {
    fn from(error: TaskDoneTooOften) -> Self {
        Self::operation(error)
    }
}
