//! [`ArrayError`]: why an operation on elements failed.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::sync::LockError;

/// Why an operation on elements of an [`Array`](crate::Array) failed. Nothing was changed.
///
/// # Examples
/// ```
/// use multiproc::{Array, ArrayError};
/// let array = Array::from_slice(&[1, 2, 3])?;
/// assert!(matches!(array.get(3), Err(ArrayError::OutOfRange { len: 3, .. })));
/// assert!(matches!(array.read(.., &mut [0; 2]), Err(ArrayError::Length { .. })));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ArrayError {
    /// Elements beyond the end were asked for.
    OutOfRange {
        /// What was asked for.
        range: Range<usize>,
        /// How many elements there are.
        len: usize,
    },
    /// A range and the slice to copy are of different length.
    Length {
        /// Of the range.
        expected: usize,
        /// Of the slice.
        found: usize,
    },
    /// The lock was not taken; or a holder died, and the array is flagged until [`LockError::recover`].
    Lock(LockError<()>),
}

impl fmt::Display for ArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { range, len } if range.start.checked_add(1) == Some(range.end) => {
                write!(f, "element {} of an array of {len}", range.start)
            }
            Self::OutOfRange { range, len } => {
                write!(f, "elements {}..{} of an array of {len}", range.start, range.end)
            }
            Self::Length { expected, found } => {
                write!(f, "a range of {expected} elements, a slice of {found}")
            }
            Self::Lock(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ArrayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            _ => None,
        }
    }
}

impl<G> From<LockError<G>> for ArrayError {
    fn from(error: LockError<G>) -> Self {
        Self::Lock(error.map(drop))
    }
}

impl From<ArrayError> for Error {
    fn from(error: ArrayError) -> Self {
        Self::operation(error)
    }
}
