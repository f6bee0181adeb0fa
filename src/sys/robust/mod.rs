//! The kernel's robust list: how a thread tells the kernel, in memory only, which futex words it holds, so that the
//! kernel marks them when the thread dies.
//!
//! Each thread has one list, registered by glibc. We don't register one of our own, which would break pthread robust
//! mutexes of the host program: a pair of private sentinels is linked into glibc's list once, and the words that this
//! thread holds hang between them.
//!
//! ```text
//! glibc's head -> top -> newest word -> .. -> oldest word -> bottom -> glibc's own mutexes
//! ```
//!
//! Which words those are, and in what order, is known from the thread's *private* stack of them (the shadow). A `next`
//! pointer in shared memory is written for the kernel and never read by us, so that a peer that scribbles over it can
//! stop the kernel's walk but can't make us write anywhere.
//!
//! # References
//! get_robust_list(2); the kernel's Documentation/locking/robust-futex-ABI.rst.

mod arena;
mod context;
mod enrolment;
mod node;
mod self_test;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use arena::holds_any_in;
pub(crate) use context::CAPACITY;
pub(crate) use enrolment::Enrolment;
pub(crate) use node::Node;
pub(crate) use thread::Thread;

/// Why this thread can't hold robust words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable(pub(crate) &'static str);
