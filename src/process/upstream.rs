//! [`Upstream`]: what a new process reads from its parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::current::Parent;
use super::report::MAX_MESSAGE;
use crate::sys::frame::{self, Frame, FrameError, FrameReader, Progress};
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

    /// Waits for a frame of one descriptor and no bytes: its tag and the descriptor. Allocates nothing, and asks first whether
    /// something has come: a zygote waits as a rule, and each page that it writes to after it has copied itself costs it a fault.
    ///
    /// # Errors
    /// As [`next`](Self::next); something else has come.
    pub(super) fn next_short(&self) -> Result<(u32, OwnedFd)> {
        let ended = || Error::Decode("the parent closed the connection".into());
        let failed = |errno| Error::os("wait for the parent", errno);
        loop {
            let own = (self.socket.as_fd(), PollFlags::IN);
            let has_come = match &self.parent {
                None => poll::wait(&[own], None).map_err(failed)?,
                // What it sent before it ended has come.
                Some(parent) => {
                    poll::wait_for_two([own, (parent.pidfd(), PollFlags::IN)]).map_err(failed)?[0]
                }
            };
            if !has_come {
                return Err(ended());
            }
            match frame::receive_short(self.socket.as_fd()) {
                Err(FrameError::Os(Errno::AGAIN)) => {}
                received => return received?.ok_or_else(ended),
            }
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Option<Parent>) {
        (self.socket, self.parent)
    }
}
