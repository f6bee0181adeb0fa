//! Python's multiprocessing for Rust, on process-shared primitives in mapped memory.

mod error;
#[cfg(all(feature = "process", not(loom)))]
pub mod process;
mod sys;
#[cfg(feature = "serde")]
mod transfer;

pub use error::{Error, Result};
#[cfg(all(feature = "process", not(loom)))]
pub use process::{Process, ProcessError, init};
