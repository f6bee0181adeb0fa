//! Starting this executable once more, with a socket to it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::Pid;

use super::bootstrap::VARIABLE;
use super::child::Child;
use super::current::{current_process, next_number};
use super::entry::Entry;
use super::image::Image;
use super::report::{ARGUMENTS, START, Start};
use super::{children, constructor, lifeline};
use crate::connection::AuthKey;
use crate::sys::pidfd::{self, Status};
use crate::sys::poll::hung_up;
use crate::sys::{frame, socket};
use crate::transfer::{Message, encode};
use crate::{Error, Result};

const OPERATION: &str = "start a process";

/// What a child is to be like.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: Option<String>,
    pub(super) daemon: bool,
    pub(super) key: Option<AuthKey>,
    pub(super) stdin: Option<OwnedFd>,
    /// This executable, with environment, directory and streams.
    pub(super) command: Command,
}

impl Plan {
    pub(super) fn new() -> Self {
        let command = Command::new("/proc/self/exe");
        Self { name: None, daemon: false, key: None, stdin: None, command }
    }

    /// What to tell the child, and the descriptors to go with it; and what to start it with.
    fn start(self, entry: Entry) -> Result<(Start, Vec<OwnedFd>, Command)> {
        let own = current_process();
        let number = next_number();
        let (runner, function) = entry.offsets()?;
        let start = Start {
            name: self.name.unwrap_or_else(|| format!("Process-{number}")),
            number,
            parent_name: own.name().to_owned(),
            daemon: self.daemon,
            has_stdin: self.stdin.is_some(),
            key: self.key.map_or_else(|| own.authkey(), Ok)?,
            runner,
            function,
        };
        let lifeline = self.daemon.then(lifeline::reader).transpose()?;
        Ok((start, lifeline.into_iter().chain(self.stdin).collect(), self.command))
    }
}

/// Starts a child that calls `entry` with `arguments`.
///
/// std's `Command` starts it with `posix_spawn`, and makes the socket its standard input: of all descriptors only that
/// one is inherited, however many threads start processes at once.
///
/// # Errors
/// As [`Process::spawn`](crate::Process::spawn).
pub(super) fn launch(plan: Plan, entry: Entry, arguments: Message) -> Result<Arc<Child>> {
    children::sweep();
    if current_process().daemon() {
        return Err(Error::Unsupported { what: "starting a process from a daemon process".into() });
    }
    let anchor = anchor()?;
    let (start, fds, mut command) = plan.start(entry)?;
    let identity = (start.name.clone(), start.daemon);
    let start = Message { fds, ..encode(&start)? };
    let (ours, theirs) = socket::pair().map_err(|errno| Error::os(OPERATION, errno))?;

    let mut arguments_of_program = std::env::args_os();
    command
        .arg0(arguments_of_program.next().unwrap_or_else(|| OsString::from(&identity.0)))
        .args(arguments_of_program)
        .env(VARIABLE, format!("{anchor:x}"))
        .stdin(Stdio::from(theirs));
    let mut started = command.spawn().map_err(|error| Error::os(OPERATION, error))?;
    // The child's end of the socket now is the child's alone: that it is open tells that the child lives.
    drop(command);

    let pid = i32::try_from(started.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::os(OPERATION, Errno::SRCH))?;
    let pidfd = match open_own(pid, ours.as_fd()) {
        Ok(pidfd) => pidfd,
        Err(errno) => {
            // Nobody could wait for it later without the risk of meeting another process under its number.
            let _ = started.kill();
            let _ = started.wait();
            return Err(Error::os(OPERATION, errno));
        }
    };
    match deliver(ours.as_fd(), &start, &arguments) {
        // A child that has died is reported by `join`, which knows how it died.
        Ok(()) | Err(frame::FrameError::Disconnected) => {
            let child = Arc::new(Child::new(pid, identity, pidfd, ours));
            children::add(Arc::clone(&child));
            Ok(child)
        }
        Err(error) => {
            let child = Child::new(pid, identity, pidfd, ours);
            let _ = child.send_signal(rustix::process::Signal::KILL);
            child.wait_quietly();
            Err(error.into())
        }
    }
}

fn deliver(socket: BorrowedFd<'_>, start: &Message, arguments: &Message) -> Result<(), frame::FrameError> {
    for (tag, message) in [(START, start), (ARGUMENTS, arguments)] {
        let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
        frame::send(socket, tag, &message.bytes, &fds, None)?;
    }
    Ok(())
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
fn open_own(pid: Pid, socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let pidfd = match pidfd::open(pid) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let own = !hung_up(socket)
        // It ended at once: then its remains are there to be reaped, or it isn't the one.
        || !matches!(pidfd::peek(pidfd.as_fd()), Status::Running | Status::Unknown);
    Ok(own.then_some(pidfd))
}
