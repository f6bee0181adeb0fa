//! [`RawPermits`]: a number of leases of which a thread takes any, and waits when all are held.
//!
//! ```text
//! each permit is a lease (`lease.rs`) whose WAITERS says: somebody sleeps on `releases`, not on this word
//!
//! permit    an acquirer           the waiter                       release                     the holder dies (kernel)
//! F D DW    takes it              takes it                         -                           -
//! H         next permit           CAS -> HW, next permit           CAS -> F                    D
//! HW        next permit           next permit                      CAS -> F, releases + 1,     DW: nobody is woken
//!                                                                  wake 1
//! all held  waits for the turn    FUTEX_WAIT on `releases`, as read before the permits were looked at
//! ```
//!
//! An acquirer that finds no permit waits for the *turn*, a mutex: its holder is *the waiter*, the only one that sleeps on
//! `releases`. When it has a permit, or gives up, it unlocks the turn, and the next one looks at the permits before it
//! sleeps. So no wake is lost with a killed waiter: the kernel passes the turn on, and the next waiter finds the permit
//! that the dead one was woken for.
//!
//! **Invariants.** (W1) The waiter sleeps => it has seen each permit held, with WAITERS set, since it read `releases`.
//! (W2) A permit is released with WAITERS set => `releases` changes after it.
//!
//! **Who notices a death?** The kernel gives a dead holder's permit back, and nobody sleeps on that word. So everybody who
//! waits looks over the permits when a slice of the sleep ends (100 ms). The same is true of a holder that dies inside
//! `release` before it has woken the waiter. A permit that the kernel has not marked is freed by the out-of-band check of
//! `lease.rs`, which the waiter makes once a second, of all permits.
//!
//! **Fairness.** Whoever comes when a permit is free takes it, past those who wait; these take turns in no order.
//!
//! **Ordering.** A permit is a lease: taking it is Acquire, giving it back is Release. (W1) and (W2) meet in the word of
//! the permit, on which operations have one order, and in `releases`: the waiter that reads the number after an increment
//! (Acquire, Release) sees the permit free.
#![allow(unsafe_code)]

use core::ops::Deref;
use core::sync::atomic::Ordering;

use super::lease::{Lease, TID_MASK};
use super::{AcquireError, Acquired, Deadline, RawMutex};
use crate::sys::atomic::AtomicU32;
use crate::sys::robust::{CAPACITY, Thread};
use crate::sys::watch::Watch;
use crate::sys::{futex, slice};

/// A process-shared semaphore whose units are leases. All-zero bytes are one of which no permit is taken.
///
/// The permits are an array at its end: place a `RawPermits<[Lease; N]>`, with 1 to 1024 of them, which dereferences to a
/// `RawPermits`.
///
/// # Process death
/// A permit that a dead thread held comes back, at once for whoever comes, and within 200 ms for whoever sleeps. A waiter
/// that dies takes no wake-up with it.
///
/// # Examples
/// ```
/// use multiproc::raw::{Lease, RawPermits};
/// let permits = RawPermits::<[Lease; 2]>::new();
/// // SAFETY: `permits` stays where it is until the permit is released.
/// let permit = unsafe { permits.acquire(None) }?;
/// assert_eq!(permits.available(), 1);
/// permits.release(permit)?;
/// assert_eq!(permits.available(), 2);
/// # Ok::<(), multiproc::raw::AcquireError>(())
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct RawPermits<L: ?Sized = [Lease]> {
    turn: RawMutex,
    /// How many permits were given back while somebody waited. Wraps.
    releases: AtomicU32,
    pub(super) permits: L,
}

impl<const N: usize> RawPermits<[Lease; N]> {
    /// `N` free permits.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Lease, RawPermits};
    /// assert_eq!(RawPermits::<[Lease; 3]>::new().len(), 3);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        const { assert!(N <= CAPACITY) };
        Self {
            turn: RawMutex::new(),
            releases: AtomicU32::new(0),
            permits: core::array::from_fn(|_| Lease::new()),
        }
    }
}

impl RawPermits {
    /// Takes a permit, waiting until `deadline`, or for as long as it takes, and says which.
    ///
    /// # Errors
    /// `TimedOut`, naming one of the holders; `Deadlock` if the calling thread holds all permits; `TooManyHeld`,
    /// `Unsupported`.
    ///
    /// # Safety
    /// Until the calling thread has released the permit, its memory must stay mapped and in place.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, Lease, RawPermits};
    /// let permits = RawPermits::<[Lease; 1]>::new();
    /// // SAFETY: `permits` stays where it is until the permit is released.
    /// let permit = unsafe { permits.acquire(None) }?;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { permits.acquire(None) }, Err(AcquireError::Deadlock));
    /// permits.release(permit)?;
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    #[inline]
    pub unsafe fn acquire(&self, deadline: Option<Deadline>) -> Result<usize, AcquireError> {
        let thread = Self::enter()?;
        match self.take_any(thread) {
            Some(permit) => Ok(permit),
            None => self.wait_for_turn(thread, deadline),
        }
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// `WouldBlock`, `Deadlock` if the calling thread holds all permits, `TooManyHeld`, `Unsupported`.
    ///
    /// # Safety
    /// As for [`RawPermits::acquire`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, Lease, RawPermits};
    /// let permits = RawPermits::<[Lease; 1]>::new();
    /// // SAFETY: `permits` stays where it is until the permit is released.
    /// let permit = unsafe { permits.try_acquire() }?;
    /// std::thread::scope(|scope| {
    ///     // SAFETY: as above.
    ///     let other = scope.spawn(|| unsafe { permits.try_acquire() });
    ///     assert_eq!(other.join().expect("it does not panic"), Err(AcquireError::WouldBlock));
    /// });
    /// permits.release(permit)?;
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    #[inline]
    pub unsafe fn try_acquire(&self) -> Result<usize, AcquireError> {
        let thread = Self::enter()?;
        self.take_any(thread).ok_or_else(|| self.refusal(thread, AcquireError::WouldBlock))
    }

    /// Gives back the permit that [`RawPermits::acquire`] returned.
    ///
    /// # Errors
    /// `NotHeld` if the calling thread doesn't hold it. `Corrupt` if another process overwrote it: it is not held any more
    /// then.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, Lease, RawPermits};
    /// let permits = RawPermits::<[Lease; 1]>::new();
    /// assert_eq!(permits.release(0), Err(AcquireError::NotHeld));
    /// // SAFETY: `permits` stays where it is until the permit is released.
    /// let permit = unsafe { permits.acquire(None) }?;
    /// assert_eq!(permits.release(permit), Ok(()));
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    #[inline]
    pub fn release(&self, permit: usize) -> Result<(), AcquireError> {
        let permit = self.permits.get(permit).ok_or(AcquireError::NotHeld)?;
        if permit.release_unslept()? {
            self.wake_the_waiter();
        }
        Ok(())
    }

    /// How many permits nobody holds at this moment.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Lease, RawPermits};
    /// assert_eq!(RawPermits::<[Lease; 3]>::new().available(), 3);
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.iter().filter(|permit| permit.holder().is_none()).count()
    }

    /// How many permits there are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Lease, RawPermits};
    /// assert_eq!(RawPermits::<[Lease; 3]>::new().len(), 3);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.permits.len()
    }

    /// Whether there are none at all.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Lease, RawPermits};
    /// assert!(!RawPermits::<[Lease; 3]>::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.permits.is_empty()
    }

    /// Whether the calling thread holds this permit.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Lease, RawPermits};
    /// let permits = RawPermits::<[Lease; 2]>::new();
    /// // SAFETY: `permits` stays where it is until the permit is released.
    /// let permit = unsafe { permits.acquire(None) }?;
    /// assert!(permits.is_held(permit));
    /// permits.release(permit)?;
    /// assert!(!permits.is_held(permit));
    /// # Ok::<(), multiproc::raw::AcquireError>(())
    /// ```
    #[must_use]
    pub fn is_held(&self, permit: usize) -> bool {
        self.permits.get(permit).is_some_and(Lease::is_held)
    }

    #[inline]
    fn enter() -> Result<Thread, AcquireError> {
        Thread::enrolled().filter(Thread::holds_none).map_or_else(Self::enter_checked, Ok)
    }

    /// [`RawPermits::enter`] for a thread that holds leases already, or takes its first one ever.
    #[cold]
    fn enter_checked() -> Result<Thread, AcquireError> {
        let thread = Thread::current()?;
        if thread.held() >= CAPACITY { Err(AcquireError::TooManyHeld) } else { Ok(thread) }
    }

    /// Takes the first free permit, beginning where this thread's own search begins.
    #[inline]
    fn take_any(&self, thread: Thread) -> Option<usize> {
        let first = self.first(thread);
        let is_taken = self.permits.get(first).is_some_and(|permit| take_if_free(permit, thread));
        if is_taken { Some(first) } else { self.take_another(thread) }
    }

    #[cold]
    fn take_another(&self, thread: Thread) -> Option<usize> {
        self.search(thread).find(|(_, permit)| take_if_free(permit, thread)).map(|(index, _)| index)
    }

    /// Where this thread's search begins. Threads begin at different permits, so that they don't write the same word
    /// without need.
    #[inline]
    fn first(&self, thread: Thread) -> usize {
        // Fibonacci hashing of the id, as a fraction of the length, which is at most `CAPACITY`: a remainder takes longer.
        let fraction = u64::from(thread.tid().wrapping_mul(0x9e37_79b9));
        let len = u64::try_from(self.permits.len()).unwrap_or(0);
        usize::try_from(fraction.wrapping_mul(len) >> u32::BITS).unwrap_or(0)
    }

    /// All permits.
    fn search(&self, thread: Thread) -> impl Iterator<Item = (usize, &Lease)> {
        let first = self.first(thread);
        let permits = self.permits.iter().enumerate();
        permits.clone().skip(first).chain(permits.take(first))
    }

    /// Waits until it is this thread's turn to wait; takes a permit if it sees one free meanwhile.
    #[cold]
    fn wait_for_turn(&self, thread: Thread, deadline: Option<Deadline>) -> Result<usize, AcquireError> {
        if let deadlock @ AcquireError::Deadlock = self.refusal(thread, AcquireError::WouldBlock) {
            return Err(deadlock);
        }
        let mut watch = Watch::new();
        loop {
            let late = deadline.is_some_and(Deadline::has_passed);
            // SAFETY: the turn is unlocked below, and until then the caller keeps the memory, as it promised.
            match unsafe { self.turn.lock_watching(slice::end_of_sleep(deadline), &mut watch) } {
                // It protects nothing that a death could leave half changed.
                Ok(Acquired::OwnerDied) => break self.turn.recover(),
                Ok(Acquired::Consistent) => break,
                Err(AcquireError::TimedOut { .. }) => {}
                Err(other) => return Err(other),
            }
            if let Some(permit) = self.take_any(thread) {
                return Ok(permit);
            }
            if late {
                return Err(self.timed_out());
            }
        }
        let outcome = self.wait_for_permit(thread, deadline);
        // `Corrupt`: a peer overwrote the turn, which is not held any more then.
        let _ = self.turn.unlock();
        outcome
    }

    /// Waits for a permit. For the holder of the turn.
    fn wait_for_permit(&self, thread: Thread, deadline: Option<Deadline>) -> Result<usize, AcquireError> {
        let mut watch = Watch::new();
        loop {
            // Asked before the permits are looked at, so that they are seen held after the last sleep.
            let late = deadline.is_some_and(Deadline::has_passed);
            // SYNC: Acquire <- `wake_the_waiter`'s Release: a permit that was released before is seen free.
            let releases = self.releases.load(Ordering::Acquire);
            if let Some(permit) = self.take_or_announce(thread) {
                return Ok(permit);
            }
            // Whoever holds permits: what is watched is how long none was free.
            if watch.is_due(TID_MASK) {
                watch.restart();
                self.permits.iter().for_each(|permit| permit.free_from_dead(thread));
                if let Some(permit) = self.take_or_announce(thread) {
                    return Ok(permit);
                }
            }
            if late {
                return Err(self.timed_out());
            }
            futex::wait(&self.releases, releases, slice::end_of_sleep(deadline));
        }
    }

    /// Takes a free permit; if there is none, each has been seen held with WAITERS set (W1).
    fn take_or_announce(&self, thread: Thread) -> Option<usize> {
        self.search(thread).find(|(_, permit)| permit.take_or_announce(thread)).map(|(index, _)| index)
    }

    #[cold]
    fn wake_the_waiter(&self) {
        // SYNC: Release -> `wait_for_permit`'s Acquire: the permit was given back before (W2).
        self.releases.fetch_add(1, Ordering::Release);
        futex::wake(&self.releases, 1);
    }

    fn timed_out(&self) -> AcquireError {
        AcquireError::TimedOut { owner: self.permits.iter().find_map(Lease::holder).unwrap_or(0) }
    }

    /// Why there is no permit for this thread: because it holds them all, or else `otherwise`.
    #[cold]
    fn refusal(&self, thread: Thread, otherwise: AcquireError) -> AcquireError {
        let all = thread.held() >= self.permits.len() && self.permits.iter().all(Lease::is_held);
        if all { AcquireError::Deadlock } else { otherwise }
    }
}

#[inline]
fn take_if_free(permit: &Lease, thread: Thread) -> bool {
    permit.word().load(Ordering::Relaxed) & TID_MASK == 0 && permit.try_take_unslept(thread)
}

impl<const N: usize> Default for RawPermits<[Lease; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for RawPermits<[Lease; N]> {
    type Target = RawPermits;

    fn deref(&self) -> &RawPermits {
        self
    }
}
