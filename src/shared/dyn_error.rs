//! [`DynError`]: why an operation on elements of a type chosen at run time failed.

use std::fmt;

use super::array_error::ArrayError;
use crate::error::Error;
use crate::plain::{Number, OutOfRange, TypeCode};
use crate::sync::LockError;

/// Why an operation on a [`DynValue`](crate::DynValue) or a [`DynArray`](crate::DynArray) failed. Nothing was changed.
///
/// # Examples
/// ```
/// use multiproc::{DynArray, DynError, TypeCode};
/// let array = DynArray::zeroed(TypeCode::SChar, 2)?;
/// assert!(matches!(array.set(0, 200), Err(DynError::OutOfRange { .. })));
/// assert!(matches!(array.set(2, 1), Err(DynError::Index(_))));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DynError {
    /// The type can't be that number, as for [`OutOfRange`].
    OutOfRange {
        /// The number.
        value: Number,
        /// The type.
        code: TypeCode,
    },
    /// There are no such elements: [`ArrayError::OutOfRange`], [`ArrayError::Length`].
    Index(ArrayError),
    /// The lock was not taken; or a holder died, and the array or the caller's lock is flagged until
    /// [`LockError::recover`].
    Lock(LockError<()>),
    /// It could not be made: there is no memory, or its elements are of another type than was asked for.
    Setup(Error),
}

impl fmt::Display for DynError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { value, code } => OutOfRange { value: *value, code: *code }.fmt(f),
            Self::Index(error) => error.fmt(f),
            Self::Lock(error) => error.fmt(f),
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DynError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OutOfRange { .. } => None,
            Self::Index(error) => Some(error),
            Self::Lock(error) => Some(error),
            Self::Setup(error) => Some(error),
        }
    }
}

impl From<OutOfRange> for DynError {
    fn from(OutOfRange { value, code }: OutOfRange) -> Self {
        Self::OutOfRange { value, code }
    }
}

impl From<ArrayError> for DynError {
    fn from(error: ArrayError) -> Self {
        match error {
            ArrayError::Lock(error) => Self::Lock(error),
            other => Self::Index(other),
        }
    }
}

impl<G> From<LockError<G>> for DynError {
    fn from(error: LockError<G>) -> Self {
        Self::Lock(error.map(drop))
    }
}

impl From<Error> for DynError {
    fn from(error: Error) -> Self {
        Self::Setup(error)
    }
}

impl From<DynError> for Error {
    fn from(error: DynError) -> Self {
        match error {
            DynError::Setup(error) => error,
            other => Self::operation(other),
        }
    }
}
