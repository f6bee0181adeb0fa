//! [`Lease`]: a word that a thread holds and that the kernel marks when the thread dies.
//!
//! ```text
//! bit 31 WAITERS | bit 30 OWNER_DIED | bits 0-29 TID of the holder
//!
//! state  word       meaning                     take                    release              the holder dies (kernel)
//! F      0          free                        CAS -> H                -                    -
//! FW     W          free, somebody may sleep    CAS -> HW               -                    -
//! D      OD         the holder died             CAS -> H, inconsistent  -                    -
//! DW     OD | W     the same, with sleepers     CAS -> HW, inconsistent -                    -
//! H      tid        held                        busy                    CAS -> F             D
//! HW     tid | W    held, somebody may sleep    busy                    hint clear: CAS -> FW, wake 1
//!                                                                       hint set: WAKE_OP -> F, wake all
//!                                                                                            DW, wakes 1
//! any of F FW D DW, a thread dies for which the word is pending: the kernel wakes 1
//! H, HW and the holder is dead unmarked: a waiter that holds the reaper CAS -> D, DW, and takes the word
//! ```
//!
//! WAITERS stays set across a release; only the single system call that also wakes everybody clears it. (A release that
//! clears it before it wakes loses a wake-up when it is killed in between.) The `stale` hint, set by a wake that found
//! nobody, says that it is time for that call.
//!
//! **Invariants.** (L1) Somebody sleeps => WAITERS is set. (L2) The word is free and somebody sleeps => a thread for
//! which the word is pending owes a wake, or the kernel does after that thread's death. (L3) Who gives up waiting has
//! seen the word held after its last sleep. (L4) Whoever holds a lease keeps its memory mapped and in place.
//!
//! **Out of band.** Some deaths leave a word held: a thread that isn't its process's leader takes another id before the
//! kernel looks at its list when it calls execve, and the memory of the list may be gone before the thread is (the OOM
//! killer, process_mrelease). A waiter that has seen one owner for ten slices, a second, asks the system whether that
//! thread exists. It is dead if it doesn't, if it is a zombie, or if its id is the waiter's own, which is then the second
//! bearer of it. Who finds it dead takes the *reaper*, one lease for all leases of a segment, looks again, and takes the
//! word. A dead owner can't change the word and nobody else does so without the reaper, so the id that is looked up is
//! the one that is replaced. A living thread is never robbed, even if it bears a dead owner's id: the lease stays held
//! then until that thread ends or wants it. Nobody waits for a reaper, and nobody reaps a reaper: if a thread is killed
//! unmarked while it holds one, the leases of that segment are passed on by the kernel only. The same is true of leases
//! in memory that is no [`Segment`](crate::Segment): they have no reaper.
//!
//! A waiter leaves its own word while it takes and gives back the reaper, which has then the pending place. It owes no
//! wake at that time: it has seen the word held since its last sleep (as L3), and it frees the word, while the word is
//! pending, only to take it at once.
//!
//! **Fairness.** None: a lease goes to whoever comes first once it is free (barging). Handing it to an heir would give
//! it to a thread that may be dead.
//!
//! # References
//! The kernel's Documentation/locking/robust-futex-ABI.rst. The protocol differs from glibc's robust mutex, which loses
//! a wake-up when the releasing or the woken thread is killed while a third one takes the lock.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use super::{AcquireError, Acquired};
use crate::sys::atomic::AtomicU32;
use crate::sys::futex::{self, Change};
use crate::sys::robust::{CAPACITY, Node, Thread, Unavailable};
use crate::sys::watch::Watch;
use crate::sys::{liveness, reaper};

pub(super) const WAITERS: u32 = 1 << 31;
pub(super) const OWNER_DIED: u32 = 1 << 30;
pub(super) const TID_MASK: u32 = OWNER_DIED.wrapping_sub(1);

/// A robust word: held by a thread, marked by the kernel when that thread dies. 40 bytes.
///
/// A lease never waits; [`RawMutex`](super::RawMutex) is a lease with waiting.
///
/// # Process death
/// When the holder dies, by SIGKILL at any instruction too, the next [`Lease::try_take`] succeeds and says
/// [`Acquired::OwnerDied`].
///
/// # Examples
/// ```
/// use multiproc::raw::{AcquireError, Acquired, Lease};
/// let lease = Lease::new();
/// // SAFETY: `lease` stays where it is until it is released.
/// assert_eq!(unsafe { lease.try_take() }, Ok(Acquired::Consistent));
/// std::thread::scope(|scope| {
///     // SAFETY: as above.
///     let other = scope.spawn(|| unsafe { lease.try_take() });
///     assert_eq!(other.join().expect("it does not panic"), Err(AcquireError::WouldBlock));
/// });
/// assert_eq!(lease.release(), Ok(()));
/// ```
#[repr(transparent)]
#[derive(Debug)]
pub struct Lease {
    node: Node,
}

impl Lease {
    /// A lease that nobody holds; the same as all-zero bytes.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::raw::Lease::new().holder(), None);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { node: Node::new() }
    }

    /// Takes the lease if nobody alive holds it.
    ///
    /// # Errors
    /// `WouldBlock`, `Deadlock` if the calling thread holds it, `TooManyHeld`, `Unsupported`.
    ///
    /// # Safety
    /// While the calling thread holds the lease, its memory must stay mapped and in place.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, Acquired, Lease};
    /// let lease = Lease::new();
    /// // SAFETY: `lease` stays where it is until it is released.
    /// let (first, second) = unsafe { (lease.try_take(), lease.try_take()) };
    /// assert_eq!((first, second), (Ok(Acquired::Consistent), Err(AcquireError::Deadlock)));
    /// assert_eq!(lease.release(), Ok(()));
    /// ```
    pub unsafe fn try_take(&self) -> Result<Acquired, AcquireError> {
        let thread = self.enter()?;
        let outcome = self.try_take_pending(thread);
        thread.clear_pending();
        outcome.ok_or(AcquireError::WouldBlock)
    }

    /// Releases the lease and wakes a sleeper, if there is one.
    ///
    /// # Errors
    /// `NotHeld`. `Corrupt` if another process overwrote the word: this thread no longer holds the lease then.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{AcquireError, Lease};
    /// let lease = Lease::new();
    /// assert_eq!(lease.release(), Err(AcquireError::NotHeld));
    /// // SAFETY: `lease` stays where it is until it is released.
    /// assert!(unsafe { lease.try_take() }.is_ok());
    /// assert_eq!(lease.release(), Ok(()));
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), AcquireError> {
        Thread::enrolled().map_or(Err(AcquireError::NotHeld), |thread| self.release_by(thread))
    }

    /// [`release`](Lease::release) if the calling thread is the thread `tid`: for guards, of which a forked child has a copy.
    #[inline]
    pub(crate) fn release_as(&self, tid: u32) -> Result<(), AcquireError> {
        self.release_as_after(tid, || {})
    }

    /// [`release_as`](Lease::release_as), and does `last` just before, if the calling thread is the thread `tid`.
    #[inline]
    pub(crate) fn release_as_after(&self, tid: u32, last: impl FnOnce()) -> Result<(), AcquireError> {
        let holder = Thread::enrolled().filter(|thread| thread.tid() == tid);
        holder.map_or(Err(AcquireError::NotHeld), |thread| {
            last();
            self.release_by(thread)
        })
    }

    /// [`release`](Lease::release) by the calling thread, which is known.
    #[inline]
    pub(super) fn release_by(&self, thread: Thread) -> Result<(), AcquireError> {
        thread.set_pending(&self.node);
        if !thread.pop_only(&self.node) {
            return self.release_nested(thread);
        }
        match self.give_up(thread) {
            Ok(()) => {
                thread.clear_pending();
                Ok(())
            }
            Err(seen) => self.release_contended(thread, seen),
        }
    }

    /// Ends a [`release`](Lease::release) that has `seen` the word with waiters, or overwritten.
    #[cold]
    fn release_contended(&self, thread: Thread, seen: u32) -> Result<(), AcquireError> {
        let outcome = self.give_up_contended(thread.tid(), seen);
        thread.clear_pending();
        outcome
    }

    /// Ends a [`release`](Lease::release), or a [`leave`](Lease::leave), where the thread holds other leases too, or took this
    /// one again, or doesn't hold it.
    #[cold]
    fn release_nested(&self, thread: Thread) -> Result<(), AcquireError> {
        let below = thread.level(&self.node).and_then(|level| level.checked_sub(1));
        let outcome = match below {
            Some(below) => {
                thread.set_level(&self.node, below);
                Ok(())
            }
            None => self.pop_and_give_up(thread),
        };
        thread.clear_pending();
        outcome
    }

    /// Releases the word, for which `thread` is pending.
    fn pop_and_give_up(&self, thread: Thread) -> Result<(), AcquireError> {
        if !thread.pop(&self.node) {
            return Err(AcquireError::NotHeld);
        }
        self.give_up(thread).or_else(|seen| self.give_up_contended(thread.tid(), seen))
    }

    /// Declares the protected state consistent: later acquirers are no longer told that a holder died.
    /// For the holder; does nothing for others.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{Acquired, Lease};
    /// let lease = Lease::new();
    /// std::thread::scope(|scope| {
    ///     // It ends with the lease, as one that is killed; joined, so that it has.
    ///     // SAFETY: `lease` stays where it is.
    ///     let other = scope.spawn(|| unsafe { lease.try_take() });
    ///     assert!(other.join().is_ok());
    /// });
    /// // SAFETY: `lease` stays where it is until it is released.
    /// assert_eq!(unsafe { lease.try_take() }, Ok(Acquired::OwnerDied));
    /// lease.recover();
    /// assert_eq!(lease.release(), Ok(()));
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { lease.try_take() }, Ok(Acquired::Consistent));
    /// # assert_eq!(lease.release(), Ok(()));
    /// ```
    pub fn recover(&self) {
        if self.is_held() {
            self.inconsistent().store(0, Ordering::Relaxed); // Relaxed: published by the release of the word.
        }
    }

    /// Whether the calling thread holds the lease.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::Lease;
    /// let lease = Lease::new();
    /// // SAFETY: `lease` stays where it is until it is released.
    /// assert!(unsafe { lease.try_take() }.is_ok() && lease.is_held());
    /// assert!(lease.release().is_ok() && !lease.is_held());
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        Thread::enrolled().is_some_and(|thread| thread.holds(&self.node))
    }

    /// Whether the calling thread, which is known, holds the lease.
    #[inline]
    pub(super) fn is_held_by(&self, thread: Thread) -> bool {
        thread.holds(&self.node)
    }

    /// Whether its holder died and nobody has taken it since.
    pub(super) fn is_orphaned(&self) -> bool {
        self.word().load(Ordering::Relaxed) & OWNER_DIED != 0 // Relaxed: an answer that is old at once.
    }

    /// The thread id of the holder, at this moment.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::Lease;
    /// let lease = Lease::new();
    /// // SAFETY: `lease` stays where it is until it is released.
    /// assert!(unsafe { lease.try_take() }.is_ok() && lease.holder().is_some());
    /// assert!(lease.release().is_ok() && lease.holder().is_none());
    /// ```
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        let tid = self.word().load(Ordering::Relaxed) & TID_MASK; // Relaxed: an answer that is old at once.
        (tid != 0).then_some(tid)
    }

    /// How often the calling thread has taken the lease again while it held it.
    pub(super) fn level(&self) -> Option<u32> {
        Thread::enrolled()?.level(&self.node)
    }

    /// The holder takes the lease again, `levels` times.
    pub(super) fn enter_levels(&self, levels: u32) -> Result<Acquired, AcquireError> {
        let (thread, level) = self.thread_and_level()?;
        thread.set_level(&self.node, level.checked_add(levels).ok_or(AcquireError::TooManyHeld)?);
        Ok(self.state())
    }

    /// [`enter_levels`](Lease::enter_levels) of one level where what is protected is consistent, and the calling thread's id;
    /// `None` where it isn't, if the thread isn't the holder, or if it doesn't know at once.
    #[inline]
    pub(super) fn nest(&self) -> Option<u32> {
        let thread = Thread::enrolled()?;
        thread.nest(&self.node, || self.state() == Acquired::Consistent).then(|| thread.tid())
    }

    /// The holder takes back one level, or releases the lease if it is at the first.
    ///
    /// # Errors
    /// As for [`Lease::release`].
    #[inline]
    pub(super) fn leave(&self) -> Result<(), AcquireError> {
        Thread::enrolled().map_or(Err(AcquireError::NotHeld), |thread| self.leave_by(thread))
    }

    /// [`leave`](Lease::leave) if the calling thread is the thread `tid`.
    #[inline]
    pub(super) fn leave_as(&self, tid: u32) -> Result<(), AcquireError> {
        let holder = Thread::enrolled().filter(|thread| thread.tid() == tid);
        holder.map_or(Err(AcquireError::NotHeld), |thread| self.leave_by(thread))
    }

    #[inline]
    fn leave_by(&self, thread: Thread) -> Result<(), AcquireError> {
        if thread.unnest(&self.node) { Ok(()) } else { self.leave_first(thread) }
    }

    /// Not inlined, so that the drop of a nested guard is.
    #[inline(never)]
    fn leave_first(&self, thread: Thread) -> Result<(), AcquireError> {
        self.release_by(thread)
    }

    /// The holder takes back all levels but the first, and learns how many there were.
    pub(super) fn leave_all_levels(&self) -> Result<u32, AcquireError> {
        let (thread, level) = self.thread_and_level()?;
        if level > 0 {
            thread.set_level(&self.node, 0);
        }
        Ok(level)
    }

    #[inline]
    fn thread_and_level(&self) -> Result<(Thread, u32), AcquireError> {
        let thread = Thread::enrolled().ok_or(AcquireError::NotHeld)?;
        Ok((thread, thread.level(&self.node).ok_or(AcquireError::NotHeld)?))
    }

    #[inline]
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.node.word
    }

    /// A hint: the last wake found nobody.
    #[inline]
    fn stale(&self) -> &AtomicU32 {
        let [stale, ..] = &self.node.beside;
        stale
    }

    /// Nonzero: a holder died and nobody has called `recover`. Written by holders only.
    #[inline]
    fn inconsistent(&self) -> &AtomicU32 {
        let [_, inconsistent, ..] = &self.node.beside;
        inconsistent
    }

    /// Refuses what must be refused before the word is touched, and makes the word pending.
    #[inline]
    pub(super) fn enter(&self) -> Result<Thread, AcquireError> {
        let Some(thread) = Thread::enrolled().filter(Thread::holds_none) else {
            return self.enter_checked();
        };
        thread.set_pending(&self.node);
        Ok(thread)
    }

    /// [`Lease::enter`] by the calling thread, which is known.
    #[inline]
    pub(super) fn enter_for(&self, thread: Thread) -> Result<(), AcquireError> {
        if !thread.holds_none() {
            return self.enter_among_others(thread);
        }
        thread.set_pending(&self.node);
        Ok(())
    }

    /// [`Lease::enter`] for a thread that holds leases already, or takes its first one ever.
    #[cold]
    fn enter_checked(&self) -> Result<Thread, AcquireError> {
        let thread = Thread::current()?;
        self.enter_among_others(thread)?;
        Ok(thread)
    }

    #[cold]
    fn enter_among_others(&self, thread: Thread) -> Result<(), AcquireError> {
        if thread.holds(&self.node) {
            return Err(AcquireError::Deadlock);
        }
        if thread.held() >= CAPACITY {
            return Err(AcquireError::TooManyHeld);
        }
        thread.set_pending(&self.node);
        Ok(())
    }

    /// Takes the word, for which `thread` is pending, if it is free.
    #[inline]
    pub(super) fn try_take_pending(&self, thread: Thread) -> Option<Acquired> {
        match self.claim(thread) {
            Ok(()) => Some(self.taken(thread, 0)),
            Err(seen) => self.try_take_marked(thread, seen),
        }
    }

    /// Writes the thread's id into the word, for which it is pending, if the word is 0, or says what it is. After a claim
    /// comes [`taken`](Lease::taken).
    #[inline]
    pub(super) fn claim(&self, thread: Thread) -> Result<(), u32> {
        // SYNC: Acquire <- `give_up`'s Release, or the kernel's marking: what was written under the lease is seen.
        self.word().compare_exchange(0, thread.tid(), Ordering::Acquire, Ordering::Relaxed).map(drop)
    }

    /// [`Lease::try_take_pending`] where the word was `seen` to be held, or free with marks on it.
    #[cold]
    pub(super) fn try_take_marked(&self, thread: Thread, mut seen: u32) -> Option<Acquired> {
        while seen & TID_MASK == 0 {
            let held = (seen & WAITERS) | thread.tid();
            // SYNC: Acquire <- as above.
            match self.word().compare_exchange(seen, held, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(self.taken(thread, seen)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Takes the word if its holder is dead and the kernel has not marked it; restarts the watch if it is alive.
    ///
    /// For a waiter for which the word is pending, and which has seen it held since its last sleep.
    #[cold]
    pub(super) fn try_take_from_dead(&self, thread: Thread, watch: &mut Watch) -> Option<Acquired> {
        if self.dead_holder(thread).is_none() {
            watch.restart();
            return None;
        }
        self.with_reaper(thread, || self.mark_dead(thread).then(|| self.try_take_pending(thread)).flatten())
            .flatten()
    }

    /// Runs `body` while this thread holds the reaper, if nobody else does. Before and after it, and in it, this word is
    /// pending.
    fn with_reaper<R>(&self, thread: Thread, body: impl FnOnce() -> R) -> Option<R> {
        let reaper = Self::from_node(reaper::of(&self.node)?);
        thread.set_pending(&reaper.node);
        let alone = reaper.try_take_pending(thread).is_some();
        thread.set_pending(&self.node);
        if !alone {
            return None;
        }
        let done = body();
        thread.set_pending(&reaper.node);
        // `Corrupt`: a peer overwrote the reaper, which is not held any more then.
        let _ = reaper.pop_and_give_up(thread);
        thread.set_pending(&self.node);
        Some(done)
    }

    /// The word, if a dead thread holds it.
    fn dead_holder(&self, thread: Thread) -> Option<u32> {
        let seen = self.word().load(Ordering::Relaxed); // Relaxed: compared again when it is replaced.
        let dead = match seen & TID_MASK {
            0 => false,
            tid if tid == thread.tid() => !thread.holds(&self.node),
            tid => liveness::is_dead(tid),
        };
        dead.then_some(seen)
    }

    /// Takes the lease if it is free. For leases on whose word nobody sleeps, and which protect nothing that a death could
    /// leave half changed: [`RawPermits`](super::RawPermits).
    #[inline]
    pub(super) fn try_take_unslept(&self, thread: Thread) -> bool {
        thread.set_pending(&self.node);
        let acquired = self.try_take_pending(thread);
        if acquired == Some(Acquired::OwnerDied) {
            self.recover();
        }
        thread.clear_pending();
        acquired.is_some()
    }

    /// As [`Lease::try_take_unslept`]; or else has seen the lease held with WAITERS set.
    pub(super) fn take_or_announce(&self, thread: Thread) -> bool {
        let mut seen = self.word().load(Ordering::Relaxed);
        loop {
            if seen & TID_MASK == 0 {
                if self.try_take_unslept(thread) {
                    return true;
                }
                seen = self.word().load(Ordering::Relaxed);
            } else if seen & WAITERS != 0 {
                return false;
            } else {
                let announced = seen | WAITERS;
                // Relaxed: whoever releases this very word finds the announcement in it.
                match self.word().compare_exchange(seen, announced, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return false,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// Frees the lease if its holder is dead and unmarked. For leases on whose word nobody sleeps.
    pub(super) fn free_from_dead(&self, thread: Thread) {
        thread.set_pending(&self.node);
        if self.dead_holder(thread).is_some() {
            self.with_reaper(thread, || self.mark_dead(thread));
        }
        thread.clear_pending();
    }

    /// Releases the lease, on whose word nobody sleeps; true if somebody who sleeps elsewhere must be woken.
    ///
    /// # Errors
    /// As for [`Lease::release`].
    #[inline]
    pub(super) fn release_unslept(&self) -> Result<bool, AcquireError> {
        let thread = Thread::enrolled().ok_or(AcquireError::NotHeld)?;
        thread.set_pending(&self.node);
        let popped = thread.pop_only(&self.node) || thread.pop(&self.node);
        let outcome = if popped { self.give_up_unslept(thread) } else { Err(AcquireError::NotHeld) };
        thread.clear_pending();
        outcome
    }

    #[inline]
    fn give_up_unslept(&self, thread: Thread) -> Result<bool, AcquireError> {
        // SYNC: Release -> `try_take_pending`'s Acquire: what was done under the lease happened before.
        let free = |held| self.word().compare_exchange(held, 0, Ordering::Release, Ordering::Relaxed).is_ok();
        if free(thread.tid()) {
            Ok(false)
        } else if free(thread.tid() | WAITERS) {
            Ok(true)
        } else {
            // Waiters only ever add WAITERS: a foreign hand wrote this.
            Err(AcquireError::Corrupt)
        }
    }

    /// Does to a word with a dead holder what the kernel did not. For the holder of the reaper.
    fn mark_dead(&self, thread: Thread) -> bool {
        let Some(seen) = self.dead_holder(thread) else {
            return false;
        };
        // Another waiter may announce itself meanwhile, once.
        [seen, seen | WAITERS].into_iter().any(|seen| {
            let marked = (seen & WAITERS) | OWNER_DIED;
            // SYNC: Release -> `try_take_pending`'s Acquire: hands on what the dead wrote, which this thread sees since
            // the system told it of the death.
            self.word().compare_exchange(seen, marked, Ordering::Release, Ordering::Relaxed).is_ok()
        })
    }

    fn from_node(node: &Node) -> &Self {
        // SAFETY: a lease is a transparent node.
        unsafe { &*core::ptr::from_ref(node).cast() }
    }

    /// Links the word, which was `before` the thread claimed it, and says in what state it leaves what it protects.
    #[inline]
    pub(super) fn taken(&self, thread: Thread, before: u32) -> Acquired {
        let died = before & OWNER_DIED != 0;
        if died {
            // Killed before this store, the word says OWNER_DIED again. Relaxed: published by the release of the word.
            self.inconsistent().store(1, Ordering::Relaxed);
        }
        thread.push(&self.node);
        if died { Acquired::OwnerDied } else { self.state() }
    }

    /// What the holder is told.
    #[inline]
    fn state(&self) -> Acquired {
        // Relaxed: written by holders only.
        if self.inconsistent().load(Ordering::Relaxed) == 0 {
            Acquired::Consistent
        } else {
            Acquired::OwnerDied
        }
    }

    /// Releases the word, which is unlinked and pending, if it has no waiters, or says what it is.
    #[inline]
    fn give_up(&self, thread: Thread) -> Result<(), u32> {
        // SYNC: Release -> `claim`'s Acquire: publishes what was written under the lease.
        self.word().compare_exchange(thread.tid(), 0, Ordering::Release, Ordering::Relaxed).map(drop)
    }

    #[cold]
    fn give_up_contended(&self, tid: u32, seen: u32) -> Result<(), AcquireError> {
        if seen != tid | WAITERS {
            // Waiters only ever add WAITERS: a foreign hand wrote this.
            return Err(AcquireError::Corrupt);
        }
        if self.stale().load(Ordering::Relaxed) != 0 {
            self.stale().store(0, Ordering::Relaxed);
            // SYNC: a full barrier -> `try_take_marked`'s Acquire: publishes what was written under the lease.
            futex::wake_op(self.word(), Change::Set(0), futex::ALL);
            return Ok(());
        }
        // SYNC: Release -> `try_take_marked`'s Acquire: publishes what was written under the lease.
        if self.word().compare_exchange(seen, WAITERS, Ordering::Release, Ordering::Relaxed).is_err() {
            return Err(AcquireError::Corrupt);
        }
        if futex::wake(self.word(), 1) == 0 {
            self.stale().store(1, Ordering::Relaxed); // Relaxed: only a hint.
        }
        Ok(())
    }
}

/// The calling thread's id, if it has ever taken a lease.
#[inline]
pub(crate) fn own_tid() -> Option<u32> {
    Thread::enrolled().map(|thread| thread.tid())
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Unavailable> for AcquireError {
    #[inline]
    fn from(Unavailable(what): Unavailable) -> Self {
        Self::Unsupported(what)
    }
}
