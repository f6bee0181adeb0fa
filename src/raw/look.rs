//! [`LeaseInfo`]: a lease as somebody sees it who only reads.

use core::sync::atomic::Ordering;

use super::arrivals::Arrivals;
use super::lease::{Lease, OWNER_DIED, TID_MASK, WAITERS};
use super::permits::RawPermits;
use super::tasks::TaskEntry;
use super::waiters::Waiters;
use super::{RawMutex, RawRLock};

/// A lease that is held, or whose holder died, as it was seen at one moment.
///
/// # Examples
/// ```
/// # #[cfg(feature = "inspect")]
/// # fn main() -> multiproc::Result<()> {
/// use multiproc::inspect::SegmentView;
/// use multiproc::{Lock, Segment};
/// let name = format!("doc-lease-{}", std::process::id());
/// let segment = Segment::create(&name, 1 << 16)?;
/// let lock = Lock::new_in(&segment, "door")?;
/// let guard = lock.lock().unwrap();
/// let view = SegmentView::of_name(&name)?;
/// let lease = &view.objects[0].leases[0];
/// assert_eq!((lease.role, lease.awaited), ("lock", false));
/// # drop(guard);
/// # segment.remove()
/// # }
/// # #[cfg(not(feature = "inspect"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseInfo {
    /// What it is for in its object, for instance `lock`, `permit`, `task` or `producer`.
    pub role: &'static str,
    /// Which one, where an object has several of that role.
    pub index: usize,
    /// The thread id of its holder; `None` if that died and nobody has taken the lease since.
    pub holder: Option<u32>,
    /// Whether somebody may be waiting for it. A hint: it stays for a while when nobody waits any more.
    pub awaited: bool,
}

/// The tasks of a queue: in somebody's hands, in nobody's, and dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskCounts {
    pub(crate) taken: u64,
    pub(crate) orphaned: u64,
    pub(crate) dead: u64,
}

impl LeaseInfo {
    /// Adds to `seen` what the word of a lease says, unless that is free.
    pub(crate) fn read(word: u32, role: &'static str, index: usize, seen: &mut Vec<Self>) {
        let holder = Some(word & TID_MASK).filter(|&tid| tid != 0);
        if holder.is_some() || word & OWNER_DIED != 0 {
            seen.push(Self { role, index, holder, awaited: word & WAITERS != 0 });
        }
    }
}

impl Lease {
    /// Adds to `seen` how the lease is, unless it is free.
    pub(super) fn look(&self, role: &'static str, index: usize, seen: &mut Vec<LeaseInfo>) {
        // Relaxed: an answer that is old at once.
        LeaseInfo::read(self.word().load(Ordering::Relaxed), role, index, seen);
    }
}

impl RawMutex {
    /// As for a lease.
    pub(crate) fn look(&self, role: &'static str, seen: &mut Vec<LeaseInfo>) {
        self.lease.look(role, 0, seen);
    }
}

impl RawRLock {
    /// As for a lease.
    pub(crate) fn look(&self, role: &'static str, seen: &mut Vec<LeaseInfo>) {
        self.mutex.look(role, seen);
    }
}

impl RawPermits {
    /// As for a lease: each permit, and the turn of who waits.
    pub(crate) fn look(&self, seen: &mut Vec<LeaseInfo>) {
        for (index, permit) in self.permits.iter().enumerate() {
            permit.look("permit", index, seen);
        }
        self.turn.look("turn", seen);
    }
}

impl Waiters<'_> {
    /// As for a lease: each waiter holds one.
    pub(crate) fn look(&self, seen: &mut Vec<LeaseInfo>) {
        for (index, waiter) in self.entries.iter().enumerate() {
            waiter.lease.look("waiter", index, seen);
        }
    }
}

impl Arrivals<'_> {
    /// As for a lease: each party that waits holds one.
    pub(crate) fn look(&self, seen: &mut Vec<LeaseInfo>) {
        for (index, arrival) in self.entries.iter().enumerate() {
            arrival.lease.look("party", index, seen);
        }
        self.head.mutex.look("lock", seen);
    }
}

impl TaskEntry {
    /// As for a lease: that of each task.
    pub(crate) fn look(entries: &[Self], seen: &mut Vec<LeaseInfo>) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for (index, entry) in entries.iter().enumerate() {
            let count = match (entry.is_dead_letter(), entry.is_live()) {
                (true, _) => &mut counts.dead,
                (false, true) if entry.lease.holder().is_some() => &mut counts.taken,
                (false, true) => &mut counts.orphaned,
                // A claim that is being made, or nothing at all.
                (false, false) => continue,
            };
            *count = count.saturating_add(1);
            if entry.lease.holder().is_some() {
                entry.lease.look("task", index, seen);
            }
        }
        counts
    }
}
