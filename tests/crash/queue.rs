//! `Queue`, and `RawRing` below it: what was committed comes exactly once, what was not never, nobody waits for the dead.
//!
//! The sleep slice is off, so that a survivor goes on because it was woken and not because it timed out.

use multiproc::Queue;

use crate::crowd::Role::{Consumer, Producer};
use crate::fifo::{RawFifo, Size};
use crate::scenario::{Report, Scenario};
use crate::shutdown;
use crate::transfer::{Act, COMMITTED, Case, FREED, LEFT, NOT_COMMITTED};

type Public = Case<Queue<u64>>;
type Raw = Case<RawFifo>;

const PUT: &[&str] = &[COMMITTED, NOT_COMMITTED];
const GET: &[&str] = &[FREED, LEFT];

/// A full queue of four.
const FULL: (u64, u64) = (4, 0);
/// An empty queue that was used.
const EMPTY: (u64, u64) = (2, 2);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "queue::put", run: || Public::new(Act::Put)?.test(PUT) },
    Scenario {
        name: "queue::put_with_sleeping_consumer",
        run: || Public { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "queue::get", run: || Public::new(Act::Get)?.test(GET) },
    Scenario {
        name: "queue::get_with_blocked_producer",
        run: || Public { before: FULL, asleep: (Producer, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario { name: "ring::put", run: || Raw::new(Act::Put)?.test(PUT) },
    Scenario {
        name: "ring::first_put_of_a_process",
        run: || Raw { first_use: true, ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "ring::put_with_survivors_behind",
        run: || Raw { behind: (1, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "ring::put_with_sleeping_consumer",
        run: || Raw { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario {
        name: "ring::put_with_two_sleeping_consumers",
        run: || Raw { before: EMPTY, asleep: (Consumer, 2), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "ring::put_behind_a_pad", run: || before_the_end(2)?.test(PUT) },
    Scenario {
        name: "ring::put_behind_a_pad_with_sleeping_consumer",
        run: || Raw { asleep: (Consumer, 1), ..before_the_end(0)? }.test(PUT),
    },
    Scenario { name: "ring::put_blocked", run: || Raw { before: FULL, ..Case::new(Act::Put)? }.test(PUT) },
    Scenario {
        name: "ring::put_blocked_with_producer_behind",
        run: || Raw { before: FULL, behind: (1, 0), ..Case::new(Act::Put)? }.test(PUT),
    },
    Scenario { name: "ring::try_put", run: || Raw::new(Act::TryPut)?.test(PUT) },
    Scenario {
        name: "ring::try_put_with_sleeping_consumer",
        run: || Raw { before: EMPTY, asleep: (Consumer, 1), ..Case::new(Act::TryPut)? }.test(PUT),
    },
    Scenario {
        name: "ring::try_put_into_a_full_queue",
        run: || {
            let full = Raw { before: FULL, in_vain: true, ..Case::new(Act::TryPut)? };
            only(Raw { asleep: (Producer, 1), ..full }.test(&[NOT_COMMITTED])?, COMMITTED)
        },
    },
    Scenario { name: "ring::get", run: || Raw::new(Act::Get)?.test(GET) },
    Scenario {
        name: "ring::first_get_of_a_process",
        run: || Raw { first_use: true, ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "ring::get_with_survivors_behind",
        run: || Raw { behind: (1, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "ring::get_with_blocked_producer",
        run: || Raw { before: FULL, asleep: (Producer, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario {
        name: "ring::get_with_two_blocked_producers",
        run: || Raw { before: FULL, asleep: (Producer, 2), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario { name: "ring::get_behind_a_pad", run: || behind_the_end()?.test(GET) },
    Scenario {
        name: "ring::get_behind_a_pad_with_blocked_producer",
        run: || Raw { asleep: (Producer, 1), ..behind_the_end()? }.test(GET),
    },
    Scenario { name: "ring::get_blocked", run: || Raw { before: EMPTY, ..Case::new(Act::Get)? }.test(GET) },
    Scenario {
        name: "ring::get_blocked_with_consumer_behind",
        run: || Raw { before: EMPTY, behind: (0, 1), ..Case::new(Act::Get)? }.test(GET),
    },
    Scenario { name: "ring::try_get", run: || Raw::new(Act::TryGet)?.test(GET) },
    Scenario {
        name: "ring::try_get_with_blocked_producer",
        run: || Raw { before: FULL, asleep: (Producer, 1), ..Case::new(Act::TryGet)? }.test(GET),
    },
    Scenario {
        name: "ring::try_get_from_an_empty_queue",
        run: || {
            let empty = Raw { before: EMPTY, in_vain: true, ..Case::new(Act::TryGet)? };
            only(Raw { asleep: (Consumer, 1), ..empty }.test(&[LEFT])?, FREED)
        },
    },
    Scenario {
        name: "queue::shutdown_with_sleeping_consumers",
        run: || shutdown::Case::<Queue<u64>>::new(Consumer, 2)?.test(),
    },
    Scenario { name: "ring::shutdown", run: || shutdown::Case::<RawFifo>::new(Consumer, 0)?.test() },
    Scenario {
        name: "ring::shutdown_with_blocked_producers",
        run: || shutdown::Case::<RawFifo>::new(Producer, 2)?.test(),
    },
];

/// A ring of 64 words whose tail is 4 words before the end, with `left` items in it: the next is put behind a pad.
fn before_the_end(left: u64) -> Result<Raw, String> {
    Ok(Raw { size: long_items(512), before: (5, 5 - left), ..Case::new(Act::Put)? })
}

/// A ring of 32 words whose one item lies behind a pad, and whose next put needs the words of that pad.
fn behind_the_end() -> Result<Raw, String> {
    Ok(Raw { size: long_items(256), full_at: 1, before: (3, 2), ..Case::new(Act::Get)? })
}

/// Items whose records are 12 words long.
fn long_items(ring_bytes: usize) -> Size {
    Size { max_items: 8, ring_bytes, item_bytes: 72 }
}

fn only(report: Report, never: &str) -> Result<Report, String> {
    if report.count(never) == 0 { Ok(report) } else { Err(format!("done in vain: {report}")) }
}
