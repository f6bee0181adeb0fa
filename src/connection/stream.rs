//! [`Stream`]: messages over a stream of bytes, as TCP has it.
//!
//! A message takes many system calls, so who sends holds a lock from its first byte to its last, and so does who receives:
//! locks between processes, which travel with the connection. Beside each lie marks that outlive a killed holder:
//! - SENDING is set while a message is half sent. Who takes the lock and finds it set knows that the stream is of no use any
//!   more. A sender that gives up in the middle leaves it set too, and shuts the stream down, so that the receiver does not
//!   wait for the rest.
//! - RECEIVING names who has received a part of a message, from its first byte on. A receiver that gives up in the middle
//!   keeps that part for its next attempt; others see that they can't go on.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};
use serde::{Deserialize, Serialize};

use super::error::ConnectionError;
use super::head::{HEAD, Head, Kind};
use super::patience::Patience;
use super::received::Received;
use crate::sys::poll;
use crate::{Lock, LockError, LockGuard, RawArray, Result};

/// The place of the mark of a message that is half sent.
const SENDING: usize = 0;
/// The place of the mark of a message that is half received.
const RECEIVING: usize = 1;
/// A stream on which nobody can tell any more where a message begins.
const LOST: u64 = u64::MAX;
/// Room for bytes grows with what has come, so that a length alone makes nobody allocate.
const FIRST_ROOM: usize = 256 << 10;

/// What the processes that use an end share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shared {
    sending: Lock,
    receiving: Lock,
    marks: RawArray<u64>,
}

impl Shared {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { sending: Lock::new()?, receiving: Lock::new()?, marks: RawArray::zeroed(2)? })
    }

    fn mark(&self, place: usize) -> u64 {
        // A peer that made fewer marks than two gets no further.
        self.marks.load(place).unwrap_or(LOST)
    }

    fn set_mark(&self, place: usize, mark: u64) {
        // As above.
        let _ = self.marks.store(place, mark);
    }
}

/// Messages over a stream of bytes.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
    shared: Shared,
    /// A number that no other handle has, but for its copies in forked processes.
    number: u64,
    partial: Mutex<Partial>,
}

/// What has come of a message.
#[derive(Debug, Default)]
struct Partial {
    head: [u8; HEAD],
    head_len: usize,
    /// Zeroed room, of which `filled` bytes have come; or, if the message is longer than wanted, been thrown away.
    bytes: Vec<u8>,
    filled: u64,
    too_long_for: Option<u64>,
}

impl Stream {
    pub(super) fn new(socket: OwnedFd, shared: Shared) -> Result<Self> {
        let number = u64::from_le_bytes(super::nonce::random()?);
        Ok(Self { socket, shared, number, partial: Mutex::default() })
    }

    /// The mark that says that a part of a message is in this process, by this handle. Neither 0 nor [`LOST`].
    fn own_mark(&self) -> u64 {
        let process = u64::from(std::process::id()) << 2;
        ((self.number ^ process) >> 1) | 1
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn send(&self, kind: Kind, bytes: &[u8], patience: Patience) -> Result<(), ConnectionError> {
        let guard = lock(&self.shared.sending, patience)?;
        if self.shared.mark(SENDING) != 0 {
            return Err(ConnectionError::Broken);
        }
        let len = bytes.len() as u64;
        let head = Head { kind, overflows: false, in_lots: false, fds: 0, len }.to_bytes();
        self.shared.set_mark(SENDING, 1);
        let mut sent = 0;
        let done = self.send_all([&head, bytes], &mut sent, patience);
        let done = match done {
            Err(error) if sent > 0 && !matches!(error, ConnectionError::BrokenPipe) => {
                // Nobody will send the rest. The mark stays.
                let _ = shutdown(&self.socket, Shutdown::Write);
                match error {
                    ConnectionError::WouldBlock | ConnectionError::TimedOut => {
                        Err(ConnectionError::PartlySent { sent: sent.saturating_sub(HEAD as u64), len })
                    }
                    error => Err(error),
                }
            }
            done => {
                self.shared.set_mark(SENDING, 0);
                done
            }
        };
        drop(guard);
        done
    }

    fn send_all(&self, parts: [&[u8]; 2], sent: &mut u64, patience: Patience) -> Result<(), ConnectionError> {
        let mut parts = parts.map(IoSlice::new);
        let mut parts = &mut parts[..];
        IoSlice::advance_slices(&mut parts, 0);
        let flags = if patience.is_forever() { SendFlags::empty() } else { SendFlags::DONTWAIT };
        while !parts.is_empty() {
            let nothing = &mut SendAncillaryBuffer::default();
            match sendmsg(&self.socket, parts, nothing, flags | SendFlags::NOSIGNAL) {
                Ok(more) => {
                    *sent += more as u64;
                    IoSlice::advance_slices(&mut parts, more);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, patience)?,
                Err(Errno::CONNRESET) => return Err(ConnectionError::BrokenPipe),
                Err(errno) => return Err(ConnectionError::os(errno)),
            }
        }
        Ok(())
    }

    /// Receives a message of at most `max` bytes into `rest`.
    pub(super) fn receive(
        &self,
        rest: &mut Vec<u8>,
        max: u64,
        patience: Patience,
    ) -> Result<Received, ConnectionError> {
        let guard = lock(&self.shared.receiving, patience)?;
        let own_mark = self.own_mark();
        let partial = &mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if ![0, own_mark].contains(&self.shared.mark(RECEIVING)) {
                return Err(ConnectionError::Broken);
            }
            if partial.head_len == 0 {
                // Nothing is marked while nothing has come: a receiver killed in its wait does no harm.
                self.wait(PollFlags::IN, patience)?;
                self.shared.set_mark(RECEIVING, own_mark);
            }
            let step = self.step(partial, max);
            if let Some(mark) = mark_after(&step, partial, own_mark) {
                self.shared.set_mark(RECEIVING, mark);
            }
            match step {
                Ok(Some(head)) => {
                    *rest = std::mem::take(&mut partial.bytes);
                    let too_long_for = partial.too_long_for;
                    *partial = Partial::default();
                    drop(guard);
                    let Head { kind, len, .. } = head;
                    return match too_long_for {
                        Some(max) => Err(ConnectionError::TooLong { len, max }),
                        None => Ok(Received { kind, len, in_body: 0, overflow: None, fds: Vec::new() }),
                    };
                }
                Ok(None) => self.wait(PollFlags::IN, patience)?,
                Err(error) => {
                    *partial = Partial::default();
                    return Err(error);
                }
            }
        }
    }

    /// Reads what has come, up to the end of the message; `None` if it has not come yet.
    fn step(&self, partial: &mut Partial, max: u64) -> Result<Option<Head>, ConnectionError> {
        while partial.head_len < HEAD {
            match self.read(&mut partial.head[partial.head_len..])? {
                Some(0) if partial.head_len == 0 => return Err(ConnectionError::Eof),
                Some(0) => return Err(ConnectionError::Truncated),
                Some(more) => partial.head_len += more,
                None => return Ok(None),
            }
        }
        let head = Head::from_bytes(partial.head).map_err(ConnectionError::malformed)?;
        if head.overflows || head.in_lots || head.fds != 0 {
            return Err(ConnectionError::malformed("a message with descriptors came by a stream of bytes"));
        }
        if head.len > max && partial.filled == 0 {
            partial.too_long_for = Some(max);
        }
        while partial.filled < head.len {
            let room = partial.room(head.len)?;
            match self.read(room)? {
                Some(0) => return Err(ConnectionError::Truncated),
                Some(more) => partial.filled += more as u64,
                None => return Ok(None),
            }
        }
        Ok(Some(head))
    }

    /// Reads what there is; 0 is the end.
    fn read(&self, into: &mut [u8]) -> Result<Option<usize>, ConnectionError> {
        loop {
            return match recv(&self.socket, &mut *into, RecvFlags::DONTWAIT) {
                Ok((_, read)) => Ok(Some(read)),
                Err(Errno::AGAIN) => Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(ConnectionError::os(errno)),
            };
        }
    }

    fn wait(&self, event: PollFlags, patience: Patience) -> Result<(), ConnectionError> {
        match poll::wait(&[(self.socket(), event)], patience.until()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(patience.is_over()),
            Err(errno) => Err(ConnectionError::os(errno)),
        }
    }
}

/// A message that is sent piece by piece, by the only sender of a stream.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    stream: &'a Stream,
    head: [u8; HEAD],
    bytes: &'a [u8],
    sent: usize,
    ended: bool,
}

#[cfg(feature = "tokio")]
impl<'a> Outgoing<'a> {
    /// Marks the stream as one on which a message is half sent.
    pub(super) fn begin(stream: &'a Stream, kind: Kind, bytes: &'a [u8]) -> Result<Self, ConnectionError> {
        let shared = &stream.shared;
        let guard = lock(&shared.sending, Patience::Forever)?;
        if shared.mark(SENDING) != 0 {
            return Err(ConnectionError::Broken);
        }
        shared.set_mark(SENDING, 1);
        drop(guard);
        let head = Head { kind, overflows: false, in_lots: false, fds: 0, len: bytes.len() as u64 };
        Ok(Self { stream, head: head.to_bytes(), bytes, sent: 0, ended: false })
    }

    /// Sends what there is room for, up to the end.
    pub(super) fn advance(&mut self) -> Result<(), ConnectionError> {
        let head = self.head.get(self.sent..).unwrap_or(&[]);
        let bytes = self.bytes.get(self.sent.saturating_sub(HEAD)..).unwrap_or(&[]);
        let mut sent = 0;
        let done = self.stream.send_all([head, bytes], &mut sent, Patience::Never);
        self.sent += usize::try_from(sent).unwrap_or(usize::MAX);
        done
    }

    /// All is sent.
    pub(super) fn end(mut self) {
        self.ended = true;
    }
}

#[cfg(feature = "tokio")]
impl Drop for Outgoing<'_> {
    fn drop(&mut self) {
        if !self.ended && self.sent > 0 {
            // Nobody will send the rest. The mark stays.
            let _ = shutdown(&self.stream.socket, Shutdown::Write);
        } else {
            self.stream.shared.set_mark(SENDING, 0);
        }
    }
}

/// What the mark of receiving becomes after a step.
fn mark_after(step: &Result<Option<Head>, ConnectionError>, partial: &Partial, own: u64) -> Option<u64> {
    match step {
        Ok(Some(_)) => Some(0),
        Ok(None) if partial.head_len > 0 => Some(own),
        Ok(None) => Some(0),
        Err(ConnectionError::Decode(_) | ConnectionError::OutOfMemory(_)) => Some(LOST),
        Err(_) => Some(0),
    }
}

impl Partial {
    /// Where the next bytes of a message of `len` bytes go.
    fn room(&mut self, len: u64) -> Result<&mut [u8], ConnectionError> {
        let left = usize::try_from(len - self.filled).unwrap_or(usize::MAX);
        if self.too_long_for.is_some() {
            self.bytes.resize(FIRST_ROOM, 0);
            let room = left.min(FIRST_ROOM);
            return Ok(&mut self.bytes[..room]);
        }
        let filled = usize::try_from(self.filled).unwrap_or(usize::MAX);
        if filled == self.bytes.len() {
            let room = left.min(filled.max(FIRST_ROOM));
            self.bytes.try_reserve_exact(room).map_err(|_| ConnectionError::OutOfMemory(len))?;
            self.bytes.resize(filled + room, 0);
        }
        Ok(&mut self.bytes[filled..])
    }
}

/// Takes a lock, also from a holder that died: the marks tell what it left.
fn lock(lock: &Lock, patience: Patience) -> Result<LockGuard<'_>, ConnectionError> {
    let guard = match patience {
        Patience::Never => lock.try_lock(),
        Patience::Until(deadline) => lock.lock_timeout(deadline.remaining().max(Duration::from_micros(1))),
        Patience::Forever => lock.lock(),
    };
    guard.or_else(LockError::recover).map_err(|error| match error {
        LockError::WouldBlock | LockError::TimedOut { .. } => patience.is_over(),
        error => ConnectionError::Io(std::io::Error::other(crate::Error::from(error))),
    })
}
