//! [`RawEvent`]: a flag that can be waited for.
//!
//! ```text
//! word = generation << 2 | SLEEPERS << 1 | SET
//!
//! (SLEEPERS, SET)  set                                clear                      a waiter that came in generation g
//! (0, 0)           CAS -> (0, 1)                      nothing                    g: CAS -> (1, 0); g passed: returns
//! (1, 0)           WAKE_OP(OR SET, wake all) -> (1,1) nothing                    g: FUTEX_WAIT; g passed: returns
//! (-, 1)           nothing                            CAS -> generation+1, (0,0) returns
//! ```
//!
//! A publish with sleepers is one system call, so a SIGKILL can't separate the flag from the wake. `clear` moves the
//! generation: who was waiting when the event was set returns even when it was cleared before the waiter ran.
//! The generation has 30 bits; a waiter that sleeps through exactly 2^30 pulses waits for the next. A waiter announces itself
//! as a sleeper after it has spun for a while in vain, so that partners who are awake need no system call.
//!
//! **Fairness.** `set` wakes everybody.

use core::sync::atomic::Ordering;

use super::Deadline;
use crate::sys::atomic::AtomicU32;
use crate::sys::futex::{self, Change};
use crate::sys::{slice, spin};

const SET: u32 = 1;
const SLEEPERS: u32 = 2;
const GENERATION: u32 = 4;

/// A process-shared event of 4 bytes. All-zero bytes are one that is not set.
///
/// # Process death
/// Nobody holds an event. A process killed in `set` has set the event and woken its waiters, or has done neither.
///
/// # Examples
/// ```
/// use multiproc::raw::RawEvent;
/// let event = RawEvent::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| event.set());
///     assert!(event.wait(None));
/// });
/// ```
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct RawEvent {
    word: AtomicU32,
}

impl RawEvent {
    /// An event that is not set.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::raw::RawEvent::new().is_set());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Sets the event and wakes everybody who waits for it.
    ///
    /// # Examples
    /// ```
    /// let event = multiproc::raw::RawEvent::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen & SLEEPERS != 0 && seen & SET == 0 {
                // SYNC: a full barrier -> `wait`'s Acquire: publishes what the setter did before.
                futex::wake_op(&self.word, Change::Or(1), futex::ALL);
                return;
            }
            // SYNC: Release -> `wait`'s and `is_set`'s Acquire: publishes what the setter did before, also when the
            // event was set already.
            match self.word.compare_exchange(seen, seen | SET, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Clears the event. Who was waiting when it was set still returns.
    ///
    /// # Examples
    /// ```
    /// let event = multiproc::raw::RawEvent::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & SET != 0 {
            let cleared = (seen & !(SET | SLEEPERS)).wrapping_add(GENERATION);
            // SYNC: AcqRel: hands on to a waiter, which sees only the generation moved, what the setter released.
            match self.word.compare_exchange(seen, cleared, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether the event is set.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiproc::raw::RawEvent::new().is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        // SYNC: Acquire <- `set`'s Release: what the setter did before is seen.
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Waits until the event is set, or until `deadline`; false if it passed first.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Deadline, RawEvent};
    /// let event = RawEvent::new();
    /// assert!(!event.wait(Some(Deadline::now())));
    /// event.set();
    /// assert!(event.wait(None));
    /// ```
    #[inline]
    pub fn wait(&self, deadline: Option<Deadline>) -> bool {
        // SYNC: Acquire <- `set`'s Release: what the setter did before is seen.
        let seen = self.word.load(Ordering::Acquire);
        seen & SET != 0 || self.wait_while_in(seen / GENERATION, deadline)
    }

    /// Ends a [`wait`](RawEvent::wait) that began in this generation, before the event was set.
    #[cold]
    fn wait_while_in(&self, generation: u32, deadline: Option<Deadline>) -> bool {
        // SYNC: Acquire <- `set`'s and `clear`'s Release: what the setter did before is seen.
        let look = || self.word.load(Ordering::Acquire);
        let is_over = |seen: u32| seen & SET != 0 || seen / GENERATION != generation;
        if deadline.is_none_or(|deadline| !deadline.has_passed())
            && spin::spin(&self.word, || is_over(look()).then_some(())).is_some()
        {
            return true;
        }
        loop {
            let seen = look();
            if is_over(seen) {
                return true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return false;
            }
            // Relaxed: announces a sleeper; the kernel compares the word again under its own lock.
            let announced = seen & SLEEPERS != 0
                || self
                    .word
                    .compare_exchange(seen, seen | SLEEPERS, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if announced {
                futex::wait(&self.word, seen | SLEEPERS, slice::end_of_sleep(deadline));
            }
        }
    }
}
