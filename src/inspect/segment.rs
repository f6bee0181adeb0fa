//! [`SegmentView`]: a segment as it was seen.

use std::os::fd::{AsFd, OwnedFd};

use super::object::ObjectView;
use crate::error::{Error, Result};
use crate::raw::LeaseInfo;
use crate::segment::Snapshot;
use crate::sys::{memfd, named};

/// A segment and the objects in it, as they were seen.
///
/// # Examples
/// ```
/// use multiproc::inspect::SegmentView;
/// use multiproc::{Event, Segment};
/// let name = format!("doc-view-{}", std::process::id());
/// let segment = Segment::create(&name, 1 << 16)?;
/// let event = Event::new_in(&segment, "go")?;
/// let view = SegmentView::of_name(&name)?;
/// assert_eq!((view.creator, view.objects.len()), (std::process::id(), 1));
/// # drop(event);
/// # segment.remove()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentView {
    /// What it is opened by; `None` if it is anonymous.
    pub name: Option<String>,
    /// Device and inode of its file, which tell segments apart.
    pub key: (u64, u64),
    /// Bytes of its file.
    pub size: u64,
    /// Bytes of memory that the file takes.
    pub reserved: u64,
    /// The process that made it.
    pub creator: u32,
    /// Those of its own leases that are not free: of who names an object, or frees leases of the dead.
    pub leases: Vec<LeaseInfo>,
    /// By name; those without a name in the order of their offsets.
    pub objects: Vec<ObjectView>,
}

impl SegmentView {
    /// Looks at the segment of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] if another user owns its file or may write to it; those of
    /// [`of_file`](Self::of_file).
    ///
    /// # Examples
    /// ```
    /// use multiproc::inspect::SegmentView;
    /// use multiproc::{Lock, Segment};
    /// let name = format!("doc-inspect-{}", std::process::id());
    /// let segment = Segment::create(&name, 1 << 16)?;
    /// let lock = Lock::new_in(&segment, "door")?;
    /// let guard = lock.lock().unwrap();
    /// let view = SegmentView::of_name(&name)?;
    /// assert_eq!(view.objects[0].info.name, "door");
    /// assert!(view.objects[0].leases[0].holder.is_some());
    /// # drop(guard);
    /// # segment.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn of_name(name: &str) -> Result<Self> {
        let file = named::look_only(name)?;
        let file = file.ok_or_else(|| Error::NotFound { what: format!("segment {name:?}") })?;
        Self::look(file, Some(name.to_owned()))
    }

    /// Looks at the segment in a file, which needs to be open for reading only.
    ///
    /// # Errors
    /// [`Error::Mismatch`], naming what was expected and found, if it lacks pages, or has no header, or that of another
    /// layout, boot, PID namespace or size; [`Error::Os`] if it can't be read.
    ///
    /// # Examples
    /// ```
    /// use multiproc::inspect::SegmentView;
    /// use multiproc::{Queue, Segment};
    /// let segment = Segment::anonymous(4 << 20)?;
    /// let queue = Queue::<u8>::new_in(&segment, "jobs", 4)?;
    /// queue.put(7)?;
    /// let file = segment.descriptor().unwrap().try_clone_to_owned().unwrap();
    /// let view = SegmentView::of_file(file)?;
    /// assert_eq!(view.objects[0].queue.unwrap().stats.items, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn of_file(file: OwnedFd) -> Result<Self> {
        Self::look(file, None)
    }

    pub(super) fn look(file: OwnedFd, name: Option<String>) -> Result<Self> {
        let facts = memfd::facts(file.as_fd())?;
        let snapshot = Snapshot::new(file)?;
        let objects = snapshot.objects()?.into_iter().map(|found| ObjectView::look(&snapshot, found));
        Ok(Self {
            name,
            key: facts.key,
            size: facts.size,
            reserved: facts.reserved,
            creator: snapshot.creator(),
            leases: snapshot.leases(),
            objects: objects.collect::<Result<_>>()?,
        })
    }
}
