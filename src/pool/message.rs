//! What travels in the rings between a pool and its workers.
//!
//! ```text
//! task     TaskHead, then the arguments of its items, one after the other; or, Beside, nothing: they are asked for on the wire
//! result   ResultHead, then runs of items: how many results follow, and they; or ITEM_FAILED and a `Failure`
//! ```

use bytemuck::{Pod, Zeroable};

use crate::process::Failure;
use crate::task::TaskError;

/// In front of a task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(super) struct TaskHead {
    /// The entry's index, and in the upper half its generation.
    pub(super) id: u64,
    /// Where in the image the wrapper lies that knows the types, and the function.
    pub(super) runner: u32,
    pub(super) function: u32,
    pub(super) items: u32,
    /// Nonzero: the arguments are asked for on the wire.
    pub(super) is_beside: u32,
}

/// In front of a result.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(super) struct ResultHead {
    /// That of the task.
    pub(super) id: u64,
    /// One of the kinds below.
    pub(super) kind: u32,
    /// The worker's seat.
    pub(super) seat: u32,
}

/// The results of a task's items follow.
pub(super) const RESULTS: u32 = 1;
/// The task was withdrawn before it was begun.
pub(super) const SKIPPED: u32 = 2;
/// The results could not be sent; a text follows that says why.
pub(super) const UNSENT: u32 = 5;
/// From the pool itself: whatever the worker of this seat had to say was said, it has ended.
pub(super) const ENDED: u32 = 3;
/// From the pool itself: whoever reads is to look at something else.
pub(super) const NUDGE: u32 = 4;

/// Instead of the number of results in a run: one item has failed.
pub(super) const ITEM_FAILED: u32 = u32::MAX;

pub(super) const TASK_HEAD: usize = size_of::<TaskHead>();
pub(super) const RESULT_HEAD: usize = size_of::<ResultHead>();

/// The head in front of `message`, and what is behind it.
pub(super) fn split<H: Pod>(message: &[u8]) -> Option<(H, &[u8])> {
    let (head, rest) = message.split_at_checked(size_of::<H>())?;
    Some((bytemuck::pod_read_unaligned(head), rest))
}

/// A worker's failure, for the caller.
pub(super) fn error_of(failure: Failure) -> TaskError {
    match failure {
        Failure::Panicked { message, location, backtrace } => {
            TaskError::Panicked { message, location, backtrace }
        }
        Failure::Arguments(why) => TaskError::Decode(why),
        Failure::Encode(why) => TaskError::Encode(why),
    }
}
