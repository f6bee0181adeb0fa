//! How long one sleep may last before the sleeper looks around again.
//!
//! No wake-up depends on it: the protocols lose none. The slice bounds the delay on kernels whose exit walk wakes
//! less than ours, after corruption, behind a stopped process, and where a death must be noticed by somebody who
//! sleeps on another word.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Deadline;

/// The slice in milliseconds; 0 is "off".
static SLICE_MILLIS: AtomicU32 = AtomicU32::new(100);

/// When a sleep that starts now should end: at the caller's deadline or after a slice, whichever is first.
pub(crate) fn end_of_sleep(deadline: Option<Deadline>) -> Option<Deadline> {
    // Relaxed: a setting, it publishes nothing.
    match SLICE_MILLIS.load(Ordering::Relaxed) {
        0 => deadline,
        millis => match Deadline::after(Duration::from_millis(u64::from(millis))) {
            Some(end) => Some(end.earlier(deadline)),
            None => deadline,
        },
    }
}

/// Sets the slice of this process and its forks; `None` turns slices off, so that a test proves a wake and not a time-out.
pub fn set_sleep_slice(slice: Option<Duration>) {
    let millis = slice.map_or(0, |slice| u32::try_from(slice.as_millis()).unwrap_or(u32::MAX).max(1));
    SLICE_MILLIS.store(millis, Ordering::Relaxed);
}
