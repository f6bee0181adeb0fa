//! [`QueueIter`] and [`TaskIter`]: the items of a queue, one after the other, until it is shut down and drained.

use std::iter::FusedIterator;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JoinableQueue, Queue, Task};

/// The items of a [`Queue`], as [`Queue::iter`] gets them. Ends where a get fails.
#[derive(Debug)]
pub struct QueueIter<'a, T> {
    queue: Option<&'a Queue<T>>,
}

impl<'a, T> QueueIter<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        Self { queue: Some(queue) }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Iterator for QueueIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.queue?.get().ok();
        if item.is_none() {
            self.queue = None;
        }
        item
    }
}

impl<T: Serialize + DeserializeOwned + 'static> FusedIterator for QueueIter<'_, T> {}

/// The tasks of a [`JoinableQueue`], as [`JoinableQueue::tasks`] takes them. Ends where a take fails.
#[derive(Debug)]
pub struct TaskIter<'a, T> {
    queue: Option<&'a JoinableQueue<T>>,
}

impl<'a, T> TaskIter<'a, T> {
    pub(super) fn new(queue: &'a JoinableQueue<T>) -> Self {
        Self { queue: Some(queue) }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Iterator for TaskIter<'_, T> {
    type Item = Task<T>;

    fn next(&mut self) -> Option<Task<T>> {
        let task = self.queue?.take().ok();
        if task.is_none() {
            self.queue = None;
        }
        task
    }
}

impl<T: Serialize + DeserializeOwned + 'static> FusedIterator for TaskIter<'_, T> {}
