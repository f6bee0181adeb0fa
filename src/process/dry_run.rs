//! What a child reads, without anything being done: for the fuzzer.

use std::os::fd::AsFd;

use rustix::io::{Errno, write};
use rustix::net::{Shutdown, shutdown};

use super::image::Image;
use super::report::{ARGUMENTS, START, Start};
use super::upstream::Upstream;
use super::work::expect;
use crate::sys::socket;
use crate::transfer::{Message, decode};

/// Whether a child that finds these bytes on its socket, and no descriptors, would go as far as calling a function.
///
/// # Panics
/// There is no socket.
#[doc(hidden)]
pub fn read_bootstrap(bytes: &[u8]) -> bool {
    let (ours, theirs) = socket::pair().expect("a pair of sockets");
    rustix::io::ioctl_fionbio(&ours, true).expect("a socket");
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match write(&ours, rest) {
            Ok(more) => sent += more,
            Err(Errno::INTR) => {}
            // More than fits.
            Err(_) => break,
        }
    }
    shutdown(ours.as_fd(), Shutdown::Write).expect("a socket");
    let mut upstream = Upstream::new(theirs, None);
    let mut read = |tag| upstream.next().and_then(|frame| expect(frame, tag)).ok();
    let Some(Message { bytes, .. }) = read(START) else { return false };
    let start = decode::<Start>(Message { bytes, fds: Vec::new() });
    let is_code = |offset| Image::main().code_at(offset).is_some();
    start.is_ok_and(|start| is_code(start.runner) && is_code(start.function)) && read(ARGUMENTS).is_some()
}
