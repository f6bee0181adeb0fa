//! Locks and signals beside those of other crates, of POSIX, Boost and Python: `cargo bench --bench locks [-- --quick]` in
//! this directory, or with the names of some groups: `uncontended contended ping-pong`.
//!
//! Peers run interleaved with ours; figures are medians, ratios medians of ratios within a round. A full run of all groups
//! writes LOCKS.md.

#[path = "locks/contended.rs"]
mod contended;
#[path = "../rounds/cpu.rs"]
mod cpu;
mod cpython;
#[path = "locks/peers.rs"]
mod peers;
#[path = "locks/ping_pong.rs"]
mod ping_pong;
mod processes;
#[path = "../rounds/pthread.rs"]
mod pthread;
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;
#[path = "locks/uncontended.rs"]
mod uncontended;

use cpython::CPython;
use processes::Cores;
use report::Report;

const GROUPS: [&str; 3] = ["uncontended", "contended", "ping-pong"];

fn main() -> multiproc::Result<()> {
    let quick = rounds::is_quick();
    let asked: Vec<_> =
        GROUPS.into_iter().filter(|group| std::env::args().any(|arg| arg == *group)).collect();
    let has = |group| asked.is_empty() || asked.contains(&group);
    let (cores, python) = (Cores::allowed(), CPython::start());

    let mut report = Report::default();
    report.head("Locks and signals beside their peers", "locks", python.as_ref());
    let boost = (!cfg!(boost)).then(|| "Boost interprocess_mutex: libboost-dev is not installed".to_owned());
    let missing: Vec<_> = boost.into_iter().collect();
    if has("uncontended") {
        let lock = python.is_none().then(|| "CPython Lock: there is no python3".to_owned());
        let missing: Vec<_> = missing.iter().cloned().chain(lock).collect();
        uncontended::run(&mut report, quick, python.as_ref(), &missing)?;
    }
    if has("contended") {
        contended::run(&mut report, quick, &cores, &missing)?;
    }
    if has("ping-pong") {
        ping_pong::run(&mut report, quick, &cores, python.as_ref())?;
    }
    if !quick && asked.is_empty() {
        report.write("LOCKS.md");
    }
    Ok(())
}
