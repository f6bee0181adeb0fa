//! [`WChar`]: the element type of code `u`.

use std::fmt;

use bytemuck::{Pod, Zeroable};

use super::{Number, OutOfRange, TypeCode};

/// A C `wchar_t`, code `u`: 4 bytes that should be a Unicode scalar value.
///
/// It is made from a `char`; the way back can fail, since any process may have written the bytes.
///
/// # Examples
/// ```
/// use multiproc::WChar;
/// assert_eq!(char::try_from(WChar::from('é'))?, 'é');
/// assert!(char::try_from(bytemuck::cast::<u32, WChar>(0xd800)).is_err());
/// # Ok::<(), multiproc::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct WChar(u32);

impl From<char> for WChar {
    fn from(character: char) -> Self {
        Self(u32::from(character))
    }
}

impl TryFrom<WChar> for char {
    type Error = OutOfRange;

    fn try_from(WChar(bits): WChar) -> Result<Self, OutOfRange> {
        Self::from_u32(bits).ok_or(OutOfRange { value: Number::from(bits), code: TypeCode::WChar })
    }
}

impl fmt::Debug for WChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match char::from_u32(self.0) {
            Some(character) => f.debug_tuple("WChar").field(&character).finish(),
            None => write!(f, "WChar({:#x})", self.0),
        }
    }
}
