//! What is seen of an object of this layer by who only reads.

use super::array_memory::{ArrayHead, tail_align};
use super::hold::OwnLock;
use super::value_memory::{ValueHead, WORD};
use crate::error::Result;
use crate::raw::LeaseInfo;
use crate::segment::{Kind, ObjectType, Placed, Segment};

/// Adds the lease of the value or array at `offset`, unless it is free or the object has none, to `leases`.
///
/// # Errors
/// [`Error::Mismatch`](crate::Error::Mismatch) if its memory is not what its header says.
pub(crate) fn look(
    segment: &Segment,
    offset: u64,
    ty: &ObjectType,
    leases: &mut Vec<LeaseInfo>,
) -> Result<()> {
    let segment = segment.clone();
    match ty.which() {
        Kind::Value => Placed::<ValueHead>::open(segment, offset, ty, WORD)?.own_lock().look("lock", leases),
        Kind::Array => {
            let align = tail_align(ty.element_align());
            Placed::<ArrayHead>::open(segment, offset, ty, align)?.own_lock().look("lock", leases);
        }
        _ => {}
    }
    Ok(())
}
