//! What is in the segments of this machine, for monitors. Feature `inspect`.
//!
//! A look takes no lock and no lease, and writes nothing: it reads a segment's file by descriptors that can't be written
//! through, and works on the copy. So it is no picture of one moment: what changes meanwhile may be seen before in one
//! place and after in another. All that is found is checked as if an enemy had written it. The binary `multiproc` (feature
//! `cli`) shows it in tables.

mod object;
mod process;
mod segment;

pub use crate::raw::LeaseInfo;
pub use object::{ObjectView, QueueView};
pub use process::segments_of;
pub use segment::SegmentView;
