//! [`Driver`]: who runs tasks elsewhere, as their futures see it.

use crate::sys::Deadline;

/// The ticket of a task that its driver does not know.
pub(crate) const NO_TICKET: u64 = u64::MAX;

/// Who runs tasks in other processes. A task is known by its ticket.
pub(crate) trait Driver: Send + Sync {
    /// Whether a worker has begun the task and has not ended it.
    fn is_begun(&self, ticket: u64) -> bool;

    /// Takes the task back unless a worker has begun it; whether nobody will begin it.
    fn withdraw(&self, ticket: u64) -> bool;

    /// A task has ended by other means than a result: whoever [helps](Self::help) asks again whether it is done.
    fn nudge(&self);

    /// The caller waits until `done`, and may do something useful meanwhile: take in results, its own among them. It returns
    /// when `done` says so, at the deadline, or if there is nothing to do for the caller; `false` if somebody else does that:
    /// then the caller is counted as one that waits until it is [let go](Self::let_go).
    fn help(&self, done: &dyn Fn() -> bool, deadline: Option<Deadline>) -> bool;

    /// So many threads that were counted don't wait any more. Said before they are told.
    fn let_go(&self, threads: u32);
}
