//! `Lock`, `RLock` and `Permits` by their handles and guards: the scenarios of the raw primitives, where the guards are what
//! is taken, carried about and dropped.
//!
//! The sleep slice is off, but for the survivors of `Permits`, as in `permits.rs`.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::time::Duration;

use multiproc::{Lock, LockError, LockGuard, Permit, PermitError, Permits, RLock, RLockGuard};

use crate::case::{CONSISTENT, Case, Initially, OWNER_DIED, Survivors};
use crate::mutex::{Found, Mutex};
use crate::permits::{SLICE, unsliced};
use crate::scenario::Scenario;

type Locks = Case<Handle<Lock>>;
type RLocks = Case<Handle<RLock>>;
type Single = Case<Handle<Permits>>;

const BOTH: &[&str] = &[CONSISTENT, OWNER_DIED];
/// Permits tell nobody of a death, and everybody mends.
const FOUND: &[&str] = &[OWNER_DIED];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "handle::lock_add_with_survivors_asleep",
        run: || Locks { survivors: Survivors::Behind(2), ..Case::new() }.test(BOTH),
    },
    Scenario {
        name: "handle::lock_unlock_with_sleepers",
        run: || Locks { third: true, ..Case::unlock(2) }.test(BOTH),
    },
    Scenario {
        name: "handle::lock_contended",
        run: || Locks { initially: Initially::HeldDeserted, ..Case::contended(1) }.test(BOTH),
    },
    Scenario {
        name: "handle::lock_recover_with_survivors_asleep",
        run: || Locks::recover(Survivors::AsleepBefore(2)).test(BOTH),
    },
    Scenario {
        name: "handle::rlock_add_with_survivors_asleep",
        run: || RLocks { survivors: Survivors::Behind(2), ..Case::new() }.test(BOTH),
    },
    Scenario {
        name: "handle::rlock_add_after_owner_died",
        run: || RLocks { initially: Initially::Orphaned, ..Case::new() }.test(BOTH),
    },
    Scenario {
        name: "handle::rlock_unlock_with_sleepers",
        run: || RLocks { third: true, ..Case::unlock(2) }.test(BOTH),
    },
    Scenario {
        name: "handle::rlock_contended",
        run: || RLocks { initially: Initially::HeldDeserted, ..Case::contended(1) }.test(BOTH),
    },
    Scenario {
        name: "handle::rlock_recover_with_survivors_asleep",
        run: || RLocks::recover(Survivors::AsleepBefore(2)).test(BOTH),
    },
    Scenario {
        name: "handle::permit_add_with_survivors_asleep",
        run: || Single { survivors: Survivors::Behind(2), ..Case::new() }.test(FOUND),
    },
    Scenario {
        name: "handle::permit_add_after_holder_died",
        run: || Single { initially: Initially::Orphaned, ..Case::new() }.test(FOUND),
    },
    Scenario {
        name: "handle::permit_release_with_sleepers",
        run: || Single { third: true, ..Case::unlock(2) }.test(FOUND),
    },
    Scenario {
        name: "handle::permit_contended",
        run: || Single { enter: unsliced, third: true, ..Case::contended(2) }.test(FOUND),
    },
];

/// A handle that its guards may borrow for as long as a process of a scenario lives.
pub(crate) struct Handle<H>(NonNull<H>);

impl<H> Handle<H> {
    pub(crate) fn of(made: multiproc::Result<H>) -> Self {
        Handle(NonNull::from(Box::leak(Box::new(made.expect("memory for a handle")))))
    }

    pub(crate) fn get(&self) -> &'static H {
        // SAFETY: `of` leaked it; only the process of the tests frees it, in `drop`, and that process keeps no guard.
        unsafe { self.0.as_ref() }
    }
}

impl<H> Drop for Handle<H> {
    fn drop(&mut self) {
        // SAFETY: it is the box that `of` leaked.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// What a process has taken.
enum Guard {
    Lock(LockGuard<'static>),
    /// Taken twice, and given back from the inner to the outer.
    RLock {
        _inner: RLockGuard<'static>,
        outer: RLockGuard<'static>,
    },
    Permit {
        _permit: Permit<'static>,
    },
}

thread_local! {
    /// The guard of this process, between two calls of its [`Mutex`].
    static HELD: Cell<Option<ManuallyDrop<Guard>>> = const { Cell::new(None) };
}

/// A handle with guards. What is taken is `None` where that fails.
trait Guarded: Sized + 'static {
    fn make() -> multiproc::Result<Self>;
    fn take(&'static self) -> (Found, Option<Guard>);
    fn try_take(&'static self) -> (Found, Option<Guard>);

    /// For those who may have to notice a death.
    const SLICE: Option<Duration> = None;
    const GIVEN_BACK: Found = Found::Consistent;
}

impl<H: Guarded> Mutex for Handle<H> {
    fn new() -> Self {
        Self::of(H::make())
    }

    fn set_up(&self) -> Result<(), String> {
        multiproc::testing::set_sleep_slice(H::SLICE);
        Ok(())
    }

    fn lock(&self) -> Found {
        hold(self.get().take())
    }

    fn try_lock(&self) -> Found {
        hold(self.get().try_take())
    }

    fn recover(&self) {
        let recovered = match HELD.take().map(ManuallyDrop::into_inner) {
            Some(Guard::Lock(guard)) => LockError::OwnerDied(guard).recover().ok().map(Guard::Lock),
            Some(Guard::RLock { _inner, outer }) => {
                let outer = LockError::OwnerDied(outer).recover().ok();
                outer.map(|outer| Guard::RLock { _inner, outer })
            }
            other => other,
        };
        HELD.set(recovered.map(ManuallyDrop::new));
    }

    fn unlock(&self) {
        drop(HELD.take().map(ManuallyDrop::into_inner));
    }

    const GIVEN_BACK: Found = H::GIVEN_BACK;
}

fn hold((found, guard): (Found, Option<Guard>)) -> Found {
    HELD.set(guard.map(ManuallyDrop::new));
    found
}

fn sort<G>(taken: Result<G, LockError<G>>) -> (Found, Option<G>) {
    match taken {
        Ok(guard) => (Found::Consistent, Some(guard)),
        Err(LockError::OwnerDied(guard)) => (Found::OwnerDied, Some(guard)),
        Err(LockError::WouldBlock) => (Found::Busy, None),
        Err(_) => (Found::Broken, None),
    }
}

impl Guarded for Lock {
    fn make() -> multiproc::Result<Self> {
        Lock::new()
    }

    fn take(&'static self) -> (Found, Option<Guard>) {
        let (found, guard) = sort(self.lock());
        (found, guard.map(Guard::Lock))
    }

    fn try_take(&'static self) -> (Found, Option<Guard>) {
        let (found, guard) = sort(self.try_lock());
        (found, guard.map(Guard::Lock))
    }
}

impl Guarded for RLock {
    fn make() -> multiproc::Result<Self> {
        RLock::new()
    }

    fn take(&'static self) -> (Found, Option<Guard>) {
        nest(self, sort(self.lock()))
    }

    fn try_take(&'static self) -> (Found, Option<Guard>) {
        nest(self, sort(self.try_lock()))
    }
}

/// Takes the lock once more, if the first time it was taken.
fn nest(lock: &'static RLock, first: (Found, Option<RLockGuard<'static>>)) -> (Found, Option<Guard>) {
    let (found, Some(outer)) = first else { return (first.0, None) };
    match sort(lock.lock()) {
        (again, Some(inner)) if again == found => (found, Some(Guard::RLock { _inner: inner, outer })),
        _ => (Found::Broken, None),
    }
}

impl Guarded for Permits {
    fn make() -> multiproc::Result<Self> {
        Permits::new(1)
    }

    fn take(&'static self) -> (Found, Option<Guard>) {
        permit(self.acquire())
    }

    fn try_take(&'static self) -> (Found, Option<Guard>) {
        permit(self.try_acquire())
    }

    const SLICE: Option<Duration> = Some(SLICE);
    const GIVEN_BACK: Found = Found::OwnerDied;
}

fn permit(taken: Result<Permit<'static>, PermitError>) -> (Found, Option<Guard>) {
    match taken {
        Ok(permit) => (Found::OwnerDied, Some(Guard::Permit { _permit: permit })),
        Err(PermitError::WouldBlock) => (Found::Busy, None),
        Err(_) => (Found::Broken, None),
    }
}
