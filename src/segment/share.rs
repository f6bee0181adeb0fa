//! [`Share`]: which types may be referred to where other processes write.
#![allow(unsafe_code)]

use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
};

use crate::raw::{
    Arrival, BarrierHead, Lease, RawEvent, RawMutex, RawPermits, RawRLock, RawSemaphore, TaskEntry, Waiter,
};

/// A type that processes may share: what [`Segment::place`](crate::Segment::place) takes.
///
/// With the feature `derive`, `#[derive(Share)]` implements it for a structure of such fields, or says why it can't be.
///
/// # Safety
/// The type is `repr(C)` and means the same at any address in any process: no pointers, references or `usize`. Every bit
/// pattern is a valid value, for a peer may write any. Every field that changes is atomic. It does not implement `Drop`.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use multiproc::{Segment, Share};
///
/// #[repr(C)]
/// struct Counters {
///     seen: AtomicU32,
///     lost: AtomicU32,
/// }
///
/// // SAFETY: repr(C), atomic integers only.
/// unsafe impl Share for Counters {}
///
/// let segment = Segment::anonymous(4096)?;
/// let counters = segment.place("counters", Counters { seen: 0.into(), lost: 0.into() })?;
/// counters.seen.fetch_add(1, Relaxed);
/// assert_eq!(segment.find::<Counters>("counters")?.seen.load(Relaxed), 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be shared between processes",
    label = "this is not `Share`",
    note = "another process may write any bits to it at any time: instead of an integer use an atomic one, such as \
            `AtomicU32` for `u32`",
    note = "a `repr(C)` structure of such fields is `Share` by `#[derive(Share)]`, with the feature `derive`"
)]
pub unsafe trait Share: Send + Sync + 'static {
    /// A number that differs where the fields differ, 0 if it is not known. What another program finds under its own
    /// definition of the type has the same one, or is a mismatch.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Share;
    /// use std::sync::atomic::AtomicU32;
    /// assert_eq!(AtomicU32::LAYOUT, 0);
    /// ```
    const LAYOUT: u32 = 0;
}

// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for RawMutex {}
// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for RawEvent {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicU64 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicU32 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicU16 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicU8 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicI64 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicI32 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicI16 {}
// SAFETY: an atomic integer.
unsafe impl Share for AtomicI8 {}
// SAFETY: elements of such a type beside each other.
unsafe impl<T: Share, const N: usize> Share for [T; N] {
    const LAYOUT: u32 = T::LAYOUT;
}
// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for TaskEntry {}
// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for RawRLock {}
// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl<const N: usize> Share for RawPermits<[Lease; N]> {}
// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for RawSemaphore {}
// SAFETY: a part of a condition variable, a raw primitive: as above.
unsafe impl Share for Waiter {}
// SAFETY: a part of a barrier, a raw primitive: as above.
unsafe impl Share for BarrierHead {}
// SAFETY: a part of a barrier, a raw primitive: as above.
unsafe impl Share for Arrival {}
