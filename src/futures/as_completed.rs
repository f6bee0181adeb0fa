//! [`as_completed`]: futures in the order of their ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::wait::distinct;
use crate::Error;
use crate::sys::Deadline;
use crate::task::{Future, Watcher};

/// The time was over before all futures were done.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::Event;
/// use multiproc::futures::{ThreadPoolExecutor, Unfinished, as_completed};
/// let executor = ThreadPoolExecutor::new(1)?;
/// let event = Event::new()?;
/// let future = executor.submit(|event: Event| event.wait(), event.clone());
/// let first = as_completed([future], Some(Duration::from_millis(1))).next();
/// assert!(matches!(first, Some(Err(Unfinished { done: 0, of: 1 }))));
/// event.set();
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// How many were done, all of which were given.
    pub done: usize,
    /// Of how many.
    pub of: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (of {}) futures unfinished", self.of - self.done, self.of)
    }
}

impl std::error::Error for Unfinished {}

impl From<Unfinished> for Error {
    fn from(error: Unfinished) -> Self {
        Self::operation(error)
    }
}

/// The futures in the order in which they are done, each distinct one once; those first that are done already. If `timeout`,
/// counted from the first `next`, is over before, the last item is [`Unfinished`].
///
/// # Process death
/// A task whose worker process dies is done.
///
/// # Examples
/// ```
/// use multiproc::futures::{ThreadPoolExecutor, as_completed};
/// let executor = ThreadPoolExecutor::new(2)?;
/// let futures = (0..4).map(|n: u32| executor.submit(|n| n * n, n));
/// let mut sum = 0;
/// for future in as_completed(futures, None) {
///     sum += future?.into_result()?;
/// }
/// assert_eq!(sum, 14);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub fn as_completed<R: 'static>(
    futures: impl IntoIterator<Item = Future<R>>,
    timeout: Option<Duration>,
) -> AsCompleted<R> {
    let given: Vec<_> = futures.into_iter().collect();
    // Clones are handles: only the distinct ones are kept, so that each can be moved out of.
    let kept: Vec<_> = distinct(&given).into_iter().cloned().map(Some).collect();
    drop(given);
    let of = kept.len();
    AsCompleted { futures: kept, watcher: Arc::default(), timeout, begun: None, done: 0, of, is_over: false }
}

/// See [`as_completed`].
///
/// # Examples
/// ```
/// use multiproc::futures::{ThreadPoolExecutor, as_completed};
/// let executor = ThreadPoolExecutor::new(2)?;
/// let futures = [1, 2].map(|n| executor.submit(|n: u32| n * 10, n));
/// let mut completed = as_completed(futures, None);
/// assert!(completed.next().is_some() && completed.next().is_some() && completed.next().is_none());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "it waits only when it is asked for the next"]
pub struct AsCompleted<R: 'static> {
    /// Those that were not given yet.
    futures: Vec<Option<Future<R>>>,
    watcher: Arc<Watcher>,
    timeout: Option<Duration>,
    /// Since the first `next`: until when to wait.
    begun: Option<Option<Deadline>>,
    done: usize,
    of: usize,
    is_over: bool,
}

impl<R: 'static> Iterator for AsCompleted<R> {
    type Item = Result<Future<R>, Unfinished>;

    fn next(&mut self) -> Option<Self::Item> {
        let deadline = match self.begun {
            Some(deadline) => deadline,
            None => {
                for (index, future) in self.futures.iter().enumerate() {
                    if let Some(future) = future {
                        future.core().watch(&self.watcher, index);
                    }
                }
                *self.begun.insert(self.timeout.and_then(Deadline::after))
            }
        };
        if self.is_over || self.done == self.of {
            return None;
        }
        match self.watcher.next(deadline) {
            Some((index, _)) => {
                self.done += 1;
                self.futures.get_mut(index).and_then(Option::take).map(Ok)
            }
            None => {
                self.is_over = true;
                Some(Err(Unfinished { done: self.done, of: self.of }))
            }
        }
    }
}

impl<R: 'static> Drop for AsCompleted<R> {
    fn drop(&mut self) {
        for future in self.futures.iter().flatten() {
            future.core().unwatch(&self.watcher);
        }
    }
}

impl<R: 'static> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("done", &self.done).field("of", &self.of).finish_non_exhaustive()
    }
}
