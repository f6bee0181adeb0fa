//! Layer 1: process-shared primitives to embed in a caller's own `repr(C)` struct.
//!
//! Everything here is `repr(C)`, position independent, made of fixed-width atomics, and valid for *any* bytes: what a
//! corrupted or hostile peer writes into it may make an operation say `Corrupt`, never make it unsound. All-zero bytes
//! are the initial state of each type. Nothing allocates and no pointer in shared memory is followed.
//!
//! Memory that holds a primitive must be shared with `MAP_SHARED` between the processes that use it, and the processes
//! must be in one PID namespace: the words carry thread ids.
//!
//! How to embed them in a structure of one's own, and repair that after a death: the guide's page `guide::embedding`.
//!
//! # Examples
//! ```
//! use multiproc::raw::{Acquired, RawMutex};
//! let mutex = RawMutex::new();
//! // SAFETY: `mutex` stays where it is until it is unlocked.
//! assert_eq!(unsafe { mutex.lock(None) }?, Acquired::Consistent);
//! assert!(mutex.is_held());
//! mutex.unlock()?;
//! # Ok::<(), multiproc::raw::AcquireError>(())
//! ```
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects
)]
// Without serde there is no queue, which is what uses all of the ring and the tasks.
#![cfg_attr(not(feature = "serde"), allow(dead_code, unused_imports))]

mod acquire;
mod arrivals;
mod barrier;
mod barrier_error;
#[cfg(any(feature = "process", all(test, loom)))]
pub(crate) mod chair;
#[cfg(any(feature = "process", all(test, loom)))]
pub(crate) mod claims;
mod condvar;
mod event;
mod lease;
#[cfg(feature = "inspect")]
mod look;
#[cfg(any(feature = "manager", all(test, loom)))]
pub(crate) mod mailbox;
mod mutex;
mod permits;
mod ring;
mod rlock;
mod semaphore;
#[cfg(any(feature = "process", all(test, loom)))]
pub(crate) mod shift;
mod tasks;
mod wait_error;
mod waiters;

pub use crate::sys::Deadline;
pub use acquire::{AcquireError, Acquired};
pub use barrier::RawBarrier;
pub use barrier_error::BarrierError;
pub use condvar::RawCondvar;
pub use event::RawEvent;
pub use lease::Lease;
pub(crate) use lease::own_tid;
#[cfg(feature = "inspect")]
pub use look::LeaseInfo;
#[cfg(feature = "inspect")]
pub(crate) use look::TaskCounts;
pub use mutex::RawMutex;
pub use permits::RawPermits;
pub(crate) use ring::{
    Chunk, Cursor, Fences, Growth, Home, Quick, Wait, read_item, read_item_to, read_whole_words, write_item,
};
pub use ring::{RawRing, Ring, RingError, RingShape};
#[cfg(all(test, loom))]
pub(crate) use ring::{read, write};
pub use rlock::RawRLock;
pub use semaphore::RawSemaphore;
pub(crate) use tasks::{DeadLetter, Taken, Tasks};
pub use tasks::{RawTasks, TaskEntry};
pub use wait_error::WaitError;

// For handles, whose tables have a length of their own.
#[cfg(not(all(test, loom)))]
pub(crate) use arrivals::{Arrival, Arrivals, BarrierHead};
#[cfg(not(all(test, loom)))]
pub(crate) use waiters::{Debt, Waiter, Waiters};

#[cfg(all(test, loom))]
mod loom_barrier;
#[cfg(all(test, loom))]
mod loom_chair;
#[cfg(all(test, loom))]
mod loom_claims;
#[cfg(all(test, loom))]
mod loom_condvar;
#[cfg(all(test, loom))]
mod loom_endpoint;
#[cfg(all(test, loom))]
mod loom_event;
#[cfg(all(test, loom))]
mod loom_growth;
#[cfg(all(test, loom))]
mod loom_mailbox;
#[cfg(all(test, loom))]
mod loom_mutex;
#[cfg(all(test, loom))]
mod loom_permits;
#[cfg(all(test, loom))]
mod loom_reaper;
#[cfg(all(test, loom))]
mod loom_ring;
#[cfg(all(test, loom))]
mod loom_rlock;
#[cfg(all(test, loom))]
mod loom_semaphore;
#[cfg(all(test, loom))]
mod loom_shift;
#[cfg(all(test, loom))]
mod loom_tasks;
