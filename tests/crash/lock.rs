//! `RawMutex`: no death of a locker, unlocker or waiter stops the others.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.
#![allow(unsafe_code)]

use multiproc::raw::{AcquireError, Acquired, RawMutex};

use crate::case::{CONSISTENT, Case, Initially, OWNER_DIED, Survivors};
use crate::holes::{Fate, owner_at_its_wake, stopped_waiter, woken_waiter};
use crate::mutex::{Found, Mutex, Pair};
use crate::scenario::{Report, Scenario};

type Lock = Case<RawMutex>;

/// Before the victim takes the mutex and after it has given it back, or while it has it.
const BOTH: &[&str] = &[CONSISTENT, OWNER_DIED];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "lock::add", run: || Lock::new().test(BOTH) },
    Scenario { name: "lock::add_with_survivors_asleep", run: || behind(2, Case::new()).test(BOTH) },
    Scenario {
        name: "lock::first_add_of_a_process",
        run: || Lock { enter: |_| {}, ..Case::new() }.test(BOTH),
    },
    Scenario { name: "lock::try_add", run: || Lock { run: try_add, ..Case::new() }.test(BOTH) },
    Scenario {
        name: "lock::try_add_with_survivors_asleep",
        run: || behind(2, Lock { run: try_add, ..Case::new() }).test(BOTH),
    },
    Scenario {
        name: "lock::add_after_owner_died",
        run: || after(Initially::Orphaned, Case::new()).test(BOTH),
    },
    Scenario {
        name: "lock::add_after_owner_died_with_survivors_asleep",
        run: || after(Initially::Orphaned, behind(2, Case::new())).test(BOTH),
    },
    Scenario { name: "lock::unlock_without_recover_tells_the_next", run: unlock_without_recover },
    Scenario { name: "lock::recover", run: || Lock::recover(Survivors::AfterDeath).test(BOTH) },
    Scenario {
        name: "lock::recover_with_survivors_asleep",
        run: || Lock::recover(Survivors::AsleepBefore(2)).test(BOTH),
    },
    Scenario {
        name: "lock::add_after_waiter_died",
        run: || after(Initially::Deserted, Case::new()).test(BOTH),
    },
    Scenario {
        name: "lock::add_after_waiter_died_with_survivors_asleep",
        run: || after(Initially::Deserted, behind(2, Case::new())).test(BOTH),
    },
    Scenario { name: "lock::unlock_with_sleepers", run: || Lock::unlock(2).test(BOTH) },
    Scenario {
        name: "lock::unlock_with_sleepers_after_waiter_died",
        run: || after(Initially::Deserted, Case::unlock(2)).test(BOTH),
    },
    Scenario { name: "lock::contended", run: || Lock::contended(0).test(BOTH) },
    Scenario {
        name: "lock::contended_with_survivors_behind",
        run: || no_spin(Case::contended(2)).test(BOTH),
    },
    Scenario { name: "lock::stopped_waiter_holds_nobody_up", run: stopped_waiter::<RawMutex> },
    Scenario { name: "lock::s1_goes_on", run: || owner_at_its_wake::<RawMutex>(Fate::GoesOn) },
    Scenario { name: "lock::s2_goes_on", run: || woken_waiter::<RawMutex>(Fate::GoesOn) },
    Scenario {
        name: "lock::s1_at_every_instruction",
        run: || Lock { third: true, ..Case::unlock(2) }.test(BOTH),
    },
    Scenario {
        name: "lock::s1_at_every_instruction_after_waiter_died",
        run: || after(Initially::Deserted, Lock { third: true, ..Case::unlock(2) }).test(BOTH),
    },
    Scenario {
        name: "lock::s2_at_every_instruction",
        run: || no_spin(Lock { third: true, ..Case::contended(2) }).test(&[CONSISTENT]),
    },
];

fn try_add(pair: &Pair<RawMutex>) {
    pair.try_add();
}

fn after(initially: Initially, case: Lock) -> Lock {
    Lock { initially, ..case }
}

/// Every later owner hears of a death until one declares the state consistent.
fn unlock_without_recover() -> Result<Report, String> {
    let run = |pair: &Pair<RawMutex>| {
        Mutex::lock(&pair.mutex);
        Mutex::unlock(&pair.mutex);
    };
    let report = after(Initially::Orphaned, Lock { run, adds: 0, ..Case::new() }).test(&[OWNER_DIED])?;
    if report.count(CONSISTENT) == 0 { Ok(report) } else { Err(format!("a death is hidden: {report}")) }
}

/// The spin before a sleep is many kill points that are all alike; one scenario has it.
fn no_spin(case: Lock) -> Lock {
    after(Initially::HeldDeserted, case)
}

fn behind(count: usize, case: Lock) -> Lock {
    Lock { survivors: Survivors::Behind(count), ..case }
}

pub(crate) fn found(acquired: Result<Acquired, AcquireError>) -> Found {
    match acquired {
        Ok(Acquired::Consistent) => Found::Consistent,
        Ok(Acquired::OwnerDied) => Found::OwnerDied,
        Err(AcquireError::WouldBlock) => Found::Busy,
        Err(_) => Found::Broken,
    }
}

impl Mutex for RawMutex {
    fn new() -> Self {
        RawMutex::new()
    }

    fn set_up(&self) -> Result<(), String> {
        multiproc::testing::set_sleep_slice(None);
        Ok(())
    }

    fn lock(&self) -> Found {
        // SAFETY: the mutex lies in a page that stays mapped for as long as this process uses it.
        found(unsafe { RawMutex::lock(self, None) })
    }

    fn try_lock(&self) -> Found {
        // SAFETY: as in `lock`.
        found(unsafe { RawMutex::try_lock(self) })
    }

    fn recover(&self) {
        RawMutex::recover(self);
    }

    fn unlock(&self) {
        // A mutex that is not unlocked is a survivor that hangs.
        let _ = RawMutex::unlock(self);
    }
}
