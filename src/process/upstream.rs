//! [`Upstream`]: what a new process reads from its parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::current::Parent;
use super::report::MAX_MESSAGE;
use crate::sys::frame::{Frame, FrameReader, Progress};
use crate::sys::poll;
use crate::{Error, Result};

/// The socket to the parent, and the parent.
#[derive(Debug)]
pub(super) struct Upstream {
    socket: OwnedFd,
    /// `None`: it is in another PID namespace, or there was no descriptor for it.
    parent: Option<Parent>,
    reader: FrameReader,
}

impl Upstream {
    pub(super) fn new(socket: OwnedFd, parent: Option<Parent>) -> Self {
        Self { socket, parent, reader: FrameReader::new(MAX_MESSAGE) }
    }

    /// Waits for a frame.
    ///
    /// A closed socket is not the only sign that the parent has ended: a fork of it may hold the other end.
    ///
    /// # Errors
    /// The parent has ended, or the system refuses.
    pub(super) fn next(&mut self) -> Result<Frame> {
        let ended = || Error::Decode("the parent closed the connection".into());
        let failed = |errno| Error::os("wait for the parent", errno);
        let Some(parent) = &self.parent else {
            return self.reader.read(self.socket.as_fd(), None)?.ok_or_else(ended);
        };
        let both = [(self.socket.as_fd(), PollFlags::IN), (parent.pidfd(), PollFlags::IN)];
        let mut has_ended = false;
        loop {
            match self.reader.advance(self.socket.as_fd())? {
                Progress::Frame(frame) => return Ok(frame),
                Progress::Closed => return Err(ended()),
                // What it sent before it ended had come when that was noticed.
                Progress::Pending if has_ended => return Err(ended()),
                Progress::Pending => {}
            }
            [_, has_ended] = poll::wait_for_two(both).map_err(failed)?;
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Option<Parent>) {
        (self.socket, self.parent)
    }
}
