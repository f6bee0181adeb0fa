//! The zygote's side: copying itself for its owner.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};

use rustix::stdio::{dup2_stderr, dup2_stdout, stdin};

use super::exit::{exit, flush};
use super::report::{COPIED, COPY, REFUSED};
use super::reporter::FAILED;
use super::setting;
use super::upstream::Upstream;
use super::work::note_panics;
use crate::sys::clone::{Copy, sibling};
use crate::sys::{frame, signals, system};
use crate::transfer::{Message, decode};
use crate::{Error, Result};

/// Serves the parent, in this `environment`, until that ends, or wants no more copies. Returns in a copy only, with its
/// socket to the parent, whose child it is too.
///
/// # Errors
/// The zygote's standard streams can't be closed.
pub(super) fn serve(upstream: Upstream, environment: Vec<u8>) -> Result<Upstream> {
    // What constructors have printed is not printed by each copy.
    flush();
    // It keeps nobody waiting for the end of a stream, and no file system mounted.
    let failed = |errno| Error::os("set up a zygote", errno);
    dup2_stdout(stdin()).map_err(failed)?;
    dup2_stderr(stdin()).map_err(failed)?;
    rustix::process::chdir("/").map_err(failed)?;
    let has_one_thread = system::has_one_thread();
    if has_one_thread {
        // SAFETY: just looked; constructors have run, and nothing else of the program does.
        unsafe { setting::replace_environment(environment) };
    }
    rehearse();
    // It is in its owner's process group, so that its copies are from the beginning, and would end of signals to that which
    // the owner survives. A copy takes those that came for it meanwhile.
    let mask = signals::block_all();
    loop {
        let Ok((tag, socket)) = upstream.next_short() else { exit(0) };
        if tag != COPY {
            exit(FAILED)
        }
        if !has_one_thread {
            answer(&socket, REFUSED, 0, None);
            continue;
        }
        // SAFETY: there is no other thread, and nothing starts one: constructors have run, and nothing else of the program does.
        match unsafe { sibling() } {
            Ok(Copy::Child) => {
                signals::set(mask);
                let (_, parent) = upstream.into_parts();
                return Ok(Upstream::new(socket, parent));
            }
            Ok(Copy::Original { pid, pidfd }) => {
                answer(&socket, COPIED, pid.as_raw_nonzero().get(), Some(&pidfd));
            }
            Err(errno) => answer(&socket, REFUSED, errno.raw_os_error(), None),
        }
    }
}

/// Does what each copy would do for the first time, so that none has to: each page that a copy touches costs it a fault.
fn rehearse() {
    // The loader looks up what registers destructors of thread-local variables, in a dozen pages.
    let _ = decode::<()>(Message::default());
    setting::note_group();
    note_panics();
}

/// Whoever has asked may not be waiting any more.
///
/// Allocates nothing: the first page that is written to after a copy was made costs a fault, while the copy waits for this
/// processor.
fn answer(socket: &OwnedFd, tag: u32, number: i32, pidfd: Option<&OwnedFd>) {
    let fds = pidfd.map(AsFd::as_fd);
    let _ = frame::send(socket.as_fd(), tag, &number.to_ne_bytes(), fds.as_slice(), None);
}
