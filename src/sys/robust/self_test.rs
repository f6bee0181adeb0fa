//! Does the kernel honour the robust list? Some sandboxes accept it and ignore it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Node, Thread, Unavailable};

const OWNER_DIED: u32 = 1 << 30;

/// The outcome of the test, which runs at the first call in this process: a thread takes a word and ends.
pub(super) fn passed() -> Result<(), Unavailable> {
    static OUTCOME: OnceLock<Result<(), Unavailable>> = OnceLock::new();
    *OUTCOME.get_or_init(|| {
        // On the heap and kept: whatever goes wrong, the list of a thread never points into freed memory.
        let node: &'static Node = Box::leak(Box::new(Node::new()));
        std::thread::Builder::new()
            .spawn(move || hold_and_die(node))
            .map_err(|_| Unavailable("no thread could be started to test the robust list"))?
            .join()
            .map_err(|_| Unavailable("the robust-list test panicked"))??;
        died(&node.word)
    })
}

fn hold_and_die(node: &Node) -> Result<(), Unavailable> {
    let thread = Thread::enrol_untested()?;
    thread.set_pending(node);
    node.word.store(thread.tid(), Ordering::Relaxed);
    thread.push(node);
    thread.clear_pending();
    Ok(())
}

fn died(word: &AtomicU32) -> Result<(), Unavailable> {
    // Acquire: the thread was joined, which the kernel signals after its walk; no data is read through it.
    if word.load(Ordering::Acquire) == OWNER_DIED {
        Ok(())
    } else {
        Err(Unavailable("the kernel does not mark the robust words of a dead thread"))
    }
}
