//! The end of a process.
#![allow(unsafe_code)]

use std::io::Write;

use super::children;

/// Has `function` called when this process ends normally: after `main`, or by `std::process::exit`.
pub(super) fn call_at_exit(function: extern "C" fn()) {
    // SAFETY: the function lies in this program for as long as it runs. Out of memory, children are not waited for.
    unsafe { libc::atexit(function) };
}

/// Waits for the children, flushes what was printed, and ends the process. Nothing that `atexit` knows is called.
pub(super) fn end(code: i32) -> ! {
    children::end();
    flush();
    exit(code)
}

/// Writes what was printed.
pub(super) fn flush() {
    // A closed standard output is nobody's concern here.
    let _ = std::io::stdout().flush();
    // SAFETY: null means all streams; C code that the function called may have written to some.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends the process at once.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}
