//! The interface of the crate `raw_sync` 0.1 on robust primitives. With the feature `raw_sync`.
//!
//! A program changes one line, `use raw_sync::{..}` to `use multiproc::compat::raw_sync::{..}`, and no lock of it stays
//! locked any more when its holder is killed. All who share a lock or an event change it: the bytes are others.
//!
//! | | is here | |
//! |---|---|---|
//! | [`locks::Mutex`] | [`RawMutex`](crate::raw::RawMutex) | 40 bytes |
//! | [`locks::RwLock`] | the same: readers exclude each other, too | 40 bytes |
//! | [`events::Event`] | [`RawEvent`](crate::raw::RawEvent); one that resets itself, a [`RawSemaphore`](crate::raw::RawSemaphore) | 24 bytes |
//! | [`events::BusyEvent`] | two bytes, polled | 2 bytes |
//!
//! Each but the last is aligned to 8 bytes, for which `size_of` and `new` count the padding, as `raw_sync` does.
//!
//! The traits of `locks` have the names of the original ones but are others, since nobody else can make a `LockGuard` of
//! the original. Those of `events` *are* the original ones: an event made here goes where one of `raw_sync` is asked for.

pub mod events;
pub mod locks;

pub use ::raw_sync::Timeout;

use crate::raw::Deadline;

/// What the operations return: the original's results.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn deadline(timeout: Timeout) -> Option<Deadline> {
    match timeout {
        Timeout::Infinite => None,
        Timeout::Val(duration) => Deadline::after(duration),
    }
}

/// From `memory` to where a `T` may lie.
fn padding<T>(memory: Option<*mut u8>) -> usize {
    memory.map_or(0, |memory| memory.align_offset(align_of::<T>()))
}
