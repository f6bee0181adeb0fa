//! Layer 0: the kernel and nothing else.
//!
//! Under `--cfg loom` the atomics, the futex and the robust list are replaced by a model of them ([`model`]), so that
//! the algorithms of `raw/` run unchanged under loom's exhaustive scheduler.

pub(crate) mod atomic;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod clone;
mod deadline;

#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod frame;
#[cfg(not(all(test, loom)))]
pub(crate) mod futex;
#[cfg(not(all(test, loom)))]
pub(crate) mod liveness;
#[cfg(not(all(test, loom)))]
pub(crate) mod mapping;
#[cfg(not(all(test, loom)))]
pub(crate) mod membarrier;
#[cfg(not(all(test, loom)))]
pub(crate) mod memfd;
#[cfg(not(all(test, loom)))]
pub(crate) mod named;
#[cfg(all(feature = "manager", not(all(test, loom))))]
pub(crate) mod own_pid;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod packet;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod pidfd;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod poll;
#[cfg(not(all(test, loom)))]
pub(crate) mod reaper;
#[cfg(not(all(test, loom)))]
pub(crate) mod region;
#[cfg(all(feature = "tokio", not(all(test, loom))))]
pub(crate) mod registered;
#[cfg(not(all(test, loom)))]
pub(crate) mod robust;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod signals;
#[cfg(not(all(test, loom)))]
pub(crate) mod slice;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub(crate) mod socket;
pub(crate) mod spin;
#[cfg(not(all(test, loom)))]
pub(crate) mod system;
#[cfg(not(all(test, loom)))]
pub(crate) mod watch;
#[cfg(not(all(test, loom)))]
pub(crate) mod wiped;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(all(test, loom))]
pub(crate) use model::{futex, liveness, membarrier, reaper, robust, slice, watch};

pub use deadline::Deadline;
