//! How a child's outcome gets to its parent.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::report::{FAILURE, Failure, RESULT};
use crate::Error;
use crate::sys::frame::{self, FrameError};
use crate::transfer::{Message, encode};

/// The code of a process whose function panicked or could not be called, as in Python.
pub(super) const FAILED: i32 = 1;

static REPORTER: Mutex<Reporter> = Mutex::new(Reporter { socket: None, has_reported: false });

struct Reporter {
    /// To the parent. It stays open until this process ends: that tells the parent that it runs.
    socket: Option<OwnedFd>,
    has_reported: bool,
}

fn reporter() -> MutexGuard<'static, Reporter> {
    REPORTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom to report to.
pub(super) fn open(socket: OwnedFd) {
    *reporter() = Reporter { socket: Some(socket), has_reported: false };
}

/// Sends the outcome and returns the exit code for it. Only the first one is sent, and whole: where a panic aborts, one
/// may come from another thread meanwhile.
pub(super) fn report(outcome: Result<Message, Failure>) -> i32 {
    let mut reporter = reporter();
    if std::mem::replace(&mut reporter.has_reported, true) {
        return FAILED;
    }
    let (tag, code, message) = match outcome {
        Ok(message) => (RESULT, 0, message),
        Err(failure) => (FAILURE, FAILED, encode(&failure).unwrap_or_default()),
    };
    let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
    let send = |socket: &OwnedFd| frame::send(socket.as_fd(), tag, &message.bytes, &fds, None);
    match reporter.socket.as_ref().map_or(Ok(()), send) {
        // The parent dropped its handle: nobody asks for the result.
        Ok(()) | Err(FrameError::Disconnected) => code,
        Err(error) => {
            eprintln!("multiproc: a result could not be sent: {}", Error::from(error));
            FAILED
        }
    }
}
