//! [`Process`]: a function running in a process of its own.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::ProcessBuilder;
use super::child::Child;
use super::children;
use super::error::ProcessError;
use super::fork::{ForkError, fork};
use super::report::Failure;
use crate::Result;
use crate::sys::Deadline;
use crate::sys::pidfd::Status;
use crate::transfer::{decode, encode};

/// A function running in a process of its own.
///
/// A handle that is dropped leaves its process running, like [`std::process::Child`]; nobody reads its result. When such a
/// process ends, it stays a zombie until this program spawns the next one or ends.
///
/// When this program ends normally (`main` returns, or [`std::process::exit`]), it first waits for the processes that it has
/// started, unless they are [daemons](ProcessBuilder::daemon).
///
/// # Examples
/// ```
/// use multiproc::Process;
///
/// fn sum((from, to): (u64, u64)) -> u64 {
///     (from..to).sum()
/// }
///
/// let mut halves = [Process::spawn(sum, (0, 500))?, Process::spawn(sum, (500, 1000))?];
/// let mut total = 0;
/// for half in &mut halves {
///     total += half.join()?;
/// }
/// assert_eq!(total, 499_500);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "Popen")]
pub struct Process<R> {
    child: Arc<Child>,
    result: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Starts a process that calls `f` with `args`.
    ///
    /// `f` is a function or a closure that captures nothing: what it needs goes in `args`, which travel by serde, the
    /// handles of this crate included. There is nothing to set up: a copy of this executable is started, and this
    /// library takes over in it before `main`. Constructors of the program (`ctor`, C++ statics) run there; `main`
    /// doesn't. Standard input is `/dev/null`; the other streams, the environment, the directory and the
    /// program's arguments are the parent's.
    ///
    /// Arguments that don't fit in a socket's buffer (some 200 KB) are handed over while this call waits.
    ///
    /// # Errors
    /// - [`Error::Encode`](crate::Error::Encode), or what a handle failed with: the arguments can't travel.
    /// - [`Error::TooManyFiles`](crate::Error::TooManyFiles), [`Error::Os`](crate::Error::Os): no descriptor, no process left, `/proc` not mounted.
    /// - [`Error::Unsupported`](crate::Error::Unsupported): this crate or `f` lies in a shared library, or the feature `auto-init` is off and
    ///   [`init`](crate::init) has not been called; this process has other rights than its user's (set-user-id, file
    ///   capabilities, different real and effective ids).
    ///
    /// # Process death
    /// A child killed before or while it reads its arguments is no error here: `join` tells. When the parent dies, the
    /// child goes on, unless it was still starting.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    ///
    /// fn power((base, exponent): (u64, u32)) -> u64 {
    ///     base.pow(exponent)
    /// }
    ///
    /// let mut a = Process::spawn(power, (3, 4))?;
    /// let mut b = Process::spawn(|x: u64| x + 1, 41)?;
    /// assert_eq!(a.join()?, 81);
    /// assert_eq!(b.join()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    /// A closure that captures does not compile ("closures can only be coerced to `fn` types if they do not capture any
    /// variables"):
    /// ```compile_fail,E0308
    /// # use multiproc::Process;
    /// let offset = 1;
    /// let _ = Process::spawn(|x: u64| x + offset, 41);
    /// ```
    #[doc(alias = "start")]
    pub fn spawn<A: Serialize + DeserializeOwned>(f: fn(A) -> R, args: A) -> Result<Self> {
        Process::builder().spawn(f, args)
    }

    /// Starts a process as a copy of this one, which runs `f`: a closure that may capture, with all that is in memory.
    ///
    /// Only for a program that has one thread, as one of many has locked things that would stay locked in the copy;
    /// [`spawn`](Self::spawn) is for all. The time it takes grows with the memory that this process uses.
    ///
    /// The copy does not return from here: it calls `f`, sends the result back by serde, and ends, as a spawned process
    /// does. Its standard input is `/dev/null`. Signal handlers, and functions given to `pthread_atfork`, are the
    /// program's. Guards, permits and tasks are never copied: with one, this is an error.
    ///
    /// # Errors
    /// [`ForkError::Threads`], [`ForkError::Holding`]; [`ForkError::Start`] for the rest.
    ///
    /// # Process death
    /// As [`spawn`](Self::spawn).
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    ///
    /// fn main() -> multiproc::Result<()> {
    ///     let table: Vec<u64> = (0..1000).map(|n| n * n).collect();
    ///     let mut process = Process::fork(move || table[30] + table[40])?;
    ///     assert_eq!(process.join()?, 2500);
    ///     Ok(())
    /// }
    /// ```
    pub fn fork<F>(f: F) -> Result<Self, ForkError>
    where
        F: FnOnce() -> R + Send + 'static,
    {
        let body = || encode(&f()).map_err(|error| Failure::Encode(error.to_string()));
        Ok(Self::new(fork(body)?))
    }

    pub(super) fn new(child: Arc<Child>) -> Self {
        Self { child, result: PhantomData }
    }

    /// Waits until the process has ended and returns the function's result.
    ///
    /// # Errors
    /// How it ended otherwise: [`ProcessError`]. The result is handed out once; a failure each time.
    ///
    /// # Process death
    /// A killed process is [`ProcessError::Signaled`]; one that was waited for elsewhere in this program, without its
    /// result having come, is [`ProcessError::Unknown`]. Neither is waited for in vain.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, ProcessError};
    ///
    /// let mut process = Process::spawn(|code: i32| -> () { std::process::exit(code) }, 3)?;
    /// assert!(matches!(process.join(), Err(ProcessError::Exited(3))));
    /// assert_eq!(process.exit_code(), Some(3));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join(&mut self) -> Result<R, ProcessError> {
        self.join_until(None)
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    /// Those of `join`, and [`ProcessError::TimedOut`], after which the process can be joined again.
    ///
    /// # Process death
    /// As `join`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Process, ProcessError};
    ///
    /// let mut process = Process::spawn(|()| std::thread::sleep(Duration::from_secs(600)), ())?;
    /// assert!(matches!(process.join_timeout(Duration::from_millis(10)), Err(ProcessError::TimedOut)));
    /// process.kill()?;
    /// assert!(matches!(process.join(), Err(ProcessError::Signaled(9))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<R, ProcessError> {
        self.join_until(Deadline::after(timeout))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn child(&self) -> &Child {
        &self.child
    }

    fn join_until(&mut self, deadline: Option<Deadline>) -> Result<R, ProcessError> {
        let message = self.child.join(deadline)?;
        decode(message).map_err(ProcessError::Decode)
    }
}

impl<R> Process<R> {
    /// The process's number, which may be another's once the process has been joined.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let mut process = Process::spawn(|()| std::process::id(), ())?;
    /// assert_eq!(process.join()?, process.pid());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its name: `Process-1` and so on, unless it was given one.
    ///
    /// # Examples
    /// ```
    /// let process = multiproc::Process::spawn(|()| (), ())?;
    /// assert_eq!(process.name(), "Process-1");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// Whether it ends with this process.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// assert!(!Process::spawn(|()| (), ())?.daemon());
    /// assert!(Process::builder().daemon(true).spawn(|()| (), ())?.daemon());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn daemon(&self) -> bool {
        self.child.is_daemon()
    }

    /// Whether it runs; a stopped process does.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process};
    /// let event = Event::new()?;
    /// let mut process = Process::spawn(|event: Event| event.wait(), event.clone())?;
    /// assert!(process.is_alive());
    /// event.set();
    /// process.join()?;
    /// assert!(!process.is_alive());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.child.status() == Status::Running
    }

    /// How it ended: 0 after returning, 1 after a panic, the code it exited with, or the negative number of the signal
    /// that ended it. `None` while it runs, and when somebody else waited for it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process};
    /// let mut process = Process::spawn(|event: Event| event.wait(), Event::new()?)?;
    /// assert_eq!(process.exit_code(), None);
    /// process.kill()?;
    /// assert!(process.join().is_err());
    /// assert_eq!(process.exit_code(), Some(-9));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "exitcode")]
    pub fn exit_code(&self) -> Option<i32> {
        match self.child.status() {
            Status::Exited(code) => Some(code),
            Status::Signaled(signal) => Some(-signal),
            Status::Running | Status::Unknown => None,
        }
    }

    /// Asks it to end, by `SIGTERM`. One that has ended is let be.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the process has become another user's.
    ///
    /// # Process death
    /// Its own children live on. Leases that it holds are passed on with a note of it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process, ProcessError};
    /// let mut process = Process::spawn(|event: Event| event.wait(), Event::new()?)?;
    /// process.terminate()?;
    /// assert!(matches!(process.join(), Err(ProcessError::Signaled(15))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn terminate(&self) -> Result<()> {
        self.child.send_signal(Signal::TERM)
    }

    /// Ends it, by `SIGKILL`. One that has ended is let be.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the process has become another user's.
    ///
    /// # Process death
    /// Its own children live on. Leases that it holds are passed on with a note of it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process, ProcessError};
    /// let mut process = Process::spawn(|event: Event| event.wait(), Event::new()?)?;
    /// process.kill()?;
    /// assert!(matches!(process.join(), Err(ProcessError::Signaled(9))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.child.send_signal(Signal::KILL)
    }

    /// Interrupts it, by `SIGINT`, as Ctrl-C does. One that has ended is let be.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the process has become another user's.
    ///
    /// # Examples
    /// ```
    /// let mut process = multiproc::Process::spawn(|()| 7, ())?;
    /// assert_eq!(process.join()?, 7);
    /// assert!(process.interrupt().is_ok()); // It has ended.
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn interrupt(&self) -> Result<()> {
        self.child.send_signal(Signal::INT)
    }

    /// Ends it and all that it has started, and they, by `SIGKILL`. Processes that lost their parent before are not found.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the process has become another user's.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process};
    ///
    /// fn child((started, ended): (Event, Event)) {
    ///     let mut grandchild = Process::spawn(grandchild, (started, ended)).expect("it can be started");
    ///     let _ = grandchild.join();
    /// }
    ///
    /// fn grandchild((started, ended): (Event, Event)) {
    ///     started.set();
    ///     std::thread::sleep(std::time::Duration::from_secs(60));
    ///     ended.set();
    /// }
    ///
    /// fn main() -> multiproc::Result<()> {
    ///     let (started, ended) = (Event::new()?, Event::new()?);
    ///     let mut process = Process::spawn(child, (started.clone(), ended.clone()))?;
    ///     started.wait();
    ///     process.kill_tree()?;
    ///     assert!(process.join().is_err() && !ended.is_set());
    ///     Ok(())
    /// }
    /// ```
    pub fn kill_tree(&self) -> Result<()> {
        self.child.kill_tree()
    }

    /// A descriptor that becomes readable when the process has ended: for `poll` and the like.
    ///
    /// A process with a large result ends only when that is read, which `join`, `is_alive` and `exit_code` do.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Event, Process, connection};
    /// let event = Event::new()?;
    /// let process = Process::spawn(|event: Event| event.wait(), event.clone())?;
    /// assert!(connection::wait(&[&process.sentinel()], Some(Duration::ZERO))?.is_empty());
    /// event.set();
    /// assert_eq!(connection::wait(&[&process.sentinel()], Some(Duration::from_secs(60)))?, [0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.child.sentinel()
    }
}

impl Process<()> {
    /// How a process is to be started: its name, environment, streams and so on.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    /// let mut process = Process::builder().name("adder").daemon(true).spawn(|n: u32| n + 1, 41)?;
    /// assert_eq!(process.join()?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        if self.child.status() == Status::Running {
            self.child.abandon();
        } else {
            children::remove(&self.child);
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
