//! Layer 1: process-shared primitives to embed in a caller's own `repr(C)` struct.
//!
//! Everything here is `repr(C)`, position independent, made of fixed-width atomics, and valid for *any* bytes: what a
//! corrupted or hostile peer writes into it may make an operation say `Corrupt`, never make it unsound. All-zero bytes
//! are the initial state of each type. Nothing allocates and no pointer in shared memory is followed.
//!
//! Memory that holds a primitive must be shared with `MAP_SHARED` between the processes that use it, and the processes
//! must be in one PID namespace: the words carry thread ids.
//!
//! # Embedding
//! A structure of one's own goes into a segment by [`Segment::place`](crate::Segment::place), and other programs that
//! have the same definition get it by [`Segment::find`](crate::Segment::find). It is [`Share`](crate::Share), by
//! `#[derive(Share)]` (feature `derive`) or by hand. What the lock protects is atomic as well, since nothing forces
//! another process to take the lock; Relaxed is enough, for the lock orders it.
//!
//! Whoever gets [`Acquired::OwnerDied`] holds the lock over data that a dead process may have left half changed: repair
//! it, then call `recover`. So write it in an order that a repair can understand. A handle ([`Placed`](crate::Placed))
//! that outlives each lock keeps the memory mapped, which is what the unsafe operations ask for.
//! The example `embedding` does all of it in two programs, and kills one.
//!
#![cfg_attr(feature = "derive", doc = "```")]
#![cfg_attr(not(feature = "derive"), doc = "```ignore")]
//! use multiproc::raw::{Acquired, RawMutex};
//! use multiproc::{Segment, Share};
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! #[derive(Share)]
//! #[repr(C)]
//! struct Ledger {
//!     mutex: RawMutex,
//!     deposits: AtomicU64,
//!     balance: AtomicU64,
//! }
//!
//! let segment = Segment::anonymous(1 << 16)?;
//! let empty = Ledger { mutex: RawMutex::new(), deposits: AtomicU64::new(0), balance: AtomicU64::new(0) };
//! let ledger = segment.place("ledger", empty)?;
//!
//! // SAFETY: `ledger` keeps the memory mapped until the mutex is unlocked.
//! if unsafe { ledger.mutex.lock(None) }? == Acquired::OwnerDied {
//!     ledger.balance.store(ledger.deposits.load(Relaxed) * 5, Relaxed);
//!     ledger.mutex.recover();
//! }
//! ledger.deposits.fetch_add(1, Relaxed);
//! ledger.balance.fetch_add(5, Relaxed);
//! ledger.mutex.unlock()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
pub(crate) mod claims;
mod condvar;
mod event;
mod lease;
#[cfg(feature = "inspect")]
mod look;
mod mutex;
mod permits;
mod ring;
mod rlock;
mod semaphore;
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
pub(crate) use ring::{Chunk, Fences, Growth, Wait, read_item, read_item_to, write_item};
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
mod loom_tasks;
