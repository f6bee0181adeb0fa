//! The robust list: what the real one tells the kernel, and what the kernel does with it at a death.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr;
use std::thread::panicking;

use super::atomic::AtomicU32;
use super::futex::{self, Word};
use super::life::{Sabotage, step};
use super::liveness;

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
#[repr(C)]
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
    held: RefCell<Vec<Held>>,
    pending: Cell<Option<Word<'static>>>,
    /// The kernel will not find the list.
    lost: Cell<bool>,
}

struct Held {
    node: *const Node,
    level: u32,
}

/// As the real one, where nothing forks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enrolment;

impl Enrolment {
    pub(crate) fn of(_thread: Thread) -> Self {
        Self
    }

    pub(crate) fn thread(&self) -> Option<Thread> {
        Some(Thread)
    }
}

/// The calling thread. One that unwinds holds nothing: it was killed, or the model has failed and there is no list.
#[derive(Clone, Copy)]
pub(crate) struct Thread;

impl Thread {
    pub(crate) fn current() -> Result<Self, Unavailable> {
        Ok(Self)
    }

    pub(crate) fn enrolled() -> Option<Self> {
        Some(Self)
    }

    pub(crate) fn tid(&self) -> u32 {
        if panicking() {
            return 0;
        }
        LIST.with(|list| list.tid.get())
    }

    pub(crate) fn set_pending(&self, node: &Node) {
        self.set_pending_word(Word::from(&node.word));
    }

    pub(crate) fn set_pending_word(&self, word: Word<'_>) {
        if step() {
            // SAFETY: a model keeps its words alive until all of its threads have ended.
            let word = unsafe { std::mem::transmute::<Word<'_>, Word<'static>>(word) };
            LIST.with(|list| list.pending.set(Some(word)));
        }
    }

    pub(crate) fn clear_pending(&self) {
        if step() {
            LIST.with(|list| list.pending.set(None));
        }
    }

    pub(crate) fn holds(&self, node: &Node) -> bool {
        self.level(node).is_some()
    }

    pub(crate) fn level(&self, node: &Node) -> Option<u32> {
        if panicking() {
            return None;
        }
        LIST.with(|list| {
            list.held.borrow().iter().find(|held| ptr::eq(held.node, node)).map(|held| held.level)
        })
    }

    pub(crate) fn set_level(&self, node: &Node, level: u32) {
        if panicking() {
            return;
        }
        LIST.with(|list| {
            let mut held = list.held.borrow_mut();
            held.iter_mut().filter(|held| ptr::eq(held.node, node)).for_each(|held| held.level = level);
        });
    }

    /// The model always knows the level the long way.
    pub(crate) fn nest(&self, _node: &Node, _may: impl FnOnce() -> bool) -> bool {
        false
    }

    /// As [`Thread::nest`].
    pub(crate) fn unnest(&self, _node: &Node) -> bool {
        false
    }

    pub(crate) fn holds_none(&self) -> bool {
        self.held() == 0
    }

    pub(crate) fn held(&self) -> usize {
        if panicking() {
            return 0;
        }
        LIST.with(|list| list.held.borrow().len())
    }

    pub(crate) fn push(&self, node: &Node) {
        if step() {
            LIST.with(|list| list.held.borrow_mut().push(Held { node, level: 0 }));
        }
    }

    pub(crate) fn pop_only(&self, node: &Node) -> bool {
        self.held() == 1 && self.level(node) == Some(0) && self.pop(node)
    }

    pub(crate) fn pop(&self, node: &Node) -> bool {
        let held = self.holds(node);
        if step() {
            LIST.with(|list| list.held.borrow_mut().retain(|held| !ptr::eq(held.node, node)));
        }
        held
    }
}

/// Makes the calling thread the thread `tid`, at whose death the kernel finds its list, or not.
pub(super) fn enrol(tid: u32, lost: bool) {
    liveness::born(tid);
    LIST.with(|list| {
        list.tid.set(tid);
        list.lost.set(lost);
    });
}

/// What the kernel does when a thread ends: every held word first, the pending one last.
pub(super) fn exit_walk() {
    let (tid, held, pending, lost) =
        LIST.with(|list| (list.tid.get(), list.held.take(), list.pending.take(), list.lost.get()));
    if lost {
        return liveness::died_unmarked(tid);
    }
    for node in held.into_iter().rev().map(|held| held.node) {
        // SAFETY: a model keeps its nodes alive until all of its threads have ended.
        let word = unsafe { &(*node).word };
        if pending.is_none_or(|pending| pending.address() != Word::from(word).address()) {
            mark(tid, word, false);
        }
    }
    match pending {
        Some(Word::Whole(word)) => mark(tid, word, true),
        // Never held, so never marked.
        Some(half) if half.seen_by_kernel() & TID_MASK == 0 => wake_for_pending(half),
        _ => {}
    }
}

fn mark(tid: u32, word: &AtomicU32, pending: bool) {
    let mut before = 0;
    let marked = word.by_kernel(|value| {
        before = value;
        (value & TID_MASK == tid).then_some((value & WAITERS) | OWNER_DIED)
    });
    match marked {
        Ok(_) if before & WAITERS != 0 && !Sabotage::NoOwnerWake.is_on() => {
            futex::wake_by_kernel(word.into(), 1);
        }
        Err(value) if pending && value & TID_MASK == 0 => wake_for_pending(word.into()),
        _ => {}
    }
}

fn wake_for_pending(word: Word<'_>) {
    if !Sabotage::NoPendingWake.is_on() {
        futex::wake_by_kernel(word, 1);
    }
}
