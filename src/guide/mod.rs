//! The guide: from Python, process death, embedding, containers, and why things are as they are.
//!
//! - [From Python](from_python): each example of a `multiprocessing` and `concurrent.futures` tutorial, side by side.
//! - [Process death](process_death): what becomes of each object when a participant is killed, and what to do then.
//! - [Embedding](embedding): a lock in a structure of your own, shared by programs of different sources.
//! - [Containers](containers): `/dev/shm`, limits, namespaces, seccomp.
//! - [Questions](faq): why the crate is made as it is.
//!
//! Its programs are tests.

#[doc = include_str!("containers.md")]
pub mod containers {}

#[cfg(feature = "derive")]
#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("faq.md")]
pub mod faq {}

#[doc = include_str!("from_python.md")]
#[cfg_attr(feature = "manager", doc = include_str!("manager.md"))]
pub mod from_python {}

#[doc = include_str!("process_death.md")]
pub mod process_death {}
