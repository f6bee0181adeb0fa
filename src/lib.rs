//! Python's multiprocessing for Rust, on process-shared primitives that a SIGKILL can neither wedge nor corrupt.
//!
//! Run a plain function in another process, and share locks, values, arrays and queues with it: no set-up, no server, no
//! files. Pools, futures, pipes and sockets are there too, and the same on threads. Kill any process at any instruction:
//! nobody else hangs, nothing committed is lost, and what it was working on goes to another. For 64-bit Linux with glibc.
//!
//! # A first program
//! ```
//! use multiproc::{JoinableQueue, Process, Queue};
//!
//! fn worker((jobs, squares): (JoinableQueue<u64>, Queue<(u64, u64)>)) {
//!     for job in jobs.tasks() {
//!         squares.put((*job, *job * *job)).expect("the parent reads until we end");
//!         job.done(); // Killed before this, it leaves the job to another worker.
//!     }
//! }
//!
//! fn main() -> multiproc::Result<()> {
//!     let (jobs, squares) = (JoinableQueue::unbounded()?, Queue::unbounded()?);
//!     let mut workers = Vec::new();
//!     for _ in 0..2 {
//!         workers.push(Process::builder().daemon(true).spawn(worker, (jobs.clone(), squares.clone()))?);
//!     }
//!     for n in 1..=3 {
//!         jobs.put(n)?;
//!     }
//!     jobs.join()?;
//!     jobs.shutdown();
//!     for mut worker in workers {
//!         worker.join()?;
//!     }
//!     squares.shutdown();
//!     assert_eq!(squares.iter().map(|(_, square)| square).sum::<u64>(), 14);
//!     Ok(())
//! }
//! ```
//! A process is a copy of the program's executable, in which the library calls the function before `main`. Daemons end with the
//! program, however it ends; others it waits for. Structures of your own need `serde` with its feature `derive` to travel, and
//! `bytemuck` with its to be in a [`Value`] or an [`Array`].
//!
//! # The guide
//! - [From Python](guide::from_python): each example of a tutorial, Python beside Rust.
//! - [Process death](guide::process_death): what becomes of each object, and what to do.
//! - [Embedding](guide::embedding): robust locks in a structure of your own.
//! - [Containers](guide::containers): `/dev/shm`, limits, namespaces, seccomp.
//! - [Questions](guide::faq): why things are as they are.
//!
//! # Which type do I want?
//!
//! | I want to | I take |
//! |---|---|
//! | run a function in another process | [`Process::spawn`] |
//! | call a function with many values, in several processes | [`Pool`] |
//! | have futures of what processes do, as in Python's `concurrent.futures` | [`futures::ProcessPoolExecutor`] |
//! | call functions on threads, and have futures of their results | [`futures::ThreadPoolExecutor`], [`threads::Pool`] |
//! | hand out jobs, and have those of a killed worker done by another | [`JoinableQueue`], [`JoinableQueue::tasks`] |
//! | pass values between processes | [`Queue`]; plain data at full speed: [`PlainQueue`] |
//! | talk with one process, both ways, or pass on handles and descriptors | [`pipe`], [`Connection`] |
//! | talk with another program, also over a network | [`Listener`], [`Client`] |
//! | share dictionaries, lists and locks with programs that share no memory with mine, also over a network | `Manager` (feature `manager`) |
//! | wait for several connections and processes at once | [`connection::wait`] |
//! | share one value, read without waiting and never torn | [`Value`] |
//! | share many elements under one lock | [`Array`] |
//! | share a counter, or many, without a lock | [`RawValue`], [`RawArray`] |
//! | change several of them together | [`Value::with_lock`], [`Array::with_lock`], [`Value::with_rlock`] |
//! | choose the C type at run time, by Python's code | [`DynValue`], [`DynArray`], [`TypeCode`] |
//! | let one process at a time do something | [`Lock`]; within functions that call each other: [`RLock`] |
//! | let a few processes at a time do something | [`Permits`]; where another one releases: [`Semaphore`], [`BoundedSemaphore`] |
//! | wait until something is so | [`Condition`] |
//! | tell other processes that something has happened | [`Event`] |
//! | have processes wait for each other | [`Barrier`] |
//! | share objects with another program, by name | [`Segment::create`], [`Segment::open`] |
//! | put a robust lock or a ring into a struct of my own | [`raw`], [`Segment::place`] |
//!
//! Whatever is shared (locks, signals, values, arrays, queues, segments) is a *handle*: it is cheap to clone, Send and Sync, the
//! same object in every process, and travels in the arguments and results of a [`Process`] and over a [`Connection`]. Its memory
//! is an anonymous, sealed, reserved file, which goes with its last handle: nothing is left in `/dev/shm`, whoever is killed.
//!
//! One grammar for time: `op` waits, `try_op` does not, `op_timeout` waits for so long, and, for what is shared, `op_deadline`
//! until then. Every error converts into [`Error`] by `?`.
//!
//! # Process death
//! A process may be killed between any two instructions. Whoever waits for something that it held goes on, and nothing
//! that it had committed is lost; each type says under this heading what that means for it. The threat model, the
//! invariants and the evidence are in SAFETY.md.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `serde` | yes | queues, and handles in messages |
//! | `process` | yes | [`Process`], [`Pool`], [`futures`], [`threads`], [`Connection`] |
//! | `auto-init` | yes | spawned copies of this executable become workers before `main`; without it, call [`init`] |
//! | `tokio` | no | `AsyncConnection`, and `Process::wait` |
//! | `manager` | no | `Manager`, shared objects behind a server |
//! | `derive` | no | `#[derive(Share)]`, for a structure of one's own |
//! | `shared_memory` | no | `Segment::from_shmem`, for memory that the crate of that name mapped |
//! | `raw_sync` | no | `compat::raw_sync`, the interface of the crate of that name on robust primitives |
//! | `inspect` | no | the module `inspect`, for monitors: who holds which lease, and what is in the queues, of any process |
//! | `cli` | no | the binary `multiproc`, which shows that |
//!
//! With `default-features = false` what is left is [`raw`], [`Segment`], the locks, [`Event`], [`Value`], [`Array`] and
//! their kin. No feature changes a layout.
#![cfg_attr(not(all(feature = "auto-init", feature = "derive")), allow(rustdoc::broken_intra_doc_links))]

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
compile_error!(
    "multiproc needs 64-bit Linux with glibc: it stands on glibc's robust list and on memfd, futex and pidfd"
);

#[cfg(all(feature = "raw_sync", not(all(test, loom))))]
pub mod compat;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub mod connection;
mod error;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub mod futures;
#[cfg(all(any(doc, doctest), feature = "auto-init"))]
pub mod guide;
#[cfg(all(feature = "inspect", not(all(test, loom))))]
pub mod inspect;
#[cfg(all(feature = "manager", not(all(test, loom))))]
pub mod manager;
#[cfg(not(all(test, loom)))]
mod plain;
#[cfg(all(feature = "process", not(all(test, loom))))]
mod pool;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub mod process;
#[cfg(not(all(test, loom)))]
mod queue;
pub mod raw;
#[cfg(not(all(test, loom)))]
mod segment;
#[cfg(not(all(test, loom)))]
mod shared;
#[cfg(not(all(test, loom)))]
mod sync;
mod sys;
#[cfg(all(feature = "process", not(all(test, loom))))]
mod task;
#[cfg(all(feature = "process", not(all(test, loom))))]
pub mod threads;
#[cfg(all(feature = "serde", not(all(test, loom))))]
mod transfer;

#[cfg(all(feature = "tokio", not(all(test, loom))))]
pub use connection::AsyncConnection;
#[cfg(all(feature = "process", not(all(test, loom))))]
#[doc(inline)]
pub use connection::{Address, AuthKey, Client, Connection, ConnectionError, Listener, one_way_pipe, pipe};
pub use error::{Error, Result};
#[cfg(all(feature = "manager", not(all(test, loom))))]
pub use manager::{Manager, ManagerBuilder, ManagerError};
#[cfg(not(all(test, loom)))]
pub use plain::{CChar, CLong, CType, CULong, Number, OutOfRange, TypeCode, UnknownTypeCode, WChar};
#[cfg(all(feature = "process", not(all(test, loom))))]
pub use pool::{Pool, PoolBuilder};
#[cfg(all(feature = "process", not(all(test, loom))))]
#[doc(inline)]
pub use process::{
    ActiveChild, CurrentProcess, ForkError, ParentProcess, Process, ProcessBuilder, ProcessError,
    StartMethod, active_children, cpu_count, current_process, init, parent_process,
};
#[cfg(not(all(test, loom)))]
pub use queue::{
    Buffer, Codec, Consumer, DeadLetter, GetError, JoinableQueue, Payload, Plain, PlainBuffer, PlainQueue,
    Postcard, PostcardBuffer, Producer, PutError, PutManyError, Queue, QueueIter, QueueOptions, QueueStats,
    Task, TaskDoneTooOften, TaskIter,
};
#[cfg(not(all(test, loom)))]
pub use segment::{ObjectInfo, Placed, Segment, SegmentInfo, SegmentOptions, Share};
#[cfg(not(all(test, loom)))]
pub use shared::{
    Array, ArrayError, ArrayGuard, ArrayIter, DynArray, DynArrayGuard, DynError, DynValue, DynValueGuard,
    RawArray, RawInteger, RawValue, Value, ValueGuard,
};
#[cfg(not(all(test, loom)))]
pub use sync::{
    Barrier, BarrierTicket, BoundedSemaphore, BrokenBarrier, Condition, ConditionGuard, ConditionOptions,
    Event, Lock, LockError, LockGuard, OverReleased, Permit, PermitError, Permits, RLock, RLockGuard,
    Semaphore, WaitError,
};
#[cfg(all(feature = "process", not(all(test, loom))))]
pub use task::{AsyncResult, MapOptions, PoolStillRunning, Results, TaskError};

/// Settings for this crate's own tests. Not part of the public interface.
#[doc(hidden)]
#[cfg(not(all(test, loom)))]
pub mod testing {
    #[cfg(feature = "process")]
    pub use crate::connection::handshake::testing::handshake;
    #[cfg(feature = "manager")]
    pub use crate::manager::line_testing::{MAILBOX_ROOM, MailboxLine, set_mailbox_sleep};
    #[cfg(feature = "manager")]
    pub use crate::manager::testing::answer_requests;
    #[cfg(feature = "process")]
    pub use crate::process::read_bootstrap;
    pub use crate::queue::testing::{queue_file, try_get_many, try_get_with, try_put_with};
    #[cfg(feature = "process")]
    pub use crate::sys::frame::testing::read_frames;
    pub use crate::sys::slice::set_sleep_slice;
    pub use crate::sys::spin::set_spins;
}

/// The program in the README is a test.
#[cfg(all(doctest, feature = "auto-init"))]
#[doc = include_str!("../README.md")]
struct Readme;
