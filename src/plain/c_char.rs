//! [`CChar`]: the element type of code `c`.

use bytemuck::{Pod, Zeroable};

/// A C `char`, code `c`: one byte that is a character, where a u8, `B`, is a number.
///
/// # Examples
/// ```
/// use multiproc::{CChar, CType};
/// assert_eq!(CChar::CODE.as_char(), 'c');
/// assert_eq!(u8::from(CChar(b'x')), b'x');
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct CChar(
    /// The same as Rust's type.
    pub u8,
);

impl From<u8> for CChar {
    fn from(value: u8) -> Self {
        Self(value)
    }
}

impl From<CChar> for u8 {
    fn from(value: CChar) -> Self {
        value.0
    }
}
