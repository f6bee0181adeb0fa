//! [`CULong`]: the element type of code `L`.

use bytemuck::{Pod, Zeroable};

/// A C `unsigned long`, code `L`: here the same as a u64, which is `Q`.
///
/// # Examples
/// ```
/// use multiproc::{CULong, CType};
/// assert_eq!(CULong::CODE.as_char(), 'L');
/// assert_eq!(u64::from(CULong(7)), 7);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct CULong(
    /// The same as Rust's type.
    pub u64,
);

impl From<u64> for CULong {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl From<CULong> for u64 {
    fn from(value: CULong) -> Self {
        value.0
    }
}
