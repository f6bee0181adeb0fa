//! [`Thread`]: the calling thread's place in its robust list.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use super::node::FUTEX_OFFSET;
use super::{Node, Unavailable, arena, self_test};
use crate::sys::futex::Word;

/// Words one thread can hold at once. The kernel walks 2048 entries, and glibc's own mutexes count too.
pub(crate) const CAPACITY: usize = 1024;
/// Words that a thread at its capacity may hold for a moment inside an operation: a queue's turn, and a reaper.
const SPARE: usize = 2;

/// `struct robust_list_head` of the kernel's ABI, which glibc owns.
#[repr(C)]
pub(super) struct Head {
    first: AtomicU64,
    futex_offset: i64,
    pending: AtomicU64,
}

/// An entry of the list in private memory, laid out as glibc lays out a mutex, because glibc enqueues before `top` and
/// dequeues after `bottom` and then writes their `prev` and `next`.
#[repr(C, align(8))]
struct Sentinel {
    word: AtomicU32,
    _beside: [u32; 5],
    prev: AtomicU64,
    next: AtomicU64,
}

const _: () = {
    assert!(offset_of!(Sentinel, word) as i64 - offset_of!(Sentinel, next) as i64 == FUTEX_OFFSET);
    assert!(offset_of!(Sentinel, next) - offset_of!(Sentinel, prev) == 8);
};

impl Sentinel {
    fn link(&self) -> u64 {
        (&raw const self.next).addr() as u64
    }
}

/// One thread's sentinels and shadow. Lives in an arena that a fork wipes; all-zero means unused.
#[repr(C)]
pub(super) struct Context {
    /// The *bottom*'s word holds the thread's id. The kernel reads a node's `next` before it marks the node, and the
    /// bottom is the last node of ours: when its word says "owner died", the kernel is done with this whole context, and
    /// another thread may have it.
    bottom: Sentinel,
    top: Sentinel,
    head: Cell<*const Head>,
    /// The address of the owning thread's [`CONTEXT`] variable: tells a forked child, and whoever inherits a
    /// dead thread's context, that this one is not theirs.
    owner: Cell<usize>,
    held: AtomicUsize,
    /// Addresses of the nodes held, oldest first. Atomic because [`arena::holds_any_in`] reads it from other threads.
    shadow: [AtomicUsize; CAPACITY + SPARE],
    /// For each of them how often it was taken again while held; 0 in every unused entry, so that a push need not
    /// write it.
    depths: [Cell<u32>; CAPACITY + SPARE],
}

thread_local! {
    // No destructor: a guard may be dropped in another variable's destructor.
    static CONTEXT: Cell<*const Context> = const { Cell::new(ptr::null()) };
}

/// The calling thread, ready to hold words. Neither Send nor Sync.
#[derive(Clone, Copy)]
pub(crate) struct Thread {
    context: *const Context,
}

impl Thread {
    /// The calling thread; links it into its robust list at the first call.
    #[inline]
    pub(crate) fn current() -> Result<Self, Unavailable> {
        CONTEXT.with(|variable| {
            let context = variable.get();
            // SAFETY: contexts are never unmapped, and only their owner, this thread, writes `owner` while it lives.
            if !context.is_null() && unsafe { &*context }.owner.get() == ptr::from_ref(variable).addr() {
                return Ok(Self { context });
            }
            self_test::passed()?;
            Self::enrol(variable)
        })
    }

    /// Claims a context and links it into the robust list, without asking whether the kernel honours it.
    #[cold]
    pub(super) fn enrol_untested() -> Result<Self, Unavailable> {
        CONTEXT.with(Self::enrol)
    }

    #[cold]
    fn enrol(variable: &Cell<*const Context>) -> Result<Self, Unavailable> {
        let head = registered_head()?;
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let context = arena::claim(tid)?;
        // SAFETY: `claim` returns a context of a live arena that belongs to this thread alone from now on.
        let own = unsafe { &*context };
        // SAFETY: `registered_head` checked the pointer that the kernel holds for this very thread.
        own.link_into(unsafe { &*head });
        own.owner.set(ptr::from_ref(variable).addr());
        variable.set(context);
        Ok(Self { context })
    }

    #[inline]
    fn context(&self) -> &Context {
        // SAFETY: contexts are never unmapped; this one belongs to the calling thread (`Thread` is !Send).
        unsafe { &*self.context }
    }

    /// The thread's id in its PID namespace, as words carry it.
    #[inline]
    pub(crate) fn tid(&self) -> u32 {
        // Relaxed: written by this thread.
        self.context().bottom.word.load(Ordering::Relaxed)
    }

    /// Tells the kernel which word this thread is about to take, release or wait for: at death it marks the word if
    /// this thread holds it, and wakes one of its sleepers if nobody does.
    #[inline]
    pub(crate) fn set_pending(&self, node: &Node) {
        self.context().store_pending(node.link());
    }

    /// [`Thread::set_pending`] for a word that is never held, only slept on: at death the kernel wakes one sleeper of it,
    /// if bits 0-29 of the word are zero at that moment. No thread's id may ever be in them.
    #[inline]
    pub(crate) fn set_pending_word(&self, word: Word<'_>) {
        // Only an address: the kernel computes the word's from it and reads nothing between the two.
        let address = ptr::from_ref(word).addr() as u64;
        self.context().store_pending(address.wrapping_add_signed(-FUTEX_OFFSET));
    }

    /// Ends what [`Thread::set_pending`] or [`Thread::set_pending_word`] began.
    #[inline]
    pub(crate) fn clear_pending(&self) {
        self.context().store_pending(0);
    }

    /// Whether this thread holds `node`. Membership is what counts, not the word, which a peer can scribble over.
    #[inline]
    pub(crate) fn holds(&self, node: &Node) -> bool {
        self.context().position(node).is_some()
    }

    /// How often `node` was taken again while held, to be read and changed; `None` if this thread doesn't hold it.
    #[inline]
    pub(crate) fn depth(&self, node: &Node) -> Option<&Cell<u32>> {
        let context = self.context();
        context.depths.get(context.position(node)?)
    }

    /// The number of words this thread holds.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.context().held.load(Ordering::Relaxed)
    }

    /// Links a word that this thread has just taken, and for which it is pending.
    #[inline]
    pub(crate) fn push(&self, node: &Node) {
        let context = self.context();
        let held = context.held.load(Ordering::Relaxed);
        let Some(entry) = context.shadow.get(held) else {
            debug_assert!(false, "push beyond the capacity");
            return;
        };
        // Relaxed, here and in `pop`: the list is read by the kernel on this very thread, after its last instruction.
        // The compiler must keep the order, for the thread may be killed between any two of these stores.
        node.next.store(context.link_below(held), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        context.top.next.store(node.link(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        entry.store(ptr::from_ref(node).addr(), Ordering::Relaxed);
        context.held.store(held + 1, Ordering::Relaxed);
    }

    /// Unlinks a word for which this thread is pending, and whose depth is 0; false if it doesn't hold it.
    #[inline]
    pub(crate) fn pop(&self, node: &Node) -> bool {
        let context = self.context();
        let Some(position) = context.position(node) else {
            return false;
        };
        let held = context.held.load(Ordering::Relaxed);
        let below = context.link_below(position);
        if position + 1 == held {
            context.top.next.store(below, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
        } else {
            context.unlink_between(position, held, below);
        }
        context.held.store(held - 1, Ordering::Relaxed);
        true
    }
}

impl Context {
    /// The bottom's word: 0 or "owner died" when the context is free.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.bottom.word
    }

    /// Whether a node in `range` is in the shadow.
    pub(super) fn holds_any_in(&self, range: &core::ops::Range<usize>) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        self.shadow.iter().take(held).any(|entry| range.contains(&entry.load(Ordering::Relaxed)))
    }

    /// Where in the shadow `node` is, the newest first looked at.
    #[inline]
    fn position(&self, node: &Node) -> Option<usize> {
        let held = self.held.load(Ordering::Relaxed);
        let address = ptr::from_ref(node).addr();
        let shadow = self.shadow.get(..held)?;
        shadow.iter().rposition(|entry| entry.load(Ordering::Relaxed) == address)
    }

    /// Unlinks the word at `position` of `held`, which is not the newest, and closes the gap in the shadow.
    #[cold]
    fn unlink_between(&self, position: usize, held: usize, below: u64) {
        let shadow = self.shadow.get(position..held).unwrap_or(&[]);
        if let [_, above, ..] = shadow {
            let above = ptr::with_exposed_provenance::<Node>(above.load(Ordering::Relaxed));
            // SAFETY: the shadow lists nodes this thread holds; holding one keeps its memory mapped (L4).
            let above = unsafe { &*above };
            above.next.store(below, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
        }
        for pair in shadow.windows(2) {
            if let [lower, upper] = pair {
                lower.store(upper.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let depths = self.depths.get(position..held).unwrap_or(&[]);
        for pair in depths.windows(2) {
            if let [lower, upper] = pair {
                lower.set(upper.get());
            }
        }
        if let [.., last] = depths {
            last.set(0);
        }
    }

    /// The link of the node under position `position` of the shadow.
    #[inline]
    fn link_below(&self, position: usize) -> u64 {
        match position.checked_sub(1).and_then(|below| self.shadow.get(below)) {
            None => self.bottom.link(),
            Some(below) => (below.load(Ordering::Relaxed) + offset_of!(Node, next)) as u64,
        }
    }

    #[inline]
    fn store_pending(&self, link: u64) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the head is part of the calling thread's own descriptor, which lives as long as the thread.
        let head = unsafe { &*self.head.get() };
        head.pending.store(link, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Inserts `top -> bottom` at the head of the list, exactly as glibc inserts a mutex: nothing is walked.
    fn link_into(&self, head: &Head) {
        self.head.set(head);
        // An earlier thread may have died with words held.
        let held = self.held.load(Ordering::Relaxed);
        self.depths.iter().take(held + 1).for_each(|depth| depth.set(0));
        self.held.store(0, Ordering::Relaxed);
        let first = head.first.load(Ordering::Relaxed);
        self.bottom.next.store(first, Ordering::Relaxed);
        self.bottom.prev.store(self.top.link(), Ordering::Relaxed);
        self.top.next.store(self.bottom.link(), Ordering::Relaxed);
        self.top.prev.store((&raw const head.first).addr() as u64, Ordering::Relaxed);
        // Bit 0 of a link marks a priority-inheriting mutex; 8 bytes before the `next` that it points at lies `prev`,
        // in glibc's empty head too.
        let prev = ptr::with_exposed_provenance::<AtomicU64>((first & !1) as usize - 8);
        // SAFETY: `first` is glibc's head, one of its locked mutexes or another copy's sentinel, each with a `prev`.
        let prev = unsafe { &*prev };
        prev.store(self.bottom.link(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        head.first.store(self.top.link(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }
}

/// The list head that the kernel has for this thread, if it is glibc's.
fn registered_head() -> Result<*const Head, Unavailable> {
    let mut head: *const Head = ptr::null();
    let mut len = 0_usize;
    // SAFETY: get_robust_list writes one pointer and one size, to the two variables given.
    let status = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    if status != 0 || head.is_null() || len != size_of::<Head>() {
        return Err(Unavailable("no robust list is registered for this thread (get_robust_list)"));
    }
    // SAFETY: the kernel returned the head that libc registered for this thread: it is mapped and stays so.
    if unsafe { &*head }.futex_offset != FUTEX_OFFSET {
        return Err(Unavailable("the robust list is not glibc's: futex_offset is not -32"));
    }
    Ok(head)
}
