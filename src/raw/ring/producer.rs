//! The producers' end: putting an item, closing.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use super::record::{self, Extent, HEADER, Halves, State};
use super::waiting::{Attempt, End, Spot, Wait};
use super::{Corrupt, Front, Ring, RingError, Slot, wide};
use crate::raw::{AcquireError, Acquired, Deadline};
use crate::sys::atomic::fence;
use crate::sys::futex::{self, Half};
use crate::sys::robust::Thread;

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
    pub unsafe fn put(self, payload: &[u8], deadline: Option<Deadline>) -> Result<(), RingError> {
        self.put_waiting(payload, Wait::Until(deadline))
    }

    /// Puts one item if there is room.
    ///
    /// # Errors
    /// `WouldBlock`, only when there is no room; `Busy`; and those of [`put`](Self::put).
    ///
    /// # Safety
    /// As for [`put`](Self::put).
    pub unsafe fn try_put(self, payload: &[u8]) -> Result<(), RingError> {
        self.put_waiting(payload, Wait::Never)
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
    pub unsafe fn close(self, deadline: Option<Deadline>) -> Result<(), RingError> {
        self.ring.settings.closing.store(1, Ordering::Relaxed); // Relaxed: what it leads to takes a lease.
        self.complete_closing(deadline)
    }

    /// Commits the last record, if it has not been.
    pub(super) fn complete_closing(self, deadline: Option<Deadline>) -> Result<(), RingError> {
        Producing::begin(self, deadline)?.close()
    }

    fn put_waiting(self, payload: &[u8], wait: Wait) -> Result<(), RingError> {
        if wide(payload.len()) > self.max_payload() {
            return Err(RingError::TooLarge);
        }
        let end = End {
            lease: &self.ring.producing.lease,
            room: &self.ring.producers_room.lease,
            hint: &self.ring.producer_sleeps,
        };
        end.run(
            wait,
            || self.seems_to_have_room(),
            || self.was_full(wide(payload.len())),
            |deadline| Producing::begin(self, deadline)?.push(payload),
        )
    }

    /// A guess, for spinning: the record at the free cursor, which is what a full ring waits for, is no longer ready.
    fn seems_to_have_room(self) -> bool {
        let cursor = self.ring.producing.free.load(Ordering::Relaxed); // Relaxed: a guess.
        self.slot(cursor).map_or(true, |slot| slot.state != State::Ready)
    }

    /// Whether there was a moment without room for a payload of `length` bytes; false where it can't be told.
    fn was_full(self, length: u64) -> bool {
        // SYNC: Acquire <- the producer's Release of the tail: the front below is not older.
        let tail = self.ring.producing.tail.load(Ordering::Acquire);
        let Ok((end, _)) = self.place(tail, length) else { return false };
        // The tail only moves on, and the record's end with it: at the moment of the front it is that far at least.
        let full = |front: Front| end.wrapping_add(HEADER).saturating_sub(front.position) > self.capacity();
        let by_bytes = self.front().is_ok_and(|front| front.is_some_and(full));
        by_bytes || self.len().is_ok_and(|items| items >= self.ring.max_items())
    }

    /// Where a record for `length` bytes would end that is put at `tail`, and the words of the pad before it.
    fn place(self, tail: u64, length: u64) -> Result<(u64, u64), Corrupt> {
        let words = record::words(length);
        let to_end = self.capacity().wrapping_sub(wide(self.index(tail)?));
        let pad = if words > to_end { to_end } else { 0 };
        Ok((tail.wrapping_add(pad).wrapping_add(words), pad))
    }
}

/// The calling thread at the producers' end, whose lease it holds.
struct Producing<'a> {
    ring: Ring<'a>,
    thread: Thread,
}

impl<'a> Producing<'a> {
    fn begin(ring: Ring<'a>, deadline: Option<Deadline>) -> Result<Self, RingError> {
        let thread = Thread::current().map_err(AcquireError::from)?;
        let lease = &ring.ring.producing.lease;
        // SAFETY: the ring stays mapped, as `Ring::put` asks, until the drop below has unlocked it.
        let acquired = unsafe { lease.lock(deadline) }?;
        let this = Self { ring, thread };
        if acquired == Acquired::OwnerDied {
            this.repair()?;
            lease.recover();
        }
        Ok(this)
    }

    /// Walks the tail over what the dead holder had committed, and makes `freed` agree with the free cursor.
    fn repair(&self) -> Result<(), Corrupt> {
        let line = &self.ring.ring.producing;
        // A pad and a record at most.
        for _ in 0..2 {
            let tail = line.tail.load(Ordering::Relaxed);
            let slot = self.ring.slot(tail)?;
            if matches!(slot.state, State::NotReady | State::Closed) {
                break;
            }
            // SYNC: Release -> `puts`' Acquire: the header at the tail is initialised.
            line.tail.store(slot.end(tail), Ordering::Release);
        }
        let cursor = line.free.load(Ordering::Relaxed);
        line.freed.store(self.ring.slot(cursor)?.number, Ordering::Relaxed); // Relaxed: for holders only.
        Ok(())
    }

    /// The header at the tail.
    ///
    /// # Errors
    /// `Closed` if the ring is.
    fn tail(&self) -> Result<(u64, Slot<'a>), RingError> {
        let tail = self.ring.ring.producing.tail.load(Ordering::Relaxed); // Relaxed: written by holders of the lease.
        let slot = self.ring.slot(tail)?;
        match slot.state {
            State::NotReady => Ok((tail, slot)),
            State::Closed => Err(RingError::Closed),
            State::Ready | State::Freed => Err(RingError::Corrupt),
        }
    }

    /// Puts one item, if there is room.
    fn push(self, payload: &[u8]) -> Result<Attempt<'a, ()>, RingError> {
        let (ring, raw) = (self.ring, self.ring.ring);
        if raw.is_closed() {
            self.close()?;
            return Err(RingError::Closed);
        }
        let (tail, slot) = self.tail()?;
        let (number, next_number) = (slot.number, slot.number.wrapping_add(1));
        let words = record::words(wide(payload.len()));
        let (next, pad) = ring.place(tail, wide(payload.len()))?;
        if let Some(full) = self.make_room(next.wrapping_add(HEADER), number)? {
            return Ok(Attempt::NotYet(full));
        }

        // SYNC: Release fence -> the Acquire fences of `puts`, `gets` and the consumers' repair (R3): whoever sees a word
        // that is overwritten after this sees the free cursor, which has passed it.
        fence(Ordering::Release);
        self.write_header(ring.index(next)?, State::NotReady, next_number, Extent::EMPTY);
        let length = u32::try_from(payload.len()).map_err(|_| RingError::TooLarge)?;
        let record = Extent { pad: false, length };
        let committed = if pad == 0 {
            record::write(ring.payload(slot.at, words)?, payload);
            record
        } else {
            // Nobody looks at the ring's start before the pad is committed.
            record::write(ring.payload(0, words)?, payload);
            self.write_header(0, State::Ready, number, record);
            let length = u32::try_from(pad.wrapping_sub(HEADER).wrapping_mul(8)).map_err(|_| Corrupt)?;
            Extent { pad: true, length }
        };
        ring.word(slot.at.wrapping_add(2)).store(committed.to_word(), Ordering::Relaxed); // Relaxed: as the payload.
        let (tag, word) = (record::tag(number), futex::half(slot.word, Half::Low));
        raw.consumer_sleeps.publish(self.thread, tag, word, || {
            // SYNC: Release -> `Ring::slot`'s Acquire (R1): the commit. Publishes the payload and the next header.
            slot.word.store(Halves::of(State::Ready, number).to_word(), Ordering::Release);
            // SYNC: Release -> `puts`' Acquire: the header at the tail is initialised.
            raw.producing.tail.store(next, Ordering::Release);
        });
        Ok(Attempt::Done(()))
    }

    /// A header that nobody sees yet. Relaxed: published by the commit.
    fn write_header(&self, at: usize, state: State, number: u64, extent: Extent) {
        let word = |offset| self.ring.word(at.wrapping_add(offset));
        word(2).store(extent.to_word(), Ordering::Relaxed);
        word(1).store(number, Ordering::Relaxed);
        word(0).store(Halves::of(state, number).to_word(), Ordering::Relaxed);
    }

    /// Makes the words up to `end` free to be overwritten, and one more item, of this `number`, within the bound; or says
    /// what to wait for.
    fn make_room(&self, end: u64, number: u64) -> Result<Option<Spot<'a>>, Corrupt> {
        let (capacity, max_items) = (self.ring.capacity(), self.ring.ring.max_items());
        let fits = |free: u64, freed: u64| {
            end.wrapping_sub(free) <= capacity && number.wrapping_sub(freed) < max_items
        };
        let line = &self.ring.ring.producing;
        // Relaxed: written by holders of the lease.
        let mut free = line.free.load(Ordering::Relaxed);
        if fits(free, line.freed.load(Ordering::Relaxed)) {
            return Ok(None);
        }
        let tail = line.tail.load(Ordering::Relaxed);
        let oldest = loop {
            if tail.wrapping_sub(free) > capacity {
                return Err(Corrupt);
            }
            // Its Acquire (R2) orders the consumer's reading of the payload before our overwriting it.
            let slot = self.ring.slot(free)?;
            if slot.state != State::Freed || free == tail {
                break slot;
            }
            free = slot.end(free);
        };
        // SYNC: Release -> `gets`' Acquire: the header at the cursor is initialised.
        line.free.store(free, Ordering::Release);
        line.freed.store(oldest.number, Ordering::Relaxed); // Relaxed: for holders of the lease only.
        if fits(free, oldest.number) {
            return Ok(None);
        }
        let word = futex::half(oldest.word, Half::High);
        let tag = record::tag(oldest.number);
        Ok(Some(Spot { word, expected: oldest.halves.for_producers, tag }))
    }

    /// Commits the last record, if it has not been.
    fn close(&self) -> Result<(), RingError> {
        let (_, last) = match self.tail() {
            Err(RingError::Closed) => return Ok(()),
            tail => tail?,
        };
        self.nudge_producers()?;
        let (tag, word) = (record::tag(last.number), futex::half(last.word, Half::Low));
        self.ring.ring.consumer_sleeps.publish(self.thread, tag, word, || {
            // SYNC: Release -> `Ring::slot`'s Acquire: the commit of the end. Whoever sees it has seen all before it.
            last.word.store(Halves::of(State::Closed, last.number).to_word(), Ordering::Release);
        });
        Ok(())
    }

    /// Wakes producers that wait for room: they wait for our lease next, and find the ring closed, or us dead.
    fn nudge_producers(&self) -> Result<(), Corrupt> {
        let oldest = self.ring.slot(self.ring.ring.producing.free.load(Ordering::Relaxed))?;
        if oldest.state != State::Ready {
            return Ok(());
        }
        let (tag, word) = (record::tag(oldest.number), futex::half(oldest.word, Half::High));
        self.ring.ring.producer_sleeps.publish(self.thread, tag, word, || {
            // Fails if a consumer frees the record: that wakes them too. Relaxed: nothing moves but the wake.
            let (seen, nudged) = (oldest.halves.to_word(), oldest.halves.nudged().to_word());
            let _ = oldest.word.compare_exchange(seen, nudged, Ordering::Relaxed, Ordering::Relaxed);
        });
        Ok(())
    }
}

impl Drop for Producing<'_> {
    fn drop(&mut self) {
        // `Corrupt` after a peer's scribble: the lease is not held any more, and the next operation says so.
        let _ = self.ring.ring.producing.lease.unlock();
    }
}
