//! [`OutOfRange`]: a number that is not of a type.

use std::fmt;

use super::type_code::TypeKind;
use super::{Number, TypeCode};
use crate::error::Error;

/// A number that elements of a type can't be. Nothing wraps unless that is asked for.
///
/// # Examples
/// ```
/// use multiproc::{DynValue, Number, OutOfRange, TypeCode};
/// let error = OutOfRange { value: Number::from(300), code: TypeCode::SChar };
/// assert_eq!(error.to_string(), "300 is out of range for 'b': -128 to 127");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfRange {
    /// The number.
    pub value: Number,
    /// The type.
    pub code: TypeCode,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, code } = self;
        write!(f, "{value} is out of range for '{code}': ")?;
        match (code.kind(), code.integers()) {
            (TypeKind::Char, _) => f.write_str("one byte"),
            (TypeKind::WideChar, _) => f.write_str("a Unicode scalar value"),
            (_, Some(range)) => write!(f, "{} to {}", range.start(), range.end()),
            (_, None) => write!(f, "a float of {} bytes", code.size()),
        }
    }
}

impl std::error::Error for OutOfRange {}

impl From<OutOfRange> for Error {
    fn from(error: OutOfRange) -> Self {
        Self::operation(error)
    }
}
