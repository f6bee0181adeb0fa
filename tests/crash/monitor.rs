//! What a condition under test must offer: `RawCondvar` with a `RawMutex`, and `Condition` with its guards.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use multiproc::raw::{Acquired, Deadline, RawCondvar, RawMutex};
use multiproc::testing::set_sleep_slice;
use multiproc::{Condition, ConditionGuard, ConditionOptions, LockError, Segment, WaitError};

use crate::handle;
use crate::mutex::rehearse;
use crate::page::Page;
use crate::witness::{BOUND, Holder, Witness};

/// A condition variable and its lock, under test.
pub(crate) trait Monitor: Sized {
    fn make() -> Result<Self, String>;

    /// Takes the lock, whoever died with it, or says why not. Nothing under it is ever half done.
    fn lock(&self, timeout: Option<Duration>) -> Result<(), String>;
    /// Takes the lock if it is free.
    fn try_lock(&self) -> bool;
    fn unlock(&self);
    /// Under the lock: 1 if it was notified, 0 if not.
    fn wait(&self, timeout: Option<Duration>) -> u64;
    /// Under the lock.
    fn notify(&self, count: usize) -> usize;
    /// Under the lock, which is released then.
    fn notify_and_unlock(&self, count: usize) -> usize {
        let notified = self.notify(count);
        self.unlock();
        notified
    }
    /// Lease and state of each entry of the table.
    fn entries(&self) -> [(u32, u32); WAITERS];
}

/// The most that wait.
const WAITERS: usize = 4;

/// An entry of the table, see `raw/waiters.rs`: its bytes, where its state lies, and what that and the lease mean.
const ENTRY: usize = 80;
const STATE: usize = 40;
const ASLEEP: u32 = 1 << 31;
const NOTIFIED: u32 = 1 << 30;
const WAITING: u32 = 1 << 29;
const TID: u32 = (1 << 30) - 1;

/// Whether a notification is in this state, woken or owed.
fn is_notified(state: u32) -> bool {
    let is_owed = state & TID != 0 && state & WAITING == 0;
    state & (ASLEEP | WAITING) != 0 && (state & NOTIFIED != 0 || is_owed)
}

/// A condition variable and a lock in shared memory.
#[repr(C)]
pub(crate) struct Raw {
    mutex: RawMutex,
    condvar: RawCondvar<WAITERS>,
}

/// A condition, and whether the victim's wait is over.
pub(crate) struct Shared<C> {
    pub(crate) condition: C,
    /// Changed under the lock.
    pub(crate) waited: AtomicU32,
}

impl<C: Monitor> Shared<C> {
    pub(crate) fn new(slice: Option<Duration>) -> Result<Page<Self>, String> {
        set_sleep_slice(slice);
        rehearse();
        Page::new(Shared { condition: C::make()?, waited: AtomicU32::new(0) })
    }

    /// A lock that can't be taken fails the scenario: nobody can wait or notify.
    pub(crate) fn lock(&self) {
        let _ = self.condition.lock(None);
    }

    pub(crate) fn unlock(&self) {
        self.condition.unlock();
    }

    pub(crate) fn give_up_at_once(&self) {
        self.condition.wait(Some(Duration::ZERO));
    }

    pub(crate) fn notify(&self, count: usize) -> u64 {
        self.lock();
        let notified = self.condition.notify(count);
        self.unlock();
        notified as u64
    }

    /// How many notifications lie in the table.
    pub(crate) fn notified(&self) -> usize {
        self.condition.entries().iter().filter(|(_, state)| is_notified(*state)).count()
    }

    /// How many wait, alive and not notified.
    pub(crate) fn waiting(&self) -> usize {
        let waits = |(lease, state): &&(u32, u32)| lease & TID != 0 && state & !ASLEEP == WAITING;
        self.condition.entries().iter().filter(waits).count()
    }

    /// A process that waits for a notification.
    pub(crate) fn waiter(&self) -> Result<Witness, String> {
        let waiter = Witness::spawn(|| {
            self.lock();
            let notified = self.condition.wait(None);
            self.unlock();
            notified
        })?;
        waiter.wait_until_asleep()?;
        Ok(waiter)
    }

    /// The test itself notifies, and says how many were notified.
    pub(crate) fn notify_within_bound(&self, count: usize) -> Result<u64, String> {
        self.condition.lock(Some(BOUND)).map_err(|error| format!("no lock for the test: {error}"))?;
        let notified = self.condition.notify(count);
        self.unlock();
        Ok(notified as u64)
    }

    /// A process notifies one and wakes it when the lock is free.
    pub(crate) fn notify_and_unlock_within_bound(&self) -> Result<(), String> {
        let notifier = Witness::spawn(|| {
            self.lock();
            self.condition.notify_and_unlock(1) as u64
        })?;
        match notifier.finish_within(BOUND)? {
            1 => Ok(()),
            other => Err(format!("{other} notified")),
        }
    }

    /// A process that has the lock and has notified one.
    pub(crate) fn notifier(&self) -> Result<Holder, String> {
        let notify = || {
            self.lock();
            self.condition.notify(1) as u64
        };
        let notifier = Holder::spawn(notify, || self.unlock())?;
        if notifier.acquired == 1 { Ok(notifier) } else { Err("nobody to notify".to_owned()) }
    }

    /// A process that has the lock, if it is free.
    pub(crate) fn third(&self) -> Result<Option<Holder>, String> {
        let third = Holder::spawn(|| self.condition.try_lock().into(), || self.unlock())?;
        Ok(Some(third).filter(|third| third.acquired == 1))
    }

    /// Notifies all of `waiters`, who wait and are all who do.
    pub(crate) fn finish_all(&self, waiters: Vec<Witness>) -> Result<(), String> {
        let notified = self.notify_within_bound(usize::MAX)?;
        if notified != waiters.len() as u64 {
            return Err(format!("{notified} notified, but {} wait", waiters.len()));
        }
        waiters.into_iter().try_for_each(goes_on)
    }

    /// The same, and sees that a wait and a notification work.
    pub(crate) fn finish(&self, waiters: Vec<Witness>) -> Result<(), String> {
        self.finish_all(waiters)?;
        let last = self.waiter()?;
        if self.notify_within_bound(2)? != 1 {
            return Err("one waits, but not one is notified".to_owned());
        }
        goes_on(last)
    }
}

/// The waiter must end because of a notification.
pub(crate) fn goes_on(waiter: Witness) -> Result<(), String> {
    match waiter.finish_within(BOUND)? {
        1 => Ok(()),
        other => Err(format!("a waiter ended with {other}")),
    }
}

impl Monitor for Raw {
    fn make() -> Result<Self, String> {
        Ok(Raw { mutex: RawMutex::new(), condvar: RawCondvar::new() })
    }

    fn lock(&self, timeout: Option<Duration>) -> Result<(), String> {
        // SAFETY: the lock lies in a page that stays mapped for as long as this process uses it.
        let acquired = unsafe { self.mutex.lock(timeout.and_then(Deadline::after)) };
        if acquired.map_err(|error| error.to_string())? == Acquired::OwnerDied {
            self.mutex.recover();
        }
        Ok(())
    }

    fn try_lock(&self) -> bool {
        // SAFETY: as in `lock`.
        let acquired = unsafe { self.mutex.try_lock() };
        if acquired == Ok(Acquired::OwnerDied) {
            self.mutex.recover();
        }
        acquired.is_ok()
    }

    fn unlock(&self) {
        let _ = self.mutex.unlock();
    }

    fn wait(&self, timeout: Option<Duration>) -> u64 {
        // SAFETY: as in `lock`.
        match unsafe { self.condvar.wait(&self.mutex, timeout.and_then(Deadline::after)) } {
            Ok((Acquired::OwnerDied, notified)) => {
                self.mutex.recover();
                notified.into()
            }
            Ok((Acquired::Consistent, notified)) => notified.into(),
            Err(_) => u64::MAX,
        }
    }

    fn notify(&self, count: usize) -> usize {
        self.condvar.notify(count)
    }

    fn notify_and_unlock(&self, count: usize) -> usize {
        self.condvar.notify_and_unlock(&self.mutex, count).unwrap_or(usize::MAX)
    }

    fn entries(&self) -> [(u32, u32); WAITERS] {
        let table = std::ptr::from_ref(&self.condvar).cast::<u8>();
        std::array::from_fn(|index| {
            let word = |offset| {
                // SAFETY: the entries are 80 bytes each, as `raw/waiters.rs` asserts, and 4 of them follow 8 bytes.
                let word = unsafe { table.add(8 + index * ENTRY + offset) };
                // SAFETY: it is an aligned atomic word.
                unsafe { AtomicU32::from_ptr(word.cast_mut().cast()) }.load(Ordering::Acquire)
            };
            (word(0), word(STATE))
        })
    }
}

/// A condition in a segment of its own, with its own lock, which everybody takes twice.
pub(crate) struct Handle {
    condition: handle::Handle<Condition>,
    /// The segment's memory, and where the table lies in it.
    memory: File,
    table: u64,
}

thread_local! {
    /// The guards of this process: the outer one, and the one that waits and notifies.
    static GUARDS: Cell<Option<ManuallyDrop<Guards>>> = const { Cell::new(None) };
}

type Guards = (ConditionGuard<'static>, ConditionGuard<'static>);

impl Handle {
    fn hold(
        &self,
        first: Result<ConditionGuard<'static>, LockError<ConditionGuard<'static>>>,
    ) -> Result<(), String> {
        let second = |first| Ok((first, self.condition.get().lock()?));
        let guards = first.or_else(LockError::recover).and_then(second).map_err(|error| error.to_string())?;
        GUARDS.set(Some(ManuallyDrop::new(guards)));
        Ok(())
    }
}

impl Monitor for Handle {
    fn make() -> Result<Self, String> {
        let segment =
            Segment::options().size(4096).names(1).anonymous().map_err(|error| error.to_string())?;
        let options = ConditionOptions::new().max_waiters(WAITERS);
        let condition = handle::Handle::of(options.create_in(&segment, "condition"));
        let memory =
            segment.descriptor().and_then(|fd| fd.try_clone_to_owned().ok()).ok_or("no descriptor")?;
        let memory = File::from(memory);
        let word = |at| {
            let mut word = [0; 8];
            memory.read_exact_at(&mut word, at).map_err(|error| error.to_string())?;
            Ok::<_, String>(u64::from_ne_bytes(word))
        };
        // The head of the directory's only chain, and the distance of the object from its header: see `tests/format.rs`.
        let header = word(192)?;
        let table = header + word(header + 32)? + 48;
        Ok(Handle { condition, memory, table })
    }

    fn lock(&self, timeout: Option<Duration>) -> Result<(), String> {
        let condition = self.condition.get();
        self.hold(timeout.map_or_else(|| condition.lock(), |timeout| condition.lock_timeout(timeout)))
    }

    fn try_lock(&self) -> bool {
        self.hold(self.condition.get().try_lock()).is_ok()
    }

    fn unlock(&self) {
        if let Some((outer, inner)) = GUARDS.take().map(ManuallyDrop::into_inner) {
            drop(inner);
            drop(outer);
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> u64 {
        let Some((outer, inner)) = GUARDS.take().map(ManuallyDrop::into_inner) else { return u64::MAX };
        let waited = match timeout {
            Some(timeout) => inner.wait_timeout(timeout).or_else(WaitError::recover).ok(),
            None => inner.wait().or_else(WaitError::recover).ok().map(|inner| (inner, true)),
        };
        // Else the survivor has failed, and its other guard means nothing.
        let Some((inner, notified)) = waited else { return u64::MAX };
        GUARDS.set(Some(ManuallyDrop::new((outer, inner))));
        notified.into()
    }

    fn notify(&self, count: usize) -> usize {
        let Some(guards) = GUARDS.take() else { return usize::MAX };
        let notified = match count {
            1 => guards.1.notify_one().into(),
            usize::MAX => guards.1.notify_all(),
            count => guards.1.notify(count),
        };
        GUARDS.set(Some(guards));
        notified
    }

    fn entries(&self) -> [(u32, u32); WAITERS] {
        let mut table = [0; WAITERS * ENTRY];
        self.memory.read_exact_at(&mut table, self.table).expect("the segment's bytes");
        let word = |at| u32::from_ne_bytes(std::array::from_fn(|byte| table[at + byte]));
        std::array::from_fn(|index| (word(index * ENTRY), word(index * ENTRY + STATE)))
    }
}
