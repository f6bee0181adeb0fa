//! [`TypeCode`]: a C type by the one character that Python's `array` and `multiprocessing` call it.
//!
//! | code | C type | size | values |
//! |---|---|---|---|
//! | `c` | char | 1 | one byte |
//! | `b` `B` | signed, unsigned char | 1 | |
//! | `u` | wchar_t | 4 | one Unicode scalar value |
//! | `h` `H` | short | 2 | |
//! | `i` `I` | int | 4 | |
//! | `l` `L` | long | 8 | |
//! | `q` `Q` | long long | 8 | |
//! | `f` `d` | float, double | 4, 8 | IEEE |
//!
//! Sizes are those of the one platform that the crate runs on, 64-bit Linux.

use std::any::TypeId;
use std::fmt;

use super::{CChar, CLong, CULong, WChar};

/// A C type, as Python's `Value` and `Array` name it.
///
/// # Examples
/// ```
/// use multiproc::TypeCode;
/// let code = TypeCode::try_from('d')?;
/// assert_eq!((code, code.size(), code.as_char()), (TypeCode::Double, 8, 'd'));
/// assert!(TypeCode::try_from('?').is_err());
/// # Ok::<(), multiproc::UnknownTypeCode>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TypeCode {
    /// `c`: one byte that is a character.
    Char,
    /// `b`: an i8.
    SChar,
    /// `B`: a u8.
    UChar,
    /// `u`: a Unicode scalar value, in 4 bytes.
    WChar,
    /// `h`: an i16.
    Short,
    /// `H`: a u16.
    UShort,
    /// `i`: an i32.
    Int,
    /// `I`: a u32.
    UInt,
    /// `l`: here, an i64.
    Long,
    /// `L`: here, a u64.
    ULong,
    /// `q`: an i64.
    LongLong,
    /// `Q`: a u64.
    ULongLong,
    /// `f`: an f32.
    Float,
    /// `d`: an f64.
    Double,
}

/// What the bytes of a type mean. Types of one kind and size are the same to who attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeKind {
    Char,
    WideChar,
    Signed,
    Unsigned,
    Float,
}

/// A character that is no type code.
///
/// # Examples
/// ```
/// use multiproc::{TypeCode, UnknownTypeCode};
/// assert_eq!(TypeCode::try_from('x'), Err(UnknownTypeCode('x')));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTypeCode(
    /// The character.
    pub char,
);

impl TypeCode {
    /// All of them.
    ///
    /// # Examples
    /// ```
    /// use multiproc::TypeCode;
    /// let codes: String = TypeCode::ALL.iter().map(|code| code.as_char()).collect();
    /// assert_eq!(codes, "cbBuhHiIlLqQfd");
    /// ```
    pub const ALL: [Self; 14] = [
        Self::Char,
        Self::SChar,
        Self::UChar,
        Self::WChar,
        Self::Short,
        Self::UShort,
        Self::Int,
        Self::UInt,
        Self::Long,
        Self::ULong,
        Self::LongLong,
        Self::ULongLong,
        Self::Float,
        Self::Double,
    ];

    /// The character.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::TypeCode::LongLong.as_char(), 'q');
    /// ```
    #[must_use]
    pub fn as_char(self) -> char {
        match self {
            Self::Char => 'c',
            Self::SChar => 'b',
            Self::UChar => 'B',
            Self::WChar => 'u',
            Self::Short => 'h',
            Self::UShort => 'H',
            Self::Int => 'i',
            Self::UInt => 'I',
            Self::Long => 'l',
            Self::ULong => 'L',
            Self::LongLong => 'q',
            Self::ULongLong => 'Q',
            Self::Float => 'f',
            Self::Double => 'd',
        }
    }

    /// Bytes of an element.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::TypeCode::Short.size(), 2);
    /// ```
    #[must_use]
    #[inline]
    pub fn size(self) -> usize {
        match self {
            Self::Char | Self::SChar | Self::UChar => 1,
            Self::Short | Self::UShort => 2,
            Self::WChar | Self::Int | Self::UInt | Self::Float => 4,
            Self::Long | Self::ULong | Self::LongLong | Self::ULongLong | Self::Double => 8,
        }
    }

    pub(crate) fn kind(self) -> TypeKind {
        match self {
            Self::Char => TypeKind::Char,
            Self::WChar => TypeKind::WideChar,
            Self::SChar | Self::Short | Self::Int | Self::Long | Self::LongLong => TypeKind::Signed,
            Self::UChar | Self::UShort | Self::UInt | Self::ULong | Self::ULongLong => TypeKind::Unsigned,
            Self::Float | Self::Double => TypeKind::Float,
        }
    }

    /// Whether an element of the one type is an element of the other.
    pub(crate) fn is_like(self, other: Self) -> bool {
        (self.kind(), self.size()) == (other.kind(), other.size())
    }

    /// The code of `T`, if it has one.
    pub(crate) fn of<T: 'static>() -> Option<Self> {
        let ours = TypeId::of::<T>();
        Self::ALL.into_iter().find(|code| code.rust_type().0 == ours)
    }

    /// The name of the Rust type that has this code.
    pub(crate) fn rust_name(self) -> &'static str {
        self.rust_type().1
    }

    fn rust_type(self) -> (TypeId, &'static str) {
        match self {
            Self::Char => (TypeId::of::<CChar>(), "CChar"),
            Self::SChar => (TypeId::of::<i8>(), "i8"),
            Self::UChar => (TypeId::of::<u8>(), "u8"),
            Self::WChar => (TypeId::of::<WChar>(), "WChar"),
            Self::Short => (TypeId::of::<i16>(), "i16"),
            Self::UShort => (TypeId::of::<u16>(), "u16"),
            Self::Int => (TypeId::of::<i32>(), "i32"),
            Self::UInt => (TypeId::of::<u32>(), "u32"),
            Self::Long => (TypeId::of::<CLong>(), "CLong"),
            Self::ULong => (TypeId::of::<CULong>(), "CULong"),
            Self::LongLong => (TypeId::of::<i64>(), "i64"),
            Self::ULongLong => (TypeId::of::<u64>(), "u64"),
            Self::Float => (TypeId::of::<f32>(), "f32"),
            Self::Double => (TypeId::of::<f64>(), "f64"),
        }
    }
}

impl TryFrom<char> for TypeCode {
    type Error = UnknownTypeCode;

    fn try_from(character: char) -> Result<Self, UnknownTypeCode> {
        Self::ALL.into_iter().find(|code| code.as_char() == character).ok_or(UnknownTypeCode(character))
    }
}

impl fmt::Display for TypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_char().fmt(f)
    }
}

impl fmt::Display for UnknownTypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no type code; those are", self.0)?;
        TypeCode::ALL.into_iter().try_for_each(|code| write!(f, " {code}"))
    }
}

impl std::error::Error for UnknownTypeCode {}

impl From<UnknownTypeCode> for crate::error::Error {
    fn from(error: UnknownTypeCode) -> Self {
        Self::operation(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_python_with_their_sizes() {
        let sizes = "cbBuhHiIlLqQfd".chars().map(|c| TypeCode::try_from(c).unwrap().size());
        assert!(sizes.eq([1, 1, 1, 4, 2, 2, 4, 4, 8, 8, 8, 8, 4, 8]));
        assert_eq!(TypeCode::ALL.map(|code| code.to_string()).concat().len(), 14);
        for c in "?nPzxkC \0é".chars() {
            assert_eq!(TypeCode::try_from(c), Err(UnknownTypeCode(c)));
        }
    }

    #[test]
    fn a_size_is_that_of_the_rust_type() {
        fn check<T: super::super::CType>(c: char) {
            assert_eq!((T::CODE.as_char(), T::CODE.size()), (c, size_of::<T>()));
            assert_eq!(T::CODE.size(), align_of::<T>());
            assert_eq!(TypeCode::of::<T>(), Some(T::CODE));
            assert!(std::any::type_name::<T>().ends_with(T::CODE.rust_name()));
        }
        check::<CChar>('c');
        check::<WChar>('u');
        check::<CLong>('l');
        check::<CULong>('L');
        check::<i8>('b');
        check::<i16>('h');
        check::<i32>('i');
        check::<i64>('q');
        check::<u8>('B');
        check::<u16>('H');
        check::<u32>('I');
        check::<u64>('Q');
        check::<f32>('f');
        check::<f64>('d');
        assert_eq!(TypeCode::of::<u128>(), None);
    }

    #[test]
    fn codes_of_one_kind_and_size_are_alike_and_no_others() {
        let alike: Vec<(char, char)> = TypeCode::ALL
            .into_iter()
            .flat_map(|a| TypeCode::ALL.map(|b| (a, b)))
            .filter(|(a, b)| a != b && a.is_like(*b))
            .map(|(a, b)| (a.as_char(), b.as_char()))
            .collect();
        assert_eq!(alike, [('l', 'q'), ('L', 'Q'), ('q', 'l'), ('Q', 'L')]);
    }
}
