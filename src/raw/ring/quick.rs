//! The short way of a put or a get: at the home ring, of an item that lies in its slot, where nobody has died, nothing is
//! closed, and there is no reason to wait.
//!
//! It takes the same steps in the same order as the long way (`producer.rs`, `consumer.rs`), for one item and without the
//! means to wait. Wherever it meets something else it has done nothing, and the long way finds out what that is.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use super::endpoint::Access;
use super::slot::{self, Header};
use super::waiting::Wait;
use super::{RawRing, Ring, RingShape, bulk, narrow, waiting, wide};
use crate::raw::{Acquired, RawMutex};
use crate::sys::atomic::{AtomicU64, fence};
use crate::sys::futex::{self, Half};
use crate::sys::robust::Thread;
use crate::sys::spin;

/// Where a ring seems full, the item so many behind the oldest one is looked at, or a quarter of the ring: if it is gone, all
/// before it are. One line is fetched for that, and not each.
const AHEAD: u64 = 64;

/// Which item is looked at where a ring of at most `bound` items seems full, and all before `free` are gone.
#[inline]
pub(super) fn ahead(free: u64, bound: u64) -> u64 {
    free.wrapping_add(AHEAD.min(bound / 4).max(1)).wrapping_sub(1)
}

/// How often to look again before the long way, and pauses before each look. The other end is often just behind: a look takes
/// the slot's line from it while it writes there, and the long way takes several.
#[cfg(not(all(test, loom)))]
const LOOKS: u32 = 8;
/// Spinning adds interleavings to a model and shows nothing.
#[cfg(all(test, loom))]
const LOOKS: u32 = 0;
const PAUSES: u32 = 4;
/// The same of a full ring, at most: a consumer at work gets as many items meanwhile as are looked for `AHEAD`.
const LOOKS_FOR_ROOM: u32 = 32;

/// Why the short way did not lead there.
enum Missed {
    /// There was no room, or no item.
    NotYet,
    /// Something else.
    Otherwise,
}

/// Whether to look again, which is done after some pauses.
#[cold]
#[inline(never)]
pub(super) fn again(looks: &mut u32) -> bool {
    pause();
    *looks = looks.saturating_add(1);
    *looks < LOOKS
}

fn pause() {
    (0..PAUSES).for_each(|_| core::hint::spin_loop());
}

/// Looks for room in a full ring again, where that has paid. It has not where the one who puts is the one who gets, an item at a
/// time: the long way finds room for each.
#[cold]
pub(super) fn look_for_room<R>(ring: &RawRing, mut look: impl FnMut() -> Option<R>) -> Option<R> {
    // Another line than that of the lease, whose waits are of another kind.
    spin::spin_briefly(&ring.settings, LOOKS_FOR_ROOM.min(spin::looks()), || {
        pause();
        look()
    })
}

/// A lease held for one step. The drop gives it back also where that step panics.
struct Held<'a> {
    lease: &'a RawMutex,
    thread: Thread,
}

impl<'a> Held<'a> {
    /// Takes `lease` if it is free; `None` too if a holder died.
    ///
    /// # Safety
    /// It must stay where it is until the drop.
    #[inline(always)]
    unsafe fn take(lease: &'a RawMutex, thread: Thread) -> Option<Self> {
        // SAFETY: the caller's promise; the drop unlocks it.
        let acquired = unsafe { lease.lock_at_once(thread) }?;
        let held = Self { lease, thread };
        (acquired == Acquired::Consistent).then_some(held)
    }
}

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // `Corrupt` after a peer's scribble: the lease is not held any more, and the next operation says so.
        let _ = self.lease.unlock_for(self.thread);
    }
}

/// What the short way needs to know of a home ring: its shape, worked out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// Words of all slots, and of one.
    pub(super) area: usize,
    pub(super) slot_words: usize,
    /// Of an item's number: its slot.
    pub(super) mask: u64,
    /// How many items there can be.
    pub(super) items: u64,
    /// In a ring of payloads of one length: that. In others: the longest that lies in its slot.
    pub(super) bytes: usize,
    pub(super) is_fixed: bool,
}

impl Home {
    /// That of a ring of this shape, which `grows` or does not.
    pub(crate) fn new(shape: RingShape, grows: bool) -> Self {
        let slots = wide(shape.items());
        let fixed = shape.fixed_bytes();
        let bytes = fixed.map_or(shape.inline_bytes(), |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Self {
            area: shape.slot_area(),
            slot_words: shape.slot_words(),
            mask: slots.wrapping_sub(1),
            // One slot of a ring that grows is for the mark.
            items: slots.wrapping_sub(u64::from(grows)),
            bytes,
            is_fixed: fixed.is_some(),
        }
    }

    /// Words of its slots.
    #[inline(always)]
    pub(crate) fn words(self) -> usize {
        self.area
    }
}

/// A home ring, for operations the short way. It is never in memory: what is not inlined takes it by value.
#[derive(Clone, Copy)]
pub(crate) struct Quick<'a> {
    pub(super) ring: &'a RawRing,
    pub(super) slots: &'a [AtomicU64],
    pub(super) home: Home,
}

impl RawRing {
    /// The home ring with its slots' words.
    #[inline(always)]
    pub(crate) fn quick<'a>(&'a self, home: Home, slots: &'a [AtomicU64]) -> Quick<'a> {
        Quick { ring: self, slots, home }
    }

    /// Commits item `number`, in the slot with this state; with it, where the next one's data begins, if it has any.
    #[inline(always)]
    pub(super) fn commit(
        &self,
        thread: Thread,
        access: Access,
        state: &AtomicU64,
        number: u64,
        data_end: Option<u32>,
    ) {
        let line = &self.producing;
        self.consumer_sleeps.publish(thread, access, number, futex::half(state, Half::Low), || {
            // SYNC: Release -> `Ring::look`'s Acquire (R1): the commit. Publishes the payload.
            state.store(slot::ready(number), Ordering::Release);
            if let Some(end) = data_end {
                line.data_tail.store(end, Ordering::Release); // SYNC: Release -> `was_full`'s Acquire.
            }
            // SYNC: Release -> `passed`'s Acquire: the states of all items before it.
            line.tail.store(number.wrapping_add(1), Ordering::Release);
        });
    }

    /// Frees item `number`, the front, in the slot with this state, of `slots`: from here on it is delivered. Counts it as
    /// `got` gets, 1 or 0.
    #[inline(always)]
    pub(super) fn free(
        &self,
        thread: Thread,
        access: Access,
        state: &AtomicU64,
        number: u64,
        (slots, got): (u64, u64),
    ) {
        let [even, odd] = &self.consuming.got;
        let (now, then) = if number.is_multiple_of(2) { (even, odd) } else { (odd, even) };
        // Written to the place of the next number, which counts only once the item is freed.
        // SYNC: Release -> `Ring::got`'s Acquire: whoever sees this sees the head that made the place reusable.
        then.store(now.load(Ordering::Relaxed).wrapping_add(got), Ordering::Release);
        self.producer_sleeps.publish(thread, access, number, futex::half(state, Half::High), || {
            // SYNC: Release -> `Ring::look`'s Acquire (R2): the payload has been read.
            state.store(slot::not_ready(number.wrapping_add(slots)), Ordering::Release);
            // SYNC: Release -> `passed`'s Acquire: the states of all items before it.
            self.consuming.head.store(number.wrapping_add(1), Ordering::Release);
        });
    }

    /// Whether item `last`, whose slot has this state, is gone, and all before it; moves `free` behind it then. For the holder of
    /// the producers' lease.
    #[cold]
    #[inline(never)]
    pub(super) fn is_freed(&self, state: &AtomicU64, last: u64, mask: u64) -> bool {
        // SYNC: Acquire <- the consumer's Release (R2): it has read the payload that we overwrite, and those before it, for items
        // are freed in their order.
        let is_freed =
            state.load(Ordering::Acquire) == slot::not_ready(last.wrapping_add(mask).wrapping_add(1));
        if is_freed {
            self.producing.free.store(last.wrapping_add(1), Ordering::Relaxed); // Relaxed: for holders of the lease only.
        }
        is_freed
    }
}

impl<'a> Ring<'a> {
    /// The ring for operations the short way, if this is home and the end is not kept (`cursor.rs`).
    #[inline(always)]
    pub(super) fn quick(&self) -> Option<Quick<'a>> {
        let home = Home::new(self.shape, self.growth.is_some());
        let slots = self.slots.get(..home.area)?;
        let is_open = self.chunk.is_home() && self.access == Access::Shared;
        is_open.then_some(Quick { ring: self.ring, slots, home })
    }
}

impl<'a> Quick<'a> {
    /// Puts one item, after some looks if it may `wait`; false if the short way is not open.
    ///
    /// # Safety
    /// As for [`Ring::put`].
    #[inline(always)]
    pub(crate) unsafe fn put(self, wait: Wait, payload: &[u8]) -> bool {
        // SAFETY: the caller's promise is the same.
        match unsafe { self.try_put(payload) } {
            Ok(()) => true,
            // SAFETY: as above.
            Err(Missed::NotYet) if wait.may_last() => unsafe { self.put_when_there_is_room(payload) },
            Err(_) => false,
        }
    }

    /// # Safety
    /// As for [`put`](Self::put).
    #[cold]
    #[inline(never)]
    unsafe fn put_when_there_is_room(self, payload: &[u8]) -> bool {
        // SAFETY: the caller's promise is the same.
        let put = look_for_room(self.ring, || match unsafe { self.try_put(payload) } {
            Ok(()) => Some(true),
            Err(Missed::NotYet) => None,
            Err(Missed::Otherwise) => Some(false),
        });
        put == Some(true)
    }

    #[inline(always)]
    unsafe fn try_put(self, payload: &[u8]) -> Result<(), Missed> {
        let thread = Thread::enrolled().ok_or(Missed::Otherwise)?;
        let (raw, lease) = (self.ring, &self.ring.producing.lease);
        // SAFETY: the ring stays mapped, by the caller's promise.
        let held = unsafe { Held::take(lease, thread) }.ok_or(Missed::Otherwise)?;
        let put = self.push(thread, payload);
        drop(held);
        let (number, state) = put?;
        let wake = |_| waiting::wake(futex::half(state, Half::Low));
        raw.consumer_sleeps.published(number, number.wrapping_add(1), wake);
        Ok(())
    }

    /// For the holder of the producers' lease. The item's number and its slot's state, if it was put.
    #[inline(always)]
    fn push(self, thread: Thread, payload: &[u8]) -> Result<(u64, &'a AtomicU64), Missed> {
        let (raw, line) = (self.ring, &self.ring.producing);
        // Relaxed, here and below: written by holders of the lease.
        let is_home = raw.settings.tail_chunk.load(Ordering::Relaxed) == 0;
        let number = line.tail.load(Ordering::Relaxed);
        let fits = if self.home.is_fixed {
            payload.len() == self.home.bytes
        } else {
            payload.len() <= self.home.bytes
        };
        if !fits || raw.is_closed() || !is_home {
            return Err(Missed::Otherwise);
        }
        let bound = raw.max_items().min(self.home.items);
        let free = line.free.load(Ordering::Relaxed);
        if number.wrapping_sub(free) >= bound {
            let last = ahead(free, bound);
            let (state, _) = self.slot(last).ok_or(Missed::Otherwise)?;
            if !raw.is_freed(state, last, self.home.mask) || number.wrapping_sub(last) > bound {
                return Err(Missed::NotYet);
            }
        }
        let (state, mut words) = self.slot(number).ok_or(Missed::Otherwise)?;
        if !self.home.is_fixed {
            let place;
            (place, words) = words.split_first().ok_or(Missed::Otherwise)?;
            let start = line.data_tail.load(Ordering::Relaxed);
            let length = u32::try_from(payload.len()).map_err(|_| Missed::Otherwise)?;
            // SYNC: Release fence -> `oldest_start`'s Acquire fence (R3), as in `Producing::push`.
            fence(Ordering::Release);
            place.store(Header { length, start }.to_word(), Ordering::Relaxed); // Relaxed: published by the commit.
        }
        // SAFETY: they are those of an item that is being put.
        unsafe { bulk::write(words, payload) };
        raw.commit(thread, Access::Shared, state, number, None);
        Ok((number, state))
    }

    /// The state and what follows it in the slot of item `number`.
    #[inline(always)]
    fn slot(self, number: u64) -> Option<(&'a AtomicU64, &'a [AtomicU64])> {
        let at = narrow(number & self.home.mask).wrapping_mul(self.home.slot_words);
        self.slots.get(at..at.wrapping_add(self.home.slot_words))?.split_first()
    }

    /// Gets one item, which `read` is given as words and bytes of them, once; after some looks if it may `wait`. `None` if the
    /// short way is not open.
    ///
    /// # Safety
    /// As for [`Ring::get`].
    #[inline(always)]
    pub(crate) unsafe fn get<R>(
        self,
        wait: Wait,
        mut read: impl FnMut(&'a [AtomicU64], usize) -> R,
    ) -> Option<R> {
        let mut looks = 0;
        loop {
            // SAFETY: the caller's promise is the same.
            match unsafe { self.try_get(&mut read) } {
                Ok(done) => return Some(done),
                Err(Missed::NotYet) if wait.may_last() && again(&mut looks) => {}
                Err(_) => return None,
            }
        }
    }

    #[inline(always)]
    unsafe fn try_get<R>(self, read: &mut impl FnMut(&'a [AtomicU64], usize) -> R) -> Result<R, Missed> {
        let thread = Thread::enrolled().ok_or(Missed::Otherwise)?;
        let (raw, lease) = (self.ring, &self.ring.consuming.lease);
        // SAFETY: the ring stays mapped, by the caller's promise.
        let held = unsafe { Held::take(lease, thread) }.ok_or(Missed::Otherwise)?;
        let got = self.pop(thread, read);
        drop(held);
        let (number, state, done) = got?;
        let wake = |_| waiting::wake(futex::half(state, Half::High));
        raw.producer_sleeps.published(number, number.wrapping_add(1), wake);
        Ok(done)
    }

    /// For the holder of the consumers' lease. The item's number and its slot's state too, if it was got.
    #[inline(always)]
    fn pop<R>(
        self,
        thread: Thread,
        read: &mut impl FnMut(&'a [AtomicU64], usize) -> R,
    ) -> Result<(u64, &'a AtomicU64, R), Missed> {
        let raw = self.ring;
        // Relaxed, here and below: written by holders of the lease.
        let is_home = raw.settings.head_chunk.load(Ordering::Relaxed) == 0;
        let number = raw.consuming.head.load(Ordering::Relaxed);
        let (state, mut words) = self.slot(number).ok_or(Missed::Otherwise)?;
        if !is_home {
            return Err(Missed::Otherwise);
        }
        // SYNC: Acquire <- the commit's Release (R1): the payload.
        if state.load(Ordering::Acquire) != slot::ready(number) {
            return Err(Missed::NotYet);
        }
        let mut length = self.home.bytes;
        if !self.home.is_fixed {
            let place;
            (place, words) = words.split_first().ok_or(Missed::Otherwise)?;
            // Relaxed: written before the item was committed.
            let header = Header::from_word(place.load(Ordering::Relaxed));
            length = usize::try_from(header.length).map_err(|_| Missed::Otherwise)?;
            if length > self.home.bytes {
                return Err(Missed::Otherwise);
            }
        }
        let done = read(words, length);
        raw.free(thread, Access::Shared, state, number, (self.home.mask.wrapping_add(1), 1));
        Ok((number, state, done))
    }
}
