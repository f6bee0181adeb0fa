//! Start and end of a process with an empty function, beside a bare `posix_spawn` of the same executable, `fork`, other
//! crates and CPython: `cargo bench --bench start [-- --quick]` in this directory.
//!
//! Peers run interleaved with ours; figures are medians, ratios medians of ratios within a round. Time is that of the clock,
//! from before the start until the end has been waited for, one process after the other. A full run writes STARTUP.md.

#[allow(dead_code)] // Each benchmark uses a part.
mod cpython;
#[allow(dead_code)]
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;

use std::ffi::CStr;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::ptr;
use std::time::Instant;

use cpython::CPython;
use multiproc::{Process, StartMethod};
use report::{Goal, Report};
use rounds::{Contestant, Figures};

const BARE: &str = "posix_spawn";
const COMMAND: &str = "std Command";
const FORK: &str = "fork";
const SPAWN: &str = "**Process** Spawn";
const ZYGOTE: &str = "**Process** Zygote";
const OWN_FORK: &str = "**Process** fork";
const PROCSPAWN: &str = "procspawn";
const PYTHON_FORK: &str = "CPython fork";
const PYTHON_SERVER: &str = "CPython forkserver";
const PYTHON_SPAWN: &str = "CPython spawn";

/// With this argument the program does nothing.
const NOTHING: &CStr = c"--nothing";

fn main() {
    if std::env::args().nth(1).is_some_and(|argument| argument.as_bytes() == NOTHING.to_bytes()) {
        return;
    }
    procspawn::init();
    let python = CPython::start();
    let mut report = Report::default();
    report.head("Starting processes beside their peers", "start", python.as_ref());
    small(&mut report, python.as_ref());
    large(&mut report);
    if !rounds::is_quick() {
        report.write("STARTUP.md");
    }
}

fn small(report: &mut Report, python: Option<&CPython>) {
    let mut contestants = contestants();
    for (name, operation) in
        [(PYTHON_FORK, "start_fork"), (PYTHON_SERVER, "start_forkserver"), (PYTHON_SPAWN, "start_spawn")]
    {
        contestants.extend(python.map(|python| Contestant::new(name, |n| python.run_few(operation, n))));
    }
    let figures = rounds::measure(&mut contestants, if rounds::is_quick() { 5 } else { 101 }, 20);
    report.section(
        "## Start and join of an empty function",
        "From a program that uses some megabytes. The first three run no function: the executable ends in `main`, or in\nthe copy at once. crossmist is missing: its release 1.1.2, built by this compiler, panics when it starts a process.",
    );
    table(report, &figures);
    report.targets(&[
        (format!("{SPAWN} / {BARE}"), figures.ratio(SPAWN, BARE), Goal::AtMost(1.15)),
        (format!("{ZYGOTE} / {BARE}"), figures.ratio(ZYGOTE, BARE), Goal::AtMost(0.35)),
    ]);
}

fn large(report: &mut Report) {
    // Not zeroes, which need no memory.
    let memory = vec![1u8; if rounds::is_quick() { 64 << 20 } else { 1 << 30 }];
    let memory = black_box(memory);
    let rounds = if rounds::is_quick() { 5 } else { 31 };
    // Not by turns with the others: of a copy so large there is something left to do for whoever comes next.
    let (mut copies, mut others): (Vec<_>, Vec<_>) =
        contestants().into_iter().partition(|contestant| [FORK, OWN_FORK].contains(&contestant.name));
    let figures = rounds::measure(&mut others, rounds, 10);
    let copies = rounds::measure(&mut copies, rounds, 2);
    report.section(
        &format!("## From a program that uses {} MiB", memory.len() >> 20),
        "A copy of the program takes as long as its memory is large; what is started anew doesn't. Copies were measured by\nthemselves: their pages are still being freed when the next process starts.",
    );
    let bare = figures.nanos(BARE);
    table(report, &figures);
    let row = |name: &&'static str| {
        vec![
            name.to_string(),
            format!("{:.0}", copies.nanos(name) / 1e3),
            format!("{:.1}", copies.nanos(name) / bare),
        ]
    };
    report.line("");
    report.table(&["us", "/ posix_spawn"], &copies.names().iter().map(row).collect::<Vec<_>>());
    report.targets(&[
        (format!("{SPAWN} / {BARE}"), figures.ratio(SPAWN, BARE), Goal::AtMost(1.15)),
        (format!("{ZYGOTE} / {BARE}"), figures.ratio(ZYGOTE, BARE), Goal::AtMost(0.35)),
    ]);
}

fn table(report: &mut Report, figures: &Figures) {
    let row = |name: &&'static str| {
        let micros = format!("{:.0}", figures.nanos(name) / 1e3);
        vec![name.to_string(), micros, format!("{:.2}", figures.ratio(name, BARE))]
    };
    report.table(&["us", "/ posix_spawn"], &figures.names().iter().map(row).collect::<Vec<_>>());
}

fn contestants() -> Vec<Contestant<'static>> {
    let by = |method| {
        move || {
            let process = Process::builder().start_method(method).spawn(|()| (), ());
            process.expect("a process starts").join().expect("it returns");
        }
    };
    vec![
        Contestant::new(BARE, |n| timed(n, bare)),
        Contestant::new(COMMAND, |n| timed(n, command)),
        Contestant::new(FORK, |n| timed(n, fork)),
        Contestant::new(SPAWN, move |n| timed(n, by(StartMethod::Spawn))),
        Contestant::new(ZYGOTE, move |n| timed(n, by(StartMethod::Zygote))),
        Contestant::new(OWN_FORK, |n| {
            timed(n, || Process::fork(|| ()).expect("a process starts").join().expect("it returns"))
        }),
        Contestant::new(PROCSPAWN, |n| {
            timed(n, || procspawn::spawn((), |()| ()).join().expect("it returns"))
        }),
    ]
}

/// The nanoseconds of so many operations, by the clock.
fn timed(operations: u64, operation: impl Fn()) -> u64 {
    let begun = Instant::now();
    (0..operations).for_each(|_| operation());
    u64::try_from(begun.elapsed().as_nanos()).expect("not for centuries")
}

fn bare() {
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    let arguments = [c"start".as_ptr().cast_mut(), NOTHING.as_ptr().cast_mut(), ptr::null_mut()];
    let mut pid = 0;
    let path = c"/proc/self/exe".as_ptr();
    // SAFETY: a path, and two arrays of strings with a null pointer at their ends; nothing changes the environment.
    let failed =
        unsafe { libc::posix_spawn(&mut pid, path, ptr::null(), ptr::null(), arguments.as_ptr(), environ) };
    assert_eq!(failed, 0, "posix_spawn");
    reap(pid);
}

fn command() {
    let mut command = Command::new("/proc/self/exe");
    let status = command.arg(NOTHING.to_str().expect("ASCII")).stdin(Stdio::null()).status();
    assert!(status.expect("a process starts").success());
}

fn fork() {
    // SAFETY: this process has one thread, and the child does nothing but end.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    reap(pid);
}

fn reap(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is a writable integer.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "it ends without a failure");
}
