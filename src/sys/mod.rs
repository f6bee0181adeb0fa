//! Layer 0: the kernel and nothing else.

mod deadline;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod frame;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod pidfd;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod poll;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod socket;

pub(crate) use deadline::Deadline;
