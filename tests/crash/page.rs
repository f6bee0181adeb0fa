//! Memory shared with every process forked from now on.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::ptr::NonNull;

/// A value in anonymous shared memory. Processes forked while it exists see it at the same address.
pub(crate) struct Page<T> {
    value: NonNull<T>,
}

impl<T> Page<T> {
    /// Maps memory and moves `value` there. `T` is only ever reached by shared reference, so it has to be made of
    /// atomics and cells of its own.
    pub(crate) fn new(value: T) -> Result<Page<T>, String> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), Self::LEN, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(format!("mmap: {}", std::io::Error::last_os_error()));
        }
        let Some(place) = NonNull::new(address.cast::<T>()) else {
            return Err("mmap at address 0".to_owned());
        };
        // SAFETY: the mapping is writable, page-aligned and at least as long as a `T`.
        unsafe { place.write(value) };
        Ok(Page { value: place })
    }

    const LEN: usize = {
        assert!(align_of::<T>() <= 4096);
        if size_of::<T>() == 0 { 1 } else { size_of::<T>() }
    };
}

impl<T> Deref for Page<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `new` wrote a `T` there, and the mapping stays until `drop`.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Page<T> {
    fn drop(&mut self) {
        // SAFETY: `new` wrote a `T` there, and nobody uses it after this.
        unsafe { self.value.drop_in_place() };
        // SAFETY: `new` mapped this range, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.value.as_ptr().cast(), Self::LEN) };
    }
}
