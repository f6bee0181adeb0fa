//! Layer 3: handles of process-shared primitives, each in a segment.

mod event;
mod lock;
mod lock_error;
mod lock_guard;
mod permit_error;
mod permits;
mod rlock;

pub use event::Event;
pub use lock::Lock;
pub use lock_error::LockError;
pub use lock_guard::LockGuard;
pub use permit_error::PermitError;
pub use permits::{Permit, Permits};
pub use rlock::{RLock, RLockGuard};

pub(crate) use lock_error::Flagged;

#[cfg(test)]
mod out_of_band;
