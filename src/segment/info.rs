//! [`SegmentInfo`] and [`ObjectInfo`]: what there is.

/// A named segment, as [`Segment::list`](crate::Segment::list) finds it.
///
/// # Examples
/// ```
/// use multiproc::Segment;
/// let name = format!("doc-info-{}", std::process::id());
/// let segment = Segment::create(&name, 4096)?;
/// let listed = Segment::list()?;
/// let info = listed.iter().find(|info| info.name == name).expect("it is listed");
/// assert!(info.in_use && info.size == 4096 && info.creator == Some(std::process::id()));
/// segment.remove()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
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
///
/// # Examples
/// ```
/// use multiproc::{Array, Segment};
/// let segment = Segment::anonymous(1 << 16)?;
/// Array::<u32>::zeroed_in(&segment, "hits", 8)?;
/// let objects = segment.objects();
/// assert_eq!((objects[0].name.as_str(), objects[0].length), ("hits", 8));
/// # Ok::<(), multiproc::Error>(())
/// ```
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
