//! The pthread robust mutex in shared memory, killed at each instruction: what a sound harness finds in a known lock.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::witness::{BOUND, Holder, Witness};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "pthread::killed_in_lock_unlock", run: || lock_unlock(Mode::Replay) },
    Scenario { name: "pthread::killed_in_lock_unlock_single_steps", run: || lock_unlock(Mode::Step) },
    Scenario { name: "pthread::killed_in_lock_unlock_survivor_asleep", run: survivor_asleep },
    Scenario { name: "pthread::killed_in_lock_asleep", run: asleep_in_lock },
];

/// A process-shared robust mutex.
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

/// What `RobustMutex::lock` returns when the last owner lives, or unlocked before it died.
pub(crate) const CONSISTENT: u64 = 0;
/// The last owner died with the lock.
pub(crate) const OWNER_DIED: u64 = 1;
/// Somebody else has the lock.
pub(crate) const BUSY: u64 = 2;
/// An error that is not expected of a mutex.
const BROKEN: u64 = 3;

impl RobustMutex {
    /// An unlocked mutex in shared memory.
    pub(crate) fn shared() -> Result<Page<RobustMutex>, String> {
        let page = Page::new(RobustMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)))?;
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` is room for the structure that the call initialises.
        let mut errors = unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: the attributes are initialised.
        errors |= unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: the attributes are initialised.
        errors |= unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: nobody uses the mutex yet, and it stays where it is.
        errors |= unsafe { libc::pthread_mutex_init(page.0.get(), attributes) };
        if errors == 0 { Ok(page) } else { Err("pthread_mutex_init failed".to_owned()) }
    }

    /// Takes the lock, and declares the state consistent.
    pub(crate) fn lock(&self) -> u64 {
        // SAFETY: `shared` initialised the mutex, and it stays where it is.
        self.locked(unsafe { libc::pthread_mutex_lock(self.0.get()) })
    }

    /// Takes the lock if it is free, and declares the state consistent.
    pub(crate) fn try_lock(&self) -> u64 {
        // SAFETY: as in `lock`.
        self.locked(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    pub(crate) fn unlock(&self) {
        // SAFETY: as in `lock`; a thread that is not the owner gets an error.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }

    /// Takes the lock and gives it back.
    pub(crate) fn pass(&self) -> u64 {
        let how = self.lock();
        self.unlock();
        how
    }

    fn locked(&self, error: libc::c_int) -> u64 {
        match error {
            0 => CONSISTENT,
            libc::EOWNERDEAD => {
                // SAFETY: this thread has just become the owner of an inconsistent mutex.
                unsafe { libc::pthread_mutex_consistent(self.0.get()) };
                OWNER_DIED
            }
            libc::EBUSY => BUSY,
            _ => BROKEN,
        }
    }
}

/// The class of a death, from how the next owner found the lock.
fn class(found: u64) -> Result<&'static str, String> {
    match found {
        CONSISTENT => Ok("lock free"),
        OWNER_DIED => Ok("lock held by victim"),
        found => Err(format!("survivor's lock returned {found}")),
    }
}

/// Lock and unlock, with a survivor that comes after the death.
struct LockUnlock;

impl Operation for LockUnlock {
    type State = Page<RobustMutex>;

    fn prepare(&self) -> Result<Self::State, String> {
        RobustMutex::shared()
    }

    fn run(&self, mutex: &Self::State) {
        mutex.pass();
    }

    fn verify(&self, mutex: Self::State, _: &Kill) -> Result<&'static str, String> {
        class(Witness::spawn(|| mutex.pass())?.finish_within(BOUND)?)
    }
}

fn lock_unlock(mode: Mode) -> Result<Report, String> {
    kill_at_every_instruction(&LockUnlock, mode)?.demand(&["lock free", "lock held by victim"])
}

/// Lock and unlock, with a survivor that sleeps in `lock` while the victim dies, if it has to.
struct SurvivorAsleep;

impl Operation for SurvivorAsleep {
    type State = (Page<RobustMutex>, Option<Witness>);

    fn prepare(&self) -> Result<Self::State, String> {
        Ok((RobustMutex::shared()?, None))
    }

    fn run(&self, (mutex, _): &Self::State) {
        mutex.pass();
    }

    fn doomed(&self, (mutex, survivor): &mut Self::State, _: &Kill) -> Result<(), String> {
        survivor.insert(Witness::spawn(|| mutex.pass())?).settle().map(drop)
    }

    fn verify(&self, (_, survivor): Self::State, _: &Kill) -> Result<&'static str, String> {
        class(survivor.ok_or("no survivor")?.finish_within(BOUND)?)
    }
}

fn survivor_asleep() -> Result<Report, String> {
    let report = kill_at_every_instruction(&SurvivorAsleep, Mode::Replay)?;
    report.demand(&["lock free", "lock held by victim"])
}

/// A victim that waits for the lock and gets it. Nobody else waits.
struct AsleepInLock;

/// The mutex and its first owner.
type Contended = (Page<RobustMutex>, Option<Holder>);

impl Operation for AsleepInLock {
    type State = Contended;

    fn prepare(&self) -> Result<Contended, String> {
        let mutex = RobustMutex::shared()?;
        let holder = Holder::spawn(|| mutex.lock(), || mutex.unlock())?;
        Ok((mutex, Some(holder)))
    }

    fn run(&self, (mutex, _): &Contended) {
        mutex.pass();
    }

    fn asleep(&self, (_, holder): &mut Contended, _: usize) -> Result<crate::tracer::Sleep, String> {
        holder.take().ok_or("slept twice")?.release()?;
        Ok(crate::tracer::Sleep::Woken)
    }

    fn verify(&self, (mutex, holder): Contended, _: &Kill) -> Result<&'static str, String> {
        let not_woken = holder.is_some();
        if let Some(holder) = holder {
            holder.release()?;
        }
        let class = class(Witness::spawn(|| mutex.pass())?.finish_within(BOUND)?)?;
        Ok(if not_woken { "lock held by another" } else { class })
    }
}

fn asleep_in_lock() -> Result<Report, String> {
    let report = kill_at_every_instruction(&AsleepInLock, Mode::Replay)?;
    report.demand(&["lock held by another", "lock held by victim", "lock free"])
}
