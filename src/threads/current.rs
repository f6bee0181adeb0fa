//! [`current_process`]: which of the twin's processes the calling thread is.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// What a thread that was started by [`super::Process`] knows of itself.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) name: Arc<str>,
    pub(super) number: Arc<str>,
    pub(super) daemon: bool,
}

/// The calling thread is this one from now on.
pub(super) fn become_child(own: Own) {
    OWN.set(Some(own));
}

/// A number for the next one that the calling thread starts: its own and the new one's, as "2:1".
pub(super) fn next_number() -> String {
    // Relaxed: a counter, nothing depends on the order.
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    OWN.with_borrow(|own| match own {
        Some(own) => format!("{}:{count}", own.number),
        None => count.to_string(),
    })
}

/// The calling thread, as one of the twin's processes.
///
/// # Examples
/// ```
/// use multiproc::threads::{Process, current_process};
/// let mut process = Process::builder().name("reader").spawn(|()| current_process().name().to_owned(), ())?;
/// assert_eq!(process.join()?, "reader");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentProcess {
    name: Arc<str>,
    daemon: bool,
}

impl CurrentProcess {
    /// Its name; `MainProcess` where nobody here started the thread.
    ///
    /// # Examples
    /// ```
    /// use multiproc::threads::{Process, current_process};
    /// let mut process = Process::builder().name("reader").spawn(|()| current_process().name().to_owned(), ())?;
    /// assert_eq!(process.join()?, "reader");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the process that it is a thread of.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::threads::current_process().pid(), std::process::id());
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it was started as a daemon.
    ///
    /// # Examples
    /// ```
    /// use multiproc::threads::{Process, current_process};
    /// let mut process = Process::builder().daemon(true).spawn(|()| current_process().daemon(), ())?;
    /// assert!(process.join()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.daemon
    }
}

/// The calling thread, as one of the twin's processes.
///
/// # Examples
/// ```
/// use multiproc::threads::{Process, current_process};
/// assert_eq!(current_process().name(), "MainProcess");
/// let mut child = Process::builder().name("worker").spawn(|()| current_process().name().to_owned(), ())?;
/// assert_eq!(child.join()?, "worker");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    OWN.with_borrow(|own| match own {
        Some(own) => CurrentProcess { name: Arc::clone(&own.name), daemon: own.daemon },
        None => CurrentProcess { name: Arc::from("MainProcess"), daemon: false },
    })
}
