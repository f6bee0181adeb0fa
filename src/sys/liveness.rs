//! Whether a thread that may belong to any process still exists.
//!
//! # References
//! kill(2) with signal 0; proc(5) on `/proc/pid/stat`, whose path takes any thread's id.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Whether the thread `tid` of this PID namespace is certainly dead. In doubt it is alive.
///
/// Dead is also what the system calls a zombie: the exited leader of a process in which other threads live. Its robust
/// list was walked, or lost, before it became one.
pub(crate) fn is_dead(tid: u32) -> bool {
    let Some(pid) = i32::try_from(tid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    match test_kill_process(pid) {
        Err(Errno::SRCH) => true,
        // A refusal (EPERM) comes from a living thread of another user, or from a sandbox.
        Ok(()) | Err(_) => has_exited(tid),
    }
}

/// Whether `/proc` says so; false where it doesn't show the thread.
fn has_exited(tid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{tid}/stat")).unwrap_or_default();
    matches!(state(&stat), Some(b'Z' | b'X'))
}

/// The state in the text of `/proc/pid/stat`: behind the program's name, which ends at the last parenthesis.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_end + 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_a_name_that_has_parentheses() {
        assert_eq!(state(b"12 (a) Z (b) S 1 2"), Some(b'S'));
        assert_eq!(state(b"12 (sh) Z 1 2"), Some(b'Z'));
        assert_eq!(state(b""), None);
        assert_eq!(state(b"12 (sh)"), None);
    }

    #[test]
    fn threads_of_this_and_of_other_processes_are_alive() {
        assert!(!is_dead(std::process::id()));
        assert!(!is_dead(1));
        let other =
            std::thread::spawn(|| is_dead(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()));
        assert!(!other.join().unwrap());
    }

    #[test]
    fn a_child_is_dead_before_and_after_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        assert!(is_dead(child.id()), "a zombie");
        child.wait().unwrap();
        assert!(is_dead(child.id()), "reaped");
    }

    #[test]
    fn what_is_no_thread_id_is_not_dead() {
        assert!(!is_dead(0));
        assert!(!is_dead(u32::MAX));
    }
}
