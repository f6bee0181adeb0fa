//! [`Process`]: a function running on a thread of its own.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::children::{self, ActiveChild};
use super::current::{Own, become_child, next_number};
use crate::process::ProcessError;
use crate::sys::Deadline;
use crate::task::{Core, TaskError, call};
use crate::{Error, Result};

/// A function running on a thread of its own: the twin of [`crate::Process`].
///
/// A handle that is dropped leaves its thread running. A program that ends does not wait for its threads.
///
/// # Examples
/// ```
/// let offset = 1;
/// let mut process = multiproc::threads::Process::spawn(move |n: u32| n + offset, 41)?;
/// assert_eq!(process.join()?, 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Process<R> {
    name: Arc<str>,
    daemon: bool,
    /// `None` once the result was moved out.
    core: Option<Arc<Core<R>>>,
    exit_code: Option<i32>,
}

/// Whether a thread has ended, whatever its result.
pub(super) trait Ending: Send + Sync {
    fn has_ended(&self) -> bool;
}

impl<R: Send + Sync + 'static> Ending for Core<R> {
    fn has_ended(&self) -> bool {
        self.outcome().is_some()
    }
}

impl<R: Send + Sync + 'static> Process<R> {
    /// Starts a thread that calls `f` with `args`. `f` may capture.
    ///
    /// # Errors
    /// [`Error::Os`]: the system has no thread left.
    ///
    /// # Examples
    /// ```
    /// use multiproc::threads::Process;
    /// let offset = 1;
    /// let mut process = Process::spawn(move |n: u32| n + offset, 41)?;
    /// assert_eq!(process.join()?, 42);
    /// assert_eq!(process.exit_code(), Some(0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "start")]
    pub fn spawn<A: Send + 'static>(f: impl FnOnce(A) -> R + Send + 'static, args: A) -> Result<Self> {
        Process::builder().spawn(f, args)
    }

    /// Waits until the thread has ended and returns the function's result.
    ///
    /// # Errors
    /// [`ProcessError::Panicked`], each time; [`ProcessError::ResultTaken`]: the result is handed out once.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ProcessError;
    /// use multiproc::threads::Process;
    /// let mut process = Process::spawn(|()| panic!("no luck"), ())?;
    /// assert!(matches!(process.join(), Err(ProcessError::Panicked { message, .. }) if message == "no luck"));
    /// assert_eq!(process.exit_code(), Some(1));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&mut self) -> Result<R, ProcessError> {
        self.join_until(None)
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// Those of `join`, and [`ProcessError::TimedOut`], after which it can be joined again.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Event, ProcessError, threads};
    /// let event = Event::new()?;
    /// let mut process = threads::Process::spawn(|event: Event| event.wait(), event.clone())?;
    /// assert!(matches!(process.join_timeout(Duration::from_millis(1)), Err(ProcessError::TimedOut)));
    /// event.set();
    /// process.join()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<R, ProcessError> {
        self.join_until(Deadline::after(timeout))
    }

    fn join_until(&mut self, deadline: Option<Deadline>) -> Result<R, ProcessError> {
        let Some(core) = &self.core else { return Err(ProcessError::ResultTaken) };
        match core.wait(deadline) {
            None => return Err(ProcessError::TimedOut),
            Some(Err(error)) => return Err(failure(error)),
            Some(Ok(_)) => {}
        }
        self.exit_code = self.exit_code();
        self.core.take().and_then(take).ok_or(ProcessError::ResultTaken)
    }
}

/// Moves the result out. The thread lets go of it in a moment, and who looks whether it has ended does.
fn take<R: 'static>(mut core: Arc<Core<R>>) -> Option<R> {
    loop {
        core = match Arc::try_unwrap(core) {
            Ok(core) => return core.into_outcome().and_then(Result::ok),
            Err(core) => core,
        };
        thread::yield_now();
    }
}

fn failure(error: &TaskError) -> ProcessError {
    match error {
        TaskError::Panicked { message, location, backtrace } => ProcessError::Panicked {
            message: message.clone(),
            location: location.clone(),
            backtrace: backtrace.clone(),
        },
        _ => ProcessError::Unknown,
    }
}

impl<R: 'static> Process<R> {
    /// Its name: `Process-1` and so on, unless it was given one.
    ///
    /// # Examples
    /// ```
    /// let process = multiproc::threads::Process::builder().name("reader").spawn(|()| (), ())?;
    /// assert_eq!(process.name(), "reader");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of this process, which it is a thread of.
    ///
    /// # Examples
    /// ```
    /// let process = multiproc::threads::Process::spawn(|()| (), ())?;
    /// assert_eq!(process.pid(), std::process::id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it was started as a daemon.
    ///
    /// # Examples
    /// ```
    /// let process = multiproc::threads::Process::builder().daemon(true).spawn(|()| (), ())?;
    /// assert!(process.daemon());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn daemon(&self) -> bool {
        self.daemon
    }

    /// Whether it runs.
    ///
    /// # Examples
    /// ```
    /// let mut process = multiproc::threads::Process::spawn(|()| (), ())?;
    /// process.join()?;
    /// assert!(!process.is_alive());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.exit_code().is_none()
    }

    /// 0 after it has returned, 1 after a panic; `None` while it runs.
    ///
    /// # Examples
    /// ```
    /// let mut process = multiproc::threads::Process::spawn(|()| -> () { panic!("on purpose") }, ())?;
    /// assert!(process.join().is_err());
    /// assert_eq!(process.exit_code(), Some(1));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "exitcode")]
    pub fn exit_code(&self) -> Option<i32> {
        match &self.core {
            Some(core) => core.outcome().map(|outcome| i32::from(outcome.is_err())),
            None => self.exit_code,
        }
    }
}

impl Process<()> {
    /// How it is to be started.
    ///
    /// # Examples
    /// ```
    /// let mut process = multiproc::threads::Process::builder().name("adder").spawn(|n: u32| n + 1, 41)?;
    /// assert_eq!(process.join()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder { name: None, daemon: false }
    }
}

impl<R: 'static> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a [`Process`] is to be started.
///
/// # Examples
/// ```
/// let builder = multiproc::threads::Process::builder().name("adder").daemon(true);
/// assert_eq!(builder.spawn(|n: u32| n + 1, 41)?.join()?, 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder starts nothing until `spawn` is called"]
pub struct ProcessBuilder {
    name: Option<String>,
    daemon: bool,
}

impl ProcessBuilder {
    /// Its name, and its thread's. Default `Process-1` and so on.
    ///
    /// # Examples
    /// ```
    /// let process = multiproc::threads::Process::builder().name("reader").spawn(|()| (), ())?;
    /// assert_eq!(process.name(), "reader");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it is a daemon, which is of no consequence: a thread ends with its process in any case.
    ///
    /// # Examples
    /// ```
    /// let process = multiproc::threads::Process::builder().daemon(true).spawn(|()| (), ())?;
    /// assert!(process.daemon());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Starts a thread that calls `f` with `args`.
    ///
    /// # Errors
    /// [`Error::Os`]: the system has no thread left. [`Error::InvalidArgument`] for a name with a zero byte.
    ///
    /// # Examples
    /// ```
    /// let offset = 1;
    /// let mut process = multiproc::threads::Process::builder().spawn(move |n: u32| n + offset, 41)?;
    /// assert_eq!(process.join()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn spawn<A, R>(self, f: impl FnOnce(A) -> R + Send + 'static, args: A) -> Result<Process<R>>
    where
        A: Send + 'static,
        R: Send + Sync + 'static,
    {
        let number = next_number();
        let name = self.name.unwrap_or_else(|| format!("Process-{number}"));
        if name.contains('\0') {
            return Err(Error::InvalidArgument {
                what: "name of a process",
                expected: "no zero byte".to_owned(),
                found: format!("{name:?}"),
            });
        }
        let core = Core::new(None);
        let own = Own { name: Arc::from(name.as_str()), number: Arc::from(number), daemon: self.daemon };
        let process = Process {
            name: Arc::clone(&own.name),
            daemon: own.daemon,
            core: Some(Arc::clone(&core)),
            exit_code: None,
        };
        let ending = Arc::downgrade(&core);
        let child = ActiveChild::new(Arc::clone(&own.name), own.daemon, ending);
        let body = move || {
            become_child(own);
            core.begin();
            let outcome = call(|| f(args));
            core.finish(outcome);
        };
        thread::Builder::new().name(name).spawn(body).map_err(|error| Error::os("start a thread", error))?;
        children::add(child);
        Ok(process)
    }
}
