//! The owner's side of a zygote: a copy of this executable that waits before its function, and of which each process is a
//! copy.
//!
//! The zygote is told to copy itself by a message with the socket of the copy. It answers on that socket with the number
//! and a descriptor of the copy, which then waits there for what a process of `posix_spawn` waits for. The copy is a child
//! of this process, as the zygote is: it is waited for like any other, whether the zygote lives or not.
//!
//! If the zygote ends before it has answered, the copy itself is asked who it is; if the socket is closed, there is none,
//! and the next zygote is asked. Nothing has been run in that case: the function is named only afterwards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::process::Pid;

use super::identity::Identity;
use super::launch::{OPERATION, Started, start_image};
use super::plan::Plan;
use super::report::{COPIED, COPY, REFUSED, SERVE, WHO};
use crate::sys::frame::{self, Frame, FrameError, FrameReader, Progress};
use crate::sys::pidfd::{self, Status};
use crate::sys::{Deadline, poll, socket};
use crate::{Error, Result};

/// How many zygotes may end before they have copied themselves.
const ATTEMPTS: usize = 4;

static ZYGOTES: Mutex<Zygotes> = Mutex::new(Zygotes { of: 0, current: None, retired: Vec::new() });

struct Zygotes {
    /// Whose they are: a forked copy of this process has inherited the sockets, and closes them.
    of: u32,
    current: Option<Arc<Zygote>>,
    /// They end soon.
    retired: Vec<Arc<Zygote>>,
}

#[derive(Debug)]
struct Zygote {
    identity: Identity,
    socket: OwnedFd,
    pidfd: OwnedFd,
}

/// Those of this process.
fn zygotes() -> MutexGuard<'static, Zygotes> {
    let mut zygotes = ZYGOTES.lock().unwrap_or_else(PoisonError::into_inner);
    let own = std::process::id();
    if zygotes.of != own {
        *zygotes = Zygotes { of: own, current: None, retired: Vec::new() };
    }
    zygotes
}

/// Reaps those that have ended. In a forked copy of their owner, closes the sockets to them.
pub(super) fn sweep() {
    let mut zygotes = zygotes();
    zygotes.retired.retain(|zygote| zygote.lives());
    zygotes.current.take_if(|zygote| !zygote.lives());
}

/// Starts a process as a copy of the zygote; of a new one, if there is none that has this identity.
///
/// # Errors
/// [`Error::Os`], [`Error::TooManyFiles`], [`Error::Unsupported`].
pub(super) fn copy(identity: &Identity, anchor: u64) -> Result<Started> {
    for _ in 0..ATTEMPTS {
        let (ours, theirs) = socket::pair().map_err(|errno| Error::os(OPERATION, errno))?;
        let Some(zygote) = request(identity, anchor, &theirs)? else { continue };
        // The copy's alone from now on.
        drop(theirs);
        if let Some((pid, pidfd)) = zygote.answer(ours.as_fd())? {
            return Ok(Started { pid, pidfd: Some(pidfd), socket: ours });
        }
    }
    Err(Error::os(OPERATION, Errno::CONNRESET))
}

/// Has a zygote asked for the copy whose socket is `theirs`; `None` if it has ended.
fn request(identity: &Identity, anchor: u64, theirs: &OwnedFd) -> Result<Option<Arc<Zygote>>> {
    // Held while a first zygote starts: all want that one. Whole messages, one after the other.
    let mut zygotes = zygotes();
    zygotes.current.take_if(|zygote| !zygote.lives());
    if let Some(other) = zygotes.current.take_if(|zygote| zygote.identity != *identity) {
        other.retire();
        zygotes.retired.push(other);
    }
    let zygote = match &zygotes.current {
        Some(zygote) => Arc::clone(zygote),
        None => match Zygote::start(identity.clone(), anchor)? {
            Some(zygote) => Arc::clone(zygotes.current.insert(Arc::new(zygote))),
            None => return Ok(None),
        },
    };
    match frame::send(zygote.socket.as_fd(), COPY, &[], &[theirs.as_fd()], None) {
        Ok(()) => Ok(Some(zygote)),
        Err(FrameError::Disconnected) => {
            zygotes.current = None;
            zygotes.retired.push(zygote);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Zygote {
    /// A new one; `None` if it has ended at once.
    fn start(identity: Identity, anchor: u64) -> Result<Option<Self>> {
        let mut plan = Plan::default();
        let Started { pidfd, socket, .. } = start_image(plan.command(), anchor)?;
        let Some(pidfd) = pidfd else { return Ok(None) };
        let zygote = Self { identity, socket, pidfd };
        match frame::send(zygote.socket.as_fd(), SERVE, &[], &[], None) {
            Ok(()) => Ok(Some(zygote)),
            Err(FrameError::Disconnected) => {
                zygote.end();
                Ok(None)
            }
            Err(error) => {
                zygote.end();
                Err(error.into())
            }
        }
    }

    /// What has become of the request whose other end is `socket`: number and descriptor of the copy; `None` if there is
    /// none, because the zygote has ended.
    fn answer(&self, socket: BorrowedFd<'_>) -> Result<Option<(Pid, OwnedFd)>> {
        const LONGEST: u64 = 16;
        let failed = |errno| Error::os(OPERATION, errno);
        let readable = PollFlags::IN;
        let own = (self.pidfd.as_fd(), readable);
        let mut reader = FrameReader::new(LONGEST);
        let mut is_asked = false;
        loop {
            // Asked first: what it sent before it ended has come then.
            let has_ended = !is_asked && poll::wait(&[own], Some(Deadline::now())).map_err(failed)?;
            match reader.advance(socket) {
                Ok(Progress::Frame(frame)) => return read_answer(frame).map(Some),
                Ok(Progress::Closed) | Err(FrameError::Disconnected | FrameError::Truncated) => {
                    return Ok(None);
                }
                Ok(Progress::Pending) => {}
                Err(error) => return Err(error.into()),
            }
            if has_ended {
                match frame::send(socket, WHO, &[], &[], None) {
                    Ok(()) => is_asked = true,
                    Err(FrameError::Disconnected) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
            let both = [(socket, readable), own];
            poll::wait(if is_asked { &both[..1] } else { &both }, None).map_err(failed)?;
        }
    }

    /// Lets it end when it has served what it was asked for.
    fn retire(&self) {
        // Fails if it has ended.
        let _ = shutdown(&self.socket, Shutdown::Write);
    }

    /// Ends it at once, and reaps it.
    fn end(&self) {
        let _ = pidfd::send_signal(self.pidfd.as_fd(), rustix::process::Signal::KILL);
        let _ = poll::wait(&[(self.pidfd.as_fd(), PollFlags::IN)], None);
        pidfd::reap(self.pidfd.as_fd());
    }

    /// Whether it lives; one that doesn't is reaped.
    fn lives(&self) -> bool {
        pidfd::reap(self.pidfd.as_fd()) == Status::Running
    }
}

fn read_answer(frame: Frame) -> Result<(Pid, OwnedFd)> {
    let number = <[u8; 4]>::try_from(frame.bytes.as_slice()).map(i32::from_ne_bytes);
    let number = number.map_err(|_| Error::Decode("a zygote's answer has no number".into()))?;
    match (frame.tag, Pid::from_raw(number), frame.fds.into_iter().next()) {
        (COPIED, Some(pid), Some(pidfd)) => Ok((pid, pidfd)),
        (REFUSED, None, _) => {
            let what = "StartMethod::Zygote in a program whose constructors start threads";
            Err(Error::Unsupported { what: what.into() })
        }
        (REFUSED, Some(_), _) => Err(Error::os(OPERATION, Errno::from_raw_os_error(number))),
        (tag, ..) => Err(Error::Decode(format!("a zygote answered {tag:#x}"))),
    }
}
