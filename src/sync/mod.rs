//! Layer 3: handles of process-shared primitives, each in a segment.

mod barrier;
mod barrier_ticket;
mod bounded_semaphore;
mod broken_barrier;
mod chosen_lock;
mod condition;
mod condition_guard;
mod condition_options;
mod event;
mod lock;
mod lock_error;
mod lock_guard;
#[cfg(feature = "inspect")]
mod look;
mod over_released;
mod permit_error;
mod permits;
mod rlock;
mod semaphore;
mod wait_error;

pub use barrier::Barrier;
pub use barrier_ticket::BarrierTicket;
pub use bounded_semaphore::BoundedSemaphore;
pub use broken_barrier::BrokenBarrier;
pub use condition::Condition;
pub use condition_guard::ConditionGuard;
pub use condition_options::ConditionOptions;
pub use event::Event;
pub use lock::Lock;
pub use lock_error::LockError;
pub use lock_guard::LockGuard;
pub use over_released::OverReleased;
pub use permit_error::PermitError;
pub use permits::{Permit, Permits};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::Semaphore;
pub use wait_error::WaitError;

pub(crate) use chosen_lock::ChosenLock;
pub(crate) use lock_error::Flagged;
#[cfg(feature = "inspect")]
pub(crate) use look::look;

#[cfg(test)]
mod out_of_band;
