//! A child at work: it becomes what its parent says, calls the function, and reports.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::getpid;
use rustix::stdio::dup2_stdin;

use super::entry::Entry;
use super::exit::exit;
use super::report::{ARGUMENTS, COPIED, Failure, START, Start, WHO};
use super::reporter::{FAILED, report};
use super::upstream::Upstream;
use super::{current, lifeline, panics, reporter};
use crate::sys::frame::{self, Frame};
use crate::sys::pidfd;
use crate::transfer::{Message, decode};
use crate::{Error, Result};

/// Runs the function and reports; returns the exit code. `first` is what the parent has sent already, `ready` is called
/// when all has come.
///
/// # Errors
/// The process could not become what its parent says.
pub(super) fn work(mut upstream: Upstream, first: Option<Frame>, ready: impl FnOnce()) -> Result<i32> {
    let first = match first {
        Some(frame) => frame,
        None => next_frame(&mut upstream)?,
    };
    let Message { bytes, fds } = expect(first, START)?;
    let mut start: Start = decode(Message { bytes, fds: Vec::new() })?;
    let mut fds = fds.into_iter();
    // First of all: the parent may die while the arguments come.
    if start.daemon {
        lifeline::die_with(&next(&mut fds)?)?;
    }
    if start.has_stdin {
        dup2_stdin(next(&mut fds)?).map_err(|errno| Error::os("open standard input", errno))?;
    }
    if let Some(setting) = start.setting.take() {
        // SAFETY: the copy of a zygote, which has one thread.
        unsafe { setting.establish(&mut fds) }?;
    }
    let arguments = expect(next_frame(&mut upstream)?, ARGUMENTS)?;
    // SAFETY: the parent runs the same executable with the same copy of this library, and the message comes from it: that
    // is what `bootstrap` checked. `Entry::offsets` made it.
    let entry = unsafe { Entry::resolve(&start) };
    let entry = entry.ok_or_else(|| Error::Decode("the function is outside of the program's code".into()))?;
    let (socket, parent) = upstream.into_parts();
    current::become_child(&start, parent);
    ready();
    reporter::open(socket);
    Ok(run(|| entry.run(arguments)))
}

/// Runs the body of a child, whose reporter is open; returns the exit code.
pub(super) fn run(body: impl FnOnce() -> Result<Message, Failure>) -> i32 {
    note_panics();
    let outcome =
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(panics::failure_of(&*payload)));
    report(outcome)
}

/// Has what a panic says kept for the parent.
pub(super) fn note_panics() {
    panics::install(|failure| {
        report(Err(failure.clone()));
        exit(FAILED)
    });
}

/// The next frame. The copy of a zygote may have to say before who it is.
fn next_frame(upstream: &mut Upstream) -> Result<Frame> {
    loop {
        let frame = upstream.next()?;
        if frame.tag != WHO {
            return Ok(frame);
        }
        let own = getpid();
        let pidfd = pidfd::open(own).map_err(|errno| Error::os("introduce a process", errno))?;
        let number = own.as_raw_nonzero().get().to_ne_bytes();
        frame::send(upstream.socket(), COPIED, &number, &[pidfd.as_fd()], None)?;
    }
}

/// The message in a frame that has this tag.
///
/// # Errors
/// [`Error::Decode`]: it has another one.
pub(super) fn expect(frame: Frame, expected: u32) -> Result<Message> {
    let Frame { tag, bytes, fds } = frame;
    if tag == expected {
        Ok(Message { bytes, fds })
    } else {
        Err(Error::Decode(format!("unexpected message {tag:#x}")))
    }
}

fn next(fds: &mut impl Iterator<Item = OwnedFd>) -> Result<OwnedFd> {
    fds.next().ok_or_else(|| Error::Decode("a descriptor is missing".into()))
}
