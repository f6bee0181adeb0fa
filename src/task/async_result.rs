//! [`AsyncResult`]: the result to come of a pool's task or map.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::TaskError;
use super::future::Future;
use super::gather::Progress;
use crate::sys::Deadline;

/// The result to come of a task of a pool, or of a map: then all the results, in the order of the items.
///
/// Of a map, it is there when all items are done; if some failed, it is the first failure that came. Dropping it cancels
/// nothing.
///
/// # Process death
/// A worker process that dies fails the task, or the map, with [`TaskError::WorkerDied`]. A pool that is terminated fails it
/// with [`TaskError::Terminated`]. Nobody waits in vain.
///
/// # Examples
/// ```
/// let pool = multiproc::threads::Pool::new(2)?;
/// let lengths = pool.map_async(|word: &str| word.len(), ["a", "bc", "def"]);
/// assert_eq!(lengths.get(), Ok(&vec![1, 2, 3]));
/// assert_eq!(lengths.successful(), Some(true));
/// assert_eq!((lengths.completed(), lengths.total()), (3, 3));
/// assert_eq!(lengths.into_inner()?, [1, 2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct AsyncResult<R> {
    future: Future<R>,
    /// Of a map.
    progress: Option<Arc<Progress>>,
}

impl<R: 'static> AsyncResult<R> {
    pub(crate) fn new(future: Future<R>, progress: Option<Arc<Progress>>) -> Self {
        Self { future, progress }
    }

    /// Has `callback` called with the outcome.
    pub(crate) fn then(self, callback: impl FnOnce(Result<&R, &TaskError>) + Send + 'static) -> Self {
        self.future.core().on_end(|core| {
            if let Some(outcome) = core.outcome() {
                callback(outcome.as_ref());
            }
        });
        self
    }

    /// Waits for the result until a deadline, and moves it out.
    pub(crate) fn within(self, deadline: Option<Deadline>) -> Result<R, TaskError> {
        if self.future.core().wait(deadline).is_none() {
            // What nobody has begun is not done any more.
            self.future.core().finish(Err(TaskError::WaitTimedOut));
        }
        self.into_inner()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// Why there is none: [`TaskError`]. Each time the same.
    pub fn get(&self) -> Result<&R, &TaskError> {
        self.future.result()
    }

    /// The result if it is there.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], and those of [`get`](Self::get).
    pub fn try_get(&self) -> Result<&R, &TaskError> {
        self.future.result_timeout(Duration::ZERO)
    }

    /// As [`get`](Self::get), for at most `timeout`.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], after which it can be asked for again; and those of `get`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<&R, &TaskError> {
        self.future.result_timeout(timeout)
    }

    /// As [`get`](Self::get), until `deadline` at most.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], after which it can be asked for again; and those of `get`.
    pub fn get_deadline(&self, deadline: Instant) -> Result<&R, &TaskError> {
        self.future.result_until(Deadline::at(deadline))
    }

    /// Waits for the result and moves it out.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn into_inner(self) -> Result<R, TaskError> {
        self.future.into_result()
    }

    /// Waits until the task has ended, however it ended.
    pub fn wait(&self) {
        // Its failure is told by `get`.
        let _ = self.get();
    }

    /// As [`wait`](Self::wait), for at most `timeout`; whether it has ended.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let _ = self.get_timeout(timeout);
        self.ready()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.future.done()
    }

    /// Whether it has ended with a result; `None` while it has not.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.future.core().outcome().map(Result::is_ok)
    }

    /// How many items are done, failed ones included.
    #[must_use]
    pub fn completed(&self) -> usize {
        match &self.progress {
            // Relaxed: a count for who is curious.
            Some(progress) => progress.completed.load(Ordering::Relaxed),
            None => usize::from(self.ready()),
        }
    }

    /// How many items there are: 1 if it is not a map's.
    #[must_use]
    pub fn total(&self) -> usize {
        // Relaxed: set before the result was handed out.
        self.progress.as_ref().map_or(1, |progress| progress.total.load(Ordering::Relaxed))
    }
}

impl<R: 'static> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("completed", &self.completed())
            .field("total", &self.total())
            .finish_non_exhaustive()
    }
}
