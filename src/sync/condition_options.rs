//! [`ConditionOptions`]: how a condition is made.

use super::chosen_lock::ChosenLock;
use super::condition::Condition;
use super::lock::Lock;
use super::rlock::RLock;
use crate::error::{Error, Result};
use crate::segment::{Segment, Site};

/// Waiters that a condition has room for, unless asked otherwise.
const USUAL: usize = 64;
/// The most that one can have room for: a notification looks at each.
const MOST: usize = 1 << 14;

/// How a [`Condition`] is made, where its defaults don't do.
///
/// # Examples
/// ```
/// use multiproc::{ConditionOptions, Lock};
/// let lock = Lock::new()?;
/// let condition = ConditionOptions::new().max_waiters(500).with_lock(&lock)?;
/// assert!(condition.try_lock().is_ok());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ConditionOptions {
    max_waiters: usize,
}

impl ConditionOptions {
    /// The defaults: room for 64 waiters.
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::ConditionOptions::new().create().is_ok());
    /// ```
    pub fn new() -> Self {
        Self { max_waiters: USUAL }
    }

    /// Room for this many threads that wait at once, 1 to 16384; 56 bytes for each.
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::ConditionOptions::new().max_waiters(1000).create().is_ok());
    /// assert!(multiproc::ConditionOptions::new().max_waiters(0).create().is_err());
    /// ```
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.max_waiters = waiters;
        self
    }

    /// A condition with a lock of its own, which nests.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an option out of range; [`Error::OutOfMemory`], [`Error::TooManyFiles`],
    /// [`Error::Unsupported`].
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::ConditionOptions::new().create().is_ok());
    /// ```
    pub fn create(self) -> Result<Condition> {
        self.create_at(Site::Anywhere, ChosenLock::Own)
    }

    /// A condition over this lock.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::Lock::new()?;
    /// assert!(multiproc::ConditionOptions::new().with_lock(&lock).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_lock(self, lock: &Lock) -> Result<Condition> {
        self.create_at(Site::Anywhere, ChosenLock::Lock(lock.clone()))
    }

    /// A condition over this lock.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    ///
    /// # Examples
    /// ```
    /// let lock = multiproc::RLock::new()?;
    /// assert!(multiproc::ConditionOptions::new().with_rlock(&lock).is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn with_rlock(self, lock: &RLock) -> Result<Condition> {
        self.create_at(Site::Anywhere, ChosenLock::RLock(lock.clone()))
    }

    /// A condition with a lock of its own in `segment`, by a name.
    ///
    /// # Errors
    /// As for [`create`](Self::create) and [`Segment::place`].
    ///
    /// # Examples
    /// ```
    /// let segment = multiproc::Segment::anonymous(4096)?;
    /// assert!(multiproc::ConditionOptions::new().max_waiters(2).create_in(&segment, "ready").is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn create_in(self, segment: &Segment, name: &str) -> Result<Condition> {
        self.create_at(Site::In(segment, name), ChosenLock::Own)
    }

    fn create_at(self, site: Site<'_>, lock: ChosenLock) -> Result<Condition> {
        if !(1..=MOST).contains(&self.max_waiters) {
            return Err(Error::InvalidArgument {
                what: "waiters of a condition",
                expected: format!("1 to {MOST}"),
                found: self.max_waiters.to_string(),
            });
        }
        Condition::create(site, self.max_waiters, lock)
    }
}

impl Default for ConditionOptions {
    fn default() -> Self {
        Self::new()
    }
}
