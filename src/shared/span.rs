//! Which bytes some elements are.

use std::ops::{Bound, Range, RangeBounds};

use super::array_error::ArrayError;

/// The bytes of the elements `range`, each of `size` bytes, of an array of `len`.
///
/// # Errors
/// [`ArrayError::OutOfRange`]; [`ArrayError::Length`] unless they are `expected` many.
pub(super) fn of_range(
    range: impl RangeBounds<usize>,
    len: usize,
    size: usize,
    expected: Option<usize>,
) -> Result<Range<usize>, ArrayError> {
    let range = explicit(range, len);
    let out_of_range = || ArrayError::OutOfRange { range: range.clone(), len };
    let count = range.end.checked_sub(range.start).ok_or_else(out_of_range)?;
    if range.end > len {
        return Err(out_of_range());
    }
    if let Some(found) = expected.filter(|&found| found != count) {
        return Err(ArrayError::Length { expected: count, found });
    }
    // An array's bytes lie in memory, so these products don't overflow.
    Ok(range.start * size..range.end * size)
}

/// The error for an element that there is not.
#[cold]
pub(super) fn no_element(index: usize, len: usize) -> ArrayError {
    ArrayError::OutOfRange { range: index..index.saturating_add(1), len }
}

/// `range` with both ends; an end that can't be said is the greatest, which is out of range.
fn explicit(range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    start..end
}
