//! [`ObjectView`]: an object in a segment, as it was seen.

use crate::error::{Error, Result};
use crate::queue::QueueStats;
use crate::raw::LeaseInfo;
use crate::segment::{Found, Kind, ObjectInfo, Snapshot};
use crate::{queue, shared, sync};

/// Bytes that are read of an object whose elements don't matter.
const HEAD_BYTES: usize = 4 << 10;
/// A queue that moves while it is copied may look overwritten: so often it is copied anew.
const ATTEMPTS: u32 = 5;

/// An object in a segment, as it was seen.
///
/// # Examples
/// ```
/// use multiproc::inspect::SegmentView;
/// use multiproc::{Segment, Semaphore};
/// let name = format!("doc-object-{}", std::process::id());
/// let segment = Segment::create(&name, 1 << 16)?;
/// let semaphore = Semaphore::new_in(&segment, "seats", 5)?;
/// let view = SegmentView::of_name(&name)?;
/// assert_eq!((view.objects[0].info.name.as_str(), &*view.objects[0].counts), ("seats", &[("value", 5)][..]));
/// # drop(semaphore);
/// # segment.remove()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ObjectView {
    /// What its header says of it; the name is empty if it has none.
    pub info: ObjectInfo,
    /// Where its header lies: bytes from the segment's start.
    pub offset: usize,
    /// Bytes of the object, without its header.
    pub bytes: u64,
    /// Those of its leases that are not free. Of a structure of one's own it isn't known where it has any.
    pub leases: Vec<LeaseInfo>,
    /// What else there is to see, by name: `value` of a semaphore, `set` of an event, `available` and `of` of permits,
    /// `waiting` of a condition, `parties`, `waiting` and `broken` of a barrier.
    pub counts: Vec<(&'static str, u64)>,
    /// If it is a queue.
    pub queue: Option<QueueView>,
    /// Why no more is known: somebody has overwritten it, or it changed all the time.
    pub damage: Option<String>,
}

/// A queue, as it was seen.
///
/// # Examples
/// ```
/// use multiproc::inspect::segments_of;
/// use multiproc::PlainQueue;
/// let queue = PlainQueue::<u64>::plain(8)?;
/// queue.put(7)?;
/// let segments = segments_of(std::process::id())?;
/// let queues = segments.iter().flat_map(|segment| &segment.objects).filter_map(|object| object.queue);
/// assert!(queues.into_iter().any(|queue| queue.stats.items == 1 && queue.max_items == Some(8)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueView {
    /// As [`Queue::stats`](crate::Queue::stats) counts.
    pub stats: QueueStats,
    /// How many items it takes; `None` if memory alone is the bound.
    pub max_items: Option<u64>,
    /// Whether it was shut down.
    pub is_shut_down: bool,
    /// Tasks in somebody's hands.
    pub taken: u64,
    /// Tasks in nobody's hands, which the next taker gets: their holder died, or gave them up.
    pub orphaned: u64,
    /// Tasks that were taken too often and nobody has seen to.
    pub dead_letters: u64,
}

impl ObjectView {
    pub(super) fn look(snapshot: &Snapshot, found: Found) -> Result<Self> {
        let mut view = Self {
            info: found.info.clone(),
            offset: found.offset,
            bytes: found.bytes,
            leases: Vec::new(),
            counts: Vec::new(),
            queue: None,
            damage: None,
        };
        for _ in 0..ATTEMPTS {
            match view.read(snapshot, &found) {
                Ok(()) => {
                    view.damage = None;
                    break;
                }
                // Of the file, and not of what is in it.
                Err(error @ Error::Os { .. }) => return Err(error),
                Err(error) => {
                    view.leases.clear();
                    view.damage = Some(error.to_string());
                }
            }
        }
        Ok(view)
    }

    fn read(&mut self, snapshot: &Snapshot, found: &Found) -> Result<()> {
        let kind = found.ty.which();
        let segment = snapshot.segment();
        let offset = u64::try_from(found.offset).unwrap_or(u64::MAX);
        match kind {
            Kind::Queue | Kind::JoinableQueue => {
                snapshot.load(found, usize::MAX)?;
                let look = queue::look(segment, snapshot.file(), offset, &found.ty, &mut self.leases)?;
                let unbounded = usize::MAX as u64;
                self.queue = Some(QueueView {
                    stats: look.stats,
                    max_items: Some(look.max_items).filter(|&most| most < unbounded),
                    is_shut_down: look.is_shut_down,
                    taken: look.tasks.taken,
                    orphaned: look.tasks.orphaned,
                    dead_letters: look.tasks.dead,
                });
            }
            Kind::Value | Kind::Array => {
                snapshot.load(found, HEAD_BYTES)?;
                shared::look(segment, offset, &found.ty, &mut self.leases)?;
            }
            Kind::Struct | Kind::RawValue | Kind::RawArray | Kind::ValueUnderLock | Kind::ArrayUnderLock => {}
            _ => {
                snapshot.load(found, usize::MAX)?;
                self.counts = sync::look(segment, offset, kind, &mut self.leases)?.unwrap_or_default();
            }
        }
        Ok(())
    }
}
