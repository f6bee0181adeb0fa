//! [`OverReleased`]: a bounded semaphore was released more often than it was acquired.

use std::fmt;

use crate::error::Error;

/// A [`BoundedSemaphore`](crate::BoundedSemaphore) was released more often than it was acquired; its count is unchanged.
///
/// # Examples
/// ```
/// use multiproc::{BoundedSemaphore, OverReleased};
/// let semaphore = BoundedSemaphore::new(1)?;
/// assert_eq!(semaphore.release(), Err(OverReleased));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverReleased;

impl fmt::Display for OverReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was released more often than it was acquired")
    }
}

impl std::error::Error for OverReleased {}

impl From<OverReleased> for Error {
    fn from(error: OverReleased) -> Self {
        Self::operation(error)
    }
}
