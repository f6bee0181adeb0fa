//! [`Number`]: a number or a character whose type is chosen at run time.

use std::fmt;
use std::ops::RangeInclusive;

use super::type_code::TypeKind;
use super::{OutOfRange, TypeCode};

/// What an element of any [`TypeCode`] can be, and what it is set to.
///
/// Integers of every width are one kind: `Number::from(5u8) == Number::from(5i64)`.
///
/// # Examples
/// ```
/// use multiproc::Number;
/// let number = Number::from(2.5);
/// assert_eq!((number.as_f64(), number.as_integer()), (Some(2.5), None));
/// assert_eq!(Number::from(7u8), Number::from(7i64));
/// assert_eq!(Number::from('x').as_char(), Some('x'));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Number {
    /// An integer; all that an i64 or a u64 can be, and more.
    Integer(i128),
    /// A float.
    Float(f64),
    /// A character.
    Char(char),
}

/// The bytes of an element, in the first of these.
pub(crate) type ElementBytes = [u8; 8];

impl Number {
    /// The integer, or the float if it is one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Number;
    /// assert_eq!(Number::from(3.0).as_integer(), Some(3));
    /// ```
    #[must_use]
    pub fn as_integer(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            // Beyond 2^64 there is no type for it, so that the conversion is exact.
            Self::Float(float) if float.fract() == 0.0 && float.abs() <= 2f64.powi(64) => Some(float as i128),
            Self::Float(_) | Self::Char(_) => None,
        }
    }

    /// The number as a float, rounded to the nearest one.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Number::from(3).as_f64(), Some(3.0));
    /// ```
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(integer as f64),
            Self::Float(float) => Some(float),
            Self::Char(_) => None,
        }
    }

    /// The character.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Number::from(65).as_char(), None);
    /// ```
    #[must_use]
    pub fn as_char(self) -> Option<char> {
        match self {
            Self::Char(character) => Some(character),
            Self::Integer(_) | Self::Float(_) => None,
        }
    }

    /// An element of type `code` that is this number.
    pub(crate) fn to_element(self, code: TypeCode) -> Result<ElementBytes, OutOfRange> {
        let out_of_range = OutOfRange { value: self, code };
        let element = match code.kind() {
            TypeKind::Char | TypeKind::WideChar => {
                self.as_code_point(code).map(|point| low_bytes(point, code))
            }
            TypeKind::Float => {
                self.as_f64().filter(|_| self.fits_float(code)).map(|float| floats(float, code))
            }
            TypeKind::Signed | TypeKind::Unsigned => {
                let fits = |integer: &i128| code.integers().is_some_and(|range| range.contains(integer));
                self.as_integer().filter(fits).map(|integer| low_bytes(integer, code))
            }
        };
        element.ok_or(out_of_range)
    }

    /// The same, with an integer wrapped to the type's width as C does, and a float that is too large infinite.
    pub(crate) fn to_wrapped_element(self, code: TypeCode) -> Result<ElementBytes, OutOfRange> {
        match (code.kind(), self) {
            (TypeKind::Signed | TypeKind::Unsigned, Self::Integer(integer)) => Ok(low_bytes(integer, code)),
            (TypeKind::Float, Self::Integer(_) | Self::Float(_)) => {
                self.as_f64().map(|float| floats(float, code)).ok_or(OutOfRange { value: self, code })
            }
            _ => self.to_element(code),
        }
    }

    /// What the element `bytes` of type `code` is. The bytes of a `u` that are no character are an integer.
    pub(crate) fn from_element(bytes: ElementBytes, code: TypeCode) -> Self {
        let [a, b, c, d, ..] = bytes;
        match code {
            TypeCode::Char | TypeCode::UChar => a.into(),
            TypeCode::SChar => i8::from_ne_bytes([a]).into(),
            TypeCode::Short => i16::from_ne_bytes([a, b]).into(),
            TypeCode::UShort => u16::from_ne_bytes([a, b]).into(),
            TypeCode::Int => i32::from_ne_bytes([a, b, c, d]).into(),
            TypeCode::UInt => u32::from_ne_bytes([a, b, c, d]).into(),
            TypeCode::Long | TypeCode::LongLong => i64::from_ne_bytes(bytes).into(),
            TypeCode::ULong | TypeCode::ULongLong => u64::from_ne_bytes(bytes).into(),
            TypeCode::Float => f32::from_ne_bytes([a, b, c, d]).into(),
            TypeCode::Double => f64::from_ne_bytes(bytes).into(),
            TypeCode::WChar => {
                let bits = u32::from_ne_bytes([a, b, c, d]);
                char::from_u32(bits).map_or(bits.into(), Self::Char)
            }
        }
    }

    /// The number as a character of type `code`.
    fn as_code_point(self, code: TypeCode) -> Option<i128> {
        let point = match self {
            Self::Char(character) if code == TypeCode::WChar || character.is_ascii() => {
                i128::from(u32::from(character))
            }
            Self::Integer(integer) => integer,
            Self::Char(_) | Self::Float(_) => return None,
        };
        let is_scalar = || u32::try_from(point).ok().and_then(char::from_u32).is_some();
        let fits = if code == TypeCode::WChar { is_scalar() } else { u8::try_from(point).is_ok() };
        fits.then_some(point)
    }

    /// Whether rounding to the float type `code` makes nothing infinite that was finite.
    fn fits_float(self, code: TypeCode) -> bool {
        let Some(float) = self.as_f64() else { return false };
        code != TypeCode::Float || !float.is_finite() || (float as f32).is_finite()
    }
}

impl TypeCode {
    /// The integers that elements of this type can be.
    pub(crate) fn integers(self) -> Option<RangeInclusive<i128>> {
        let bits = u32::try_from(self.size() * 8).ok()?;
        match self.kind() {
            TypeKind::Signed => Some(-(1 << (bits - 1))..=(1 << (bits - 1)) - 1),
            TypeKind::Unsigned => Some(0..=(1 << bits) - 1),
            TypeKind::Char | TypeKind::WideChar | TypeKind::Float => None,
        }
    }
}

/// The low bytes of `integer`, as many as an element of type `code` has.
fn low_bytes(integer: i128, code: TypeCode) -> ElementBytes {
    match code.size() {
        1 => widened((integer as u8).to_ne_bytes()),
        2 => widened((integer as u16).to_ne_bytes()),
        4 => widened((integer as u32).to_ne_bytes()),
        _ => (integer as u64).to_ne_bytes(),
    }
}

fn floats(float: f64, code: TypeCode) -> ElementBytes {
    if code == TypeCode::Float { widened((float as f32).to_ne_bytes()) } else { float.to_ne_bytes() }
}

fn widened<const N: usize>(bytes: [u8; N]) -> ElementBytes {
    let mut element = [0; 8];
    element[..N].copy_from_slice(&bytes);
    element
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i8> for Number {
    fn from(value: i8) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u8> for Number {
    fn from(value: u8) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i16> for Number {
    fn from(value: i16) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u16> for Number {
    fn from(value: u16) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i128> for Number {
    fn from(value: i128) -> Self {
        Self::Integer(value)
    }
}

impl From<f32> for Number {
    fn from(value: f32) -> Self {
        Self::Float(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<char> for Number {
    fn from(value: char) -> Self {
        Self::Char(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => integer.fmt(f),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Char(character) => write!(f, "{character:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(c: char) -> TypeCode {
        TypeCode::try_from(c).unwrap()
    }

    /// What becomes of `number` when it is stored and loaded again.
    fn stored(c: char, number: impl Into<Number>) -> Option<Number> {
        let element = number.into().to_element(code(c)).ok()?;
        Some(Number::from_element(element, code(c)))
    }

    fn wrapped(c: char, number: impl Into<Number>) -> Option<Number> {
        let element = number.into().to_wrapped_element(code(c)).ok()?;
        Some(Number::from_element(element, code(c)))
    }

    #[test]
    fn the_ends_of_each_range_are_in_and_their_neighbours_out() {
        for c in "bBhHiIlLqQ".chars() {
            let range = code(c).integers().unwrap();
            for number in [*range.start(), *range.end(), 0, 1] {
                assert_eq!(stored(c, number), Some(Number::Integer(number)), "{c}");
            }
            for number in [range.start() - 1, range.end() + 1, i128::MIN, i128::MAX] {
                let error = Number::from(number).to_element(code(c)).unwrap_err();
                assert_eq!(error, OutOfRange { value: Number::Integer(number), code: code(c) });
            }
        }
    }

    #[test]
    fn wrapping_is_that_of_python() {
        let table: [(char, i128, i128); 16] = [
            ('b', 128, -128),
            ('b', 200, -56),
            ('b', -129, 127),
            ('B', 256, 0),
            ('B', -1, 255),
            ('h', 32768, -32768),
            ('H', 65536, 0),
            ('H', -1, 65535),
            ('i', 1 << 31, -(1 << 31)),
            ('i', 1 << 100, 0),
            ('I', -1, 4_294_967_295),
            ('I', 1 << 32, 0),
            ('l', 1 << 63, -(1 << 63)),
            ('q', 1 << 63, -(1 << 63)),
            ('L', -1, (1 << 64) - 1),
            ('Q', (1 << 64) + 5, 5),
        ];
        for (c, number, wraps) in table {
            assert_eq!(wrapped(c, number), Some(Number::Integer(wraps)), "{number} as {c}");
            assert_eq!(stored(c, number), None);
        }
        assert_eq!(wrapped('f', 1e39), Some(Number::Float(f64::INFINITY)));
        assert_eq!((wrapped('c', 256), wrapped('u', -1), wrapped('i', 1.5)), (None, None, None));
    }

    #[test]
    fn floats_go_into_integers_only_when_they_are_some() {
        assert_eq!(stored('i', 3.0), Some(Number::Integer(3)));
        assert_eq!(stored('Q', 2f64.powi(63)), Some(Number::Integer(1 << 63)));
        for float in [1.5, f64::NAN, f64::INFINITY, 2f64.powi(64), -1.0, 1e300] {
            assert_eq!(stored('Q', float), None, "{float}");
        }
        assert_eq!(stored('b', -0.0), Some(Number::Integer(0)));
    }

    #[test]
    fn floats_round_and_never_become_infinite() {
        assert_eq!(stored('f', 0.1), Some(Number::Float(f64::from(0.1f32))));
        assert_eq!(stored('f', 1e-50), Some(Number::Float(0.0)));
        assert_eq!(stored('f', 1e39), None);
        assert_eq!(stored('f', 1i128 << 126), Some(Number::Float(2f64.powi(126))));
        assert_eq!(stored('f', f64::NEG_INFINITY), Some(Number::Float(f64::NEG_INFINITY)));
        assert!(matches!(stored('d', f64::NAN), Some(Number::Float(nan)) if nan.is_nan()));
        assert_eq!(stored('d', 7), Some(Number::Float(7.0)));
        assert_eq!(stored('d', '7'), None);
    }

    #[test]
    fn characters_go_where_characters_are_kept() {
        assert_eq!(stored('u', '😀'), Some(Number::Char('😀')));
        assert_eq!(stored('u', 0x1f600), Some(Number::Char('😀')));
        for point in [0xd800, 0xdfff, 0x11_0000, -1] {
            assert_eq!(stored('u', point), None, "{point:#x}");
        }
        assert_eq!(stored('u', 65.0), None);
        assert_eq!(stored('c', b'x'), Some(Number::from(b'x')));
        assert_eq!(stored('c', 'x'), Some(Number::from(b'x')));
        assert_eq!((stored('c', 'é'), stored('c', 256), stored('c', -1)), (None, None, None));
        assert_eq!((stored('b', 'x'), stored('Q', 'x')), (None, None));
        let surrogate = 0xd801u32.to_ne_bytes();
        assert_eq!(Number::from_element(widened(surrogate), TypeCode::WChar), Number::Integer(0xd801));
    }

    #[test]
    fn an_error_names_the_number_and_the_type() {
        let message = |c: char, number: Number| number.to_element(code(c)).unwrap_err().to_string();
        assert_eq!(message('B', (-1).into()), "-1 is out of range for 'B': 0 to 255");
        assert_eq!(message('h', 0.5.into()), "0.5 is out of range for 'h': -32768 to 32767");
        assert_eq!(message('f', 1e39.into()), "1e39 is out of range for 'f': a float of 4 bytes");
        assert_eq!(message('u', 0xd800.into()), "55296 is out of range for 'u': a Unicode scalar value");
        assert_eq!(message('c', 'é'.into()), "'é' is out of range for 'c': one byte");
    }
}
