//! `RawSemaphore` and its handles: a killed process has taken a permission or has not, has given one or has not, and nobody
//! sleeps beside a permission.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use multiproc::raw::{Deadline, RawSemaphore};
use multiproc::{BoundedSemaphore, Semaphore};

use crate::holes::is_wake;
use crate::mutex::rehearse;
use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Holder, Settled, Witness};

const TAKEN: &str = "a permission taken";
const UNCHANGED: &str = "nothing taken or given";
const GIVEN: &str = "a permission given";
const TWO_GIVEN: &str = "two permissions given";
const TAKES: &[&str] = &[TAKEN, UNCHANGED];
const GIVES: &[&str] = &[GIVEN, UNCHANGED];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "semaphore::acquire", run: || Raw { count: 2, ..Case::acquire() }.test(TAKES) },
    Scenario {
        name: "semaphore::try_acquire",
        run: || Raw { count: 1, run: |it| _ = it.try_acquire(), ..Case::acquire() }.test(TAKES),
    },
    Scenario {
        name: "semaphore::try_acquire_with_sleepers",
        run: || {
            // One for who sleeps, and one more: WAITERS stays set beside it.
            let run = |it: &One| _ = it.try_acquire();
            Raw { crowd: true, asleep: 1, given: 2, run, ..Case::acquire() }.test(TAKES)
        },
    },
    Scenario { name: "semaphore::acquire_blocked", run: || Raw::acquire().test(TAKES) },
    Scenario {
        name: "semaphore::acquire_blocked_with_sleepers_behind",
        run: || Raw { behind: 2, ..Case::acquire() }.test(&[UNCHANGED]),
    },
    Scenario {
        name: "semaphore::acquire_blocked_first_of_a_crowd",
        run: || Raw { crowd: true, behind: 2, ..Case::acquire() }.test(TAKES),
    },
    Scenario {
        name: "semaphore::first_acquire_of_a_process_blocked",
        run: || Raw { enter: || {}, crowd: true, deserted: true, behind: 1, ..Case::acquire() }.test(TAKES),
    },
    Scenario {
        name: "semaphore::acquire_timed_out_beside_a_sleeper",
        run: || {
            let run = |it: &One| it.acquire_late();
            Raw { asleep: 1, run, changes: 0, ..Case::acquire() }.test(&[UNCHANGED])
        },
    },
    Scenario { name: "semaphore::release", run: || Raw::release().test(GIVES) },
    Scenario {
        name: "semaphore::release_with_sleepers",
        run: || Raw { asleep: 2, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::release_with_a_crowd",
        run: || Raw { crowd: true, asleep: 2, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::release_after_the_crowd_died",
        run: || Raw { crowd: true, deserted: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::release_after_waiter_died",
        run: || Raw { deserted: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::release_twice_with_sleepers",
        run: || {
            let run = |it: &One| _ = it.release() && it.release();
            let case = Raw { crowd: true, asleep: 3, run, changes: 2, ..Case::release() };
            case.test(&[UNCHANGED, GIVEN, TWO_GIVEN])
        },
    },
    Scenario {
        name: "semaphore::release_of_a_bounded_one_with_sleeper",
        run: || Raw { max: Some(1), asleep: 1, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::release_refused",
        run: || Raw { max: Some(1), count: 1, changes: 0, ..Case::release() }.test(&[UNCHANGED]),
    },
    Scenario {
        name: "semaphore::acquire_by_a_handle",
        run: || Handle { count: 2, ..Case::acquire() }.test(TAKES),
    },
    Scenario {
        name: "semaphore::acquire_blocked_by_a_handle_with_sleepers_behind",
        run: || Handle { behind: 2, third: true, ..Case::acquire() }.test(&[UNCHANGED]),
    },
    Scenario {
        name: "semaphore::acquire_timed_out_by_a_handle_beside_a_sleeper",
        run: || {
            let run = Counting::acquire_late;
            Handle { asleep: 1, run, changes: 0, ..Case::acquire() }.test(&[UNCHANGED])
        },
    },
    Scenario {
        name: "semaphore::release_by_a_handle_with_sleepers",
        run: || Handle { asleep: 2, third: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::acquire_of_a_bounded_one_by_a_handle",
        run: || Bounded { max: Some(2), count: 2, ..Case::acquire() }.test(TAKES),
    },
    Scenario {
        name: "semaphore::acquire_blocked_of_a_bounded_one_by_a_handle",
        run: || Bounded { max: Some(1), ..Case::acquire() }.test(TAKES),
    },
    Scenario {
        name: "semaphore::acquire_blocked_of_a_bounded_one_by_a_handle_with_a_sleeper_behind",
        run: || Bounded { max: Some(1), behind: 1, ..Case::acquire() }.test(&[UNCHANGED]),
    },
    Scenario {
        name: "semaphore::release_of_a_bounded_one_by_a_handle_with_sleepers",
        run: || Bounded { max: Some(1), asleep: 2, third: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::release_refused_by_a_handle",
        run: || Bounded { max: Some(1), count: 1, changes: 0, ..Case::release() }.test(&[UNCHANGED]),
    },
    Scenario { name: "semaphore::s1_goes_on", run: releaser_at_its_wake },
    Scenario { name: "semaphore::s2_goes_on", run: woken_acquirer },
    Scenario {
        name: "semaphore::s1_at_every_instruction",
        run: || Raw { asleep: 2, third: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::s1_at_every_instruction_in_a_crowd",
        run: || Raw { crowd: true, asleep: 2, third: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::s1_at_every_instruction_after_waiter_died",
        run: || Raw { deserted: true, third: true, ..Case::release() }.test(GIVES),
    },
    Scenario {
        name: "semaphore::s2_at_every_instruction",
        run: || Raw { behind: 2, third: true, ..Case::acquire() }.test(&[UNCHANGED]),
    },
    Scenario {
        name: "semaphore::s2_at_every_instruction_in_a_crowd",
        run: || Raw { crowd: true, behind: 2, third: true, ..Case::acquire() }.test(&[UNCHANGED]),
    },
];

/// A semaphore under test.
trait Counting: Sized {
    /// One with so many permissions, and a maximum if there is one.
    fn make(count: u32, max: Option<u32>) -> Result<Self, String>;

    fn acquire(&self);
    fn try_acquire(&self) -> bool;
    /// Acquires before a deadline that has passed.
    fn acquire_late(&self);
    /// Whether the release was accepted.
    fn release(&self) -> bool;
    fn value(&self) -> u32;
    /// As if the last release had woken several.
    fn expect_a_crowd(&self) -> Result<(), String> {
        Err("only a raw semaphore can be told so".to_owned())
    }
}

type One = Page<RawSemaphore>;
type Raw = Case<One>;
type Handle = Case<Semaphore>;
type Bounded = Case<BoundedSemaphore>;

/// One operation on a semaphore, killed at each instruction.
struct Case<S> {
    /// The count before, and the maximum if there is one.
    count: u32,
    max: Option<u32>,
    /// Whether a release that finds sleepers expects several, and wakes one.
    crowd: bool,
    /// Whether somebody died who waited.
    deserted: bool,
    /// Who sleeps before the victim comes; how many permissions are given to them when it stands before the operation.
    asleep: usize,
    given: u32,
    /// Who comes when the victim sleeps.
    behind: usize,
    /// Whether another process takes a permission before the death, if there is one, and gives it back after.
    third: bool,
    enter: fn(),
    run: fn(&S),
    /// What a whole operation adds to the count.
    changes: i64,
    /// What was added at the kill point before this one.
    changed: Cell<i64>,
}

impl<S: Counting> Case<S> {
    fn acquire() -> Case<S> {
        Case {
            count: 0,
            max: None,
            crowd: false,
            deserted: false,
            asleep: 0,
            given: 0,
            behind: 0,
            third: false,
            enter: rehearse,
            run: S::acquire,
            changes: -1,
            changed: Cell::new(0),
        }
    }

    fn release() -> Case<S> {
        Case { run: |semaphore| _ = semaphore.release(), changes: 1, ..Case::acquire() }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Scene<S> {
    semaphore: S,
    waiters: Vec<Witness>,
    third: Option<Holder>,
    /// Permissions that there were at first or that the test gave, without those that finished waiters have taken.
    account: i64,
}

impl<S: Counting> Scene<S> {
    fn add_waiters(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            self.waiters.push(sleeper(&self.semaphore)?);
        }
        Ok(())
    }

    fn give(&mut self) -> Result<(), String> {
        self.account += 1;
        if self.semaphore.release() { Ok(()) } else { Err("the test's release is refused".to_owned()) }
    }

    fn add_third(&mut self) -> Result<(), String> {
        if self.third.is_none() {
            let third =
                Holder::spawn(|| self.semaphore.try_acquire().into(), || _ = self.semaphore.release())?;
            self.third = if third.acquired == 1 { Some(third) } else { None };
        }
        Ok(())
    }

    /// Each waiter has to finish or to have a reason to sleep, with nobody's help.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let end = Instant::now() + BOUND;
        loop {
            for waiter in std::mem::take(&mut self.waiters) {
                match waiter.settle()? {
                    Settled::Asleep => self.waiters.push(waiter),
                    Settled::Finished => {
                        waiter.finish_within(BOUND)?;
                        self.account -= 1;
                    }
                }
            }
            let value = self.semaphore.value();
            if value == 0 || self.waiters.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{} sleep beside a count of {value}", self.waiters.len()));
            }
        }
    }
}

impl<S: Counting> Operation for Case<S> {
    type State = Scene<S>;

    fn prepare(&self) -> Result<Scene<S>, String> {
        multiproc::testing::set_sleep_slice(None);
        rehearse();
        let semaphore = S::make(self.count, self.max)?;
        if self.crowd {
            semaphore.expect_a_crowd()?;
        }
        let mut scene = Scene { semaphore, waiters: Vec::new(), third: None, account: i64::from(self.count) };
        if self.deserted {
            sleeper(&scene.semaphore)?.kill();
        }
        scene.add_waiters(self.asleep)?;
        Ok(scene)
    }

    fn enter(&self, _: &Scene<S>) {
        (self.enter)();
    }

    fn entered(&self, scene: &mut Scene<S>) -> Result<(), String> {
        for _ in 0..self.given {
            scene.give()?;
            scene.come_to_rest()?;
        }
        Ok(())
    }

    fn run(&self, scene: &Scene<S>) {
        (self.run)(&scene.semaphore);
    }

    fn turns(&self) -> usize {
        1
    }

    fn asleep(&self, scene: &mut Scene<S>, nth: usize) -> Result<Sleep, String> {
        if nth > 0 {
            return Ok(Sleep::Last);
        }
        scene.add_waiters(self.behind)?;
        scene.give()?;
        if self.third {
            scene.add_third()?;
        }
        Ok(Sleep::Woken)
    }

    fn doomed(&self, scene: &mut Scene<S>, _: &Kill) -> Result<(), String> {
        if self.third { scene.add_third() } else { Ok(()) }
    }

    fn verify(&self, mut scene: Scene<S>, kill: &Kill) -> Result<&'static str, String> {
        if let Some(third) = scene.third.take() {
            third.release()?;
        }
        scene.come_to_rest()?;
        let changed = i64::from(scene.semaphore.value()) - scene.account;
        if changed * self.changes.signum() < 0 || changed.abs() > self.changes.abs() {
            return Err(format!("the count has changed by {changed}"));
        }
        let before = if kill.index == 0 { 0 } else { self.changed.get() };
        if changed.abs() < before.abs() {
            return Err(format!("changed by {changed}, but by {before} at the kill point before"));
        }
        if kill.is_after_the_end() && changed != self.changes {
            return Err(format!("the operation was over, but changed the count by {changed}"));
        }
        self.changed.set(changed);
        while !scene.waiters.is_empty() {
            let before = scene.waiters.len();
            scene.give()?;
            scene.come_to_rest()?;
            if scene.waiters.len() >= before {
                return Err("a release wakes nobody".to_owned());
            }
        }
        works(&scene.semaphore, self.max)?;
        Ok(match changed {
            -1 => TAKEN,
            0 => UNCHANGED,
            1 => GIVEN,
            _ => TWO_GIVEN,
        })
    }
}

/// Takes what there is, and sees that a release reaches a sleeper and that the maximum holds.
fn works(semaphore: &impl Counting, max: Option<u32>) -> Result<(), String> {
    for left in (0..semaphore.value()).rev() {
        if !semaphore.try_acquire() || semaphore.value() != left {
            return Err(format!("there is no permission, or not {left} left"));
        }
    }
    if semaphore.try_acquire() {
        return Err("a permission beside a count of 0".to_owned());
    }
    let last = sleeper(semaphore)?;
    if !semaphore.release() {
        return Err("a release is refused".to_owned());
    }
    last.finish_within(BOUND)?;
    let Some(max) = max else { return Ok(()) };
    let accepted = (0..=max).filter(|_| semaphore.release()).count();
    if u32::try_from(accepted) == Ok(max) { Ok(()) } else { Err(format!("the maximum {max} is {accepted}")) }
}

/// A process that sleeps until it has a permission.
fn sleeper(semaphore: &impl Counting) -> Result<Witness, String> {
    let sleeper = Witness::spawn(|| {
        semaphore.acquire();
        1
    })?;
    sleeper.wait_until_asleep()?;
    Ok(sleeper)
}

/// A process that has taken the one permission there is.
fn third(semaphore: &impl Counting) -> Result<Holder, String> {
    let third = Holder::spawn(|| semaphore.try_acquire().into(), || _ = semaphore.release())?;
    if third.acquired == 1 { Ok(third) } else { Err("no permission for the third process".to_owned()) }
}

/// S1: a releaser dies at the entry of its wake, when a third process has taken the permission.
fn releaser_at_its_wake() -> Result<Report, String> {
    multiproc::testing::set_sleep_slice(None);
    rehearse();
    let semaphore = One::make(0, None)?;
    let sleeper = sleeper(&semaphore)?;
    let mut releaser = Victim::spawn(rehearse, || _ = semaphore.release())?;
    releaser.run_until_syscall_entry(is_wake)?;
    let third = third(&semaphore)?;
    releaser.kill()?;
    third.release()?;
    sleeper.finish_within(BOUND)?;
    Ok(Report::of_one("a survivor that goes on"))
}

/// S2: a woken acquirer dies before it looks again, when a third process has taken the permission.
fn woken_acquirer() -> Result<Report, String> {
    multiproc::testing::set_sleep_slice(None);
    rehearse();
    let semaphore = One::make(0, None)?;
    semaphore.expect_a_crowd()?;
    let mut acquirer = Victim::spawn(rehearse, || Counting::acquire(&semaphore))?;
    acquirer.run_until_syscall_entry(|number, _| number == libc::SYS_futex)?;
    if acquirer.finish_syscall()? != Stop::Asleep {
        return Err("the acquirer did not sleep".to_owned());
    }
    let sleeper = sleeper(&semaphore)?;
    semaphore.release();
    if acquirer.wait_until_there()? != Stop::Trapped {
        return Err("the acquirer was not woken".to_owned());
    }
    let third = third(&semaphore)?;
    acquirer.kill()?;
    third.release()?;
    sleeper.finish_within(BOUND)?;
    Ok(Report::of_one("a survivor that goes on"))
}

impl Counting for One {
    fn make(count: u32, max: Option<u32>) -> Result<Self, String> {
        Page::new(max.map_or(RawSemaphore::new(count), |max| RawSemaphore::bounded(count, max)))
    }

    fn expect_a_crowd(&self) -> Result<(), String> {
        const CROWD: usize = 12;
        let semaphore: &RawSemaphore = self;
        // SAFETY: the hint lies 12 bytes behind the start of the 16, see `raw/semaphore.rs`.
        let crowd = unsafe { std::ptr::from_ref(semaphore).cast::<u8>().add(CROWD) };
        // SAFETY: it is an aligned atomic word.
        unsafe { AtomicU32::from_ptr(crowd.cast_mut().cast()) }.store(1, Ordering::Relaxed);
        Ok(())
    }

    fn acquire(&self) {
        RawSemaphore::acquire(self, None);
    }

    fn try_acquire(&self) -> bool {
        RawSemaphore::try_acquire(self)
    }

    fn acquire_late(&self) {
        RawSemaphore::acquire(self, Some(Deadline::now()));
    }

    fn release(&self) -> bool {
        RawSemaphore::release(self)
    }

    fn value(&self) -> u32 {
        RawSemaphore::value(self)
    }
}

impl Counting for Semaphore {
    fn make(count: u32, _: Option<u32>) -> Result<Self, String> {
        Semaphore::new(count).map_err(|error| error.to_string())
    }

    fn acquire(&self) {
        Semaphore::acquire(self);
    }

    fn try_acquire(&self) -> bool {
        Semaphore::try_acquire(self)
    }

    fn acquire_late(&self) {
        let _ = self.acquire_deadline(Instant::now());
    }

    fn release(&self) -> bool {
        Semaphore::release(self);
        true
    }

    fn value(&self) -> u32 {
        Semaphore::value(self)
    }
}

impl Counting for BoundedSemaphore {
    fn make(count: u32, max: Option<u32>) -> Result<Self, String> {
        let max = max.ok_or("a bounded semaphore has a maximum")?;
        let semaphore = BoundedSemaphore::new(max).map_err(|error| error.to_string())?;
        (count..max).for_each(|_| semaphore.acquire());
        Ok(semaphore)
    }

    fn acquire(&self) {
        BoundedSemaphore::acquire(self);
    }

    fn try_acquire(&self) -> bool {
        BoundedSemaphore::try_acquire(self)
    }

    fn acquire_late(&self) {
        let _ = self.acquire_deadline(Instant::now());
    }

    fn release(&self) -> bool {
        BoundedSemaphore::release(self).is_ok()
    }

    fn value(&self) -> u32 {
        BoundedSemaphore::value(self)
    }
}
