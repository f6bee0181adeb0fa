//! [`Placed`]: a handle of an object in a segment.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use super::arena;
use super::directory::{LINE, NAME_BYTES, first_object};
use super::object::{Extent, HEADER_BYTES, ObjectType, TYPE_NAME_BYTES, TypeName};
use super::segment::Segment;
use super::share::Share;
use crate::error::{Error, Result};
use crate::sys::region::Region;

/// Objects up to this many bytes, with their headers, share segments with others: a condition for 64 waiters does.
const SMALL: usize = 6 << 10;

/// An object in a segment: a structure of type `H`. Keeps the memory mapped, and dereferences to the structure.
///
/// A handle: clones are the same object, and it travels in process arguments and results.
///
/// # Examples
/// ```
/// use multiproc::{Placed, Segment, raw::RawEvent};
/// let segment = Segment::anonymous(4096)?;
/// let event: Placed<RawEvent> = segment.place("event", RawEvent::new())?;
/// event.set();
/// let found: Placed<RawEvent> = segment.find("event")?;
/// assert!(found.is_set());
/// # Ok::<(), multiproc::Error>(())
/// ```
pub struct Placed<H> {
    segment: Segment,
    /// Of the object header.
    offset: usize,
    extent: Extent,
    /// Where the object is mapped.
    data: NonNull<u8>,
    /// From there to the tail.
    tail: usize,
    head: PhantomData<H>,
}

// SAFETY: `data` points into the mapping that `segment` keeps; what is reached through it is atomic (`Share`, `Region`).
unsafe impl<H: Share> Send for Placed<H> {}
// SAFETY: as above.
unsafe impl<H: Share> Sync for Placed<H> {}

/// Where a new object goes.
#[derive(Clone, Copy)]
pub(crate) enum Site<'a> {
    /// Without a name.
    Anywhere,
    /// Without a name, alone in a segment whose file can grow behind it.
    Growing,
    /// By a name.
    In(&'a Segment, &'a str),
}

/// What an object consists of: a head, and a tail of bytes behind it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    ty: ObjectType,
    /// Elements.
    length: usize,
    /// Bytes of the tail.
    tail: usize,
    /// Of the head and of the tail.
    tail_align: usize,
}

impl Shape {
    /// A head of type `H` without a tail.
    pub(crate) fn of_head<H>(ty: ObjectType) -> Self {
        Self::new::<H>(ty, 1, 0, 1)
    }

    /// A head of type `H`, of `length` elements in `tail` bytes that are aligned to `tail_align`.
    pub(crate) fn new<H>(ty: ObjectType, length: usize, tail: usize, tail_align: usize) -> Self {
        Self { ty, length, tail, tail_align: tail_align.max(align_of::<H>()) }
    }
}

impl<H: Share> Placed<H> {
    /// An object at `site`, which `fill` makes of one of zero bytes before anybody can see it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room left; [`Error::InvalidArgument`] for an alignment beyond the page size;
    /// what `fill` returns. Without a name: [`Error::TooManyFiles`], [`Error::Unsupported`] as for
    /// [`Segment::anonymous`]. By one: [`Error::AlreadyExists`]; [`Error::InvalidArgument`] for a name that is empty or too
    /// long; [`Error::Mismatch`] for a segment whose directory has no names.
    pub(crate) fn make(site: Site<'_>, shape: Shape, fill: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        match site {
            Site::In(segment, name) => Self::create_in(segment, name, shape, fill),
            Site::Anywhere | Site::Growing => {
                let placed = match site {
                    Site::Growing => Self::create_alone(&shape, Segment::make_growing)?,
                    _ => Self::create_anywhere(&shape)?,
                };
                fill(&placed)?;
                Ok(placed)
            }
        }
    }

    /// In memory that small objects share, or of its own.
    fn create_anywhere(shape: &Shape) -> Result<Self> {
        let plan = Plan::of::<H>(shape, "")?;
        if plan.bytes <= SMALL {
            let most = plan.bytes.checked_add(plan.align).ok_or_else(|| plan.out_of_memory())?;
            let arena = arena::current(most)?;
            if let Some(offset) = arena.directory().allocate(plan.bytes, plan.align) {
                return Self::write(&arena, offset, &plan, shape, "");
            }
        }
        Self::create_alone(shape, |size| Segment::make_anonymous(size, 0))
    }

    fn create_alone(shape: &Shape, make: impl FnOnce(usize) -> Result<Segment>) -> Result<Self> {
        let plan = Plan::of::<H>(shape, "")?;
        let first = first_object(0).and_then(|first| first.checked_next_multiple_of(plan.align));
        let size =
            first.and_then(|first| first.checked_add(plan.bytes)).ok_or_else(|| plan.out_of_memory())?;
        let segment = make(size)?;
        let offset = segment
            .directory()
            .allocate(plan.bytes, plan.align)
            .ok_or_else(|| plan.does_not_fit(&segment))?;
        Self::write(&segment, offset, &plan, shape, "")
    }

    fn create_in(
        segment: &Segment,
        name: &str,
        shape: Shape,
        fill: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Self> {
        if name.is_empty() || name.len() > NAME_BYTES {
            return Err(Error::InvalidArgument {
                what: "name of an object",
                expected: format!("1 to {NAME_BYTES} bytes"),
                found: format!("{} bytes", name.len()),
            });
        }
        let plan = Plan::of::<H>(&shape, name)?;
        let directory = segment.directory();
        let naming = directory.lock()?;
        if directory.find(name).is_some() {
            return Err(Error::AlreadyExists { what: format!("object {name:?} in {segment:?}") });
        }
        let offset = directory.allocate(plan.bytes, plan.align).ok_or_else(|| plan.does_not_fit(segment))?;
        let placed = Self::write(segment, offset, &plan, &shape, name)?;
        fill(&placed)?;
        naming.link(offset, name).ok_or_else(|| plan.out_of_memory())?;
        Ok(placed)
    }

    /// Writes the header of an object at `offset`, all of whose bytes are zero.
    fn write(segment: &Segment, offset: usize, plan: &Plan, shape: &Shape, name: &str) -> Result<Self> {
        let wide = |value: usize| u64::try_from(value).map_err(|_| plan.out_of_memory());
        let name_len = u16::try_from(name.len()).map_err(|_| plan.out_of_memory())?;
        let bytes = plan.tail.checked_add(shape.tail).ok_or_else(|| plan.out_of_memory())?;
        let header = shape.ty.header(wide(shape.length)?, wide(plan.data)?, wide(bytes)?, name_len);
        let stored = || {
            let object = segment.region().slice(offset, plan.bytes)?;
            object.store(0, bytemuck::bytes_of(&header))?;
            object.store(HEADER_BYTES, shape.ty.type_name().as_bytes())?;
            object.store(header.name_offset(), name.as_bytes())
        };
        stored().ok_or_else(|| plan.out_of_memory())?;
        let data = offset.checked_add(plan.data).ok_or_else(|| plan.out_of_memory())?;
        let extent = Extent { data, bytes, length: shape.length };
        Self::at(segment.clone(), offset, extent, plan.tail).ok_or_else(|| plan.out_of_memory())
    }

    /// The object whose header lies at `offset` of `segment`, if it is of type `ty` and has room for a head.
    ///
    /// # Errors
    /// [`Error::Mismatch`] names what was asked for and what is there.
    pub(crate) fn open(segment: Segment, offset: u64, ty: &ObjectType, tail_align: usize) -> Result<Self> {
        let outside = || Error::Mismatch {
            object: format!("object at offset {offset}"),
            expected: format!("{ty} inside a segment of {} bytes", segment.size()),
            found: "one that is cut off".to_owned(),
        };
        let shape = Shape::new::<H>(ty.clone(), 0, 0, tail_align);
        let plan = Plan::of::<H>(&shape, "")?;
        let at = usize::try_from(offset).map_err(|_| outside())?;
        let header = segment.directory().header(at).ok_or_else(outside)?;
        let extent = ty.check(&header, &segment.type_name(at), at, segment.size(), plan.align)?;
        if extent.bytes < plan.tail {
            return Err(outside());
        }
        Self::at(segment.clone(), at, extent, plan.tail).ok_or_else(outside)
    }

    /// `None` if the extent does not lie in the segment.
    fn at(segment: Segment, offset: usize, extent: Extent, tail: usize) -> Option<Self> {
        let data = segment.region().slice(extent.data, extent.bytes)?.start();
        Some(Self { segment, offset, extent, data, tail, head: PhantomData })
    }

    /// Where the head lies, and the tail behind it.
    #[inline]
    pub(crate) fn head(&self) -> NonNull<H> {
        self.data.cast()
    }

    /// The bytes behind the head.
    #[inline]
    pub(crate) fn tail(&self) -> Region<'_> {
        let len = self.extent.bytes.saturating_sub(self.tail);
        // SAFETY: `make` or `open` checked that the extent lies in the segment and is at least `tail` long (I4).
        let start = unsafe { self.data.add(self.tail) };
        // SAFETY: those bytes lie in the mapping, which `self` keeps for as long as it is borrowed (I3).
        unsafe { Region::new(start, len) }
    }

    /// The `len` values of type `S` at `offset` of the tail; `None` if they don't lie within, aligned.
    #[inline]
    pub(crate) fn tail_slice<S: Share>(&self, offset: usize, len: usize) -> Option<&[S]> {
        let region = self.tail().slice(offset, len.checked_mul(size_of::<S>())?)?;
        let start = region.start().cast::<S>();
        if !start.is_aligned() {
            return None;
        }
        // SAFETY: the bytes lie in the mapping, which `self` keeps (I3), and are aligned, as was just checked; any bytes
        // are a valid `S`, which changes through atomics only (`Share`).
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// How many elements the object was made with.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.extent.length
    }

    /// Bytes of the object.
    pub(crate) fn bytes(&self) -> usize {
        self.extent.bytes
    }

    /// Where the object's header lies in the segment.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The segment that the object lies in.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }
}

/// Where the parts of an object lie.
struct Plan {
    align: usize,
    /// From the header to the head.
    data: usize,
    /// From the head to the tail.
    tail: usize,
    /// From the header to the object's end.
    bytes: usize,
}

impl Plan {
    fn of<H>(shape: &Shape, name: &str) -> Result<Self> {
        let align = LINE.max(shape.tail_align);
        // A mapping begins at a page, so no more than that is known of an address in it.
        let page = rustix::param::page_size();
        if align > page {
            return Err(Error::InvalidArgument {
                what: "alignment of the element type",
                expected: format!("at most {page}"),
                found: align.to_string(),
            });
        }
        let too_large = || Error::beyond_addresses("create object", shape.tail);
        let parts = || {
            let header = HEADER_BYTES.checked_add(shape.ty.type_name().len())?.checked_add(name.len())?;
            let data = header.checked_next_multiple_of(align)?;
            let tail = size_of::<H>().checked_next_multiple_of(shape.tail_align.max(align_of::<u64>()))?;
            Some(Self { align, data, tail, bytes: data.checked_add(tail)?.checked_add(shape.tail)? })
        };
        parts().ok_or_else(too_large)
    }

    fn out_of_memory(&self) -> Error {
        Error::beyond_addresses("create object", self.bytes)
    }

    /// There is no room for it in `segment`.
    fn does_not_fit(&self, segment: &Segment) -> Error {
        let limit = format!("{segment:?} has {} left", segment.directory().room());
        Error::out_of_memory("create object", self.bytes, limit)
    }
}

impl Segment {
    /// The bytes behind the header at `offset`, where the name of the object's type lies: zero where the segment ends.
    pub(super) fn type_name(&self, offset: usize) -> TypeName {
        let mut name = [0; TYPE_NAME_BYTES];
        if let Some(at) = offset.checked_add(HEADER_BYTES) {
            let room = self.size().saturating_sub(at).min(TYPE_NAME_BYTES);
            if let Some(name) = name.get_mut(..room) {
                let loaded = self.region().load(at, name);
                debug_assert!(loaded.is_some());
            }
        }
        name
    }
}

impl<H: Share> Deref for Placed<H> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        let head = self.head();
        // SAFETY: the extent is aligned for `H` and long enough (I4); any bytes are a valid `H`, which changes through
        // atomics only (`Share`); the mapping lives as long as `self` is borrowed (I3).
        unsafe { head.as_ref() }
    }
}

impl<H> Clone for Placed<H> {
    fn clone(&self) -> Self {
        Self {
            segment: self.segment.clone(),
            offset: self.offset,
            extent: self.extent,
            data: self.data,
            tail: self.tail,
            head: PhantomData,
        }
    }
}

impl<H: Share + fmt::Debug> fmt::Debug for Placed<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
