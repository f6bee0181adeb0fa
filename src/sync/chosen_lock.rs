//! [`ChosenLock`]: an object's own lock, or a caller's in its place.

use super::lock::Lock;
use super::lock_guard::RawLock;
use super::rlock::RLock;

/// The lock of an object, which travels with the object's handle.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum ChosenLock {
    /// The one in the object.
    Own,
    Lock(Lock),
    RLock(RLock),
}

impl ChosenLock {
    /// The lock as it lies in memory, where `own` is the one in the object.
    pub(super) fn raw<'a>(&'a self, own: &'a dyn RawLock) -> &'a dyn RawLock {
        match self {
            Self::Own => own,
            Self::Lock(lock) => &*lock.mutex,
            Self::RLock(lock) => &*lock.lock,
        }
    }
}
