//! Which signals the calling thread takes.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

/// A set of signals that are kept waiting.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

/// Keeps all signals waiting that can be; returns which were before.
///
/// # References
/// [pthread_sigmask(3)](https://man7.org/linux/man-pages/man3/pthread_sigmask.3.html)
pub(crate) fn block_all() -> Mask {
    let mut all = MaybeUninit::uninit();
    // SAFETY: fills the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: filled.
    set(Mask(unsafe { all.assume_init() }))
}

/// Keeps these signals waiting and no others; returns which were before.
pub(crate) fn set(mask: Mask) -> Mask {
    let mut before = MaybeUninit::uninit();
    // SAFETY: reads a whole set and writes a whole set. It can't fail.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::from_ref(&mask.0), before.as_mut_ptr()) };
    // SAFETY: written.
    Mask(unsafe { before.assume_init() })
}
