//! [`Chair`]: which thread of a pool's process takes in results.
//!
//! Whoever waits for a result takes in results itself, its own among them, while nobody else does: its result comes without a
//! switch of threads. The others sleep, and rely on who sits. One that leaves while somebody relies on it calls the pool's
//! own thread, which sits down then.
//!
//! ```text
//! word = those that wait << 1 | TAKEN
//!
//! (wait, TAKEN)   take, Waits               take, Goes       leaving                          stand_up(n)
//! (w, 0)          CAS -> (w, 1): sits       CAS -> (w, 1)    -                                -> (w - n, 0)
//! (w, 1)          CAS -> (w + 1, 1): waits  refused          -> (w, 0); w > 0: the thread     -> (w - n, 1)
//!                                                            of the pool is called
//! ```
//! (H1) One sits at a time. (H2) While somebody waits, somebody sits, or the pool's thread has been called and has not sat
//! down since. (H3) Whoever is counted as one that waits is taken off once: by who delivers what it waits for, before it is
//! told; or by itself, if it goes without. So nobody who has been told keeps the pool's thread in the chair.
//!
//! A thread that panics leaves as any other does. The chair is one process's, whose death is the end of all of this.
//!
//! **Ordering.** (H4) leave -> sit: what the one before has delivered. That somebody waits lies in the word that says that
//! the chair is taken, so whoever leaves sees it, without a fence.

use core::sync::atomic::Ordering;

use super::Deadline;
use crate::sys::atomic::AtomicU32;
use crate::sys::futex;

const TAKEN: u32 = 1;
const ONE_WAITS: u32 = 2;

/// The bell: nobody rang; the pool's thread was called; it sleeps.
const SILENT: u32 = 0;
const CALLED: u32 = 1;
const ASLEEP: u32 = 2;

/// Which thread takes in results.
#[derive(Debug)]
pub(crate) struct Chair {
    word: AtomicU32,
    /// The pool's thread sleeps on it.
    bell: AtomicU32,
}

/// The calling thread sits; dropped, it leaves.
#[must_use]
#[derive(Debug)]
pub(crate) struct Seated<'c> {
    chair: &'c Chair,
}

/// What becomes of who reads.
pub(crate) enum Read<'c> {
    /// It goes on.
    Seated(Seated<'c>),
    /// It had to leave.
    Left,
    /// There is nothing to be had any more, or not by it.
    End,
}

/// What a thread does that finds the chair taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It relies on who sits, and is counted until it is taken off.
    Waits,
    /// It relies on nobody: it looks again before long, or is called.
    Goes,
}

impl Chair {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0), bell: AtomicU32::new(SILENT) }
    }

    /// The calling thread sits down, unless somebody sits.
    pub(crate) fn sit(&self) -> Option<Seated<'_>> {
        self.take(Refused::Goes)
    }

    #[inline]
    fn take(&self, refused: Refused) -> Option<Seated<'_>> {
        let mut seen = self.word.load(Ordering::Relaxed); // Relaxed: the exchange decides.
        loop {
            let is_taken = seen & TAKEN != 0;
            if is_taken && refused == Refused::Goes {
                return None;
            }
            let new = if is_taken { seen.wrapping_add(ONE_WAITS) } else { seen | TAKEN };
            // SYNC: Acquire <- `Seated`'s Release (H4): what the one before has delivered.
            match self.word.compare_exchange(seen, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if is_taken => return None,
                Ok(_) => return Some(Seated { chair: self }),
                Err(now) => seen = now,
            }
        }
    }

    /// The calling thread sits and has `read` take in results until `is_done`, which is asked only while it sits. `false`:
    /// somebody else sits, and the caller is counted if it waits for that one.
    #[inline]
    pub(crate) fn read_until<'c>(
        &'c self,
        refused: Refused,
        is_done: impl Fn() -> bool,
        mut read: impl FnMut(Seated<'c>) -> Read<'c>,
    ) -> bool {
        while let Some(mut seat) = self.take(refused) {
            loop {
                if is_done() {
                    return true;
                }
                seat = match read(seat) {
                    Read::Seated(seat) => seat,
                    Read::Left => break,
                    Read::End => return true,
                };
            }
        }
        false
    }

    /// Whether nobody sits or is counted.
    #[cfg(all(test, loom))]
    pub(super) fn is_left(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0
    }

    /// So many that were counted don't wait any more.
    pub(crate) fn stand_up(&self, threads: u32) {
        if threads > 0 {
            // Relaxed: nothing moves with it.
            self.word.fetch_sub(threads.wrapping_mul(ONE_WAITS), Ordering::Relaxed);
        }
    }

    /// Calls the pool's thread.
    pub(crate) fn call(&self) {
        // SYNC: Release -> `await_call`'s Acquire: that the chair is empty.
        if self.bell.swap(CALLED, Ordering::Release) == ASLEEP {
            futex::wake(&self.bell, futex::ALL);
        }
    }

    /// The pool's thread sleeps until it is called, at most until the deadline; whether it was.
    pub(crate) fn await_call(&self, deadline: Option<Deadline>) -> bool {
        // Relaxed: the kernel compares the word again, and the swap below decides.
        if self.bell.compare_exchange(SILENT, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            futex::wait(&self.bell, ASLEEP, deadline);
        }
        // SYNC: Acquire <- `call`'s Release: that the chair is empty.
        self.bell.swap(SILENT, Ordering::Acquire) == CALLED
    }
}

impl Drop for Seated<'_> {
    #[inline]
    fn drop(&mut self) {
        // SYNC: Release -> `take`'s Acquire (H4): what was delivered.
        if self.chair.word.fetch_sub(TAKEN, Ordering::Release) != TAKEN {
            self.chair.call();
        }
    }
}
