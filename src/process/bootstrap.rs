//! The child's side: taking over from the program, calling the function, reporting.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, getppid};
use rustix::stdio::{dup2_stdin, stdin};

use super::entry::Entry;
use super::exit::{end, exit};
use super::image::Image;
use super::report::{ARGUMENTS, FAILURE, Failure, MAX_MESSAGE, RESULT, START, Start};
use super::{constructor, current, lifeline, panics};
use crate::sys::frame::{self, Frame, FrameReader};
use crate::sys::{poll, socket};
use crate::transfer::{Message, decode, encode};
use crate::{Error, Result};

/// Tells a copy of the program that its standard input is a bootstrap socket, and which copy of this library is meant:
/// where in the image that one lies.
pub(super) const VARIABLE: &str = "MULTIPROC_BOOTSTRAP";

/// The code of a process whose function panicked or could not be called, as in Python.
const FAILED: i32 = 1;
/// Descriptors below are the standard streams.
const FIRST_FD: i32 = 3;
/// The longest name that the kernel keeps.
const MAX_COMM: usize = 15;

/// The socket to the parent, for the panic hook of a build whose panics abort.
static PARENT: OnceLock<OwnedFd> = OnceLock::new();

/// Whose process this is.
enum Peer {
    /// The parent made the socket.
    Parent,
    /// Whoever made the socket has ended.
    Gone,
    /// Somebody else made it, or it is no socket.
    Stranger,
}

/// In a child, becomes the child and doesn't return; elsewhere does nothing. `later` runs the constructors that have not
/// run yet.
pub(super) fn enter(later: impl FnOnce()) {
    let Some(meant) = std::env::var_os(VARIABLE) else { return };
    if is_secure() || !is_for_this_copy(&meant) {
        return;
    }
    forget_variable();
    match peer() {
        Peer::Stranger => {}
        // To run `main` now would start the program a second time behind the user's back.
        Peer::Gone => exit(FAILED),
        Peer::Parent => match take_over(later) {
            Ok(code) => end(code),
            Err(error) => {
                eprintln!("multiproc: a process could not start: {error}");
                exit(FAILED)
            }
        },
    }
}

/// Whether the program runs with more rights than whoever started it.
fn is_secure() -> bool {
    // SAFETY: reads a vector that the kernel left on the stack.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether `meant` is where this copy of the library lies: a program may contain several versions of it.
fn is_for_this_copy(meant: &OsStr) -> bool {
    let meant = meant.to_str().and_then(|text| u64::from_str_radix(text, 16).ok());
    meant.is_some() && meant == Image::main().offset_of(constructor::anchor())
}

/// Removes the variable, so that programs started by the function don't see it.
fn forget_variable() {
    // With other threads about (a preloaded library may start some) it has to stay: one may be reading the environment.
    // It does no harm then: nothing but a child's own parent is believed.
    if std::fs::metadata("/proc/self/task").is_ok_and(|tasks| tasks.nlink() == 3) {
        // SAFETY: "." and ".." and one task, so this is the only thread and nobody reads the environment.
        unsafe { std::env::remove_var(VARIABLE) };
    }
}

fn peer() -> Peer {
    // A parent outside of this PID namespace has the number 0, both here and there.
    let parent = Pid::as_raw(getppid());
    match socket::peer_pid(stdin()) {
        Ok(peer) if peer == parent => Peer::Parent,
        Ok(_) if poll::hung_up(stdin()) => Peer::Gone,
        _ => Peer::Stranger,
    }
}

/// Runs the function and reports; returns the exit code.
fn take_over(later: impl FnOnce()) -> Result<i32> {
    open_standard_streams()?;
    let socket = take_socket()?;
    let mut reader = FrameReader::new(MAX_MESSAGE);
    let mut read = |expected| match reader.read(socket.as_fd(), None)? {
        Some(Frame { tag, bytes, fds }) if tag == expected => Ok(Message { bytes, fds }),
        Some(Frame { tag, .. }) => Err(Error::Decode(format!("unexpected message {tag:#x}"))),
        None => Err(Error::Decode("the parent closed the connection".into())),
    };
    let Message { bytes, fds } = read(START)?;
    let start: Start = decode(Message { bytes, fds: Vec::new() })?;
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| Error::Decode("a descriptor is missing".into()));
    // First of all: the parent may die while the arguments come.
    if start.daemon {
        lifeline::die_with(&next()?)?;
    }
    if start.has_stdin {
        dup2_stdin(next()?).map_err(|errno| Error::os("open standard input", errno))?;
    }
    current::become_child(&start);
    let arguments = read(ARGUMENTS)?;
    // SAFETY: the parent runs the same executable with the same copy of this library (`is_for_this_copy`), and the
    // message comes from it (`peer`): `Entry::start` made it.
    let entry = unsafe { Entry::resolve(&start) };
    let entry = entry.ok_or_else(|| Error::Decode("the function is outside of the program's code".into()))?;

    ignore_sigpipe();
    name_process();
    later();
    PARENT.get_or_init(|| socket);
    panics::install(start.name, |failure| {
        report(Err(failure.clone()));
        exit(FAILED)
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| entry.run(arguments)))
        .unwrap_or_else(|payload| Err(panics::failure_of(&*payload)));
    Ok(report(outcome))
}

/// Opens `/dev/null` for those of descriptors 1 and 2 that are closed, so that no other file gets their numbers.
fn open_standard_streams() -> Result<()> {
    loop {
        let null = open_null()?;
        if null.as_raw_fd() >= FIRST_FD {
            return Ok(());
        }
        // It stays open.
        let _ = null.into_raw_fd();
    }
}

/// Moves the socket away from standard input, and puts `/dev/null` there.
fn take_socket() -> Result<OwnedFd> {
    const OPERATION: &str = "take the socket from standard input";
    let socket = fcntl_dupfd_cloexec(stdin(), FIRST_FD).map_err(|errno| Error::os(OPERATION, errno))?;
    dup2_stdin(open_null()?).map_err(|errno| Error::os(OPERATION, errno))?;
    Ok(socket)
}

fn open_null() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
        .map_err(|errno| Error::os("open /dev/null", errno))
}

/// As Rust's start-up does before `main`: writing to a closed pipe is an error, no signal.
fn ignore_sigpipe() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Gives the process the program's name: it was started as `/proc/self/exe`, and `ps` would call it "exe".
fn name_process() {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().as_bytes();
    if let Ok(name) = CString::new(&name[..name.len().min(MAX_COMM)]) {
        // Nothing depends on it.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Sends the outcome and returns the exit code for it.
fn report(outcome: Result<Message, Failure>) -> i32 {
    let (tag, code, message) = match outcome {
        Ok(message) => (RESULT, 0, message),
        Err(failure) => (FAILURE, FAILED, encode(&failure).unwrap_or_default()),
    };
    let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
    let sent =
        PARENT.get().map_or(Ok(()), |socket| frame::send(socket.as_fd(), tag, &message.bytes, &fds, None));
    match sent {
        // The parent dropped its handle: nobody asks for the result.
        Ok(()) | Err(frame::FrameError::Disconnected) => code,
        Err(error) => {
            eprintln!("multiproc: a result could not be sent: {}", Error::from(error));
            FAILED
        }
    }
}
