//! Process-shared pthread mutexes and conditions.

use std::mem::MaybeUninit;

/// Makes a mutex of `robustness`, which is one of libc's.
///
/// # Safety
/// `mutex` points to room for one, which nobody uses yet, and which is never moved.
pub(crate) unsafe fn init(mutex: *mut libc::pthread_mutex_t, robustness: libc::c_int) {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: initialises the attributes.
    assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes) }, 0);
    // SAFETY: they are initialised, here and below.
    let shared = unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
    assert_eq!(shared, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::pthread_mutexattr_setrobust(attributes, robustness) }, 0);
    // SAFETY: as above; the caller's promise.
    assert_eq!(unsafe { libc::pthread_mutex_init(mutex, attributes) }, 0);
}

/// Makes a condition.
///
/// # Safety
/// As [`init`].
#[allow(dead_code)] // Each benchmark uses a part.
pub(crate) unsafe fn init_cond(condition: *mut libc::pthread_cond_t) {
    let mut attributes = MaybeUninit::<libc::pthread_condattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: initialises the attributes.
    assert_eq!(unsafe { libc::pthread_condattr_init(attributes) }, 0);
    // SAFETY: they are initialised.
    let shared = unsafe { libc::pthread_condattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
    assert_eq!(shared, 0);
    // SAFETY: as above; the caller's promise.
    assert_eq!(unsafe { libc::pthread_cond_init(condition, attributes) }, 0);
}
