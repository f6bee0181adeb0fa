//! [`RawTasks`]: items that were taken from a ring and are not done yet.
//!
//! ```text
//! number    lease           the entry is                 becomes
//! 0         free or dead    free                         claimed: lease, then payload, then number
//! k + 1     held            a task in its holder's hands done: number 0, then the lease is released
//! k + 1     free or dead    an orphan                    taken again, its attempt counted
//! k + 1, k not yet freed    an aborted claim             free, when the consumers' lease is repaired
//! DEAD | k + 1, any lease   a dead letter                free, when somebody has seen to it
//! ```
//! Claims are made under the consumers' lease of the ring: the entry is written whole, then the item is freed, which is
//! the only commit. An entry counts if its number is below the ring's count of gets, so a kill before the commit leaves
//! the item in the ring and a kill after it leaves an orphan.
//!
//! An orphan that was taken as often as it may be becomes a dead letter, as long as there are fewer of those than there may
//! be: one store, under the consumers' lease and the entry's own. It counts as done.
//!
//! **Waiting.** `done` is a futex word, `sequence << 1 | WAITERS`; whoever finishes or gives up a task moves it. The death
//! of a task's holder moves nothing: who waits looks over the leases after each slice.
//!
//! **Fairness.** Orphans go first, then the ring's order.
//!
//! **Ordering.** (T1) the number's Release -> Acquire: attempt, length and payload of whoever claimed the entry.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering;

use super::ring::{Attempt, Consuming, Item, Ring, RingError, Spot};
use super::{Deadline, Lease, own_tid};
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::futex::Word;
use crate::sys::{futex, slice};

const WAITERS: u32 = 1;
/// In an entry's number: nobody takes it any more.
const DEAD: u64 = 1 << 63;
/// A take looks for orphans first when a task was given up, and else each so many times.
const TAKES_PER_LOOK: u32 = 64;

/// One task that is not done, or room for one. 64 bytes; all-zero bytes are a free one.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct TaskEntry {
    pub(super) lease: Lease,
    /// The item's number plus 1, or 0; with DEAD, a dead letter.
    number: AtomicU64,
    attempt: AtomicU32,
    length: AtomicU32,
}

/// What all entries share. 64 bytes; all-zero bytes are those of a queue without tasks.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct RawTasks {
    /// Items that were got, not taken, and whose `task_done` was called.
    task_dones: AtomicU64,
    done: AtomicU32,
    given_up: AtomicU32,
    takes: AtomicU32,
    /// How often an item is taken before it becomes a dead letter; 0 for no limit.
    max_attempts: AtomicU32,
    /// How many dead letters there may be.
    max_dead: AtomicU32,
    /// How often a task was taken that somebody else had given up or died with; written under the consumers' lease.
    redeliveries: AtomicU64,
}

/// A ring, its tasks, and where their payloads lie.
#[derive(Clone, Copy)]
pub(crate) struct Tasks<'a> {
    pub(crate) ring: Ring<'a>,
    pub(crate) raw: &'a RawTasks,
    pub(crate) entries: &'a [TaskEntry],
    /// As many words for each entry.
    pub(crate) payloads: &'a [AtomicU64],
}

/// A task that nobody takes any more.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// Of the item.
    pub(crate) number: u64,
    pub(crate) attempts: u32,
    pub(crate) payload: Vec<u8>,
}

impl RawTasks {
    /// Sets the bounds of a queue that nobody else uses yet.
    pub(crate) fn set_limits(&self, max_attempts: u32, max_dead: u32) {
        // Relaxed: before it is shared.
        self.max_attempts.store(max_attempts, Ordering::Relaxed);
        self.max_dead.store(max_dead, Ordering::Relaxed);
    }

    /// How often a task was taken that somebody else had given up or died with.
    pub(crate) fn redeliveries(&self) -> u64 {
        self.redeliveries.load(Ordering::Relaxed) // Relaxed: a count for who is curious.
    }
}

impl TaskEntry {
    /// Whether there is a task in it, done by nobody yet.
    pub(super) fn is_live(&self) -> bool {
        let number = self.number.load(Ordering::Relaxed); // Relaxed: a look; who acts on it holds a lease.
        number != 0 && number & DEAD == 0
    }

    pub(super) fn is_dead_letter(&self) -> bool {
        self.number.load(Ordering::Relaxed) & DEAD != 0 // Relaxed: changed under the consumers' lease only.
    }
}

/// A task that the calling thread has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Which entry it is in.
    pub(crate) entry: usize,
    /// The item's number.
    pub(crate) number: u64,
    /// How often it was taken, this time included.
    pub(crate) attempt: u32,
    /// The thread id of who took it: a forked child inherits the value, not the task.
    tid: u32,
}

impl<'a> Tasks<'a> {
    /// Takes a task, its payload to the end of `payload`: a step for [`Ring::consume`]. The entry's lease is held then.
    ///
    /// # Errors
    /// `Closed` if the ring is closed and drained and no task can come back, or the caller holds a task itself.
    pub(crate) fn take(
        &self,
        consuming: &Consuming<'_, 'a>,
        payload: &mut Vec<u8>,
    ) -> Result<Attempt<'a, Taken>, RingError> {
        self.repair(consuming)?;
        let takes = self.raw.takes.load(Ordering::Relaxed); // Relaxed: written under the consumers' lease.
        self.raw.takes.store(takes.wrapping_add(1), Ordering::Relaxed);
        let look = takes.is_multiple_of(TAKES_PER_LOOK) || self.raw.given_up.load(Ordering::Relaxed) != 0;
        if look && let Some(taken) = self.adopt(payload)? {
            return Ok(Attempt::Done(taken));
        }
        match consuming.front() {
            Ok(Attempt::Done(front)) => self.claim(consuming, front, payload),
            Ok(Attempt::NotYet(spot)) => {
                Ok(self.adopt(payload)?.map_or(Attempt::NotYet(spot), Attempt::Done))
            }
            Err(RingError::Closed) => self.wait_for_orphans(payload),
            Err(error) => Err(error),
        }
    }

    /// Gets an item, not as a task, whose payload `read` is given: a step for [`Ring::consume`].
    ///
    /// # Errors
    /// Those of [`Consuming::get`].
    pub(crate) fn get_with<R>(
        &self,
        consuming: &Consuming<'_, 'a>,
        read: impl FnOnce(&'a [AtomicU64], usize) -> R,
    ) -> Result<Attempt<'a, R>, RingError> {
        self.repair(consuming)?;
        consuming.get_by(|front| read(front.payload, front.length))
    }

    /// The same, its payload to the end of `payload`.
    #[cfg(test)]
    pub(crate) fn get(
        &self,
        consuming: &Consuming<'_, 'a>,
        payload: &mut Vec<u8>,
    ) -> Result<Attempt<'a, ()>, RingError> {
        self.get_with(consuming, |words, length| super::ring::read(words, length, payload))
    }

    /// Whether a task seems to be in nobody's hands.
    pub(crate) fn seem_orphaned(&self) -> bool {
        // A guess. Whoever gave a task up has released its lease before.
        self.entries.iter().any(|entry| entry.is_live() && entry.lease.holder().is_none())
    }

    /// Frees entries of claims that were killed before their commit: before anything else is done under the lease, for
    /// the item is still in the ring, and once it is got by somebody else the entry looks like an orphan.
    fn repair(&self, consuming: &Consuming<'_, 'a>) -> Result<(), RingError> {
        if !consuming.owner_died {
            return Ok(());
        }
        let gets = consuming.counts()?.gets;
        for entry in self.entries {
            if entry.is_live() && entry.number.load(Ordering::Relaxed) > gets {
                entry.number.store(0, Ordering::Relaxed); // Relaxed: under the consumers' lease.
            }
        }
        consuming.recover();
        Ok(())
    }

    fn claim(
        &self,
        consuming: &Consuming<'_, 'a>,
        front: Item<'a>,
        payload: &mut Vec<u8>,
    ) -> Result<Attempt<'a, Taken>, RingError> {
        let (index, entry) = match self.claim_entry()? {
            Some(claimed) => claimed,
            None => {
                let spot = self.spot();
                // Some of those that fill the table may be orphans.
                if let Some(taken) = self.adopt(payload)? {
                    return Ok(Attempt::Done(taken));
                }
                match self.claim_entry()? {
                    Some(claimed) => claimed,
                    // Who holds them all would wait for itself.
                    None if self
                        .entries
                        .iter()
                        .all(|entry| entry.lease.is_held() || entry.is_dead_letter()) =>
                    {
                        return Err(RingError::Deadlock);
                    }
                    None => return Ok(Attempt::NotYet(spot)),
                }
            }
        };
        let number = front.number();
        let start = payload.len();
        front.read(payload);
        let written = payload.get(start..).and_then(|bytes| self.write_payload(index, bytes));
        let Some(length) = written else {
            // A peer's length: what the queue's own puts allow fits.
            let _ = entry.lease.release();
            return Err(RingError::Corrupt);
        };
        entry.length.store(length, Ordering::Relaxed); // Relaxed, here and below: published by the number.
        entry.attempt.store(1, Ordering::Relaxed);
        // SYNC: Release -> `adopt`'s Acquire (T1).
        entry.number.store(number.wrapping_add(1), Ordering::Release);
        consuming.free(front, 0);
        Ok(Attempt::Done(Taken { entry: index, number, attempt: 1, tid: own_tid().unwrap_or(0) }))
    }

    /// A free entry, with its lease taken.
    fn claim_entry(&self) -> Result<Option<(usize, &'a TaskEntry)>, RingError> {
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.number.load(Ordering::Relaxed) != 0 {
                continue;
            }
            // SAFETY: the task that is returned keeps the memory mapped until it has released the lease.
            match unsafe { entry.lease.try_take() } {
                Ok(_) => {
                    entry.lease.recover();
                    return Ok(Some((index, entry)));
                }
                Err(super::AcquireError::WouldBlock) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Takes over a task whose holder died or gave it up.
    fn adopt(&self, payload: &mut Vec<u8>) -> Result<Option<Taken>, RingError> {
        // SYNC: Acquire <- `give_up`'s Release: the lease that was released for this hint is seen free.
        self.raw.given_up.swap(0, Ordering::Acquire);
        for (index, entry) in self.entries.iter().enumerate() {
            if !entry.is_live() || entry.lease.holder().is_some() {
                continue;
            }
            // SAFETY: as in `claim_entry`.
            match unsafe { entry.lease.try_take() } {
                Ok(_) => entry.lease.recover(),
                Err(super::AcquireError::WouldBlock) => continue,
                Err(error) => return Err(error.into()),
            }
            // SYNC: Acquire <- `claim`'s Release (T1).
            let number = entry.number.load(Ordering::Acquire);
            if number == 0 || !self.read_payload(index, entry, payload) {
                let _ = entry.lease.release();
                continue;
            }
            if self.is_to_be_buried(entry) {
                payload.clear();
                self.bury(entry, number);
                continue;
            }
            let attempt = entry.attempt.load(Ordering::Relaxed).saturating_add(1);
            entry.attempt.store(attempt, Ordering::Relaxed); // Relaxed: for whoever holds the lease next.
            let redeliveries = self.raw.redeliveries.load(Ordering::Relaxed).wrapping_add(1);
            self.raw.redeliveries.store(redeliveries, Ordering::Relaxed); // Relaxed: under the consumers' lease.
            self.raw.given_up.store(1, Ordering::Relaxed); // Relaxed: a hint: there may be more.
            let number = number.wrapping_sub(1);
            return Ok(Some(Taken { entry: index, number, attempt, tid: own_tid().unwrap_or(0) }));
        }
        Ok(None)
    }

    /// Whether the orphan was taken as often as it may be, and there is room for one more dead letter.
    fn is_to_be_buried(&self, entry: &TaskEntry) -> bool {
        // Relaxed: set before the queue was shared; the attempts are the lease holder's.
        let most = self.raw.max_attempts.load(Ordering::Relaxed);
        let exhausted = most != 0 && entry.attempt.load(Ordering::Relaxed) >= most;
        let dead = || self.entries.iter().filter(|entry| entry.is_dead_letter()).count();
        let room =
            || u32::try_from(dead()).is_ok_and(|dead| dead < self.raw.max_dead.load(Ordering::Relaxed));
        exhausted && room()
    }

    /// Makes a dead letter of an orphan whose lease the caller has taken.
    fn bury(&self, entry: &TaskEntry, number: u64) {
        // SYNC: Release -> `unfinished`'s Acquire of the consumers' lease; a plain store would do under it.
        entry.number.store(number | DEAD, Ordering::Release);
        let _ = entry.lease.release();
        // Killed before this, those who wait for it to be done see it when their slice ends.
        self.move_done();
    }

    /// The dead letters: a step for [`Ring::consume`].
    pub(crate) fn dead_letters(
        &self,
        consuming: &Consuming<'_, 'a>,
    ) -> Result<Attempt<'a, Vec<DeadLetter>>, RingError> {
        self.repair(consuming)?;
        self.bury_orphans()?;
        let letter = |(index, entry): (usize, &'a TaskEntry)| {
            let mut payload = Vec::new();
            let number = (entry.number.load(Ordering::Relaxed) & !DEAD).wrapping_sub(1);
            let whole = self.read_payload(index, entry, &mut payload);
            let attempts = entry.attempt.load(Ordering::Relaxed);
            whole.then_some(DeadLetter { number, attempts, payload }).ok_or(RingError::Corrupt)
        };
        let dead = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_dead_letter());
        let mut letters = dead.map(letter).collect::<Result<Vec<_>, _>>()?;
        letters.sort_by_key(|letter| letter.number);
        Ok(Attempt::Done(letters))
    }

    /// Frees the entry of the dead letter `number`, if there is one: a step for [`Ring::consume`].
    pub(crate) fn remove_dead_letter(
        &self,
        consuming: &Consuming<'_, 'a>,
        number: u64,
    ) -> Result<Attempt<'a, bool>, RingError> {
        self.repair(consuming)?;
        let of_that = number.wrapping_add(1) | DEAD;
        let found = self.entries.iter().find(|entry| entry.number.load(Ordering::Relaxed) == of_that);
        if let Some(entry) = found {
            entry.number.store(0, Ordering::Relaxed); // Relaxed: under the consumers' lease.
        }
        Ok(Attempt::Done(found.is_some()))
    }

    /// Makes dead letters of the orphans that nobody may take any more, for those who wait for them to be done.
    fn bury_orphans(&self) -> Result<(), RingError> {
        for entry in self.entries {
            if !entry.is_live() || entry.lease.holder().is_some() || !self.is_to_be_buried(entry) {
                continue;
            }
            // SAFETY: the caller borrows the handle that keeps the memory mapped; `bury` releases it.
            match unsafe { entry.lease.try_take() } {
                Ok(_) => entry.lease.recover(),
                Err(super::AcquireError::WouldBlock) => continue,
                Err(error) => return Err(error.into()),
            }
            self.bury(entry, entry.number.load(Ordering::Relaxed));
        }
        Ok(())
    }

    /// With the ring drained: the tasks of others may come back.
    fn wait_for_orphans(&self, payload: &mut Vec<u8>) -> Result<Attempt<'a, Taken>, RingError> {
        let spot = self.spot();
        if let Some(taken) = self.adopt(payload)? {
            return Ok(Attempt::Done(taken));
        }
        let live = || self.entries.iter().filter(|entry| entry.is_live());
        // Who holds one itself must not wait: it would wait for itself.
        if live().next().is_none() || live().any(|entry| entry.lease.is_held()) {
            return Err(RingError::Closed);
        }
        Ok(Attempt::NotYet(spot))
    }

    /// Finishes a task; false if the calling thread does not hold it (in a forked child).
    pub(crate) fn finish(&self, taken: Taken) -> bool {
        let Some(entry) = self.held(taken) else { return false };
        // SYNC: Release -> `adopt`'s Acquire: nothing moves; a plain store would do for the lease's holder.
        entry.number.store(0, Ordering::Release);
        let _ = entry.lease.release();
        self.move_done();
        true
    }

    /// Gives a task back, for somebody else.
    pub(crate) fn give_up(&self, taken: Taken) {
        let Some(entry) = self.held(taken) else { return };
        let _ = entry.lease.release();
        // SYNC: Release -> `adopt`'s Acquire: who sees the hint finds the lease released.
        self.raw.given_up.store(1, Ordering::Release);
        self.move_done();
        self.ring.nudge_consumers();
    }

    fn held(&self, taken: Taken) -> Option<&'a TaskEntry> {
        let is_holders = own_tid() == Some(taken.tid);
        self.entries.get(taken.entry).filter(|entry| is_holders && entry.lease.is_held())
    }

    /// One `task_done` for an item that was got and not taken; false if there were as many already as such gets.
    pub(crate) fn task_done(&self) -> Result<bool, RingError> {
        let dones = &self.raw.task_dones;
        let mut seen = dones.load(Ordering::Relaxed);
        while seen < self.ring.got()? {
            // Relaxed: a count; `move_done` orders it for who waits.
            match dones.compare_exchange(seen, seen.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.move_done();
                    return Ok(true);
                }
                Err(now) => seen = now,
            }
        }
        Ok(false)
    }

    /// Items put and not done: a step for [`Ring::consume`].
    pub(crate) fn unfinished(&self, consuming: &Consuming<'_, 'a>) -> Result<Attempt<'a, u64>, RingError> {
        self.repair(consuming)?;
        self.bury_orphans()?;
        // Under the consumers' lease nothing is got or taken. Puts are counted last: an empty ring then shows that there
        // was a moment at which everything was done.
        let dones = self.raw.task_dones.load(Ordering::Relaxed);
        let live = self.entries.iter().filter(|entry| entry.is_live()).count();
        let counts = consuming.counts()?;
        let queued = counts.puts.saturating_sub(counts.gets);
        let live = u64::try_from(live).unwrap_or(u64::MAX);
        Ok(Attempt::Done(queued.saturating_add(live).saturating_add(counts.got.saturating_sub(dones))))
    }

    /// Where to wait for the next task to be done or given up; to be taken before looking whether there is reason to.
    pub(crate) fn spot(&self) -> Spot<'a> {
        let word = &self.raw.done;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            // SYNC: Acquire <- `move_done`'s Release: what was done before is seen in the look that follows.
            match word.compare_exchange(seen, seen | WAITERS, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Spot { word: Word::from(word), expected: seen | WAITERS, tag: 0 },
                Err(now) => seen = now,
            }
        }
    }

    /// Waits at such a spot, at most for a slice.
    pub(crate) fn wait(spot: Spot<'_>, deadline: Option<Deadline>) {
        futex::wait(spot.word, spot.expected, slice::end_of_sleep(deadline));
    }

    fn move_done(&self) {
        let word = &self.raw.done;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let moved = (seen & !WAITERS).wrapping_add(2);
            // SYNC: Release -> `spot`'s Acquire: what was done is seen by who waits for the next.
            match word.compare_exchange(seen, moved, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if seen & WAITERS != 0 {
            futex::wake(word, futex::ALL);
        }
    }

    /// The words for the payload of entry `index`.
    fn payload_words(&self, index: usize) -> &'a [AtomicU64] {
        let stride = self.payloads.len().checked_div(self.entries.len()).unwrap_or(0);
        let start = stride.saturating_mul(index);
        self.payloads.get(start..start.saturating_add(stride)).unwrap_or(&[])
    }

    fn write_payload(&self, index: usize, bytes: &[u8]) -> Option<u32> {
        let words = self.payload_words(index);
        if bytes.len() > words.len().saturating_mul(8) {
            return None;
        }
        super::ring::write(words, bytes);
        u32::try_from(bytes.len()).ok()
    }

    fn read_payload(&self, index: usize, entry: &TaskEntry, payload: &mut Vec<u8>) -> bool {
        let words = self.payload_words(index);
        // Relaxed: ordered by the Acquire of the number (T1).
        let length = usize::try_from(entry.length.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if length > words.len().saturating_mul(8) {
            return false;
        }
        super::ring::read(words, length, payload);
        true
    }
}

#[cfg(all(test, not(loom)))]
#[allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::raw::{RawRing, RingShape, Wait};

    struct Owned {
        ring: RawRing,
        raw: RawTasks,
        entries: [TaskEntry; 2],
        words: Vec<AtomicU64>,
    }

    impl Owned {
        fn with_items(items: &[u8]) -> Self {
            let owned = Self {
                ring: RawRing::new(8),
                raw: RawTasks::default(),
                entries: Default::default(),
                words: (0..80).map(|_| AtomicU64::new(0)).collect(),
            };
            // SAFETY: the ring outlives the call.
            items.iter().for_each(|&item| unsafe { owned.tasks().ring.put(&[item], None) }.unwrap());
            owned
        }

        fn tasks(&self) -> Tasks<'_> {
            let (words, payloads) = self.words.split_at(64);
            let ring = self.ring.with_words(RingShape::varying(8, 8, 0).unwrap(), words).unwrap();
            Tasks { ring, raw: &self.raw, entries: &self.entries, payloads }
        }

        fn step<R>(
            &self,
            step: impl for<'a> Fn(
                &Tasks<'a>,
                &Consuming<'_, 'a>,
                &mut Vec<u8>,
            ) -> Result<Attempt<'a, R>, RingError>,
        ) -> Result<(R, Vec<u8>), RingError> {
            let (tasks, mut payload) = (self.tasks(), Vec::new());
            let orphaned = || tasks.seem_orphaned();
            // SAFETY: the ring outlives the call, and the thread's leases.
            let done =
                unsafe { tasks.ring.consume(Wait::Never, orphaned, |c| step(&tasks, c, &mut payload)) };
            done.map(|done| (done, payload))
        }

        fn take(&self) -> Result<(Taken, Vec<u8>), RingError> {
            self.step(|tasks, consuming, payload| tasks.take(consuming, payload))
        }

        fn get(&self) -> Result<Vec<u8>, RingError> {
            self.step(|tasks, consuming, payload| tasks.get(consuming, payload)).map(|(_, payload)| payload)
        }

        fn unfinished(&self) -> u64 {
            self.step(|tasks, consuming, _| tasks.unfinished(consuming)).unwrap().0
        }

        /// As if a thread had died that has written an entry for the item at the front, and not freed the item.
        fn claim_and_die(&self, number: u64, payload: u8) {
            let entry = &self.entries[0];
            self.tasks().write_payload(0, &[payload]).unwrap();
            entry.length.store(1, Ordering::Relaxed);
            entry.attempt.store(1, Ordering::Relaxed);
            entry.number.store(number.wrapping_add(1), Ordering::Relaxed);
            std::thread::scope(|scope| {
                // SAFETY: the memory outlives the thread, with which the lease ends.
                let dying = scope.spawn(|| unsafe { entry.lease.try_take() }.is_ok());
                assert!(dying.join().unwrap());
            });
            self.ring.let_a_consumer_die();
        }
    }

    #[test]
    fn an_item_of_an_aborted_claim_is_got_once() {
        let owned = Owned::with_items(&[7, 8]);
        owned.claim_and_die(0, 7);
        assert_eq!(owned.get(), Ok(vec![7]));
        // Not repaired before the get, the entry would look like a task that its holder left.
        let (taken, payload) = owned.take().unwrap();
        assert_eq!((payload, taken.number, taken.attempt), (vec![8], 1, 1));
        assert!(owned.tasks().finish(taken));
        assert_eq!(owned.tasks().task_done(), Ok(true));
        assert_eq!((owned.unfinished(), owned.take()), (0, Err(RingError::WouldBlock)));
    }

    #[test]
    fn an_item_of_an_aborted_claim_is_taken_for_the_first_time() {
        let owned = Owned::with_items(&[7]);
        owned.claim_and_die(0, 7);
        assert_eq!(owned.unfinished(), 1);
        let (taken, payload) = owned.take().unwrap();
        assert_eq!((payload, taken.number, taken.attempt), (vec![7], 0, 1));
        assert_eq!(owned.unfinished(), 1);
        assert!(owned.tasks().finish(taken) && !owned.tasks().finish(taken));
        assert_eq!(owned.unfinished(), 0);
    }

    #[test]
    fn an_orphan_is_taken_though_the_table_is_full_and_an_item_waits() {
        let owned = Owned::with_items(&[1, 2, 3]);
        std::thread::scope(|scope| {
            scope.spawn(|| [0, 1].map(|_| owned.take().unwrap())).join().unwrap();
        });
        let taken = [0, 1].map(|_| owned.take().unwrap());
        assert_eq!(taken.each_ref().map(|(taken, payload)| (taken.attempt, payload[0])), [(2, 1), (2, 2)]);
        assert_eq!(owned.take(), Err(RingError::Deadlock), "the table is full of the caller's own tasks");
        assert!(owned.tasks().finish(taken[0].0));
        assert_eq!(owned.take().unwrap().1, [3]);
    }

    #[test]
    fn a_take_that_does_not_look_for_orphans_takes_one_item() {
        let owned = Owned::with_items(&[1, 2]);
        let (first, _) = owned.take().unwrap();
        assert!(owned.tasks().finish(first));
        std::thread::scope(|scope| {
            scope.spawn(|| owned.take().unwrap()).join().unwrap();
        });
        assert_eq!(owned.unfinished(), 1);
        let (second, payload) = owned.take().unwrap();
        assert_eq!((payload, second.attempt), (vec![2], 2));
    }
}
