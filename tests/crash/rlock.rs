//! `RawRLock`, taken twice by each who takes it: no death at any depth stops the others.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.
#![allow(unsafe_code)]

use multiproc::raw::{AcquireError, Acquired, RawRLock};

use crate::case::{CONSISTENT, Case, Initially, OWNER_DIED, Survivors};
use crate::holes::{Fate, owner_at_its_wake, woken_waiter};
use crate::lock::found;
use crate::mutex::{Found, Mutex};
use crate::scenario::Scenario;

type Nesting = Case<RawRLock>;

/// Before the victim takes the lock and after it has given it back, or while it has it.
const BOTH: &[&str] = &[CONSISTENT, OWNER_DIED];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "rlock::add", run: || Nesting::new().test(BOTH) },
    Scenario {
        name: "rlock::add_with_survivors_asleep",
        run: || Nesting { survivors: Survivors::Behind(2), ..Case::new() }.test(BOTH),
    },
    Scenario {
        name: "rlock::add_after_owner_died",
        run: || Nesting { initially: Initially::Orphaned, ..Case::new() }.test(BOTH),
    },
    Scenario { name: "rlock::unlock_with_sleepers", run: || Nesting::unlock(2).test(BOTH) },
    Scenario { name: "rlock::contended", run: || Nesting::contended(0).test(BOTH) },
    Scenario { name: "rlock::recover", run: || Nesting::recover(Survivors::AfterDeath).test(BOTH) },
    Scenario {
        name: "rlock::recover_with_survivors_asleep",
        run: || Nesting::recover(Survivors::AsleepBefore(2)).test(BOTH),
    },
    Scenario { name: "rlock::s1_goes_on", run: || owner_at_its_wake::<RawRLock>(Fate::GoesOn) },
    Scenario { name: "rlock::s2_goes_on", run: || woken_waiter::<RawRLock>(Fate::GoesOn) },
    Scenario {
        name: "rlock::s1_at_every_instruction",
        run: || Nesting { third: true, ..Case::unlock(2) }.test(BOTH),
    },
    Scenario {
        name: "rlock::s2_at_every_instruction",
        run: || Nesting { third: true, ..Case::contended(2) }.test(&[CONSISTENT]),
    },
];

impl Mutex for RawRLock {
    fn new() -> Self {
        RawRLock::new()
    }

    fn set_up(&self) -> Result<(), String> {
        multiproc::testing::set_sleep_slice(None);
        Ok(())
    }

    fn lock(&self) -> Found {
        // SAFETY: the lock lies in a page that stays mapped for as long as this process uses it.
        nest(self, unsafe { RawRLock::lock(self, None) })
    }

    fn try_lock(&self) -> Found {
        // SAFETY: as in `lock`.
        nest(self, unsafe { RawRLock::try_lock(self) })
    }

    fn recover(&self) {
        RawRLock::recover(self);
    }

    fn unlock(&self) {
        // A lock that is not unlocked is a survivor that hangs.
        let _ = RawRLock::unlock(self);
        let _ = RawRLock::unlock(self);
    }
}

/// Takes the lock once more, if the first time it was taken.
fn nest(lock: &RawRLock, first: Result<Acquired, AcquireError>) -> Found {
    if first.is_err() {
        return found(first);
    }
    // SAFETY: as in `lock`.
    match unsafe { RawRLock::lock(lock, None) } {
        second if second == first => found(first),
        _ => Found::Broken,
    }
}
