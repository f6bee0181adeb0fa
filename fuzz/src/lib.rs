//! What the fuzz targets share: a segment with an object of each kind, and operations on objects that may be anything.
//!
//! The library promises a peer's victims memory safety and typed errors, and of operations with a deadline that they end.
//! It does not promise that an operation without one ends, where a peer wrote that a living thread holds the lock: those
//! are made only where the lock has just been seen free.

mod handles;
mod memory;
mod sockets;

pub use handles::{Handles, Manner};
pub use memory::{Memory, PAGE};
pub use sockets::{Ride, send_packet, seqpacket};

use multiproc::{
    Array, Barrier, BoundedSemaphore, Condition, DynValue, Event, Lock, Permits, QueueOptions, RLock,
    RawArray, RawValue, Segment, Semaphore, TypeCode, Value,
};

/// The type of the value.
pub type Pair = [u64; 2];
/// What goes through the queues.
pub type Item = Vec<u16>;

/// The names of the objects that [`populate`] makes, each the name of its kind.
pub const NAMES: [&str; 15] = [
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Permits",
    "Condition",
    "Event",
    "Barrier",
    "Value",
    "Array",
    "Queue",
    "JoinableQueue",
    "DynValue",
    "RawValue",
    "RawArray",
];

/// Makes an object of each kind, and puts some items into the queues.
///
/// # Errors
/// What making them failed with.
pub fn populate(segment: &Segment) -> multiproc::Result<()> {
    Lock::new_in(segment, "Lock")?;
    RLock::new_in(segment, "RLock")?;
    Semaphore::new_in(segment, "Semaphore", 2)?;
    BoundedSemaphore::new_in(segment, "BoundedSemaphore", 2)?;
    Permits::new_in(segment, "Permits", 3)?;
    Condition::new_in(segment, "Condition")?;
    Event::new_in(segment, "Event")?;
    Barrier::new_in(segment, "Barrier", 2)?;
    Value::<Pair>::new_in(segment, "Value", [1, 2])?;
    Array::<u32>::new_in(segment, "Array", &[1, 2, 3, 4])?;
    DynValue::new_in(segment, "DynValue", TypeCode::Short, 3).map_err(multiproc::Error::from)?;
    RawValue::<u32>::new_in(segment, "RawValue", 4)?;
    RawArray::<u32>::zeroed_in(segment, "RawArray", 5)?;
    let options = queues();
    let queue = options.queue_in::<Item>(segment, "Queue")?;
    let jobs = options.joinable_queue_in::<Item>(segment, "JoinableQueue")?;
    for length in 0..3 {
        queue.put(vec![7; length])?;
        jobs.put(vec![7; length])?;
    }
    Ok(())
}

fn queues() -> QueueOptions {
    QueueOptions::new(4).ring_bytes(512).max_message(64).max_taken(3)
}
