//! `RawBarrier` and its handle: wherever a party dies, the others pass together or are told together that the barrier is broken.
//!
//! Those who wait have to notice the death of an arrival, asleep on another word: where that is tested the sleep slice is on,
//! and short. Where it is off, somebody breaks the barrier in place of the slices, if there is a dead arrival and the cycle
//! has not ended; so a cycle that has ended must have woken everybody.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use multiproc::raw::{BarrierError, Deadline, RawBarrier};
use multiproc::testing::set_sleep_slice;
use multiproc::{Barrier, BrokenBarrier};

use crate::holes::is_wake;
use crate::mutex::rehearse;
use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Settled, Witness};

const USABLE: &str = "the barrier as before";
const BROKEN: &str = "the barrier broken";
const ENDED: &str = "the cycle ended";
const PASSED: &str = "the others passed";

/// Short, so that a test does not wait longer than it must; the default is 100 ms.
const SLICE: Duration = Duration::from_millis(2);

/// What a party's wait came to, as its process reports it: its index, or one of these.
const TOLD_BROKEN: u64 = 100;
const FAILED: u64 = 101;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "barrier::first_arrival", run: || Raw::arrival(2, 0).test(&[USABLE, BROKEN]) },
    Scenario { name: "barrier::second_of_three", run: || Raw::arrival(3, 1).test(&[USABLE, BROKEN]) },
    Scenario { name: "barrier::last_arrival", run: || Raw::arrival(3, 2).test(&[USABLE, BROKEN, ENDED]) },
    Scenario {
        name: "barrier::last_arrival_wakes_without_slices",
        run: || Raw { slice: None, ..Raw::arrival(3, 2) }.test(&[USABLE, BROKEN, ENDED]),
    },
    Scenario {
        name: "barrier::arrival_that_is_woken",
        run: || Raw { slice: None, completed: true, ..Raw::arrival(2, 0) }.test(&[USABLE, BROKEN, PASSED]),
    },
    Scenario {
        name: "barrier::arrival_that_times_out",
        run: || {
            let run = |shared: &Shared<One>| _ = shared.pass(Some(Duration::ZERO));
            Raw { run, ends: BROKEN, ..Raw::arrival(2, 0) }.test(&[USABLE, BROKEN])
        },
    },
    Scenario {
        name: "barrier::reset",
        run: || Raw { run: reset, ends: USABLE, ..Raw::arrival(2, 0) }.test(&[USABLE]),
    },
    Scenario {
        name: "barrier::reset_with_sleepers",
        run: || {
            let case = Raw { run: reset, ends: ENDED, ..Raw::operation(3, 2) };
            // Single steps, because what the victim finds to wipe depends on how far those are that it has woken.
            kill_at_every_instruction(&case, Mode::Step)?.demand(&[USABLE, BROKEN, ENDED])
        },
    },
    Scenario {
        name: "barrier::reset_of_a_broken_one",
        run: || {
            let case = Raw { run: reset, before: Before::Broken, ends: USABLE, ..Raw::operation(2, 0) };
            case.test(&[USABLE, BROKEN])
        },
    },
    Scenario {
        name: "barrier::reset_after_arrival_died",
        run: || {
            let case = Raw { run: reset, before: Before::Deserted, ends: USABLE, ..Raw::operation(2, 0) };
            case.test(&[USABLE, BROKEN])
        },
    },
    Scenario {
        name: "barrier::abort_with_sleepers",
        run: || {
            let run = |barrier: &Shared<One>| barrier.barrier.abort();
            Raw { run, ends: BROKEN, ..Raw::operation(3, 2) }.test(&[USABLE, BROKEN])
        },
    },
    Scenario {
        name: "barrier::second_of_three_by_a_handle",
        run: || Handle::arrival(3, 1).test(&[USABLE, BROKEN]),
    },
    Scenario {
        name: "barrier::last_arrival_by_a_handle",
        run: || Handle { slice: None, ..Case::arrival(3, 2) }.test(&[USABLE, BROKEN, ENDED]),
    },
    Scenario {
        name: "barrier::arrival_by_a_handle_that_is_woken",
        run: || {
            Handle { slice: None, completed: true, ..Case::arrival(2, 0) }.test(&[USABLE, BROKEN, PASSED])
        },
    },
    Scenario {
        name: "barrier::arrival_by_a_handle_that_times_out",
        run: || {
            let run = |shared: &Shared<Barrier>| _ = shared.pass(Some(Duration::ZERO));
            Handle { run, ends: BROKEN, ..Case::arrival(2, 0) }.test(&[USABLE, BROKEN])
        },
    },
    Scenario {
        name: "barrier::reset_by_a_handle",
        run: || Handle { run: reset, ends: USABLE, ..Case::arrival(2, 0) }.test(&[USABLE]),
    },
    Scenario {
        name: "barrier::reset_by_a_handle_with_sleepers",
        run: || {
            let case = Handle { run: reset, ends: ENDED, ..Case::operation(3, 2) };
            kill_at_every_instruction(&case, Mode::Step)?.demand(&[USABLE, BROKEN, ENDED])
        },
    },
    Scenario {
        name: "barrier::reset_by_a_handle_after_arrival_died",
        run: || {
            let case = Handle { run: reset, before: Before::Deserted, ends: USABLE, ..Case::operation(2, 0) };
            case.test(&[USABLE, BROKEN])
        },
    },
    Scenario {
        name: "barrier::abort_by_a_handle_with_sleepers",
        run: || {
            let run = |shared: &Shared<Barrier>| shared.barrier.abort();
            Handle { run, ends: BROKEN, ..Case::operation(3, 2) }.test(&[USABLE, BROKEN])
        },
    },
    Scenario { name: "barrier::s1_goes_on", run: last_arrival_at_its_wake },
    Scenario { name: "barrier::s2_goes_on", run: woken_party },
];

/// A barrier under test.
trait Gathering: Sized {
    fn make(parties: u32) -> Result<Self, String>;

    /// The index, or `TOLD_BROKEN` or `FAILED`.
    fn pass(&self, timeout: Option<Duration>, action: impl FnOnce()) -> u64;
    fn reset(&self) -> Result<(), String>;
    fn abort(&self);
    fn parties(&self) -> u32;
    fn waiting(&self) -> u32;
    fn is_broken(&self) -> bool;
}

type One = RawBarrier<4>;
type Raw = Case<One>;
type Handle = Case<Barrier>;

/// A barrier, and how often its action has run.
struct Shared<B> {
    barrier: B,
    acted: AtomicU32,
}

impl<B: Gathering> Shared<B> {
    fn new(parties: u32, slice: Option<Duration>) -> Result<Page<Self>, String> {
        set_sleep_slice(slice);
        rehearse();
        Page::new(Shared { barrier: B::make(parties)?, acted: AtomicU32::new(0) })
    }

    fn pass(&self, timeout: Option<Duration>) -> u64 {
        // Relaxed: the barrier orders it.
        self.barrier.pass(timeout, || _ = self.acted.fetch_add(1, Ordering::Relaxed))
    }

    /// A process that comes to the barrier.
    fn party(&self) -> Result<Witness, String> {
        Witness::spawn(|| self.pass(None))
    }

    fn sleepers(&self, count: usize) -> Result<Vec<Witness>, String> {
        let mut sleepers = Vec::new();
        for _ in 0..count {
            let party = self.party()?;
            party.wait_until_asleep()?;
            sleepers.push(party);
        }
        Ok(sleepers)
    }

    /// As many come as are missing beside those who wait, the test among them, and all pass, each with an index of its own.
    fn all_pass(&self, waiting: Vec<Witness>) -> Result<(), String> {
        let parties = self.barrier.parties() as usize;
        let mut all = waiting;
        while all.len() + 1 < parties {
            all.push(self.party()?);
        }
        let acted = self.acted.load(Ordering::Relaxed);
        let mut indices = vec![self.pass(Some(BOUND))];
        for party in all {
            indices.push(party.finish_within(BOUND)?);
        }
        indices.sort_unstable();
        if indices != (0..parties as u64).collect::<Vec<_>>() {
            return Err(format!("{parties} parties came, and got {indices:?}"));
        }
        let waiting = self.barrier.waiting();
        if waiting != 0 || self.barrier.is_broken() {
            return Err(format!("all have passed, but {waiting} wait"));
        }
        let acted = self.acted.load(Ordering::Relaxed) - acted;
        if acted == 1 { Ok(()) } else { Err(format!("the action has run {acted} times")) }
    }

    fn reset(&self) -> Result<(), String> {
        self.barrier.reset()
    }
}

fn reset<B: Gathering>(shared: &Shared<B>) {
    let _ = shared.reset();
}

fn told_broken(party: Witness) -> Result<(), String> {
    match party.finish_within(BOUND)? {
        TOLD_BROKEN => Ok(()),
        other => Err(format!("a party of a broken barrier got {other}")),
    }
}

/// What has happened to the barrier before anybody waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Nothing,
    Broken,
    /// A party has died asleep, and nobody has noticed.
    Deserted,
}

/// One operation on a barrier, killed at each instruction.
struct Case<B> {
    parties: u32,
    asleep: usize,
    before: Before,
    slice: Option<Duration>,
    /// Whether the missing parties come when the victim sleeps.
    completed: bool,
    run: fn(&Shared<B>),
    /// The class of the death after the operation's end.
    ends: &'static str,
}

impl<B: Gathering> Case<B> {
    /// The victim comes to a barrier at which so many sleep.
    fn arrival(parties: u32, asleep: usize) -> Self {
        let is_last = asleep + 1 == parties as usize;
        Case {
            parties,
            asleep,
            before: Before::Nothing,
            slice: Some(SLICE),
            completed: false,
            run: |shared| _ = shared.pass(None),
            ends: if is_last { ENDED } else { PASSED },
        }
    }

    /// The victim does something else with it: no death has to be noticed by a sleeper.
    fn operation(parties: u32, asleep: usize) -> Self {
        Case { slice: None, ..Case::arrival(parties, asleep) }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Scene<B> {
    shared: Page<Shared<B>>,
    sleepers: Vec<Witness>,
    /// Those who came when the victim slept.
    late: Vec<Witness>,
}

impl<B: Gathering> Operation for Case<B> {
    type State = Scene<B>;

    fn prepare(&self) -> Result<Scene<B>, String> {
        let shared = Shared::<B>::new(self.parties, self.slice)?;
        match self.before {
            Before::Nothing => {}
            Before::Broken => shared.barrier.abort(),
            Before::Deserted => shared.sleepers(1)?.into_iter().for_each(Witness::kill),
        }
        let sleepers = shared.sleepers(self.asleep)?;
        Ok(Scene { shared, sleepers, late: Vec::new() })
    }

    fn enter(&self, _: &Scene<B>) {
        rehearse();
        // Its steps have to be the same each time.
        set_sleep_slice(None);
    }

    fn run(&self, scene: &Scene<B>) {
        (self.run)(&scene.shared);
    }

    fn asleep(&self, scene: &mut Scene<B>, nth: usize) -> Result<Sleep, String> {
        if nth > 0 || !self.completed {
            return Ok(Sleep::Last);
        }
        for _ in self.asleep + 1..self.parties as usize {
            let late = scene.shared.party()?;
            late.settle()?;
            scene.late.push(late);
        }
        Ok(Sleep::Woken)
    }

    fn verify(&self, scene: Scene<B>, kill: &Kill) -> Result<&'static str, String> {
        let class = self.classify(scene)?;
        if kill.is_after_the_end() && class != self.ends {
            return Err(format!("the operation was over, but {class}"));
        }
        Ok(class)
    }
}

impl<B: Gathering> Case<B> {
    fn classify(&self, scene: Scene<B>) -> Result<&'static str, String> {
        let Scene { shared, sleepers, late } = scene;
        let before = self.asleep;
        if !late.is_empty() {
            // The victim was the first and the cycle has ended.
            for (index, party) in sleepers.into_iter().chain(late).enumerate() {
                if party.finish_within(BOUND)? != index as u64 + 1 {
                    return Err("a party of a complete cycle has another index than its place".to_owned());
                }
            }
            shared.all_pass(Vec::new())?;
            return Ok(PASSED);
        }
        // In this order: none are said to wait at a barrier that is broken, and any sleeper may break it.
        let waiting = shared.barrier.waiting() as usize;
        let broken = shared.barrier.is_broken();
        if broken || waiting > before {
            if self.slice.is_none() && before > 0 {
                shared.barrier.abort();
            }
            sleepers.into_iter().try_for_each(told_broken)?;
            if shared.pass(Some(BOUND)) != TOLD_BROKEN {
                return Err("a broken barrier lets the test wait".to_owned());
            }
            if !shared.barrier.is_broken() {
                return Err("a dead arrival has not broken the barrier".to_owned());
            }
            shared.reset()?;
            shared.all_pass(Vec::new())?;
            return Ok(BROKEN);
        }
        if waiting == before {
            for sleeper in &sleepers {
                if sleeper.settle()? == Settled::Finished {
                    return Err("a party left before all had come".to_owned());
                }
            }
            shared.all_pass(sleepers)?;
            return Ok(USABLE);
        }
        if waiting > 0 {
            return Err(format!("{waiting} wait, not {before}"));
        }
        // Completed by the victim, in which case it has run the action; or reset.
        let completed = shared.acted.load(Ordering::Relaxed) == 1;
        for (index, sleeper) in sleepers.into_iter().enumerate() {
            let verdict = sleeper.finish_within(BOUND)?;
            if verdict != (if completed { index as u64 } else { TOLD_BROKEN }) {
                return Err(format!("completed: {completed}, and a party got {verdict}"));
            }
        }
        shared.all_pass(Vec::new())?;
        Ok(ENDED)
    }
}

/// S1: the last arrival dies at the entry of its wake, when a third process wants to arrive. The others are told that the
/// barrier is broken.
fn last_arrival_at_its_wake() -> Result<Report, String> {
    let shared = Shared::<One>::new(3, Some(SLICE))?;
    let sleepers = shared.sleepers(2)?;
    let mut last = Victim::spawn(rehearse, || _ = shared.pass(None))?;
    last.run_until_syscall_entry(is_wake)?;
    let third = shared.party()?;
    third.wait_until_asleep()?;
    last.kill()?;
    sleepers.into_iter().try_for_each(told_broken)?;
    told_broken(third)?;
    shared.reset()?;
    shared.all_pass(Vec::new())?;
    Ok(Report::of_one("survivors that are told"))
}

/// S2: a woken party dies before it looks, when others wait at the next cycle. It is not missed in that.
fn woken_party() -> Result<Report, String> {
    let shared = Shared::<One>::new(2, None)?;
    let mut party = Victim::spawn(rehearse, || _ = shared.pass(None))?;
    party.run_until_syscall_entry(|number, args| number == libc::SYS_futex && !is_wake(number, args))?;
    if party.finish_syscall()? != Stop::Asleep {
        return Err("the party did not sleep".to_owned());
    }
    let other = shared.party()?;
    if other.finish_within(BOUND)? != 1 {
        return Err("the last party did not pass".to_owned());
    }
    if party.wait_until_there()? != Stop::Trapped {
        return Err("the party was not woken".to_owned());
    }
    let next = shared.sleepers(1)?;
    party.kill()?;
    shared.all_pass(next)?;
    Ok(Report::of_one("survivors that pass"))
}

impl Gathering for One {
    fn make(parties: u32) -> Result<Self, String> {
        Ok(RawBarrier::new(parties))
    }

    fn pass(&self, timeout: Option<Duration>, action: impl FnOnce()) -> u64 {
        // SAFETY: the barrier lies in a page that stays mapped for as long as this process uses it.
        match unsafe { self.wait(timeout.and_then(Deadline::after), action) } {
            Ok(index) => index.into(),
            Err(BarrierError::Broken) => TOLD_BROKEN,
            Err(_) => FAILED,
        }
    }

    fn reset(&self) -> Result<(), String> {
        // SAFETY: as in `pass`.
        unsafe { RawBarrier::reset(self) }.map_err(|error| format!("reset: {error}"))
    }

    fn abort(&self) {
        RawBarrier::abort(self);
    }

    fn parties(&self) -> u32 {
        RawBarrier::parties(self)
    }

    fn waiting(&self) -> u32 {
        RawBarrier::waiting(self)
    }

    fn is_broken(&self) -> bool {
        RawBarrier::is_broken(self)
    }
}

impl Gathering for Barrier {
    fn make(parties: u32) -> Result<Self, String> {
        Barrier::new(parties).map_err(|error| error.to_string())
    }

    fn pass(&self, timeout: Option<Duration>, action: impl FnOnce()) -> u64 {
        let passed = match timeout {
            Some(timeout) => self.wait_with_timeout(timeout, action),
            None => self.wait_with(action),
        };
        match passed {
            Ok(ticket) => ticket.index().into(),
            Err(BrokenBarrier::Broken) => TOLD_BROKEN,
            Err(_) => FAILED,
        }
    }

    fn reset(&self) -> Result<(), String> {
        Barrier::reset(self).map_err(|error| format!("reset: {error}"))
    }

    fn abort(&self) {
        Barrier::abort(self);
    }

    fn parties(&self) -> u32 {
        Barrier::parties(self)
    }

    fn waiting(&self) -> u32 {
        Barrier::waiting(self)
    }

    fn is_broken(&self) -> bool {
        Barrier::is_broken(self)
    }
}
