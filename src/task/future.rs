//! [`Future`]: a task's result to come.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::Core;
use super::error::TaskError;
use crate::sys::Deadline;

static TIMED_OUT: TaskError = TaskError::WaitTimedOut;
/// Looks for the end of whoever finishes the task, before sleeps.
const YIELDS: u32 = 200;
const PAUSE: Duration = Duration::from_micros(50);

/// The result to come of a task that was [submitted](super::super::futures::Executor::submit).
///
/// A handle: clones are the same future. Dropping it does not cancel the task.
///
/// | | pending | running | finished | cancelled |
/// |---|---|---|---|---|
/// | [`cancel`](Self::cancel) | true, becomes cancelled | false | false | true |
/// | [`result`](Self::result) | waits | waits | the result, or why there is none | `Cancelled` |
/// | [`add_done_callback`](Self::add_done_callback) | called at the end | called at the end | called at once | called at once |
///
/// `.await` gives what [`into_result`](Self::into_result) does, without blocking the thread.
///
/// # Process death
/// The future of a task whose worker process dies ends with [`TaskError::WorkerDied`]; no other future is touched by it.
///
/// # Examples
/// ```
/// use multiproc::futures::ThreadPoolExecutor;
/// let executor = ThreadPoolExecutor::new(2)?;
/// let future = executor.submit(|n: u32| n + 1, 41);
/// assert_eq!(future.result(), Ok(&42));
/// assert!(future.done() && !future.cancelled());
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Future<R> {
    core: Arc<Core<R>>,
    /// Whether it is one of the core's `handles`.
    is_counted: bool,
}

impl<R: 'static> Future<R> {
    /// The first handle of a task.
    pub(crate) fn new(core: Arc<Core<R>>) -> Self {
        Self { core, is_counted: true }
    }

    /// A future that has ended already.
    pub(crate) fn failed(error: TaskError) -> Self {
        let core = Core::new(None);
        core.finish(Err(error));
        Self::new(core)
    }

    pub(crate) fn core(&self) -> &Arc<Core<R>> {
        &self.core
    }

    /// Cancels the task unless a worker has begun it, and says whether it is cancelled. Whoever waits for it is told at
    /// once, and its callbacks are called here.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let (go_on, wait) = std::sync::mpsc::channel::<()>();
    /// let running = executor.submit(move |()| wait.recv().is_ok(), ());
    /// let pending = executor.submit(|()| (), ());
    /// assert!(pending.cancel() && pending.cancelled());
    /// go_on.send(()).ok();
    /// assert_eq!(running.result(), Ok(&true));
    /// assert!(!running.cancel());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.core.cancel()
    }

    /// Whether it was cancelled.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let future = executor.submit(|n: u32| n + 1, 41);
    /// future.result().expect("it does not fail");
    /// assert!(!future.cancelled());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.core.is_cancelled()
    }

    /// Whether a worker has begun the task and has not ended it. A task that waits in a queue is not running, and can be
    /// cancelled.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Event;
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let (started, end) = (Event::new()?, Event::new()?);
    /// let wait = |(started, end): (Event, Event)| { started.set(); end.wait() };
    /// let future = executor.submit(wait, (started.clone(), end.clone()));
    /// started.wait();
    /// assert!(future.running() && !future.done());
    /// end.set();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn running(&self) -> bool {
        self.core.is_running()
    }

    /// Whether it is finished or cancelled.
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(1)?;
    /// let future = executor.submit(|n: u32| n + 1, 41);
    /// future.result().expect("it does not fail");
    /// assert!(future.done() && !future.running());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn done(&self) -> bool {
        self.core.outcome().is_some()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// Why there is none: [`TaskError`]. Each time the same.
    ///
    /// # Process death
    /// A worker process that dies with the task ends the wait: [`TaskError::WorkerDied`].
    ///
    /// # Examples
    /// ```
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(1)?;
    /// let future = executor.submit(|n: u32| n + 1, 41);
    /// assert_eq!(future.result(), Ok(&42));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn result(&self) -> Result<&R, &TaskError> {
        self.result_until(None)
    }

    /// As [`result`](Self::result), for at most `timeout`; zero only looks.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`], after which it can be waited for again; and those of `result`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Event, TaskError};
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(1)?;
    /// let event = Event::new()?;
    /// let future = executor.submit(|event: Event| event.wait(), event.clone());
    /// assert_eq!(future.result_timeout(Duration::from_millis(1)), Err(&TaskError::WaitTimedOut));
    /// event.set();
    /// assert_eq!(future.result(), Ok(&()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn result_timeout(&self, timeout: Duration) -> Result<&R, &TaskError> {
        self.result_until(Deadline::after(timeout))
    }

    pub(crate) fn result_until(&self, deadline: Option<Deadline>) -> Result<&R, &TaskError> {
        self.core.wait(deadline).map_or(Err(&TIMED_OUT), Result::as_ref)
    }

    /// Waits for the result and moves it out.
    ///
    /// # Errors
    /// [`TaskError::Shared`] if another handle is alive; the result stays with that one. And those of
    /// [`result`](Self::result).
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// use multiproc::TaskError;
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let text = executor.submit(|n: usize| "x".repeat(n), 3);
    /// let other = text.clone();
    /// assert_eq!(text.into_result(), Err(TaskError::Shared));
    /// assert_eq!(other.into_result()?, "xxx");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn into_result(self) -> Result<R, TaskError> {
        self.core.wait(None);
        let mut core = self.sole()?;
        if let Some(error) = core.error() {
            return Err(error);
        }
        let mut looks = 0;
        // Whoever finished it may still be at its callbacks.
        loop {
            core = match Arc::try_unwrap(core) {
                Ok(core) => return core.into_outcome().unwrap_or(Err(TaskError::Shared)),
                Err(core) => core,
            };
            looks += 1;
            if looks < YIELDS { std::thread::yield_now() } else { std::thread::sleep(PAUSE) }
        }
    }

    /// The core, if there is no other handle.
    fn sole(mut self) -> Result<Arc<Core<R>>, TaskError> {
        self.is_counted = false;
        // AcqRel: of several that do this at once, the last sees what the others did with the result.
        let left = self.core.handles.fetch_sub(1, Ordering::AcqRel);
        if left == 1 { Ok(Arc::clone(&self.core)) } else { Err(TaskError::Shared) }
    }

    /// Waits for the end: why there is no result, or `None` if there is one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// use multiproc::TaskError;
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let fails = executor.submit(|()| panic!("no luck"), ());
    /// assert!(matches!(fails.exception(), Some(TaskError::Panicked { message, .. }) if message == "no luck"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn exception(&self) -> Option<&TaskError> {
        self.result().err()
    }

    /// As [`exception`](Self::exception), for at most `timeout`.
    ///
    /// # Errors
    /// [`TaskError::WaitTimedOut`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let executor = multiproc::futures::ThreadPoolExecutor::new(1)?;
    /// let future = executor.submit(|n: u32| n + 1, 41);
    /// assert_eq!(future.exception_timeout(Duration::from_secs(60)), Ok(None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn exception_timeout(&self, timeout: Duration) -> Result<Option<&TaskError>, &TaskError> {
        match self.core.wait(Deadline::after(timeout)) {
            Some(outcome) => Ok(outcome.as_ref().err()),
            None => Err(&TIMED_OUT),
        }
    }

    /// Has `callback` called with this future when it is done; at once, in the caller, if it is. Otherwise it is called in
    /// the thread that finishes or cancels the task, after waiters were woken, in the order in which callbacks were added.
    ///
    /// One that panics is the end of that one only. One that blocks holds up other results.
    ///
    /// # Examples
    /// ```
    /// use multiproc::futures::ThreadPoolExecutor;
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let future = executor.submit(|n: u32| n * 2, 4);
    /// future.add_done_callback(move |future| sender.send(future.result().ok().copied()).expect("the receiver is there"));
    /// assert_eq!(receiver.recv(), Ok(Some(8)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static) {
        self.core.on_end(|core| callback(&Self { core: Arc::clone(core), is_counted: false }));
    }
}

impl<R> Clone for Future<R> {
    fn clone(&self) -> Self {
        self.core.handles.fetch_add(1, Ordering::Relaxed); // Relaxed: the caller has a handle, so there is one.
        Self { core: Arc::clone(&self.core), is_counted: true }
    }
}

impl<R> Drop for Future<R> {
    fn drop(&mut self) {
        if self.is_counted {
            self.core.handles.fetch_sub(1, Ordering::Release); // Release: our use of the result is over.
        }
    }
}

/// The same task.
impl<R> PartialEq for Future<R> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<R> Eq for Future<R> {}

impl<R: 'static> fmt::Debug for Future<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.cancelled(), self.done(), self.running()) {
            (true, ..) => "cancelled",
            (_, true, _) => "finished",
            (.., true) => "running",
            _ => "pending",
        };
        f.debug_struct("Future").field("state", &state).finish_non_exhaustive()
    }
}

impl<R: 'static> IntoFuture for Future<R> {
    type Output = Result<R, TaskError>;
    type IntoFuture = Awaited<R>;

    fn into_future(self) -> Awaited<R> {
        Awaited { stage: Stage::Waiting(self) }
    }
}

/// A [`Future`] that is awaited: std's kind of future, of what [`Future::into_result`] gives.
///
/// # Examples
/// ```
/// use std::future::IntoFuture;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
/// let executor = multiproc::futures::ThreadPoolExecutor::new(1)?;
/// let future = executor.submit(|n: u32| n + 1, 41);
/// // What `future.await` does, but for the sleep.
/// let mut awaited = pin!(future.into_future());
/// let mut context = Context::from_waker(Waker::noop());
/// let outcome = loop {
///     if let Poll::Ready(outcome) = std::future::Future::poll(awaited.as_mut(), &mut context) {
///         break outcome;
///     }
///     std::thread::yield_now();
/// };
/// assert_eq!(outcome, Ok(42));
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Awaited<R> {
    stage: Stage<R>,
}

enum Stage<R> {
    Waiting(Future<R>),
    /// Ended; whoever finished it may be at its callbacks.
    Ended(Arc<Core<R>>),
    Taken,
}

// Nothing in it is pinned.
impl<R> Unpin for Awaited<R> {}

impl<R: 'static> std::future::Future for Awaited<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    /// After it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let core = match std::mem::replace(&mut self.stage, Stage::Taken) {
            Stage::Waiting(future) => {
                if !future.core.wake_at_end(context.waker()) {
                    self.stage = Stage::Waiting(future);
                    return Poll::Pending;
                }
                match future.sole().and_then(|core| core.error().map_or(Ok(core), Err)) {
                    Ok(core) => core,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Stage::Ended(core) => core,
            Stage::Taken => panic!("a future was polled after it was ready"),
        };
        match Arc::try_unwrap(core) {
            Ok(core) => Poll::Ready(core.into_outcome().unwrap_or(Err(TaskError::Shared))),
            Err(core) => {
                self.stage = Stage::Ended(core);
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<R> fmt::Debug for Awaited<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaited").finish_non_exhaustive()
    }
}
