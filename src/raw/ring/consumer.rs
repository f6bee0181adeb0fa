//! The consumers' end: getting an item.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::sync::atomic::Ordering;

use super::endpoint::Access;
use super::slot::{self, State};
use super::waiting::{Attempt, End, HOLDERS_STEP, Spot, Wait};
use super::{Corrupt, Ring, RingError, Slot, bulk, waiting, wide};
use crate::raw::{AcquireError, Acquired, Deadline};
use crate::sys::atomic::AtomicU64;
use crate::sys::futex::{self, Half};
use crate::sys::robust::Thread;

impl<'a> Ring<'a> {
    /// Gets one item's payload to the end of `payload`, waiting until `deadline`, or for as long as it takes.
    ///
    /// # Errors
    /// `Closed` once the ring is closed and drained, `TimedOut`, `Deadlock`, `TooManyHeld`, `Corrupt`, `Unsupported`.
    ///
    /// # Process death
    /// A caller that is killed has taken the item with it, and a producer is woken for its room, or has left the item.
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
    /// let mut payload = Vec::new();
    /// // SAFETY: as above.
    /// unsafe { ring.get(&mut payload, None) }?;
    /// assert_eq!(payload, [7; 8]);
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[inline]
    pub unsafe fn get(self, payload: &mut Vec<u8>, deadline: Option<Deadline>) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.get_bytes(Wait::Until(deadline), payload) }
    }

    /// Gets one item's payload to the end of `payload` if there is an item.
    ///
    /// # Errors
    /// `WouldBlock`, only when there is none; `Busy`; and those of [`get`](Self::get).
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use multiproc::raw::{RawRing, RingShape};
    /// let shape = RingShape::fixed(4, 8).expect("it is small");
    /// let words: Vec<_> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    /// let raw = RawRing::new(4);
    /// let ring = raw.with_words(shape, &words)?;
    /// let mut payload = Vec::new();
    /// // SAFETY: the ring and its words stay where they are.
    /// let empty = unsafe { ring.try_get(&mut payload) };
    /// assert_eq!(empty, Err(multiproc::raw::RingError::WouldBlock));
    /// # Ok::<(), multiproc::raw::RingError>(())
    /// ```
    #[inline]
    pub unsafe fn try_get(self, payload: &mut Vec<u8>) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.get_bytes(Wait::Never, payload) }
    }

    /// Gets one item's payload to the end of `payload`.
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    #[inline]
    unsafe fn get_bytes(self, wait: Wait, payload: &mut Vec<u8>) -> Result<(), RingError> {
        let read = |words: &_, length| {
            // SAFETY: `get_with` gives the words of an item that is being got.
            unsafe { bulk::read(words, length, payload) };
        };
        // SAFETY: the caller's promise is the same.
        unsafe { self.get_with(wait, read) }
    }

    /// Gets one item, which `read` is given as words and bytes of them, once. It runs with the consumers' lease held; if
    /// it panics, the item stays.
    ///
    /// # Errors
    /// As for [`get`](Self::get) and [`try_get`](Self::try_get).
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    #[inline]
    pub(crate) unsafe fn get_with<R>(
        self,
        wait: Wait,
        mut read: impl FnMut(&'a [AtomicU64], usize) -> R,
    ) -> Result<R, RingError> {
        if let Some(ring) = self.quick()
            // SAFETY: the caller's promise is the same.
            && let Some(done) = unsafe { ring.get(wait, &mut read) }
        {
            return Ok(done);
        }
        // SAFETY: the caller's promise is the one that `consume` asks for.
        unsafe {
            self.consume(
                wait,
                || false,
                |consuming| consuming.get_by(|front| read(front.payload, front.length)),
            )
        }
    }

    /// Gets up to `count` items, as many as there are, and at least one, for which it waits; `read` is given each, once.
    /// They are freed after all of them were read. Says how many.
    ///
    /// # Errors
    /// As for [`get`](Self::get) and [`try_get`](Self::try_get).
    ///
    /// # Process death
    /// Killed here, the items are still there, or the first so many of them are gone with the caller.
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    #[inline]
    pub(crate) unsafe fn get_many(
        self,
        wait: Wait,
        count: usize,
        mut read: impl FnMut(&'a [AtomicU64], usize),
    ) -> Result<usize, RingError> {
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: the caller's promise is the one that `consume` asks for.
        unsafe { self.consume(wait, || false, |consuming| consuming.get_many(count, &mut read)) }
    }

    /// Runs `step` at the consumers' end until it is done. `elsewhere` says whether there may be something for it to do
    /// that is not in the ring.
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    #[inline(always)]
    pub(crate) unsafe fn consume<R>(
        self,
        wait: Wait,
        elsewhere: impl Fn() -> bool,
        mut step: impl FnMut(&Consuming<'_, 'a>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        let end = End {
            lease: &self.ring.consuming.lease,
            room: &self.ring.consumers_room,
            hint: &self.ring.consumer_sleeps,
            peer: (&self.ring.producing.lease, &self.ring.producers_room),
            access: self.access,
        };
        end.run(
            wait,
            || self.seems_ready(),
            || !self.seems_ready() && !elsewhere(),
            |wait| Consuming::hold(&self, wait, |consuming| step(consuming)),
        )
    }

    /// A guess, for spinning; never wrong about an item that has been ready since before the call.
    #[inline]
    pub(crate) fn seems_ready(&self) -> bool {
        // SYNC: Acquire <- the consumer's Release of the head: every item before it was freed.
        let head = self.ring.consuming.head.load(Ordering::Acquire);
        if self.look(head).map_or(true, |(_, state)| state != State::NotReady) {
            return true;
        }
        // Relaxed: behind the Acquire load of the state (G1).
        self.growth.is_some() && self.ring.settings.head_chunk.load(Ordering::Relaxed) != self.chunk.to_word()
    }
}

/// The calling thread at the consumers' end, whose lease it holds.
pub(crate) struct Consuming<'r, 'a> {
    pub(super) ring: &'r Ring<'a>,
    pub(super) thread: Thread,
    /// Whether a holder died: whoever keeps state of its own under this lease repairs it, then calls `recover`.
    pub(crate) owner_died: bool,
    /// What it has freed: the items from the first number up to before the end.
    first: Cell<u64>,
    end: Cell<u64>,
}

/// The item at the front.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    slot: Slot<'a>,
    number: u64,
    /// The words in which the payload lies.
    pub(crate) payload: &'a [AtomicU64],
    /// Bytes of the payload.
    pub(crate) length: usize,
}

impl Item<'_> {
    /// How many items were put before it.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Copies the payload to the end of `payload`.
    #[inline]
    pub(crate) fn read(&self, payload: &mut Vec<u8>) {
        // SAFETY: an item is handed out to who has the consumers' lease, and freed by that one.
        unsafe { bulk::read(self.payload, self.length, payload) };
    }
}

/// What a ring has seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Items put.
    pub(crate) puts: u64,
    /// Items that have left the ring.
    pub(crate) gets: u64,
    /// Those of them that were not taken as tasks.
    pub(crate) got: u64,
}

impl<'r, 'a> Consuming<'r, 'a> {
    /// Takes the lease, waiting for it as it is told, and a step, and releases the lease. Its keeper only takes the step.
    #[inline(always)]
    pub(super) fn hold<R>(
        ring: &'r Ring<'a>,
        wait: Wait,
        step: impl FnOnce(&Self) -> Result<R, RingError>,
    ) -> Result<R, RingError> {
        let thread = Thread::current().map_err(AcquireError::from)?;
        let (lease, room) = (&ring.ring.consuming.lease, &ring.ring.consumers_room);
        let acquired = match ring.access {
            Access::Kept(_) if lease.lease.is_held_by(thread) => Acquired::Consistent,
            Access::Kept(_) => return Err(RingError::Exclusive),
            // SAFETY: the ring stays mapped, as `Ring::get` asks, until `release` has unlocked it; as `keep_consumers_end`
            // does, until its end is given back.
            _ => match unsafe { lease.lock_for(thread, || room.patience(lease, wait)) } {
                Err(AcquireError::TimedOut { .. }) => room.take_slowly(lease, thread, wait)?,
                acquired => acquired?,
            },
        };
        // Never moved, so that it stays in registers. The drop is for what fails and panics.
        let owner_died = acquired == Acquired::OwnerDied;
        let this = Self { ring, thread, owner_died, first: Cell::new(0), end: Cell::new(0) };
        if !ring.is_at(&ring.ring.settings.head_chunk) {
            return Err(RingError::Moved);
        }
        if this.owner_died {
            room.leave();
            this.repair()?;
        }
        let done = step(&this);
        if !ring.chunk.is_home() && this.end.get() != this.first.get() {
            // Producers that sleep in the chunk are woken before it may be punched.
            let (first, end) = (this.first.get(), this.end.replace(this.first.get()));
            ring.ring.producer_sleeps.publish_rest(first, end, |number| ring.wake_producer(number));
            // What can't be given back now is later.
            let _ = this.settle();
        }
        this.release();
        core::mem::forget(this);
        done
    }

    #[inline(always)]
    fn release(&self) {
        match self.ring.access {
            Access::Shared => {}
            Access::Keep if !self.ring.ring.consumers_room.is_kept_by(self.thread) => {}
            Access::Keep | Access::Kept(_) | Access::Beside => return,
        }
        // `Corrupt` after a peer's scribble: the lease is not held any more, and the next operation says so.
        let _ = self.ring.ring.consuming.lease.unlock_for(self.thread);
        let (first, end) = (self.first.get(), self.end.get());
        if end != first {
            self.ring.ring.producer_sleeps.published(first, end, |number| self.ring.wake_producer(number));
        }
    }

    /// Moves the head over what the dead holder had freed.
    #[cold]
    fn repair(&self) -> Result<(), Corrupt> {
        let head = &self.ring.ring.consuming.head;
        let at = head.load(Ordering::Relaxed);
        let (_, state) = self.ring.look(at)?;
        if state == State::Later {
            // SYNC: Release -> `passed`'s Acquire: the states of all items before it.
            head.store(at.wrapping_add(1), Ordering::Release);
        }
        self.finish_step();
        Ok(())
    }

    /// Declares repaired what the dead holder left; the ring itself has been since `begin`.
    pub(crate) fn recover(&self) {
        self.ring.ring.consuming.lease.recover();
    }

    /// The item at the front, or what to wait for if the ring is empty.
    ///
    /// # Errors
    /// `Closed` if nothing can come any more.
    #[inline(always)]
    pub(crate) fn front(&self) -> Result<Attempt<'a, Item<'a>>, RingError> {
        // Relaxed: written by holders of the lease.
        let number = self.ring.ring.consuming.head.load(Ordering::Relaxed);
        match self.item(number)? {
            Some(item) => Ok(Attempt::Done(item)),
            None => self.no_front(number),
        }
    }

    /// Item `number`, the front or a later one, if it is there.
    #[inline(always)]
    fn item(&self, number: u64) -> Result<Option<Item<'a>>, Corrupt> {
        let (_, State::Ready) = self.ring.look(number)? else { return Ok(None) };
        let slot = self.ring.slot(number)?;
        let (payload, length) = self.ring.payload(slot, self.ring.header(slot)?)?;
        Ok(Some(Item { slot, number, payload, length }))
    }

    /// The item at the front where there was none just now.
    #[cold]
    fn no_front(&self, number: u64) -> Result<Attempt<'a, Item<'a>>, RingError> {
        let found = self.ready_or_spot(number)?;
        if matches!(found, Attempt::NotYet(_)) && !self.ring.chunk.is_home() && self.settle()? {
            return Err(RingError::Moved);
        }
        if matches!(found, Attempt::NotYet(_)) && self.ring.ring.is_closed() {
            // Whoever began to close the ring was killed or is stopped, or the ring was full; a put that is under way comes
            // first. A stopped producer's is not waited for here, with the consumers' lease held, but in the next slice.
            match self.ring.complete_closing(Deadline::after(HOLDERS_STEP)) {
                Ok(()) => return self.ready_or_spot(number),
                Err(RingError::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn ready_or_spot(&self, number: u64) -> Result<Attempt<'a, Item<'a>>, RingError> {
        if let Some(item) = self.item(number)? {
            return Ok(Attempt::Done(item));
        }
        let (word, state) = self.ring.look(number)?;
        match state {
            State::NotReady => {
                let half = futex::half(self.ring.slot(number)?.state, Half::Low);
                Ok(Attempt::NotYet(Spot {
                    word: half,
                    expected: slot::for_consumers(word),
                    tag: slot::tag(number),
                }))
            }
            State::Ready => {
                Ok(self.item(number)?.map_or(Err(RingError::Corrupt), |item| Ok(Attempt::Done(item)))?)
            }
            State::Closed => Err(RingError::Closed),
            State::Moved => {
                self.step()?;
                Err(RingError::Moved)
            }
            State::Earlier | State::Later => Err(RingError::Corrupt),
        }
    }

    /// Gets the item at the front after it was read. Whoever keeps state of its own under the lease repairs it first.
    #[inline(always)]
    pub(crate) fn get_by<R>(&self, read: impl FnOnce(&Item<'a>) -> R) -> Result<Attempt<'a, R>, RingError> {
        if self.owner_died {
            self.recover();
        }
        Ok(match self.front()? {
            Attempt::NotYet(spot) => Attempt::NotYet(spot),
            Attempt::Done(front) => {
                let done = read(&front);
                self.free(front, 1);
                Attempt::Done(done)
            }
        })
    }

    #[inline]
    fn get_many(
        &self,
        count: usize,
        read: &mut impl FnMut(&'a [AtomicU64], usize),
    ) -> Result<Attempt<'a, usize>, RingError> {
        if self.owner_died {
            self.recover();
        }
        let first = match self.front()? {
            Attempt::NotYet(spot) => return Ok(Attempt::NotYet(spot)),
            Attempt::Done(first) => first,
        };
        read(first.payload, first.length);
        let (mut end, most) = (first.number.wrapping_add(1), wide(count).min(wide(self.ring.shape.items())));
        while end.wrapping_sub(first.number) < most
            && let Some(item) = self.item(end)?
        {
            read(item.payload, item.length);
            end = end.wrapping_add(1);
        }
        let mut number = first.number;
        let mut done = 0_usize;
        while number != end {
            let Some(item) = self.item(number)? else { return Err(RingError::Corrupt) };
            self.free(item, 1);
            number = number.wrapping_add(1);
            done = done.saturating_add(1);
        }
        Ok(Attempt::Done(done))
    }

    /// Frees the item at the front: from here on it is delivered. Counts it as `got` gets, 1 or 0.
    #[inline(always)]
    pub(crate) fn free(&self, front: Item<'_>, got: u64) {
        let number = front.number;
        if self.first.get() == self.end.get() {
            self.first.set(number);
        }
        self.end.set(number.wrapping_add(1));
        let slots = wide(self.ring.shape.items());
        self.ring.ring.free(self.thread, self.ring.access, front.slot.state, number, (slots, got));
    }

    /// What the ring has seen so far; gets don't change while the caller holds the lease.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn counts(&self) -> Result<Counts, RingError> {
        // Repaired, the head is exact.
        let gets = self.ring.ring.consuming.head.load(Ordering::Relaxed);
        let [even, odd] = &self.ring.ring.consuming.got;
        let got = if gets.is_multiple_of(2) { even } else { odd };
        // Relaxed: written by holders of the lease.
        Ok(Counts { gets, got: got.load(Ordering::Relaxed), puts: self.ring.puts()? })
    }
}

impl Ring<'_> {
    /// Wakes a producer that sleeps until item `number` is freed.
    #[cold]
    fn wake_producer(&self, number: u64) {
        if let Ok(Slot { state, .. }) = self.slot(number) {
            waiting::wake(futex::half(state, Half::High));
        }
    }
}

impl Drop for Consuming<'_, '_> {
    #[cold]
    fn drop(&mut self) {
        self.release();
    }
}
