//! Layer 4: messages between two processes.
//!
//! [`pipe`] makes two connected ends, [`Listener`] and [`Client`] connect programs; [`Connection`] sends and receives values,
//! with the handles in them, or bytes. [`wait`] waits for several at once, and for processes.
//!
//! # How a message travels
//! Between processes of one machine a connection is a Unix socket of packets: one message is one packet, sent by one
//! system call. So a message is there whole or not at all, whoever is killed at whatever moment; senders and receivers of
//! any number of threads and processes never get in each other's way; and an attempt that is given up leaves nothing
//! behind. There is no lock, no state between two messages, and nothing to repair. That is also why each packet is received
//! by `recvmsg`, although `recv` takes a tenth less: what announced descriptors would be lost with whoever had received it.
//!
//! A packet can't be long. Of a message beyond 64 KiB only so much lies in the packet, which keeps a slow receiver's
//! sender waiting as it should; the rest lies in a memory file whose descriptor rides along (`overflow.rs`). Of more
//! than 253 descriptors a socket rides along that holds them (`lots.rs`).
//!
//! A connection of a byte stream (TCP) has the same messages behind the same heads. There a message takes many
//! system calls; `stream.rs` says what keeps them together.
//!
//! ```text
//! head of 16 bytes, little endian: version u8 | kind u8 | flags u8 | 0 | descriptors u32 | length u64
//! ```

mod address;
#[cfg(feature = "tokio")]
mod asynchronous;
mod authentication_error;
mod authkey;
mod bytes;
mod client;
#[expect(clippy::module_inception, reason = "the folder is named after its type")]
mod connection;
mod descriptor;
mod doorkeeper;
mod error;
mod greeting;
pub(crate) mod handshake;
mod head;
mod listener;
mod listener_options;
mod lots;
pub(crate) mod nonce;
mod overflow;
mod packets;
mod patience;
mod pipe;
mod received;
mod reference;
mod socket_file;
mod stream;
mod values;
mod waiting;

pub use address::Address;
#[cfg(feature = "tokio")]
pub use asynchronous::AsyncConnection;
pub use authentication_error::AuthenticationError;
pub use authkey::AuthKey;
pub use client::Client;
pub use connection::Connection;
pub use descriptor::Descriptor;
pub use error::ConnectionError;
pub use listener::Listener;
pub use listener_options::ListenerOptions;
pub use pipe::{one_way_pipe, pipe};
pub use waiting::wait;
