//! The robust list: what the real one tells the kernel, and what the kernel does with it at a death.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr;

use super::atomic::AtomicU32;
use super::futex::{self, Futex};
use super::life::{Sabotage, step};

/// As in the real one.
pub(crate) const CAPACITY: usize = 1024;

const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const TID_MASK: u32 = OWNER_DIED - 1;

/// Never happens in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable(pub(crate) &'static str);

/// A word that a thread can hold.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) word: AtomicU32,
    pub(crate) beside: [AtomicU32; 7],
}

impl Node {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0), beside: std::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

loom::thread_local! {
    static LIST: List = List::default();
}

#[derive(Default)]
struct List {
    tid: Cell<u32>,
    held: RefCell<Vec<*const Node>>,
    pending: Cell<Option<*const dyn Futex>>,
}

/// The calling thread.
#[derive(Clone, Copy)]
pub(crate) struct Thread;

impl Thread {
    pub(crate) fn current() -> Result<Self, Unavailable> {
        Ok(Self)
    }

    pub(crate) fn tid(&self) -> u32 {
        LIST.with(|list| list.tid.get())
    }

    pub(crate) fn set_pending(&self, node: &Node) {
        self.set_pending_word(&node.word);
    }

    pub(crate) fn set_pending_word(&self, word: &(impl Futex + 'static)) {
        if step() {
            LIST.with(|list| list.pending.set(Some(word)));
        }
    }

    pub(crate) fn clear_pending(&self) {
        if step() {
            LIST.with(|list| list.pending.set(None));
        }
    }

    pub(crate) fn holds(&self, node: &Node) -> bool {
        LIST.with(|list| list.held.borrow().contains(&ptr::from_ref(node)))
    }

    pub(crate) fn held(&self) -> usize {
        LIST.with(|list| list.held.borrow().len())
    }

    pub(crate) fn push(&self, node: &Node) {
        if step() {
            LIST.with(|list| list.held.borrow_mut().push(node));
        }
    }

    pub(crate) fn pop(&self, node: &Node) -> bool {
        let held = self.holds(node);
        if step() {
            LIST.with(|list| list.held.borrow_mut().retain(|&other| !ptr::eq(other, node)));
        }
        held
    }
}

/// Makes the calling thread the thread `tid`.
pub(super) fn enrol(tid: u32) {
    LIST.with(|list| list.tid.set(tid));
}

/// What the kernel does when a thread ends: every held word first, the pending one last.
pub(super) fn exit_walk() {
    let (tid, held, pending) = LIST.with(|list| (list.tid.get(), list.held.take(), list.pending.take()));
    for node in held.into_iter().rev() {
        // SAFETY: a model keeps its nodes alive until all of its threads have ended.
        let word = unsafe { &(*node).word };
        if pending.is_none_or(|pending| !ptr::addr_eq(pending, word)) {
            mark(tid, word, false);
        }
    }
    if let Some(pending) = pending {
        // SAFETY: as above.
        mark(tid, unsafe { &*pending }, true);
    }
}

fn mark(tid: u32, word: &dyn Futex, pending: bool) {
    let mut before = 0;
    let marked = word.by_kernel(&mut |word| {
        before = word;
        (word & TID_MASK == tid).then_some((word & WAITERS) | OWNER_DIED)
    });
    let owed = match marked {
        Ok(_) => before & WAITERS != 0,
        Err(word) => pending && word & TID_MASK == 0 && !Sabotage::NoPendingWake.is_on(),
    };
    if owed {
        futex::wake_by_kernel(word, 1);
    }
}
