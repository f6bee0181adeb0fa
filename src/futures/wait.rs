//! [`wait`]: waits for several futures.

use std::sync::Arc;
use std::time::Duration;

use crate::sys::Deadline;
use crate::task::{Future, Watcher};

/// When [`wait`] returns.
///
/// # Examples
/// ```
/// use multiproc::Event;
/// use multiproc::futures::{ReturnWhen, ThreadPoolExecutor, wait};
/// let executor = ThreadPoolExecutor::new(2)?;
/// let event = Event::new()?;
/// let quick = executor.submit(|event: Event| event.is_set(), event.clone());
/// let slow = executor.submit(|event: Event| { event.wait(); true }, event.clone());
/// let waited = wait(&[quick.clone(), slow], None, ReturnWhen::FirstCompleted);
/// assert!(waited.done == [quick]);
/// event.set();
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnWhen {
    /// When one is done.
    FirstCompleted,
    /// When one has failed, which one that was cancelled has not, or all are done.
    FirstException,
    /// When all are done.
    AllCompleted,
}

/// What [`wait`] found: each distinct future in one of both, in the order in which they were given.
///
/// # Examples
/// ```
/// use multiproc::futures::{ReturnWhen, ThreadPoolExecutor, wait};
/// let executor = ThreadPoolExecutor::new(2)?;
/// let futures = [1, 2].map(|n| executor.submit(|n: u32| n * 10, n));
/// let waited = wait(&futures, None, ReturnWhen::AllCompleted);
/// assert_eq!((waited.done.len(), waited.not_done.len()), (2, 0));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Waited<R: 'static> {
    /// Finished or cancelled.
    pub done: Vec<Future<R>>,
    /// Neither.
    pub not_done: Vec<Future<R>>,
}

/// Waits until some or all of `futures` are done, for at most `timeout` if there is one. The same future given twice counts
/// once. Futures of several executors can be waited for together.
///
/// # Process death
/// A task whose worker process dies is done.
///
/// # Examples
/// ```
/// use multiproc::futures::{ReturnWhen, ThreadPoolExecutor, wait};
/// let executor = ThreadPoolExecutor::new(2)?;
/// let futures: Vec<_> = (0..4).map(|n: u32| executor.submit(|n| n + 1, n)).collect();
/// let waited = wait(&futures, None, ReturnWhen::AllCompleted);
/// assert_eq!((waited.done.len(), waited.not_done.len()), (4, 0));
/// # Ok::<(), multiproc::Error>(())
/// ```
pub fn wait<R: 'static>(
    futures: &[Future<R>],
    timeout: Option<Duration>,
    return_when: ReturnWhen,
) -> Waited<R> {
    let deadline = timeout.and_then(Deadline::after);
    let futures = distinct(futures);
    let watcher = Arc::new(Watcher::default());
    for (index, future) in futures.iter().enumerate() {
        future.core().watch(&watcher, index);
    }
    let mut left = futures.len();
    while left > 0 {
        let Some((_, failed)) = watcher.next(deadline) else { break };
        left -= 1;
        let is_enough = match return_when {
            ReturnWhen::FirstCompleted => true,
            ReturnWhen::FirstException => failed,
            ReturnWhen::AllCompleted => false,
        };
        if is_enough {
            break;
        }
    }
    for future in &futures {
        future.core().unwatch(&watcher);
    }
    let (done, not_done) = futures.into_iter().cloned().partition(Future::done);
    Waited { done, not_done }
}

/// Each future once.
pub(super) fn distinct<R: 'static>(futures: &[Future<R>]) -> Vec<&Future<R>> {
    let mut seen = std::collections::HashSet::new();
    futures.iter().filter(|future| seen.insert(Arc::as_ptr(future.core()))).collect()
}
