//! [`Context`]: one thread's sentinels, and which words it holds.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use super::node::FUTEX_OFFSET;

/// Words one thread can hold at once. The kernel walks 2048 entries, and glibc's own mutexes count too.
pub(crate) const CAPACITY: usize = 1024;
/// Words that a thread at its capacity may hold for a moment inside an operation: a queue's turn, and a reaper.
const SPARE: usize = 2;

/// `struct robust_list_head` of the kernel's ABI, which glibc owns.
#[repr(C)]
pub(super) struct Head {
    first: AtomicU64,
    pub(super) futex_offset: i64,
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
    #[inline]
    fn link(&self) -> u64 {
        (&raw const self.next).addr() as u64
    }
}

/// One thread's sentinels and shadow. Lives in an arena that a fork wipes; all-zero means unused.
///
/// The words held are those whose links are in the shadow, and the newest one, which `top.next` alone names until a
/// second one is taken on top of it. From then on it stays in the shadow until it is released, even when it is the newest
/// again: so [`Context::holds_any_in`] finds a word that is held all the while, whatever its thread does meanwhile.
#[repr(C, align(128))]
pub(super) struct Context {
    /// The *bottom*'s word holds the thread's id. The kernel reads a node's `next` before it marks the node, and the
    /// bottom is the last node of ours: when its word says "owner died", the kernel is done with this whole context, and
    /// another thread may have it.
    bottom: Sentinel,
    /// Its `next`, unlike that of a node, is private memory, and written by this thread alone.
    top: Sentinel,
    head: Cell<*const Head>,
    /// The address of the owning thread's `CONTEXT` variable: tells a forked child, and whoever inherits a
    /// dead thread's context, that this one is not theirs.
    pub(super) owner: Cell<usize>,
    /// Which enrolment this is, from 1 on. Atomic because a forked child's copy of an [`Enrolment`](super::Enrolment) may ask
    /// while another thread enrols.
    pub(super) stamp: AtomicU64,
    /// How many links are in the shadow.
    depth: AtomicUsize,
    /// Links of nodes held, oldest first. Atomic because [`Context::holds_any_in`] reads it from other threads.
    shadow: [AtomicU64; CAPACITY + SPARE],
    /// For each of them how often it was taken again while held; 0 in every unused entry, so that a push need not
    /// write it.
    levels: [Cell<u32>; CAPACITY + SPARE],
}

impl Context {
    /// The bottom's word: 0 or "owner died" when the context is free.
    #[inline]
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.bottom.word
    }

    /// Inserts `top -> bottom` at the head of the list, exactly as glibc inserts a mutex: nothing is walked.
    pub(super) fn link_into(&self, head: &Head) {
        self.head.set(head);
        // An earlier thread may have died with words held.
        self.levels.iter().take(self.depth.load(Ordering::Relaxed)).for_each(|level| level.set(0));
        self.depth.store(0, Ordering::Relaxed);
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

    #[inline]
    pub(super) fn store_pending(&self, link: u64) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the head is part of the calling thread's own descriptor, which lives as long as the thread.
        let head = unsafe { &*self.head.get() };
        head.pending.store(link, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Whether no word is held.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.newest() == self.bottom.link()
    }

    /// How many words are held.
    pub(super) fn len(&self) -> usize {
        let beside = !self.is_empty() && !self.shadow_has_newest();
        self.depth.load(Ordering::Relaxed) + usize::from(beside)
    }

    /// Whether the word of `link` is held.
    #[inline]
    pub(super) fn contains(&self, link: u64) -> bool {
        self.newest() == link || self.position(link).is_some()
    }

    /// How often the word of `link` was taken again while held; `None` if it isn't held.
    pub(super) fn level(&self, link: u64) -> Option<u32> {
        match self.position(link) {
            Some(position) => self.levels.get(position).map(Cell::get),
            None => (self.newest() == link).then_some(0),
        }
    }

    /// Notes how often the word of `link`, which is held, was taken again.
    pub(super) fn set_level(&self, link: u64, level: u32) {
        if self.newest() == link {
            self.spill();
        }
        if let Some(entry) = self.position(link).and_then(|position| self.levels.get(position)) {
            entry.set(level);
        }
    }

    /// The level of the word of `link` if that is the newest in the shadow, where it is after it was taken again once.
    #[inline]
    pub(super) fn newest_level(&self, link: u64) -> Option<&Cell<u32>> {
        // Without an entry this is beyond all of them: one comparison tells.
        let newest = self.depth.load(Ordering::Relaxed).wrapping_sub(1);
        let is_newest = self.shadow.get(newest)?.load(Ordering::Relaxed) == link;
        if is_newest { self.levels.get(newest) } else { None }
    }

    /// Links a node, whose `next` is given, as the newest.
    #[inline]
    pub(super) fn push(&self, next: &AtomicU64) {
        if !self.is_empty() {
            self.spill();
        }
        // Relaxed, here and below: the list is read by the kernel on this very thread, after its last instruction.
        // The compiler must keep the order, for the thread may be killed between any two of these stores.
        next.store(self.newest(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.set_newest(ptr::from_ref(next).expose_provenance() as u64);
    }

    /// Unlinks the node of `link` if no other one is held, nor was since this one is.
    #[inline]
    pub(super) fn remove_only(&self, link: u64) -> bool {
        let only = self.newest() == link && self.depth.load(Ordering::Relaxed) == 0;
        if only {
            self.set_newest(self.bottom.link());
        }
        only
    }

    /// Unlinks the node of `link`; false if it isn't held.
    pub(super) fn remove(&self, link: u64) -> bool {
        let shadow = self.shadow();
        let newest = self.newest() == link;
        let Some(position) = self.position(link) else {
            if newest {
                self.set_newest(self.below(shadow.len()));
            }
            return newest;
        };
        if newest {
            self.set_newest(self.below(position));
        } else {
            let above = shadow.get(position + 1).map_or(self.newest(), |entry| entry.load(Ordering::Relaxed));
            let next = ptr::with_exposed_provenance::<AtomicU64>(above as usize);
            // SAFETY: the link of a node that this thread holds; holding one keeps its memory mapped (L4).
            let next = unsafe { &*next };
            next.store(self.below(position), Ordering::Relaxed);
        }
        compiler_fence(Ordering::SeqCst);
        for (lower, upper) in shadow.iter().zip(shadow.iter().skip(1)).skip(position) {
            // SYNC: Release -> `holds_any_in`'s Acquire: an entry is seen in its new place, or still in its old one.
            lower.store(upper.load(Ordering::Relaxed), Ordering::Release);
        }
        self.depth.store(shadow.len() - 1, Ordering::Release); // SYNC: as above.
        let levels = self.levels.get(position..shadow.len()).unwrap_or(&[]);
        for (lower, upper) in levels.iter().zip(levels.iter().skip(1)) {
            lower.set(upper.get());
        }
        if let Some(last) = levels.last() {
            last.set(0);
        }
        true
    }

    /// Puts the newest word into the shadow, before another one becomes the newest.
    #[cold]
    fn spill(&self) {
        if self.shadow_has_newest() {
            return;
        }
        let depth = self.depth.load(Ordering::Relaxed);
        let Some(entry) = self.shadow.get(depth) else {
            debug_assert!(false, "more words than the capacity");
            return;
        };
        entry.store(self.newest(), Ordering::Relaxed);
        // SYNC: Release -> `holds_any_in`'s Acquire: the entry is seen.
        self.depth.store(depth + 1, Ordering::Release);
    }

    /// Whether a node in `range` is held. For any thread, at any time.
    ///
    /// A word that is held all the while is found: it is named by `top.next`, or it was put into the shadow before that
    /// named another one; and within the shadow it only ever moves down, the way that is followed here.
    pub(super) fn holds_any_in(&self, range: &Range<usize>) -> bool {
        let is_within = |link: u64| range.contains(&(link.wrapping_add_signed(FUTEX_OFFSET) as usize));
        // SYNC: Acquire <- `set_newest`'s Release: what was spilled before is in the shadow.
        let newest = self.top.next.load(Ordering::Acquire);
        if newest != self.bottom.link() && is_within(newest) {
            return true;
        }
        // SYNC: Acquire <- the Release stores of `spill` and `remove`.
        let depth = self.depth.load(Ordering::Acquire);
        self.shadow.iter().take(depth).rev().any(|entry| is_within(entry.load(Ordering::Acquire)))
    }

    /// The link of the newest word held, or of the bottom.
    #[inline]
    fn newest(&self) -> u64 {
        self.top.next.load(Ordering::Relaxed)
    }

    #[inline]
    fn set_newest(&self, link: u64) {
        // SYNC: Release -> `holds_any_in`'s Acquire: whatever was spilled is in the shadow.
        self.top.next.store(link, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }

    fn shadow(&self) -> &[AtomicU64] {
        self.shadow.get(..self.depth.load(Ordering::Relaxed)).unwrap_or(&[])
    }

    /// Where in the shadow `link` is, the newest first looked at.
    fn position(&self, link: u64) -> Option<usize> {
        self.shadow().iter().rposition(|entry| entry.load(Ordering::Relaxed) == link)
    }

    fn shadow_has_newest(&self) -> bool {
        self.shadow().last().is_some_and(|entry| entry.load(Ordering::Relaxed) == self.newest())
    }

    /// The link under position `position` of the shadow.
    fn below(&self, position: usize) -> u64 {
        match position.checked_sub(1).and_then(|below| self.shadow.get(below)) {
            None => self.bottom.link(),
            Some(below) => below.load(Ordering::Relaxed),
        }
    }
}
