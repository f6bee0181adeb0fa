//! `RawEvent`, set and cleared at once: who was waiting when it was set goes on, wherever the process dies that does both.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use multiproc::raw::RawEvent;

use crate::holes::is_wake;
use crate::page::Page;
use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, kill_at_every_instruction};
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Settled, Witness};

const NOTHING: &str = "nobody woken";
const SET: &str = "the event set";
const PULSE: &str = "the pulse over";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "event::pulse", run: || Pulse { third: false }.test(&[NOTHING, SET, PULSE]) },
    Scenario {
        name: "event::pulse_with_a_third_that_clears",
        run: || Pulse { third: true }.test(&[NOTHING, PULSE]),
    },
    Scenario { name: "event::s1_goes_on", run: setter_at_its_wake },
    Scenario { name: "event::s2_goes_on", run: woken_waiter },
];

/// Two wait, and the victim sets the event and clears it.
struct Pulse {
    /// Whether another process clears the event just before the death.
    third: bool,
}

impl Pulse {
    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Scene {
    event: Page<RawEvent>,
    waiters: Vec<Witness>,
}

impl Operation for Pulse {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        let event = event()?;
        let waiters = vec![sleeper(&event)?, sleeper(&event)?];
        Ok(Scene { event, waiters })
    }

    fn run(&self, scene: &Scene) {
        scene.event.set();
        scene.event.clear();
    }

    fn doomed(&self, scene: &mut Scene, _: &Kill) -> Result<(), String> {
        if self.third {
            Witness::spawn(|| {
                scene.event.clear();
                0
            })?
            .finish_within(BOUND)?;
        }
        Ok(())
    }

    fn verify(&self, scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        let class = match (generation(&scene.event), scene.event.is_set()) {
            (0, false) => NOTHING,
            (0, true) => SET,
            (1, false) => PULSE,
            other => return Err(format!("generation and SET: {other:?}")),
        };
        if kill.is_after_the_end() && class != PULSE {
            return Err(format!("the operation was over, but {class}"));
        }
        if class == NOTHING {
            for waiter in &scene.waiters {
                if waiter.settle()? == Settled::Finished {
                    return Err("a waiter went on, but the event was not set".to_owned());
                }
            }
            scene.event.set();
        }
        for waiter in scene.waiters {
            waiter.finish_within(BOUND)?;
        }
        works(&scene.event)?;
        Ok(class)
    }
}

/// How often the event has been cleared: what its word begins with, see `raw/event.rs`.
fn generation(event: &RawEvent) -> u32 {
    // SAFETY: a RawEvent is one atomic word, and lives as long as the reference to it.
    let word = unsafe { AtomicU32::from_ptr(std::ptr::from_ref(event).cast_mut().cast()) };
    word.load(Ordering::Acquire) >> 2
}

fn event() -> Result<Page<RawEvent>, String> {
    multiproc::testing::set_sleep_slice(None);
    Page::new(RawEvent::new())
}

/// A process that sleeps until the event is set.
fn sleeper(event: &RawEvent) -> Result<Witness, String> {
    let sleeper = Witness::spawn(|| event.wait(None).into())?;
    sleeper.wait_until_asleep()?;
    Ok(sleeper)
}

/// Sees that a cleared event is waited for, and that setting it wakes.
fn works(event: &RawEvent) -> Result<(), String> {
    event.clear();
    let last = sleeper(event)?;
    event.set();
    last.finish_within(BOUND).map(drop)
}

/// S1: a setter dies at the entry of its wake, and a third process clears the event. Nobody has been woken, nothing has been
/// set, and the next to set it wakes both.
fn setter_at_its_wake() -> Result<Report, String> {
    let event = event()?;
    let sleepers = [sleeper(&event)?, sleeper(&event)?];
    let mut setter = Victim::spawn(|| {}, || event.set())?;
    setter.run_until_syscall_entry(is_wake)?;
    if event.is_set() {
        return Err("the event is set before its waiters are woken".to_owned());
    }
    event.clear();
    setter.kill()?;
    event.set();
    for sleeper in sleepers {
        sleeper.finish_within(BOUND)?;
    }
    works(&event)?;
    Ok(Report::of_one("survivors that go on"))
}

/// S2: a woken waiter dies before it looks, when a third process has cleared the event.
fn woken_waiter() -> Result<Report, String> {
    let event = event()?;
    let mut waiter = Victim::spawn(|| {}, || _ = event.wait(None))?;
    waiter.run_until_syscall_entry(|number, _| number == libc::SYS_futex)?;
    if waiter.finish_syscall()? != Stop::Asleep {
        return Err("the waiter did not sleep".to_owned());
    }
    let sleeper = sleeper(&event)?;
    event.set();
    if waiter.wait_until_there()? != Stop::Trapped {
        return Err("the waiter was not woken".to_owned());
    }
    event.clear();
    waiter.kill()?;
    sleeper.finish_within(BOUND)?;
    works(&event)?;
    Ok(Report::of_one("a survivor that goes on"))
}
