//! [`Cursor`]: where an exclusive endpoint is in the home ring, in the memory of its own process.
//!
//! Nobody else takes a keeper's lease, moves its position, or leads its end to a chunk: what it has found out holds until it goes
//! the long way itself. So its puts and gets are those of the short way (`quick.rs`), the same steps in the same order, without
//! finding out each time:
//!
//! ```text
//! number != limit   the end is at home; of a producer, there is room for the items before the limit
//! number == limit   all is found out again: the lease, the chunk, the position, the room
//! ```
//! What others change at any time is looked at each time: the slot's state, whether the ring is closed, who sleeps.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::endpoint::{Access, Fences};
use super::quick::{Home, Quick, again, ahead, look_for_room};
use super::slot::{self, Header};
use super::waiting::Wait;
use super::{RawRing, bulk, narrow};
use crate::sys::atomic::{AtomicU64, fence};
use crate::sys::robust::{Enrolment, Thread};

/// An end of a home ring as its keeper sees it.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The keeper. A forked child has a copy, which finds that it is nobody.
    keeper: Enrolment,
    fences: Fences,
    ring: NonNull<RawRing>,
    /// The first word of the slots.
    slots: NonNull<AtomicU64>,
    home: Home,
    /// Words of a slot before its payload: the state, and the header of a payload of varying length.
    before: usize,
    /// Bytes of the shortest and of the longest payload that are put by it.
    lengths: (usize, usize),
    /// Of the item that is next.
    number: u64,
    limit: u64,
}

impl Quick<'_> {
    /// For the calling thread, which keeps an end: a cursor of it. No payload longer than `longest` is put by it.
    ///
    /// `None` if there are fewer words than the shape has: a ring of another shape.
    ///
    /// # Safety
    /// As long as it is used, the ring and its words must stay mapped and in place.
    pub(crate) unsafe fn cursor(self, fences: Fences, longest: usize) -> Option<Cursor> {
        let Home { area, mask, slot_words, bytes, is_fixed, .. } = self.home;
        let (before, shortest) = if is_fixed { (1, bytes) } else { (2, 0) };
        let fits = narrow(mask).checked_add(1)?.checked_mul(slot_words)? <= area.min(self.slots.len())
            && bytes.div_ceil(8).checked_add(before)? <= slot_words;
        fits.then_some(Cursor {
            keeper: Enrolment::of(Thread::enrolled()?),
            fences,
            ring: NonNull::from(self.ring),
            slots: NonNull::from(self.slots.first()?),
            home: self.home,
            before,
            lengths: (shortest, bytes.min(longest)),
            number: 0,
            limit: 0,
        })
    }
}

impl Cursor {
    pub(crate) fn fences(&self) -> Fences {
        self.fences
    }

    /// The keeper goes another way: what was found out does not hold any more.
    #[inline]
    pub(crate) fn forget(&mut self) {
        self.limit = self.number;
    }

    #[inline(always)]
    fn ring<'a>(&self) -> &'a RawRing {
        // SAFETY: it stays mapped, by the promise of who made the cursor, and changes through atomics only.
        unsafe { self.ring.as_ref() }
    }

    /// Where the slot of item `number` begins.
    #[inline(always)]
    fn slot(&self, number: u64) -> *const AtomicU64 {
        let at = narrow(number & self.home.mask).wrapping_mul(self.home.slot_words);
        self.slots.as_ptr().wrapping_add(at)
    }

    /// The state of that slot.
    #[inline(always)]
    fn state<'a>(&self, number: u64) -> &'a AtomicU64 {
        // SAFETY: slots of so many words, up to that of the mask, lie within those that there are: compared when the cursor was
        // made. They stay mapped, by the promise of who made it.
        unsafe { &*self.slot(number) }
    }

    /// The words of the slot that hold `length` bytes of payload, and the one before them: the header, if there is one.
    ///
    /// # Safety
    /// The payload is no longer than `home.bytes`.
    #[inline(always)]
    unsafe fn parts<'a>(&self, number: u64, length: usize) -> (&'a AtomicU64, &'a [AtomicU64]) {
        let first = self.slot(number).wrapping_add(self.before);
        // SAFETY: a slot has as many words before the payload, and as many for it: compared when the cursor was made. They change
        // through atomics only.
        let words = unsafe { core::slice::from_raw_parts(first, length.div_ceil(8)) };
        // SAFETY: as above; the state, if there is no other one.
        (unsafe { &*first.wrapping_sub(1) }, words)
    }

    /// Puts one item, after some looks for room if it may `wait`; false if the short way is not open.
    #[inline(always)]
    pub(crate) fn put(&mut self, wait: Wait, payload: &[u8]) -> bool {
        match self.keeper.thread() {
            Some(thread) if self.number != self.limit => self.push(thread, payload),
            _ => self.put_anew(wait.may_last(), payload),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_anew(&mut self, may_wait: bool, payload: &[u8]) -> bool {
        match self.find_room(may_wait) {
            Some(thread) => self.push(thread, payload),
            None => false,
        }
    }

    /// Puts one item where there is room; false if it does not lie in its slot, or the ring is closed.
    #[inline(always)]
    fn push(&mut self, thread: Thread, payload: &[u8]) -> bool {
        let (ring, number, length, (shortest, longest)) =
            (self.ring(), self.number, payload.len(), self.lengths);
        if length < shortest || length > longest {
            return false;
        }
        ring.producers_room.begin(thread, self.fences);
        let is_open = !ring.is_closed();
        if is_open {
            let state = self.state(number);
            // SAFETY: just compared; the longest is no longer.
            let (place, words) = unsafe { self.parts(number, length) };
            if self.before > 1 {
                // Relaxed: the keeper's own.
                let start = ring.producing.data_tail.load(Ordering::Relaxed);
                // What lies in a slot is not that long.
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                // SYNC: Release fence -> `oldest_start`'s Acquire fence (R3), as in `Producing::push`.
                fence(Ordering::Release);
                place.store(Header { length, start }.to_word(), Ordering::Relaxed); // Relaxed: published by the commit.
            }
            // SAFETY: they are those of an item that is being put.
            unsafe { bulk::write(words, payload) };
            ring.commit(thread, Access::Kept(self.fences), state, number, None);
            self.number = number.wrapping_add(1);
        }
        ring.producers_room.end(thread);
        is_open
    }

    /// Finds out where the end is and how much room there is, if it is at home; the calling thread then, which keeps it.
    fn find_room(&mut self, may_wait: bool) -> Option<Thread> {
        let (thread, ring) = (self.keeper.thread()?, self.ring());
        let line = &ring.producing;
        // Relaxed, here and below: the keeper's own.
        if !line.lease.lease.is_held_by(thread) || ring.settings.tail_chunk.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let (number, bound) = (line.tail.load(Ordering::Relaxed), ring.max_items().min(self.home.items));
        let look = || {
            let free = line.free.load(Ordering::Relaxed);
            let last = ahead(free, bound);
            let is_room = number.wrapping_sub(free) < bound
                || (ring.is_freed(self.state(last), last, self.home.mask)
                    && number.wrapping_sub(last) <= bound);
            is_room.then(|| line.free.load(Ordering::Relaxed).wrapping_add(bound))
        };
        let limit = match look() {
            None if may_wait => look_for_room(ring, look),
            limit => limit,
        }?;
        (self.number, self.limit) = (number, limit);
        Some(thread)
    }

    /// Gets one item, which `read` is given as words and bytes of them, once; after some looks for one if it may `wait`. `None`
    /// if the short way is not open.
    #[inline(always)]
    pub(crate) fn get<R>(&mut self, wait: Wait, read: impl FnOnce(&[AtomicU64], usize) -> R) -> Option<R> {
        let mut is_found = false;
        let (thread, number, state) = loop {
            let (number, state) = (self.number, self.state(self.number));
            match self.keeper.thread() {
                Some(thread) if number != self.limit && Self::is_ready(state, number) => {
                    break (thread, number, state);
                }
                // Once: what was found stays, or has been overwritten.
                _ if is_found || !self.find_item(wait.may_last()) => return None,
                _ => is_found = true,
            }
        };
        let mut length = self.home.bytes;
        if self.before > 1 {
            // SAFETY: no longer than the slot.
            let (place, _) = unsafe { self.parts(number, 0) };
            // Relaxed: written before the item was committed.
            length = usize::try_from(Header::from_word(place.load(Ordering::Relaxed)).length).ok()?;
            if length > self.home.bytes {
                return None;
            }
        }
        // SAFETY: just compared.
        let (_, words) = unsafe { self.parts(number, length) };
        let done = read(words, length);
        let slots = self.home.mask.wrapping_add(1);
        self.ring().free(thread, Access::Kept(self.fences), state, number, (slots, 1));
        self.number = number.wrapping_add(1);
        Some(done)
    }

    #[inline(always)]
    fn is_ready(state: &AtomicU64, number: u64) -> bool {
        // SYNC: Acquire <- the commit's Release (R1): the payload.
        state.load(Ordering::Acquire) == slot::ready(number)
    }

    /// Finds out where the end is, if it is at home and the calling thread keeps it; whether there is an item then.
    #[cold]
    #[inline(never)]
    fn find_item(&mut self, may_wait: bool) -> bool {
        let ring = self.ring();
        // Relaxed, here and below: the keeper's own.
        let is_home = ring.settings.head_chunk.load(Ordering::Relaxed) == 0;
        let is_kept = |thread| ring.consuming.lease.lease.is_held_by(thread);
        if !is_home || !self.keeper.thread().is_some_and(is_kept) {
            return false;
        }
        self.number = ring.consuming.head.load(Ordering::Relaxed);
        self.limit = self.number.wrapping_sub(1);
        let mut looks = 0;
        while !Self::is_ready(self.state(self.number), self.number) {
            if !may_wait || !again(&mut looks) {
                return false;
            }
        }
        true
    }
}
