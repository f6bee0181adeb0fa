//! Time that is the thread's CPU time, so that what else the machine does is not counted.

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of `operations` calls.
#[inline(never)]
pub(crate) fn timed(operations: u64, mut operation: impl FnMut()) -> u64 {
    let begun = cpu_nanos();
    for _ in 0..operations {
        operation();
    }
    cpu_nanos() - begun
}

fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
