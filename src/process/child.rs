//! [`Child`]: the parent's side of a process, whatever the type of its result.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::{Pid, Signal};

use super::error::ProcessError;
use super::launch::Started;
use super::report::{FAILURE, MAX_MESSAGE, RESULT, Report};
use super::tree;
use crate::sys::frame::{Frame, FrameError, FrameReader, Progress};
use crate::sys::pidfd::{self, Status};
use crate::sys::{Deadline, poll, spin};
use crate::transfer::{Message, decode};
use crate::{Error, Result};

/// A look is one or two system calls, so that all take some 100 us: as long as a process takes to end that has little memory.
const PART: u32 = 32;
/// Who waits no longer than that sleeps at once.
const SHORT: Duration = Duration::from_millis(1);
/// Where a report is waited for, and where the end of a process that has reported.
static REPORT: Place = Place(());
static END: Place = Place(());

/// Its address tells what is waited for.
#[repr(align(64))]
struct Place(());

/// A started process.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    name: String,
    is_daemon: bool,
    /// `None`: somebody else reaped it before it could be looked up.
    pidfd: Option<OwnedFd>,
    socket: OwnedFd,
    state: Mutex<State>,
}

/// What is known so far.
#[derive(Debug)]
struct State {
    /// `None` once nothing more will come.
    reader: Option<FrameReader>,
    report: Option<Report>,
    status: Status,
}

impl Child {
    pub(super) fn new(started: Started, (name, is_daemon): (String, bool)) -> Self {
        let Started { pid, pidfd, socket } = started;
        let status = if pidfd.is_some() { Status::Running } else { Status::Unknown };
        let reader = Some(FrameReader::new(MAX_MESSAGE));
        Self {
            pid,
            name,
            is_daemon,
            pidfd,
            socket,
            state: Mutex::new(State { reader, report: None, status }),
        }
    }

    /// Waits for the end, and takes the result.
    ///
    /// # Errors
    /// How the process ended otherwise; [`ProcessError::TimedOut`] leaves everything as it was.
    pub(super) fn join(&self, deadline: Option<Deadline>) -> Result<Message, ProcessError> {
        self.wait(deadline)?;
        let mut state = self.state();
        match (state.report.take(), state.status) {
            (Some(Report::Failed(failure)), _) => {
                state.report = Some(Report::Failed(failure.clone()));
                Err(failure.into())
            }
            (Some(report), _) => {
                state.report = Some(Report::Taken);
                match report {
                    Report::Returned(message) => Ok(message),
                    Report::Unreadable(error) => Err(ProcessError::Decode(error)),
                    Report::Failed(_) | Report::Taken => Err(ProcessError::ResultTaken),
                }
            }
            (None, Status::Exited(code)) => Err(ProcessError::Exited(code)),
            (None, Status::Signaled(signal)) => Err(ProcessError::Signaled(signal)),
            (None, Status::Running | Status::Unknown) => Err(ProcessError::Unknown),
        }
    }

    /// Waits for the end, reading what the child sends so that it gets there.
    ///
    /// # Errors
    /// [`ProcessError::TimedOut`], [`ProcessError::Wait`].
    pub(super) fn wait(&self, deadline: Option<Deadline>) -> Result<(), ProcessError> {
        while let Some(reading) = self.awaited() {
            let place = if reading { &REPORT } else { &END };
            let is_new = || (self.awaited() != Some(reading)).then_some(());
            if deadline.is_none_or(|deadline| deadline.remaining() > SHORT)
                && spin::spin_awake(place, PART, is_new).is_some()
            {
                continue;
            }
            let fds = [(self.sentinel(), PollFlags::IN), (self.socket.as_fd(), PollFlags::IN)];
            let woken = poll::wait(if reading { &fds } else { &fds[..1] }, deadline)
                .map_err(|errno| ProcessError::Wait(Error::os("wait for a process", errno)))?;
            if !woken {
                return Err(ProcessError::TimedOut);
            }
        }
        Ok(())
    }

    /// Whether its report is still awaited, or only its end; `None` if it has ended. Reads what has come.
    fn awaited(&self) -> Option<bool> {
        let mut state = self.state();
        (self.refresh(&mut state) == Status::Running).then_some(state.reader.is_some())
    }

    /// Waits for the end and ignores how it came.
    pub(super) fn wait_quietly(&self) {
        let _ = self.wait(None);
    }

    /// The state now. Also reads what the child has sent: a child blocked in sending ends even if it is only polled.
    pub(super) fn status(&self) -> Status {
        self.refresh(&mut self.state())
    }

    fn refresh(&self, state: &mut State) -> Status {
        state.pump(self.socket.as_fd());
        if state.status == Status::Running
            && let Some(pidfd) = &self.pidfd
        {
            state.status = pidfd::reap(pidfd.as_fd());
            if state.status != Status::Running {
                // What it sent between the last look and its end.
                state.pump(self.socket.as_fd());
            }
        }
        state.status
    }

    /// Sends a signal unless the process has ended.
    ///
    /// # Errors
    /// The system refuses, because the process has taken another identity.
    pub(super) fn send_signal(&self, signal: Signal) -> Result<()> {
        match &self.pidfd {
            Some(pidfd) => pidfd::send_signal(pidfd.as_fd(), signal)
                .map_err(|errno| Error::os("signal a process", errno)),
            None => Ok(()),
        }
    }

    /// Becomes readable when the process has ended.
    pub(super) fn sentinel(&self) -> BorrowedFd<'_> {
        self.pidfd.as_ref().unwrap_or(&self.socket).as_fd()
    }

    /// What becomes readable when it has ended, and when it sends something.
    #[cfg(feature = "tokio")]
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.sentinel(), self.socket.as_fd()]
    }

    /// Nobody wants its result: it need not wait until that is read.
    pub(super) fn abandon(&self) {
        // Fails if the child has ended.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// Ends it, and all that it has started, by SIGKILL.
    ///
    /// # Errors
    /// The system refuses, because the process has taken another identity.
    pub(super) fn kill_tree(&self) -> Result<()> {
        match &self.pidfd {
            Some(pidfd) if self.status() == Status::Running => tree::kill(pidfd.as_fd(), self.pid()),
            _ => Ok(()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_daemon(&self) -> bool {
        self.is_daemon
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads what has come, as far as the child's only report.
    fn pump(&mut self, socket: BorrowedFd<'_>) {
        let Some(reader) = &mut self.reader else { return };
        self.report = match reader.advance(socket) {
            Ok(Progress::Pending) => return,
            Ok(Progress::Frame(frame)) => Some(read_report(frame)),
            // It ended without a report, or while sending one: its status says how.
            Ok(Progress::Closed) | Err(FrameError::Disconnected | FrameError::Truncated) => None,
            Err(error) => Some(Report::Unreadable(error.into())),
        };
        self.reader = None;
    }
}

fn read_report(frame: Frame) -> Report {
    let Frame { tag, bytes, fds } = frame;
    let message = Message { bytes, fds };
    match tag {
        RESULT => Report::Returned(message),
        FAILURE => decode(message).map_or_else(Report::Unreadable, Report::Failed),
        tag => Report::Unreadable(Error::Decode(format!("a process sent an unknown message {tag:#x}"))),
    }
}
