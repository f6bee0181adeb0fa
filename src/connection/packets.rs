//! [`Packets`]: messages over a Unix socket of packets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::socket_send_buffer_size;

use super::error::ConnectionError;
use super::head::{HEAD, Head, Kind};
use super::lots;
use super::overflow::{self, Overflow};
use super::patience::Patience;
use super::received::Received;
use crate::sys::packet::{self, LOT};
use crate::sys::{poll, spin};

/// The most bytes of a message that lie in its packet. The kernel finds room for so many in small pieces.
pub(super) const INLINE: usize = 64 << 10;
/// What the kernel counts of a packet beside its bytes.
const SEND_BUFFER_OVERHEAD: usize = 64;
/// The least that lies in a packet, however small the socket's buffer is.
const LEAST_INLINE: usize = 1024;
/// Messages up to so many bytes are copied sooner than the kernel scatters them.
const SMALL: usize = 4096;
/// Who looks again for a message does so once in so many pauses, for a look holds up a sender.
const PAUSES: u32 = 32;

/// Messages over a Unix socket of packets.
#[derive(Debug)]
pub(super) struct Packets {
    socket: OwnedFd,
    /// The most bytes that this socket's buffer takes in a packet.
    inline: usize,
    overflow: Overflow,
    /// The kernel has said, as it does once, that the other end was closed before it had received everything.
    was_reset: AtomicBool,
    /// The last message was a long one, as the next will be.
    was_long: AtomicBool,
}

impl Packets {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let buffer = socket_send_buffer_size(&socket).unwrap_or(0);
        let inline = buffer.saturating_sub(HEAD + SEND_BUFFER_OVERHEAD).clamp(LEAST_INLINE, INLINE);
        let (was_reset, was_long) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { socket, inline, overflow: Overflow::default(), was_reset, was_long }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a message, or nothing.
    pub(super) fn send(
        &self,
        kind: Kind,
        bytes: &[u8],
        fds: &[OwnedFd],
        patience: Patience,
    ) -> Result<(), ConnectionError> {
        let fds_count = u32::try_from(fds.len()).map_err(|_| ConnectionError::TooManyFiles)?;
        let mut head =
            Head { kind, overflows: false, in_lots: false, fds: fds_count, len: bytes.len() as u64 };
        if bytes.len() <= self.inline && fds.is_empty() {
            return self.send_packet(head, bytes, &[], patience);
        }
        let (inside, outside) = bytes.split_at(bytes.len().min(self.inline));
        let mut riding = Vec::new();
        let (file, socket);
        if !outside.is_empty() {
            if !patience.is_forever() {
                // Before the bytes are copied, perhaps in vain.
                self.wait(PollFlags::OUT, patience)?;
            }
            head.overflows = true;
            file = self.overflow.hold(outside)?;
            riding.push(file.as_fd());
        }
        if riding.len() + fds.len() > LOT {
            head.in_lots = true;
            socket = lots::pack(&fds.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
            riding.push(socket.as_fd());
        } else {
            riding.extend(fds.iter().map(AsFd::as_fd));
        }
        self.send_packet(head, inside, &riding, patience)
    }

    fn send_packet(
        &self,
        head: Head,
        inside: &[u8],
        riding: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), ConnectionError> {
        let head = head.to_bytes();
        loop {
            match packet::send(self.socket(), &head, inside, riding, patience.is_forever()) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, patience)?,
                Err(Errno::CONNRESET) => self.remember_reset(),
                Err(errno) => return Err(ConnectionError::os(errno)),
            }
        }
    }

    /// Receives a message of at most `max` bytes: its first into `body`, the next into `rest`.
    pub(super) fn receive(
        &self,
        body: &mut [u8],
        rest: &mut Vec<u8>,
        max: u64,
        patience: Patience,
    ) -> Result<Received, ConnectionError> {
        let mut head = [0; HEAD];
        let mut fds = Vec::new();
        // Relaxed: a guess, by which nothing else is to be seen.
        let scatter = self.was_long.load(Ordering::Relaxed);
        let body = if scatter && body.len() > SMALL { body } else { &mut [] };
        let length = loop {
            let to = if scatter { &mut head[..] } else { &mut [] };
            match self.receive_packet(to, body, rest, &mut fds, patience) {
                Ok(0) if self.was_reset.load(Ordering::Relaxed) => return Err(ConnectionError::Reset),
                Ok(0) => return Err(ConnectionError::Eof),
                Ok(length) => break length,
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, patience)?,
                // What had come before that is still there to be received.
                Err(Errno::CONNRESET) => self.remember_reset(),
                Err(Errno::MSGSIZE) => {
                    return Err(ConnectionError::malformed("a packet is longer than any message's"));
                }
                Err(errno) => return Err(ConnectionError::os(errno)),
            }
        };
        let Some(inside) = length.checked_sub(HEAD) else {
            return Err(ConnectionError::malformed("a packet is shorter than a message's head"));
        };
        if !scatter {
            for (to, byte) in head.iter_mut().zip(rest.drain(..HEAD)) {
                *to = byte;
            }
        }
        if (inside > SMALL) != scatter {
            // Relaxed: see above.
            self.was_long.store(inside > SMALL, Ordering::Relaxed);
        }
        let head = Head::from_bytes(head).map_err(ConnectionError::malformed)?;
        let Head { kind, overflows, in_lots, fds: fds_count, len } = head;
        let outside = len.checked_sub(inside as u64).filter(|outside| (*outside > 0) == overflows);
        let outside = outside.and_then(|outside| usize::try_from(outside).ok());
        let outside = outside
            .ok_or_else(|| ConnectionError::malformed("a packet's length is not what its head says"))?;
        let mut fds = fds.into_iter();
        let overflow = if overflows { Some(fds.next().ok_or_else(missing)?) } else { None };
        let count = fds_count as usize;
        let fds =
            if in_lots { lots::unpack(&fds.next().ok_or_else(missing)?, count)? } else { fds.collect() };
        if fds.len() != count {
            return Err(missing());
        }
        if len > max {
            return Err(ConnectionError::TooLong { len, max });
        }
        if let Some(file) = &overflow {
            overflow::check(file, outside)?;
        }
        Ok(Received { kind, len, in_body: inside.min(body.len()), overflow, fds })
    }

    /// Receives a packet. Who waits looks again for a while before a sleep, where that has paid: the other end would have
    /// to wake this one, which takes as long as several messages.
    fn receive_packet(
        &self,
        head: &mut [u8],
        body: &mut [u8],
        rest: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        patience: Patience,
    ) -> Result<usize, Errno> {
        let mut receive = |wait| packet::receive(self.socket(), head, body, rest, fds, wait);
        if matches!(patience, Patience::Never) {
            return receive(false);
        }
        if spin::is_worth(&self.socket) {
            // What has come already says nothing of waiting.
            match receive(false) {
                Err(Errno::AGAIN) => {}
                received => return received,
            }
        }
        let mut looks = 0_u32;
        let found = spin::spin_awake(&self.socket, 3, || {
            looks += 1;
            if !looks.is_multiple_of(PAUSES) {
                return None;
            }
            match receive(false) {
                Err(Errno::AGAIN) if !patience.is_exhausted() => None,
                received => Some(received),
            }
        });
        found.unwrap_or_else(|| receive(patience.is_forever()))
    }

    /// Waits until there may be something to receive, or room to send.
    fn wait(&self, event: PollFlags, patience: Patience) -> Result<(), ConnectionError> {
        match poll::wait(&[(self.socket(), event)], patience.until()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(patience.is_over()),
            Err(errno) => Err(ConnectionError::os(errno)),
        }
    }

    fn remember_reset(&self) {
        // Relaxed: it says something of the connection, not of other memory.
        self.was_reset.store(true, Ordering::Relaxed);
    }
}

fn missing() -> ConnectionError {
    ConnectionError::malformed("a packet's descriptors are not those that its head says")
}
