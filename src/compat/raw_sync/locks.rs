//! Locks with the interface of `raw_sync::locks`, on [`RawMutex`].
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};

use super::{Result, Timeout, deadline, padding};
use crate::raw::{Acquired, Deadline, RawMutex, own_tid};

/// How a lock is made in memory, or found there.
///
/// # Examples
/// ```
/// use multiproc::compat::raw_sync::locks::*;
///
/// let mut memory = [0u64; 5];
/// let mut data = 41u64;
/// // SAFETY: both outlive the lock and its guards, and are used through them only.
/// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
/// assert!(lock.lock().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait LockInit {
    /// Bytes that the lock takes, with the padding that it needs at `addr`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    /// assert_eq!(Mutex::size_of(None), 40);
    /// ```
    fn size_of(addr: Option<*mut u8>) -> usize;

    /// Makes an unlocked lock in `mem`, and says how many bytes it took. `data` is what its guards give.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Safety
    /// The `size_of(Some(mem))` bytes at `mem` are mapped, writable, and used for nothing else and by nobody else yet.
    /// They stay mapped and in place until the lock is dropped and no thread of this process holds it: a guard that is
    /// forgotten holds it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// let guard = lock.lock()?;
    /// // SAFETY: the lock is held.
    /// assert_eq!(unsafe { *guard.cast::<u64>() }, 41);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "the original's signature")]
    unsafe fn new(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)>;

    /// The lock that somebody has made in `mem`, and how many bytes it takes. Any bytes there are memory safe.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Safety
    /// As for [`new`](Self::new), but that others use the lock, too.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// // As another process would find it.
    /// // SAFETY: as above.
    /// let (found, used) = unsafe { Mutex::from_existing(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// assert_eq!(used, 40);
    /// let guard = lock.lock()?;
    /// assert!(found.lock().is_err(), "this thread holds it");
    /// # drop(guard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    unsafe fn from_existing(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)>;
}

/// A lock.
///
/// # Process death
/// When the holder dies, by SIGKILL at any instruction too, the next one gets the lock, and its guard says
/// [`owner_died`](LockGuard::owner_died). What the original does is to wait for ever.
///
/// # Examples
/// ```
/// use multiproc::compat::raw_sync::{locks::*, Timeout};
///
/// let mut memory = [0u64; 5];
/// let mut data = 41u64;
/// // SAFETY: both outlive the lock and its guards, and are used through them only.
/// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
/// drop(lock.lock()?);
/// assert!(lock.try_lock(Timeout::Val(std::time::Duration::ZERO)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait LockImpl {
    /// Where the lock lies.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// assert!(!lock.as_raw().is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_raw(&self) -> *mut c_void;

    /// Waits for the lock.
    ///
    /// # Errors
    /// An [`AcquireError`](crate::raw::AcquireError): `Deadlock` if the calling thread holds it, where the original hangs;
    /// `TooManyHeld`, `Unsupported`.
    ///
    /// # Process death
    /// As for [`LockImpl`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// let guard = lock.lock()?;
    /// assert!(lock.lock().is_err(), "this thread holds it");
    /// # drop(guard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn lock(&self) -> Result<LockGuard<'_>>;

    /// Waits for the lock as long as `timeout` says.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock), and `TimedOut`, which names the holder.
    ///
    /// # Process death
    /// As for [`LockImpl`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::{locks::*, Timeout};
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// assert!(lock.try_lock(Timeout::Val(std::time::Duration::ZERO)).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn try_lock(&self, timeout: Timeout) -> Result<LockGuard<'_>>;

    /// Unlocks. Guards do that by themselves.
    ///
    /// # Errors
    /// `NotHeld` if the calling thread does not hold it; `Corrupt` if another process overwrote it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// std::mem::forget(lock.lock()?);
    /// lock.release()?;
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn release(&self) -> Result<()>;

    /// Waits for the lock, for reading.
    ///
    /// # Errors
    /// Those of [`lock`](Self::lock): a thread that reads already can't do so once more.
    ///
    /// # Process death
    /// As for [`LockImpl`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// let guard = lock.rlock()?;
    /// // SAFETY: the lock is held.
    /// assert_eq!(unsafe { *guard.cast::<u64>() }, 41);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn rlock(&self) -> Result<ReadLockGuard<'_>> {
        Ok(self.lock()?.into_read_guard())
    }

    /// Waits for the lock as long as `timeout` says, for reading.
    ///
    /// # Errors
    /// Those of [`try_lock`](Self::try_lock).
    ///
    /// # Process death
    /// As for [`LockImpl`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::{locks::*, Timeout};
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// assert!(lock.try_rlock(Timeout::Infinite).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn try_rlock(&self, timeout: Timeout) -> Result<ReadLockGuard<'_>> {
        Ok(self.try_lock(timeout)?.into_read_guard())
    }
}

/// A robust mutex, where the original has a `pthread_mutex_t`.
///
/// # Examples
/// ```
/// // Was: use raw_sync::{locks::*, Timeout};
/// use multiproc::compat::raw_sync::{locks::*, Timeout};
///
/// let mut memory = [0u64; 5]; // in real life, shared with others
/// let mut data = 41u64;
/// // SAFETY: both outlive the lock and its guards, and are used through them only.
/// let (lock, used) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
/// assert_eq!(used, 40);
///
/// let guard = lock.lock()?;
/// // SAFETY: the lock is held.
/// unsafe { *guard.cast::<u64>() += 1 };
/// assert!(lock.try_lock(Timeout::Infinite).is_err(), "this thread holds it");
/// drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Mutex {}

/// A [`Mutex`] by another name: readers exclude each other, which `raw_sync` allows where a lock has no better way.
///
/// # Examples
/// ```
/// use multiproc::compat::raw_sync::locks::*;
///
/// let mut memory = [0u64; 5];
/// let mut data = 41u64;
/// // SAFETY: both outlive the lock and its guards, and are used through them only.
/// let (lock, _) = unsafe { RwLock::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
/// assert!(lock.rlock().is_ok());
/// assert!(lock.lock().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum RwLock {}

/// What both are.
struct Robust {
    mutex: *const RawMutex,
    data: *mut u8,
}

/// A lock that is held, and the pointer that it was made with. Dropping it unlocks, on the thread that locked.
///
/// In a forked child it is not held, and dropping it there does nothing.
///
/// # Examples
/// ```
/// use multiproc::compat::raw_sync::locks::*;
///
/// let mut memory = [0u64; 5];
/// let mut data = 41u64;
/// // SAFETY: both outlive the lock and its guards, and are used through them only.
/// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
/// let guard = lock.lock()?;
/// // SAFETY: the lock is held.
/// unsafe { *guard.cast::<u64>() += 1 };
/// drop(guard);
/// assert_eq!(data, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct LockGuard<'t> {
    lock: &'t Robust,
    data: *mut u8,
    acquired: Acquired,
    /// Who holds it.
    tid: Option<u32>,
}

/// A [`LockGuard`] of who only reads.
///
/// # Examples
/// ```
/// use multiproc::compat::raw_sync::locks::*;
///
/// let mut memory = [0u64; 5];
/// let mut data = 41u64;
/// // SAFETY: both outlive the lock and its guards, and are used through them only.
/// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
/// let guard = lock.rlock()?;
/// assert!(!guard.owner_died());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct ReadLockGuard<'t> {
    held: LockGuard<'t>,
    data: *const u8,
}

impl LockInit for Mutex {
    fn size_of(addr: Option<*mut u8>) -> usize {
        Robust::size_of(addr)
    }

    unsafe fn new(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)> {
        // SAFETY: the caller's promise is the same.
        unsafe { Robust::new(mem, data) }
    }

    unsafe fn from_existing(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)> {
        // SAFETY: the caller's promise is the same.
        unsafe { Robust::from_existing(mem, data) }
    }
}

impl LockInit for RwLock {
    fn size_of(addr: Option<*mut u8>) -> usize {
        Robust::size_of(addr)
    }

    unsafe fn new(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)> {
        // SAFETY: the caller's promise is the same.
        unsafe { Robust::new(mem, data) }
    }

    unsafe fn from_existing(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)> {
        // SAFETY: the caller's promise is the same.
        unsafe { Robust::from_existing(mem, data) }
    }
}

impl LockInit for Robust {
    fn size_of(addr: Option<*mut u8>) -> usize {
        padding::<RawMutex>(addr).saturating_add(size_of::<RawMutex>())
    }

    unsafe fn new(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)> {
        let mutex = mem.wrapping_add(padding::<RawMutex>(Some(mem))).cast::<RawMutex>();
        // SAFETY: it is aligned, and within the bytes that the caller has given away.
        unsafe { mutex.write(RawMutex::new()) };
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_existing(mem, data) }
    }

    unsafe fn from_existing(mem: *mut u8, data: *mut u8) -> Result<(Box<dyn LockImpl>, usize)> {
        let mutex = mem.wrapping_add(padding::<RawMutex>(Some(mem))).cast::<RawMutex>();
        Ok((Box::new(Self { mutex, data }), Self::size_of(Some(mem))))
    }
}

impl Robust {
    fn mutex(&self) -> &RawMutex {
        // SAFETY: who made the lock has promised that it is there for as long as `self`; any bytes are a valid one.
        unsafe { &*self.mutex }
    }

    fn lock_until(&self, deadline: Option<Deadline>) -> Result<LockGuard<'_>> {
        // SAFETY: who made the lock has promised that the memory stays mapped while a thread holds it (L4).
        let acquired = unsafe { self.mutex().lock(deadline) }?;
        Ok(LockGuard { lock: self, data: self.data, acquired, tid: own_tid() })
    }
}

impl LockImpl for Robust {
    fn as_raw(&self) -> *mut c_void {
        self.mutex.cast_mut().cast()
    }

    fn lock(&self) -> Result<LockGuard<'_>> {
        self.lock_until(None)
    }

    fn try_lock(&self, timeout: Timeout) -> Result<LockGuard<'_>> {
        self.lock_until(deadline(timeout))
    }

    fn release(&self) -> Result<()> {
        Ok(self.mutex().unlock()?)
    }
}

impl<'t> LockGuard<'t> {
    /// Whether a holder has died, and nobody has declared the data consistent since.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// assert!(!lock.lock()?.owner_died());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.acquired == Acquired::OwnerDied
    }

    /// Declares the data consistent: later holders are no longer told that one died.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// let mut guard = lock.lock()?;
    /// guard.recover();
    /// assert!(!guard.owner_died());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recover(&mut self) {
        self.lock.mutex().recover();
        self.acquired = Acquired::Consistent;
    }

    /// The same guard, of who only reads.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// let guard = lock.lock()?.into_read_guard();
    /// // SAFETY: the lock is held.
    /// assert_eq!(unsafe { *guard.cast::<u64>() }, 41);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_read_guard(self) -> ReadLockGuard<'t> {
        ReadLockGuard { data: self.data, held: self }
    }
}

impl ReadLockGuard<'_> {
    /// Whether a holder has died, and nobody has declared the data consistent since.
    ///
    /// # Examples
    /// ```
    /// use multiproc::compat::raw_sync::locks::*;
    ///
    /// let mut memory = [0u64; 5];
    /// let mut data = 41u64;
    /// // SAFETY: both outlive the lock and its guards, and are used through them only.
    /// let (lock, _) = unsafe { Mutex::new(memory.as_mut_ptr().cast(), (&raw mut data).cast())? };
    /// assert!(!lock.rlock()?.owner_died());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.held.owner_died()
    }
}

impl Deref for LockGuard<'_> {
    type Target = *mut u8;

    fn deref(&self) -> &*mut u8 {
        &self.data
    }
}

impl DerefMut for LockGuard<'_> {
    /// The guard's own copy of the pointer: assigning to it moves no other guard.
    fn deref_mut(&mut self) -> &mut *mut u8 {
        &mut self.data
    }
}

impl Deref for ReadLockGuard<'_> {
    type Target = *const u8;

    fn deref(&self) -> &*const u8 {
        &self.data
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if own_tid() == self.tid {
            // It fails only if another process has overwritten the lock, or `release` was called.
            let _ = self.lock.release();
        }
    }
}
