//! What is seen of an object of this layer by who only reads.

use super::permits::PlacedPermits;
use super::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore};
use crate::error::Result;
use crate::raw::LeaseInfo;
use crate::segment::{Kind, Segment};

/// Adds to `leases` those of the object at `offset` that are not free, and says what else there is to see, by name. `None`
/// if no object of this layer is of that kind.
///
/// # Errors
/// [`Error::Mismatch`](crate::Error::Mismatch) if its memory is not what its header says.
pub(crate) fn look(
    segment: &Segment,
    offset: u64,
    kind: Kind,
    leases: &mut Vec<LeaseInfo>,
) -> Result<Option<Vec<(&'static str, u64)>>> {
    let segment = segment.clone();
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let counts = match kind {
        Kind::Lock => {
            Lock::open(segment, offset)?.mutex.look("lock", leases);
            vec![]
        }
        Kind::RLock => {
            RLock::open(segment, offset)?.lock.look("lock", leases);
            vec![]
        }
        Kind::Event => vec![("set", u64::from(Event::open(segment, offset)?.is_set()))],
        Kind::Semaphore => vec![("value", u64::from(Semaphore::open(segment, offset)?.value()))],
        Kind::BoundedSemaphore => {
            vec![("value", u64::from(BoundedSemaphore::open(segment, offset)?.value()))]
        }
        Kind::Permits => {
            let permits = PlacedPermits::open(segment, offset)?;
            permits.look(leases);
            vec![("available", wide(permits.available())), ("of", wide(permits.len()))]
        }
        Kind::Condition => Condition::look(segment, offset, leases)?,
        Kind::Barrier => {
            let barrier = Barrier::open(segment, offset)?;
            barrier.arrivals().look(leases);
            vec![
                ("parties", barrier.parties().into()),
                ("waiting", barrier.waiting().into()),
                ("broken", barrier.is_broken().into()),
            ]
        }
        _ => return Ok(None),
    };
    Ok(Some(counts))
}
