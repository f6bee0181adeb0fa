//! Layer 3: the interfaces of other crates, on the primitives of this one.

pub mod raw_sync;
