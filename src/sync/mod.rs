//! Layer 3: handles of process-shared primitives, each in a segment.

mod event;
mod lock;
mod lock_error;

pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use lock_error::LockError;

pub(crate) use lock_error::Flagged;
