//! Children whose handle was dropped before their end: reaped by and by, as Python's `_cleanup` does.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::sys::pidfd::{Status, reap};

static ABANDONED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Takes a child that nobody will join.
pub(super) fn adopt(pidfd: OwnedFd) {
    if reap(pidfd.as_fd()) == Status::Running {
        ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).push(pidfd);
    }
}

/// Reaps those that have ended.
pub(super) fn sweep() {
    ABANDONED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|pidfd| reap(pidfd.as_fd()) == Status::Running);
}
