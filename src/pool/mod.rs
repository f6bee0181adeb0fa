//! [`Pool`]: functions called in a fixed number of processes.
//!
//! # Who does what
//! ```text
//! caller       encodes a task, and puts it in the task ring, or behind the backlog if that is full
//! worker       takes a task out of the ring, begins it, runs it, puts its result in the result ring; one at a time
//! reader       takes in results, in the order of the ring: whoever waits for one, else the pool's own thread (`raw/chair.rs`)
//! supervisor   the pool's other thread: sleeps on the workers' ends and wires, starts workers, ends those that take too long
//! ```
//! Which worker has which task is written in shared memory (`board.rs`), so that a worker that dies costs the task that it
//! had in its hands, and that task alone. When the supervisor sees that a worker has ended, it puts a message in the result
//! ring itself: whoever reads that has taken in all that the worker had put.
//!
//! While calls come one at a time one worker looks for them, awake (`raw/shift.rs`), on another processor than the caller
//! (`place.rs`); the other workers and the pool's own threads sleep, and the caller takes in its results itself.
//!
//! # The life of an entry in the pool's table
//! ```text
//! free      -> offered     the task is in the ring: its claim is PENDING, its load in the table
//! offered   -> free        its result has come, or the word that it was skipped, or its worker has ended with it in hand
//! ```
//! Every task in the ring leads to exactly one of these. The id of an entry has a generation: what comes for an earlier one is
//! nobody's.
//!
//! # Stages of a pool
//! ```text
//! Open      takes tasks; workers that end are replaced
//! Closed    takes none; when all are done the ring is closed and the workers end
//! Ended     terminated or broken: everything has failed; the workers are ended by signals
//! ```

mod board;
mod builder;
mod calls;
mod engine;
#[cfg(feature = "manager")]
mod foreign;
mod load;
mod message;
mod place;
#[expect(clippy::module_inception, reason = "a file is named after its type, and the type after the layer")]
mod pool;
mod reader;
mod runner;
mod state;
mod supervisor;
mod wire;
mod worker;

pub use builder::PoolBuilder;
pub(crate) use builder::Staffing;
pub(crate) use calls::{Calls, submit};
pub(crate) use engine::Engine;
#[cfg(feature = "manager")]
pub(crate) use foreign::{Job, outcomes};
pub use pool::Pool;
#[cfg(feature = "manager")]
pub(crate) use runner::Function;
