//! [`Received`]: a message as it came, and the buffer that it came into.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use super::error::ConnectionError;
use super::head::{HEAD, Kind};
use super::overflow;
use super::packets::INLINE;

/// A message whose first bytes lie in the caller's buffer, the next in a `rest`, and the last in a memory file.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) kind: Kind,
    /// Its bytes, all of them.
    pub(super) len: u64,
    /// Those of them in the caller's buffer.
    pub(super) in_body: usize,
    /// Where those are that are neither there nor in `rest`.
    pub(super) overflow: Option<OwnedFd>,
    /// Its descriptors.
    pub(super) fds: Vec<OwnedFd>,
}

impl Received {
    /// Refuses a message of another kind.
    pub(super) fn expect(self, kind: Kind) -> Result<Self, ConnectionError> {
        match (self.kind, kind) {
            (Kind::Bytes, Kind::Value) => {
                Err(ConnectionError::malformed("expected a value, found bytes that send_bytes sent"))
            }
            (Kind::Value, Kind::Bytes) => {
                Err(ConnectionError::malformed("expected bytes, found a value that send sent"))
            }
            _ => Ok(self),
        }
    }

    /// Completes the message in `rest`, behind what of it lies in `body`.
    pub(super) fn complete(&self, body: &[u8], rest: &mut Vec<u8>) -> Result<(), ConnectionError> {
        if self.in_body > 0 {
            rest.splice(..0, body[..self.in_body].iter().copied());
        }
        match &self.overflow {
            Some(file) => overflow::append(file, self.len() - rest.len(), rest),
            None => Ok(()),
        }
    }

    /// Completes the message in `body`, which is long enough.
    pub(super) fn complete_in(&self, body: &mut [u8], rest: &[u8]) -> Result<(), ConnectionError> {
        let (_, to) = body[..self.len()].split_at_mut(self.in_body);
        let (next, last) = to.split_at_mut(rest.len());
        next.copy_from_slice(rest);
        self.overflow.as_ref().map_or(Ok(()), |file| overflow::read(file, last))
    }

    /// Its bytes, which were found to fit in memory.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }
}

thread_local! {
    /// Where the last message came into, for the next one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The most bytes that a thread keeps for its next message.
const SPARE_BYTES: usize = 2 * INLINE;

/// Runs `receive` with a buffer that has room for a packet.
pub(super) fn with_spare<R>(receive: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    // A message that is received while another is decoded, by its `Deserialize`, finds an empty one.
    let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
    spare.clear();
    spare.reserve_exact(HEAD + INLINE);
    let done = receive(&mut spare);
    if spare.capacity() <= SPARE_BYTES {
        let _ = SPARE.try_with(|kept| kept.set(spare));
    }
    done
}

/// The bytes in `spare`: it itself, unless it is much too large for them.
pub(super) fn take_bytes(spare: &mut Vec<u8>) -> Vec<u8> {
    if spare.len() >= spare.capacity() / 2 { std::mem::take(spare) } else { spare.as_slice().to_vec() }
}
