//! Does the kernel honour the robust list? Some sandboxes accept it and ignore it.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Node, Thread, Unavailable};

const OWNER_DIED: u32 = 1 << 30;

/// What is known. Two threads may find it out at once, and a forked child whose parent was about to starts anew: a lock
/// would be held for ever there.
static OUTCOME: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const HONOURED: u8 = 1;
const IGNORED: u8 = 2;

/// The outcome of the test, which runs at the first call in this process: a thread takes a word and ends.
pub(super) fn passed() -> Result<(), Unavailable> {
    // Relaxed: the outcome says all that there is to know.
    let outcome = match OUTCOME.load(Ordering::Relaxed) {
        UNKNOWN => {
            let outcome = find_out()?;
            OUTCOME.store(outcome, Ordering::Relaxed);
            outcome
        }
        known => known,
    };
    if outcome == HONOURED {
        Ok(())
    } else {
        Err(Unavailable("the kernel does not mark the robust words of a dead thread"))
    }
}

/// Runs the test. Its errors may be gone at the next call.
fn find_out() -> Result<u8, Unavailable> {
    // Freed only when the kernel has marked it: the list of a thread never points into freed memory.
    let node = ManuallyDrop::new(Arc::new(Node::new()));
    let held = Arc::clone(&node);
    std::thread::Builder::new()
        .spawn(move || hold_and_die(&held))
        .map_err(|_| Unavailable("no thread could be started to test the robust list"))?
        .join()
        .map_err(|_| Unavailable("the robust-list test panicked"))??;
    // Acquire: the thread was joined, which the kernel signals after its walk; no data is read through it.
    if node.word.load(Ordering::Acquire) != OWNER_DIED {
        return Ok(IGNORED);
    }
    drop(ManuallyDrop::into_inner(node));
    Ok(HONOURED)
}

fn hold_and_die(node: &Node) -> Result<(), Unavailable> {
    let thread = Thread::enrol_untested()?;
    thread.set_pending(node);
    node.word.store(thread.tid(), Ordering::Relaxed);
    thread.push(node);
    thread.clear_pending();
    Ok(())
}
