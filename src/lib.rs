//! Python's multiprocessing for Rust, on process-shared primitives that a SIGKILL can neither wedge nor corrupt.

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
compile_error!(
    "multiproc needs 64-bit Linux with glibc: it stands on glibc's robust list and on memfd, futex and pidfd"
);

mod error;
pub mod raw;
mod sys;

pub use error::{Error, Result};

/// Settings for this crate's own tests. Not part of the public interface.
#[doc(hidden)]
#[cfg(not(all(test, loom)))]
pub mod testing {
    pub use crate::sys::slice::set_sleep_slice;
}
