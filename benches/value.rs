//! `Value`, `RawValue`, `Array` and `RawArray` beside `std::sync::Mutex<u64>`, bare atomics and memcpy, on one thread:
//! `cargo bench --bench value [-- --quick]`.
//!
//! Time is the thread's CPU time, so that what else the machine does is not counted. A full run fails if a ratio is over
//! its limit.

#[path = "rounds/cpu.rs"]
mod cpu;
mod rounds;

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cpu::timed;
use multiproc::{Array, RawArray, RawValue, Value};
use rounds::{Contestant, Figures};

const STD: &str = "std Mutex<u64> += 1";
const GET: &str = "Value get";
const SET: &str = "Value set";
const UPDATE: &str = "Value update";
const GUARD: &str = "Value guard += 1";
const ELEMENT_GET: &str = "Array get";
const ELEMENT_SET: &str = "Array set";
const ELEMENT_UPDATE: &str = "Array update";

const BARE_LOAD: &str = "AtomicU64 load";
const BARE_STORE: &str = "AtomicU64 store";
const BARE_ADD: &str = "AtomicU64 fetch_add";
const LOAD: &str = "RawValue load";
const STORE: &str = "RawValue store";
const ADD: &str = "RawValue fetch_add";
const RAW_ELEMENT: &str = "RawArray load";

const MEMCPY: &str = "memcpy";
const READ: &str = "Array read";
const WRITE: &str = "Array write";
const SLICE: &str = "Array guard copy";
const RAW_READ: &str = "RawArray read";
const RAW_WRITE: &str = "RawArray write";

/// Whose time, beside whose, and how many times as long it may take and should take.
type Limit = (&'static str, &'static str, f64, f64);

const LOCKED: &[Limit] = &[
    (GET, STD, 2.2, 1.8),
    (SET, STD, 2.2, 1.8),
    (UPDATE, STD, 2.2, 1.8),
    (ELEMENT_GET, STD, 2.2, 2.0),
    (ELEMENT_SET, STD, 2.2, 2.0),
    (ELEMENT_UPDATE, STD, 2.2, 2.0),
];
/// A load takes half a nanosecond: a few tenths more are the loop's.
const BARE: &[Limit] =
    &[(LOAD, BARE_LOAD, 1.5, 1.1), (STORE, BARE_STORE, 1.2, 1.1), (ADD, BARE_ADD, 1.2, 1.1)];
/// A bandwidth of at least 0.95 times that of memcpy.
const BULK: &[Limit] = &[
    (READ, MEMCPY, 1.0 / 0.85, 1.0 / 0.95),
    (WRITE, MEMCPY, 1.0 / 0.85, 1.0 / 0.95),
    (SLICE, MEMCPY, 1.0 / 0.85, 1.0 / 0.95),
];

/// Alone on its cache lines.
#[repr(align(128))]
struct Line<T>(T);

fn main() -> multiproc::Result<ExitCode> {
    let mut within = locked()? & bare()?;
    for kilobytes in [64, 8 << 10] {
        within &= bulk(kilobytes << 10)?;
    }
    let passed = within || rounds::is_quick();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rounds, and operations in each.
fn size(operations: u64) -> (usize, u64) {
    if rounds::is_quick() { (3, operations.div_ceil(100)) } else { (51, operations) }
}

fn locked() -> multiproc::Result<bool> {
    let std = Line(Mutex::new(0u64));
    let (value, array) = (Value::new(0u64)?, Array::<u64>::zeroed(1000)?);
    let mut contestants = [
        Contestant::new(STD, |n| timed(n, || *black_box(&std.0).lock().expect("not poisoned") += 1)),
        Contestant::new(GET, |n| timed(n, || _ = black_box(black_box(&value).get()))),
        Contestant::new(SET, |n| timed(n, || black_box(&value).set(black_box(1)).expect("unlocked"))),
        Contestant::new(UPDATE, |n| {
            timed(n, || black_box(&value).update(|number| *number += 1).expect("unlocked"))
        }),
        Contestant::new(GUARD, |n| timed(n, || *black_box(&value).lock().expect("unlocked") += 1)),
        Contestant::new(ELEMENT_GET, |n| {
            timed(n, || _ = black_box(black_box(&array).get(black_box(500)).expect("unlocked")))
        }),
        Contestant::new(ELEMENT_SET, |n| {
            timed(n, || black_box(&array).set(black_box(500), black_box(1)).expect("unlocked"))
        }),
        Contestant::new(ELEMENT_UPDATE, |n| {
            timed(n, || black_box(&array).update(black_box(500), |number| *number += 1).expect("unlocked"))
        }),
    ];
    let (rounds, operations) = size(200_000);
    Ok(print(&rounds::measure(&mut contestants, rounds, operations), LOCKED))
}

fn bare() -> multiproc::Result<bool> {
    let atomic = Line(AtomicU64::new(0));
    let (value, array) = (RawValue::new(0u64)?, RawArray::<u64>::zeroed(1000)?);
    let mut contestants = [
        Contestant::new(BARE_LOAD, |n| timed(n, || _ = black_box(black_box(&atomic.0).load(SeqCst)))),
        Contestant::new(LOAD, |n| timed(n, || _ = black_box(black_box(&value).load()))),
        Contestant::new(RAW_ELEMENT, |n| {
            timed(n, || _ = black_box(black_box(&array).load(black_box(500)).expect("in range")))
        }),
        Contestant::new(BARE_STORE, |n| timed(n, || black_box(&atomic.0).store(1, SeqCst))),
        Contestant::new(STORE, |n| timed(n, || black_box(&value).store(1))),
        Contestant::new(BARE_ADD, |n| timed(n, || _ = black_box(black_box(&atomic.0).fetch_add(1, SeqCst)))),
        Contestant::new(ADD, |n| timed(n, || _ = black_box(black_box(&value).fetch_add(1)))),
    ];
    let (rounds, operations) = size(500_000);
    Ok(print(&rounds::measure(&mut contestants, rounds, operations), BARE))
}

fn bulk(bytes: usize) -> multiproc::Result<bool> {
    println!("{} KiB of u64:\n", bytes >> 10);
    let len = bytes / size_of::<u64>();
    let (array, raw) = (Array::<u64>::zeroed(len)?, RawArray::<u64>::zeroed(len)?);
    // One buffer for all, so that none has the better alignment.
    let buffer = RefCell::new(vec![1u64; len]);
    let mut contestants = [
        Contestant::new(MEMCPY, |n| {
            let (from, mut to) = (array.lock().expect("unlocked"), buffer.borrow_mut());
            timed(n, || black_box(&mut *to).copy_from_slice(black_box(&from)))
        }),
        Contestant::new(READ, |n| {
            let mut to = buffer.borrow_mut();
            timed(n, || array.read(.., black_box(&mut *to)).expect("unlocked"))
        }),
        Contestant::new(WRITE, |n| {
            let from = buffer.borrow();
            timed(n, || array.write(.., black_box(&*from)).expect("unlocked"))
        }),
        Contestant::new(SLICE, |n| {
            let mut to = buffer.borrow_mut();
            timed(n, || black_box(&mut *to).copy_from_slice(&array.lock().expect("unlocked")))
        }),
        Contestant::new(RAW_READ, |n| {
            let mut to = buffer.borrow_mut();
            timed(n, || raw.read(.., black_box(&mut *to)).expect("in range"))
        }),
        Contestant::new(RAW_WRITE, |n| {
            let from = buffer.borrow();
            timed(n, || raw.write(.., black_box(&*from)).expect("in range"))
        }),
    ];
    let (rounds, operations) = size(u64::try_from((1 << 26) / bytes).unwrap_or(1));
    Ok(print(&rounds::measure(&mut contestants, rounds, operations), BULK))
}

/// Prints what was measured and how the limits were kept.
fn print(figures: &Figures, limits: &[Limit]) -> bool {
    println!("| | ns |\n|---|---|");
    for name in figures.names() {
        println!("| {name} | {:.2} |", figures.nanos(name));
    }
    println!();
    let mut within = true;
    for &(name, peer, limit, goal) in limits {
        let ratio = figures.ratio(name, peer);
        let verdict = match ratio {
            ratio if ratio <= goal => "goal reached",
            ratio if ratio <= limit => "within the limit, goal missed",
            _ => "OVER THE LIMIT",
        };
        println!("{name} / {peer}: {ratio:.2} (limit {limit:.2}, goal {goal:.2}): {verdict}");
        within &= ratio <= limit;
    }
    println!();
    within
}
