//! `Event`: a killed setter has set it and woken everybody, or has done neither.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.

use multiproc::Event;

use crate::scenario::{Report, Scenario};
use crate::tracer::{Kill, Mode, Operation, Sleep, kill_at_every_instruction};
use crate::witness::{BOUND, Settled, Witness};

const SET: &str = "the event set";
const NOT_SET: &str = "the event not set";
const BOTH: &[&str] = &[SET, NOT_SET];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "event::set", run: || Case::new(Event::set).test(BOTH) },
    Scenario {
        name: "event::set_with_sleepers",
        run: || Case { asleep: 2, ..Case::new(Event::set) }.test(BOTH),
    },
    Scenario {
        name: "event::clear",
        run: || Case { set_before: true, ends_set: false, ..Case::new(Event::clear) }.test(BOTH),
    },
    Scenario { name: "event::wait", run: || Case::new(Event::wait).test(BOTH) },
    Scenario {
        name: "event::wait_with_sleepers",
        run: || Case { asleep: 1, behind: 1, ..Case::new(Event::wait) }.test(BOTH),
    },
];

/// One operation on an event, killed at each instruction.
struct Case {
    run: fn(&Event),
    set_before: bool,
    ends_set: bool,
    /// Waiters before the victim comes.
    asleep: usize,
    /// Waiters that come when the victim sleeps.
    behind: usize,
}

impl Case {
    fn new(run: fn(&Event)) -> Case {
        Case { run, set_before: false, ends_set: true, asleep: 0, behind: 0 }
    }

    fn test(&self, notes: &[&str]) -> Result<Report, String> {
        kill_at_every_instruction(self, Mode::Replay)?.demand(notes)
    }
}

struct Scene {
    event: Event,
    waiters: Vec<Witness>,
}

impl Scene {
    fn add_waiters(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let waiter = Witness::spawn(|| {
                self.event.wait();
                1
            })?;
            waiter.wait_until_asleep()?;
            self.waiters.push(waiter);
        }
        Ok(())
    }
}

impl Operation for Case {
    type State = Scene;

    fn prepare(&self) -> Result<Scene, String> {
        multiproc::testing::set_sleep_slice(None);
        let event = Event::new().map_err(|error| error.to_string())?;
        if self.set_before {
            event.set();
        }
        Ok(Scene { event, waiters: Vec::new() })
    }

    fn entered(&self, scene: &mut Scene) -> Result<(), String> {
        scene.add_waiters(self.asleep)
    }

    fn run(&self, scene: &Scene) {
        (self.run)(&scene.event);
    }

    fn asleep(&self, scene: &mut Scene, nth: usize) -> Result<Sleep, String> {
        if nth > 0 {
            return Ok(Sleep::Last);
        }
        scene.add_waiters(self.behind)?;
        scene.event.set();
        Ok(Sleep::Woken)
    }

    fn verify(&self, scene: Scene, kill: &Kill) -> Result<&'static str, String> {
        let set = scene.event.is_set();
        if kill.is_after_the_end() && set != self.ends_set {
            return Err(format!("the operation was over, but set is {set}"));
        }
        if !set {
            for waiter in &scene.waiters {
                if waiter.settle()? == Settled::Finished {
                    return Err("a waiter went on, but the event is not set".to_owned());
                }
            }
            scene.event.set();
        }
        for waiter in scene.waiters {
            waiter.finish_within(BOUND)?;
        }
        scene.event.clear();
        let last = Witness::spawn(|| {
            scene.event.wait();
            1
        })?;
        last.wait_until_asleep()?;
        scene.event.set();
        last.finish_within(BOUND)?;
        Ok(if set { SET } else { NOT_SET })
    }
}
