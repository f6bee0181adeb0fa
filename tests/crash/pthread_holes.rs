//! The negative twin: two wake-ups that the pthread robust mutex loses when its user is killed.
//!
//! The scenarios pass if the survivor hangs. They prove that the same construction, made with a lock of this crate,
//! would show the loss if there was one.
//!
//! - S1: the owner dies between releasing the lock and waking, when a third process has taken the lock.
//! - S2: the woken waiter dies before it tries again, when a third process has taken the lock.

use std::time::Duration;

use crate::page::Page;
use crate::pthread::{BUSY, CONSISTENT, RobustMutex};
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Holder, Witness};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "pthread_holes::s1_owner_killed_at_its_wake_hangs_the_sleeper", run: owner_at_its_wake },
    Scenario { name: "pthread_holes::s2_woken_waiter_killed_hangs_the_next", run: woken_waiter },
    Scenario { name: "pthread_holes::s1_is_found_at_every_instruction", run: every_instruction_of_unlock },
    Scenario { name: "pthread_holes::s2_is_found_at_every_instruction", run: every_instruction_of_lock },
];

/// How long the survivor is watched in the two constructed cases.
const HANG: Duration = Duration::from_secs(2);

/// The same at each of many instructions. The survivor's lock is free then, and nobody is left to wake it.
const SHORT_HANG: Duration = Duration::from_millis(50);

/// Recognises a futex system call that wakes.
pub(crate) fn is_wake(number: libc::c_long, args: [u64; 6]) -> bool {
    let command = i32::try_from(args[1] & 0x7f).unwrap_or(-1);
    number == libc::SYS_futex && [libc::FUTEX_WAKE, libc::FUTEX_WAKE_OP].contains(&command)
}

fn hold(mutex: &RobustMutex) -> Result<Holder, String> {
    let holder = Holder::spawn(|| mutex.try_lock(), || mutex.unlock())?;
    if holder.acquired == CONSISTENT {
        Ok(holder)
    } else {
        Err("third process did not get the lock".to_owned())
    }
}

/// A waiter that is expected to hang although the lock is free.
fn must_hang(mutex: &RobustMutex, sleeper: &Witness) -> Result<Report, String> {
    if !sleeper.hangs_for(HANG)? {
        return Err("the survivor was woken: the construction is wrong".to_owned());
    }
    let free = Witness::spawn(|| mutex.try_lock())?.finish_within(BOUND)?;
    if free == BUSY {
        Err("the lock is not free".to_owned())
    } else {
        Ok(Report::of_one("a survivor that hangs"))
    }
}

fn owner_at_its_wake() -> Result<Report, String> {
    let mutex = RobustMutex::shared()?;
    let mut owner = Victim::spawn(|| _ = mutex.lock(), || mutex.unlock())?;
    let sleeper = Witness::spawn(|| mutex.pass())?;
    sleeper.wait_until_asleep()?;
    owner.run_until_syscall_entry(is_wake)?;
    let third = hold(&mutex)?;
    owner.kill()?;
    third.release()?;
    must_hang(&mutex, &sleeper)
}

fn woken_waiter() -> Result<Report, String> {
    let mutex = RobustMutex::shared()?;
    let owner = hold(&mutex)?;
    let mut waiter = Victim::spawn(|| {}, || _ = mutex.pass())?;
    waiter.run_until_syscall_entry(|number, _| number == libc::SYS_futex)?;
    if waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep".to_owned());
    }
    let sleeper = Witness::spawn(|| mutex.pass())?;
    sleeper.wait_until_asleep()?;
    owner.release()?;
    if waiter.wait_until_there()? != Stop::Trapped {
        return Err("the waiter was not woken".to_owned());
    }
    let third = hold(&mutex)?;
    waiter.kill()?;
    third.release()?;
    must_hang(&mutex, &sleeper)
}

/// The class of a death, from what became of the sleeper.
fn class(sleeper: Option<Witness>) -> Result<&'static str, String> {
    let sleeper = sleeper.ok_or("no sleeper")?;
    if sleeper.hangs_for(SHORT_HANG)? {
        return Ok("a survivor that hangs");
    }
    sleeper.finish_within(BOUND).map(|_| "a survivor that goes on")
}

/// An unlock while another process sleeps; a third takes the lock, if it can, just before the death.
struct Unlock;

#[derive(Default)]
struct Others {
    owner: Option<Holder>,
    sleeper: Option<Witness>,
    third: Option<Holder>,
}

impl Operation for Unlock {
    type State = (Page<RobustMutex>, Others);

    fn prepare(&self) -> Result<Self::State, String> {
        Ok((RobustMutex::shared()?, Others::default()))
    }

    fn enter(&self, (mutex, _): &Self::State) {
        mutex.lock();
    }

    fn entered(&self, (mutex, others): &mut Self::State) -> Result<(), String> {
        others.sleeper.insert(Witness::spawn(|| mutex.pass())?).wait_until_asleep()
    }

    fn run(&self, (mutex, _): &Self::State) {
        mutex.unlock();
    }

    fn doomed(&self, (mutex, others): &mut Self::State, _: &Kill) -> Result<(), String> {
        others.third = hold(mutex).ok();
        Ok(())
    }

    fn verify(&self, (_, others): Self::State, _: &Kill) -> Result<&'static str, String> {
        others.third.map_or(Ok(()), Holder::release)?;
        class(others.sleeper)
    }
}

fn every_instruction_of_unlock() -> Result<Report, String> {
    let report = kill_at_every_instruction(&Unlock, Mode::Replay)?;
    report.demand(&["a survivor that hangs", "a survivor that goes on"])
}

/// A lock that has to wait, with another waiter behind it; a third process takes the lock when it becomes free.
struct Lock;

impl Operation for Lock {
    type State = (Page<RobustMutex>, Others);

    fn prepare(&self) -> Result<Self::State, String> {
        let mutex = RobustMutex::shared()?;
        let owner = Some(hold(&mutex)?);
        Ok((mutex, Others { owner, ..Others::default() }))
    }

    fn run(&self, (mutex, _): &Self::State) {
        mutex.pass();
    }

    fn asleep(&self, (mutex, others): &mut Self::State, _: usize) -> Result<Sleep, String> {
        let Some(owner) = others.owner.take() else { return Ok(Sleep::Last) };
        others.sleeper.insert(Witness::spawn(|| mutex.pass())?).wait_until_asleep()?;
        owner.release()?;
        others.third = Some(hold(mutex)?);
        Ok(Sleep::Woken)
    }

    fn doomed(&self, (mutex, others): &mut Self::State, _: &Kill) -> Result<(), String> {
        if others.sleeper.is_none() {
            others.sleeper.insert(Witness::spawn(|| mutex.pass())?).wait_until_asleep()?;
        }
        Ok(())
    }

    fn verify(&self, (_, others): Self::State, _: &Kill) -> Result<&'static str, String> {
        others.owner.map_or(Ok(()), Holder::release)?;
        others.third.map_or(Ok(()), Holder::release)?;
        class(others.sleeper)
    }
}

fn every_instruction_of_lock() -> Result<Report, String> {
    let report = kill_at_every_instruction(&Lock, Mode::Replay)?;
    report.demand(&["a survivor that hangs", "a survivor that goes on"])
}
