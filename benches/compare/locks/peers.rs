//! The locks, each as something that runs a body while it is held.

use std::cell::UnsafeCell;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use multiproc::{Lock, Permits, RLock, Semaphore};
use raw_sync::locks::{LockImpl, LockInit};

use crate::processes::Shared;
use crate::pthread;

/// A lock, or what can be used as one.
pub(crate) trait Mutual {
    fn hold(&self, body: impl FnOnce());
}

/// On cache lines of its own.
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// For threads of one process only.
pub(crate) struct Std(pub(crate) Line<std::sync::Mutex<()>>);

impl Mutual for Std {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let guard = self.0.0.lock().expect("not poisoned");
        body();
        drop(guard);
    }
}

/// For threads of one process only.
pub(crate) struct ParkingLot(pub(crate) Line<parking_lot::Mutex<()>>);

impl Mutual for ParkingLot {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let guard = self.0.0.lock();
        body();
        drop(guard);
    }
}

/// A process-shared pthread mutex.
pub(crate) struct Pthread(Shared<Line<UnsafeCell<libc::pthread_mutex_t>>>);

impl Pthread {
    /// `robustness`: one of libc's.
    pub(crate) fn new(robustness: libc::c_int) -> Self {
        let mutex = Shared::new(Line(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        // SAFETY: nobody uses the mutex yet, and it is never moved.
        unsafe { pthread::init(mutex.0.get(), robustness) };
        Self(mutex)
    }
}

impl Mutual for Pthread {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let mutex = self.0.0.get();
        // SAFETY: the mutex was initialised.
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
        body();
        // SAFETY: this thread has locked it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex) }, 0);
    }
}

/// A turn that is waited for by a process-shared pthread condition.
pub(crate) struct PthreadCond(Shared<Line<TurnUnderMutex>>);

struct TurnUnderMutex {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    condition: UnsafeCell<libc::pthread_cond_t>,
    turn: UnsafeCell<u32>,
}

impl PthreadCond {
    pub(crate) fn new() -> Self {
        let turn = Self(Shared::new(Line(TurnUnderMutex {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            condition: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            turn: UnsafeCell::new(0),
        })));
        // SAFETY: nobody uses the mutex and the condition yet, and they are never moved.
        unsafe {
            pthread::init(turn.0.0.mutex.get(), libc::PTHREAD_MUTEX_STALLED);
            pthread::init_cond(turn.0.0.condition.get());
        }
        turn
    }

    /// Waits for `own` turn, and makes it the other's.
    pub(crate) fn pass_on(&self, own: u32) {
        let TurnUnderMutex { mutex, condition, turn } = &self.0.0;
        // SAFETY: both were initialised, and the turn is looked at under the mutex.
        unsafe {
            assert_eq!(libc::pthread_mutex_lock(mutex.get()), 0);
            while *turn.get() != own {
                assert_eq!(libc::pthread_cond_wait(condition.get(), mutex.get()), 0);
            }
            *turn.get() = 1 - own;
            assert_eq!(libc::pthread_cond_signal(condition.get()), 0);
            assert_eq!(libc::pthread_mutex_unlock(mutex.get()), 0);
        }
    }
}

/// A lock of an open file, which has to be opened by each process.
pub(crate) struct FileLock(File);

impl FileLock {
    pub(crate) fn new() -> Self {
        Self(rustix::fs::memfd_create("lock", rustix::fs::MemfdFlags::CLOEXEC).expect("a file").into())
    }

    fn set(&self, kind: libc::c_int) {
        let lock = libc::flock {
            l_type: libc::c_short::try_from(kind).expect("a kind of lock"),
            l_whence: 0,
            l_start: 0,
            l_len: 1,
            l_pid: 0,
        };
        // SAFETY: `lock` is read before the call returns.
        assert_eq!(unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLKW, &raw const lock) }, 0);
    }
}

impl Mutual for FileLock {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        self.set(libc::F_WRLCK);
        body();
        self.set(libc::F_UNLCK);
    }
}

/// A process-shared POSIX semaphore.
pub(crate) struct Posix(Shared<Line<UnsafeCell<MaybeUninit<libc::sem_t>>>>);

impl Posix {
    pub(crate) fn new(count: u32) -> Self {
        let semaphore = Self(Shared::new(Line(UnsafeCell::new(MaybeUninit::zeroed()))));
        // SAFETY: the place is a semaphore's, which nobody uses yet and which is never moved.
        assert_eq!(unsafe { libc::sem_init(semaphore.place(), 1, count) }, 0);
        semaphore
    }

    #[inline]
    pub(crate) fn acquire(&self) {
        // SAFETY: the semaphore was initialised.
        while unsafe { libc::sem_wait(self.place()) } != 0 {}
    }

    #[inline]
    pub(crate) fn release(&self) {
        // SAFETY: the semaphore was initialised.
        assert_eq!(unsafe { libc::sem_post(self.place()) }, 0);
    }

    #[inline]
    fn place(&self) -> *mut libc::sem_t {
        self.0.0.get().cast()
    }
}

impl Mutual for Posix {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        self.acquire();
        body();
        self.release();
    }
}

/// raw_sync's mutex, whose handle every process inherits.
pub(crate) struct RawSync {
    mutex: Box<dyn LockImpl>,
    _memory: Shared<Line<UnsafeCell<[u8; 128]>>>,
}

impl RawSync {
    pub(crate) fn new() -> Self {
        let memory = Shared::new(Line(UnsafeCell::new([0; 128])));
        let place = memory.0.get().cast::<u8>();
        // SAFETY: the mutex needs less than 64 bytes, and the data is not looked at.
        let made = unsafe { raw_sync::locks::Mutex::new(place, place.wrapping_add(64)) };
        Self { mutex: made.map(|(mutex, _)| mutex).expect("a mutex"), _memory: memory }
    }
}

impl Mutual for RawSync {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let guard = self.mutex.lock().expect("a lock");
        body();
        drop(guard);
    }
}

/// Boost's `interprocess_mutex`.
#[cfg(boost)]
pub(crate) struct Boost(Shared<Line<UnsafeCell<[u64; 8]>>>);

#[cfg(boost)]
unsafe extern "C" {
    fn boost_mutex_new(place: *mut u64);
    fn boost_mutex_lock(mutex: *mut u64);
    fn boost_mutex_unlock(mutex: *mut u64);
}

#[cfg(boost)]
impl Boost {
    pub(crate) fn new() -> Self {
        let mutex = Self(Shared::new(Line(UnsafeCell::new([0; 8]))));
        // SAFETY: the C++ side checks that there is room for it.
        unsafe { boost_mutex_new(mutex.place()) };
        mutex
    }

    #[inline]
    fn place(&self) -> *mut u64 {
        self.0.0.get().cast()
    }
}

#[cfg(boost)]
impl Mutual for Boost {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        // SAFETY: `new` made the mutex.
        unsafe { boost_mutex_lock(self.place()) };
        body();
        // SAFETY: as above; this thread has locked it.
        unsafe { boost_mutex_unlock(self.place()) };
    }
}

impl Mutual for Lock {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let guard = self.lock().expect("nobody dies");
        body();
        drop(guard);
    }
}

impl Mutual for RLock {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let guard = self.lock().expect("nobody dies");
        body();
        drop(guard);
    }
}

impl Mutual for Semaphore {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        self.acquire();
        body();
        self.release();
    }
}

impl Mutual for Permits {
    #[inline]
    fn hold(&self, body: impl FnOnce()) {
        let permit = self.acquire().expect("a permit");
        body();
        drop(permit);
    }
}
