//! Numbers that are the same in every run, and how long tests that need luck go on.
#![allow(dead_code)]

use std::time::Duration;

/// Marsaglia's xorshift64 (Journal of Statistical Software 8(14), 2003).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// One below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::from(self.next()) % end
    }

    /// An index of something `len` long.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.next() as usize % len
    }
}

/// `usual`, or as many seconds as the environment variable `STRESS_SECONDS` says.
pub(crate) fn stress_time(usual: Duration) -> Duration {
    let seconds = std::env::var("STRESS_SECONDS").ok();
    seconds.map_or(usual, |seconds| Duration::from_secs_f64(seconds.parse().expect("a number of seconds")))
}
