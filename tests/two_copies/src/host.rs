//! A robust mutex of the host program's own: pthread's, process-shared.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// How it was taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Consistent,
    OwnerDied,
}

pub struct HostMutex(&'static UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is what threads and processes share; the cell is reached through pthread functions only.
unsafe impl Sync for HostMutex {}

impl HostMutex {
    /// In shared memory that is never unmapped.
    pub fn new() -> Self {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping overlaps nothing.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: initialises the attributes, which are used until the end of the function.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes) }, 0);
        // SAFETY: they are initialised, here and below.
        let shared = unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        assert_eq!(shared, 0);
        // SAFETY: as above.
        let robust = unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        assert_eq!(robust, 0);
        // SAFETY: the memory is zeroed, aligned and large enough.
        let mutex = unsafe { &*memory.cast::<UnsafeCell<libc::pthread_mutex_t>>() };
        // SAFETY: nobody uses the mutex yet.
        assert_eq!(unsafe { libc::pthread_mutex_init(mutex.get(), attributes) }, 0);
        Self(mutex)
    }

    pub fn lock(&self) -> Taken {
        // SAFETY: the mutex was initialised.
        match unsafe { libc::pthread_mutex_lock(self.0.get()) } {
            0 => Taken::Consistent,
            libc::EOWNERDEAD => {
                // SAFETY: this thread holds it.
                assert_eq!(unsafe { libc::pthread_mutex_consistent(self.0.get()) }, 0);
                Taken::OwnerDied
            }
            other => panic!("pthread_mutex_lock: {other}"),
        }
    }

    pub fn unlock(&self) {
        // SAFETY: the mutex was initialised, and knows who holds it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0.get()) }, 0);
    }
}
