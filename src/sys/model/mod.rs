//! A model of the kernel for loom: atomics whose every operation is a point of death, futexes, robust lists.
//!
//! A model runs each of its threads inside [`Life::run`]. A thread that has a date of death counts its *steps*, which
//! are its atomic operations, system calls and stores to its robust list; when the count is reached the step does not
//! happen, the kernel's exit walk runs on the spot, and the thread unwinds. Whatever it would do while unwinding is
//! without effect: it is dead.
//!
//! Slices are off, so that a lost wake-up is a deadlock, which loom reports. A model of a death that is to be noticed by
//! a sleeper on another word says when slices end ([`futex::end_slices`]). A death that the kernel does not see
//! ([`Life::run_unlisted`]) ends all sleeps and makes every waiter impatient, as the time would do: slices are on from
//! then on.

pub(crate) mod atomic;
pub(crate) mod futex;
pub(crate) mod life;
pub(crate) mod liveness;
pub(crate) mod membarrier;
pub(crate) mod reaper;
pub(crate) mod robust;
pub(crate) mod slice;
pub(crate) mod watch;

pub(crate) use life::{
    Life, Outcome, Sabotage, deaths_in_part, every_death, every_death_with, every_death_with_two_preemptions,
    in_full,
};
