//! The constructor that turns a started copy of the program into a child, before `main`.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use super::bootstrap;

/// Whether copies of this program would become children. Its address also tells this copy of the library from others.
static READY: AtomicBool = AtomicBool::new(false);

/// Makes [`Process::spawn`](crate::Process::spawn) work in a program built without the feature `auto-init`.
///
/// Call it first thing in `main`, before any thread is started: in a child it doesn't return. With `auto-init`, which is
/// on by default, a constructor has done this already and the call does nothing.
///
/// # Examples
/// ```
/// fn main() {
///     multiproc::init();
///     // From here on only the parent runs.
///     assert!(multiproc::parent_process().is_none());
/// }
/// ```
#[allow(clippy::needless_doctest_main)]
pub fn init() {
    // Relaxed: only this thread's own earlier store matters, and twice would do no harm.
    if !READY.swap(true, Ordering::Relaxed) {
        bootstrap::enter(|| {});
    }
}

/// Whether a child would find its way.
pub(super) fn is_ready() -> bool {
    #[cfg(feature = "auto-init")]
    // A linker keeps the object file with the constructor only if something refers to it.
    std::hint::black_box(&raw const array::CONSTRUCTOR);
    // Relaxed: set before `main`, or by the user at its start; nothing else is published by it.
    READY.load(Ordering::Relaxed)
}

/// An address in the image that only this copy of the library has.
pub(super) fn anchor() -> usize {
    &raw const READY as usize
}

#[cfg(feature = "auto-init")]
mod array {
    use std::ffi::{c_char, c_int};
    use std::mem::{size_of, transmute};
    use std::ptr::with_exposed_provenance;
    use std::sync::atomic::Ordering;

    use super::{READY, bootstrap};

    /// What glibc calls: argument count, arguments, environment, as `main` gets them.
    type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

    #[used]
    #[unsafe(link_section = ".init_array")]
    pub(super) static CONSTRUCTOR: Constructor = construct;

    // The linker's bounds of the array that `CONSTRUCTOR` is in.
    unsafe extern "C" {
        static __init_array_start: u8;
        static __init_array_end: u8;
    }

    extern "C" fn construct(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        READY.store(true, Ordering::Relaxed);
        bootstrap::enter(|| construct_later(argc, argv, envp));
    }

    /// Calls the constructors after this one: the function may need what they set up.
    fn construct_later(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        let start = &raw const __init_array_start as usize;
        let end = &raw const __init_array_end as usize;
        let own = &raw const CONSTRUCTOR as usize;
        if own < start {
            return;
        }
        for at in (own + size_of::<Constructor>()..end).step_by(size_of::<Constructor>()) {
            // SAFETY: `at` lies in the array, behind an entry of it and a whole number of entries away.
            let address = unsafe { with_exposed_provenance::<usize>(at).read_volatile() };
            // The loader passes over these two.
            if address == 0 || address == usize::MAX {
                continue;
            }
            // SAFETY: an entry is the address of a function that the loader would call just so.
            let constructor = unsafe { transmute::<usize, Constructor>(address) };
            constructor(argc, argv, envp);
        }
    }
}
