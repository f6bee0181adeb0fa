//! A copy of the program taking over from `main`: it becomes a child, or a zygote.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, getppid};
use rustix::stdio::{dup2_stdin, stdin};

use super::constructor;
use super::current::Parent;
use super::exit::{end, exit};
use super::image::Image;
use super::report::SERVE;
use super::reporter::FAILED;
use super::serve::serve;
use super::upstream::Upstream;
use super::work::work;
use crate::sys::{liveness, poll, socket, system};
use crate::{Error, Result};

/// Tells a copy of the program that its standard input is a bootstrap socket, and which copy of this library is meant:
/// where in the image that one lies.
pub(super) const VARIABLE: &str = "MULTIPROC_BOOTSTRAP";

/// Descriptors below are the standard streams.
const FIRST_FD: i32 = 3;
/// The longest name that the kernel keeps.
const MAX_COMM: usize = 15;

/// Whose process this is.
enum Peer {
    /// The parent made the socket. `None`: it can't be watched.
    Parent(Option<Parent>),
    /// Whoever made the socket has ended.
    Gone,
    /// Somebody else made it, or it is no socket.
    Stranger,
}

/// In a child, becomes the child and doesn't return; elsewhere does nothing. `later` runs the constructors that have not
/// run yet.
pub(super) fn enter(later: impl FnOnce()) {
    let Some(meant) = std::env::var_os(VARIABLE) else { return };
    if !is_for_this_copy(&meant) {
        return;
    }
    match peer() {
        Peer::Stranger => {}
        // To run `main` now would start the program a second time behind the user's back.
        Peer::Gone => exit(FAILED),
        Peer::Parent(_) if is_secure() => {
            eprintln!("multiproc: a process was not started: it would have more rights than its parent");
            exit(FAILED)
        }
        Peer::Parent(parent) => match take_over(parent, later) {
            Ok(code) => end(code),
            Err(error) => {
                eprintln!("multiproc: a process could not start: {error}");
                exit(FAILED)
            }
        },
    }
}

/// Whether the program runs with more rights than whoever started it.
pub(super) fn is_secure() -> bool {
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
    if system::has_one_thread() {
        // SAFETY: this is the only thread, so nobody reads the environment.
        unsafe { std::env::remove_var(VARIABLE) };
    }
}

fn peer() -> Peer {
    let parent = getppid();
    let Ok(peer) = socket::peer_pid(stdin()) else { return Peer::Stranger };
    // A parent outside of this PID namespace has the number 0, both here and there.
    if peer != Pid::as_raw(parent) {
        // A fork of one that has ended may keep the socket open.
        let has_ended = poll::hung_up(stdin()) || liveness::is_dead(peer.unsigned_abs());
        return if has_ended { Peer::Gone } else { Peer::Stranger };
    }
    match parent.map(Parent::open) {
        Some(Ok(None)) => Peer::Gone,
        Some(Ok(Some(parent))) => Peer::Parent(Some(parent)),
        None | Some(Err(_)) => Peer::Parent(None),
    }
}

/// Becomes what the parent wants; returns the exit code.
fn take_over(parent: Option<Parent>, later: impl FnOnce()) -> Result<i32> {
    forget_variable();
    open_standard_streams()?;
    let mut upstream = Upstream::new(take_socket()?, parent);
    let first = upstream.next()?;
    let as_main_does = || {
        ignore_sigpipe();
        name_process();
        later();
    };
    if first.tag == SERVE {
        as_main_does();
        work(serve(upstream, first.bytes)?, None, || {})
    } else {
        work(upstream, Some(first), as_main_does)
    }
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
