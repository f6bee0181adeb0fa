//! [`SegmentInfo`] and [`ObjectInfo`]: what there is.

/// A named segment, as [`Segment::list`](crate::Segment::list) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// What it is opened by.
    pub name: String,
    /// Bytes of its file.
    pub size: u64,
    /// The process that made it, if its header can be read.
    pub creator: Option<u32>,
    /// Whether any process uses it.
    pub in_use: bool,
}

/// A named object in a segment, as its header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// What it is opened by.
    pub name: String,
    /// What it is, for instance `Lock` or `Value`.
    pub kind: String,
    /// The name of its element type, without its path; empty if it has none.
    pub element: String,
    /// How many elements it was made with.
    pub length: u64,
}
