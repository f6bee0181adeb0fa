//! Python's multiprocessing for Rust, on process-shared primitives that a SIGKILL can neither wedge nor corrupt.
//!
//! | I want to | I take |
//! |---|---|
//! | run a function in another process | [`Process::spawn`] |
//! | call a function with many values, in several processes | [`Pool`] |
//! | have futures of what processes do, as in Python's `concurrent.futures` | [`futures::ProcessPoolExecutor`] |
//! | call functions on threads, and have futures of their results | [`futures::ThreadPoolExecutor`], [`threads::Pool`] |
//! | hand out jobs, and have those of a killed worker done by another | [`JoinableQueue`], [`JoinableQueue::tasks`] |
//! | pass values between processes | [`Queue`] |
//! | talk with one process, both ways, or pass on handles and descriptors | [`pipe`], [`Connection`] |
//! | talk with another program, also over a network | [`Listener`], [`Client`] |
//! | share dictionaries, lists and locks with programs that share no memory with mine, also over a network | `Manager` (feature `manager`) |
//! | wait for several connections and processes at once | [`connection::wait`] |
//! | share one value, read without waiting and never torn | [`Value`] |
//! | share many elements under one lock | [`Array`] |
//! | share a counter, or many, without a lock | [`RawValue`], [`RawArray`] |
//! | change several of them together | [`Value::with_lock`], [`Array::with_lock`], [`Value::with_rlock`] |
//! | choose the C type at run time, by Python's code | [`DynValue`], [`DynArray`], [`TypeCode`] |
//! | let one process at a time do something | [`Lock`] |
//! | tell other processes that something has happened | [`Event`] |
//! | put a robust lock or a ring into a struct of my own | [`raw`], [`Segment::place`] |
//!
//! Everything but `raw` is a *handle*: it is cheap to clone, Send and Sync, the same object in every process, and travels
//! in the arguments and results of a [`Process`] and over a [`Connection`]. Its memory is an anonymous, sealed, reserved file, which goes with its
//! last handle: nothing is left in `/dev/shm`, whoever is killed.
//!
//! # Process death
//! A process may be killed between any two instructions. Whoever waits for something that it held goes on, and nothing
//! that it had committed is lost; each type says under this heading what that means for it. The threat model, the
//! invariants and the evidence are in SAFETY.md.
//!
//! # Features
//! `serde` (on): queues, and handles in messages. `process` (on): [`Process`], [`Connection`]. `auto-init` (on): spawned copies of this
//! executable become workers before `main`; without it, call [`init`]. With `default-features = false` what is left is
//! [`raw`], [`Segment`], the locks, [`Event`], [`Value`], [`Array`] and their kin. `derive` (off): `#[derive(Share)]` for
//! a structure of one's own. `manager` (off): `Manager`, shared objects behind a server. `tokio` (off): `AsyncConnection` and `Process::wait`. `shared_memory` (off): `Segment::from_shmem`, for memory that the crate of that name mapped.
//! `raw_sync` (off): `compat::raw_sync`, the interface of the crate of that name on robust primitives. No feature changes
//! a layout.
#![cfg_attr(not(feature = "auto-init"), allow(rustdoc::broken_intra_doc_links))]

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
pub use connection::{Address, AuthKey, Client, Connection, ConnectionError, Listener, one_way_pipe, pipe};
pub use error::{Error, Result};
#[cfg(all(feature = "manager", not(all(test, loom))))]
pub use manager::{Manager, ManagerBuilder, ManagerError};
#[cfg(not(all(test, loom)))]
pub use plain::{CChar, CLong, CType, CULong, Number, OutOfRange, TypeCode, UnknownTypeCode, WChar};
#[cfg(all(feature = "process", not(all(test, loom))))]
pub use pool::{Pool, PoolBuilder};
#[cfg(all(feature = "process", not(all(test, loom))))]
pub use process::{
    ActiveChild, CurrentProcess, ForkError, ParentProcess, Process, ProcessBuilder, ProcessError,
    StartMethod, active_children, cpu_count, current_process, init, parent_process,
};
#[cfg(not(all(test, loom)))]
pub use queue::{
    Buffer, Codec, DeadLetter, GetError, JoinableQueue, Payload, Plain, PlainBuffer, PlainQueue, Postcard,
    PutError, PutManyError, Queue, QueueIter, QueueOptions, QueueStats, Task, TaskDoneTooOften, TaskIter,
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
    pub use crate::manager::testing::answer_requests;
    #[cfg(feature = "process")]
    pub use crate::process::read_bootstrap;
    #[cfg(feature = "process")]
    pub use crate::sys::frame::testing::read_frames;
    pub use crate::sys::slice::set_sleep_slice;
    pub use crate::sys::spin::set_spins;
}

/// The program in the README is a test.
#[cfg(all(doctest, feature = "auto-init"))]
#[doc = include_str!("../README.md")]
struct Readme;
