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
    Scenario { name: "ring::put_after_a_skip", run: || before_the_end(2)?.test(PUT) },
    Scenario {
        name: "ring::put_after_a_skip_with_sleeping_consumer",
        run: || Raw { asleep: (Consumer, 1), ..before_the_end(0)? }.test(PUT),
    },
    Scenario { name: "ring::put_of_one_length", run: || of_one_length(Act::Put)?.test(PUT) },
    Scenario {
        name: "ring::put_of_one_length_with_sleeping_consumer",
        run: || Raw { before: EMPTY, asleep: (Consumer, 1), ..of_one_length(Act::Put)? }.test(PUT),
    },
    Scenario { name: "ring::get_of_one_length", run: || of_one_length(Act::Get)?.test(GET) },
    Scenario {
        name: "ring::get_of_one_length_with_blocked_producer",
        run: || Raw { before: FULL, asleep: (Producer, 1), ..of_one_length(Act::Get)? }.test(GET),
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
    Scenario { name: "ring::get_after_a_skip", run: || behind_the_end()?.test(GET) },
    Scenario {
        name: "ring::get_after_a_skip_with_blocked_producer",
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

/// Data of 64 words of which one is left at the end, with `left` items in it: the next skips to the start.
fn before_the_end(left: u64) -> Result<Raw, String> {
    Ok(Raw { size: long_items(512), full_at: 7, before: (7, 7 - left), ..Case::new(Act::Put)? })
}

/// Data of 16 words whose one item lies at their start, after a skip: there is room for no other.
fn behind_the_end() -> Result<Raw, String> {
    Ok(Raw { size: long_items(128), full_at: 1, before: (2, 1), ..Case::new(Act::Get)? })
}

/// A ring for items of 8 bytes only.
fn of_one_length(act: Act) -> Result<Raw, String> {
    Ok(Raw { size: Size { max_items: 4, ring_bytes: 0, item_bytes: 8 }, ..Case::new(act)? })
}

/// Items of 9 words of data.
fn long_items(ring_bytes: usize) -> Size {
    Size { max_items: 8, ring_bytes, item_bytes: 72 }
}

fn only(report: Report, never: &str) -> Result<Report, String> {
    if report.count(never) == 0 { Ok(report) } else { Err(format!("done in vain: {report}")) }
}
