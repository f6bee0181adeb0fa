//! [`Core`]: a task as those see it who wait for its result. Every executor's and pool's results are these.
//!
//! ```text
//! phase       begin()            finish(outcome)          cancel()             callback or watcher added
//! Pending     true -> Running    true -> Finished         true -> Cancelled    kept
//! Running     false              true -> Finished         false                kept
//! Finished    false              false, first one stays   false                called at once, in the caller
//! Cancelled   false              false                    true                 called at once, in the caller
//! ```
//! Finished and Cancelled are the end: the outcome is set, under the lock, when they are entered, and whoever waits is told
//! then. There is no state "cancelled, and nobody was told". Where workers are other processes, a task is Pending here until
//! its outcome comes; the driver knows whether a worker has begun it, and has the last word on cancelling it.
//!
//! Waiters are woken before the callbacks run; these run in the order in which they were added, in the thread that finished
//! or cancelled the task, each by itself: one that panics is the end of that one only.

use std::cell::RefCell;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::driver::{Driver, NO_TICKET};
use super::error::TaskError;
use super::sink::{Outcomes, Sink};
use super::watcher::Watcher;
use crate::sys::Deadline;

type Later = Box<dyn FnOnce()>;

thread_local! {
    /// Callbacks that whoever takes in results calls later; `None` where they are called at once.
    static LATER: RefCell<Option<Vec<Later>>> = const { RefCell::new(None) };
}

/// Callbacks of tasks that have ended.
#[must_use]
pub(crate) struct Callbacks(Vec<Later>);

impl Callbacks {
    /// Runs `deliver`, and keeps the callbacks of the tasks that it ends.
    pub(crate) fn of(deliver: impl FnOnce()) -> Self {
        let outer = LATER.replace(Some(Vec::new()));
        deliver();
        Self(LATER.replace(outer).unwrap_or_default())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls them.
    pub(crate) fn call(self) {
        for callback in self.0 {
            callback();
        }
    }
}

type Callback<R> = Box<dyn FnOnce(&Arc<Core<R>>) + Send>;

/// A task's state and result.
pub(crate) struct Core<R> {
    /// Set once, under the lock of `inner`.
    outcome: OnceLock<Result<R, TaskError>>,
    inner: Mutex<Inner<R>>,
    ended: Condvar,
    /// Handles that users have.
    pub(super) handles: AtomicUsize,
    /// Who runs it, if that is not this process, and what it is called there.
    driver: Option<Arc<dyn Driver>>,
    ticket: AtomicU64,
}

struct Inner<R> {
    phase: Phase,
    callbacks: Vec<Callback<R>>,
    watchers: Vec<(Arc<Watcher>, usize)>,
    wakers: Vec<Waker>,
    /// Threads that wait for its end.
    waiting: usize,
    /// Those of them that its driver counts.
    counted: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Pending,
    Running,
    Finished,
    Cancelled,
}

impl<R: 'static> Core<R> {
    /// A task that nobody has begun.
    pub(crate) fn new(driver: Option<Arc<dyn Driver>>) -> Arc<Self> {
        let inner = Inner {
            phase: Phase::Pending,
            callbacks: Vec::new(),
            watchers: Vec::new(),
            wakers: Vec::new(),
            waiting: 0,
            counted: 0,
        };
        Arc::new(Self {
            outcome: OnceLock::new(),
            inner: Mutex::new(inner),
            ended: Condvar::new(),
            handles: AtomicUsize::new(1),
            driver,
            ticket: AtomicU64::new(NO_TICKET),
        })
    }

    /// Notes what its driver calls it, before anybody else knows of it.
    pub(crate) fn set_ticket(&self, ticket: u64) {
        self.ticket.store(ticket, Ordering::Relaxed); // Relaxed: published with the handle.
    }

    /// Its worker begins it; `false` if it is not to be done.
    pub(crate) fn begin(&self) -> bool {
        let mut inner = self.inner();
        let pending = inner.phase == Phase::Pending;
        if pending {
            inner.phase = Phase::Running;
        }
        pending
    }

    /// Ends it with its outcome, unless it has ended; whether it did. `Cancelled` is an outcome, too.
    pub(crate) fn finish(self: &Arc<Self>, outcome: Result<R, TaskError>) -> bool {
        let inner = self.inner();
        match inner.phase {
            Phase::Pending | Phase::Running => {
                let is_cancel = matches!(outcome, Err(TaskError::Cancelled));
                let phase = if is_cancel { Phase::Cancelled } else { Phase::Finished };
                self.end(inner, phase, outcome);
                true
            }
            Phase::Finished | Phase::Cancelled => false,
        }
    }

    /// Cancels it unless it was begun; whether it is cancelled.
    pub(crate) fn cancel(self: &Arc<Self>) -> bool {
        {
            let inner = self.inner();
            if inner.phase != Phase::Pending {
                return inner.phase == Phase::Cancelled;
            }
        }
        if let Some(driver) = &self.driver
            && !driver.withdraw(self.ticket())
        {
            return self.is_cancelled();
        }
        let inner = self.inner();
        match inner.phase {
            Phase::Pending => {
                self.end(inner, Phase::Cancelled, Err(TaskError::Cancelled));
                if let Some(driver) = &self.driver {
                    driver.nudge();
                }
                true
            }
            phase => phase == Phase::Cancelled,
        }
    }

    /// Enters a last phase: tells all who wait, then runs the callbacks.
    fn end(
        self: &Arc<Self>,
        mut inner: MutexGuard<'_, Inner<R>>,
        phase: Phase,
        outcome: Result<R, TaskError>,
    ) {
        inner.phase = phase;
        let failed = phase == Phase::Finished && outcome.is_err();
        // It is set nowhere else, and the phase allows this once.
        let _ = self.outcome.set(outcome);
        let (callbacks, watchers, wakers) =
            (take(&mut inner.callbacks), take(&mut inner.watchers), take(&mut inner.wakers));
        let (is_awaited, counted) = (inner.waiting > 0, take(&mut inner.counted));
        drop(inner);
        if counted > 0
            && let Some(driver) = &self.driver
        {
            driver.let_go(counted);
        }
        // A notification is a system call, whoever waits.
        if is_awaited {
            self.ended.notify_all();
        }
        for (watcher, index) in watchers {
            watcher.tell(index, failed);
        }
        wakers.into_iter().for_each(Waker::wake);
        if callbacks.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        let call = move || callbacks.into_iter().for_each(|callback| this.call(callback));
        let now = LATER.with_borrow_mut(|later| match later {
            Some(later) => {
                later.push(Box::new(call));
                None
            }
            None => Some(call),
        });
        if let Some(call) = now {
            call();
        }
    }

    fn call(self: &Arc<Self>, callback: impl FnOnce(&Arc<Self>)) {
        // The panic hook has said what there is to say.
        let _ = catch_unwind(AssertUnwindSafe(|| callback(self)));
    }

    /// Has `callback` called when it has ended, at once if it has.
    pub(crate) fn on_end(self: &Arc<Self>, callback: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let mut inner = self.inner();
        match inner.phase {
            Phase::Pending | Phase::Running => inner.callbacks.push(Box::new(callback)),
            Phase::Finished | Phase::Cancelled => {
                drop(inner);
                self.call(callback);
            }
        }
    }

    /// Has `watcher` told of its end under the number `index`, at once if it has ended.
    pub(crate) fn watch(&self, watcher: &Arc<Watcher>, index: usize) {
        let mut inner = self.inner();
        match inner.phase {
            Phase::Pending | Phase::Running => inner.watchers.push((Arc::clone(watcher), index)),
            phase => {
                drop(inner);
                watcher.tell(index, phase == Phase::Finished && self.has_failed());
            }
        }
    }

    /// The watcher is not interested any more.
    pub(crate) fn unwatch(&self, watcher: &Arc<Watcher>) {
        self.inner().watchers.retain(|(other, _)| !Arc::ptr_eq(other, watcher));
    }

    /// Has `waker` woken at its end; whether it has ended already.
    pub(crate) fn wake_at_end(&self, waker: &Waker) -> bool {
        let mut inner = self.inner();
        if self.outcome().is_some() {
            return true;
        }
        if !inner.wakers.iter().any(|other| other.will_wake(waker)) {
            inner.wakers.push(waker.clone());
        }
        false
    }

    /// Waits for its end, at most until `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> Option<&Result<R, TaskError>> {
        if self.outcome().is_none()
            && let Some(driver) = &self.driver
            && !driver.help(&|| self.outcome().is_some(), deadline)
        {
            return self.wait_counted(driver, deadline);
        }
        if let Some(outcome) = self.outcome() {
            return Some(outcome);
        }
        self.sleep(self.inner(), deadline)
    }

    /// The rest of a [`wait`](Self::wait) by a thread that the driver counts.
    #[cold]
    fn wait_counted(
        &self,
        driver: &Arc<dyn Driver>,
        deadline: Option<Deadline>,
    ) -> Option<&Result<R, TaskError>> {
        let mut inner = self.inner();
        if self.outcome().is_some() {
            // Whoever ended it did not know.
            driver.let_go(1);
            return self.outcome();
        }
        inner.counted += 1;
        if self.sleep(inner, deadline).is_none() {
            let mut inner = self.inner();
            // It may have ended just now: then it was let go.
            if self.outcome().is_none() {
                inner.counted -= 1;
                driver.let_go(1);
            }
        }
        self.outcome()
    }

    fn sleep(
        &self,
        inner: MutexGuard<'_, Inner<R>>,
        deadline: Option<Deadline>,
    ) -> Option<&Result<R, TaskError>> {
        let mut inner = inner;
        inner.waiting += 1;
        while self.outcome().is_none() {
            inner = match deadline.map(Deadline::remaining) {
                None => self.ended.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.ended.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        inner.waiting -= 1;
        self.outcome()
    }

    /// Its result or why there is none, once it has ended.
    pub(crate) fn outcome(&self) -> Option<&Result<R, TaskError>> {
        self.outcome.get()
    }

    /// Why there is no result. Then others may have the task still: a cancelled one stays in its queue.
    pub(super) fn error(&self) -> Option<TaskError> {
        self.outcome().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    /// The outcome of a task whose last handle this is.
    pub(crate) fn into_outcome(self) -> Option<Result<R, TaskError>> {
        self.outcome.into_inner()
    }

    /// Whether a worker is at it.
    pub(crate) fn is_running(&self) -> bool {
        let phase = self.inner().phase;
        match (phase, &self.driver) {
            (Phase::Running, _) => true,
            (Phase::Pending, Some(driver)) => driver.is_begun(self.ticket()) && self.outcome().is_none(),
            _ => false,
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner().phase == Phase::Cancelled
    }

    fn has_failed(&self) -> bool {
        self.outcome().is_some_and(Result::is_err)
    }

    fn ticket(&self) -> u64 {
        self.ticket.load(Ordering::Relaxed) // Relaxed: set before the handle was handed out.
    }

    fn inner(&self) -> MutexGuard<'_, Inner<R>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task of one item.
impl<R: Send + Sync + 'static> Sink<R> for Core<R> {
    fn begin(&self, _: u64) -> bool {
        Core::begin(self)
    }

    fn deliver(self: Arc<Self>, _: u64, _: usize, results: &mut dyn Outcomes<R>) {
        self.finish(results.next());
    }

    fn fail(self: Arc<Self>, _: u64, _: usize, error: TaskError) {
        self.finish(Err(error));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn begun() -> Arc<Core<u8>> {
        let core = Core::new(None);
        assert!(core.begin());
        core
    }

    fn finished() -> Arc<Core<u8>> {
        let core = begun();
        assert!(core.finish(Ok(1)));
        core
    }

    fn cancelled() -> Arc<Core<u8>> {
        let core = Core::new(None);
        assert!(core.cancel());
        core
    }

    /// begin, finish, cancel: what they say of a task in each phase.
    #[test]
    fn every_operation_in_every_phase_does_what_the_table_says() {
        type Make = fn() -> Arc<Core<u8>>;
        let phases: [(Make, [bool; 3]); 4] = [
            (|| Core::new(None), [true, true, true]),
            (begun, [false, true, false]),
            (finished, [false, false, false]),
            (cancelled, [false, false, true]),
        ];
        for (index, (make, [begins, finishes, cancels])) in phases.into_iter().enumerate() {
            assert_eq!(make().begin(), begins, "begin in phase {index}");
            assert_eq!(make().finish(Ok(2)), finishes, "finish in phase {index}");
            assert_eq!(make().cancel(), cancels, "cancel in phase {index}");
        }
        let core = finished();
        core.finish(Ok(2));
        assert_eq!(core.outcome(), Some(&Ok(1)), "the first value stays");
        assert_eq!(cancelled().outcome(), Some(&Err(TaskError::Cancelled)));
        assert!(begun().is_running() && !finished().is_running() && !cancelled().is_running());
    }

    #[test]
    fn callbacks_run_in_order_and_one_that_panics_stops_none() {
        let (sender, order) = mpsc::channel();
        let core = begun();
        for name in 0..4 {
            let sender = sender.clone();
            core.on_end(move |_| {
                sender.send(name).unwrap();
                assert!(name != 1, "on purpose");
            });
        }
        assert!(core.finish(Ok(0)));
        core.on_end(move |core| {
            // Added in a callback: at once.
            let nested = sender.clone();
            core.on_end(move |_| nested.send(5).unwrap());
            sender.send(6).unwrap();
            panic!("swallowed");
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 5, 6]);
    }

    #[test]
    fn a_waiter_is_woken_before_the_callbacks_are_done() {
        let core = begun();
        let (go_on, held) = mpsc::channel::<()>();
        core.on_end(move |_| held.recv().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| core.finish(Ok(3)));
            assert_eq!(core.wait(None), Some(&Ok(3)));
            go_on.send(()).unwrap();
        });
    }

    #[test]
    fn of_many_that_end_it_at_once_one_does() {
        for round in 0..200 {
            let core = Core::new(None);
            let won = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for n in 0..4_u8 {
                    let (core, won) = (&core, &won);
                    scope.spawn(move || {
                        let ended = if n == round % 4 { core.cancel() } else { core.finish(Ok(n)) };
                        won.fetch_add(usize::from(ended), Ordering::Relaxed);
                    });
                }
                assert!(core.wait(None).is_some());
            });
            assert_eq!(won.into_inner(), 1);
        }
    }
}
