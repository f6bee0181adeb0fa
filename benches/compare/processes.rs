//! Memory that forked processes share, and processes on chosen cores.

use std::mem::MaybeUninit;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A value in memory that this process and those it forks later share. Never unmapped.
pub(crate) struct Shared<T>(NonNull<T>);

// SAFETY: it gives `&T` only, from each thread.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        let place = Self::map();
        // SAFETY: the mapping is as long as a `T`, and aligned to a page.
        unsafe { place.write(value) };
        Self(place)
    }

    /// Room for a `T`, all bytes 0.
    fn map() -> NonNull<T> {
        let (flags, protection) =
            (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping takes nobody's place.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>(), protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "shared memory");
        NonNull::new(start.cast::<T>()).expect("a mapping is not at 0")
    }
}

impl<const N: usize> Shared<[AtomicU64; N]> {
    /// So many zeros, which are not on the stack first.
    #[allow(dead_code)] // Each benchmark uses a part.
    pub(crate) fn zeroed() -> Self {
        Self(Self::map())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `new` wrote the value, and the mapping stays.
        unsafe { self.0.as_ref() }
    }
}

/// A forked process, which dies with its parent.
#[must_use]
pub(crate) struct Child(libc::pid_t);

impl Child {
    /// A process that runs `body` and ends. For a caller with a single thread.
    pub(crate) fn fork(body: impl FnOnce()) -> Self {
        // SAFETY: this process has one thread at this time, so the child's copy of it is whole.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            // SAFETY: asks for a signal when the parent ends.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = if catch_unwind(AssertUnwindSafe(body)).is_ok() { 0 } else { 1 };
            // SAFETY: ends the process at once, without the parent's exit handlers.
            unsafe { libc::_exit(code) };
        }
        Self(pid)
    }

    /// Waits for the process, which must not have failed.
    pub(crate) fn join(self) {
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        let pid = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!((pid, status), (self.0, 0), "a partner failed");
    }
}

/// The cores that this process may run on.
#[derive(Clone)]
pub(crate) struct Cores(Vec<usize>);

impl Cores {
    pub(crate) fn allowed() -> Self {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the kernel writes to `set`, which is that long.
        let status = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
        assert_eq!(status, 0, "sched_getaffinity");
        // SAFETY: zeroes are a set, and so is what the kernel wrote.
        let set = unsafe { set.assume_init() };
        let size = usize::try_from(libc::CPU_SETSIZE).expect("a size");
        // SAFETY: each core's number is within the set.
        Self((0..size).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
    }

    #[allow(dead_code)] // Each benchmark uses a part.
    pub(crate) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The core of the actor of this number: another for each, if there are so many.
    pub(crate) fn of(&self, actor: usize) -> usize {
        self.0[actor % self.0.len()]
    }

    /// Lets the calling thread run on all of them again.
    pub(crate) fn unpin(&self) {
        run_on(&self.0);
    }
}

/// Keeps the calling thread on one core.
pub(crate) fn pin(core: usize) {
    run_on(&[core]);
}

fn run_on(cores: &[usize]) {
    // SAFETY: zeroes are an empty set.
    let mut set = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
    for &core in cores {
        // SAFETY: the number came from such a set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the kernel reads `set`, which is that long.
    let status = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    assert_eq!(status, 0, "sched_setaffinity");
}
