//! [`Task`]: an item that was taken and is to be done.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use super::{Postcard, Queue};
use crate::raw::Taken;

/// An item that was taken from a [`JoinableQueue`](super::JoinableQueue). It derefs to the item.
///
/// Call [`done`](Self::done) when the work is finished. Dropped before that, the item goes to whoever takes next.
///
/// # Process death
/// When the thread that holds the task ends, by SIGKILL too, before it is done, the item goes to whoever takes next.
///
/// # Examples
/// ```
/// use multiproc::{JoinableQueue, Task};
/// let jobs = JoinableQueue::bounded(4)?;
/// jobs.put(7_u32)?;
/// let task: Task<u32> = jobs.take()?;
/// assert_eq!((*task, task.attempt()), (7, 1));
/// drop(task); // Not done: somebody else gets it.
/// assert_eq!(jobs.take()?.attempt(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "a task that is dropped goes back to the queue"]
pub struct Task<T, C = Postcard> {
    item: T,
    taken: Taken,
    queue: Queue<T, C>,
    /// What the kernel sees die is a thread.
    thread_bound: PhantomData<*const ()>,
}

impl<T, C> Task<T, C> {
    pub(super) fn new(item: T, taken: Taken, queue: Queue<T, C>) -> Self {
        Self { item, taken, queue, thread_bound: PhantomData }
    }

    /// The work is finished: the item is not given to anybody else.
    ///
    /// # Process death
    /// Killed in here, it is done or goes to somebody else. Work is done *at least* once.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::JoinableQueue::bounded(1)?;
    /// queue.put('x')?;
    /// queue.take()?.done();
    /// assert_eq!(queue.unfinished()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn done(self) {
        // The drop that follows finds that the task is not held any more.
        let _ = self.queue.with_tasks(|tasks| Ok(tasks.finish(self.taken)));
    }

    /// How often the item was taken, this time included: 1 unless somebody gave it up or died with it.
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(4)?;
    /// jobs.put(7_u32)?;
    /// assert_eq!(jobs.take()?.attempt(), 1); // And given up.
    /// assert_eq!(jobs.take()?.attempt(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.taken.attempt
    }

    /// The item's number: how many were put before it. The same at each attempt.
    ///
    /// # Examples
    /// ```
    /// let jobs = multiproc::JoinableQueue::bounded(4)?;
    /// jobs.put('a')?;
    /// jobs.put('b')?;
    /// let (first, second) = (jobs.take()?, jobs.take()?);
    /// assert_eq!((first.number(), second.number()), (0, 1));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn number(&self) -> u64 {
        self.taken.number
    }
}

impl<T, C> Deref for Task<T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T, C> Drop for Task<T, C> {
    fn drop(&mut self) {
        let _ = self.queue.with_tasks(|tasks| {
            tasks.give_up(self.taken);
            Ok(())
        });
    }
}

impl<T: fmt::Debug, C> fmt::Debug for Task<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("item", &self.item)
            .field("number", &self.number())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
