//! [`RawInteger`]: integers on which the processor calculates atomically.

use bytemuck::Pod;

use crate::plain::{CLong, CULong};

/// An integer of 1, 2, 4 or 8 bytes, for the arithmetic of [`RawValue`](crate::RawValue) and
/// [`RawArray`](crate::RawArray). Sealed: two's complement, at that width, is what the processor does.
///
/// # Examples
/// ```
/// fn next<T: multiproc::RawInteger>(number: &multiproc::RawValue<T>, step: T) -> T {
///     number.fetch_add(step)
/// }
/// let number = multiproc::RawValue::new(i8::MAX)?;
/// assert_eq!(next(&number, 1), i8::MAX);
/// assert_eq!(number.load(), i8::MIN, "it wraps");
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait RawInteger: Pod + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for i8 {}
impl RawInteger for i8 {}
impl sealed::Sealed for u8 {}
impl RawInteger for u8 {}
impl sealed::Sealed for i16 {}
impl RawInteger for i16 {}
impl sealed::Sealed for u16 {}
impl RawInteger for u16 {}
impl sealed::Sealed for i32 {}
impl RawInteger for i32 {}
impl sealed::Sealed for u32 {}
impl RawInteger for u32 {}
impl sealed::Sealed for i64 {}
impl RawInteger for i64 {}
impl sealed::Sealed for u64 {}
impl RawInteger for u64 {}
impl sealed::Sealed for isize {}
impl RawInteger for isize {}
impl sealed::Sealed for usize {}
impl RawInteger for usize {}
impl sealed::Sealed for CLong {}
impl RawInteger for CLong {}
impl sealed::Sealed for CULong {}
impl RawInteger for CULong {}
