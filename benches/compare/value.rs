//! `Value`, `RawValue`, `Array` and `RawArray` beside `std::sync::Mutex<u64>`, bare atomics, memcpy and CPython, on one
//! thread: `cargo bench --bench value [-- --quick]` in this directory.
//!
//! Peers run interleaved with ours; figures are medians, ratios medians of ratios within a round. Time is the thread's CPU
//! time, so that what else the machine does is not counted. A full run writes VALUE.md.

#[path = "../rounds/cpu.rs"]
mod cpu;
mod cpython;
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cpu::timed;
use cpython::CPython;
use multiproc::{Array, RawArray, RawValue, Value};
use report::{Goal, Report};
use rounds::{Contestant, Figures};

const STD: &str = "std Mutex<u64>, += 1";
const GET: &str = "**Value** get";
const SET: &str = "**Value** set";
const UPDATE: &str = "**Value** update";
const GUARD: &str = "**Value** guard, += 1";
const ELEMENT_GET: &str = "**Array** get";
const ELEMENT_SET: &str = "**Array** set";
const ELEMENT_UPDATE: &str = "**Array** update";
const PYTHON_GET: &str = "CPython Value get";
const PYTHON_ADD: &str = "CPython Value, locked += 1";
const PYTHON_ELEMENT: &str = "CPython Array[i]";

const BARE_LOAD: &str = "AtomicU64 load";
const BARE_STORE: &str = "AtomicU64 store";
const BARE_ADD: &str = "AtomicU64 fetch_add";
const LOAD: &str = "**RawValue** load";
const STORE: &str = "**RawValue** store";
const ADD: &str = "**RawValue** fetch_add";
const RAW_ELEMENT: &str = "**RawArray** load";

const MEMCPY: &str = "memcpy";
const READ: &str = "**Array** read";
const WRITE: &str = "**Array** write";
const SLICE: &str = "**Array** guard, copied";
const RAW_READ: &str = "**RawArray** read";
const RAW_WRITE: &str = "**RawArray** write";
const PYTHON_COPY: &str = "CPython Array[:]";

/// Alone on its cache lines.
#[repr(align(128))]
struct Line<T>(T);

fn main() -> multiproc::Result<()> {
    let python = CPython::start();
    let mut report = Report::default();
    report.head("Values and arrays beside their peers", "value", python.as_ref());
    locked(&mut report, python.as_ref())?;
    bare(&mut report)?;
    bulk(&mut report, 64, python.as_ref())?;
    bulk(&mut report, 8 << 10, None)?;
    if !rounds::is_quick() {
        report.write("VALUE.md");
    }
    Ok(())
}

/// Rounds, and operations in each.
fn size(operations: u64) -> (usize, u64) {
    if rounds::is_quick() { (5, operations.div_ceil(10)) } else { (51, operations) }
}

fn locked(report: &mut Report, python: Option<&CPython>) -> multiproc::Result<()> {
    let std = Line(Mutex::new(0u64));
    let (value, array) = (Value::new(0u64)?, Array::<u64>::zeroed(1000)?);
    let mut contestants = vec![
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
    for (name, operation) in
        [(PYTHON_GET, "value_get"), (PYTHON_ADD, "value_add"), (PYTHON_ELEMENT, "array_get")]
    {
        contestants.extend(python.map(|python| Contestant::new(name, |n| python.run(operation, n))));
    }
    let (rounds, operations) = size(200_000);
    let figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(
        "## One number, under a lock",
        "CPU time of one thread, for a `u64`. `Value::get` takes no lock.",
    );
    report.table(&["ns", "/ std"], &rows(&figures, |name| vec![format!("{:.2}", figures.ratio(name, STD))]));
    let limits = [
        (GET, 1.8),
        (SET, 1.8),
        (UPDATE, 1.8),
        (ELEMENT_GET, 2.0),
        (ELEMENT_SET, 2.0),
        (ELEMENT_UPDATE, 2.0),
    ];
    report.targets(&limits.map(|(name, limit)| target(&figures, name, STD, limit)));
    Ok(())
}

fn bare(report: &mut Report) -> multiproc::Result<()> {
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
    let figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(
        "## One number, without a lock",
        "CPU time of one thread, for a `u64`, sequentially consistent.",
    );
    let peer = |name| match name {
        BARE_STORE | STORE => BARE_STORE,
        BARE_ADD | ADD => BARE_ADD,
        _ => BARE_LOAD,
    };
    let ratio = |name| vec![format!("{:.2}", figures.ratio(name, peer(name)))];
    report.table(&["ns", "/ AtomicU64"], &rows(&figures, ratio));
    let mut targets: Vec<_> = [LOAD, STORE, ADD].map(|name| target(&figures, name, peer(name), 1.1)).into();
    targets.push((format!("{LOAD}, ns"), figures.nanos(LOAD), Goal::AtMost(2.0)));
    report.targets(&targets);
    Ok(())
}

fn bulk(report: &mut Report, kilobytes: usize, python: Option<&CPython>) -> multiproc::Result<()> {
    let bytes = kilobytes << 10;
    let len = bytes / size_of::<u64>();
    let (array, raw) = (Array::<u64>::zeroed(len)?, RawArray::<u64>::zeroed(len)?);
    // One buffer for all, so that none has the better alignment.
    let buffer = RefCell::new(vec![1u64; len]);
    let mut contestants = vec![
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
    contestants.extend(python.map(|python| Contestant::new(PYTHON_COPY, |n| python.run("array_copy", n))));
    let (rounds, operations) = size(u64::try_from((1 << 26) / bytes).unwrap_or(1));
    let figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(
        &format!("## {kilobytes} KiB at once"),
        "CPU time of one thread. More is better; all use one private buffer. CPython makes a list of the numbers.",
    );
    let rate = |name: &str| bytes as f64 / figures.nanos(name);
    let row = |name: &&str| {
        vec![name.to_string(), format!("{:.2}", rate(name)), format!("{:.2}", figures.ratio(MEMCPY, name))]
    };
    report.table(&["GB/s", "/ memcpy"], &figures.names().iter().map(row).collect::<Vec<_>>());
    let targets = [READ, WRITE, SLICE]
        .map(|name| (format!("{name} / {MEMCPY}"), figures.ratio(MEMCPY, name), Goal::AtLeast(0.95)));
    report.targets(&targets);
    Ok(())
}

/// Name, nanoseconds, and what `ratio` says.
fn rows(figures: &Figures, ratio: impl Fn(&'static str) -> Vec<String>) -> Vec<Vec<String>> {
    let row = |&name: &&'static str| {
        let own = [name.to_owned(), format!("{:.2}", figures.nanos(name))];
        own.into_iter().chain(ratio(name)).collect()
    };
    figures.names().iter().map(row).collect()
}

/// At most so many times as long as the peer.
fn target(figures: &Figures, name: &str, peer: &str, limit: f64) -> (String, f64, Goal) {
    (format!("{name} / {peer}"), figures.ratio(name, peer), Goal::AtMost(limit))
}
