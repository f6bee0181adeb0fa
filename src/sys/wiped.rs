//! [`publish`]: private memory that a fork wipes.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Maps so many bytes of zeros and stores where they are in `place`, unless another thread does so first: then these go. `None`
/// without memory. What is published is never unmapped, and all zeros again in a forked child.
#[cold]
pub(crate) fn publish<T>(place: &AtomicPtr<T>, bytes: usize) -> Option<()> {
    // SAFETY: a new private mapping overlaps nothing.
    let mapped = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    }
    .ok()?;
    // SAFETY: the range was mapped just now and is ours; wiping on fork changes nothing in this process.
    let wiped = unsafe { rustix::mm::madvise(mapped, bytes, Advice::LinuxWipeOnFork) };
    // SYNC: Release -> the Acquire of who looks into `place`: the memory is mapped.
    let published = wiped.is_ok()
        && place
            .compare_exchange(ptr::null_mut(), mapped.cast(), Ordering::Release, Ordering::Relaxed)
            .is_ok();
    if !published {
        // SAFETY: mapped above, and nobody has seen its address.
        let unmapped = unsafe { rustix::mm::munmap(mapped, bytes) };
        debug_assert!(unmapped.is_ok());
    }
    wiped.ok()
}
