//! [`Waiters`]: the table of those who wait for a notification.
//!
//! An entry is a lease, which its waiter holds while it waits, and a futex word of its own.
//!
//! ```text
//! state              lease  meaning                   notify, under the lock            the waiter
//! 0                  free   nobody                    -                                 enlist, under the lock: take, WAITING
//! WAITING            held   waits, awake              CAS -> WAITING, NOTIFIED          CAS -> WAITING, ASLEEP; gives up under the lock: 0
//! WAITING, ASLEEP    held   waits                     WAKE_OP(OR NOTIFIED, wake all)    FUTEX_WAIT; gives up under the lock: 0
//! WAITING, ASLEEP?   free   the waiter died           - (enlist reuses the entry)       -
//! WAITING, ASLEEP?,  held   has a notification        -                                 leaves under the lock: 0, release
//!     NOTIFIED
//! NOTIFIED, WAITING? free   a notification whose      -                                 an older waiter's slice ends: takes the lease,
//!                           waiter died or gave up                                      gives its own entry up, and is notified
//! ```
//!
//! "The lock" is whatever lock the caller notifies under, always the same. Only its holder enlists and notifies, so an
//! entry isn't reused while a notification is on its way to it. A waiter may move or vanish meanwhile: the notification then
//! lies in an entry that nobody holds, and is inherited. A death that the kernel has not marked is found by the out-of-band
//! check of `lease.rs`, which a waiter makes once a second of those who are notified.
//!
//! **Invariants.** (N1) A notification is the bit NOTIFIED of one entry: setting the bit makes it, in the system call that
//! also wakes, or while ASLEEP is not set, and clearing it, by the holder of the entry's lease, consumes it. It moves by its lease: taking that is one
//! compare-and-swap. So a notification is never doubled, and a death never loses it. (N2) It can be inherited only by
//! who waited when it was made: each entry has the ticket of its waiter, and a notification the ticket that was next.
//! (N3) A waiter that reports "not notified" has looked at its state under the lock.
//!
//! **Fairness.** The oldest waiter that lives is notified first. An inherited notification goes to whichever older waiter looks
//! first, at most one slice later.
//!
//! **Ordering.** What waiters and notifiers tell each other is ordered by the lock. The words of an entry are published
//! with its state (Release) and read behind it (Acquire), by an heir, which has no lock.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use super::{AcquireError, Deadline, Lease, WaitError};
use crate::sys::atomic::AtomicU32;
use crate::sys::futex::{self, Change};
use crate::sys::robust::Thread;
use crate::sys::watch::Watch;
use crate::sys::{slice, spin};

const WAITING: u32 = 1;
const NOTIFIED_BITS: u16 = 2;
const NOTIFIED: u32 = 2;
/// Set by the waiter before it sleeps, and left there.
const ASLEEP: u32 = 4;
/// What a waiter watches in place of one owner.
const TABLE: u32 = 1;

/// Who waits, or nobody: 56 bytes. All-zero bytes are nobody.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    lease: Lease,
    state: AtomicU32,
    /// Its place in the order of waiters.
    ticket: AtomicU32,
    /// With NOTIFIED: the ticket that was next then.
    notified_at: AtomicU32,
    reserved: AtomicU32,
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<Waiter>() == 56);

impl Waiter {
    fn is_live(&self) -> bool {
        self.lease.holder().is_some()
    }

    /// Whether a notification lies here that whoever has `ticket` may take.
    fn is_for(&self, ticket: u32) -> bool {
        // SYNC: Acquire <- the notifier's WAKE_OP: what `notified_at` was then is seen.
        self.state.load(Ordering::Acquire) & NOTIFIED != 0
            && is_older(ticket, self.notified_at.load(Ordering::Relaxed))
    }
}

/// Whether `ticket` came before `other`; they may have wrapped around.
fn is_older(ticket: u32, other: u32) -> bool {
    other.wrapping_sub(ticket).wrapping_sub(1) < u32::MAX / 2
}

/// The table, wherever it lies.
#[derive(Clone, Copy)]
pub(crate) struct Waiters<'a> {
    /// The next ticket. Written under the lock only.
    pub(crate) next_ticket: &'a AtomicU32,
    /// How many entries, from the first, have ever been used. Written under the lock only.
    pub(crate) used: &'a AtomicU32,
    pub(crate) entries: &'a [Waiter],
}

impl<'a> Waiters<'a> {
    /// Makes the calling thread a waiter. For the holder of the lock, who releases it next.
    ///
    /// # Errors
    /// `TooManyWaiters`; `NotWaited` with what a lease says.
    ///
    /// # Safety
    /// The table must stay mapped and in place until the waiter has left.
    pub(crate) unsafe fn enlist(self) -> Result<Enlisted<'a>, WaitError> {
        for (index, entry) in (1..).zip(self.entries) {
            if entry.is_live() || self.has_heir(entry) {
                continue;
            }
            // SAFETY: the caller's promise is the one that `try_take` asks for.
            match unsafe { entry.lease.try_take() } {
                Ok(_) => {}
                // An heir was faster; or a foreign hand cleared the word of an entry that we hold.
                Err(AcquireError::WouldBlock | AcquireError::Deadlock) => continue,
                Err(error) => return Err(WaitError::NotWaited(error)),
            }
            if self.has_heir(entry) {
                let _ = entry.lease.release(); // The entry was only looked at.
                continue;
            }
            // Relaxed, all of them: only holders of the lock read or write tickets, and who inherits reads its own.
            let ticket = self.next_ticket.load(Ordering::Relaxed);
            self.next_ticket.store(ticket.wrapping_add(1), Ordering::Relaxed);
            entry.ticket.store(ticket, Ordering::Relaxed);
            if self.used.load(Ordering::Relaxed) < index {
                self.used.store(index, Ordering::Relaxed);
            }
            entry.state.store(WAITING, Ordering::Relaxed);
            return Ok(Enlisted { table: self, entry, ticket });
        }
        Err(WaitError::TooManyWaiters)
    }

    /// Notifies the `count` oldest waiters that live, or as many as there are; how many it were. For the holder of the
    /// lock.
    pub(crate) fn notify(self, count: usize) -> usize {
        if count >= self.entries.len() {
            return self.waiting().map(|entry| self.notify_one(entry)).count();
        }
        let mut notified = 0_usize;
        while notified < count {
            let Some(entry) = self.oldest() else { break };
            self.notify_one(entry);
            notified = notified.saturating_add(1);
        }
        notified
    }

    /// How many wait and have no notification.
    pub(crate) fn count(self) -> usize {
        self.waiting().count()
    }

    /// Frees the entries of notified waiters that have died without a mark by the kernel.
    #[cold]
    fn free_unmarked(self) {
        if let Ok(thread) = Thread::current() {
            let notified = |entry: &&Waiter| entry.state.load(Ordering::Relaxed) & NOTIFIED != 0;
            self.entries.iter().filter(notified).for_each(|entry| entry.lease.free_from_dead(thread));
        }
    }

    fn notify_one(self, entry: &Waiter) {
        // Relaxed: the next call publishes it.
        entry.notified_at.store(self.next_ticket.load(Ordering::Relaxed), Ordering::Relaxed);
        // SYNC: Release -> `is_for`'s and `sleep`'s Acquire.
        let awake =
            entry.state.compare_exchange(WAITING, WAITING | NOTIFIED, Ordering::Release, Ordering::Relaxed);
        if awake.is_err() {
            // SYNC: a full barrier -> `is_for`'s and `sleep`'s Acquire.
            futex::wake_op(&entry.state, Change::Or(NOTIFIED_BITS), futex::ALL);
        }
    }

    /// Those who wait and have no notification. Under the lock.
    fn waiting(self) -> impl Iterator<Item = &'a Waiter> {
        let used = usize::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let waits = |entry: &&Waiter| entry.state.load(Ordering::Relaxed) & !ASLEEP == WAITING;
        self.entries.iter().take(used).filter(waits).filter(|entry| entry.is_live())
    }

    fn oldest(self) -> Option<&'a Waiter> {
        let next = self.next_ticket.load(Ordering::Relaxed);
        self.waiting().max_by_key(|entry| next.wrapping_sub(entry.ticket.load(Ordering::Relaxed)))
    }

    /// Whether a notification lies in `entry` that somebody who waits may still inherit.
    fn has_heir(self, entry: &Waiter) -> bool {
        entry.state.load(Ordering::Relaxed) & NOTIFIED != 0
            && self.waiting().any(|waiter| entry.is_for(waiter.ticket.load(Ordering::Relaxed)))
    }
}

/// The calling thread's entry. To be ended by [`Enlisted::leave`] or [`Enlisted::abandon`].
#[must_use]
pub(crate) struct Enlisted<'a> {
    table: Waiters<'a>,
    entry: &'a Waiter,
    ticket: u32,
}

impl Enlisted<'_> {
    /// Sleeps until notified or until `deadline`. Not under the lock.
    pub(crate) fn sleep(&mut self, deadline: Option<Deadline>) {
        if deadline.is_none_or(|deadline| !deadline.has_passed()) && self.spin() {
            return;
        }
        let mut watch = Watch::new();
        loop {
            // Asked before the states are looked at: a notification that came by then is not left behind.
            let late = deadline.is_some_and(Deadline::has_passed);
            // SYNC: Acquire <- the notifier's Release, or its WAKE_OP.
            let seen = self.entry.state.load(Ordering::Acquire);
            if watch.is_due(TABLE) {
                watch.restart();
                self.table.free_unmarked();
            }
            if seen & NOTIFIED != 0 || self.inherit() || late {
                return;
            }
            // Relaxed: announces a sleeper; the kernel compares the word again under its own lock. What a foreign hand
            // wrote goes: nobody would find us.
            let asleep = WAITING | ASLEEP;
            let announced = seen == asleep
                || self
                    .entry
                    .state
                    .compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if announced {
                futex::wait(&self.entry.state, asleep, slice::end_of_sleep(deadline));
            }
        }
    }

    /// Waits a little without sleeping, where that pays.
    fn spin(&self) -> bool {
        // SYNC: Acquire <- the notifier's Release.
        let is_notified = || self.entry.state.load(Ordering::Acquire) & NOTIFIED != 0;
        spin::spin(&self.entry.state, || is_notified().then_some(())).is_some()
    }

    /// Ends the wait, and says whether it was notified. For the holder of the lock.
    pub(crate) fn leave(self) -> bool {
        // Relaxed, both: notifiers hold the lock, and heirs want the lease.
        let notified = self.entry.state.load(Ordering::Relaxed) & NOTIFIED != 0;
        self.entry.state.store(0, Ordering::Relaxed);
        let _ = self.entry.lease.release(); // `Corrupt` after a peer's scribble: it is not held any more.
        notified
    }

    /// Ends the wait of a thread that doesn't have the lock. Its notification, if it has one, is for another.
    pub(crate) fn abandon(self) {
        self.withdraw();
        let _ = self.entry.lease.release(); // As in `leave`.
    }

    /// Takes the entry out of the notifiers' sight; false if it is notified. A notifier that has chosen it already leaves
    /// its notification there nevertheless, and nobody will hold the entry then.
    fn withdraw(&self) -> bool {
        // Relaxed, all: publishes nothing. Beside this thread, only a notifier changes the state.
        let seen = self.entry.state.load(Ordering::Relaxed);
        seen & NOTIFIED == 0
            && self.entry.state.compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Takes the notification of somebody who can't use it any more.
    fn inherit(&mut self) -> bool {
        for orphan in self.table.entries {
            if orphan.is_live() || !orphan.is_for(self.ticket) {
                continue;
            }
            // SAFETY: the promise made to `enlist`: the table stays mapped until the waiter has left.
            if unsafe { orphan.lease.try_take() }.is_err() {
                continue;
            }
            if !orphan.is_for(self.ticket) {
                // Another heir was faster.
                let _ = orphan.lease.release();
                continue;
            }
            let (kept, left) = if self.withdraw() { (orphan, self.entry) } else { (self.entry, orphan) };
            let _ = left.lease.release(); // As in `leave`.
            self.entry = kept;
            return true;
        }
        false
    }
}
