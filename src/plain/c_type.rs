//! [`CType`]: the Rust types that have a [`TypeCode`].

use bytemuck::Pod;

use super::{CChar, CLong, CULong, TypeCode, WChar};

/// A plain type that is a C type with a code. Sealed: the codes are Python's.
///
/// `i64` is `q` and `u64` is `Q`; [`CLong`], [`CULong`], [`CChar`] and [`WChar`] stand for the others. Who attaches
/// compares kind and size: a `Value<i64>` is a `Value<CLong>` too.
///
/// # Examples
/// ```
/// use multiproc::{CType, TypeCode};
/// assert_eq!(f32::CODE, TypeCode::Float);
/// ```
pub trait CType: Pod + sealed::Sealed {
    /// The type's code.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{CType, TypeCode};
    /// assert_eq!(<f64 as CType>::CODE, TypeCode::Double);
    /// assert_eq!(<i64 as CType>::CODE.as_char(), 'q');
    /// ```
    const CODE: TypeCode;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for CChar {}
impl CType for CChar {
    const CODE: TypeCode = TypeCode::Char;
}

impl sealed::Sealed for WChar {}
impl CType for WChar {
    const CODE: TypeCode = TypeCode::WChar;
}

impl sealed::Sealed for CLong {}
impl CType for CLong {
    const CODE: TypeCode = TypeCode::Long;
}

impl sealed::Sealed for CULong {}
impl CType for CULong {
    const CODE: TypeCode = TypeCode::ULong;
}

impl sealed::Sealed for i8 {}
impl CType for i8 {
    const CODE: TypeCode = TypeCode::SChar;
}

impl sealed::Sealed for u8 {}
impl CType for u8 {
    const CODE: TypeCode = TypeCode::UChar;
}

impl sealed::Sealed for i16 {}
impl CType for i16 {
    const CODE: TypeCode = TypeCode::Short;
}

impl sealed::Sealed for u16 {}
impl CType for u16 {
    const CODE: TypeCode = TypeCode::UShort;
}

impl sealed::Sealed for i32 {}
impl CType for i32 {
    const CODE: TypeCode = TypeCode::Int;
}

impl sealed::Sealed for u32 {}
impl CType for u32 {
    const CODE: TypeCode = TypeCode::UInt;
}

impl sealed::Sealed for i64 {}
impl CType for i64 {
    const CODE: TypeCode = TypeCode::LongLong;
}

impl sealed::Sealed for u64 {}
impl CType for u64 {
    const CODE: TypeCode = TypeCode::ULongLong;
}

impl sealed::Sealed for f32 {}
impl CType for f32 {
    const CODE: TypeCode = TypeCode::Float;
}

impl sealed::Sealed for f64 {}
impl CType for f64 {
    const CODE: TypeCode = TypeCode::Double;
}
