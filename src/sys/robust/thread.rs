//! [`Thread`]: the calling thread's place in its robust list.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use super::context::{Context, Head};
use super::node::FUTEX_OFFSET;
use super::{Node, Unavailable, arena, self_test};
use crate::sys::futex::Word;

thread_local! {
    // No destructor: a guard may be dropped in another variable's destructor.
    static CONTEXT: Cell<*const Context> = const { Cell::new(ptr::null()) };
}

/// How many threads were enrolled, in this process and in those that it was forked from before they forked.
static ENROLLED: AtomicU64 = AtomicU64::new(0);

/// The calling thread, ready to hold words. Neither Send nor Sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    context: *const Context,
}

impl Thread {
    /// The calling thread; links it into its robust list at the first call.
    #[inline]
    pub(crate) fn current() -> Result<Self, Unavailable> {
        Self::enrolled().map_or_else(Self::enrol, Ok)
    }

    /// The calling thread, if it is in its robust list: one that isn't holds nothing.
    #[inline]
    pub(crate) fn enrolled() -> Option<Self> {
        CONTEXT.with(|variable| {
            let context = variable.get();
            // SAFETY: contexts are never unmapped, and only their owner, this thread, writes `owner` while it lives.
            let is_own =
                !context.is_null() && unsafe { &*context }.owner.get() == ptr::from_ref(variable).addr();
            is_own.then_some(Self { context })
        })
    }

    #[cold]
    fn enrol() -> Result<Self, Unavailable> {
        self_test::passed()?;
        Self::enrol_untested()
    }

    /// Claims a context and links it into the robust list, without asking whether the kernel honours it.
    #[cold]
    pub(super) fn enrol_untested() -> Result<Self, Unavailable> {
        let head = registered_head()?;
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let context = arena::claim(tid)?;
        // SAFETY: `claim` returns a context of a live arena that belongs to this thread alone from now on.
        let own = unsafe { &*context };
        // SAFETY: `registered_head` checked the pointer that the kernel holds for this very thread.
        own.link_into(unsafe { &*head });
        CONTEXT.with(|variable| {
            own.owner.set(ptr::from_ref(variable).addr());
            // Relaxed, both: only that it is another one each time.
            let stamp = ENROLLED.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            own.stamp.store(stamp, Ordering::Relaxed);
            variable.set(context);
        });
        Ok(Self { context })
    }

    #[inline]
    fn context(&self) -> &Context {
        // SAFETY: contexts are never unmapped; this one belongs to the calling thread (`Thread` is !Send).
        unsafe { &*self.context }
    }

    /// What no other thread ever has: a number that a fork wipes, and that its child gives to none of its own.
    #[inline]
    pub(super) fn stamp(&self) -> u64 {
        self.context().stamp.load(Ordering::Relaxed) // Relaxed: compared with what this thread wrote.
    }

    /// The thread's id in its PID namespace, as words carry it.
    #[inline]
    pub(crate) fn tid(&self) -> u32 {
        // Relaxed: written by this thread.
        self.context().word().load(Ordering::Relaxed)
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
        self.context().contains(node.link())
    }

    /// How often `node` was taken again while held; `None` if this thread doesn't hold it.
    #[inline]
    pub(crate) fn level(&self, node: &Node) -> Option<u32> {
        self.context().level(node.link())
    }

    /// Notes how often `node`, which this thread holds, was taken again.
    pub(crate) fn set_level(&self, node: &Node, level: u32) {
        self.context().set_level(node.link(), level);
    }

    /// Notes that `node` was taken again; does nothing and is false if this thread doesn't hold it, or doesn't know at once,
    /// or if `may` says so. That is asked of a holder only: what it reads may lie on a cache line that others write.
    #[inline]
    pub(crate) fn nest(&self, node: &Node, may: impl FnOnce() -> bool) -> bool {
        let level = self.context().newest_level(node.link()).filter(|_| may());
        let above = level.and_then(|level| level.get().checked_add(1));
        level.zip(above).inspect(|(level, above)| level.set(*above)).is_some()
    }

    /// Notes that `node`, taken again before, was given back once; does nothing and is false if it wasn't, or if this
    /// thread doesn't know at once.
    #[inline]
    pub(crate) fn unnest(&self, node: &Node) -> bool {
        let level = self.context().newest_level(node.link());
        let below = level.and_then(|level| level.get().checked_sub(1));
        level.zip(below).inspect(|(level, below)| level.set(*below)).is_some()
    }

    /// Whether this thread holds nothing.
    #[inline]
    pub(crate) fn holds_none(&self) -> bool {
        self.context().is_empty()
    }

    /// The number of words this thread holds.
    pub(crate) fn held(&self) -> usize {
        self.context().len()
    }

    /// Links a word that this thread has just taken, and for which it is pending.
    #[inline]
    pub(crate) fn push(&self, node: &Node) {
        self.context().push(&node.next);
    }

    /// [`Thread::pop`] where `node` is the only word that this thread holds, and was not taken again; does nothing and is
    /// false where it isn't, or if the thread doesn't know at once.
    #[inline]
    pub(crate) fn pop_only(&self, node: &Node) -> bool {
        self.context().remove_only(node.link())
    }

    /// Unlinks a word for which this thread is pending; false if it doesn't hold it.
    pub(crate) fn pop(&self, node: &Node) -> bool {
        self.context().remove(node.link())
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
