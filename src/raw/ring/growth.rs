//! A ring that grows: chunks behind its home ring, linked in the order in which they were filled.
//!
//! ```text
//! chunk        its pages   what is true of it                            becomes
//! FREE         none        no word names it                              RESERVED: `linking` names it, then fallocate
//! RESERVED     zero        `linking` names it, the last chunk does not   LINKED: Moved in the last chunk's next slot
//!                                                                        FREE: the producers' repair punches it
//! LINKED       in use      `head_chunk` names it, or one before it       DRAINED: `drained` names it, then `head_chunk`
//!                          leads to it                                            goes on
//! DRAINED      no use      `drained` names it, `head_chunk` does not     FREE: punched, then `drained` is cleared; by
//!                                                                              whoever drained it, or the repair;
//!                                                                              not before `tail_chunk` has gone on
//! ```
//! The **home ring** lies in the queue's object and always keeps its pages. Behind it come chunks that are filled once,
//! slots from their start and data from their end, each in an extent of the queue's file. Item numbers run on across them.
//! In each, home too, one slot more than there are items stays free, for the mark Moved (or Closed).
//!
//! - **Link** (a producer; the last chunk is full): reserves the next chunk, writes its header, stores its name in the last
//!   one, then commits Moved there: consumers that sleep on that slot are woken like for an item. `tail_chunk` follows; a
//!   death in between is repaired by the next producer, who finds Moved at the tail.
//! - **Step** (a consumer; finds Moved at the head): `drained`, `head_chunk`, punch. A death in between is repaired by the
//!   next consumer: if `head_chunk` has not gone on, there is nothing to punch.
//! - **Home again.** A producer whose chunk is full goes home if home is drained and the backlog is small; a consumer that
//!   has emptied the last chunk takes the producers' lease, if that is free, links home and steps there. So a queue that is
//!   empty has its home ring and nothing else.
//!
//! (G1) A chunk is punched only after `head_chunk` and `tail_chunk` have gone past it, by whichever end left it last: who
//! looks at a slot without a lease and then finds the chunk's name unchanged has seen the slot, and what a death in a link
//! leaves is there for the repair.
//! (G2) A place is given out again only when the queue is at home at both ends
//! and `drained` is clear: no repair punches a chunk that is in use. (G3) Under an end's lease that end's chunk does not
//! change: who finds another one than it came with has done nothing, and comes again (`Moved`). (G4) Places are given out
//! in rising order from one stay at home to the next, so what lies before a drained chunk is free: it is punched again, for
//! a look or a wake that came late gives a hole a page.

use core::sync::atomic::Ordering;

use super::chunk::{Chunk, USUAL_UNITS};
use super::consumer::Consuming;
use super::producer::{Producing, Room};
use super::slot::{self, State};
use super::waiting::{Spot, Wait};
use super::{Corrupt, Growth, LOOKS, Ring, RingError, Slot, wide};
use crate::sys::atomic::{AtomicU64, fence};
use crate::sys::futex::{self, Half};

/// What only links and steps use. On a line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Chain {
    /// The chunk behind the home ring, once that was left.
    home_next: AtomicU64,
    /// The number of the item at which it was left last.
    home_until: AtomicU64,
    /// The chunk that is being linked; written under the producers' lease, as all of these but `drained`.
    linking: AtomicU64,
    /// The chunk that is being drained; written under the consumers' lease.
    drained: AtomicU64,
    /// Where the last chunk ended, in units.
    grown_to: AtomicU64,
    links: AtomicU64,
    /// Where the first chunk may begin, in units.
    base: AtomicU64,
}

impl Chain {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            home_next: zero(),
            home_until: zero(),
            linking: zero(),
            drained: zero(),
            grown_to: zero(),
            links: zero(),
            base: zero(),
        }
    }

    /// Sets where chunks begin, in bytes of the file, before the ring is shared.
    pub(super) fn set_base(&self, bytes: u64) {
        let unit = wide(super::chunk::UNIT_WORDS).wrapping_mul(8);
        self.base.store(bytes.div_ceil(unit), Ordering::Relaxed); // Relaxed: before it is shared.
    }
}

impl<'a> Ring<'a> {
    /// The same ring with the words of `chunk` as its own.
    pub(super) fn view(&self, chunk: Chunk) -> Result<Self, RingError> {
        let growth = self.growth.ok_or(RingError::Corrupt)?;
        self.ring.growing(self.shape, chunk, growth)
    }

    /// `look` at the chunk that `name` names, at a moment at which it does (G1).
    pub(super) fn in_chunk<R>(
        &self,
        name: &AtomicU64,
        look: impl Fn(&Ring<'a>) -> Result<R, Corrupt>,
    ) -> Result<R, RingError> {
        if self.growth.is_none() {
            return Ok(look(self)?);
        }
        for _ in 0..LOOKS {
            // SYNC: Acquire <- `enter`'s and `leave`'s Release: the chunk's header.
            let chunk = Chunk::from_word(name.load(Ordering::Acquire));
            let found = if chunk == self.chunk { Ok(*self) } else { self.view(chunk) };
            let found = found.and_then(|ring| Ok(look(&ring)?));
            // Relaxed: behind the Acquire loads of the look.
            if name.load(Ordering::Relaxed) == chunk.to_word() || matches!(found, Err(RingError::Moved)) {
                return found;
            }
        }
        Err(RingError::Moved)
    }

    /// Whether the calling thread, which holds an end's lease, came with the chunk that `name` names.
    #[inline(always)]
    pub(super) fn is_at(&self, name: &AtomicU64) -> bool {
        // Relaxed: written by holders of the lease.
        name.load(Ordering::Relaxed) == self.chunk.to_word() && (self.chunk.is_home() || self.is_begun())
    }

    /// Whether the chunk begins where it did when this view was made.
    fn is_begun(&self) -> bool {
        // Relaxed: written before the chunk was linked.
        self.head.is_some_and(|[_, first, ..]| first.load(Ordering::Relaxed) == self.base)
    }

    /// Where the name of the chunk behind this one is.
    fn next(&self) -> Result<&'a AtomicU64, Corrupt> {
        match self.head {
            Some([next, ..]) => Ok(next),
            None if self.chunk.is_home() => Ok(&self.ring.chain.home_next),
            None => Err(Corrupt),
        }
    }
}

impl<'a> Producing<'_, 'a> {
    /// Finishes or undoes what a dead holder had begun of a link; whether it was finished.
    pub(super) fn repair_link(&self) -> Result<bool, RingError> {
        let (ring, chain) = (self.ring, &self.ring.ring.chain);
        let Some(growth) = ring.growth else { return Ok(false) };
        // Relaxed, here and below: written by holders of the lease.
        let number = ring.ring.producing.tail.load(Ordering::Relaxed);
        if let (_, State::Moved) = ring.look(number)? {
            self.enter(growth, Chunk::from_word(ring.next()?.load(Ordering::Relaxed)), number);
            return Ok(true);
        }
        let linking = Chunk::from_word(chain.linking.load(Ordering::Relaxed));
        if !linking.is_home() && linking != ring.chunk {
            growth.release(linking);
        }
        chain.linking.store(0, Ordering::Relaxed);
        // A death in `enter`, behind the store of `tail_chunk`: the consumers may have left the punch to it.
        self.punch_left(growth);
        Ok(false)
    }

    /// Punches the chunk that is drained, if both ends have left it; again, perhaps. `drained` names it until the consumers' next
    /// step, so its place is not given out (G2).
    fn punch_left(&self, growth: &'a dyn Growth) {
        let (raw, chain) = (self.ring.ring, &self.ring.ring.chain);
        // SYNC: SeqCst fence <-> `finish_step`'s: who leaves the chunk later sees that the other has left it.
        fence(Ordering::SeqCst);
        let drained = chain.drained.load(Ordering::Relaxed); // Relaxed, here and below: behind the fence.
        let is_left = |name: &AtomicU64| name.load(Ordering::Relaxed) != drained;
        if drained != 0 && is_left(&raw.settings.head_chunk) && is_left(&raw.settings.tail_chunk) {
            growth.release_through(Chunk::from_word(drained));
        }
    }

    /// Where the data of an item goes in a chunk, and whether the item fits there, and the mark behind it.
    #[inline(never)]
    pub(super) fn place_in_chunk(&self, number: u64, length: usize, in_data: bool) -> (u32, bool) {
        let ring = self.ring;
        let tail = ring.ring.producing.data_tail.load(Ordering::Relaxed); // Relaxed: under the lease.
        let words = if in_data { u32::try_from(length.div_ceil(8)).unwrap_or(u32::MAX) } else { 0 };
        let slots = number.wrapping_sub(ring.base).saturating_add(2);
        let slots = slots.saturating_mul(wide(ring.shape.slot_words()));
        match tail.checked_sub(words) {
            Some(start) => (start, slots <= u64::from(start)),
            None => (0, false),
        }
    }

    /// Makes room in a growing ring for item `number`, whose data would lie between `start` and `end`: `None` if there is
    /// some, or else what to wait for.
    ///
    /// # Errors
    /// `Moved` if there is room in the next chunk now; `OutOfMemory`.
    #[cold]
    pub(super) fn make_room_or_grow(
        &self,
        growth: &'a dyn Growth,
        number: u64,
        length: usize,
        (start, end): (u32, u32),
    ) -> Result<Option<Spot<'a>>, RingError> {
        let (ring, line) = (self.ring, &self.ring.ring.producing);
        // Relaxed: written by holders of the lease.
        let is_bound = || number.wrapping_sub(line.free.load(Ordering::Relaxed)) >= ring.ring.max_items();
        if ring.chunk.is_home() {
            match self.make_room(number, start, end)? {
                Room::Enough => return Ok(None),
                Room::After(spot) if is_bound() => return Ok(Some(spot)),
                Room::After(_) | Room::Never => {}
            }
        } else {
            if is_bound()
                && let Some(spot) = self.find_bound(number)?
            {
                return Ok(Some(spot));
            }
            let in_data = ring.shape.fixed_bytes().is_none() && length > ring.shape.inline_bytes();
            if self.place_in_chunk(number, length, in_data).1 {
                return Ok(None);
            }
        }
        Err(self.grow(growth, number, length)?)
    }

    /// Moves `free` on to the oldest item, and says how to wait for it if there are as many items as may be.
    fn find_bound(&self, number: u64) -> Result<Option<Spot<'a>>, RingError> {
        let line = &self.ring.ring.producing;
        let oldest = self.ring.oldest(number)?;
        let free = oldest.map_or(number, |(free, ..)| free);
        line.free.store(free, Ordering::Relaxed); // Relaxed: for holders of the lease only.
        Ok(oldest.filter(|_| number.wrapping_sub(free) >= self.ring.ring.max_items()).map(
            |(free, slot, word)| Spot {
                word: futex::half(slot.state, Half::High),
                expected: slot::for_producers(word),
                tag: slot::tag(free),
            },
        ))
    }

    /// Links the next chunk, in which item `number` of `length` bytes has room. `Moved`, if that is done.
    fn grow(&self, growth: &'a dyn Growth, number: u64, length: usize) -> Result<RingError, RingError> {
        let (ring, raw) = (self.ring, self.ring.ring);
        let chain = &raw.chain;
        // SYNC: Acquire <- `leave`'s Release: what `drained` was when the consumers left the chunk before.
        let head_chunk = Chunk::from_word(raw.settings.head_chunk.load(Ordering::Acquire));
        // SYNC: Acquire <- the consumer's Release: the states of all items before it.
        let head = raw.consuming.head.load(Ordering::Acquire);
        if !ring.chunk.is_home() && !head_chunk.is_home() && self.is_small(number, head, length) {
            let since = head.wrapping_sub(chain.home_until.load(Ordering::Relaxed)); // Relaxed: under the lease.
            if since < 1 << 63 {
                self.link(growth, Chunk::HOME, number)?;
                return Ok(RingError::Moved);
            }
        }
        let slot_words = ring.shape.slot_words();
        let in_data = ring.shape.fixed_bytes().is_none() && length > ring.shape.inline_bytes();
        let data = if in_data { length.div_ceil(8) } else { 0 };
        let needed = Chunk::units_for(slot_words.saturating_add(data), slot_words);
        // The backlog is longer than a chunk.
        let usual = if head_chunk == ring.chunk {
            ring.chunk.units().clamp(1, USUAL_UNITS)
        } else {
            ring.chunk.units().saturating_mul(2).clamp(1, USUAL_UNITS)
        };
        // G2. SYNC: Acquire <- `finish_step`'s Release: it was punched.
        let is_empty =
            ring.chunk.is_home() && head_chunk.is_home() && chain.drained.load(Ordering::Acquire) == 0;
        let base = chain.base.load(Ordering::Relaxed); // Relaxed, here and below: under the lease.
        let grown = chain.grown_to.load(Ordering::Relaxed);
        let place = if is_empty { base } else { grown.max(base) };
        let tag = chain.links.load(Ordering::Relaxed);
        let chunk = Chunk::new(place, needed.max(usual), tag).ok_or(RingError::OutOfMemory)?;
        self.link(growth, chunk, number)?;
        Ok(RingError::Moved)
    }

    /// Whether what is in the queue, and an item of `length` bytes, fit into the home ring without crowding it.
    fn is_small(&self, number: u64, head: u64, length: usize) -> bool {
        let shape = self.ring.shape;
        let backlog = number.wrapping_sub(head);
        // Home, the producers count what lies there only.
        let most = if self.ring.ring.max_items() == u64::MAX { wide(shape.items()) / 4 } else { 0 };
        let fits = shape.fixed_bytes().is_some() || length <= shape.inline_bytes().max(shape.data_words());
        backlog <= most && fits && shape.items() > 1
    }

    /// Closes the last chunk, whose next item would be `number`, and goes on to `next`.
    pub(super) fn link(&self, growth: &'a dyn Growth, next: Chunk, number: u64) -> Result<(), RingError> {
        let (ring, raw) = (self.ring, self.ring.ring);
        let chain = &raw.chain;
        if !next.is_home() {
            chain.linking.store(next.to_word(), Ordering::Relaxed); // Relaxed: for the repair, under the lease.
            if let Err(error) = growth.reserve(next) {
                growth.release(next);
                chain.linking.store(0, Ordering::Relaxed); // Relaxed: as above.
                return Err(error);
            }
        }
        match self.prepare(growth, next, number) {
            Ok(()) => {}
            Err(error) => {
                if !next.is_home() {
                    growth.release(next);
                    chain.linking.store(0, Ordering::Relaxed); // Relaxed: as above.
                }
                return Err(error);
            }
        }
        let links = chain.links.load(Ordering::Relaxed); // Relaxed, here and below: under the lease, or published by Moved.
        chain.links.store(links.wrapping_add(1), Ordering::Relaxed);
        ring.next()?.store(next.to_word(), Ordering::Relaxed);
        if ring.chunk.is_home() {
            chain.home_until.store(number, Ordering::Relaxed);
        }
        let slot = ring.slot(number)?;
        // A wake after `enter` would give a punched chunk a page again.
        raw.consumer_sleeps.publish_at_once(self.thread, number, futex::half(slot.state, Half::Low), || {
            // SYNC: Release -> `Ring::look`'s Acquire: the chunk's header, and its name.
            slot.state.store(slot::moved(number), Ordering::Release);
        });
        self.enter(growth, next, number);
        Ok(())
    }

    /// Makes `next` ready for items from `number` on.
    fn prepare(&self, growth: &'a dyn Growth, next: Chunk, number: u64) -> Result<(), RingError> {
        if next.is_home() {
            let home = self.ring.view(next)?;
            for number in (number..=u64::MAX).chain(0..=u64::MAX).take(self.ring.shape.items()) {
                // Relaxed: published by Moved.
                home.slot(number)?.state.store(slot::not_ready(number), Ordering::Relaxed);
            }
            return Ok(());
        }
        let Some([after, first, ..]) = growth.words(next)?.first_chunk::<2>() else {
            return Err(RingError::Corrupt);
        };
        after.store(0, Ordering::Relaxed); // Relaxed: published by Moved.
        // SYNC: Release -> `growing`'s Acquire: whoever is late and sees this sees that the chunk was left before (G1).
        first.store(number, Ordering::Release);
        Ok(())
    }

    /// Lets the producers go on to `next`, which was linked; again, after a death.
    fn enter(&self, growth: &'a dyn Growth, next: Chunk, number: u64) {
        let raw = self.ring.ring;
        let line = &raw.producing;
        // Relaxed, all but the name: for holders of the lease only, and what a death leaves is done again.
        if next.is_home() {
            line.free.store(number, Ordering::Relaxed);
            line.data_tail.store(0, Ordering::Relaxed);
            line.data_free.store(0, Ordering::Relaxed);
        } else {
            let words = next.words().saturating_sub(super::chunk::HEAD_WORDS);
            line.data_tail.store(u32::try_from(words).unwrap_or(u32::MAX), Ordering::Relaxed);
            raw.chain.grown_to.store(next.end(), Ordering::Relaxed);
        }
        // SYNC: Release -> `in_chunk`'s Acquire: the chunk's header.
        raw.settings.tail_chunk.store(next.to_word(), Ordering::Release);
        raw.chain.linking.store(0, Ordering::Relaxed);
        // SYNC: SeqCst fence <-> `finish_step`'s: who leaves the chunk later sees that the other has left it.
        fence(Ordering::SeqCst);
        let chunk = self.ring.chunk;
        let is_drained = !chunk.is_home() && raw.chain.drained.load(Ordering::Relaxed) == chunk.to_word();
        if is_drained && raw.settings.head_chunk.load(Ordering::Relaxed) != chunk.to_word() {
            // The consumers left it to us; `drained` names it until their next step, so its place is not given out (G2).
            growth.release_through(chunk);
        }
    }
}

impl<'a> Ring<'a> {
    /// The oldest item, where it lies and its state; `None` if item `tail` is the next one, too.
    pub(super) fn oldest(&self, tail: u64) -> Result<Option<(u64, Slot<'a>, u64)>, RingError> {
        let name = &self.ring.settings.head_chunk;
        for _ in 0..LOOKS {
            // SYNC: Acquire <- `leave`'s Release: the chunk's header.
            let chunk = Chunk::from_word(name.load(Ordering::Acquire));
            // SYNC: Acquire <- the consumer's Release: the states of all items before it.
            let head = self.ring.consuming.head.load(Ordering::Acquire);
            let found = self.view(chunk).and_then(|view| view.oldest_from(head, tail));
            // Relaxed: behind the Acquire loads of the states (G1).
            if name.load(Ordering::Relaxed) == chunk.to_word() && (found.is_ok() || self.is_head(head)) {
                return found;
            }
        }
        Err(RingError::Moved)
    }

    fn is_head(&self, head: u64) -> bool {
        self.ring.consuming.head.load(Ordering::Relaxed) == head // Relaxed: a look.
    }

    /// The oldest item from `head` on, in this chunk or the next. A dead consumer may have freed one, and a living one may
    /// be about to step.
    fn oldest_from(mut self, head: u64, tail: u64) -> Result<Option<(u64, Slot<'a>, u64)>, RingError> {
        let mut number = head;
        for _ in 0..3 {
            if number == tail {
                return Ok(None);
            }
            let (word, state) = self.look(number)?;
            match state {
                State::Ready => return Ok(Some((number, self.slot(number)?, word))),
                State::Later => number = number.wrapping_add(1),
                // SYNC: Acquire <- the kernel's punch, and later writes: that the name has changed is seen then (G1).
                State::Moved => self = self.view(Chunk::from_word(self.next()?.load(Ordering::Acquire)))?,
                State::NotReady | State::Closed | State::Earlier => break,
            }
        }
        Err(RingError::Corrupt)
    }
}

impl<'a> Consuming<'_, 'a> {
    /// Finishes or undoes what a dead holder had begun of a step.
    pub(super) fn finish_step(&self) {
        let (ring, raw) = (self.ring, self.ring.ring);
        let Some(growth) = ring.growth else { return };
        let drained = Chunk::from_word(raw.chain.drained.load(Ordering::Relaxed)); // Relaxed, here and below: under the lease.
        if drained.is_home() {
            return;
        }
        let is_left = raw.settings.head_chunk.load(Ordering::Relaxed) != drained.to_word();
        if is_left {
            // SYNC: SeqCst fence <-> `enter`'s: who leaves the chunk later sees that the other has left it.
            fence(Ordering::SeqCst);
            // SYNC: Acquire <- `enter`'s Release: the producers have done with the chunk.
            if raw.settings.tail_chunk.load(Ordering::Acquire) == drained.to_word() {
                return; // Whoever links is in the middle of it, or died there: `enter` does it.
            }
            growth.release_through(drained);
        }
        raw.chain.drained.store(0, Ordering::Release); // SYNC: Release -> `grow`'s Acquire: it was punched (G2).
    }

    /// Goes on to the next chunk, which Moved at the head says is there, and gives up this one.
    #[cold]
    pub(super) fn step(&self) -> Result<(), RingError> {
        let (ring, raw) = (self.ring, self.ring.ring);
        let next = ring.next()?.load(Ordering::Relaxed); // Relaxed: published by Moved.
        if next == ring.chunk.to_word() {
            return Err(RingError::Corrupt);
        }
        // What could not be punched then: the producers have left it, for they have filled this one.
        self.finish_step();
        if !ring.chunk.is_home() {
            raw.chain.drained.store(ring.chunk.to_word(), Ordering::Relaxed); // Relaxed: published by the name.
        }
        // SYNC: Release -> `in_chunk`'s Acquire: the chunk's header; and `grow`'s: `drained`.
        raw.settings.head_chunk.store(next, Ordering::Release);
        self.finish_step();
        Ok(())
    }

    /// After the last item of a chunk was got: steps on if there is a next one; goes home if the queue is empty and no
    /// producer is at work. Whether this is another chunk now.
    #[cold]
    pub(super) fn settle(&self) -> Result<bool, RingError> {
        let (ring, raw) = (self.ring, self.ring.ring);
        let number = raw.consuming.head.load(Ordering::Relaxed); // Relaxed: under the lease.
        if !ring.is_at(&raw.settings.head_chunk) {
            return Ok(true);
        }
        self.finish_step();
        match ring.look(number)?.1 {
            State::Moved => {}
            State::NotReady if !raw.producing.lease.is_locked() && !raw.is_closed() => {
                let growth = ring.growth.ok_or(RingError::Corrupt)?;
                let home = Producing::hold(&ring.shared(), Wait::Never, |producing| {
                    // Relaxed: under the producers' lease.
                    let is_empty = raw.producing.tail.load(Ordering::Relaxed) == number;
                    if is_empty { producing.link(growth, Chunk::HOME, number) } else { Ok(()) }
                });
                // A producer is at work, or has linked a chunk.
                if home.is_err() || ring.look(number)?.1 != State::Moved {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
        self.step()?;
        Ok(true)
    }
}
