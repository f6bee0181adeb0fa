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
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let result = pool.apply_async(|n: u32| n + 1, 41);
    /// assert_eq!((result.get(), result.get()), (Ok(&42), Ok(&42)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get(&self) -> Result<&R, &TaskError> {
        self.future.result()
    }

    /// The result if it is there.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, TaskError, threads};
    /// let pool = threads::Pool::new(1)?;
    /// let event = Event::new()?;
    /// let result = pool.apply_async(|event: Event| event.wait(), event.clone());
    /// assert_eq!(result.try_get(), Err(&TaskError::WaitTimedOut));
    /// event.set();
    /// result.wait();
    /// assert_eq!(result.try_get(), Ok(&()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<&R, &TaskError> {
        self.future.result_timeout(Duration::ZERO)
    }

    /// As [`get`](Self::get), for at most `timeout`.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], after which it can be asked for again; and those of `get`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Event, TaskError, threads};
    /// let pool = threads::Pool::new(1)?;
    /// let event = Event::new()?;
    /// let result = pool.apply_async(|event: Event| event.wait(), event.clone());
    /// assert_eq!(result.get_timeout(Duration::from_millis(1)), Err(&TaskError::WaitTimedOut));
    /// event.set();
    /// assert_eq!(result.get_timeout(Duration::from_secs(60)), Ok(&()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<&R, &TaskError> {
        self.future.result_timeout(timeout)
    }

    /// As [`get`](Self::get), until `deadline` at most.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], after which it can be asked for again; and those of `get`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::{Event, TaskError, threads};
    /// let pool = threads::Pool::new(1)?;
    /// let event = Event::new()?;
    /// let result = pool.apply_async(|event: Event| event.wait(), event.clone());
    /// assert_eq!(result.get_deadline(Instant::now()), Err(&TaskError::WaitTimedOut));
    /// event.set();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_deadline(&self, deadline: Instant) -> Result<&R, &TaskError> {
        self.future.result_until(Deadline::at(deadline))
    }

    /// Waits for the result and moves it out.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let text: String = pool.apply_async(|n: u32| n.to_string(), 42).into_inner()?;
    /// assert_eq!(text, "42");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_inner(self) -> Result<R, TaskError> {
        self.future.into_result()
    }

    /// Waits until the task has ended, however it ended.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let result = pool.apply_async(|n: u32| n + 1, 41);
    /// result.wait();
    /// assert!(result.ready());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait(&self) {
        // Its failure is told by `get`.
        let _ = self.get();
    }

    /// As [`wait`](Self::wait), for at most `timeout`; whether it has ended.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Event, threads};
    /// let pool = threads::Pool::new(1)?;
    /// let event = Event::new()?;
    /// let result = pool.apply_async(|event: Event| event.wait(), event.clone());
    /// assert!(!result.wait_timeout(Duration::from_millis(1)));
    /// event.set();
    /// assert!(result.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let _ = self.get_timeout(timeout);
        self.ready()
    }

    /// Whether it has ended.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, threads};
    /// let pool = threads::Pool::new(1)?;
    /// let event = Event::new()?;
    /// let result = pool.apply_async(|event: Event| event.wait(), event.clone());
    /// assert!(!result.ready());
    /// event.set();
    /// result.wait();
    /// assert!(result.ready());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn ready(&self) -> bool {
        self.future.done()
    }

    /// Whether it has ended with a result; `None` while it has not.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(1)?;
    /// let result = pool.apply_async(|()| -> () { panic!("on purpose") }, ());
    /// result.wait();
    /// assert_eq!(result.successful(), Some(false));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.future.core().outcome().map(Result::is_ok)
    }

    /// How many items are done, failed ones included.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// let results = pool.map_async(|n: u32| n + 1, 0..4);
    /// results.wait();
    /// assert_eq!(results.completed(), 4);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn completed(&self) -> usize {
        match &self.progress {
            // Relaxed: a count for who is curious.
            Some(progress) => progress.completed.load(Ordering::Relaxed),
            None => usize::from(self.ready()),
        }
    }

    /// How many items there are: 1 if it is not a map's.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::threads::Pool::new(2)?;
    /// assert_eq!(pool.map_async(|n: u32| n + 1, 0..4).total(), 4);
    /// assert_eq!(pool.apply_async(|n: u32| n + 1, 0).total(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
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
