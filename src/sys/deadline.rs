//! [`Deadline`]: an absolute time on `CLOCK_MONOTONIC`, the only clock that the crate waits by.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// A point in time at which a wait gives up. "No deadline" is `Option::<Deadline>::None`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::raw::{Deadline, RawEvent};
/// let event = RawEvent::new();
/// assert!(!event.wait(Deadline::after(Duration::from_millis(1))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    secs: i64,
    nanos: i64,
}

impl Deadline {
    /// The present moment.
    ///
    /// # Examples
    /// ```
    /// assert!(multiproc::raw::Deadline::now().has_passed());
    /// ```
    pub fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        Self { secs: tv_sec, nanos: tv_nsec }
    }

    /// The moment `timeout` from now; `None`, which waits for ever, if that is beyond what the clock can say.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::raw::Deadline;
    /// assert!(Deadline::after(Duration::from_secs(60)).is_some_and(|deadline| !deadline.has_passed()));
    /// assert_eq!(Deadline::after(Duration::MAX), None);
    /// ```
    pub fn after(timeout: Duration) -> Option<Self> {
        Self::now().plus(timeout)
    }

    /// The moment of `instant`, which may have passed.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    /// use multiproc::raw::Deadline;
    /// assert!(Deadline::at(Instant::now()).is_some_and(Deadline::has_passed));
    /// ```
    pub fn at(instant: Instant) -> Option<Self> {
        Self::after(instant.saturating_duration_since(Instant::now()))
    }

    /// `self` moved `duration` later, or `None` if the clock can't say that.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::raw::Deadline;
    /// let now = Deadline::now();
    /// assert!(now.plus(Duration::from_secs(1)) > Some(now));
    /// ```
    pub fn plus(self, duration: Duration) -> Option<Self> {
        let secs = i64::try_from(duration.as_secs()).ok()?;
        let nanos = self.nanos.checked_add(i64::from(duration.subsec_nanos()))?;
        let carry = i64::from(nanos >= NANOS_PER_SEC);
        Some(Self {
            secs: self.secs.checked_add(secs)?.checked_add(carry)?,
            nanos: nanos - carry * NANOS_PER_SEC,
        })
    }

    /// Whether the moment has come.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::raw::Deadline;
    /// assert!(Deadline::now().has_passed());
    /// assert!(!Deadline::now().plus(Duration::from_secs(60)).expect("it is soon").has_passed());
    /// ```
    pub fn has_passed(self) -> bool {
        self <= Self::now()
    }

    /// The time left, zero once the moment has come.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::raw::Deadline;
    /// assert_eq!(Deadline::now().remaining(), Duration::ZERO);
    /// ```
    pub fn remaining(self) -> Duration {
        let now = Self::now();
        if self <= now {
            return Duration::ZERO;
        }
        let borrow = i64::from(self.nanos < now.nanos);
        let secs = self.secs - now.secs - borrow;
        let nanos = self.nanos - now.nanos + borrow * NANOS_PER_SEC;
        Duration::new(secs.unsigned_abs(), u32::try_from(nanos).unwrap_or(0))
    }

    /// The earlier of this moment and an optional one.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiproc::raw::Deadline;
    /// let (now, later) = (Deadline::now(), Deadline::after(Duration::from_secs(60)));
    /// assert_eq!(now.earlier(later), now);
    /// assert_eq!(now.earlier(None), now);
    /// ```
    pub fn earlier(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| self.min(other))
    }

    pub(crate) fn timespec(self) -> Timespec {
        Timespec { tv_sec: self.secs, tv_nsec: self.nanos }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_carried() {
        let start = Deadline { secs: 1, nanos: 999_999_999 };
        let end = start.plus(Duration::from_nanos(2)).unwrap();
        assert_eq!(end, Deadline { secs: 2, nanos: 1 });
    }

    #[test]
    fn an_endless_timeout_is_no_deadline() {
        assert_eq!(Deadline::after(Duration::MAX), None);
    }

    #[test]
    fn remaining_is_zero_after_the_moment() {
        assert_eq!(Deadline { secs: 0, nanos: 0 }.remaining(), Duration::ZERO);
        let hour = Deadline::after(Duration::from_secs(3600)).unwrap().remaining();
        assert!(hour > Duration::from_secs(3000) && hour <= Duration::from_secs(3600));
    }

    #[test]
    fn a_past_instant_has_passed() {
        assert!(Deadline::at(Instant::now()).unwrap().has_passed());
    }
}
