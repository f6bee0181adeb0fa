//! `Queue`: what was committed comes exactly once, what was not never, and nobody waits for the dead.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.

use crate::crowd::Role::{Consumer, Producer};
use crate::scenario::{Report, Scenario};
use crate::transfer::{Act, COMMITTED, Case, FREED, LEFT, NOT_COMMITTED};

type Numbers = Case<u64>;
/// Its items are records of 12 words.
type Texts = Case<String>;

const PUT: &[&str] = &[COMMITTED, NOT_COMMITTED];
const GET: &[&str] = &[FREED, LEFT];

/// A full queue of four.
const FULL: (u64, u64) = (4, 0);
/// An empty queue that was used.
const EMPTY: (u64, u64) = (2, 2);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "queue::put", run: || Numbers::new(Act::Put)?.test(PUT) },
    Scenario {
        name: "queue::first_put_of_a_process",
        run: || Numbers { first_use: true, ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "queue::put_with_survivors_behind",
        run: || Numbers { behind: (1, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "queue::put_with_sleeping_consumer",
        run: || Numbers { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "queue::put_with_two_sleeping_consumers",
        run: || Numbers { before: EMPTY, asleep: (Consumer, 2), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "queue::put_behind_a_pad", run: || before_the_end(Act::Put, 2)?.test(PUT) },
    Scenario {
        name: "queue::put_behind_a_pad_with_sleeping_consumer",
        run: || Texts { asleep: (Consumer, 1), ..before_the_end(Act::Put, 0)? }.test(PUT),
    },
    Scenario {
        name: "queue::put_blocked",
        run: || Numbers { before: FULL, ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "queue::put_blocked_with_producer_behind",
        run: || Numbers { before: FULL, behind: (1, 0), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "queue::try_put", run: || Numbers::new(Act::TryPut)?.test(PUT) },
    Scenario {
        name: "queue::try_put_with_sleeping_consumer",
        run: || Numbers { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::TryPut)? }.test(PUT),
    },
    Scenario {
        name: "queue::try_put_into_a_full_queue",
        run: || {
            let full = Numbers { before: FULL, in_vain: true, ..Case::new(Act::TryPut)? };
            only(Numbers { asleep: (Producer, 1), ..full }.test(&[NOT_COMMITTED])?, COMMITTED)
        },
    },
    Scenario { name: "queue::get", run: || Numbers::new(Act::Get)?.test(GET) },
    Scenario {
        name: "queue::first_get_of_a_process",
        run: || Numbers { first_use: true, ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "queue::get_with_survivors_behind",
        run: || Numbers { behind: (1, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "queue::get_with_blocked_producer",
        run: || Numbers { before: FULL, asleep: (Producer, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "queue::get_with_two_blocked_producers",
        run: || Numbers { before: FULL, asleep: (Producer, 2), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario { name: "queue::get_behind_a_pad", run: || behind_the_end(Act::Get)?.test(GET) },
    Scenario {
        name: "queue::get_behind_a_pad_with_blocked_producer",
        run: || Texts { asleep: (Producer, 1), ..behind_the_end(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "queue::get_blocked",
        run: || Numbers { before: EMPTY, ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "queue::get_blocked_with_consumer_behind",
        run: || Numbers { before: EMPTY, behind: (0, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario { name: "queue::try_get", run: || Numbers::new(Act::TryGet)?.test(GET) },
    Scenario {
        name: "queue::try_get_with_blocked_producer",
        run: || Numbers { before: FULL, asleep: (Producer, 1), ..Case::new(Act::TryGet)? }.test(GET),
    },
    Scenario {
        name: "queue::try_get_from_an_empty_queue",
        run: || {
            let empty = Numbers { before: EMPTY, in_vain: true, ..Case::new(Act::TryGet)? };
            only(Numbers { asleep: (Consumer, 1), ..empty }.test(&[LEFT])?, FREED)
        },
    },
];

/// A ring of 64 words whose tail is 4 words before the end, with `left` items in it: the next is put behind a pad.
fn before_the_end(act: Act, left: u64) -> Result<Texts, String> {
    Ok(Texts { before: (5, 5 - left), full_at: 4, ..Case::new(act)? })
}

/// A ring of 32 words whose one item lies behind a pad, and whose next put needs the words of that pad.
fn behind_the_end(act: Act) -> Result<Texts, String> {
    Ok(Texts { ring_bytes: 256, full_at: 1, before: (3, 2), ..Case::new(act)? })
}

fn only(report: Report, never: &str) -> Result<Report, String> {
    if report.count(never) == 0 { Ok(report) } else { Err(format!("done in vain: {report}")) }
}
