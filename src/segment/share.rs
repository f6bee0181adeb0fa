//! [`Share`]: which types may be referred to where other processes write.
#![allow(unsafe_code)]

use crate::raw::{
    Arrival, BarrierHead, Lease, RawEvent, RawMutex, RawPermits, RawRLock, RawSemaphore, TaskEntry, Waiter,
};

/// A type that a reference into shared memory may point to.
///
/// # Safety
/// The type is `repr(C)` and means the same at any address in any process; every bit pattern is a valid value, all zeros
/// the initial one; every field that may change is atomic; it does not implement `Drop`.
pub(crate) unsafe trait Share: Send + Sync + 'static {}

// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for RawMutex {}
// SAFETY: a raw primitive: fixed-width atomics only, as `raw/` promises.
unsafe impl Share for RawEvent {}
// SAFETY: an atomic integer.
unsafe impl Share for std::sync::atomic::AtomicU64 {}
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
