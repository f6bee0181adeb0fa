//! [`Waiters`]: the table of those who wait for a notification.
//!
//! An entry is a lease, which its waiter holds while it waits, and a second robust word, its *state*, which its waiter
//! sleeps on, and which a notifier holds from the notification until the wake if that is to come after the unlock.
//!
//! ```text
//! bit 31 ASLEEP | bit 30 NOTIFIED | bits 0-29 WAITING, which is no thread's id, or the id of who owes a wake
//!
//! state                 lease  meaning                  notify, under the lock            the waiter
//! 0, ASLEEP, NOTIFIED   free   nobody                   -                                 enlist, under the lock: take, WAITING
//! WAITING               held   waits, awake             CAS -> NOTIFIED WAITING           CAS -> WAITING ASLEEP; gives up under the lock: 0
//! WAITING ASLEEP        held   waits                    WAKE_OP(OR NOTIFIED, wake all)    FUTEX_WAIT; gives up under the lock: 0
//!                                                       or, to pay later, CAS -> tid ASLEEP
//! WAITING, ASLEEP?      free   the waiter died          - (enlist reuses the entry)       -
//! NOTIFIED and one of   held   has a notification       -                                 leaves under the lock: 0, release
//!     WAITING, ASLEEP
//! tid ASLEEP            held   the same, and the wake   pays after the unlock: CAS ->     leaves under the lock: CAS -> tid, release
//!                              is owed by the thread    NOTIFIED ASLEEP, wake 1
//! tid                   any    nobody; the debt is void pays: CAS -> 0                    -
//! tid ASLEEP, tid, and that thread dies (kernel): -> NOTIFIED ASLEEP, wakes 1; -> NOTIFIED
//! NOTIFIED ASLEEP, and a thread dies that was just paying (kernel): wakes 1
//! one with a            free   a notification whose     -                                 an older waiter's slice ends: takes the lease,
//!     notification             waiter died or gave up                                     gives its own entry up, and is notified
//! ```
//!
//! "The lock" is whatever lock the caller notifies under, always the same. Only its holder enlists and notifies, so an
//! entry isn't reused while a notification is on its way to it. A waiter may move or vanish meanwhile: the notification then
//! lies in an entry that nobody holds, and is inherited. A death that the kernel has not marked is found by the out-of-band
//! check of `lease.rs`, which a waiter makes once a second of those who are notified.
//!
//! Who is woken by a notifier that has the lock still sleeps again at once, for the lock, most of all on the notifier's own
//! core. So a notifier that unlocks soon *owes* the wake: it marks the entry with its thread id, which is all that the
//! notification needs, holds the state like a lease meanwhile, and wakes after the unlock. A thread owes one wake for each
//! guard at most. Nobody waits for a debt: a waiter whose slice ends finds itself notified all the same.
//!
//! **Invariants.** (N1) A notification is made by one change of one entry's state, in the system call that also wakes, or
//! while ASLEEP is not set, or into the state of a word that the notifier, pending for it before, holds until it has
//! woken; one change by the holder of the entry's lease consumes it. It moves by its lease: taking that is one
//! compare-and-swap. So a notification is never doubled, and a death never loses it. (N2) It can be inherited only by
//! who waited when it was made: each entry has the ticket of its waiter, and a notification the ticket that was next.
//! (N3) A waiter that reports "not notified" has looked at its state under the lock. (N4) An entry whose state has a
//! thread's id is in that thread's robust list, or was when it died, and nobody else enlists there or holds the state.
//!
//! **Fairness.** The oldest waiter that lives is notified first. An inherited notification goes to whichever older waiter looks
//! first, at most one slice later.
//!
//! **Ordering.** What waiters and notifiers tell each other is ordered by the lock. The words of an entry are published
//! with its state (Release) and read behind it (Acquire), by an heir, which has no lock.
#![allow(unsafe_code)]

use core::hint::spin_loop;
use core::sync::atomic::Ordering;

use super::lease::{OWNER_DIED, TID_MASK, WAITERS};
use super::{AcquireError, Deadline, Lease, WaitError};
use crate::sys::atomic::AtomicU32;
use crate::sys::futex::{self, Change};
use crate::sys::robust::{CAPACITY, Node, Thread};
use crate::sys::watch::Watch;
use crate::sys::{liveness, slice, spin};

/// Beyond every thread's id.
const WAITING: u32 = 1 << 29;
/// What the kernel makes of the id of a notifier that has died.
const NOTIFIED: u32 = OWNER_DIED;
const NOTIFIED_BIT: u16 = 30;
/// Set by the waiter before it sleeps, and left there. With it set the kernel wakes it when the notifier has died.
const ASLEEP: u32 = WAITERS;
/// Pauses between a notification and the lock that comes with it, about 25 ns.
const PAUSES: u32 = 1;
/// What a waiter watches in place of one owner.
const TABLE: u32 = 1;

/// Who waits, or nobody: 80 bytes. All-zero bytes are nobody.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(super) lease: Lease,
    state: Node,
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<Waiter>() == 80);

/// The thread that owes a wake in this state.
fn debtor(state: u32) -> Option<u32> {
    Some(state & TID_MASK).filter(|&tid| tid != 0 && tid & WAITING == 0)
}

/// Whether a notification is in this state.
fn has_notification(state: u32) -> bool {
    state & (ASLEEP | WAITING) != 0 && (state & NOTIFIED != 0 || debtor(state).is_some())
}

impl Default for Waiter {
    fn default() -> Self {
        Self { lease: Lease::new(), state: Node::new() }
    }
}

impl Waiter {
    fn state(&self) -> &AtomicU32 {
        &self.state.word
    }

    /// Its waiter's place in the order of waiters.
    fn ticket(&self) -> &AtomicU32 {
        let [ticket, ..] = &self.state.beside;
        ticket
    }

    /// With a notification: the ticket that was next then.
    fn notified_at(&self) -> &AtomicU32 {
        let [_, notified_at, ..] = &self.state.beside;
        notified_at
    }

    fn is_live(&self) -> bool {
        self.lease.holder().is_some()
    }

    /// Whether a living thread has the state in its robust list (N4).
    fn is_owed_for(&self) -> bool {
        // Relaxed: debts are made under the lock, and who has paid wants nothing of the entry.
        debtor(self.state().load(Ordering::Relaxed)).is_some_and(|tid| !liveness::is_dead(tid))
    }

    /// Whether a notification lies here that whoever has `ticket` may take.
    fn is_for(&self, ticket: u32) -> bool {
        // SYNC: Acquire <- the notifier's Release, or its WAKE_OP: what `notified_at` was then is seen.
        has_notification(self.state().load(Ordering::Acquire))
            && is_older(ticket, self.notified_at().load(Ordering::Relaxed))
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
            if entry.is_live() || self.has_heir(entry) || entry.is_owed_for() {
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
            entry.ticket().store(ticket, Ordering::Relaxed);
            if self.used.load(Ordering::Relaxed) < index {
                self.used.store(index, Ordering::Relaxed);
            }
            entry.state().store(WAITING, Ordering::Relaxed);
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

    /// [`notify`](Waiters::notify) by a thread that unlocks soon and pays then: if it is one that is notified, and asleep, its
    /// wake is owed.
    ///
    /// # Safety
    /// The table must stay mapped and in place until the debt is paid.
    pub(crate) unsafe fn notify_owing(self, count: usize) -> (usize, Option<Debt<'a>>) {
        let mut waiting = self.waiting();
        let chosen = match (count, waiting.next(), waiting.next()) {
            (0, ..) => None,
            (_, first, None) => first,
            (1, ..) => self.oldest(),
            _ => None,
        };
        match chosen {
            None => (self.notify(count), None),
            Some(entry) => (1, self.notify_one_owing(entry)),
        }
    }

    /// Notifies the waiter of `entry`; the debt, if that is how its wake is to come.
    fn notify_one_owing(self, entry: &'a Waiter) -> Option<Debt<'a>> {
        let thread = Thread::enrolled().filter(|thread| thread.held() < CAPACITY);
        let Some(thread) = thread.filter(|_| entry.state().load(Ordering::Relaxed) == WAITING | ASLEEP)
        else {
            self.notify_one(entry);
            return None;
        };
        self.note(entry);
        thread.set_pending(&entry.state);
        let owed = entry
            .state()
            // SYNC: Release -> `is_for`'s and `sleep`'s Acquire.
            .compare_exchange(WAITING | ASLEEP, thread.tid() | ASLEEP, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if owed {
            thread.push(&entry.state);
        }
        thread.clear_pending();
        if owed {
            return Some(Debt(entry));
        }
        // It has moved to another entry just now, or given up: what it leaves behind is inherited.
        self.notify_one(entry);
        None
    }

    /// How many wait and have no notification.
    pub(crate) fn count(self) -> usize {
        self.waiting().count()
    }

    /// Frees the entries of notified waiters that have died without a mark by the kernel.
    #[cold]
    fn free_unmarked(self) {
        if let Ok(thread) = Thread::current() {
            let notified = |entry: &&Waiter| has_notification(entry.state().load(Ordering::Relaxed));
            self.entries.iter().filter(notified).for_each(|entry| entry.lease.free_from_dead(thread));
        }
    }

    /// Writes down when the waiter of `entry` is notified, which is next.
    fn note(self, entry: &Waiter) {
        // Relaxed: the change of the state publishes it.
        entry.notified_at().store(self.next_ticket.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn notify_one(self, entry: &Waiter) {
        self.note(entry);
        // SYNC: Release -> `is_for`'s and `sleep`'s Acquire.
        let awake =
            entry.state().compare_exchange(WAITING, WAITING | NOTIFIED, Ordering::Release, Ordering::Relaxed);
        if awake.is_err() {
            // SYNC: a full barrier -> `is_for`'s and `sleep`'s Acquire.
            futex::wake_op(entry.state(), Change::SetBit(NOTIFIED_BIT), futex::ALL);
        }
    }

    /// Those who wait and have no notification. Under the lock.
    fn waiting(self) -> impl Iterator<Item = &'a Waiter> {
        let used = usize::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let waits = |entry: &&Waiter| entry.state().load(Ordering::Relaxed) & !ASLEEP == WAITING;
        self.entries.iter().take(used).filter(waits).filter(|entry| entry.is_live())
    }

    fn oldest(self) -> Option<&'a Waiter> {
        let next = self.next_ticket.load(Ordering::Relaxed);
        self.waiting().max_by_key(|entry| next.wrapping_sub(entry.ticket().load(Ordering::Relaxed)))
    }

    /// Whether a notification lies in `entry` that somebody who waits may still inherit.
    fn has_heir(self, entry: &Waiter) -> bool {
        has_notification(entry.state().load(Ordering::Relaxed))
            && self.waiting().any(|waiter| entry.is_for(waiter.ticket().load(Ordering::Relaxed)))
    }
}

/// A wake that the calling thread owes to who was notified. To be [paid](Debt::pay) after the lock is released.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) struct Debt<'a>(&'a Waiter);

impl Debt<'_> {
    /// Wakes the waiter, unless it has gone already. In a forked child, which owes nothing, does nothing.
    pub(crate) fn pay(self) {
        let Self(entry) = self;
        let Some(thread) = Thread::enrolled() else { return };
        thread.set_pending(&entry.state);
        if thread.pop_only(&entry.state) || thread.pop(&entry.state) {
            let (owed, void) = (thread.tid() | ASLEEP, thread.tid());
            // SYNC: Release -> `sleep`'s Acquire: nothing new, who sees this saw the notification or inherits it.
            match entry.state().compare_exchange(
                owed,
                NOTIFIED | ASLEEP,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => _ = futex::wake(entry.state(), 1),
                Err(seen) if seen == void => entry.state().store(0, Ordering::Relaxed),
                Err(_) => {} // A foreign hand wrote this.
            }
        }
        thread.clear_pending();
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
            // The notifier has the lock still: to ask for it now would take its cache line from who is to release it.
            (0..PAUSES).for_each(|_| spin_loop());
            return;
        }
        let mut watch = Watch::new();
        loop {
            // Asked before the states are looked at: a notification that came by then is not left behind.
            let late = deadline.is_some_and(Deadline::has_passed);
            // SYNC: Acquire <- the notifier's Release, or its WAKE_OP.
            let seen = self.entry.state().load(Ordering::Acquire);
            if watch.is_due(TABLE) {
                watch.restart();
                self.table.free_unmarked();
            }
            if has_notification(seen) || self.inherit() || late {
                return;
            }
            // Relaxed: announces a sleeper; the kernel compares the word again under its own lock. What a foreign hand
            // wrote goes: nobody would find us.
            let asleep = WAITING | ASLEEP;
            let announced = seen == asleep
                || self
                    .entry
                    .state()
                    .compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if announced {
                futex::wait(self.entry.state(), asleep, slice::end_of_sleep(deadline));
            }
        }
    }

    /// Waits a little without sleeping, where that pays.
    fn spin(&self) -> bool {
        // SYNC: Acquire <- the notifier's Release.
        let is_notified = || has_notification(self.entry.state().load(Ordering::Acquire));
        // One place for the whole table: which entry it is says nothing about the notifier.
        let place = self.table.entries.first().unwrap_or(self.entry);
        spin::spin(place.state(), || is_notified().then_some(())).is_some()
    }

    /// Ends the wait, and says whether it was notified. For the holder of the lock.
    pub(crate) fn leave(self) -> bool {
        // Relaxed, all: notifiers hold the lock, who pays publishes nothing, and heirs want the lease.
        let state = self.entry.state();
        let seen = state.load(Ordering::Relaxed);
        let notified = has_notification(seen);
        // If the wake is owed, the entry stays the debtor's until that knows (N4).
        let void = debtor(seen).is_some_and(|tid| {
            state.compare_exchange(seen, tid, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        if !void {
            state.store(0, Ordering::Relaxed);
        }
        let _ = self.entry.lease.release(); // `Corrupt` after a peer's scribble: it is not held any more.
        notified
    }

    /// Ends the wait of a thread that doesn't have the lock. Its notification, if it has one, is for another.
    pub(crate) fn abandon(self) {
        self.withdraw();
        let _ = self.entry.lease.release(); // As in `leave`.
    }

    /// Takes the entry out of the notifiers' sight; false if it is notified. A notifier that has chosen it already leaves
    /// its notification there nevertheless, beside ASLEEP, and nobody will hold the entry then.
    fn withdraw(&self) -> bool {
        // Relaxed, all: publishes nothing. Beside this thread, only a notifier changes the state.
        let state = self.entry.state();
        let seen = state.load(Ordering::Relaxed);
        !has_notification(seen)
            && state.compare_exchange(seen, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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
