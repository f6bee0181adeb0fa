//! Layer 2: how handles ride in serde messages.
//!
//! A handle is a segment, hence a file descriptor, and descriptors don't fit in bytes. While a message is encoded, a
//! thread-local *table* collects the descriptors of the handles in it, and each handle writes its index; while one is
//! decoded, the table holds the descriptors that came beside the bytes. Outside of both, a handle refuses to be
//! serialised.
//!
//! In a handle's `Serialize`: `attach(key, fd).map_err(ser_error)`; in its `Deserialize`: `detach(index).map_err(de_error)`.
//!
//! # What holds at every moment
//! - The table belongs to the innermost encode or decode on this thread's stack. One that user code starts inside
//!   another (in a `Serialize`, say) has its own and puts the outer one back, by `Drop`, so by unwinding as well.
//! - No user code runs while the table is borrowed.
//! - Between a pool and its workers, who are one program, values are `packed`, all others postcard's.
//! - postcard drops the texts of custom errors. The crate's own handles leave theirs beside the table, typed, and
//!   whoever ran postcard picks it up.
// Without processes nobody carries a message. A queue's items are encoded all the same, and handles refuse to be in them.
#![cfg_attr(not(feature = "process"), allow(dead_code, unused_imports))]

mod codec;
mod failure;
mod item;
mod message;
mod packed;
mod sequence;
mod table;

#[cfg(feature = "manager")]
pub(crate) use codec::{append, append_within};
pub(crate) use codec::{decode, decode_from, decode_item, encode, encode_and, encode_item};
pub(crate) use failure::{de_error, ser_error};
pub(crate) use message::Message;
pub(crate) use sequence::{Decoder, Encoder};
pub(crate) use table::{attach, attach_own, detach};
