//! [`CLong`]: the element type of code `l`.

use bytemuck::{Pod, Zeroable};

/// A C `long`, code `l`: here the same as an i64, which is `q`.
///
/// # Examples
/// ```
/// use multiproc::{CLong, CType};
/// assert_eq!(CLong::CODE.as_char(), 'l');
/// assert_eq!(i64::from(CLong(-7)), -7);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct CLong(
    /// The same as Rust's type.
    pub i64,
);

impl From<i64> for CLong {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

impl From<CLong> for i64 {
    fn from(value: CLong) -> Self {
        value.0
    }
}
