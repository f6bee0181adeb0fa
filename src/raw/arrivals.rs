//! [`Arrivals`]: the algorithm of the barrier, over its head and the table of those who have arrived (see `barrier.rs`).
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::{AcquireError, BarrierError, Deadline, Lease, RawMutex};
use crate::sys::atomic::AtomicU32;
use crate::sys::futex::{self, Change};
use crate::sys::robust::Thread;
use crate::sys::slice;
use crate::sys::watch::Watch;

const BROKEN_BITS: u16 = 1;
const BROKEN: u32 = 1;
const ONE_CYCLE: u16 = 2;
/// Bit 0 of a tag, so that zero bytes tag nothing; the other bits are the cycle's.
const ARRIVED: u32 = 1;

/// How long who times out waits for the mutex, to tell the others at once rather than at the end of their slice.
const GRACE: Duration = Duration::from_millis(100);
/// How long who finds no room waits for somebody to leave.
const CROWD: Duration = Duration::from_millis(1);

/// What stands before the table: 48 bytes.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct BarrierHead {
    pub(super) mutex: RawMutex,
    state: AtomicU32,
    parties: AtomicU32,
}

/// Who has arrived, or nobody: 48 bytes. All-zero bytes are nobody.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    pub(super) lease: Lease,
    /// The cycle, with ARRIVED; 0: not an arrival (any more).
    tag: AtomicU32,
    reserved: AtomicU32,
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<BarrierHead>() == 48 && size_of::<Arrival>() == 48);

impl BarrierHead {
    /// For memory that nobody else uses yet.
    pub(crate) fn set_parties(&self, parties: u32) {
        self.parties.store(parties, Ordering::Relaxed); // Relaxed: handing the memory to others publishes it.
    }

    pub(crate) fn parties(&self) -> u32 {
        self.parties.load(Ordering::Relaxed) // Relaxed: written before the barrier was shared.
    }

    pub(crate) fn is_broken(&self) -> bool {
        // SYNC: Acquire <- the full barrier that broke it.
        self.state.load(Ordering::Acquire) & BROKEN != 0
    }
}

/// A barrier, wherever its parts lie.
#[derive(Clone, Copy)]
pub(crate) struct Arrivals<'a> {
    pub(crate) head: &'a BarrierHead,
    pub(crate) entries: &'a [Arrival],
}

impl<'a> Arrivals<'a> {
    /// See [`RawBarrier::wait`](super::RawBarrier::wait).
    ///
    /// # Safety
    /// The memory must stay mapped and in place until the call has returned.
    pub(crate) unsafe fn wait(
        self,
        deadline: Option<Deadline>,
        action: impl FnOnce(),
    ) -> Result<u32, BarrierError> {
        // SAFETY: the caller's promise.
        let arrived = unsafe { self.arrive(deadline) }?;
        if arrived.index.wrapping_add(1) == self.head.parties() {
            action();
            arrived.complete(deadline)
        } else {
            arrived.sleep(deadline)
        }
    }

    /// See [`RawBarrier::reset`](super::RawBarrier::reset).
    ///
    /// # Safety
    /// As for `wait`.
    pub(crate) unsafe fn reset(self) -> Result<(), AcquireError> {
        // SAFETY: the caller's promise.
        let mutex = unsafe { Locked::lock(self.head, None) }?;
        let seen = mutex.state();
        let cycle = seen & !BROKEN;
        let tags = || self.entries.iter().filter(move |entry| entry.is_tagged(cycle));
        if seen == cycle && tags().next().is_none() {
            return Ok(());
        }
        if seen == cycle {
            self.abort();
        }
        for entry in tags() {
            entry.tag.store(0, Ordering::Relaxed); // Relaxed: the next store publishes it.
        }
        // SYNC: Release -> `verdict`'s Acquire: who sees the cycle moved sees its tag wiped (B2).
        self.head.state.store(cycle.wrapping_add(u32::from(ONE_CYCLE)), Ordering::Release);
        Ok(())
    }

    /// See [`RawBarrier::abort`](super::RawBarrier::abort).
    pub(crate) fn abort(self) {
        futex::wake_op(&self.head.state, Change::Or(BROKEN_BITS), futex::ALL);
    }

    /// How many have arrived and wait.
    pub(crate) fn waiting(self) -> u32 {
        // SYNC: Acquire <- the full barrier that began the cycle: its tags are older.
        let state = self.head.state.load(Ordering::Acquire);
        if state & BROKEN != 0 { 0 } else { self.count(state) }
    }

    /// Takes a place among the arrivals of the cycle that runs; waits while that one is complete and its action runs.
    ///
    /// # Safety
    /// As for `wait`.
    unsafe fn arrive(self, deadline: Option<Deadline>) -> Result<Arrived<'a>, BarrierError> {
        loop {
            let late = deadline.is_some_and(Deadline::has_passed);
            // SAFETY: the caller's promise.
            let mutex = unsafe { Locked::lock(self.head, deadline) }?;
            let cycle = mutex.state();
            if cycle & BROKEN != 0 || self.head.parties() == 0 {
                return Err(BarrierError::Broken);
            }
            if self.has_dead(cycle) {
                self.abort();
                return Err(BarrierError::Broken);
            }
            let index = self.count(cycle);
            let crowded = if index < self.head.parties() {
                // SAFETY: the caller's promise.
                if let Some(entry) = unsafe { self.claim(cycle) }? {
                    return Ok(Arrived { table: self, entry, cycle, index });
                }
                Deadline::after(CROWD)
            } else {
                None
            };
            drop(mutex);
            if late {
                return Err(BarrierError::TimedOut);
            }
            let end = slice::end_of_sleep(deadline);
            let end = crowded.map_or(end, |soon| Some(soon.earlier(end)));
            futex::wait(&self.head.state, cycle, end);
        }
    }

    /// Takes a lease that nobody holds and tags it; `None` if there is none. Under the mutex. One that is tagged already is
    /// left: its holder has just died, and that must be found.
    ///
    /// # Safety
    /// As for `wait`.
    unsafe fn claim(self, cycle: u32) -> Result<Option<&'a Arrival>, BarrierError> {
        let free = |entry: &&Arrival| entry.lease.holder().is_none() && !entry.is_tagged(cycle);
        for entry in self.entries.iter().filter(free) {
            // SAFETY: the caller's promise is the one that `try_take` asks for.
            match unsafe { entry.lease.try_take() } {
                Ok(_) => {
                    // SYNC: Release -> `is_tagged`'s Acquire: who sees the tag sees the lease held.
                    entry.tag.store(cycle | ARRIVED, Ordering::Release);
                    return Ok(Some(entry));
                }
                // A foreign hand was here: leave it alone.
                Err(AcquireError::WouldBlock | AcquireError::Deadlock) => {}
                Err(error) => return Err(BarrierError::Mutex(error)),
            }
        }
        Ok(None)
    }

    #[cfg(all(test, loom))]
    pub(super) fn cycle_has_moved(self) -> bool {
        self.head.state.load(Ordering::Relaxed) & !BROKEN != 0
    }

    fn count(self, cycle: u32) -> u32 {
        let arrived = self.entries.iter().filter(|entry| entry.is_tagged(cycle)).count();
        u32::try_from(arrived).unwrap_or(u32::MAX)
    }

    /// Frees the leases of this cycle whose holders have died without a mark by the kernel.
    #[cold]
    fn free_unmarked(self, cycle: u32) {
        if let Ok(thread) = Thread::current() {
            let tagged = self.entries.iter().filter(|entry| entry.is_tagged(cycle));
            tagged.for_each(|entry| entry.lease.free_from_dead(thread));
        }
    }

    /// Whether somebody has arrived in this cycle and is gone. True under the mutex; only a suspicion without.
    pub(super) fn has_dead(self, cycle: u32) -> bool {
        self.entries.iter().any(|entry| entry.is_tagged(cycle) && entry.lease.holder().is_none())
    }
}

impl Arrival {
    fn is_tagged(&self, cycle: u32) -> bool {
        // SYNC: Acquire <- `claim`'s Release: the lease is seen held.
        self.tag.load(Ordering::Acquire) == cycle | ARRIVED
    }
}

/// The barrier's mutex, held. Nothing under it is ever half done, so a holder's death leaves nothing to repair.
struct Locked<'a>(&'a BarrierHead);

impl<'a> Locked<'a> {
    /// # Safety
    /// As for [`RawMutex::lock`].
    unsafe fn lock(head: &'a BarrierHead, deadline: Option<Deadline>) -> Result<Self, AcquireError> {
        // SAFETY: the caller's promise.
        let _ = unsafe { head.mutex.lock(deadline) }?;
        Ok(Self(head))
    }

    fn state(&self) -> u32 {
        self.0.state.load(Ordering::Acquire) // SYNC: Acquire <- `abort`'s full barrier, which the mutex doesn't order.
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = self.0.mutex.unlock(); // `Corrupt` after a peer's scribble: it is not held any more.
    }
}

/// The calling thread's arrival. Dropped before the end of the cycle, as by a panic in the action, it breaks the barrier.
struct Arrived<'a> {
    table: Arrivals<'a>,
    entry: &'a Arrival,
    cycle: u32,
    index: u32,
}

impl Arrived<'_> {
    /// Ends the cycle, for the last to arrive.
    fn complete(self, deadline: Option<Deadline>) -> Result<u32, BarrierError> {
        // The action may have taken all the time; the mutex is free in a moment, or never.
        let patience =
            deadline.map(|deadline| Deadline::after(GRACE).map_or(deadline, |end| end.max(deadline)));
        if let Some(mutex) = self.lock(patience)
            && mutex.state() == self.cycle
        {
            if self.table.has_dead(self.cycle) {
                self.table.abort();
            } else {
                // SYNC: a full barrier -> `verdict`'s Acquire: publishes what was written before each arrival (all of
                // them acquired by way of the mutex) and in the action.
                futex::wake_op(&self.table.head.state, Change::Add(ONE_CYCLE), futex::ALL);
            }
        }
        self.verdict().unwrap_or(Err(BarrierError::Broken))
    }

    /// Sleeps until the cycle ends, or breaks the barrier at `deadline`.
    fn sleep(self, deadline: Option<Deadline>) -> Result<u32, BarrierError> {
        let mut watch = Watch::new();
        loop {
            let late = deadline.is_some_and(Deadline::has_passed);
            if let Some(verdict) = self.verdict() {
                return verdict;
            }
            if late {
                self.break_cycle(|| true);
                // Broken by this call; or completed at the last moment.
                return match self.verdict() {
                    Some(Ok(index)) => Ok(index),
                    _ => Err(BarrierError::TimedOut),
                };
            }
            if watch.is_due(self.cycle | ARRIVED) {
                watch.restart();
                self.table.free_unmarked(self.cycle);
            }
            if self.table.has_dead(self.cycle) {
                self.break_cycle(|| self.table.has_dead(self.cycle));
                continue;
            }
            futex::wait(&self.table.head.state, self.cycle, slice::end_of_sleep(deadline));
        }
    }

    /// What became of the cycle (B2).
    fn verdict(&self) -> Option<Result<u32, BarrierError>> {
        // SYNC: Acquire <- the full barrier that completed the cycle, or `reset`'s Release.
        let state = self.table.head.state.load(Ordering::Acquire);
        if state == self.cycle {
            return None;
        }
        let broken = state == self.cycle | BROKEN || !self.entry.is_tagged(self.cycle);
        Some(if broken { Err(BarrierError::Broken) } else { Ok(self.index) })
    }

    /// Breaks the barrier if the cycle still runs and, looked at under the mutex, `why` holds.
    fn break_cycle(&self, why: impl FnOnce() -> bool) {
        // Without the mutex the lease is simply given up, and the others find an arrival that nobody holds.
        if let Some(mutex) = self.lock(Deadline::after(GRACE))
            && mutex.state() == self.cycle
            && why()
        {
            self.table.abort();
        }
    }

    fn lock(&self, deadline: Option<Deadline>) -> Option<Locked<'_>> {
        // SAFETY: the promise made to `wait`.
        unsafe { Locked::lock(self.table.head, deadline) }.ok()
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        if self.verdict().is_none() {
            self.break_cycle(|| true);
        }
        if self.verdict().is_some() {
            self.entry.tag.store(0, Ordering::Relaxed); // Relaxed: nobody asks for a cycle that has ended.
        }
        let _ = self.entry.lease.release(); // As for the mutex.
    }
}

impl From<AcquireError> for BarrierError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::TimedOut { .. } => Self::TimedOut,
            error => Self::Mutex(error),
        }
    }
}
