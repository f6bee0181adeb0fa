//! The thread twin: [`Process`] and [`Pool`] on threads of this process, with any closure.
//!
//! The methods are those of [`crate::Process`] and `crate::Pool`, so that a program can be tried on threads first, or moved to
//! processes later. Locks, values, queues, connections and the like are the same types on both. What threads can't do is not
//! here: they can't be killed, so there is no `kill`, no time limit of a task, no replacement of workers.

mod children;
mod current;
mod pool;
mod process;

pub use crate::connection::{one_way_pipe, pipe};
pub use crate::task::{AsyncResult, MapOptions, Results, TaskError};
pub use children::{ActiveChild, active_children};
pub use current::{CurrentProcess, current_process};
pub use pool::{Pool, PoolBuilder};
pub use process::{Process, ProcessBuilder};

/// [`Pool`], by Python's name.
///
/// # Examples
/// ```
/// let pool = multiproc::threads::ThreadPool::new(2)?;
/// assert_eq!(pool.map(|n: u32| n + 1, [1, 2])?, [2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub type ThreadPool = Pool;
