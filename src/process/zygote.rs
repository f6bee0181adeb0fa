//! The owner's side of a zygote: a copy of this executable that waits before its function, and of which each process is a
//! copy.
//!
//! The zygote is told to copy itself by a message with the socket of the copy. It answers on that socket with the number
//! and a descriptor of the copy, which then waits there for what a process of `posix_spawn` waits for. The copy is a child
//! of this process, as the zygote is: it is waited for like any other, whether the zygote lives or not.
//!
//! While the zygote copies itself, its owner looks what identity the calling thread has. If that is not the zygote's, the
//! copy, which was told nothing, ends, and a new zygote is started. If it is, the copy is told at once what it is to be, and
//! becomes that while its owner hears of it. It gets the arguments, without which it calls nothing, only after the answer.
//!
//! If the zygote ends before it has answered, the copy itself is asked who it is; if the socket is closed, there is none,
//! and the next zygote is asked. Nothing has been run in that case.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::process::Pid;

use super::identity::Identity;
use super::launch::{OPERATION, Started, start_image, tell};
use super::plan::Plan;
use super::report::{COPIED, COPY, REFUSED, SERVE, START, WHO};
use super::setting::common_environment;
use crate::sys::frame::{self, Frame, FrameError, FrameReader, Progress};
use crate::sys::pidfd::{self, Status};
use crate::sys::{poll, socket, spin};
use crate::transfer::Message;
use crate::{Error, Result};

/// How many zygotes may end before they have copied themselves.
const ATTEMPTS: usize = 4;
/// So many bytes find room in a new socket, whether somebody reads it or not.
const EARLY: usize = 16 * 1024;

/// A look is a system call, so that all take some 100 us: as long as a zygote takes to copy itself.
const PART: u32 = 24;

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

/// Starts a process as a copy of the zygote; of a new one, if there is none that has the calling thread's identity. That
/// is found by `meanwhile`, with what the process is to be, while the zygote copies itself.
///
/// Returns the process, and what it has yet to be told, if that is not on its way already.
///
/// # Errors
/// [`Error::Os`], [`Error::TooManyFiles`], [`Error::Unsupported`], and those of `meanwhile`.
pub(super) fn copy(
    anchor: u64,
    meanwhile: impl FnOnce() -> Result<(Identity, Message)>,
) -> Result<(Started, Option<Message>)> {
    let asked = Asked::new(|theirs| request(None, anchor, theirs))?;
    let (identity, start) = meanwhile()?;
    let mut asked = asked.filter(|asked| asked.zygote.identity == identity);
    for _ in 0..=ATTEMPTS {
        let next = match asked.take() {
            Some(first) => Some(first),
            None => Asked::new(|theirs| request(Some(&identity), anchor, theirs))?,
        };
        let Some(next) = next else { continue };
        let is_told = next.tell(&start);
        if let Some(started) = next.started()? {
            return Ok((started, (!is_told).then_some(start)));
        }
    }
    Err(Error::os(OPERATION, Errno::CONNRESET))
}

/// A copy that a zygote was asked for. Dropped, it ends: it has run nothing yet.
struct Asked {
    zygote: Arc<Zygote>,
    /// `None` once it has been taken.
    socket: Option<OwnedFd>,
}

impl Asked {
    /// Has `request` ask for the copy with the socket that it is given; `None` if nobody was asked.
    fn new(request: impl FnOnce(&OwnedFd) -> Result<Option<Arc<Zygote>>>) -> Result<Option<Self>> {
        let (ours, theirs) = socket::pair().map_err(|errno| Error::os(OPERATION, errno))?;
        let zygote = request(&theirs)?;
        // The copy's alone from now on.
        drop(theirs);
        Ok(zygote.map(|zygote| Self { zygote, socket: Some(ours) }))
    }

    /// Tells the copy, which may not exist yet, what it is to be; `false` if that has to be done later.
    fn tell(&self, start: &Message) -> bool {
        let Some(socket) = self.socket.as_ref().filter(|_| start.bytes.len() <= EARLY) else { return false };
        // Whole or not at all. If the zygote has ended, the answer says so.
        tell(socket.as_fd(), START, start).is_ok()
    }

    /// The copy; `None` if there is none, because the zygote has ended.
    fn started(mut self) -> Result<Option<Started>> {
        let Some(socket) = self.socket.take() else { return Ok(None) };
        let copy = self.zygote.answer(socket.as_fd())?;
        Ok(copy.map(|(pid, pidfd)| Started { pid, pidfd: Some(pidfd), socket }))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        let Ok(Some((_, pidfd))) = self.zygote.answer(socket.as_fd()) else { return };
        // A fork of this process may have a copy of the socket, so that closing it would not be noticed.
        let _ = shutdown(&socket, Shutdown::Both);
        let _ = poll::wait(&[(pidfd.as_fd(), PollFlags::IN)], None);
        pidfd::reap(pidfd.as_fd());
    }
}

/// Has a zygote asked for the copy whose socket is `theirs`: one of this identity, which is started if there is none, or
/// whichever there is. `None` if it has ended, or there is none.
fn request(identity: Option<&Identity>, anchor: u64, theirs: &OwnedFd) -> Result<Option<Arc<Zygote>>> {
    // Held while a first zygote starts: all want that one. Whole messages, one after the other.
    let mut zygotes = zygotes();
    // The first request follows a sweep.
    zygotes.current.take_if(|zygote| identity.is_some() && !zygote.lives());
    let differs = |zygote: &mut Arc<Zygote>| identity.is_some_and(|identity| zygote.identity != *identity);
    if let Some(other) = zygotes.current.take_if(differs) {
        other.retire();
        zygotes.retired.push(other);
    }
    let (zygote, is_new) = match (zygotes.current.take(), identity) {
        (Some(zygote), _) => (zygote, false),
        (None, None) => return Ok(None),
        (None, Some(identity)) => match Zygote::start(identity.clone(), anchor)? {
            Some(zygote) => (Arc::new(zygote), true),
            None => return Ok(None),
        },
    };
    let socket = zygote.socket.as_fd();
    let told = if is_new { frame::send(socket, SERVE, common_environment(), &[], None) } else { Ok(()) };
    let sent = told.and_then(|()| frame::send(socket, COPY, &[], &[theirs.as_fd()], None));
    match sent {
        Ok(()) => {
            zygotes.current = Some(Arc::clone(&zygote));
            Ok(Some(zygote))
        }
        Err(error) => {
            zygote.retire();
            zygotes.retired.push(zygote);
            if matches!(error, FrameError::Disconnected) { Ok(None) } else { Err(error.into()) }
        }
    }
}

impl Zygote {
    /// A new one, which has to be told what it is; `None` if it has ended at once.
    fn start(identity: Identity, anchor: u64) -> Result<Option<Self>> {
        let Started { pidfd, socket, .. } = start_image(Plan::default().command(), anchor)?;
        Ok(pidfd.map(|pidfd| Self { identity, socket, pidfd }))
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
        let mut has_ended = false;
        loop {
            let mut look = || match reader.advance(socket) {
                Ok(Progress::Pending) => None,
                progress => Some(progress),
            };
            // It comes before this thread would be asleep and woken, as a rule.
            let come = look().or_else(|| spin::spin_awake(&ZYGOTES, PART, look));
            match come.unwrap_or(Ok(Progress::Pending)) {
                Ok(Progress::Frame(frame)) => return read_answer(frame).map(Some),
                Ok(Progress::Closed) | Err(FrameError::Disconnected | FrameError::Truncated) => {
                    return Ok(None);
                }
                Ok(Progress::Pending) => {}
                Err(error) => return Err(error.into()),
            }
            // What it sent before it ended had come when that was noticed.
            if has_ended && !is_asked {
                match frame::send(socket, WHO, &[], &[], None) {
                    Ok(()) => is_asked = true,
                    Err(FrameError::Disconnected) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
            if is_asked {
                poll::wait(&[(socket, readable)], None).map_err(failed)?;
            } else {
                [_, has_ended] = poll::wait_for_two([(socket, readable), own]).map_err(failed)?;
            }
        }
    }

    /// Lets it end when it has served what it was asked for.
    fn retire(&self) {
        // Fails if it has ended.
        let _ = shutdown(&self.socket, Shutdown::Write);
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
