//! `RawCondvar`, and `Condition` with its guards: a killed notifier has notified some of those it was to notify and no one
//! else, and a notification never dies with its waiter.
//!
//! The sleep slice is off where a notifier dies. Where a waiter dies that may have been notified the others have to notice
//! that, asleep on words of their own: there it is on, and short.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::time::Duration;

use multiproc::testing::set_sleep_slice;

use crate::holes::is_wake;
use crate::monitor::{Handle, Monitor, Raw, Shared, goes_on};
use crate::mutex::rehearse;
use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Holder, Settled, Witness};

const NOBODY: &str = "nobody notified";
const SOME: &str = "some notified";
const ALL: &str = "all notified";
const NOT_YET: &str = "the waiter not notified";
const INHERITED: &str = "the notification inherited";
const CONSUMED: &str = "the notification consumed";

/// Short, so that a test does not wait longer than it must; the default is 100 ms.
const SLICE: Duration = Duration::from_millis(2);
/// When a waiter gives up that has to sleep before.
const TIMEOUT: Duration = Duration::from_millis(20);
/// How long nobody else may wake after a notification.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "condition::notify_without_waiters", run: || RawNotify::new(0, 1).test(&[ALL]) },
    Scenario { name: "condition::notify_one", run: || RawNotify::new(2, 1).test(&[NOBODY, ALL]) },
    Scenario {
        name: "condition::notify_two_of_three",
        run: || RawNotify::new(3, 2).test(&[NOBODY, SOME, ALL]),
    },
    Scenario {
        name: "condition::notify_all",
        run: || RawNotify::new(3, usize::MAX).test(&[NOBODY, SOME, ALL]),
    },
    Scenario {
        name: "condition::notify_one_after_waiter_died",
        run: || RawNotify { deserted: true, ..RawNotify::new(2, 1) }.test(&[NOBODY, ALL]),
    },
    Scenario {
        name: "condition::s1_at_every_instruction",
        run: || {
            let case = RawNotify { unlocks: Unlocks::After, third: true, ..RawNotify::new(3, 2) };
            case.test(&[NOBODY, SOME, ALL])
        },
    },
    Scenario {
        name: "condition::notify_one_and_unlock",
        run: || RawNotify { unlocks: Unlocks::InOne, ..RawNotify::new(2, 1) }.test(&[NOBODY, ALL]),
    },
    Scenario {
        name: "condition::notify_all_and_unlock_with_one_waiter",
        run: || RawNotify { unlocks: Unlocks::InOne, ..RawNotify::new(1, usize::MAX) }.test(&[NOBODY, ALL]),
    },
    Scenario {
        name: "condition::notify_two_of_three_and_unlock",
        run: || RawNotify { unlocks: Unlocks::InOne, ..RawNotify::new(3, 2) }.test(&[NOBODY, SOME, ALL]),
    },
    Scenario {
        name: "condition::s1_at_every_instruction_of_notify_one_and_unlock",
        run: || {
            let case = RawNotify { unlocks: Unlocks::InOne, third: true, ..RawNotify::new(3, 1) };
            case.test(&[NOBODY, ALL])
        },
    },
    Scenario {
        name: "condition::wait",
        run: || RawWait::new(Notifier::Unlocks).test(&[NOT_YET, INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::wait_woken_after_the_unlock",
        run: || RawWait::new(Notifier::UnlocksFirst).test(&[NOT_YET, INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::s2_at_every_instruction_woken_after_the_unlock",
        run: || RawWait { third: true, ..RawWait::new(Notifier::UnlocksFirst) }.test(&[INHERITED]),
    },
    Scenario {
        name: "condition::wait_woken_before_the_lock_is_free",
        run: || RawWait::new(Notifier::KeepsTheLock).test(&[INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::wait_timed_out",
        run: || {
            RawWait { run: Shared::give_up_at_once, older: 1, ..RawWait::new(Notifier::Unlocks) }
                .test(&[NOT_YET])
        },
    },
    Scenario {
        name: "condition::notification_of_one_that_gives_up_is_inherited",
        run: notified_while_it_gives_up,
    },
    Scenario {
        name: "condition::s2_at_every_instruction",
        run: || RawWait { third: true, ..RawWait::new(Notifier::Unlocks) }.test(&[INHERITED]),
    },
    Scenario {
        name: "condition::notify_one_by_a_guard",
        run: || HandleNotify::new(2, 1).test(&[NOBODY, ALL]),
    },
    Scenario {
        name: "condition::notify_one_by_a_guard_that_is_dropped",
        run: || {
            HandleNotify { unlocks: Unlocks::After, third: true, ..Notify::new(2, 1) }.test(&[NOBODY, ALL])
        },
    },
    Scenario {
        name: "condition::notify_all_by_a_guard",
        run: || {
            HandleNotify { unlocks: Unlocks::After, third: true, ..Notify::new(3, usize::MAX) }
                .test(&[NOBODY, SOME, ALL])
        },
    },
    Scenario {
        name: "condition::wait_by_a_guard",
        run: || HandleWait::new(Notifier::Unlocks).test(&[NOT_YET, INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::wait_by_a_guard_woken_before_the_lock_is_free",
        run: || HandleWait::new(Notifier::KeepsTheLock).test(&[INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::wait_by_a_guard_timed_out",
        run: || {
            let case = HandleWait { run: Shared::give_up_at_once, older: 1, ..Wait::new(Notifier::Unlocks) };
            case.test(&[NOT_YET])
        },
    },
    Scenario { name: "condition::s1_goes_on", run: notifier_at_its_wake },
    Scenario { name: "condition::s1_between_unlock_and_wake", run: debtor_at_its_wake },
    Scenario { name: "condition::s2_goes_on", run: woken_waiter },
    Scenario { name: "condition::notification_is_not_for_who_comes_later", run: not_for_who_comes_later },
    Scenario {
        name: "condition::notify_wakes_no_more_300_ms_later",
        run: || nobody_wakes_later(Death::OfTheNotifier),
    },
    Scenario {
        name: "condition::inherited_notification_wakes_no_more_300_ms_later",
        run: || nobody_wakes_later(Death::OfANotifiedWaiter),
    },
];

type RawNotify = Notify<Raw>;
type RawWait = Wait<Raw>;
type HandleNotify = Notify<Handle>;
type HandleWait = Wait<Handle>;

fn still_waits(waiter: &Witness) -> Result<(), String> {
    match waiter.settle()? {
        Settled::Asleep => Ok(()),
        Settled::Finished => Err("a waiter went on that was not notified".to_owned()),
    }
}

/// Whether and how a notifier unlocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unlocks {
    No,
    After,
    /// By the operation that notifies: a single one is woken after the unlock.
    InOne,
}

/// The victim notifies, under the lock.
struct Notify<C> {
    waiting: usize,
    count: usize,
    /// Whether the oldest waiter of all has died.
    deserted: bool,
    /// Whether it unlocks then. Another process waits for the lock all the time: so it doesn't matter for the steps of the
    /// victim when those who are notified begin to.
    unlocks: Unlocks,
    /// Whether a third process takes the lock before the death, if it is free, and gives it back after.
    third: bool,
    condition: PhantomData<C>,
}

impl<C: Monitor> Notify<C> {
    fn new(waiting: usize, count: usize) -> Self {
        Notify { waiting, count, deserted: false, unlocks: Unlocks::No, third: false, condition: PhantomData }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Notified<C> {
    shared: Page<Shared<C>>,
    /// From the oldest to the youngest.
    waiters: Vec<Witness>,
    locker: Option<Witness>,
    third: Option<Holder>,
}

impl<C: Monitor> Operation for Notify<C> {
    type State = Notified<C>;

    fn prepare(&self) -> Result<Notified<C>, String> {
        let shared = Shared::<C>::new(None)?;
        let deserter = if self.deserted { Some(shared.waiter()?) } else { None };
        let waiters = (0..self.waiting).map(|_| shared.waiter()).collect::<Result<_, _>>()?;
        // Only now, or the next to come would have its entry.
        drop(deserter);
        Ok(Notified { shared, waiters, locker: None, third: None })
    }

    fn enter(&self, scene: &Notified<C>) {
        rehearse();
        scene.shared.lock();
    }

    fn entered(&self, scene: &mut Notified<C>) -> Result<(), String> {
        if self.unlocks != Unlocks::No {
            let locker = Witness::spawn(|| {
                scene.shared.lock();
                scene.shared.unlock();
                0
            })?;
            locker.wait_until_asleep()?;
            scene.locker = Some(locker);
        }
        Ok(())
    }

    fn run(&self, scene: &Notified<C>) {
        match self.unlocks {
            Unlocks::No => _ = scene.shared.condition.notify(self.count),
            Unlocks::After => {
                scene.shared.condition.notify(self.count);
                scene.shared.unlock();
            }
            Unlocks::InOne => _ = scene.shared.condition.notify_and_unlock(self.count),
        }
    }

    fn doomed(&self, scene: &mut Notified<C>, _: &Kill) -> Result<(), String> {
        if self.third {
            scene.third = scene.shared.third()?;
        }
        Ok(())
    }

    fn verify(&self, mut scene: Notified<C>, kill: &Kill) -> Result<&'static str, String> {
        let wanted = self.count.min(self.waiting);
        let waiting = scene.shared.waiting();
        let notified =
            self.waiting.checked_sub(waiting).ok_or_else(|| format!("{waiting} are said to wait"))?;
        if notified > wanted || kill.is_after_the_end() && notified < wanted {
            return Err(format!("{notified} of {wanted} notified"));
        }
        if let Some(third) = scene.third.take() {
            third.release()?;
        }
        if let Some(locker) = scene.locker.take() {
            locker.finish_within(BOUND)?;
        }
        let others = scene.waiters.split_off(notified);
        scene.waiters.into_iter().try_for_each(goes_on)?;
        others.iter().try_for_each(still_waits)?;
        scene.shared.finish(others)?;
        Ok(match notified {
            _ if notified == wanted => ALL,
            0 => NOBODY,
            _ => SOME,
        })
    }
}

/// When the victim is notified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notifier {
    /// In its sleep, by somebody who unlocks at once.
    Unlocks,
    /// In its sleep, by somebody who unlocks when the victim sleeps for the lock.
    KeepsTheLock,
    /// In its sleep, by somebody who wakes it after the unlock.
    UnlocksFirst,
}

/// The victim, under the lock, waits and then unlocks. When it sleeps, another comes and waits behind it.
struct Wait<C> {
    notifier: Notifier,
    run: fn(&Shared<C>),
    /// Who waits before the victim comes.
    older: usize,
    /// Whether another process takes the lock before the death, if it is free, and gives it back after.
    third: bool,
}

impl<C: Monitor> Wait<C> {
    fn new(notifier: Notifier) -> Self {
        Wait { notifier, run: |shared| _ = shared.condition.wait(None), older: 0, third: false }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Waited<C> {
    shared: Page<Shared<C>>,
    survivors: Vec<Witness>,
    notifier: Option<Holder>,
    third: Option<Holder>,
    /// Whether a notification was made.
    notified: bool,
    /// Whether it was there, and the victim had not consumed it, when it was about to be killed.
    pending: bool,
}

impl<C: Monitor> Waited<C> {
    fn add_survivor(&mut self) -> Result<(), String> {
        self.survivors.push(self.shared.waiter()?);
        Ok(())
    }

    fn add_third(&mut self) -> Result<(), String> {
        if self.third.is_none() {
            self.third = self.shared.third()?;
        }
        Ok(())
    }
}

impl<C: Monitor> Operation for Wait<C> {
    type State = Waited<C>;

    fn prepare(&self) -> Result<Waited<C>, String> {
        let shared = Shared::<C>::new(Some(SLICE))?;
        let survivors = (0..self.older).map(|_| shared.waiter()).collect::<Result<_, _>>()?;
        let (notifier, third) = (None, None);
        Ok(Waited { shared, survivors, notifier, third, notified: false, pending: false })
    }

    fn enter(&self, scene: &Waited<C>) {
        rehearse();
        // Its steps have to be the same each time.
        set_sleep_slice(None);
        scene.shared.lock();
    }

    fn run(&self, scene: &Waited<C>) {
        (self.run)(&scene.shared);
        scene.shared.waited.store(1, Ordering::Relaxed); // Relaxed: under the lock.
        scene.shared.unlock();
    }

    fn turns(&self) -> usize {
        1
    }

    fn begins_asleep(&self) -> bool {
        self.third || self.notifier == Notifier::KeepsTheLock
    }

    fn asleep(&self, scene: &mut Waited<C>, nth: usize) -> Result<Sleep, String> {
        match (nth, self.notifier, scene.notifier.take()) {
            (0, Notifier::Unlocks, _) => {
                scene.add_survivor()?;
                scene.shared.notifier()?.release()?;
                scene.notified = true;
                if self.third {
                    scene.add_third()?;
                }
            }
            (0, Notifier::UnlocksFirst, _) => {
                scene.add_survivor()?;
                scene.shared.notify_and_unlock_within_bound()?;
                scene.notified = true;
                if self.third {
                    scene.add_third()?;
                }
            }
            (0, Notifier::KeepsTheLock, _) => {
                scene.add_survivor()?;
                scene.notifier = Some(scene.shared.notifier()?);
                scene.notified = true;
            }
            (1, _, Some(notifier)) => notifier.release()?,
            _ => return Ok(Sleep::Last),
        }
        Ok(Sleep::Woken)
    }

    fn doomed(&self, scene: &mut Waited<C>, _: &Kill) -> Result<(), String> {
        if self.third {
            scene.add_third()?;
        }
        // The victim lives, so that nobody else has it yet.
        scene.pending = scene.shared.notified() > 0;
        Ok(())
    }

    fn verify(&self, mut scene: Waited<C>, kill: &Kill) -> Result<&'static str, String> {
        for holder in [scene.notifier.take(), scene.third.take()].into_iter().flatten() {
            holder.release()?;
        }
        // Relaxed: the lock and the wait for the death are in between.
        let waited = scene.shared.waited.load(Ordering::Relaxed) != 0;
        if waited && scene.pending || kill.is_after_the_end() && !waited {
            return Err(format!(
                "the wait is over: {waited}, but its notification is there: {}",
                scene.pending
            ));
        }
        if scene.pending {
            let heir = scene.survivors.pop().ok_or("a notification, but nobody waits")?;
            goes_on(heir)?;
        }
        scene.survivors.iter().try_for_each(still_waits)?;
        // One comes after the death.
        scene.add_survivor()?;
        let survivors = scene.survivors;
        scene.shared.finish_all(survivors)?;
        Ok(match scene.notified {
            true if scene.pending => INHERITED,
            true => CONSUMED,
            false => NOT_YET,
        })
    }
}

/// S1: a notifier dies at the entry of its wake, when a third process waits for the lock. Nobody is notified; the next to
/// notify wakes the sleeper.
fn notifier_at_its_wake() -> Result<Report, String> {
    let shared = Shared::<Raw>::new(None)?;
    let sleeper = shared.waiter()?;
    let enter = || {
        rehearse();
        shared.lock();
    };
    let mut notifier = Victim::spawn(enter, || {
        shared.condition.notify(1);
        shared.unlock();
    })?;
    notifier.run_until_syscall_entry(is_wake)?;
    if shared.waiting() != 1 {
        return Err("the waiter is notified before it is woken".to_owned());
    }
    let third = Witness::spawn(|| shared.notify(1))?;
    third.wait_until_asleep()?;
    notifier.kill()?;
    if third.finish_within(BOUND)? != 1 {
        return Err("the third process has nobody to notify".to_owned());
    }
    goes_on(sleeper)?;
    shared.finish(Vec::new())?;
    Ok(Report::of_one("a survivor that goes on"))
}

/// S1: a notifier dies after the unlock at the entry of its wake, when a third process has the lock.
fn debtor_at_its_wake() -> Result<Report, String> {
    let shared = Shared::<Raw>::new(None)?;
    let sleeper = shared.waiter()?;
    let enter = || {
        rehearse();
        shared.lock();
    };
    let mut notifier = Victim::spawn(enter, || _ = shared.condition.notify_and_unlock(1))?;
    notifier.run_until_syscall_entry(is_wake)?;
    if shared.waiting() != 0 || sleeper.settle()? != Settled::Asleep {
        return Err("the waiter is not notified and asleep before the wake".to_owned());
    }
    let third = shared.third()?.ok_or("the lock is not free before the wake")?;
    notifier.kill()?;
    third.release()?;
    goes_on(sleeper)?;
    shared.finish(Vec::new())?;
    Ok(Report::of_one("a survivor that goes on"))
}

/// S2: a notified waiter dies before it looks, when a third process has the lock. The other one inherits.
fn woken_waiter() -> Result<Report, String> {
    let shared = Shared::<Raw>::new(Some(SLICE))?;
    let enter = || {
        rehearse();
        set_sleep_slice(None);
        shared.lock();
    };
    let mut waiter = Victim::spawn(enter, || _ = shared.condition.wait(None))?;
    waiter.run_until_syscall_entry(|number, args| number == libc::SYS_futex && !is_wake(number, args))?;
    if waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep".to_owned());
    }
    let sleeper = shared.waiter()?;
    shared.notify_within_bound(1)?;
    if waiter.wait_until_there()? != Stop::Trapped {
        return Err("the waiter was not woken".to_owned());
    }
    let third = shared.third()?.ok_or("the lock is not free")?;
    waiter.kill()?;
    third.release()?;
    goes_on(sleeper)?;
    shared.finish(Vec::new())?;
    Ok(Report::of_one("a survivor that goes on"))
}

/// A waiter whose deadline has passed sleeps for the lock to say so; it is notified then, and dies.
fn notified_while_it_gives_up() -> Result<Report, String> {
    let shared = Shared::<Raw>::new(Some(SLICE))?;
    let enter = || {
        rehearse();
        set_sleep_slice(None);
        shared.lock();
    };
    let mut waiter = Victim::spawn(enter, || _ = shared.condition.wait(Some(TIMEOUT)))?;
    let sleeps = |number, args| number == libc::SYS_futex && !is_wake(number, args);
    waiter.run_until_syscall_entry(sleeps)?;
    if waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep".to_owned());
    }
    let sleeper = shared.waiter()?;
    let holder = Holder::spawn(
        || shared.condition.try_lock().into(),
        || {
            shared.condition.notify(1);
            shared.unlock();
        },
    )?;
    // Its deadline passes.
    while waiter.wait_until_there()? != Stop::Trapped {}
    waiter.run_until_syscall_entry(sleeps)?;
    if holder.acquired != 1 || waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep for the lock".to_owned());
    }
    holder.release()?;
    waiter.wait_until_there()?;
    if shared.notified() != 1 {
        return Err("it is not the waiter that was notified".to_owned());
    }
    waiter.kill()?;
    goes_on(sleeper)?;
    shared.finish(Vec::new())?;
    Ok(Report::of_one("the notification inherited"))
}

/// The one who was notified dies, and the only other one came after that: nobody may wake.
fn not_for_who_comes_later() -> Result<Report, String> {
    let shared = Shared::<Raw>::new(Some(SLICE))?;
    let notified = shared.waiter()?;
    notified.stop()?;
    shared.notify_within_bound(1)?;
    let late = shared.waiter()?;
    notified.kill();
    if !late.stays_for(QUIET)? {
        return Err("a notification wakes somebody who came after it".to_owned());
    }
    shared.finish(vec![late])?;
    Ok(Report::of_one("one that waits"))
}

/// Who dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    /// Who has notified two, under the lock.
    OfTheNotifier,
    /// The first of the two, off the CPU when it is notified. A fifth process comes before it dies.
    OfANotifiedWaiter,
}

/// Four wait with their slices on and two are notified: two go on, and after many slices the others still wait.
fn nobody_wakes_later(death: Death) -> Result<Report, String> {
    let shared = Shared::<Raw>::new(Some(SLICE))?;
    let mut waiters = Vec::new();
    let first = shared.waiter()?;
    for _ in 0..3 {
        waiters.push(shared.waiter()?);
    }
    if death == Death::OfANotifiedWaiter {
        first.stop()?;
        shared.notify_within_bound(2)?;
        goes_on(waiters.remove(0))?;
        // It comes too late to inherit.
        let late = shared.waiter()?;
        first.kill();
        let heir = position_of_finished(&waiters)?;
        goes_on(waiters.remove(heir))?;
        waiters.push(late);
    } else {
        let enter = || {
            rehearse();
            shared.lock();
        };
        let mut notifier = Victim::spawn(enter, || {
            shared.condition.notify(2);
            shared.unlock();
        })?;
        for _ in 0..2 {
            notifier.run_until_syscall_entry(is_wake)?;
            notifier.finish_syscall()?;
        }
        notifier.kill()?;
        goes_on(first)?;
        goes_on(waiters.remove(0))?;
    }
    for (waiter, time) in waiters.iter().zip([QUIET, Duration::ZERO]) {
        if !waiter.stays_for(time)? {
            return Err("a notification for two wakes a third".to_owned());
        }
    }
    if waiters.len() != 2 {
        return Err(format!("{} still wait", waiters.len()));
    }
    shared.finish(waiters)?;
    Ok(Report::of_one("two that go on and two that wait"))
}

/// Which of the waiters ends first.
fn position_of_finished(waiters: &[Witness]) -> Result<usize, String> {
    let end = std::time::Instant::now() + BOUND;
    while std::time::Instant::now() < end {
        for (index, waiter) in waiters.iter().enumerate() {
            if waiter.settle()? == Settled::Finished {
                return Ok(index);
            }
        }
    }
    Err("nobody inherits the notification".to_owned())
}
