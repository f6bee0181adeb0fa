//! [`RawSemaphore`]: a count of permissions.
//!
//! ```text
//! bits 32-63 count | bit 31 WAITERS | bit 30 POSITIVE, set iff the count is not 0 | bits 0-29 always 0
//!
//! state               acquire                         release (refused at the maximum)
//! 0                   CAS -> W                        CAS -> 1
//! W (somebody sleeps) FUTEX_WAIT on the low half      CAS -> W + 1, then (*)
//! n > 0               CAS -> n - 1                    CAS -> n + 1
//! W + n               CAS -> W + n - 1                CAS -> W + n + 1, then (*)
//! any, and a thread for which it is pending dies: the kernel wakes 1
//!
//! (*) hint "crowd" clear: WAKE_OP(clear W, wake all); more than one there: hint set
//!     hint "crowd" set:   wake 1; nobody there: hint clear, WAKE_OP(clear W, wake all)
//! ```
//!
//! A lone sleeper's W goes with its sleep, so that the next release asks the kernel for nobody. Of a crowd each release
//! wakes one.
//!
//! The low half is the futex. It carries no thread id, so that it can be a thread's pending word: pending for a releaser
//! from before the count moves until after the wake, and for an acquirer from before it sleeps until it has a permission
//! or has given up. The kernel compares POSITIVE with the rest, so nobody falls asleep once the count has moved.
//!
//! **Invariants.** (P1) Somebody sleeps => WAITERS is set: only the system call that wakes everybody clears it. (P2) The
//! count is n and somebody sleeps => at least n threads are awake for which the word is pending, or the kernel owes their
//! wakes: each release finds WAITERS and wakes one, and who is woken takes one, or finds none, or dies and the kernel
//! wakes another. (P3) Who gives up has seen 0 after its last sleep.
//!
//! **Fairness.** None: whoever comes first once the count is positive takes a permission (barging). A sleeper is woken by
//! each release until it gets one.
//!
//! **Ordering.** A release is Release, an acquire is Acquire, and whatever lies between in the word is a
//! read-modify-write: who takes a permission sees what was written before each release of those counted by then.

use core::sync::atomic::Ordering;

use super::Deadline;
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::futex::{self, Change, Half};
use crate::sys::robust::Thread;
use crate::sys::{slice, spin};

const WAITERS_BIT: u16 = 31;
const WAITERS: u32 = 1 << WAITERS_BIT;
const POSITIVE: u32 = 1 << 30;
const COUNT_SHIFT: u32 = 32;
const ONE: u64 = 1 << COUNT_SHIFT;
/// One permission, and nobody sleeps.
const LAST: u64 = ONE | 1 << 30;
/// All bits but those that are always 0.
const BITS: u64 = !0x3fff_ffff;

/// A process-shared counting semaphore of 16 bytes. All-zero bytes are one of count 0 without a maximum.
///
/// # Process death
/// A permission is not tied to a process: one that a killed process had acquired is gone, and any process may release.
/// A process killed in `acquire` has taken a permission or has not, killed in `release` has given one or has not, and
/// in neither case is anybody left asleep beside a positive count.
///
/// # Examples
/// ```
/// use multiproc::raw::RawSemaphore;
/// let items = RawSemaphore::new(0);
/// std::thread::scope(|scope| {
///     scope.spawn(|| items.release());
///     assert!(items.acquire(None));
/// });
/// assert_eq!(items.value(), 0);
/// ```
#[repr(C)]
#[derive(Debug, Default)]
pub struct RawSemaphore {
    state: AtomicU64,
    /// `u32::MAX` minus the maximum, so that zero bytes mean none.
    withheld: AtomicU32,
    /// A hint: not 0 if the last wake of all found more than one.
    crowd: AtomicU32,
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<RawSemaphore>() == 16);

impl RawSemaphore {
    /// A semaphore of this count.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawSemaphore::new(3).value(), 3);
    /// ```
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self::bounded(count, u32::MAX)
    }

    /// A semaphore of this count that can't be released beyond `max`.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiproc::raw::RawSemaphore::bounded(0, 1);
    /// assert!(semaphore.release());
    /// assert!(!semaphore.release());
    /// ```
    #[must_use]
    pub fn bounded(count: u32, max: u32) -> Self {
        let semaphore = Self::default();
        semaphore.set_up(count, max);
        semaphore
    }

    /// Makes this the semaphore that [`RawSemaphore::bounded`] makes. For memory that nobody else uses yet.
    pub(crate) fn set_up(&self, count: u32, max: u32) {
        // Relaxed, both: handing the memory to others publishes them.
        self.state.store(state_of(count, false), Ordering::Relaxed);
        self.withheld.store(u32::MAX.saturating_sub(max), Ordering::Relaxed);
    }

    /// Takes a permission, waiting until `deadline` or for as long as it takes; false if the deadline passed first.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Deadline, RawSemaphore};
    /// let semaphore = RawSemaphore::new(1);
    /// assert!(semaphore.acquire(None));
    /// assert!(!semaphore.acquire(Some(Deadline::now())));
    /// ```
    #[inline]
    pub fn acquire(&self, deadline: Option<Deadline>) -> bool {
        self.try_acquire() || self.acquire_contended(deadline)
    }

    /// Takes a permission if there is one.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiproc::raw::RawSemaphore::new(1);
    /// assert!(semaphore.try_acquire());
    /// assert!(!semaphore.try_acquire());
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let mut seen = self.state.load(Ordering::Relaxed);
        // The compare-and-swap of constants need not wait for the load.
        // SYNC: Acquire <- as below.
        if seen == LAST && self.state.compare_exchange(LAST, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            return true;
        }
        while let Some(taken) = one_less(seen) {
            // SYNC: Acquire <- `release`'s Release: what was written before the permission was released is seen.
            match self.state.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Gives a permission; false, and nothing is changed, if that is beyond the maximum.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiproc::raw::RawSemaphore::new(1);
    /// assert!(semaphore.release());
    /// assert_eq!(semaphore.value(), 2);
    /// ```
    #[inline]
    pub fn release(&self) -> bool {
        let mut seen = self.state.load(Ordering::Relaxed);
        // As in `try_acquire`; only a maximum of 0 refuses the first one.
        // SYNC: Release -> as below.
        if seen == 0
            && self.withheld.load(Ordering::Relaxed) != u32::MAX
            && self.state.compare_exchange(0, LAST, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            return true;
        }
        while !has_waiters(seen) {
            let Some(given) = self.one_more(seen) else { return false };
            // SYNC: Release -> `try_acquire`'s Acquire: publishes what was written before.
            match self.state.compare_exchange(seen, given, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        self.release_contended(seen)
    }

    /// The count at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::RawSemaphore::new(3).value(), 3);
    /// ```
    #[must_use]
    pub fn value(&self) -> u32 {
        count_of(self.state.load(Ordering::Relaxed)) // Relaxed: an answer that is old at once.
    }

    /// Sets the hint as after a wake of several.
    #[cfg(all(test, loom))]
    pub(super) fn expect_a_crowd(&self) {
        self.crowd.store(1, Ordering::Relaxed);
    }

    #[cold]
    fn acquire_contended(&self, deadline: Option<Deadline>) -> bool {
        if deadline.is_none_or(|deadline| !deadline.has_passed()) && self.spin() {
            return true;
        }
        // Where robust lists don't work, the slice alone passes a killed thread's wake on.
        let thread = Thread::current().ok();
        thread.inspect(|thread| thread.set_pending_word(self.word()));
        let acquired = self.sleep_and_acquire(deadline);
        thread.inspect(Thread::clear_pending);
        acquired
    }

    /// With the word pending.
    fn sleep_and_acquire(&self, deadline: Option<Deadline>) -> bool {
        loop {
            // Asked before the count is looked at, so that 0 is seen after the last sleep (P3).
            let late = deadline.is_some_and(Deadline::has_passed);
            let seen = self.state.load(Ordering::Relaxed);
            if let Some(taken) = one_less(seen) {
                // SYNC: Acquire <- `release`'s Release: what was written before the permission was released is seen.
                if self.state.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return true;
                }
                continue;
            }
            if late {
                return false;
            }
            // Relaxed: announces a sleeper; the kernel compares the word again under its own lock. What a foreign hand
            // wrote into the other bits goes.
            let asleep = state_of(0, true);
            let announced = seen == asleep
                || self.state.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if announced {
                futex::wait(self.word(), WAITERS, slice::end_of_sleep(deadline));
            }
        }
    }

    #[cold]
    fn release_contended(&self, seen: u64) -> bool {
        let thread = Thread::current().ok();
        thread.inspect(|thread| thread.set_pending_word(self.word()));
        let released = self.release_and_wake(seen);
        thread.inspect(Thread::clear_pending);
        released
    }

    /// With the word pending.
    fn release_and_wake(&self, mut seen: u64) -> bool {
        loop {
            let Some(given) = self.one_more(seen) else { return false };
            // SYNC: Release -> `try_acquire`'s Acquire: publishes what was written before.
            match self.state.compare_exchange(seen, given, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if has_waiters(seen) {
            self.wake();
        }
        true
    }

    /// Wakes one, or all and clears WAITERS.
    fn wake(&self) {
        // Relaxed, here and below: only a hint.
        if self.crowd.load(Ordering::Relaxed) != 0 {
            if futex::wake(self.word(), 1) > 0 {
                return;
            }
            self.crowd.store(0, Ordering::Relaxed);
        }
        // Whoever falls asleep before this call is woken by it (P1).
        if futex::wake_op_low(&self.state, Change::ClearBit(WAITERS_BIT), futex::ALL) > 1 {
            self.crowd.store(1, Ordering::Relaxed);
        }
    }

    /// What is slept on.
    fn word(&self) -> futex::Word<'_> {
        futex::half(&self.state, Half::Low)
    }

    /// `seen` with one permission more, if the maximum allows it.
    #[inline]
    fn one_more(&self, seen: u64) -> Option<u64> {
        // Relaxed: written before the semaphore was shared.
        let max = u32::MAX.saturating_sub(self.withheld.load(Ordering::Relaxed));
        (count_of(seen) < max).then(|| (seen & BITS).wrapping_add(ONE) | u64::from(POSITIVE))
    }

    /// Waits a little without sleeping, where that pays. Also beside sleepers: WAITERS outlives them, and a release that
    /// finds none clears it.
    fn spin(&self) -> bool {
        let has_permission = || count_of(self.state.load(Ordering::Relaxed)) != 0;
        spin::spin(&self.state, || (has_permission() && self.try_acquire()).then_some(())).is_some()
    }
}

fn state_of(count: u32, waiters: bool) -> u64 {
    let positive = if count == 0 { 0 } else { POSITIVE };
    let waiters = if waiters { WAITERS } else { 0 };
    u64::from(count) << COUNT_SHIFT | u64::from(positive | waiters)
}

/// `state` with one permission less, if it has one.
#[inline]
fn one_less(state: u64) -> Option<u64> {
    // The compare-and-swap waits for this: few operations, one after another.
    let bits = if count_of(state) == 1 { BITS & !u64::from(POSITIVE) } else { BITS };
    (count_of(state) != 0).then(|| state.wrapping_sub(ONE) & bits)
}

#[inline]
fn count_of(state: u64) -> u32 {
    u32::try_from(state >> COUNT_SHIFT).unwrap_or(0)
}

#[inline]
fn has_waiters(state: u64) -> bool {
    state & u64::from(WAITERS) != 0
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// What a releaser leaves that is killed between the count and the wake.
    #[test]
    fn a_thread_that_dies_with_the_word_pending_wakes_a_sleeper() {
        const SOON: Duration = Duration::from_secs(20);
        let semaphore = RawSemaphore::new(0);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            semaphore.state.store(state_of(0, true), Ordering::Relaxed);
            let word = semaphore.word();
            let sleeper = scope.spawn(move || {
                tell.send(rustix::thread::gettid()).unwrap();
                // One sleep, so that nothing but a wake ends it.
                futex::wait(word, WAITERS, Deadline::after(SOON));
            });
            let tid = told.recv().unwrap().as_raw_nonzero();
            let asleep = || {
                let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
                stat.rsplit_once(") ").unwrap().1.starts_with('S')
            };
            while !asleep() {
                std::thread::yield_now();
            }
            let releaser = scope.spawn(|| {
                Thread::current().unwrap().set_pending_word(semaphore.word());
                semaphore.state.store(state_of(1, true), Ordering::Relaxed);
            });
            releaser.join().unwrap();
            sleeper.join().unwrap();
        });
        assert!(begun.elapsed() < SOON, "slept until its deadline");
        assert!(semaphore.try_acquire());
        assert!(!semaphore.try_acquire());
    }

    #[test]
    fn what_a_foreign_hand_wrote_beside_the_count_is_cleared() {
        let semaphore = RawSemaphore::new(0);
        semaphore.state.store(u64::from(u32::MAX), Ordering::Relaxed);
        let begun = Instant::now();
        // Not by one whose time is over before it looks.
        while semaphore.state.load(Ordering::Relaxed) != state_of(0, true) {
            assert!(!semaphore.acquire(Deadline::after(Duration::from_millis(5))));
            assert!(begun.elapsed() < Duration::from_secs(20), "not cleared");
        }
        assert!(semaphore.release());
        assert!(semaphore.acquire(None));
    }

    #[test]
    fn a_count_does_not_overflow() {
        let semaphore = RawSemaphore::new(u32::MAX);
        assert!(!semaphore.release());
        assert_eq!(semaphore.value(), u32::MAX);
        assert!(semaphore.try_acquire());
        assert!(semaphore.release());
    }
}
