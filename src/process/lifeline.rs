//! The pipe that ends daemon processes with their parent.
//!
//! The parent keeps the writing end for as long as it lives and never writes. A child has the reading end send it SIGKILL
//! when it becomes readable, which is when the last writer is gone: the kernel closes the parent's descriptors however it
//! ends, and a thread that ends closes none. No thread waits for it.
//!
//! # References
//! fcntl(2) on `O_ASYNC`, `F_SETOWN` and `F_SETSIG`; pipe(7).
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::sys::poll;
use crate::{Error, Result};

/// `F_SETSIG` of fcntl(2).
const SET_SIGNAL: libc::c_int = 10;

/// Of the process `of`: a forked copy of it has inherited it, and makes its own.
struct Lifeline {
    of: u32,
    reader: OwnedFd,
    _writer: OwnedFd,
}

static LIFELINE: Mutex<Option<Lifeline>> = Mutex::new(None);

/// That of this process.
fn lifeline() -> MutexGuard<'static, Option<Lifeline>> {
    let mut lifeline = LIFELINE.lock().unwrap_or_else(PoisonError::into_inner);
    lifeline.take_if(|lifeline| lifeline.of != std::process::id());
    lifeline
}

/// In a forked copy of its owner, closes the lifeline: it would keep the owner's daemons alive.
pub(super) fn sweep() {
    drop(lifeline());
}

/// The reading end of this process's lifeline, for a child.
///
/// # Errors
/// [`Error::TooManyFiles`], [`Error::Os`].
pub(super) fn reader() -> Result<OwnedFd> {
    let failed = |errno| Error::os("make a pipe for daemon processes", errno);
    let mut lifeline = lifeline();
    if lifeline.is_none() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        *lifeline = Some(Lifeline { of: std::process::id(), reader, _writer: writer });
    }
    match &*lifeline {
        Some(lifeline) => lifeline.reader.try_clone().map_err(|error| Error::os("share a pipe", error)),
        None => Err(failed(Errno::BADF)),
    }
}

/// Ends this process, by SIGKILL, when the last writer of `reader` is gone; now, if it is gone already.
///
/// # Errors
/// [`Error::TooManyFiles`], [`Error::Os`].
pub(super) fn die_with(reader: &OwnedFd) -> Result<()> {
    const OPERATION: &str = "end with the parent";
    // Who is signalled belongs to the open file, which all daemons of the parent would share.
    let own = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let own = rustix::fs::open(own, flags, Mode::empty()).map_err(|errno| Error::os(OPERATION, errno))?;
    let pid = i32::try_from(std::process::id()).map_err(|_| Error::os(OPERATION, Errno::SRCH))?;
    let settings = [
        (libc::F_SETOWN, pid),
        (SET_SIGNAL, libc::SIGKILL),
        (libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC),
    ];
    for (setting, value) in settings {
        // SAFETY: sets a property of an open descriptor.
        if unsafe { libc::fcntl(own.as_raw_fd(), setting, value) } != 0 {
            return Err(Error::os(OPERATION, std::io::Error::last_os_error()));
        }
    }
    // Gone before the signal was armed: nothing would be sent any more.
    if poll::hung_up(own.as_fd()) {
        super::exit::exit(128 + libc::SIGKILL);
    }
    // It stays open until this process ends.
    std::mem::forget(own);
    Ok(())
}
