//! [`SegmentOptions`]: how a segment is made.

use super::Segment;
use super::directory::buckets_for;
use crate::error::{Error, Result};

/// What a new segment is like.
///
/// # Examples
/// ```
/// use multiproc::Segment;
/// let segment = Segment::options().size(1 << 16).heap()?;
/// assert_eq!(segment.size(), 1 << 16);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options make nothing by themselves"]
pub struct SegmentOptions {
    size: usize,
    buckets: Option<usize>,
    take_over: bool,
}

impl SegmentOptions {
    /// Those of 1 MiB.
    pub(super) fn new() -> Self {
        Self { size: 1 << 20, buckets: None, take_over: true }
    }

    /// Bytes of the segment, its header and its directory of names included; rounded up to whole pages. Default 1 MiB.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    /// assert_eq!(Segment::options().size(1 << 16).anonymous()?.size(), 1 << 16);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// About how many objects will have names: the directory takes 8 bytes for each. Default: one for each 512 bytes.
    /// More of them are possible and are found more slowly.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RawValue, Segment};
    /// let segment = Segment::options().size(1 << 20).names(1000).anonymous()?;
    /// for n in 0..1000_u64 {
    ///     RawValue::new_in(&segment, &n.to_string(), n)?;
    /// }
    /// assert_eq!(RawValue::<u64>::open_in(&segment, "999")?.load(), 999);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn names(mut self, count: usize) -> Self {
        self.buckets = Some(count.max(1).checked_next_power_of_two().unwrap_or(usize::MAX));
        self
    }

    /// Whether [`create`](Self::create) replaces a segment of the same name that nobody uses, for instance one that dead
    /// processes left. Default true.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// let name = format!("doc-take-over-{}", std::process::id());
    /// drop(Segment::create(&name, 4096)?); // Nobody uses it any more, and its name is there.
    /// let refused = Segment::options().size(4096).take_over(false).create(&name);
    /// assert!(matches!(refused, Err(Error::AlreadyExists { .. })));
    /// Segment::create(&name, 4096)?.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Makes one without a name.
    ///
    /// # Errors
    /// As for [`Segment::anonymous`].
    ///
    /// # Examples
    /// ```
    /// let segment = multiproc::Segment::options().size(8192).names(10).anonymous()?;
    /// assert_eq!(segment.name(), None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn anonymous(&self) -> Result<Segment> {
        Segment::make_anonymous(self.checked_size()?, self.buckets())
    }

    /// Makes one of that name.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// let name = format!("doc-options-{}", std::process::id());
    /// let options = Segment::options().take_over(false);
    /// let segment = options.create(&name)?;
    /// assert!(matches!(options.create(&name), Err(Error::AlreadyExists { .. })));
    /// segment.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn create(&self, name: &str) -> Result<Segment> {
        Segment::make_named(name, self.checked_size()?, self.buckets(), self.take_over)
    }

    /// Makes one in memory of this process alone.
    ///
    /// # Errors
    /// As for [`Segment::heap`].
    ///
    /// # Examples
    /// ```
    /// let segment = multiproc::Segment::options().heap()?;
    /// assert_eq!(segment.size(), 1 << 20);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn heap(&self) -> Result<Segment> {
        Segment::make_heap(self.checked_size()?, self.buckets())
    }

    fn buckets(&self) -> usize {
        self.buckets.unwrap_or_else(|| buckets_for(self.size))
    }

    fn checked_size(&self) -> Result<usize> {
        if self.size == 0 {
            return Err(Error::InvalidArgument {
                what: "segment size",
                expected: "at least 1 byte".to_owned(),
                found: "0".to_owned(),
            });
        }
        Ok(self.size)
    }
}
