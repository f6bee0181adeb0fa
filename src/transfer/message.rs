//! [`Message`]: what a value becomes for its journey.

use std::os::fd::OwnedFd;

/// An encoded value: its bytes, and the descriptors that its handles refer to by index.
///
/// Both counts are unbounded here; whoever carries a message splits it as the kernel asks.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The value in postcard's format.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors, each once.
    pub(crate) fds: Vec<OwnedFd>,
}
