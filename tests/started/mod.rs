//! What holds for a process however it was started: the tests of `process.rs` and `zygote.rs`.

mod cases;
mod lifetimes;

use multiproc::{Process, ProcessBuilder, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::METHOD;

/// `Process::builder`, with the method of this program.
pub(crate) fn builder() -> ProcessBuilder {
    Process::builder().start_method(METHOD)
}

/// `Process::spawn`, with the method of this program.
pub(crate) fn spawn<A, R>(f: fn(A) -> R, args: A) -> Result<Process<R>>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    builder().spawn(f, args)
}
