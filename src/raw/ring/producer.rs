//! The producers' end: putting an item, closing.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::sync::atomic::Ordering;

use super::endpoint::Access;
use super::slot::{self, Header, State};
use super::waiting::{Attempt, End, Spot, Wait};
use super::{Corrupt, Ring, RingError, Slot, bulk, waiting, wide};
use crate::raw::{AcquireError, Acquired, Deadline};
use crate::sys::atomic::{AtomicU64, fence};
use crate::sys::futex::{self, Half};
use crate::sys::robust::Thread;

/// So many items are got before a producer that spins for room tries again.
const BATCH: u64 = 32;

impl<'a> Ring<'a> {
    /// Puts one item, waiting for room until `deadline`, or for as long as it takes.
    ///
    /// # Errors
    /// `TooLarge`, `Closed`, `TimedOut`, `Deadlock`, `TooManyHeld`, `Corrupt`, `Unsupported`. The ring is unchanged then.
    ///
    /// # Process death
    /// A caller that is killed has put the item whole, and a consumer is woken for it, or has not put it.
    ///
    /// # Safety
    /// Until the call returns, the ring and its words must stay mapped and in place.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// // SAFETY: the ring and its words stay where they are.
    /// unsafe { ring.put(&[7; 8], None) }?;
    /// assert_eq!(ring.len()?, 1);
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[inline]
    pub unsafe fn put(self, payload: &[u8], deadline: Option<Deadline>) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.put_bytes(Wait::Until(deadline), payload) }
    }

    /// Puts one item if there is room.
    ///
    /// # Errors
    /// `WouldBlock`, only when there is no room; `Busy`; and those of [`put`](Self::put).
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// for _ in 0..4 {
    ///     // SAFETY: the ring and its words stay where they are.
    ///     unsafe { ring.try_put(&[7; 8]) }?;
    /// }
    /// // SAFETY: as above.
    /// let full = unsafe { ring.try_put(&[7; 8]) };
    /// assert_eq!(full, Err(multiproc::raw::RingError::WouldBlock));
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[inline]
    pub unsafe fn try_put(self, payload: &[u8]) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.put_bytes(Wait::Never, payload) }
    }

    /// Puts one item.
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    #[inline]
    pub(crate) unsafe fn put_bytes(self, wait: Wait, payload: &[u8]) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the same.
        if self.quick().is_some_and(|ring| unsafe { ring.put(wait, payload) }) {
            return Ok(());
        }
        let fill = |words: &_| {
            // SAFETY: `put_with` gives the words of an item that is being put.
            unsafe { bulk::write(words, payload) };
        };
        // SAFETY: the caller's promise is the same.
        unsafe { self.put_with(wait, payload.len(), fill) }
    }

    /// Puts one item of `length` bytes that `fill` writes, once, into words that hold them. It runs with the producers'
    /// lease held; if it panics, nothing is put.
    ///
    /// # Errors
    /// As for [`put`](Self::put) and [`try_put`](Self::try_put).
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    #[inline]
    pub(crate) unsafe fn put_with(
        self,
        wait: Wait,
        length: usize,
        mut fill: impl FnMut(&'a [AtomicU64]),
    ) -> Result<(), RingError> {
        self.check_length(length)?;
        self.produce(wait, length, |producing| producing.push(length, &mut fill))
    }

    /// Puts up to `count` items, the one of index i `length_of(i)` bytes long and written by `fill(i, words)`: as many as
    /// fit at once, and at least one, for which it waits. Says how many.
    ///
    /// # Errors
    /// As for [`put`](Self::put) and [`try_put`](Self::try_put); of the length of the first item only.
    ///
    /// # Process death
    /// Killed here, the first so many items are put, each as by [`put`](Self::put).
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    #[inline]
    pub(crate) unsafe fn put_many(
        self,
        wait: Wait,
        count: usize,
        length_of: impl Fn(usize) -> usize,
        mut fill: impl FnMut(usize, &'a [AtomicU64]),
    ) -> Result<usize, RingError> {
        if count == 0 {
            return Ok(0);
        }
        self.check_length(length_of(0))?;
        self.produce(wait, length_of(0), |producing| {
            let mut done = 0_usize;
            while done < count {
                let length = length_of(done);
                if done > 0 && self.check_length(length).is_err() {
                    break;
                }
                match producing.push(length, &mut |words| fill(done, words)) {
                    Ok(Attempt::Done(())) => done = done.saturating_add(1),
                    Ok(Attempt::NotYet(full)) if done == 0 => return Ok(Attempt::NotYet(full)),
                    Err(error) if done == 0 => return Err(error),
                    Ok(Attempt::NotYet(_)) | Err(_) => break,
                }
            }
            Ok(Attempt::Done(done))
        })
    }

    /// Refuses every later put, lets the gets drain what is there, and wakes whoever waits.
    ///
    /// # Errors
    /// `TimedOut` if a producer held the producers' end until `deadline`: it is stopped, and whoever comes next completes
    /// the closing. `Deadlock`, `TooManyHeld`, `Corrupt`, `Unsupported`.
    ///
    /// # Process death
    /// Killed before it has announced itself, nothing is closed; after that, whoever comes next completes it.
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// // SAFETY: the ring and its words stay where they are.
    /// unsafe { ring.close(None) }?;
    /// // SAFETY: as above.
    /// let late = unsafe { ring.put(&[7; 8], None) };
    /// assert_eq!(late, Err(multiproc::raw::RingError::Closed));
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    pub unsafe fn close(self, deadline: Option<Deadline>) -> Result<(), RingError> {
        self.ring.settings.closing.store(1, Ordering::Relaxed); // Relaxed: what it leads to takes a lease.
        self.complete_closing(deadline)
    }

    /// Commits the end, if it has not been and there is a slot for it.
    pub(super) fn complete_closing(&self, deadline: Option<Deadline>) -> Result<(), RingError> {
        let ring = self.shared();
        loop {
            match Producing::hold(&ring, Wait::Until(deadline), Producing::close) {
                // It may have been given back since.
                Err(RingError::Exclusive) if !ring.close_beside(deadline)? => {}
                Err(RingError::Exclusive) => return Ok(()),
                Err(RingError::Deadlock) if ring.close_beside(deadline)? => return Ok(()),
                done => return done,
            }
        }
    }

    #[inline(always)]
    fn produce<R>(
        &self,
        wait: Wait,
        length: usize,
        mut step: impl FnMut(&Producing<'_, 'a>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        let end = End {
            lease: &self.ring.producing.lease,
            room: &self.ring.producers_room,
            hint: &self.ring.producer_sleeps,
            peer: (&self.ring.consuming.lease, &self.ring.consumers_room),
            access: self.access,
        };
        end.run(
            wait,
            || self.seems_to_have_room(),
            || self.was_full(length),
            |wait| Producing::hold(self, wait, |producing| step(producing)),
        )
    }

    #[inline(always)]
    fn check_length(&self, length: usize) -> Result<(), RingError> {
        let longest = self.max_payload();
        let allowed = match self.shape.fixed_bytes() {
            Some(_) => wide(length) == longest,
            None => wide(length) <= longest,
        };
        if allowed { Ok(()) } else { Err(RingError::TooLarge) }
    }

    /// A guess, for spinning: of what a full ring holds, the oldest quarter is gone, or the oldest `BATCH`. To put one item
    /// for each that is got costs both ends a cache miss at each; where the consumers stop before that, the spin ends.
    fn seems_to_have_room(&self) -> bool {
        let line = &self.ring.producing;
        // Relaxed: a guess.
        let free = line.free.load(Ordering::Relaxed);
        let ahead = (line.tail.load(Ordering::Relaxed).wrapping_sub(free) / 4).min(BATCH);
        if self.growth.is_some() {
            // The slots may lie in other chunks.
            return self.ring.consuming.head.load(Ordering::Relaxed).wrapping_sub(free) > ahead;
        }
        self.look(free.wrapping_add(ahead)).map_or(true, |(_, state)| state != State::Ready)
    }

    /// Whether there was a moment without room for a payload of `length` bytes; false where it can't be told.
    fn was_full(&self, length: usize) -> bool {
        if self.growth.is_some() {
            return self.ring.max_items() < u64::MAX
                && self.len().is_ok_and(|items| items >= self.ring.max_items());
        }
        if self.len().is_ok_and(|items| items >= self.bound()) {
            return true;
        }
        if self.shape.fixed_bytes().is_some() || length <= self.shape.inline_bytes() {
            return false;
        }
        // SYNC: Acquire <- the producer's Release of the data's tail: the oldest item below is not older.
        let tail = self.ring.producing.data_tail.load(Ordering::Acquire);
        let (Ok((_, end)), Some(start)) = (self.place(tail, length), self.oldest_start()) else {
            return false;
        };
        // The tail only moves on, and the data's end with it: at the moment of the oldest item it was that far at least.
        // In the upper half of the range the oldest item is newer than the tail was.
        let used = end.wrapping_sub(start);
        used > self.data_capacity() && used < 1 << 31
    }

    /// Where the data of the oldest item begins; `None` if there is none, or it was got during the look.
    fn oldest_start(&self) -> Option<u32> {
        let number = self.gets().ok()?;
        let slot = self.slot(number).ok()?;
        let (before, State::Ready) = self.look(number).ok()? else { return None };
        let header = self.header(slot).ok()?;
        // SYNC: Acquire fence <- `push`'s Release fence (R3): if the header is a later item's, the state has moved.
        fence(Ordering::Acquire);
        (slot.state.load(Ordering::Relaxed) == before).then_some(header.start)
    }
}

/// What [`Producing::make_room`] found.
pub(super) enum Room<'a> {
    Enough,
    /// There may be some once this has changed.
    After(Spot<'a>),
    /// Not even an empty ring has room.
    Never,
}

/// The calling thread at the producers' end, whose lease it holds.
pub(super) struct Producing<'r, 'a> {
    pub(super) ring: &'r Ring<'a>,
    pub(super) thread: Thread,
    /// What it has published: the items from the first number up to before the end.
    first: Cell<u64>,
    end: Cell<u64>,
}

impl<'r, 'a> Producing<'r, 'a> {
    /// Takes the lease, waiting for it as it is told, and a step, and releases the lease. Its keeper only takes the step.
    #[inline(always)]
    pub(super) fn hold<R>(
        ring: &'r Ring<'a>,
        wait: Wait,
        step: impl FnOnce(&Self) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        let thread = Thread::current().map_err(AcquireError::from)?;
        let (lease, room) = (&ring.ring.producing.lease, &ring.ring.producers_room);
        let acquired = match ring.access {
            Access::Kept(fences) => {
                if !lease.lease.is_held_by(thread) {
                    return Err(RingError::Exclusive);
                }
                room.begin(thread, fences);
                Acquired::Consistent
            }
            // SAFETY: the ring stays mapped, as `Ring::put` asks, until `release` has unlocked it; as `keep_producers_end`
            // does, until its end is given back.
            _ => match unsafe { lease.lock_for(thread, || room.patience(lease, wait)) } {
                Err(AcquireError::TimedOut { .. }) => room.take_slowly(lease, thread, wait)?,
                acquired => acquired?,
            },
        };
        // Never moved, so that it stays in registers. The drop is for what fails and panics.
        let this = Self { ring, thread, first: Cell::new(0), end: Cell::new(0) };
        if !ring.is_at(&ring.ring.settings.tail_chunk) {
            return Err(RingError::Moved);
        }
        if acquired == Acquired::OwnerDied {
            room.leave();
            let moved = this.repair()?;
            lease.recover();
            if moved {
                return Err(RingError::Moved);
            }
        }
        let done = step(&this);
        this.release();
        core::mem::forget(this);
        done
    }

    /// The calling thread in the place of the keeper, which does not put any more: commits the end.
    #[cold]
    pub(super) fn beside(ring: &'r Ring<'a>, thread: Thread) -> Result<(), RingError> {
        if !ring.is_at(&ring.ring.settings.tail_chunk) {
            return Err(RingError::Moved);
        }
        Self { ring, thread, first: Cell::new(0), end: Cell::new(0) }.close()
    }

    #[inline(always)]
    fn release(&self) {
        let room = &self.ring.ring.producers_room;
        match self.ring.access {
            Access::Shared => {}
            Access::Keep if !room.is_kept_by(self.thread) => {}
            Access::Kept(_) => return room.end(self.thread),
            Access::Keep | Access::Beside => return,
        }
        // `Corrupt` after a peer's scribble: the lease is not held any more, and the next operation says so.
        let _ = self.ring.ring.producing.lease.unlock_for(self.thread);
        let (first, end) = (self.first.get(), self.end.get());
        if end != first {
            self.ring.ring.consumer_sleeps.published(first, end, |number| self.ring.wake_consumer(number));
        }
    }

    /// Moves the tail over what the dead holder had committed; whether that was a link to another chunk.
    #[cold]
    fn repair(&self) -> Result<bool, RingError> {
        let (ring, line) = (self.ring, &self.ring.ring.producing);
        let tail = line.tail.load(Ordering::Relaxed);
        let (_, state) = ring.look(tail)?;
        if matches!(state, State::Ready | State::Later) {
            let header = ring.header(ring.slot(tail)?)?;
            let length = usize::try_from(header.length).map_err(|_| Corrupt)?;
            if ring.shape.fixed_bytes().is_none() && length > ring.shape.inline_bytes() {
                let end =
                    if ring.chunk.is_home() { ring.place(header.start, length)?.1 } else { header.start };
                line.data_tail.store(end, Ordering::Release); // SYNC: Release -> `was_full`'s Acquire.
            }
            // SYNC: Release -> `passed`'s Acquire: the states of all items before it.
            line.tail.store(tail.wrapping_add(1), Ordering::Release);
        }
        self.repair_link()
    }

    /// Puts one item, if there is room.
    #[inline(always)]
    fn push(
        &self,
        length: usize,
        fill: &mut impl FnMut(&'a [AtomicU64]),
    ) -> Result<Attempt<'a, ()>, RingError> {
        let (ring, raw) = (self.ring, self.ring.ring);
        let line = &raw.producing;
        if raw.is_closed() {
            return self.refuse();
        }
        // Relaxed, here and below: written by holders of the lease.
        let number = line.tail.load(Ordering::Relaxed);
        let is_varying = ring.shape.fixed_bytes().is_none();
        let in_data = is_varying && length > ring.shape.inline_bytes();
        let free = line.free.load(Ordering::Relaxed);
        let (start, end, fits) = if ring.chunk.is_home() {
            let (start, end) = if in_data {
                ring.place(line.data_tail.load(Ordering::Relaxed), length)?
            } else if is_varying {
                let tail = line.data_tail.load(Ordering::Relaxed);
                (tail, tail)
            } else {
                (0, 0)
            };
            let data_free = || line.data_free.load(Ordering::Relaxed);
            let has_data = !in_data || end.wrapping_sub(data_free()) <= ring.data_capacity();
            (start, end, number.wrapping_sub(free) < ring.bound() && has_data)
        } else {
            let (start, fits) = self.place_in_chunk(number, length, in_data);
            (start, start, number.wrapping_sub(free) < raw.max_items() && fits)
        };
        if !fits {
            match ring.growth {
                Some(growth) => {
                    if let Some(full) = self.make_room_or_grow(growth, number, length, (start, end))? {
                        return Ok(Attempt::NotYet(full));
                    }
                }
                None => match self.make_room(number, start, end)? {
                    Room::Enough => {}
                    Room::After(full) => return Ok(Attempt::NotYet(full)),
                    // The bound is 0.
                    Room::Never => return Err(RingError::Corrupt),
                },
            }
        }

        let slot = ring.slot(number)?;
        let header = Header { length: u32::try_from(length).map_err(|_| RingError::TooLarge)?, start };
        let (words, _) = ring.payload(slot, header)?;
        if is_varying {
            // SYNC: Release fence -> `oldest_start`'s Acquire fence (R3): whoever sees the header overwritten sees that the
            // item that it belonged to was freed.
            fence(Ordering::Release);
            let place = slot.rest.first().ok_or(Corrupt)?;
            place.store(header.to_word(), Ordering::Relaxed); // Relaxed: published by the commit, as the payload.
        }
        fill(words);
        self.note(number, number.wrapping_add(1));
        raw.commit(self.thread, ring.access, slot.state, number, in_data.then_some(end));
        Ok(Attempt::Done(()))
    }

    /// Notes that item `number` is published.
    #[inline]
    pub(super) fn note(&self, number: u64, next: u64) {
        if self.first.get() == self.end.get() {
            self.first.set(number);
        }
        self.end.set(next);
    }

    #[cold]
    fn refuse(&self) -> Result<Attempt<'a, ()>, RingError> {
        self.close()?;
        Err(RingError::Closed)
    }

    /// Makes room for one more item, of this `number`, and for its data between `start` and `end`; or says what to wait
    /// for. In the home ring, if it grows.
    #[inline(never)]
    pub(super) fn make_room(&self, number: u64, start: u32, end: u32) -> Result<Room<'a>, Corrupt> {
        let (ring, line) = (self.ring, &self.ring.ring.producing);
        let slots = wide(ring.shape.items());
        let mut free = line.free.load(Ordering::Relaxed);
        let mut oldest = None;
        while free != number {
            if number.wrapping_sub(free) > slots {
                return Err(Corrupt);
            }
            // SYNC: Acquire <- the consumer's Release (R2): it has read the payload that we overwrite.
            let word = ring.slot(free)?.state.load(Ordering::Acquire);
            if word == slot::not_ready(free.wrapping_add(slots)) {
                free = free.wrapping_add(1);
                continue;
            }
            match slot::state(word, free)? {
                State::Later => free = free.wrapping_add(1),
                State::Ready => {
                    oldest = Some((ring.slot(free)?, word));
                    break;
                }
                State::NotReady | State::Closed | State::Moved | State::Earlier => return Err(Corrupt),
            }
        }
        // In an empty ring, what the data skips at its end is free as well.
        let data_free = match oldest {
            Some((slot, _)) => ring.header(slot)?.start,
            None => start,
        };
        line.data_free.store(data_free, Ordering::Relaxed); // Relaxed, here and below: for holders of the lease only.
        line.free.store(free, Ordering::Relaxed);
        let fits = number.wrapping_sub(free) < ring.bound()
            && (start == end || end.wrapping_sub(data_free) <= ring.data_capacity());
        match oldest {
            _ if fits => Ok(Room::Enough),
            Some((slot, word)) => {
                let (half, expected) = (futex::half(slot.state, Half::High), slot::for_producers(word));
                Ok(Room::After(Spot { word: half, expected, tag: slot::tag(free) }))
            }
            None => Ok(Room::Never),
        }
    }

    /// Commits the end, if it has not been and there is a slot for it. In a full ring there is none: whoever drains it
    /// comes here again.
    fn close(&self) -> Result<(), RingError> {
        let tail = self.ring.ring.producing.tail.load(Ordering::Relaxed);
        let slot = self.ring.slot(tail)?;
        let (_, state) = self.ring.look(tail)?;
        match state {
            State::Closed => return Ok(()),
            State::Ready | State::Later | State::Moved => return Err(RingError::Corrupt),
            State::NotReady | State::Earlier => self.nudge_producers()?,
        }
        if state == State::NotReady {
            let word = futex::half(slot.state, Half::Low);
            self.note(tail, tail.wrapping_add(1));
            self.ring.ring.consumer_sleeps.publish(self.thread, self.ring.access, tail, word, || {
                // SYNC: Release -> `Ring::look`'s Acquire: the commit of the end. Whoever sees it has seen all before it.
                slot.state.store(slot::closed(tail), Ordering::Release);
            });
        }
        Ok(())
    }

    /// Wakes producers that wait for room: they wait for our lease next, and find the ring closed, or us dead.
    fn nudge_producers(&self) -> Result<(), RingError> {
        let line = &self.ring.ring.producing;
        let (free, word, seen) = if self.ring.growth.is_some() {
            let tail = line.tail.load(Ordering::Relaxed);
            let Some((free, slot, seen)) = self.ring.oldest(tail)? else { return Ok(()) };
            (free, slot.state, seen)
        } else {
            let free = line.free.load(Ordering::Relaxed);
            let (seen, State::Ready) = self.ring.look(free)? else { return Ok(()) };
            (free, self.ring.slot(free)?.state, seen)
        };
        let half = futex::half(word, Half::High);
        self.ring.ring.producer_sleeps.publish(self.thread, self.ring.access, free, half, || {
            // Fails if a consumer frees the item: that wakes them too. Relaxed: nothing moves but the wake.
            let _ = word.compare_exchange(seen, slot::nudged(seen), Ordering::Relaxed, Ordering::Relaxed);
        });
        Ok(())
    }
}

impl Ring<'_> {
    /// Wakes a consumer that sleeps for item `number`.
    #[cold]
    fn wake_consumer(&self, number: u64) {
        if let Ok(Slot { state, .. }) = self.slot(number) {
            waiting::wake(futex::half(state, Half::Low));
        }
    }
}

impl Drop for Producing<'_, '_> {
    #[cold]
    fn drop(&mut self) {
        self.release();
    }
}
