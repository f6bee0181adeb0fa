//! A process with all that it has started.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal};

use crate::sys::pidfd;
use crate::{Error, Result};

/// Ends the process `root`, number `pid`, and its descendants, by SIGKILL.
///
/// Each is stopped before it is asked for its children, so that none is started meanwhile. A descendant whose parent has
/// ended before is nobody's child any more, and not found.
///
/// # Errors
/// [`Error::Os`]: `root` has become another user's. Descendants that have are left.
pub(super) fn kill(root: BorrowedFd<'_>, pid: u32) -> Result<()> {
    signal(root, Signal::STOP)?;
    let mut found: Vec<OwnedFd> = Vec::new();
    let mut seen = BTreeSet::from([pid]);
    let mut parents = vec![pid];
    let mut asked = 0;
    // Twice, or until nobody is found: a zygote that wasn't stopped yet makes children of its parent, which was.
    while asked < parents.len() {
        asked = parents.len();
        let mut at = 0;
        while let Some(&parent) = parents.get(at) {
            for child in children_of(parent).into_iter().filter(|child| seen.insert(*child)) {
                let number = i32::try_from(child).ok().and_then(Pid::from_raw);
                let Some(process) = number.and_then(|number| pidfd::open(number).ok()) else { continue };
                // Its parent is stopped and can't have reaped it: the number is still its own, if it is still a child.
                if children_of(parent).contains(&child) && signal(process.as_fd(), Signal::STOP).is_ok() {
                    found.push(process);
                    parents.push(child);
                }
            }
            at += 1;
        }
    }
    // The leaves first: nobody sees its child die.
    for process in found.iter().rev() {
        let _ = signal(process.as_fd(), Signal::KILL);
    }
    signal(root, Signal::KILL)
}

fn signal(process: BorrowedFd<'_>, signal: Signal) -> Result<()> {
    pidfd::send_signal(process, signal).map_err(|errno| Error::os("signal a process", errno))
}

/// The children of all threads of process `pid`, as proc(5) lists them; those of a stopped process are complete.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<_>>())
        .collect()
}
