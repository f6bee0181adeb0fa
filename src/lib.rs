//! Python's multiprocessing for Rust, on process-shared primitives that a SIGKILL can neither wedge nor corrupt.

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
compile_error!(
    "multiproc needs 64-bit Linux with glibc: it stands on glibc's robust list and on memfd, futex and pidfd"
);

mod error;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub mod process;
pub mod raw;
#[cfg(not(all(test, loom)))]
mod segment;
#[cfg(not(all(test, loom)))]
mod shared;
#[cfg(not(all(test, loom)))]
mod sync;
mod sys;
#[cfg(all(feature = "serde", not(all(test, loom))))]
mod transfer;

pub use error::{Error, Result};
#[cfg(all(feature = "process", not(all(test, loom))))]
pub use process::{Process, ProcessError, init};
#[cfg(not(all(test, loom)))]
pub use segment::Segment;
#[cfg(not(all(test, loom)))]
pub use shared::{Array, ArrayError, ArrayGuard, ArrayIter, Value, ValueGuard};
#[cfg(not(all(test, loom)))]
pub use sync::{
    Barrier, BarrierTicket, BoundedSemaphore, BrokenBarrier, Condition, ConditionGuard, ConditionOptions,
    Event, Lock, LockError, LockGuard, OverReleased, Permit, PermitError, Permits, RLock, RLockGuard,
    Semaphore, WaitError,
};

/// Settings for this crate's own tests. Not part of the public interface.
#[doc(hidden)]
#[cfg(not(all(test, loom)))]
pub mod testing {
    pub use crate::sys::slice::set_sleep_slice;
}
