//! [`ArrayMemory`]: elements that are edited in place under a lock, as bytes.
//!
//! An array is *raw* from the moment on when somebody made a [`RawArray`](crate::RawArray) of it, whose operations don't
//! take the lock. From then on nobody has a slice of it, and each access is one atomic operation on one element. The mark
//! is set under the lock and never taken back, so a holder of the lock knows where it stands.
#![allow(unsafe_code)]

use std::ops::RangeBounds;
use std::sync::atomic::{AtomicU32, Ordering};

use super::array_error::ArrayError;
use super::hold::{Flag, Hold, OwnLock, Taken};
use super::span;
use super::unlocked::Unlocked;
use crate::error::{Error, Result};
use crate::raw::{Deadline, RawMutex};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Share, Site};
use crate::sync::{ChosenLock, LockError};
use crate::sys::region::Region;

/// A holder that died may have changed some elements of many.
const FLAG: Flag = Flag::Told;

/// What stands before the elements.
#[repr(C)]
pub(super) struct ArrayHead {
    /// Unless the array is under somebody else's.
    mutex: RawMutex,
    /// Nonzero: there are handles that don't take the lock.
    raw: AtomicU32,
    reserved: AtomicU32,
}

// SAFETY: repr(C), a raw primitive and atomics; zeros are an unlocked mutex and an array that is not raw.
unsafe impl Share for ArrayHead {}

impl OwnLock for ArrayHead {
    #[inline]
    fn own_lock(&self) -> &RawMutex {
        &self.mutex
    }
}

impl ArrayHead {
    /// For the holder of the lock; or to be told later.
    #[inline]
    pub(super) fn is_raw(&self) -> bool {
        // Relaxed: the lock orders it.
        self.raw.load(Ordering::Relaxed) != 0
    }

    /// For the holder of the lock.
    pub(super) fn make_raw(&self) {
        // Relaxed: published by the release of the lock.
        self.raw.store(1, Ordering::Relaxed);
    }
}

/// Elements of some size, which each operation is told, and their lock.
#[derive(Clone)]
pub(super) struct ArrayMemory {
    pub(super) placed: Placed<ArrayHead>,
    pub(super) lock: ChosenLock,
}

impl ArrayMemory {
    /// `len` new elements of type `ty`, of `size` bytes: those in `elements`, the others zero.
    pub(super) fn create(
        site: Site<'_>,
        ty: impl FnOnce(Kind) -> ObjectType,
        lock: ChosenLock,
        len: usize,
        (size, align): (usize, usize),
        elements: &[u8],
    ) -> Result<Self> {
        Ok(Self { placed: make_elements(site, ty(kind(&lock)), len, (size, align), elements)?, lock })
    }

    /// The array of type `ty`, whose elements have this size and alignment, at `offset`; its lock is still to come.
    pub(super) fn open(
        segment: &Segment,
        offset: u64,
        ty: impl Fn(Kind) -> ObjectType,
        layout: (usize, usize),
    ) -> Result<Unlocked<ArrayHead>> {
        Unlocked::open([Kind::Array, Kind::ArrayUnderLock], |kind| {
            open_elements(segment, offset, &ty(kind), layout)
        })
    }

    /// The array with its lock.
    pub(super) fn join(array: Unlocked<ArrayHead>, lock: ChosenLock) -> Result<Self> {
        Ok(Self { placed: array.under(&lock)?, lock })
    }

    /// How many elements there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.placed.length()
    }

    /// Takes the lock, waiting until `deadline`.
    #[inline]
    pub(super) fn hold(&self, deadline: Option<Deadline>) -> Result<Hold<'_>, LockError<Hold<'_>>> {
        Hold::lock(&self.lock, &self.placed, FLAG, deadline)
    }

    /// Takes the lock if nobody alive holds it.
    pub(super) fn try_hold(&self) -> Result<Hold<'_>, LockError<Hold<'_>>> {
        Hold::try_lock(&self.lock, &self.placed, FLAG)
    }

    /// Runs `body` under the lock.
    #[inline(always)]
    pub(super) fn during<R>(&self, body: impl FnOnce(Taken) -> R) -> Result<R, LockError<()>> {
        Hold::during(&self.lock, &self.placed, FLAG, body)
    }

    /// The memory of element `index`.
    #[inline]
    pub(super) fn element(&self, index: usize, size: usize) -> Result<Region<'_>, ArrayError> {
        if index >= self.len() {
            return Err(span::no_element(index, self.len()));
        }
        self.placed.tail().slice(index * size, size).ok_or_else(|| span::no_element(index, self.len()))
    }

    /// The memory of the elements in `range`, which must be `expected` many.
    pub(super) fn range(
        &self,
        range: impl RangeBounds<usize>,
        size: usize,
        expected: Option<usize>,
    ) -> Result<Region<'_>, ArrayError> {
        elements_in(&self.placed, range, size, expected)
    }

    /// Whether no slice may be had, while the lock is held.
    #[inline]
    pub(super) fn is_raw(&self, _taken: Taken) -> bool {
        self.placed.is_raw()
    }

    /// From now on, nobody has a slice, so that others may change elements without the lock.
    ///
    /// # Errors
    /// Those of the lock, but for `OwnerDied`: a flag stays as it is.
    pub(super) fn make_raw(&self) -> Result<(), LockError<()>> {
        match self.hold(None) {
            Ok(_hold) | Err(LockError::OwnerDied(_hold)) => self.placed.make_raw(),
            Err(error) => return Err(error.map(drop)),
        }
        Ok(())
    }

    /// Copies whole elements.
    #[inline]
    pub(super) fn load(&self, taken: Taken, from: Region<'_>, size: usize, bytes: &mut [u8]) {
        let loaded = if bytes.len() == size {
            from.load(0, bytes)
        } else if self.is_raw(taken) {
            load_each(from, size, bytes)
        } else {
            // SAFETY: the lock is held, and there are no handles that don't take it.
            unsafe { from.copy_out(bytes) }
        };
        debug_assert!(loaded.is_some());
    }

    /// Replaces whole elements.
    #[inline]
    pub(super) fn store(&self, taken: Taken, to: Region<'_>, size: usize, bytes: &[u8]) {
        let stored = if bytes.len() == size {
            to.store(0, bytes)
        } else if self.is_raw(taken) {
            store_each(to, size, bytes)
        } else {
            // SAFETY: the lock is held, and there are no handles that don't take it.
            unsafe { to.copy_in(bytes) }
        };
        debug_assert!(stored.is_some());
    }
}

/// The memory of `len` elements of type `ty`: those in `elements`, the others zero.
pub(super) fn make_elements(
    site: Site<'_>,
    ty: ObjectType,
    len: usize,
    (size, align): (usize, usize),
    elements: &[u8],
) -> Result<Placed<ArrayHead>> {
    let too_long = || Error::beyond_addresses("create array", u64::MAX);
    let bytes = len.checked_mul(size).ok_or_else(too_long)?;
    let shape = Shape::new::<ArrayHead>(ty, len, bytes, tail_align(align));
    Placed::make(site, shape, |placed: &Placed<ArrayHead>| {
        placed.tail().store(0, elements).ok_or_else(too_long)
    })
}

/// The object at `offset`, of type `ty`, if it has room for its elements.
pub(super) fn open_elements(
    segment: &Segment,
    offset: u64,
    ty: &ObjectType,
    (size, align): (usize, usize),
) -> Result<Placed<ArrayHead>> {
    let placed = Placed::<ArrayHead>::open(segment.clone(), offset, ty, tail_align(align))?;
    let room = placed.tail().len();
    if placed.length().checked_mul(size).is_none_or(|bytes| room < bytes) {
        return Err(Error::Mismatch {
            object: format!("object at offset {offset}"),
            expected: format!("{ty} with room for {} elements", placed.length()),
            found: format!("{room} bytes"),
        });
    }
    Ok(placed)
}

/// The memory of the elements in `range`, which must be `expected` many.
pub(super) fn elements_in(
    placed: &Placed<ArrayHead>,
    range: impl RangeBounds<usize>,
    size: usize,
    expected: Option<usize>,
) -> Result<Region<'_>, ArrayError> {
    let bytes = span::of_range(range, placed.length(), size, expected)?;
    let region = placed.tail().slice(bytes.start, bytes.len());
    region.ok_or(ArrayError::OutOfRange { range: bytes, len: placed.length() })
}

/// What the header says: whoever opens an array brings the lock that it is under.
fn kind(lock: &ChosenLock) -> Kind {
    match lock {
        ChosenLock::Own => Kind::Array,
        ChosenLock::Lock(_) | ChosenLock::RLock(_) => Kind::ArrayUnderLock,
    }
}

/// Elements lie where each is at a multiple of its size, if that is a word at most.
pub(super) fn tail_align(align: usize) -> usize {
    align.max(align_of::<u64>())
}

/// One access for each element: others access single ones at the same time.
fn load_each(from: Region<'_>, size: usize, bytes: &mut [u8]) -> Option<()> {
    let mut elements = bytes.chunks_exact_mut(size.max(1));
    elements.try_fold(0, |done, element| from.load(done, element).map(|()| done + size)).map(drop)
}

/// One access for each element: others access single ones at the same time.
fn store_each(to: Region<'_>, size: usize, bytes: &[u8]) -> Option<()> {
    let mut elements = bytes.chunks_exact(size.max(1));
    elements.try_fold(0, |done, element| to.store(done, element).map(|()| done + size)).map(drop)
}
