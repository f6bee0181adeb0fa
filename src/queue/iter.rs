//! [`QueueIter`] and [`TaskIter`]: the items of a queue, one after the other, until it is shut down and drained.

use std::iter::FusedIterator;

use super::{Codec, JoinableQueue, Postcard, Queue, Task};

/// The items of a [`Queue`], as [`Queue::iter`] gets them. Ends where a get fails.
///
/// # Examples
/// ```
/// let queue = multiproc::Queue::unbounded()?;
/// (1..=3).try_for_each(|n| queue.put(n))?;
/// queue.shutdown();
/// assert_eq!(queue.iter().collect::<Vec<i32>>(), [1, 2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
pub struct QueueIter<'a, T, C = Postcard> {
    queue: Option<&'a Queue<T, C>>,
}

impl<'a, T, C> QueueIter<'a, T, C> {
    pub(super) fn new(queue: &'a Queue<T, C>) -> Self {
        Self { queue: Some(queue) }
    }
}

impl<T: 'static, C: Codec<T>> Iterator for QueueIter<'_, T, C> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.queue?.get().ok();
        if item.is_none() {
            self.queue = None;
        }
        item
    }
}

impl<T: 'static, C: Codec<T>> FusedIterator for QueueIter<'_, T, C> {}

/// The tasks of a [`JoinableQueue`], as [`JoinableQueue::tasks`] takes them. Ends where a take fails.
///
/// # Examples
/// ```
/// let queue = multiproc::JoinableQueue::unbounded()?;
/// (1..=3).try_for_each(|n: u32| queue.put(n))?;
/// queue.shutdown();
/// for task in queue.tasks() {
///     task.done();
/// }
/// assert_eq!(queue.unfinished()?, 0);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
pub struct TaskIter<'a, T, C = Postcard> {
    queue: Option<&'a JoinableQueue<T, C>>,
}

impl<'a, T, C> TaskIter<'a, T, C> {
    pub(super) fn new(queue: &'a JoinableQueue<T, C>) -> Self {
        Self { queue: Some(queue) }
    }
}

impl<T: 'static, C: Codec<T>> Iterator for TaskIter<'_, T, C> {
    type Item = Task<T, C>;

    fn next(&mut self) -> Option<Task<T, C>> {
        let task = self.queue?.take().ok();
        if task.is_none() {
            self.queue = None;
        }
        task
    }
}

impl<T: 'static, C: Codec<T>> FusedIterator for TaskIter<'_, T, C> {}
