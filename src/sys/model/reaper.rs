//! The reapers: in a model one serves all leases.
#![allow(unsafe_code)]

use super::life::Sabotage;
use super::robust::Node;

loom::lazy_static! {
    static ref REAPERS: [Node; 4] = std::array::from_fn(|_| Node::new());
}

/// The reaper of the memory that `lease` lies in; of a sabotaged machine, one for each thread.
pub(crate) fn of(lease: &Node) -> Option<&Node> {
    let _ = lease;
    let index = if Sabotage::ManyReapers.is_on() { super::robust::Thread.tid() as usize } else { 0 };
    let reaper: *const Node = REAPERS.get(index)?;
    // SAFETY: loom keeps its lazy statics until the execution has ended, and so do all threads end before.
    Some(unsafe { &*reaper })
}
