//! The panic hook of a child: what a panic said, kept for the report.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};

use super::current::current_process;
use super::report::Failure;

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Installs the hook before the present one, which still prints; once, also if this process is forked from one that has
/// it.
///
/// Where a panic aborts, nothing comes after the hooks, so `ending` is called with the failure; it must not return.
pub(super) fn install(ending: fn(&Failure)) {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // Relaxed: a child installs it before there are other threads.
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return;
    }
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let failure = describe(info);
        eprintln!("\nprocess '{}' ({}):", current_process().name(), std::process::id());
        previous(info);
        if cfg!(panic = "abort") {
            ending(&failure);
        }
        // A thread that is going away has no place to keep it, and isn't the one that runs the function.
        let _ = LAST.try_with(|last| last.replace(Some(failure)));
    }));
}

/// The failure for a caught panic: what the hook noted of it, or what the payload says if it was raised past the hook.
pub(crate) fn failure_of(payload: &(dyn Any + Send)) -> Failure {
    let said = text(payload);
    let noted = LAST.try_with(|last| last.take()).ok().flatten();
    match noted {
        Some(Failure::Panicked { message, location, backtrace }) if message == said => {
            Failure::Panicked { message, location, backtrace }
        }
        _ => Failure::Panicked { message: said.to_owned(), location: None, backtrace: None },
    }
}

fn describe(info: &PanicHookInfo<'_>) -> Failure {
    let backtrace = Backtrace::capture();
    Failure::Panicked {
        message: text(info.payload()).to_owned(),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}
