//! [`own_pid`]: the number of this process, as a rule without a system call.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::wiped;

/// The number, in a page that a fork wipes. Null until it is mapped, which it then stays. The address is outside the page.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The least that is mapped.
const BYTES: usize = size_of::<AtomicU32>();

/// The number of this process. A copy by fork, however that is made, finds nothing in the page, and asks anew.
pub(crate) fn own_pid() -> u32 {
    // SYNC: Acquire <- `wiped::publish`'s Release: the page is mapped.
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() && wiped::publish(&PAGE, BYTES).is_some() {
        page = PAGE.load(Ordering::Acquire); // SYNC: as above.
    }
    if page.is_null() {
        return std::process::id();
    }
    // SAFETY: a page that is never unmapped, aligned to its size, in which any bytes are a number.
    let known = unsafe { &*page };
    // Relaxed, both: the page's content is the kernel's zero or a number that is the same for all threads.
    match known.load(Ordering::Relaxed) {
        0 => {
            let own = std::process::id();
            known.store(own, Ordering::Relaxed);
            own
        }
        own => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_copy_knows_its_own_number() {
        assert_eq!(own_pid(), std::process::id());
        assert_eq!(own_pid(), std::process::id(), "from the page");
        // SAFETY: the child calls nothing that takes a lock, and ends.
        match unsafe { libc::fork() } {
            0 => {
                let is_own = own_pid() == std::process::id();
                // SAFETY: ends this process, and returns nowhere.
                unsafe { libc::_exit(i32::from(!is_own)) }
            }
            child => {
                assert!(child > 0);
                let mut status = -1;
                // SAFETY: `status` is this thread's own, and the child is this process's.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
    }
}
