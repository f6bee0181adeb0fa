//! The children of this process that have not ended, or whose handle is still there: a normal exit waits for them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::child::Child;
use super::zygote;
use crate::Result;
use crate::sys::Deadline;
use crate::sys::pidfd::Status;

static CHILDREN: Mutex<Children> = Mutex::new(Children { of: 0, list: Vec::new() });

struct Children {
    /// Whose they are: a forked copy of this process has inherited the list, but not the children.
    of: u32,
    list: Vec<Arc<Child>>,
}

/// Those of this process.
fn children() -> MutexGuard<'static, Children> {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    if children.of != own {
        *children = Children { of: own, list: Vec::new() };
    }
    children
}

/// Takes note of a child that was started.
pub(super) fn add(child: Arc<Child>) {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| super::exit::call_at_exit(end));
    children().list.push(child);
}

/// Reaps those that have ended, whose handle may be gone.
pub(super) fn sweep() {
    children().list.retain(|child| child.status() == Status::Running);
}

/// Forgets a child that has ended.
pub(super) fn remove(ended: &Arc<Child>) {
    children().list.retain(|child| !Arc::ptr_eq(child, ended));
}

/// What a process does before it ends normally: asks daemons to end, and waits for the others.
pub(super) extern "C" fn end() {
    // Not under the lock: a child of a child may take long.
    let list = std::mem::take(&mut children().list);
    let (daemons, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|child| child.is_daemon());
    for daemon in daemons {
        // It dies with this process anyhow.
        let _ = daemon.send_signal(Signal::TERM);
    }
    for child in others {
        // Its result is wanted by nobody any more, and it should not wait for a reader.
        child.abandon();
        child.wait_quietly();
    }
}

/// The children of this process that run, in the order in which they were started.
///
/// # Examples
/// ```
/// use multiproc::{Process, active_children};
/// let mut child = Process::spawn(|()| std::thread::sleep(std::time::Duration::from_secs(600)), ())?;
/// assert!(active_children().iter().any(|active| active.pid() == child.pid()));
/// child.kill()?;
/// let _ = child.join();
/// assert!(active_children().is_empty());
/// # Ok::<(), multiproc::Error>(())
/// ```
pub fn active_children() -> Vec<ActiveChild> {
    sweep();
    zygote::sweep();
    children().list.iter().map(|child| ActiveChild { child: Arc::clone(child) }).collect()
}

/// A child of this process that was running when [`active_children`] was called. Its handle may be elsewhere, or gone.
#[derive(Clone)]
pub struct ActiveChild {
    child: Arc<Child>,
}

impl ActiveChild {
    /// Its number, which may be another's once somebody has joined it.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// Whether it ends with this process.
    pub fn daemon(&self) -> bool {
        self.child.is_daemon()
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.child.status() == Status::Running
    }

    /// Asks it to end, by `SIGTERM`.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the process has become another user's.
    pub fn terminate(&self) -> Result<()> {
        self.child.send_signal(Signal::TERM)
    }

    /// Ends it, by `SIGKILL`.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os): the process has become another user's.
    pub fn kill(&self) -> Result<()> {
        self.child.send_signal(Signal::KILL)
    }

    /// Waits up to `timeout` for its end; whether it has ended. The result is left to its handle.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.child.wait(Deadline::after(timeout)).is_ok()
    }
}

impl fmt::Debug for ActiveChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveChild")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
