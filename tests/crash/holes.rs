//! Two ways to lose a wake-up, each constructed as one exact interleaving.
//!
//! - S1: the owner dies between releasing the mutex and waking, when a third process has taken the mutex.
//! - S2: the woken waiter dies before it tries again, when a third process has taken the mutex.
//!
//! A process that still sleeps must be woken when the third unlocks.

use std::time::Duration;

use crate::case::{HANG, hold};
use crate::mutex::{Found, Mutex, Pair};
use crate::scenario::Report;
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Holder, Witness};

/// How long the survivor of the negative twin is watched.
const HANG_TIME: Duration = Duration::from_secs(2);

/// How long the others may be held up by a stopped process.
const STOPPED_BOUND: Duration = Duration::from_secs(1);

/// What becomes of the sleeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It must get the mutex.
    GoesOn,
    /// It must hang, or the construction does not construct what it should.
    Hangs,
}

/// Recognises a futex system call that wakes.
pub(crate) fn is_wake(number: libc::c_long, args: [u64; 6]) -> bool {
    let command = i32::try_from(args[1] & 0x7f).unwrap_or(-1);
    number == libc::SYS_futex && [libc::FUTEX_WAKE, libc::FUTEX_WAKE_OP].contains(&command)
}

/// S1. The owner stands at the entry of its wake when it is killed.
pub(crate) fn owner_at_its_wake<M: Mutex>(fate: Fate) -> Result<Report, String> {
    let pair = Pair::<M>::shared()?;
    let mut owner = Victim::spawn(|| _ = pair.add_first(), || pair.add_second())?;
    let sleeper = sleeper(&pair)?;
    owner.run_until_syscall_entry(is_wake)?;
    let third = hold(&pair)?.ok_or("the owner wakes before it releases")?;
    owner.kill()?;
    third.release()?;
    check(&pair, sleeper, fate)
}

/// S2. The waiter is held off the CPU between its wake-up and its death.
pub(crate) fn woken_waiter<M: Mutex>(fate: Fate) -> Result<Report, String> {
    let pair = Pair::<M>::shared()?;
    let owner = hold(&pair)?.ok_or("a new mutex is not free")?;
    let mut waiter = Victim::spawn(|| enter(&pair), || _ = pair.add())?;
    waiter.run_until_syscall_entry(|number, _| number == libc::SYS_futex)?;
    if waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep".to_owned());
    }
    let sleeper = sleeper(&pair)?;
    owner.release()?;
    if waiter.wait_until_there()? != Stop::Trapped {
        return Err("the waiter was not woken".to_owned());
    }
    let third: Holder = hold(&pair)?.ok_or("the mutex was not released")?;
    waiter.kill()?;
    third.release()?;
    check(&pair, sleeper, fate)
}

/// A waiter that is stopped in its sleep must not keep the wake-up from the one behind it.
pub(crate) fn stopped_waiter<M: Mutex>() -> Result<Report, String> {
    let pair = Pair::<M>::shared()?;
    let owner = Victim::spawn(|| _ = pair.add_first(), || pair.add_second())?;
    let stopped = sleeper(&pair)?;
    let sleeper = sleeper(&pair)?;
    stopped.stop()?;
    owner.kill()?;
    let report = match Found::from_code(sleeper.finish_within(STOPPED_BOUND)?) {
        Found::OwnerDied => Report::of_one("a survivor that goes on"),
        wrong => return Err(format!("the sleeper found the mutex {wrong:?}")),
    };
    stopped.cont()?;
    match Found::from_code(stopped.finish_within(BOUND)?) {
        Found::Consistent => Ok(report),
        wrong => Err(format!("the stopped waiter found the mutex {wrong:?}")),
    }
}

/// What a victim does first that has to sleep until it is woken.
fn enter<M: Mutex>(pair: &Pair<M>) {
    pair.rehearse();
    multiproc::testing::set_sleep_slice(None);
}

fn sleeper<M: Mutex>(pair: &Pair<M>) -> Result<Witness, String> {
    let sleeper = Witness::spawn(|| pair.add().code())?;
    sleeper.wait_until_asleep()?;
    Ok(sleeper)
}

fn check<M: Mutex>(pair: &Pair<M>, sleeper: Witness, fate: Fate) -> Result<Report, String> {
    if fate == Fate::GoesOn {
        return match Found::from_code(sleeper.finish_within(BOUND)?) {
            found if found == M::GIVEN_BACK => Ok(Report::of_one("a survivor that goes on")),
            wrong => Err(format!("the sleeper found the mutex {wrong:?}")),
        };
    }
    if !sleeper.hangs_for(HANG_TIME)? {
        return Err("the survivor was woken: the construction is wrong".to_owned());
    }
    match Found::from_code(Witness::spawn(|| pair.try_take().code())?.finish_within(BOUND)?) {
        Found::Consistent => Ok(Report::of_one(HANG)),
        wrong => Err(format!("the sleeper hangs, but the mutex was found {wrong:?}")),
    }
}
