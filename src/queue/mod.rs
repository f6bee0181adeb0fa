//! Layer 3: queues between processes.
//!
//! A queue is an object in a segment: a head ([`raw::RawRing`](crate::raw::RawRing) and
//! [`raw::RawTasks`](crate::raw::RawTasks)) with the words of the ring behind it, and behind those the table of the tasks
//! that are in somebody's hands. What goes through it is encoded in `put`, in the caller.

mod chunks;
mod codec;
mod consumer;
mod get_error;
mod get_many;
#[cfg(all(test, feature = "serde"))]
mod hostile;
mod in_place;
mod iter;
mod joinable;
mod layout;
#[cfg(feature = "inspect")]
mod look;
mod options;
mod postcard;
mod producer;
mod put_error;
mod put_many;
#[expect(clippy::module_inception, reason = "a file is named after its type, and the type after the layer")]
mod queue;
mod stats;
mod task;
pub(crate) mod testing;

pub use codec::{Buffer, Codec, Payload, Plain, PlainBuffer};
pub use consumer::Consumer;
pub use get_error::GetError;
pub use iter::{QueueIter, TaskIter};
pub use joinable::{DeadLetter, JoinableQueue, TaskDoneTooOften};
pub use options::QueueOptions;
pub use postcard::{Postcard, PostcardBuffer};
pub use producer::Producer;
pub use put_error::PutError;
pub use put_many::PutManyError;
pub use queue::{PlainQueue, Queue};
pub use stats::QueueStats;
pub use task::Task;

#[cfg(feature = "inspect")]
pub(crate) use look::look;
