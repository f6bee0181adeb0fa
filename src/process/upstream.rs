//! [`Upstream`]: what a new process reads from its parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::current::Parent;
use super::report::MAX_MESSAGE;
use crate::sys::frame::{Frame, FrameReader, Progress};
use crate::sys::{Deadline, poll};
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
        let readable = PollFlags::IN;
        let parent = (parent.pidfd(), readable);
        loop {
            // Asked first: what it sent before it ended has come then.
            let has_ended = poll::wait(&[parent], Some(Deadline::now())).map_err(failed)?;
            match self.reader.advance(self.socket.as_fd())? {
                Progress::Frame(frame) => return Ok(frame),
                Progress::Closed => return Err(ended()),
                Progress::Pending if has_ended => return Err(ended()),
                Progress::Pending => {}
            }
            poll::wait(&[(self.socket.as_fd(), readable), parent], None).map_err(failed)?;
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Option<Parent>) {
        (self.socket, self.parent)
    }
}
