//! [`Results`]: the iterator over the results of a map.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::TaskError;
use super::launch::Launch;
use super::options::MapOptions;
use super::sink::Sink;
use super::stream::Stream;
use crate::sys::Deadline;

/// From so many items on, a buffer is filled up when it is half empty, and not for each item.
const LARGE_BUFFER: usize = 64;

/// The results of a map, each as soon as it is there: in the order of the items, or in that of their coming.
///
/// Items are taken from the input when results are asked for, and a bounded number ahead
/// ([`MapOptions::buffersize`](super::MapOptions::buffersize)): the input may be endless. When the iterator is dropped, items
/// that no worker has begun are not done.
///
/// # Process death
/// The result of an item whose worker process dies is [`TaskError::WorkerDied`]; the others come.
///
/// # Examples
/// ```
/// let pool = multiproc::threads::Pool::new(2)?;
/// let mut squares = pool.imap(|n: u64| n * n, 0..3);
/// assert_eq!(squares.next(), Some(Ok(0)));
/// assert_eq!(squares.by_ref().flatten().collect::<Vec<_>>(), [1, 4]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Results<I: Iterator, R> {
    source: Option<I>,
    launch: Box<dyn Launch<I::Item, R> + Send>,
    stream: Arc<Stream<R>>,
    sink: Arc<dyn Sink<R>>,
    /// Items taken from the source.
    taken: u64,
    /// Those of them whose results were not asked for yet.
    outstanding: usize,
    chunk: usize,
    buffer: usize,
    deadline: Option<Deadline>,
    ends_at_error: bool,
    /// What is wrong from the start.
    refused: Option<TaskError>,
}

/// Which results come when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In the order of the items.
    Ordered,
    /// In the order of the items, and none after the first error.
    UntilError,
    /// As they come.
    Unordered,
}

impl<I: Iterator, R: Send + Sync + 'static> Results<I, R> {
    pub(crate) fn new(
        launch: impl Launch<I::Item, R> + Send + 'static,
        source: I,
        options: MapOptions,
        manner: Manner,
    ) -> Self {
        let stream = Arc::new(Stream::new(manner != Manner::Unordered, launch.driver()));
        let checked = options.check();
        let refused = checked.as_ref().err().cloned();
        let (chunk, buffer, deadline) = checked.map_or((1, 1, None), |checked| {
            let chunk = checked.chunk.unwrap_or(1);
            (chunk, checked.buffer(chunk, launch.workers()), checked.deadline)
        });
        let mut results = Self {
            source: refused.is_none().then_some(source),
            launch: Box::new(launch),
            sink: stream.clone(),
            stream,
            taken: 0,
            outstanding: 0,
            // A chunk never exceeds the buffer.
            chunk: chunk.min(buffer),
            buffer,
            deadline,
            ends_at_error: manner == Manner::UntilError,
            refused,
        };
        results.refill();
        results
    }

    /// As `next`, for at most `timeout`: [`TaskError::WaitTimedOut`] leaves the result for later.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let mut squares = pool.imap(|n: u32| n * n, 1..3);
    /// assert_eq!(squares.next_timeout(Duration::from_secs(60)), Some(Ok(1)));
    /// assert_eq!(squares.next(), Some(Ok(4)));
    /// assert_eq!(squares.next(), None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(Deadline::after(timeout))
    }

    fn next_until(&mut self, deadline: Option<Deadline>) -> Option<Result<R, TaskError>> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        self.refill();
        if self.outstanding == 0 {
            return None;
        }
        let earliest = self.deadline.map_or(deadline, |own| Some(own.earlier(deadline)));
        match self.stream.next(earliest) {
            Some(result) => {
                self.outstanding -= 1;
                if result.is_err() && self.ends_at_error {
                    self.end();
                }
                Some(result)
            }
            None => {
                if self.deadline.is_some_and(Deadline::has_passed) {
                    self.end();
                }
                Some(Err(TaskError::WaitTimedOut))
            }
        }
    }

    /// Launches items until the buffer is full.
    fn refill(&mut self) {
        let low = if self.buffer < LARGE_BUFFER { self.buffer - 1 } else { self.buffer / 2 };
        if self.outstanding > low || self.source.is_none() {
            return;
        }
        let mut batch = Vec::new();
        while let Some(source) = &mut self.source
            && self.outstanding + self.chunk <= self.buffer
        {
            batch.extend(source.take(self.chunk));
            let taken = batch.len();
            if taken > 0 {
                self.launch.launch(self.taken, &mut batch, &self.sink);
            }
            self.taken += taken as u64;
            self.outstanding += taken;
            if taken < self.chunk {
                self.source = None;
            }
        }
        self.launch.flush();
    }
}

impl<I: Iterator, R> Results<I, R> {
    /// No more results.
    fn end(&mut self) {
        self.source = None;
        self.outstanding = 0;
        self.stream.abandon();
        self.launch.abandon();
    }
}

impl<I: Iterator, R: Send + Sync + 'static> Iterator for Results<I, R> {
    type Item = Result<R, TaskError>;

    /// Waits for the next result.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

impl<I: Iterator, R> Drop for Results<I, R> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<I: Iterator, R> fmt::Debug for Results<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("taken", &self.taken)
            .field("outstanding", &self.outstanding)
            .finish_non_exhaustive()
    }
}
