//! A memory barrier in other processes, so that they need none of their own.
//!
//! # References
//! membarrier(2).

use rustix::thread::{MembarrierCommand, membarrier};

/// Lets [`everywhere`] reach the threads of this process; whether it does. Once is enough.
pub(crate) fn register() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// A full barrier in this thread and in every thread that runs in a process that is registered; whether it was one.
#[cold]
pub(crate) fn everywhere() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}
