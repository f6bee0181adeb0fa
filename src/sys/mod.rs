//! Layer 0: the kernel and nothing else.

mod deadline;

pub(crate) use deadline::Deadline;
