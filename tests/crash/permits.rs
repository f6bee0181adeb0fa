//! `RawPermits` with one permit, used as a mutex: no death of whoever takes, waits for or gives back the permit stops the
//! others.
//!
//! The sleep slice is on for the survivors: nobody is woken when a holder dies. It is off in the victim, whose instructions
//! have to repeat. Permits tell nobody of a death; so everybody here mends as if they did, and what is tested is that
//! no one hangs, that no addition is lost or doubled, and that the permit is there at the end.
#![allow(unsafe_code)]

use std::time::Duration;

use multiproc::raw::{Lease, RawPermits};
use multiproc::testing::set_sleep_slice;

use crate::case::{Case, Initially, OWNER_DIED};
use crate::holes::{Fate, owner_at_its_wake, woken_waiter};
use crate::mutex::{Found, Mutex, Pair};
use crate::scenario::Scenario;

type One = RawPermits<[Lease; 1]>;
type Single = Case<One>;

/// Shorter than a program's: there are thousands of deaths.
pub(crate) const SLICE: Duration = Duration::from_millis(5);

const FOUND: &[&str] = &[OWNER_DIED];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "permits::add", run: || Single::new().test(FOUND) },
    Scenario {
        name: "permits::add_after_holder_died",
        run: || Single { initially: Initially::Orphaned, ..Case::new() }.test(FOUND),
    },
    Scenario {
        name: "permits::add_after_waiter_died",
        run: || Single { initially: Initially::Deserted, ..Case::new() }.test(FOUND),
    },
    Scenario { name: "permits::release_with_sleepers", run: || Single::unlock(2).test(FOUND) },
    Scenario {
        name: "permits::contended",
        run: || Single { enter: unsliced, ..Case::contended(0) }.test(FOUND),
    },
    Scenario { name: "permits::s1_goes_on", run: || owner_at_its_wake::<One>(Fate::GoesOn) },
    Scenario { name: "permits::s2_goes_on", run: || woken_waiter::<One>(Fate::GoesOn) },
    Scenario {
        name: "permits::s1_at_every_instruction",
        run: || Single { third: true, ..Case::unlock(2) }.test(FOUND),
    },
    Scenario {
        name: "permits::s2_at_every_instruction",
        run: || Single { enter: unsliced, third: true, ..Case::contended(2) }.test(FOUND),
    },
];

/// What the victim does first where it will sleep.
pub(crate) fn unsliced<M: Mutex>(pair: &Pair<M>) {
    pair.rehearse();
    set_sleep_slice(None);
}

impl Mutex for One {
    fn new() -> Self {
        RawPermits::<[Lease; 1]>::new()
    }

    fn set_up(&self) -> Result<(), String> {
        set_sleep_slice(Some(SLICE));
        Ok(())
    }

    fn lock(&self) -> Found {
        // SAFETY: the permits lie in a page that stays mapped for as long as this process uses them.
        if unsafe { self.acquire(None) } == Ok(0) { Found::OwnerDied } else { Found::Broken }
    }

    fn try_lock(&self) -> Found {
        // SAFETY: as in `lock`.
        if unsafe { self.try_acquire() } == Ok(0) { Found::OwnerDied } else { Found::Busy }
    }

    fn recover(&self) {}

    const GIVEN_BACK: Found = Found::OwnerDied;

    fn unlock(&self) {
        // A permit that is not given back is a survivor that hangs.
        let _ = self.release(0);
    }
}
