//! Layer 4: processes that run a function of this program.
//!
//! [`Process::spawn`] starts this executable once more. In the copy a constructor of this library takes over before
//! `main`, reads from an inherited socket which function to call with which arguments, calls it, sends the result back
//! and ends the process. Nothing has to be put into `main`, and the copy inherits no memory, no locks, no threads.
//!
//! # What the copy does, in order
//! 1. Constructors that come before the library's own have run.
//! 2. The constructor sees the environment variable, checks that the socket on standard input was made by its parent,
//!    removes the variable, moves the socket to a close-on-exec descriptor, opens `/dev/null` as standard input.
//! 3. It reads the whole bootstrap message, so that the parent's `spawn` is over soon. A daemon arranges first to be killed
//!    when its parent ends.
//! 4. It sets what Rust's start-up would: `SIGPIPE` ignored, the standard streams open.
//! 5. It runs the constructors after its own.
//! 6. It decodes the arguments, calls the function, sends the result, flushes, and ends with `_exit`: neither `main` nor
//!    `atexit` functions run. Before that it waits for its own children.
//!
//! # A zygote
//! [`StartMethod::Zygote`] starts the copy once and has it stop behind step 5, without a function: from then on it copies
//! itself, by `clone` with `CLONE_PARENT`, for each process, which goes on with step 3. Such a process is a child of the
//! zygote's owner, not of the zygote. It has one thread and none of the owner's memory, so it may allocate and lock.
//! It ends when its owner does, however that ends. One that was killed is replaced at the next start, and so is one
//! that has another identity than the thread that starts a process (see `identity.rs`).
//!
//! # Why the function's address may travel
//! Parent and child run the same file (`/proc/self/exe` is the running one even if another took its name), and the
//! child compares where in the image the library's constructor lies with what the parent said. An address is sent as the
//! distance from the image's load address and must lie in the image's code, at both ends; what it points to was made
//! by the same monomorphised code on both sides.

#[cfg(feature = "tokio")]
mod asynchronous;
mod bootstrap;
mod builder;
mod child;
mod children;
mod constructor;
mod current;
mod dry_run;
mod entry;
mod error;
mod exit;
mod fork;
mod handle;
mod identity;
mod image;
mod launch;
mod lifeline;
mod panics;
mod plan;
mod report;
mod reporter;
mod serve;
mod setting;
mod start_method;
mod tree;
mod upstream;
mod work;
mod zygote;

pub use builder::ProcessBuilder;
pub use children::{ActiveChild, active_children};
pub use constructor::init;
pub use current::{CurrentProcess, ParentProcess, cpu_count, current_process, parent_process};
#[doc(hidden)]
pub use dry_run::read_bootstrap;
pub use error::ProcessError;
pub use fork::ForkError;
pub use handle::Process;
pub(crate) use image::Image;
pub(crate) use panics::failure_of;
pub(crate) use report::Failure;
pub use start_method::StartMethod;

#[cfg(test)]
mod tests;
