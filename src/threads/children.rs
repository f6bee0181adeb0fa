//! [`active_children`]: the threads that run functions for this process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::process::Ending;

static CHILDREN: Mutex<Vec<ActiveChild>> = Mutex::new(Vec::new());

/// A thread started by [`Process`](super::Process) that had not ended when [`active_children`] was called.
///
/// # Examples
/// ```
/// use multiproc::Event;
/// use multiproc::threads::{Process, active_children};
/// let event = Event::new()?;
/// let mut process = Process::spawn(|event: Event| event.wait(), event.clone())?;
/// let child = active_children().remove(0);
/// assert!(child.is_alive() && child.name() == process.name());
/// event.set();
/// process.join()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct ActiveChild {
    name: Arc<str>,
    daemon: bool,
    /// Not an owner: whoever joins moves the result out.
    ending: Weak<dyn Ending>,
}

impl ActiveChild {
    pub(super) fn new(name: Arc<str>, daemon: bool, ending: Weak<dyn Ending>) -> Self {
        Self { name, daemon, ending }
    }

    /// Its name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Event;
    /// use multiproc::threads::{Process, active_children};
    /// let event = Event::new()?;
    /// let mut process = Process::spawn(|event: Event| event.wait(), event.clone())?;
    /// assert_eq!(active_children()[0].name(), process.name());
    /// event.set();
    /// process.join()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was started as a daemon.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Event;
    /// use multiproc::threads::{Process, active_children};
    /// let event = Event::new()?;
    /// let mut process = Process::spawn(|event: Event| event.wait(), event.clone())?;
    /// assert!(!active_children()[0].daemon());
    /// event.set();
    /// process.join()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.daemon
    }

    /// Whether it still runs.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Event;
    /// use multiproc::threads::{Process, active_children};
    /// let event = Event::new()?;
    /// let mut process = Process::spawn(|event: Event| event.wait(), event.clone())?;
    /// assert!(active_children()[0].is_alive());
    /// event.set();
    /// process.join()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.ending.upgrade().is_some_and(|ending| !ending.has_ended())
    }
}

impl fmt::Debug for ActiveChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveChild").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Takes note of one that was started.
pub(super) fn add(child: ActiveChild) {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.retain(ActiveChild::is_alive);
    children.push(child);
}

/// The threads started by [`Process`](super::Process) that run, in the order in which they were started.
///
/// # Examples
/// ```
/// use multiproc::threads::{Process, active_children};
/// let (go_on, wait) = std::sync::mpsc::channel::<()>();
/// let mut child = Process::spawn(move |()| wait.recv().is_err(), ())?;
/// assert!(active_children().iter().any(|active| active.name() == child.name()));
/// drop(go_on);
/// assert!(child.join()?);
/// assert!(active_children().iter().all(|active| active.name() != child.name()));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<ActiveChild> {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.retain(ActiveChild::is_alive);
    children.clone()
}
