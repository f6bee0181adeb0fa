//! The pthread robust mutex: what a sound harness finds in a known lock, and the negative twin of `lock.rs`.
//!
//! This mutex loses a wake-up in S1 and S2 (see `holes.rs`). These scenarios pass if a survivor hangs, and so prove
//! that the same constructions would show such a loss in a mutex of this crate.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crate::case::{CONSISTENT, Case, HANG, OWNER_DIED, Survivors};
use crate::holes::{Fate, owner_at_its_wake, woken_waiter};
use crate::mutex::{Found, Mutex};
use crate::scenario::Scenario;
use crate::tracer::Mode;

type Pthread = Case<RobustMutex>;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "pthread::add", run: || Pthread::new().test(&[CONSISTENT, OWNER_DIED]) },
    Scenario {
        name: "pthread::add_by_single_steps",
        run: || Pthread::new().test_by(Mode::Step, &[CONSISTENT, OWNER_DIED]),
    },
    Scenario {
        name: "pthread::add_with_survivors_asleep",
        run: || {
            let case = Pthread { survivors: Survivors::Behind(1), ..Case::new() };
            case.test(&[CONSISTENT, OWNER_DIED])
        },
    },
    Scenario {
        name: "pthread::unlock_with_sleeper",
        run: || Pthread::unlock(1).test(&[CONSISTENT, OWNER_DIED]),
    },
    Scenario {
        name: "pthread::lock_contended",
        run: || Pthread::contended(0).test(&[CONSISTENT, OWNER_DIED]),
    },
    Scenario { name: "pthread::s1_hangs", run: || owner_at_its_wake::<RobustMutex>(Fate::Hangs) },
    Scenario { name: "pthread::s2_hangs", run: || woken_waiter::<RobustMutex>(Fate::Hangs) },
    Scenario {
        name: "pthread::s1_is_found_at_every_instruction",
        run: || Pthread { third: true, negative_twin: true, ..Case::unlock(1) }.test(&[HANG, CONSISTENT]),
    },
    Scenario {
        name: "pthread::s2_is_found_at_every_instruction",
        run: || Pthread { third: true, negative_twin: true, ..Case::contended(1) }.test(&[HANG, CONSISTENT]),
    },
];

/// A process-shared robust pthread mutex.
struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

impl RobustMutex {
    fn found(error: libc::c_int) -> Found {
        match error {
            0 => Found::Consistent,
            libc::EOWNERDEAD => Found::OwnerDied,
            libc::EBUSY => Found::Busy,
            _ => Found::Broken,
        }
    }
}

impl Mutex for RobustMutex {
    fn new() -> Self {
        RobustMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))
    }

    fn set_up(&self) -> Result<(), String> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` is room for the structure that the call initialises.
        let mut errors = unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: the attributes are initialised.
        errors |= unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: the attributes are initialised.
        errors |= unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: nobody uses the mutex yet, and it stays where it is.
        errors |= unsafe { libc::pthread_mutex_init(self.0.get(), attributes) };
        if errors == 0 { Ok(()) } else { Err("pthread_mutex_init failed".to_owned()) }
    }

    fn lock(&self) -> Found {
        // SAFETY: `set_up` initialised the mutex, and it stays where it is.
        Self::found(unsafe { libc::pthread_mutex_lock(self.0.get()) })
    }

    fn try_lock(&self) -> Found {
        // SAFETY: as in `lock`.
        Self::found(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    fn recover(&self) {
        // SAFETY: as in `lock`; a thread that is not the owner gets an error.
        unsafe { libc::pthread_mutex_consistent(self.0.get()) };
    }

    fn unlock(&self) {
        // SAFETY: as in `lock`; a thread that is not the owner gets an error.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}
