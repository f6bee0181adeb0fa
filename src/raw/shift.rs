//! [`Shift`]: how many workers of a pool look for tasks. The others sleep until there are tasks for them.
//!
//! One word says how many *are on*: those of the first so many seats. A pool that gets one task at a time is so served by
//! one worker, who is awake when the next task comes; with all of them at the ring each task would wake another one.
//!
//! ```text
//! the pool, after a task is in the ring      raises the word to the number of workers that are needed, and rings the bells of
//!                                            the seats that it adds
//! the worker of the last seat that is on,    lowers the word by its own seat, and rests; that of the first seat never does
//! when it has found nothing for a while
//! a worker that rests                        clears its bell, sees that it is not on and that no task is ready, then sleeps
//! ```
//! The word is a hint, nobody owns it, and a death leaves nothing to repair: the tasks are in the ring, and whoever is on or
//! not may take them. Those who rest look at the ring from time to time, so that a worker that is on and *stopped* holds up
//! others' tasks no longer than it does at the ring itself.
//!
//! **Ordering.** (K1) task in the ring, SeqCst fence, word <-> word, bell cleared, SeqCst fence, ring: the pool sees that the
//! worker is not on, and rings; or the worker sees the task, or that it is on. Word and bells are SeqCst or stronger than they
//! need to be.

use core::sync::atomic::Ordering;

use super::claims::Words;
use crate::sys::atomic::fence;

/// How many workers look for tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift<'a, W> {
    pub(crate) words: &'a W,
    /// Which of the words it is.
    pub(crate) at: usize,
}

impl<W: Words> Shift<'_, W> {
    /// Tasks were put in the ring; so many workers are to look for them. `ring` rings a seat's bell.
    pub(crate) fn need(&self, workers: u32, ring: impl FnMut(u32)) {
        // The first seat is always on.
        if workers <= 1 {
            return;
        }
        // SYNC: SeqCst fence <-> `rest`'s (K1): whoever rests is seen here, or the task there.
        fence(Ordering::SeqCst);
        self.raise(workers, ring);
    }

    fn raise(&self, workers: u32, ring: impl FnMut(u32)) {
        let on = loop {
            let on = self.on();
            if on >= workers {
                return;
            }
            if self.words.change(self.at, u64::from(on), u64::from(workers)) {
                break on;
            }
        };
        (on..workers).for_each(ring);
    }

    /// Whether the worker of a seat is to look for tasks.
    pub(crate) fn is_on(&self, seat: u32) -> bool {
        self.on() > seat
    }

    /// The worker of a seat has found nothing for a while; whether it may rest.
    pub(crate) fn leave(&self, seat: u32) -> bool {
        let on = self.on();
        if seat == 0 || on > seat.saturating_add(1) {
            return false;
        }
        on <= seat || self.words.change(self.at, u64::from(on), u64::from(seat))
    }

    /// The worker of a seat that has left rests: `sleep` returns when its bell rings, or after a while. `is_ready` must not be
    /// wrong about a task that has been in the ring since before the call.
    pub(crate) fn rest(
        &self,
        seat: u32,
        clear: impl FnOnce(),
        is_ready: impl FnOnce() -> bool,
        sleep: impl FnOnce(),
    ) {
        clear();
        // SYNC: SeqCst fence <-> `need`'s (K1): it is seen there that this worker rests, or the task here.
        fence(Ordering::SeqCst);
        if !self.is_on(seat) && !is_ready() {
            sleep();
        }
    }

    fn on(&self) -> u32 {
        self.words.load(self.at).and_then(|on| u32::try_from(on).ok()).unwrap_or(u32::MAX)
    }
}
