//! [`RawBarrier`]: a place where a number of threads wait for each other.
//!
//! ```text
//! bits 1-31 of the state: the cycle | bit 0 BROKEN
//!
//! state         wait, not the last            wait, the last                reset                      abort, time-out
//! cycle c       arrives: a lease, tagged c;   arrives, runs the action,     nobody arrived: nothing    WAKE_OP(OR BROKEN,
//!               FUTEX_WAIT on the state       WAKE_OP(ADD 1 cycle, all)     else: BROKEN, wipes the    wake all)
//!                                             -> cycle c + 1                tags c, -> cycle c + 1
//! c, BROKEN     refused                       refused                       wipes the tags c,          nothing
//!                                                                           -> cycle c + 1
//! c, and an arrival tagged c whose lease nobody holds: BROKEN, by the next to arrive or whose slice ends
//! ```
//!
//! An arrival is counted by its tag, so that there is no count to be wrong after a death. All of this happens under a
//! mutex, except for `abort` and sleeping. Each step is one atomic, the publishing ones are one system call with
//! their wake, so the mutex needs no repair when a holder died. The action runs outside the mutex. An arrival whose death
//! the kernel has not marked is found by the out-of-band check of `lease.rs`, which a waiter makes once a second.
//!
//! **Invariants.** (B1) The cycle moves without BROKEN being set before exactly when all parties of it have arrived and
//! the action has run. (B2) What became of a waiter's cycle c: while the state is c, nothing; c and BROKEN, broken;
//! otherwise completed, unless its tag was wiped, which happens before a broken cycle's number moves. So a waiter that
//! looks late, when others are cycles ahead, still learns what became of its own.
//!
//! The cycle has 31 bits: a waiter that is stopped while exactly 2^31 cycles pass waits for one more.
//!
//! **Fairness.** Indices are in the order of arrival; completing or breaking wakes everybody.
//!
//! **Ordering.** Arriving releases the mutex and the last one acquires it; completing is a full barrier and each waiter's look at
//! the state is Acquire: what was written before any arrival, or in the action, is seen by everybody who leaves.
#![allow(unsafe_code)]

use super::arrivals::{Arrival, Arrivals, BarrierHead};
use super::{AcquireError, BarrierError, Deadline};

/// A process-shared barrier with room for `N` threads at once: 48 bytes, and 48 for each. All-zero bytes are one of 0
/// parties, at which nobody can wait.
///
/// # Process death
/// A thread that dies while it waits breaks the barrier for the others, at the end of their slice at the latest. One that
/// dies before it has arrived has not arrived; one that dies in the action breaks the barrier.
///
/// # Examples
/// ```
/// use multiproc::raw::RawBarrier;
/// let barrier = RawBarrier::<2>::new(2);
/// let arrive = || {
///     // SAFETY: `barrier` stays where it is.
///     unsafe { barrier.wait(None, || ()) }
/// };
/// let places = std::thread::scope(|scope| {
///     let other = scope.spawn(arrive);
///     [arrive(), other.join().expect("it does not panic")]
/// });
/// assert!(places.contains(&Ok(0)) && places.contains(&Ok(1)));
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct RawBarrier<const N: usize = 64> {
    head: BarrierHead,
    arrivals: [Arrival; N],
}

impl<const N: usize> RawBarrier<N> {
    /// A barrier of this many parties. With more than `N`, nobody gets through.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::raw::RawBarrier::<4>::new(3);
    /// assert_eq!((barrier.parties(), barrier.waiting()), (3, 0));
    /// ```
    #[must_use]
    pub fn new(parties: u32) -> Self {
        let head = BarrierHead::default();
        head.set_parties(parties);
        Self { head, arrivals: core::array::from_fn(|_| Arrival::default()) }
    }

    /// Waits until all parties have arrived, or until `deadline`, which breaks the barrier. The last one to arrive runs
    /// `action` before anybody leaves. Returns the place in the order of arrival, from 0.
    ///
    /// If the action panics the barrier is broken.
    ///
    /// # Errors
    /// `Broken`, `TimedOut`; `Mutex` with what taking a lease or the barrier's own mutex gave.
    ///
    /// # Safety
    /// The memory must stay mapped and in place until the call has returned.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawBarrier;
    /// let barrier = RawBarrier::<1>::new(1);
    /// let mut acted = false;
    /// // SAFETY: `barrier` stays where it is.
    /// assert_eq!(unsafe { barrier.wait(None, || acted = true) }, Ok(0));
    /// assert!(acted);
    /// ```
    pub unsafe fn wait(
        &self,
        deadline: Option<Deadline>,
        action: impl FnOnce(),
    ) -> Result<u32, BarrierError> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.table().wait(deadline, action) }
    }

    /// Makes the barrier usable again; who waits at it is told that it was broken.
    ///
    /// # Errors
    /// What taking the barrier's own mutex gave.
    ///
    /// # Safety
    /// The memory must stay mapped and in place until the call has returned.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::RawBarrier;
    /// let barrier = RawBarrier::<2>::new(2);
    /// barrier.abort();
    /// // SAFETY: `barrier` stays where it is.
    /// assert_eq!(unsafe { barrier.reset() }, Ok(()));
    /// assert!(!barrier.is_broken());
    /// ```
    pub unsafe fn reset(&self) -> Result<(), AcquireError> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.table().reset() }
    }

    /// Breaks the barrier: who waits at it, or comes to it, is told so.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{BarrierError, RawBarrier};
    /// let barrier = RawBarrier::<2>::new(2);
    /// barrier.abort();
    /// // SAFETY: `barrier` stays where it is.
    /// assert_eq!(unsafe { barrier.wait(None, || ()) }, Err(BarrierError::Broken));
    /// ```
    pub fn abort(&self) {
        self.table().abort();
    }

    /// How many must arrive.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawBarrier::<4>::new(3).parties(), 3);
    /// ```
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.head.parties()
    }

    /// How many have arrived and wait, at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawBarrier::<4>::new(3).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.table().waiting()
    }

    /// Whether the barrier is broken.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiproc::raw::RawBarrier::<2>::new(2);
    /// assert!(!barrier.is_broken());
    /// barrier.abort();
    /// assert!(barrier.is_broken());
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.head.is_broken()
    }

    pub(super) fn table(&self) -> Arrivals<'_> {
        Arrivals { head: &self.head, entries: &self.arrivals }
    }
}
