//! [`Crew`]: threads that do jobs.
//!
//! ```text
//! stage     submit                       a thread without a job
//! Open      queued                       waits
//! Closed    refused: PoolClosed          ends
//! Broken    refused: what broke it       ends
//! ```
//! Closed, what is queued is still done, unless it was failed; broken, it was failed. A stage only goes downward.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::core::Core;
use super::driver::Driver;
use super::error::{TaskError, text};
use super::future::Future;
use super::launch::Launch;
use super::sink::Sink;
use crate::{Error, Result};

/// What a thread is given to do; with an error, it is told why it will not be done.
type Job = Box<dyn FnOnce(Option<TaskError>) + Send>;

/// What a crew is to be like.
pub(crate) struct CrewOptions {
    /// At least 1.
    pub(crate) threads: usize,
    /// Threads are called by it and a number.
    pub(crate) prefix: String,
    /// Called first of all in each thread; if it panics, the crew is broken.
    pub(crate) initializer: Option<CrewInitializer>,
}

/// What each thread of a crew calls first.
pub(crate) type CrewInitializer = Arc<dyn Fn() + Send + Sync>;

/// `f`, to be called with `args` in each thread.
pub(crate) fn crew_initializer<A>(f: impl Fn(A) + Send + Sync + 'static, args: A) -> CrewInitializer
where
    A: Clone + Send + Sync + 'static,
{
    Arc::new(move || f(args.clone()))
}

/// Threads that do jobs in the order in which they are submitted. A handle; the threads go on without it.
#[derive(Clone)]
pub(crate) struct Crew {
    shared: Arc<Shared>,
}

struct Shared {
    options: CrewOptions,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    stage: Stage,
    queue: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// How many of them wait for a job.
    idle: usize,
}

#[derive(Clone)]
enum Stage {
    Open,
    Closed,
    Broken(TaskError),
}

impl Crew {
    /// A crew without threads, which come with the jobs.
    pub(crate) fn new(options: CrewOptions) -> Self {
        let state = State { stage: Stage::Open, queue: VecDeque::new(), threads: Vec::new(), idle: 0 };
        Self { shared: Arc::new(Shared { options, state: Mutex::new(state), work: Condvar::new() }) }
    }

    /// Starts all threads.
    ///
    /// # Errors
    /// The system has no thread left. Those that were started end.
    pub(crate) fn start(&self) -> Result<()> {
        let started = {
            let mut state = self.shared.state();
            (0..self.shared.options.threads).try_for_each(|_| self.start_one(&mut state))
        };
        started.map_err(|error| {
            self.close();
            Error::os("start a thread", error)
        })
    }

    fn start_one(&self, state: &mut State) -> io::Result<()> {
        let name = format!("{}_{}", self.shared.options.prefix, state.threads.len());
        let shared = Arc::clone(&self.shared);
        state.threads.push(thread::Builder::new().name(name).spawn(move || shared.work())?);
        Ok(())
    }

    /// How many threads there are at most.
    pub(crate) fn size(&self) -> usize {
        self.shared.options.threads
    }

    /// Has a job done.
    fn submit(&self, job: impl FnOnce(Option<TaskError>) + Send + 'static) {
        let mut state = self.shared.state();
        if let Some(error) = state.refusal() {
            drop(state);
            job(Some(error));
            return;
        }
        state.queue.push_back(Box::new(job));
        // A new thread only if all are busy.
        if state.queue.len() > state.idle
            && state.threads.len() < self.size()
            && let Err(error) = self.start_one(&mut state)
            && state.threads.is_empty()
        {
            let job = state.queue.pop_back();
            drop(state);
            if let Some(job) = job {
                job(Some(TaskError::NoWorkers(error.to_string())));
            }
            return;
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Has `f(args)` called.
    pub(crate) fn call<A, R, F>(&self, f: F, args: A) -> Future<R>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        let core = Core::new(None);
        let future = Future::new(Arc::clone(&core));
        self.submit(move |refused| match refused {
            Some(error) => {
                core.finish(Err(error));
            }
            None if core.begin() => {
                let outcome = call(|| f(args));
                core.finish(outcome);
            }
            None => {}
        });
        future
    }

    /// Takes no more jobs. Threads end when the queue is empty.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state();
        if matches!(state.stage, Stage::Open) {
            state.stage = Stage::Closed;
        }
        drop(state);
        self.shared.work.notify_all();
    }

    /// Takes no more jobs, and fails those that no thread has begun.
    pub(crate) fn close_and_fail(&self, error: &TaskError) {
        self.close();
        let queue = std::mem::take(&mut self.shared.state().queue);
        for job in queue {
            job(Some(error.clone()));
        }
    }

    /// Whether jobs are still taken.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.shared.state().stage, Stage::Open)
    }

    /// Waits for the end of all threads of a closed crew but the calling one.
    pub(crate) fn join(&self) {
        let own = thread::current().id();
        loop {
            let next = {
                let mut state = self.shared.state();
                let other = state.threads.iter().position(|other| other.thread().id() != own);
                other.map(|index| state.threads.swap_remove(index))
            };
            let Some(next) = next else { return };
            // Jobs don't let panics out.
            let _ = next.join();
        }
    }
}

impl Shared {
    /// What a thread does.
    fn work(&self) {
        if let Some(initializer) = &self.options.initializer
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| initializer()))
        {
            return self.break_down(TaskError::Initializer(text(&*payload).to_owned()));
        }
        let mut state = self.state();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                // What the function lets out, its job catches; this is for what is dropped.
                let _ = catch_unwind(AssertUnwindSafe(|| job(None)));
                state = self.state();
                continue;
            }
            if !matches!(state.stage, Stage::Open) {
                return;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn break_down(&self, error: TaskError) {
        let queue = {
            let mut state = self.state();
            if !matches!(state.stage, Stage::Broken(_)) {
                state.stage = Stage::Broken(error.clone());
            }
            std::mem::take(&mut state.queue)
        };
        self.work.notify_all();
        for job in queue {
            job(Some(error.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&self) -> Option<TaskError> {
        match &self.stage {
            Stage::Open => None,
            Stage::Closed => Some(TaskError::PoolClosed),
            Stage::Broken(error) => Some(error.clone()),
        }
    }
}

/// A function that a crew's threads call.
pub(crate) struct Calls<F> {
    crew: Crew,
    function: Arc<F>,
}

impl<F> Calls<F> {
    pub(crate) fn new(crew: &Crew, function: F) -> Self {
        Self { crew: crew.clone(), function: Arc::new(function) }
    }
}

impl<A, R, F> Launch<A, R> for Calls<F>
where
    A: Send + 'static,
    R: Send + Sync + 'static,
    F: Fn(A) -> R + Send + Sync + 'static,
{
    fn workers(&self) -> usize {
        self.crew.size()
    }

    fn driver(&self) -> Option<Arc<dyn Driver>> {
        None
    }

    fn launch(&mut self, chunk: u64, items: &mut Vec<A>, sink: &Arc<dyn Sink<R>>) {
        let items = std::mem::take(items);
        let count = items.len();
        let (function, sink) = (Arc::clone(&self.function), Arc::clone(sink));
        self.crew.submit(move |refused| match refused {
            Some(error) => sink.fail(chunk, count, error),
            None if sink.begin(chunk) => {
                let call = |item| call(|| function(item));
                let results: Vec<_> = items.into_iter().map(call).collect();
                // The function may own what its last result's receiver waits for.
                drop(function);
                sink.deliver(chunk, count, &mut results.into_iter());
            }
            None => {}
        });
    }
}

/// Calls a function; a panic is a result, too.
pub(crate) fn call<R>(function: impl FnOnce() -> R) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| TaskError::from_panic(&*payload))
}
