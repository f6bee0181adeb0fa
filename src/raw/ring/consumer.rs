//! The consumers' end: getting an item.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use super::record::{self, Halves, State};
use super::waiting::{Attempt, End, Spot, Wait};
use super::{Corrupt, Ring, RingError, Slot};
use crate::raw::{AcquireError, Acquired, Deadline};
use crate::sys::atomic::{AtomicU64, fence};
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
    pub unsafe fn get(self, payload: &mut Vec<u8>, deadline: Option<Deadline>) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the one that `consume` asks for.
        unsafe { self.consume(Wait::Until(deadline), || false, |consuming| consuming.get(payload)) }
    }

    /// Gets one item's payload to the end of `payload` if there is an item.
    ///
    /// # Errors
    /// `WouldBlock`, only when there is none; `Busy`; and those of [`get`](Self::get).
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    pub unsafe fn try_get(self, payload: &mut Vec<u8>) -> Result<(), RingError> {
        // SAFETY: the caller's promise is the one that `consume` asks for.
        unsafe { self.consume(Wait::Never, || false, |consuming| consuming.get(payload)) }
    }

    /// Runs `step` at the consumers' end until it is done. `elsewhere` says whether there may be something for it to do
    /// that is not in the ring.
    ///
    /// # Safety
    /// As for [`get`](Self::get).
    pub(crate) unsafe fn consume<R>(
        self,
        wait: Wait,
        elsewhere: impl Fn() -> bool,
        mut step: impl FnMut(&Consuming<'a>) -> Result<Attempt<'a, R>, RingError>,
    ) -> Result<R, RingError> {
        let end = End {
            lease: &self.ring.consuming.lease,
            room: &self.ring.consumers_room.lease,
            hint: &self.ring.consumer_sleeps,
        };
        end.run(
            wait,
            || self.seems_ready(),
            || !self.seems_ready() && !elsewhere(),
            |deadline| step(&Consuming::begin(self, deadline)?),
        )
    }

    /// A guess, for spinning; never wrong about an item that has been ready since before the call.
    fn seems_ready(self) -> bool {
        let head = self.ring.consuming.head.load(Ordering::Relaxed); // Relaxed: checked against the cursor below.
        let ready = self.slot(head).map_or(true, |slot| slot.state != State::NotReady);
        // SYNC: Acquire fence <- the producer's Release fence (R3): if the header's words were reused, the cursor is
        // beyond the head, and somebody knows better.
        fence(Ordering::Acquire);
        ready || self.ring.producing.free.load(Ordering::Relaxed) > head
    }
}

/// The calling thread at the consumers' end, whose lease it holds.
pub(crate) struct Consuming<'a> {
    ring: Ring<'a>,
    thread: Thread,
    deadline: Option<Deadline>,
    /// Whether a holder died: whoever keeps state of its own under this lease repairs it, then calls `recover`.
    pub(crate) owner_died: bool,
}

/// The item at the front.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    slot: Slot<'a>,
    position: u64,
    payload: &'a [AtomicU64],
    /// Bytes of the payload.
    pub(crate) length: usize,
}

impl Item<'_> {
    /// How many items were put before it.
    pub(crate) fn number(&self) -> u64 {
        self.slot.number
    }

    /// Copies the payload to the end of `payload`.
    pub(crate) fn read(&self, payload: &mut Vec<u8>) {
        record::read(self.payload, self.length, payload);
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

impl<'a> Consuming<'a> {
    fn begin(ring: Ring<'a>, deadline: Option<Deadline>) -> Result<Self, RingError> {
        let thread = Thread::current().map_err(AcquireError::from)?;
        let lease = &ring.ring.consuming.lease;
        // SAFETY: the ring stays mapped, as `Ring::get` asks, until the drop below has unlocked it.
        let acquired = unsafe { lease.lock(deadline) }?;
        let this = Self { ring, thread, deadline, owner_died: acquired == Acquired::OwnerDied };
        if this.owner_died {
            this.repair()?;
        }
        Ok(this)
    }

    /// Walks the head over what the dead holder had freed.
    fn repair(&self) -> Result<(), Corrupt> {
        let head = &self.ring.ring.consuming.head;
        let at = head.load(Ordering::Relaxed);
        let slot = self.ring.slot(at);
        // SYNC: Acquire fence <- the producer's Release fence (R3): if the header's words were reused, the cursor is seen.
        fence(Ordering::Acquire);
        let cursor = self.ring.ring.producing.free.load(Ordering::Relaxed);
        let repaired = if cursor > at {
            // The producers have passed the freed record: what they have not passed is the next.
            cursor
        } else {
            let slot = slot?;
            if slot.state != State::Freed {
                return Ok(());
            }
            slot.end(at)
        };
        // SYNC: Release -> `gets`' Acquire: the header at the head is initialised.
        head.store(repaired, Ordering::Release);
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
    pub(crate) fn front(&self) -> Result<Attempt<'a, Item<'a>>, RingError> {
        let found = self.ready()?;
        if matches!(found, Attempt::NotYet(_)) && self.ring.ring.is_closed() {
            // Whoever began to close the ring was killed or is stopped; a put that is under way comes first.
            self.ring.complete_closing(self.deadline)?;
            return self.ready();
        }
        Ok(found)
    }

    fn ready(&self) -> Result<Attempt<'a, Item<'a>>, RingError> {
        // A pad is followed by a record; two in a row are no ring's.
        for _ in 0..2 {
            let position = self.ring.ring.consuming.head.load(Ordering::Relaxed); // Relaxed: written by lease holders.
            let slot = self.ring.slot(position)?;
            match slot.state {
                State::NotReady => {
                    let word = futex::half(slot.word, Half::Low);
                    let tag = record::tag(slot.number);
                    return Ok(Attempt::NotYet(Spot { word, expected: slot.halves.for_consumers, tag }));
                }
                State::Closed => return Err(RingError::Closed),
                State::Freed => return Err(RingError::Corrupt),
                State::Ready if slot.extent.pad => self.pass(&slot, position),
                State::Ready => {
                    let payload = self.ring.payload(slot.at, slot.extent.words())?;
                    let length = usize::try_from(slot.extent.length).map_err(|_| Corrupt)?;
                    return Ok(Attempt::Done(Item { slot, position, payload, length }));
                }
            }
        }
        Err(RingError::Corrupt)
    }

    /// Gets the item at the front. Whoever keeps state of its own under the lease repairs it first.
    pub(crate) fn get(&self, payload: &mut Vec<u8>) -> Result<Attempt<'a, ()>, RingError> {
        if self.owner_died {
            self.recover();
        }
        Ok(match self.front()? {
            Attempt::NotYet(spot) => Attempt::NotYet(spot),
            Attempt::Done(front) => {
                front.read(payload);
                self.free(front, 1);
                Attempt::Done(())
            }
        })
    }

    /// Frees the item at the front: from here on it is delivered. Counts it as `got` gets, 1 or 0.
    pub(crate) fn free(&self, front: Item<'_>, got: u64) {
        let [even, odd] = &self.ring.ring.consuming.got;
        let (now, next) = if front.slot.number.is_multiple_of(2) { (even, odd) } else { (odd, even) };
        // Written to the place of the next number, which counts only once the item is freed.
        // SYNC: Release -> `Ring::got`'s Acquire: whoever sees this sees the head that made the place reusable.
        next.store(now.load(Ordering::Relaxed).wrapping_add(got), Ordering::Release);
        self.pass(&front.slot, front.position);
    }

    /// Frees the record at `position`, and stores the head behind it.
    fn pass(&self, slot: &Slot<'_>, position: u64) {
        let raw = self.ring.ring;
        let (tag, word) = (record::tag(slot.number), futex::half(slot.word, Half::High));
        raw.producer_sleeps.publish(self.thread, tag, word, || {
            // SYNC: Release -> `Producing::make_room`'s Acquire (R2): the payload has been read.
            slot.word.store(Halves::of(State::Freed, slot.number).to_word(), Ordering::Release);
            // SYNC: Release -> `gets`' Acquire: the header at the head is initialised.
            raw.consuming.head.store(slot.end(position), Ordering::Release);
        });
    }

    /// What the ring has seen so far; gets don't change while the caller holds the lease.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn counts(&self) -> Result<Counts, RingError> {
        // Repaired, the head is exact, and its header is not reused as long as the lease is held.
        let gets = self.ring.slot(self.ring.ring.consuming.head.load(Ordering::Relaxed))?.number;
        let [even, odd] = &self.ring.ring.consuming.got;
        let got = if gets.is_multiple_of(2) { even } else { odd };
        // Relaxed: written by holders of the lease.
        Ok(Counts { gets, got: got.load(Ordering::Relaxed), puts: self.ring.puts()? })
    }
}

impl Drop for Consuming<'_> {
    fn drop(&mut self) {
        // `Corrupt` after a peer's scribble: the lease is not held any more, and the next operation says so.
        let _ = self.ring.ring.consuming.lease.unlock();
    }
}
