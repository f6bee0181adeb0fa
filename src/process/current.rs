//! [`CurrentProcess`] and [`ParentProcess`]: who this process is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, getppid};

use super::report::Start;
use crate::Result;
use crate::connection::AuthKey;
use crate::sys::{Deadline, pidfd, poll};

/// What a child's parent told it; unset in a program that nobody here started.
static IDENTITY: OnceLock<Identity> = OnceLock::new();
static KEY: Mutex<Option<AuthKey>> = Mutex::new(None);
/// The number of the next child.
static COUNT: AtomicU32 = AtomicU32::new(1);

#[derive(Debug)]
struct Identity {
    name: String,
    /// The numbers of its ancestors and its own, as "2:1".
    number: String,
    daemon: bool,
    may_start: bool,
    parent: Option<(Parent, String)>,
    /// What this process became later: it is a fork of the one that was told this.
    fork: OnceLock<Box<Identity>>,
}

/// Who this process is; `None` if nobody here started it.
fn identity() -> Option<&'static Identity> {
    let mut identity = IDENTITY.get()?;
    while let Some(fork) = identity.fork.get() {
        identity = fork;
    }
    Some(identity)
}

/// The process that started this one.
#[derive(Debug)]
pub(super) struct Parent {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Parent {
    /// The parent now, whose number is `pid`; `None` if that has ended.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSYS`.
    pub(super) fn open(pid: Pid) -> Result<Option<Self>, Errno> {
        let pidfd = match pidfd::open(pid) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        // Still the parent after the number was looked up, so it was then.
        Ok((getppid() == Some(pid)).then_some(Self { pid, pidfd }))
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Takes over who this process is to be.
pub(super) fn become_child(start: &Start, parent: Option<Parent>) {
    let Start { name, number, daemon, is_parent, key, .. } = start;
    let parent = parent.map(|parent| (parent, start.parent_name.clone()));
    let fork = OnceLock::new();
    let may_start = !daemon || *is_parent;
    let (name, number) = (name.clone(), number.clone());
    let identity = Identity { name, number, daemon: *daemon, may_start, parent, fork };
    // Nobody has asked before.
    let _ = IDENTITY.set(identity);
    *KEY.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
}

/// Takes over who this process, a fork, is to be. It keeps the key.
pub(super) fn become_fork(name: String, number: String, parent: Option<(Parent, String)>) {
    let own = Identity { name, number, daemon: false, may_start: true, parent, fork: OnceLock::new() };
    // Neither is set yet: this process has just begun.
    let _ = match identity() {
        Some(original) => original.fork.set(Box::new(own)).map_err(drop),
        None => IDENTITY.set(own).map_err(drop),
    };
    // Relaxed: this process has one thread.
    COUNT.store(1, Ordering::Relaxed);
}

/// A number for the next child: the numbers of this process and of the child, as "2:1".
pub(super) fn next_number() -> String {
    // Relaxed: a counter, nothing depends on the order.
    let own = COUNT.fetch_add(1, Ordering::Relaxed);
    match identity() {
        Some(identity) => format!("{}:{own}", identity.number),
        None => own.to_string(),
    }
}

/// This process, as its parent started it.
///
/// # Examples
/// ```
/// use multiproc::{Process, current_process};
/// assert_eq!(current_process().name(), "MainProcess");
/// let mut process = Process::spawn(|()| current_process().name().to_owned(), ())?;
/// assert_eq!(process.join()?, process.name());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CurrentProcess {
    identity: Option<&'static Identity>,
}

/// This process.
///
/// # Examples
/// ```
/// use multiproc::{Process, current_process};
/// assert_eq!(current_process().name(), "MainProcess");
/// let mut child = Process::spawn(|()| current_process().name().to_owned(), ())?;
/// assert_eq!(child.join()?, child.name());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    CurrentProcess { identity: identity() }
}

impl CurrentProcess {
    /// Its name; `MainProcess` if it was not started by [`Process`](crate::Process).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::current_process().name(), "MainProcess");
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.identity.map_or("MainProcess", |identity| &identity.name)
    }

    /// Its number.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::current_process().pid(), std::process::id());
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it ends with its parent.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::current_process().daemon());
    /// ```
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.identity.is_some_and(|identity| identity.daemon)
    }

    /// Whether it may start processes: no daemon of a user's may.
    pub(super) fn may_start(&self) -> bool {
        self.identity.is_none_or(|identity| identity.may_start)
    }

    /// The key that its children inherit: its parent's, or random bytes made at the first call.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the system has no random bytes.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, current_process};
    /// let key = current_process().authkey()?;
    /// let inherited = Process::spawn(|()| current_process().authkey().map(|key| key.as_bytes().to_vec()).ok(), ())?.join()?;
    /// assert_eq!(inherited.as_deref(), Some(key.as_bytes()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn authkey(&self) -> Result<AuthKey> {
        let mut key = KEY.lock().unwrap_or_else(PoisonError::into_inner);
        match &*key {
            Some(key) => Ok(key.clone()),
            None => Ok(key.insert(AuthKey::random()?).clone()),
        }
    }

    /// Sets the key for this process and for the children that it starts from now on.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, current_process};
    /// current_process().set_authkey(AuthKey::new(*b"secret"));
    /// assert_eq!(current_process().authkey()?, AuthKey::new(*b"secret"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn set_authkey(&self, key: AuthKey) {
        *KEY.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }
}

/// The process that started this one.
///
/// # Examples
/// ```
/// use multiproc::{Process, parent_process};
/// assert!(parent_process().is_none()); // This program was not started by this crate.
/// let is_alive = |()| parent_process().is_some_and(|parent| parent.is_alive());
/// assert!(Process::spawn(is_alive, ())?.join()?);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ParentProcess {
    parent: &'static Parent,
    name: &'static str,
}

/// The process that started this one; `None` in a program that was not started by [`Process`](crate::Process).
///
/// # Examples
/// ```
/// use multiproc::{Process, parent_process};
/// assert!(parent_process().is_none());
/// let mut child = Process::spawn(|()| parent_process().map(|parent| parent.pid()), ())?;
/// assert_eq!(child.join()?, Some(std::process::id()));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    let (parent, name) = identity()?.parent.as_ref()?;
    Some(ParentProcess { parent, name })
}

impl ParentProcess {
    /// Its number, which may be another's once it has ended.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, parent_process};
    /// let mut process = Process::spawn(|()| parent_process().map(|parent| parent.pid()), ())?;
    /// assert_eq!(process.join()?, Some(std::process::id()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.parent.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, parent_process};
    /// let mut process = Process::spawn(|()| parent_process().map(|parent| parent.name().to_owned()), ())?;
    /// assert_eq!(process.join()?.as_deref(), Some("MainProcess"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it still runs.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, parent_process};
    /// let mut process = Process::spawn(|()| parent_process().map(|parent| parent.is_alive()), ())?;
    /// assert_eq!(process.join()?, Some(true));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.wait_until(Some(Deadline::now()))
    }

    /// Waits for its end.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process, parent_process};
    ///
    /// fn parent((started, orphaned): (Event, Event)) {
    ///     let _child = Process::spawn(child, (started, orphaned)).expect("it can be started");
    ///     std::thread::sleep(std::time::Duration::from_secs(60)); // Killed here.
    /// }
    ///
    /// fn child((started, orphaned): (Event, Event)) {
    ///     started.set();
    ///     parent_process().expect("it has one").join();
    ///     orphaned.set();
    /// }
    ///
    /// fn main() -> multiproc::Result<()> {
    ///     let (started, orphaned) = (Event::new()?, Event::new()?);
    ///     let mut process = Process::spawn(parent, (started.clone(), orphaned.clone()))?;
    ///     started.wait();
    ///     process.kill()?;
    ///     assert!(process.join().is_err());
    ///     orphaned.wait();
    ///     Ok(())
    /// }
    /// ```
    pub fn join(&self) {
        self.wait_until(None);
    }

    /// Waits up to `timeout` for its end; whether it has ended.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Process, parent_process};
    /// let ended = |()| parent_process().map(|parent| parent.join_timeout(Duration::from_millis(1)));
    /// assert_eq!(Process::spawn(ended, ())?.join()?, Some(false));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Deadline::after(timeout))
    }

    /// A descriptor that becomes readable when it has ended: for `poll` and the like.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::{Process, connection, parent_process};
    /// let ended = |()| {
    ///     let sentinel = parent_process().expect("it has one").sentinel();
    ///     connection::wait(&[&sentinel], Some(Duration::ZERO)).map(|ready| ready.len()).ok()
    /// };
    /// assert_eq!(Process::spawn(ended, ())?.join()?, Some(0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'static> {
        self.parent.pidfd()
    }

    fn wait_until(&self, deadline: Option<Deadline>) -> bool {
        // A descriptor that can't be polled is not known to have ended.
        poll::wait(&[(self.sentinel(), PollFlags::IN)], deadline).unwrap_or(false)
    }
}

/// How many processors this process may use, at least 1: of those that its affinity names, as many as its cgroup's quota
/// lets it use.
///
/// # Examples
/// ```
/// assert!(multiproc::cpu_count() >= 1);
/// ```
#[must_use]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
