//! What stands before each object: what it is, so that nobody takes it for something else.
//!
//! ```text
//!   0  magic      u32 "MPOB"               32  data       u64, from the header's start to the object
//!   4  kind       u32, of [`Kind`]         40  bytes      u64, from there to the object's end
//!   8  type code  u32, a C type's, or 0    48  next       u64, the next object in the directory's chain, or 0
//!  12  align      u32, of an element       56  type len   u16, bytes of the type name, at most 72
//!  16  size       u64, of an element       58  name len   u16, bytes of the object's name, at most 255
//!  24  length     u64, elements (1: one)   60  reserved   u32, 0
//!  64  type name, UTF-8: the last path segment, cut off where it is longer; behind it the object's name, UTF-8
//! ```
//! Checking is a pure function over bytes and what lies around them.

use std::fmt;

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};
use crate::plain::TypeCode;

/// Bytes of an object header without its names.
pub(crate) const HEADER_BYTES: usize = size_of::<ObjectHeader>();
/// Most bytes of a type's name.
pub(crate) const TYPE_NAME_BYTES: usize = 72;

const MAGIC: u32 = u32::from_ne_bytes(*b"MPOB");

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lock,
    Event,
    Value,
    Array,
    Queue,
    JoinableQueue,
    RLock,
    Permits,
    Semaphore,
    BoundedSemaphore,
    Condition,
    Barrier,
    /// A caller's own.
    Struct,
    RawValue,
    RawArray,
    /// A value that a lock elsewhere guards, with which alone it is opened.
    ValueUnderLock,
    /// An array that a lock elsewhere guards, with which alone it is opened.
    ArrayUnderLock,
}

/// Which object, of which element type, is expected or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectType {
    kind: Kind,
    /// The [`TypeCode`] as a character, or 0.
    code: u32,
    name: Option<String>,
    size: u64,
    align: u32,
}

/// The header as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ObjectHeader {
    magic: u32,
    kind: u32,
    code: u32,
    align: u32,
    size: u64,
    length: u64,
    data: u64,
    bytes: u64,
    next: u64,
    type_name_len: u16,
    name_len: u16,
    reserved: u32,
}

/// The name of a type as it lies behind a header.
pub(crate) type TypeName = [u8; TYPE_NAME_BYTES];

/// An object that was checked: where it lies in the segment and how many elements it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Offset in the segment.
    pub(crate) data: usize,
    /// Bytes from there.
    pub(crate) bytes: usize,
    /// Elements.
    pub(crate) length: usize,
}

impl Kind {
    const ALL: [Self; 17] = [
        Self::Lock,
        Self::Event,
        Self::Value,
        Self::Array,
        Self::Queue,
        Self::JoinableQueue,
        Self::RLock,
        Self::Permits,
        Self::Semaphore,
        Self::BoundedSemaphore,
        Self::Condition,
        Self::Barrier,
        Self::Struct,
        Self::RawValue,
        Self::RawArray,
        Self::ValueUnderLock,
        Self::ArrayUnderLock,
    ];

    fn code(self) -> u32 {
        match self {
            Self::Lock => 1,
            Self::Event => 2,
            Self::Value => 3,
            Self::Array => 4,
            Self::Queue => 5,
            Self::JoinableQueue => 6,
            Self::RLock => 7,
            Self::Permits => 8,
            Self::Semaphore => 9,
            Self::BoundedSemaphore => 10,
            Self::Condition => 11,
            Self::Barrier => 12,
            Self::Struct => 13,
            Self::RawValue => 14,
            Self::RawArray => 15,
            Self::ValueUnderLock => 16,
            Self::ArrayUnderLock => 17,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl ObjectType {
    /// An object that has no element type.
    pub(crate) fn untyped(kind: Kind) -> Self {
        Self { kind, code: 0, name: None, size: 0, align: 0 }
    }

    /// A `kind` of plain elements of type `T`.
    pub(crate) fn plain<T: 'static>(kind: Kind) -> Self {
        let align = u32::try_from(align_of::<T>()).unwrap_or(u32::MAX);
        let size = u64::try_from(size_of::<T>()).unwrap_or(u64::MAX);
        let code = TypeCode::of::<T>().map_or(0, code_word);
        Self { kind, code, name: Some(cut(name_of::<T>())), size, align }
    }

    /// A `kind` of elements of type `T` in the encoding `codec`: their size and alignment don't matter.
    pub(crate) fn encoded<T: 'static>(kind: Kind, codec: &str) -> Self {
        Self { kind, code: 0, name: Some(cut(format!("{codec}: {}", name_of::<T>()))), size: 0, align: 0 }
    }

    /// A `kind` of elements of the C type `code`.
    pub(crate) fn of_code(kind: Kind, code: TypeCode) -> Self {
        let size = u32::try_from(code.size()).unwrap_or(u32::MAX);
        let name = Some(code.rust_name().to_owned());
        Self { kind, code: code_word(code), name, size: size.into(), align: size }
    }

    /// The C type that the elements are of, if they are of one.
    pub(crate) fn code(&self) -> Option<TypeCode> {
        type_code(self.code)
    }

    /// Whether an element of the one type is an element of the other: C types by kind and size, others by name.
    fn has_elements_of(&self, found: &Self) -> bool {
        match (self.code(), found.code()) {
            (Some(own), Some(other)) => own.is_like(other),
            _ => self.code == found.code && self.name == found.name,
        }
    }

    /// The header of such an object: `length` elements, `bytes` long, `data` behind the header's start, with a name of
    /// `name_len` bytes.
    pub(crate) fn header(&self, length: u64, data: u64, bytes: u64, name_len: u16) -> ObjectHeader {
        ObjectHeader {
            magic: MAGIC,
            kind: self.kind.code(),
            code: self.code,
            align: self.align,
            size: self.size,
            length,
            data,
            bytes,
            next: 0,
            type_name_len: u16::try_from(self.type_name().len()).unwrap_or(0),
            name_len,
            reserved: 0,
        }
    }

    /// A structure of the caller's own.
    pub(crate) fn shared<T: super::Share>() -> Self {
        Self { code: T::LAYOUT, ..Self::plain::<T>(Kind::Struct) }
    }

    /// Which kind of object it is.
    #[cfg(feature = "inspect")]
    pub(crate) fn which(&self) -> Kind {
        self.kind
    }

    /// The alignment of an element; 1 where there is none.
    #[cfg(feature = "inspect")]
    pub(crate) fn element_align(&self) -> usize {
        usize::try_from(self.align).unwrap_or(usize::MAX).max(1)
    }

    /// What it is, without its element type.
    pub(crate) fn kind(&self) -> String {
        format!("{:?}", self.kind)
    }

    /// The name of the element type, empty if there is none.
    pub(crate) fn type_name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The extent of the object whose header, at `offset` of a segment of `segment` bytes, is `header` with `name` behind
    /// it, if it is of this type and lies in the segment, at a multiple of `align`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] names what was asked for and what is there.
    pub(crate) fn check(
        &self,
        header: &ObjectHeader,
        name: &TypeName,
        offset: usize,
        segment: usize,
        align: usize,
    ) -> Result<Extent> {
        let mismatch = |expected: String, found: String| Error::Mismatch {
            object: format!("object at offset {offset}"),
            expected,
            found,
        };
        if header.magic != MAGIC {
            return Err(mismatch(format!("{self}, magic {MAGIC:#010x}"), format!("{:#010x}", header.magic)));
        }
        let found = Self::from_header(header, name)
            .ok_or_else(|| mismatch(self.to_string(), format!("an unknown object (kind {})", header.kind)))?;
        if !self.accepts(&found) {
            return Err(mismatch(self.to_string(), found.to_string()));
        }
        if (found.size, found.align) != (self.size, self.align) {
            let layout = |ty: &Self| format!("{ty} of {} bytes, aligned to {}", ty.size, ty.align);
            return Err(mismatch(layout(self), layout(&found)));
        }
        if header.reserved != 0 {
            return Err(mismatch(format!("{self}, reserved word 0"), header.reserved.to_string()));
        }
        header.extent(offset, segment, align).ok_or_else(|| {
            let found = format!(
                "{} elements in {} bytes at {} of {segment}",
                header.length, header.bytes, header.data
            );
            mismatch(format!("{self} inside its segment"), found)
        })
    }

    fn accepts(&self, found: &Self) -> bool {
        self.kind == found.kind && self.has_elements_of(found)
    }

    /// What a header says, if it says anything that is known here.
    pub(crate) fn from_header(header: &ObjectHeader, name: &TypeName) -> Option<Self> {
        let name = match usize::from(header.type_name_len) {
            0 => None,
            len => Some(std::str::from_utf8(name.get(..len)?).ok()?.to_owned()),
        };
        Some(Self {
            kind: Kind::from_code(header.kind)?,
            code: header.code,
            name,
            size: header.size,
            align: header.align,
        })
    }
}

impl ObjectHeader {
    /// Where the link of a directory's chain lies in a header.
    pub(crate) const NEXT_OFFSET: usize = std::mem::offset_of!(Self, next);

    /// Bytes of the object's name.
    pub(crate) fn name_len(&self) -> usize {
        usize::from(self.name_len)
    }

    /// From the header's start to the object's name.
    pub(crate) fn name_offset(&self) -> usize {
        HEADER_BYTES.saturating_add(usize::from(self.type_name_len))
    }

    /// The C type that the elements are of, if they are of one.
    pub(crate) fn element_code(&self) -> Option<TypeCode> {
        type_code(self.code)
    }

    /// How many elements the object was made with.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether this looks like an object's header, and how many bytes it and the object take then.
    #[cfg(feature = "inspect")]
    pub(crate) fn span(&self) -> Option<usize> {
        let span = || usize::try_from(self.data.checked_add(self.bytes)?).ok();
        span().filter(|&span| self.magic == MAGIC && span >= HEADER_BYTES)
    }

    /// Bytes of the object.
    #[cfg(feature = "inspect")]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the object lies, if that is at the first multiple of `align` behind its header, inside the segment, and has
    /// room for its elements.
    fn extent(&self, offset: usize, segment: usize, align: usize) -> Option<Extent> {
        let relative = usize::try_from(self.data).ok()?;
        let data = offset.checked_add(relative)?;
        let bytes = usize::try_from(self.bytes).ok()?;
        let length = usize::try_from(self.length).ok()?;
        let needed = self.length.checked_mul(self.size)?;
        let names = self.name_offset().checked_add(self.name_len())?;
        // Where it was put: another place could be in the middle of another object.
        let fits = relative == names.checked_next_multiple_of(align)?
            && data.checked_rem(align)? == 0
            && data.checked_add(bytes)? <= segment
            && needed <= self.bytes;
        fits.then_some(Extent { data, bytes, length })
    }
}

impl fmt::Display for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            // A name is a peer's text: what could confuse a terminal is escaped.
            Some(name) => write!(f, "{:?}<{}>", self.kind, name.escape_debug()),
            None => write!(f, "{:?}", self.kind),
        }
    }
}

/// A type code as it stands in a header.
fn code_word(code: TypeCode) -> u32 {
    code.as_char().into()
}

/// `name` with each path in it cut down to its last segment: `a::B<c::D>` becomes `B<D>`.
fn last_segments(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut path_start = 0;
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ':' if rest.peek() == Some(&':') => {
                rest.next();
                short.truncate(path_start);
            }
            c if c.is_alphanumeric() || c == '_' => short.push(c),
            c => {
                short.push(c);
                path_start = short.len();
            }
        }
    }
    short
}

/// The name of a type without the paths in it.
pub(crate) fn name_of<T: ?Sized>() -> String {
    settled(last_segments(std::any::type_name::<T>()))
}

/// Atomics by the names that they have in programs. Some versions of the standard library have them as aliases of one
/// generic type, and programs of two compilers share a segment.
fn settled(mut name: String) -> String {
    const ALIASES: [(&str, &str); 8] = [
        ("Atomic<i8>", "AtomicI8"),
        ("Atomic<i16>", "AtomicI16"),
        ("Atomic<i32>", "AtomicI32"),
        ("Atomic<i64>", "AtomicI64"),
        ("Atomic<u8>", "AtomicU8"),
        ("Atomic<u16>", "AtomicU16"),
        ("Atomic<u32>", "AtomicU32"),
        ("Atomic<u64>", "AtomicU64"),
    ];
    if name.contains("Atomic<") {
        for (alias, settled) in ALIASES {
            name = name.replace(alias, settled);
        }
    }
    name
}

/// What there is room for in a header.
fn cut(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(TYPE_NAME_BYTES));
    name
}

/// The C type of a header's code.
fn type_code(code: u32) -> Option<TypeCode> {
    TypeCode::try_from(char::from_u32(code)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: usize = 4096;
    const OFFSET: usize = 128;

    fn array() -> ObjectType {
        ObjectType::plain::<i64>(Kind::Array)
    }

    fn header() -> ObjectHeader {
        array().header(8, 128, 64, 4)
    }

    fn name_of(ty: &ObjectType) -> TypeName {
        let mut name = [0; TYPE_NAME_BYTES];
        name[..ty.type_name().len()].copy_from_slice(ty.type_name().as_bytes());
        name
    }

    fn check(ty: &ObjectType, header: &ObjectHeader) -> Result<Extent> {
        check_made_as(&array(), ty, header)
    }

    fn check_made_as(made: &ObjectType, ty: &ObjectType, header: &ObjectHeader) -> Result<Extent> {
        ty.check(header, &name_of(made), OFFSET, SEGMENT, 64)
    }

    #[test]
    fn an_object_is_found_where_it_was_put() {
        assert_eq!(check(&array(), &header()).unwrap(), Extent { data: 256, bytes: 64, length: 8 });
    }

    #[test]
    fn another_kind_or_type_is_refused_and_both_are_named() {
        let cases = [
            (ObjectType::untyped(Kind::Lock), "expected Lock, found Array<i64>"),
            (ObjectType::plain::<i64>(Kind::Value), "expected Value<i64>, found Array<i64>"),
            (ObjectType::plain::<f64>(Kind::Array), "expected Array<f64>, found Array<i64>"),
            (ObjectType::plain::<[i64; 1]>(Kind::Array), "expected Array<[i64; 1]>, found Array<i64>"),
        ];
        for (asked, message) in cases {
            let error = check(&asked, &header()).unwrap_err().to_string();
            assert_eq!(error, format!("object at offset 128: {message}"));
        }
    }

    #[test]
    fn c_types_of_one_kind_and_size_are_the_same_and_others_are_not() {
        let long = ObjectType::of_code(Kind::Array, TypeCode::Long);
        assert!(check(&long, &header()).is_ok(), "an i64 is a long");
        assert!(check_made_as(&long, &array(), &long.header(8, 128, 64, 0)).is_ok(), "a long is an i64");
        assert!(check(&ObjectType::plain::<crate::plain::CLong>(Kind::Array), &header()).is_ok());
        for (c, name) in [('d', "f64"), ('Q', "u64"), ('L', "CULong"), ('i', "i32"), ('b', "i8")] {
            let ty = ObjectType::of_code(Kind::Array, TypeCode::try_from(c).unwrap());
            let error = check_made_as(&ty, &array(), &ty.header(8, 128, 64, 0)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("expected Array<i64>, found Array<{name}>")), "{error}");
        }
    }

    #[test]
    fn types_of_one_name_and_different_layout_are_told_apart() {
        let mut header = header();
        header.size = 4;
        let error = check(&array(), &header).unwrap_err().to_string();
        assert!(error.contains("of 8 bytes") && error.contains("of 4 bytes"), "{error}");
    }

    #[test]
    fn an_extent_outside_the_segment_is_refused() {
        type Change = fn(&mut ObjectHeader);
        let cases: [Change; 9] = [
            |h| h.data = 0,
            |h| h.name_len = 64,
            |h| h.data = 129,
            |h| h.data = u64::MAX,
            |h| h.data = 4096,
            |h| h.bytes = u64::MAX,
            |h| h.bytes = 3841,
            |h| h.bytes = 63,
            |h| h.length = u64::MAX / 2,
        ];
        for (case, change) in cases.into_iter().enumerate() {
            let mut header = header();
            change(&mut header);
            let error = check(&array(), &header).unwrap_err().to_string();
            assert!(error.contains("inside its segment"), "case {case}: {error}");
        }
    }

    #[test]
    fn no_mutation_of_a_byte_is_taken_for_the_original_or_panics() {
        for at in 0..HEADER_BYTES {
            for value in 0..=u8::MAX {
                let mut bytes: [u8; HEADER_BYTES] = bytemuck::cast(header());
                if bytes[at] == value {
                    continue;
                }
                bytes[at] = value;
                if let Ok(extent) = check(&array(), &bytemuck::cast(bytes)) {
                    assert!(extent.data + extent.bytes <= SEGMENT && extent.length * 8 <= extent.bytes);
                }
            }
        }
    }

    #[test]
    fn a_type_is_named_by_its_last_path_segment() {
        assert_eq!(last_segments("alloc::vec::Vec<(a::B, [c::D; 4])>"), "Vec<(B, [D; 4])>");
        assert_eq!(last_segments("i64"), "i64");
        assert_eq!(last_segments("&'static str"), "&'static str");
    }

    #[test]
    fn an_atomic_has_one_name_whatever_compiler_wrote_it() {
        assert_eq!(settled("(Atomic<u32>, [Atomic<i64>; 4])".into()), "(AtomicU32, [AtomicI64; 4])");
        assert_eq!(settled("Pair<AtomicU32>".into()), "Pair<AtomicU32>");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        struct Ünïcödé<T>(std::marker::PhantomData<T>);
        type Long = Ünïcödé<Ünïcödé<Ünïcödé<Ünïcödé<Ünïcödé<Ünïcödé<Ünïcödé<u8>>>>>>>;
        let ty = ObjectType::encoded::<Long>(Kind::Queue, "postcard");
        let header = ty.header(0, 192, 0, 0);
        assert_eq!(ty.check(&header, &name_of(&ty), OFFSET, SEGMENT, 64).unwrap().length, 0);
    }

    #[test]
    fn the_layout_is_as_documented() {
        assert_eq!(HEADER_BYTES, 64);
        assert_eq!(ObjectHeader::NEXT_OFFSET, 48);
        assert_eq!(std::mem::offset_of!(ObjectHeader, data), 32);
    }
}
