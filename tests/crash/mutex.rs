//! What a mutex under test must offer, and a pair of numbers under one: torn if the mutex is wrong.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use multiproc::raw::{Deadline, RawMutex};

use crate::page::Page;

/// Does what a process's first use of a lease does, which a victim must have behind it where its steps are to be the same
/// each time.
pub(crate) fn rehearse() {
    let mutex = RawMutex::new();
    // SAFETY: the mutex stays in place until it is unlocked, on the next line. One that can't be taken fails the scenario.
    let _ = unsafe { mutex.lock(None) };
    let _ = mutex.unlock();
    // The first look at the clock looks for it.
    std::hint::black_box(Deadline::now());
}

/// How a mutex was found by who wanted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The caller has it, and the last owner gave it back.
    Consistent,
    /// The caller has it, and an owner died with it.
    OwnerDied,
    /// Somebody else has it.
    Busy,
    /// The caller has it, but the pair is torn although no owner died.
    Torn,
    /// The mutex reported an error that nothing here explains.
    Broken,
}

impl Found {
    /// The value with this discriminant, as a witness reports it.
    pub(crate) fn from_code(code: u64) -> Found {
        let all = [Found::Consistent, Found::OwnerDied, Found::Busy, Found::Torn];
        all.into_iter().find(|found| found.code() == code).unwrap_or(Found::Broken)
    }

    /// The number for [`from_code`](Self::from_code).
    pub(crate) fn code(self) -> u64 {
        self as u64
    }
}

/// A robust process-shared mutex.
pub(crate) trait Mutex: Sized {
    /// One that is moved to its place before `set_up`.
    fn new() -> Self;

    /// Makes it ready for use, in its place.
    fn set_up(&self) -> Result<(), String> {
        Ok(())
    }

    /// Waits for it.
    fn lock(&self) -> Found;

    /// Takes it if it is free.
    fn try_lock(&self) -> Found;

    /// The owner declares the state under it consistent after [`Found::OwnerDied`].
    fn recover(&self);

    /// Gives it back.
    fn unlock(&self);

    /// How it is found after an owner gave it back.
    const GIVEN_BACK: Found = Found::Consistent;
}

/// Two numbers that are equal whenever the mutex is free.
pub(crate) struct Pair<M> {
    /// The mutex under test.
    pub(crate) mutex: M,
    /// A mutex that nobody waits for, for a process to use once before it is traced.
    rehearsal: M,
    first: AtomicU64,
    second: AtomicU64,
}

// The orderings below are Relaxed because it is the mutex under test that has to order these accesses.
impl<M: Mutex> Pair<M> {
    /// Zeros under an unlocked mutex, in shared memory.
    pub(crate) fn shared() -> Result<Page<Pair<M>>, String> {
        let (first, second) = (AtomicU64::new(0), AtomicU64::new(0));
        let page = Page::new(Pair { mutex: M::new(), rehearsal: M::new(), first, second })?;
        page.mutex.set_up()?;
        page.rehearsal.set_up()?;
        page.rehearse();
        Ok(page)
    }

    /// Does what a thread's first use of such a mutex does, elsewhere.
    pub(crate) fn rehearse(&self) {
        self.rehearsal.lock();
        self.rehearsal.unlock();
    }

    /// Takes the mutex and adds one to both numbers; says how it found the mutex and the pair.
    pub(crate) fn add(&self) -> Found {
        let found = self.add_first();
        self.add_second();
        found
    }

    /// The first half of [`add`](Self::add): leaves the mutex locked and the pair torn.
    pub(crate) fn add_first(&self) -> Found {
        let found = self.mend(self.mutex.lock());
        self.first.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The second half of [`add`](Self::add).
    pub(crate) fn add_second(&self) {
        self.second.fetch_add(1, Ordering::Relaxed);
        self.mutex.unlock();
    }

    /// The whole of [`add`](Self::add) if the mutex is free.
    pub(crate) fn try_add(&self) -> Found {
        let found = self.try_take();
        if found != Found::Busy {
            self.first.fetch_add(1, Ordering::Relaxed);
            self.add_second();
        }
        found
    }

    /// Takes the mutex if it is free.
    pub(crate) fn try_take(&self) -> Found {
        self.mend(self.mutex.try_lock())
    }

    /// Takes the mutex, and leaves the pair as it is.
    pub(crate) fn take_without_mending(&self) -> Found {
        self.mutex.lock()
    }

    /// What the owner does who was told that another died.
    pub(crate) fn mend_and_unlock(&self) {
        self.mend(Found::OwnerDied);
        self.mutex.unlock();
    }

    /// Both numbers, for when nobody adds.
    pub(crate) fn sums(&self) -> (u64, u64) {
        (self.first.load(Ordering::Relaxed), self.second.load(Ordering::Relaxed))
    }

    /// Finishes what a dead owner began.
    fn mend(&self, found: Found) -> Found {
        let (first, second) = self.sums();
        match found {
            Found::Consistent if first != second => return Found::Torn,
            Found::OwnerDied => {
                self.second.store(first, Ordering::Relaxed);
                self.mutex.recover();
            }
            _ => {}
        }
        found
    }
}
