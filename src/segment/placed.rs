//! [`Placed`]: a handle of an object in a segment.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use super::header::ROOT_OFFSET;
use super::object::{Extent, HEADER_BYTES, ObjectType};
use super::segment::Segment;
use super::share::Share;
use crate::error::{Error, Result};
use crate::sys::region::Region;

/// Objects begin at a multiple of this, a cache line; those of a greater alignment at a multiple of that.
const LINE: usize = 64;

/// An object that lies in a segment: a head of type `H`, followed by a tail of bytes. Keeps the memory mapped.
pub(crate) struct Placed<H> {
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

impl<H: Share> Placed<H> {
    /// An object of zero bytes in a segment of its own, with `tail` bytes, aligned to `tail_align`, behind the head.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::TooManyFiles`], [`Error::Unsupported`] as for [`Segment::anonymous`];
    /// [`Error::InvalidArgument`] for an alignment beyond the page size.
    pub(crate) fn create(ty: &ObjectType, length: usize, tail: usize, tail_align: usize) -> Result<Self> {
        let out_of_memory = || Error::OutOfMemory {
            operation: "create object",
            bytes: u64::try_from(tail).unwrap_or(u64::MAX),
        };
        let place = Place::of::<H>(tail_align)?;
        let offset = usize::try_from(ROOT_OFFSET).map_err(|_| out_of_memory())?;
        let to_data = || offset.checked_add(HEADER_BYTES)?.checked_next_multiple_of(place.align);
        let data = to_data().ok_or_else(out_of_memory)?;
        let bytes = place.tail.checked_add(tail).ok_or_else(out_of_memory)?;
        let segment = Segment::anonymous(data.checked_add(bytes).ok_or_else(out_of_memory)?)?;
        let wide = |value: usize| u64::try_from(value).map_err(|_| out_of_memory());
        let header = ty.header(wide(length)?, wide(data.saturating_sub(offset))?, wide(bytes)?);
        segment.region().store(offset, bytemuck::bytes_of(&header)).ok_or_else(out_of_memory)?;
        let extent = Extent { data, bytes, length };
        Self::at(segment, offset, extent, place.tail).ok_or_else(out_of_memory)
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
        let place = Place::of::<H>(tail_align)?;
        let at = usize::try_from(offset).map_err(|_| outside())?;
        let mut bytes = [0; HEADER_BYTES];
        segment.region().load(at, &mut bytes).ok_or_else(outside)?;
        let extent = ty.check(&bytes, at, segment.size(), place.align)?;
        if extent.bytes < place.tail {
            return Err(outside());
        }
        Self::at(segment.clone(), at, extent, place.tail).ok_or_else(outside)
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
        // SAFETY: `create` or `open` checked that the extent lies in the segment and is at least `tail` long (I4).
        let start = unsafe { self.data.add(self.tail) };
        // SAFETY: those bytes lie in the mapping, which `self` keeps for as long as it is borrowed (I3).
        unsafe { Region::new(start, len) }
    }

    /// The `len` values of type `S` at `offset` of the tail; `None` if they don't lie within, aligned.
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

    /// Where the object's header lies in the segment.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The segment that the object lies in.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }
}

/// How the head and the tail lie in an object.
struct Place {
    align: usize,
    /// From the object's start to its tail.
    tail: usize,
}

impl Place {
    fn of<H>(tail_align: usize) -> Result<Self> {
        let align = LINE.max(align_of::<H>()).max(tail_align);
        // A mapping begins at a page, so no more than that is known of an address in it.
        let page = rustix::param::page_size();
        let refused = || Error::InvalidArgument {
            what: "alignment of the element type",
            expected: format!("at most {page}"),
            found: tail_align.to_string(),
        };
        if align > page {
            return Err(refused());
        }
        let tail =
            size_of::<H>().checked_next_multiple_of(tail_align.max(align_of::<u64>())).ok_or_else(refused)?;
        Ok(Self { align, tail })
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
