//! Python's `concurrent.futures`: executors, and futures of what they were given to do.
//!
//! | Python | here |
//! |---|---|
//! | `ThreadPoolExecutor(n)`, `ProcessPoolExecutor(n)` | [`ThreadPoolExecutor::new`], [`ProcessPoolExecutor::new`] |
//! | `executor.submit(f, x)` | [`Executor::submit`], or the executor's own, which takes closures on threads |
//! | `executor.map(f, xs)` | [`Executor::map`]: ordered, lazy, with a bounded buffer |
//! | `wait(fs, timeout, return_when)` | [`wait`] |
//! | `as_completed(fs, timeout)` | [`as_completed`] |
//! | `with executor:` | the executor's drop: it waits for what was submitted |
//!
//! Futures of all executors are of one type and can be waited for together.

mod as_completed;
mod executor;
mod process_pool;
mod thread_pool;
mod wait;

pub use crate::task::{Awaited, Future, MapOptions, Results, TaskError};
pub use as_completed::{AsCompleted, Unfinished, as_completed};
pub use executor::{Executor, Shutdown};
pub use process_pool::{ProcessPoolExecutor, ProcessPoolExecutorBuilder};
pub use thread_pool::{ThreadPoolExecutor, ThreadPoolExecutorBuilder};
pub use wait::{ReturnWhen, Waited, wait};
