//! `RawCondvar`: a killed notifier has notified some of those it was to notify and no one else, and a notification never dies
//! with its waiter.
//!
//! The sleep slice is off where a notifier dies. Where a waiter dies that may have been notified the others have to notice
//! that, asleep on words of their own: there it is on, and short.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use multiproc::raw::{Acquired, Deadline, RawCondvar, RawMutex};
use multiproc::testing::set_sleep_slice;

use crate::holes::is_wake;
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
    Scenario { name: "condition::notify_without_waiters", run: || Notify::new(0, 1).test(&[ALL]) },
    Scenario { name: "condition::notify_one", run: || Notify::new(2, 1).test(&[NOBODY, ALL]) },
    Scenario { name: "condition::notify_two_of_three", run: || Notify::new(3, 2).test(&[NOBODY, SOME, ALL]) },
    Scenario { name: "condition::notify_all", run: || Notify::new(3, usize::MAX).test(&[NOBODY, SOME, ALL]) },
    Scenario {
        name: "condition::notify_one_after_waiter_died",
        run: || Notify { deserted: true, ..Notify::new(2, 1) }.test(&[NOBODY, ALL]),
    },
    Scenario {
        name: "condition::s1_at_every_instruction",
        run: || Notify { unlocks: true, third: true, ..Notify::new(3, 2) }.test(&[NOBODY, SOME, ALL]),
    },
    Scenario {
        name: "condition::wait",
        run: || Wait::new(Notifier::Unlocks).test(&[NOT_YET, INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::wait_woken_before_the_lock_is_free",
        run: || Wait::new(Notifier::KeepsTheLock).test(&[INHERITED, CONSUMED]),
    },
    Scenario {
        name: "condition::wait_timed_out",
        run: || Wait { run: give_up_at_once, older: 1, ..Wait::new(Notifier::Unlocks) }.test(&[NOT_YET]),
    },
    Scenario {
        name: "condition::notification_of_one_that_gives_up_is_inherited",
        run: notified_while_it_gives_up,
    },
    Scenario {
        name: "condition::s2_at_every_instruction",
        run: || Wait { third: true, ..Wait::new(Notifier::Unlocks) }.test(&[INHERITED]),
    },
    Scenario { name: "condition::s1_goes_on", run: notifier_at_its_wake },
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

/// A condition variable and its lock.
#[repr(C)]
struct Shared {
    mutex: RawMutex,
    condvar: RawCondvar<4>,
    /// Whether the victim's wait is over. Changed under the lock.
    waited: AtomicU32,
}

impl Shared {
    fn new(slice: Option<Duration>) -> Result<Page<Shared>, String> {
        set_sleep_slice(slice);
        rehearse();
        let (mutex, condvar) = (RawMutex::new(), RawCondvar::new());
        Page::new(Shared { mutex, condvar, waited: AtomicU32::new(0) })
    }

    /// Takes the lock, whoever died with it. Nothing under it is ever half done.
    fn lock(&self) {
        // SAFETY: the lock lies in a page that stays mapped for as long as this process uses it. One that can't be taken
        // fails the scenario: nobody can wait or notify.
        if unsafe { self.mutex.lock(None) } == Ok(Acquired::OwnerDied) {
            self.mutex.recover();
        }
    }

    fn unlock(&self) {
        let _ = self.mutex.unlock();
    }

    /// Takes the lock if it is free.
    fn try_lock(&self) -> bool {
        // SAFETY: as in `lock`.
        unsafe { self.mutex.try_lock() }.is_ok()
    }

    /// Under the lock: 1 if it was notified, 0 if not.
    fn wait_locked(&self, deadline: Option<Deadline>) -> u64 {
        // SAFETY: as in `lock`.
        match unsafe { self.condvar.wait(&self.mutex, deadline) } {
            Ok((Acquired::OwnerDied, notified)) => {
                self.mutex.recover();
                notified.into()
            }
            Ok((Acquired::Consistent, notified)) => notified.into(),
            Err(_) => u64::MAX,
        }
    }

    fn notify(&self, count: usize) -> u64 {
        self.lock();
        let notified = self.condvar.notify(count);
        self.unlock();
        notified as u64
    }

    /// How many notifications lie in the table: entries with NOTIFIED in their state, see `raw/waiters.rs`.
    fn notified(&self) -> usize {
        const TABLE: usize = 8;
        const ENTRY: usize = 56;
        const STATE: usize = 40;
        const NOTIFIED: u32 = 2;
        let table = std::ptr::from_ref(&self.condvar).cast::<u8>();
        let states = (0..4).map(|index| {
            // SAFETY: the entries are 56 bytes each, as `raw/waiters.rs` asserts, and 4 of them follow 8 bytes.
            let state = unsafe { table.add(TABLE + index * ENTRY + STATE) };
            // SAFETY: the state is an aligned atomic word.
            let state = unsafe { AtomicU32::from_ptr(state.cast_mut().cast()) };
            state.load(Ordering::Acquire)
        });
        states.filter(|state| state & NOTIFIED != 0).count()
    }

    /// A process that waits for a notification.
    fn waiter(&self) -> Result<Witness, String> {
        let waiter = Witness::spawn(|| {
            self.lock();
            let notified = self.wait_locked(None);
            self.unlock();
            notified
        })?;
        waiter.wait_until_asleep()?;
        Ok(waiter)
    }

    /// The test itself notifies, and says how many were notified.
    fn notify_within_bound(&self, count: usize) -> Result<u64, String> {
        // SAFETY: as in `lock`.
        match unsafe { self.mutex.lock(Deadline::after(BOUND)) } {
            Ok(Acquired::OwnerDied) => self.mutex.recover(),
            Ok(Acquired::Consistent) => {}
            Err(error) => return Err(format!("no lock for the test: {error}")),
        }
        let notified = self.condvar.notify(count);
        self.unlock();
        Ok(notified as u64)
    }

    /// A process that has the lock and has notified one.
    fn notifier(&self) -> Result<Holder, String> {
        let notify = || {
            self.lock();
            self.condvar.notify(1) as u64
        };
        let notifier = Holder::spawn(notify, || self.unlock())?;
        if notifier.acquired == 1 { Ok(notifier) } else { Err("nobody to notify".to_owned()) }
    }

    /// A process that has the lock, if it is free.
    fn third(&self) -> Result<Option<Holder>, String> {
        let third = Holder::spawn(
            || self.try_lock().into(),
            || {
                self.mutex.recover();
                self.unlock();
            },
        )?;
        Ok(Some(third).filter(|third| third.acquired == 1))
    }

    /// Notifies all of `waiters`, who wait and are all who do.
    fn finish_all(&self, waiters: Vec<Witness>) -> Result<(), String> {
        let notified = self.notify_within_bound(usize::MAX)?;
        if notified != waiters.len() as u64 {
            return Err(format!("{notified} notified, but {} wait", waiters.len()));
        }
        waiters.into_iter().try_for_each(goes_on)
    }

    /// The same, and sees that a wait and a notification work.
    fn finish(&self, waiters: Vec<Witness>) -> Result<(), String> {
        self.finish_all(waiters)?;
        let last = self.waiter()?;
        if self.notify_within_bound(2)? != 1 {
            return Err("one waits, but not one is notified".to_owned());
        }
        goes_on(last)
    }
}

/// The waiter must end because of a notification.
fn goes_on(waiter: Witness) -> Result<(), String> {
    match waiter.finish_within(BOUND)? {
        1 => Ok(()),
        other => Err(format!("a waiter ended with {other}")),
    }
}

fn still_waits(waiter: &Witness) -> Result<(), String> {
    match waiter.settle()? {
        Settled::Asleep => Ok(()),
        Settled::Finished => Err("a waiter went on that was not notified".to_owned()),
    }
}

/// The victim notifies, under the lock.
struct Notify {
    waiting: usize,
    count: usize,
    /// Whether the oldest waiter of all has died.
    deserted: bool,
    /// Whether it unlocks then. Another process waits for the lock all the time: so it doesn't matter for the steps of the
    /// victim when those who are notified begin to.
    unlocks: bool,
    /// Whether a third process takes the lock before the death, if it is free, and gives it back after.
    third: bool,
}

impl Notify {
    fn new(waiting: usize, count: usize) -> Notify {
        Notify { waiting, count, deserted: false, unlocks: false, third: false }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Notified {
    shared: Page<Shared>,
    /// From the oldest to the youngest.
    waiters: Vec<Witness>,
    locker: Option<Witness>,
    third: Option<Holder>,
}

impl Operation for Notify {
    type State = Notified;

    fn prepare(&self) -> Result<Notified, String> {
        let shared = Shared::new(None)?;
        let deserter = if self.deserted { Some(shared.waiter()?) } else { None };
        let waiters = (0..self.waiting).map(|_| shared.waiter()).collect::<Result<_, _>>()?;
        // Only now, or the next to come would have its entry.
        drop(deserter);
        Ok(Notified { shared, waiters, locker: None, third: None })
    }

    fn enter(&self, scene: &Notified) {
        rehearse();
        scene.shared.lock();
    }

    fn entered(&self, scene: &mut Notified) -> Result<(), String> {
        if self.unlocks {
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

    fn run(&self, scene: &Notified) {
        scene.shared.condvar.notify(self.count);
        if self.unlocks {
            scene.shared.unlock();
        }
    }

    fn doomed(&self, scene: &mut Notified, _: &Kill) -> Result<(), String> {
        if self.third {
            scene.third = scene.shared.third()?;
        }
        Ok(())
    }

    fn verify(&self, mut scene: Notified, kill: &Kill) -> Result<&'static str, String> {
        let wanted = self.count.min(self.waiting);
        let waiting = scene.shared.condvar.waiting();
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
}

/// The victim, under the lock, waits and then unlocks. When it sleeps, another comes and waits behind it.
struct Wait {
    notifier: Notifier,
    run: fn(&Shared),
    /// Who waits before the victim comes.
    older: usize,
    /// Whether another process takes the lock before the death, if it is free, and gives it back after.
    third: bool,
}

impl Wait {
    fn new(notifier: Notifier) -> Wait {
        Wait { notifier, run: |shared| _ = shared.wait_locked(None), older: 0, third: false }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

fn give_up_at_once(shared: &Shared) {
    shared.wait_locked(Some(Deadline::now()));
}

struct Waited {
    shared: Page<Shared>,
    survivors: Vec<Witness>,
    notifier: Option<Holder>,
    third: Option<Holder>,
    /// Whether a notification was made.
    notified: bool,
    /// Whether it was there, and the victim had not consumed it, when it was about to be killed.
    pending: bool,
}

impl Waited {
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

impl Operation for Wait {
    type State = Waited;

    fn prepare(&self) -> Result<Waited, String> {
        let shared = Shared::new(Some(SLICE))?;
        let survivors = (0..self.older).map(|_| shared.waiter()).collect::<Result<_, _>>()?;
        let (notifier, third) = (None, None);
        Ok(Waited { shared, survivors, notifier, third, notified: false, pending: false })
    }

    fn enter(&self, scene: &Waited) {
        rehearse();
        // Its steps have to be the same each time.
        set_sleep_slice(None);
        scene.shared.lock();
    }

    fn run(&self, scene: &Waited) {
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

    fn asleep(&self, scene: &mut Waited, nth: usize) -> Result<Sleep, String> {
        match (nth, self.notifier, scene.notifier.take()) {
            (0, Notifier::Unlocks, _) => {
                scene.add_survivor()?;
                scene.shared.notifier()?.release()?;
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

    fn doomed(&self, scene: &mut Waited, _: &Kill) -> Result<(), String> {
        if self.third {
            scene.add_third()?;
        }
        // The victim lives, so that nobody else has it yet.
        scene.pending = scene.shared.notified() > 0;
        Ok(())
    }

    fn verify(&self, mut scene: Waited, kill: &Kill) -> Result<&'static str, String> {
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
    let shared = Shared::new(None)?;
    let sleeper = shared.waiter()?;
    let enter = || {
        rehearse();
        shared.lock();
    };
    let mut notifier = Victim::spawn(enter, || {
        shared.condvar.notify(1);
        shared.unlock();
    })?;
    notifier.run_until_syscall_entry(is_wake)?;
    if shared.condvar.waiting() != 1 {
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

/// S2: a notified waiter dies before it looks, when a third process has the lock. The other one inherits.
fn woken_waiter() -> Result<Report, String> {
    let shared = Shared::new(Some(SLICE))?;
    let enter = || {
        rehearse();
        set_sleep_slice(None);
        shared.lock();
    };
    let mut waiter = Victim::spawn(enter, || _ = shared.wait_locked(None))?;
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
    let shared = Shared::new(Some(SLICE))?;
    let enter = || {
        rehearse();
        set_sleep_slice(None);
        shared.lock();
    };
    let mut waiter = Victim::spawn(enter, || _ = shared.wait_locked(Deadline::after(TIMEOUT)))?;
    let sleeps = |number, args| number == libc::SYS_futex && !is_wake(number, args);
    waiter.run_until_syscall_entry(sleeps)?;
    if waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep".to_owned());
    }
    let sleeper = shared.waiter()?;
    let holder = Holder::spawn(
        || shared.try_lock().into(),
        || {
            shared.condvar.notify(1);
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
    let shared = Shared::new(Some(SLICE))?;
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
    let shared = Shared::new(Some(SLICE))?;
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
            shared.condvar.notify(2);
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
