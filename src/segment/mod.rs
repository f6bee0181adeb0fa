//! Layer 2: a mapped region of memory that processes share, and the objects in it.
//!
//! What is read here was written by a peer, so nothing is trusted: each value is copied out once, checked, and the copy
//! used. Arithmetic is checked, conversions can't lose bits, and nothing panics.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::arithmetic_side_effects
    )
)]
// Without serde, nothing attaches yet to an object that another process made.
#![cfg_attr(not(feature = "serde"), allow(dead_code))]

mod arena;
mod directory;
mod header;
mod info;
mod object;
mod options;
mod placed;
#[cfg(feature = "serde")]
mod reference;
mod registry;
#[expect(clippy::module_inception, reason = "a file is named after its type, and the type after the layer")]
mod segment;
mod share;
#[cfg(feature = "shared_memory")]
mod shmem;
#[cfg(feature = "inspect")]
mod snapshot;

pub use info::{ObjectInfo, SegmentInfo};
pub use options::SegmentOptions;
pub use placed::Placed;
pub use segment::Segment;
pub use share::Share;

#[cfg(feature = "derive")]
pub use multiproc_derive::Share;

#[cfg(feature = "manager")]
pub(crate) use object::name_of;
pub(crate) use object::{Kind, ObjectType};
pub(crate) use placed::{Shape, Site};
#[cfg(feature = "inspect")]
pub(crate) use snapshot::{Found, Snapshot};

#[cfg(feature = "serde")]
pub(crate) use reference::open_reference;
