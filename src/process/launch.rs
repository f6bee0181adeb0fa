//! Starting a process, and telling it on a socket what to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, getegid, geteuid, getgid, getuid};

use super::bootstrap::{self, VARIABLE};
use super::child::Child;
use super::current::{current_process, next_number};
use super::entry::Entry;
use super::identity::Identity;
use super::image::Image;
use super::plan::Plan;
use super::report::{ARGUMENTS, START, Start};
use super::setting::Setting;
use super::start_method::StartMethod;
use super::{children, constructor, lifeline, zygote};
use crate::sys::pidfd::{self, Status};
use crate::sys::poll::{self, hung_up};
use crate::sys::{Deadline, frame, socket};
use crate::transfer::{Message, encode};
use crate::{Error, Result};

pub(super) const OPERATION: &str = "start a process";

/// A process that waits for its function.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    /// `None`: it has ended, and somebody else reaped it.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) socket: OwnedFd,
}

/// Starts a child that calls `entry` with `arguments`.
///
/// # Errors
/// As [`Process::spawn`](crate::Process::spawn).
pub(super) fn launch(mut plan: Plan, entry: Entry, arguments: Message) -> Result<Arc<Child>> {
    check_may_start()?;
    let own = current_process();
    let anchor = anchor()?;
    let (runner, function) = entry.offsets()?;
    let number = next_number();
    let name = plan.name.take().unwrap_or_else(|| format!("Process-{number}"));
    let who = (name.clone(), plan.daemon);
    let lifeline = plan.daemon.then(lifeline::reader).transpose()?;
    let has_stdin = plan.stdin.is_some();
    let mut fds: Vec<OwnedFd> = lifeline.into_iter().chain(plan.stdin.take()).collect();
    let mut start = Start {
        name,
        number,
        parent_name: own.name().to_owned(),
        daemon: plan.daemon,
        is_parent: plan.is_parent,
        has_stdin,
        setting: None,
        key: plan.key.take().map_or_else(|| own.authkey(), Ok)?,
        runner,
        function,
    };
    let (started, start) = match plan.method {
        StartMethod::Spawn => {
            let start = Message { fds, ..encode(&start)? };
            (start_image(plan.command(), anchor)?, Some(start))
        }
        StartMethod::Zygote => zygote::copy(anchor, || {
            let (identity, mask) = Identity::now()?;
            let (setting, more) = Setting::new(&mut plan, mask)?;
            start.setting = Some(setting);
            fds.extend(more);
            Ok((identity, Message { fds, ..encode(&start)? }))
        })?,
    };
    let socket = started.socket.as_fd();
    let told = start.map_or(Ok(()), |start| tell(socket, START, &start));
    let sent = told.and_then(|()| tell(socket, ARGUMENTS, &arguments));
    let child = Child::new(started, who);
    match sent {
        // A child that has died is reported by `join`, which knows how it died.
        Ok(()) | Err(frame::FrameError::Disconnected) => {
            let child = Arc::new(child);
            children::add(Arc::clone(&child));
            Ok(child)
        }
        Err(error) => {
            let _ = child.send_signal(rustix::process::Signal::KILL);
            child.wait_quietly();
            Err(error.into())
        }
    }
}

/// Whether this process may start others. Reaps those that have ended.
///
/// # Errors
/// [`Error::Unsupported`]: a daemon may not.
pub(super) fn check_may_start() -> Result<()> {
    children::sweep();
    zygote::sweep();
    if !current_process().may_start() {
        return Err(Error::Unsupported { what: "starting a process from a daemon process".into() });
    }
    Ok(())
}

/// Starts this executable once more, by a `command` that says how.
///
/// std's `Command` starts it with `posix_spawn`, and makes the socket its standard input: of all descriptors only that
/// one is inherited, however many threads start processes at once.
///
/// # Errors
/// [`Error::TooManyFiles`], [`Error::Os`].
pub(super) fn start_image(mut command: Command, anchor: u64) -> Result<Started> {
    // The copy would take no orders from its parent, and `main` is not to run instead.
    if bootstrap::is_secure() || getuid() != geteuid() || getgid() != getegid() {
        let what = "starting a process with other rights than the user's (set-user-id, file capabilities)";
        return Err(Error::Unsupported { what: what.into() });
    }
    let (ours, theirs) = socket::pair().map_err(|errno| Error::os(OPERATION, errno))?;
    command.env(VARIABLE, format!("{anchor:x}")).stdin(Stdio::from(theirs));
    let mut started = command.spawn().map_err(|error| Error::os(OPERATION, error))?;
    // The child's end of the socket now is the child's alone: that it is open tells that the child lives.
    drop(command);

    let pid = i32::try_from(started.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::os(OPERATION, Errno::SRCH))?;
    match open_own(pid, ours.as_fd()) {
        Ok(pidfd) => Ok(Started { pid, pidfd, socket: ours }),
        Err(errno) => {
            // Nobody could wait for it later without the risk of meeting another process under its number.
            let _ = started.kill();
            let _ = started.wait();
            Err(Error::os(OPERATION, errno))
        }
    }
}

/// Sends a message to a new process.
///
/// # Errors
/// As [`frame::send`].
pub(super) fn tell(socket: BorrowedFd<'_>, tag: u32, message: &Message) -> Result<(), frame::FrameError> {
    let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
    frame::send(socket, tag, &message.bytes, &fds, None)
}

/// Where the constructor lies in the image: the child's must lie there too.
fn anchor() -> Result<u64> {
    if !constructor::is_ready() {
        let what = "spawn before multiproc::init() was called (feature auto-init is off)";
        return Err(Error::Unsupported { what: what.into() });
    }
    Image::main().offset_of(constructor::anchor()).ok_or_else(|| Error::Unsupported {
        what: "spawn from a shared library: the crate must be linked into the main executable".into(),
    })
}

/// A descriptor for the child with number `pid`; `None` if it ended and was reaped by somebody else meanwhile.
///
/// The number alone proves nothing: a `waitpid(-1)` elsewhere in the program frees it for another process. But the
/// child alone holds the other end of `socket`. If that is still open after the number was looked up, the number was the
/// child's when it was.
pub(super) fn open_own(pid: Pid, socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let pidfd = match pidfd::open(pid) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let own = !hung_up(socket)
        // It ended at once: then its remains are there to be reaped, or it isn't the one.
        || match pidfd::peek(pidfd.as_fd()) {
            Status::Exited(_) | Status::Signaled(_) => true,
            Status::Unknown => false,
            // A process that ends has closed its descriptors some microseconds before it has ended.
            Status::Running => {
                let soon = Deadline::after(Duration::from_secs(1));
                poll::wait(&[(pidfd.as_fd(), PollFlags::IN)], soon)?
            }
        };
    Ok(own.then_some(pidfd))
}
