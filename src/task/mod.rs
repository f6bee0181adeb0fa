//! Layer 5: tasks and their results, whoever runs them.
//!
//! A task is a function called elsewhere. All pools and executors share what is here: the state of a task with its result
//! (`core.rs`, which users hold as a [`Future`] or an [`AsyncResult`]), the results of a map, gathered or streamed, and the
//! crew of threads.

mod async_result;
mod core;
mod crew;
mod driver;
mod error;
mod future;
mod gather;
mod launch;
mod options;
mod results;
mod sink;
mod stream;
mod watcher;

pub(crate) use self::core::{Callbacks, Core};
pub use async_result::AsyncResult;
pub(crate) use crew::{Calls, Crew, CrewInitializer, CrewOptions, call, crew_initializer};
pub(crate) use driver::Driver;
#[cfg(feature = "manager")]
pub(crate) use error::text as panic_text;
pub use error::{PoolStillRunning, TaskError};
pub use future::{Awaited, Future};
pub(crate) use gather::gather;
pub(crate) use launch::Launch;
pub use options::MapOptions;
pub(crate) use results::Manner;
pub use results::Results;
pub(crate) use sink::{Chunks, Outcomes, Sink, missing};
pub(crate) use watcher::Watcher;
