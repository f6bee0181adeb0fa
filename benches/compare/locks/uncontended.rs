//! Acquire + release by one thread, in its CPU time.

use crate::cpu;
use crate::cpython::CPython;
use crate::peers::{FileLock, Line, Mutual, ParkingLot, Posix, Pthread, RawSync, Std};
use crate::report::{Goal, Report};
use crate::rounds::{self, Contestant, Figures};

use std::hint::black_box;

use multiproc::{Lock, Permits, RLock, Semaphore};

const STD: &str = "std::sync::Mutex";
const PARKING_LOT: &str = "parking_lot::Mutex";
const PTHREAD: &str = "pthread process-shared";
const ROBUST: &str = "pthread robust";
const RAW_SYNC: &str = "raw_sync Mutex";
const SEM: &str = "POSIX sem_t";
#[cfg(boost)]
const BOOST: &str = "Boost interprocess_mutex";
const FILE: &str = "file lock (OFD)";
const CPYTHON: &str = "CPython Lock";
const LOCK: &str = "**Lock**";
const RLOCK: &str = "**RLock**";
const NESTED: &str = "**RLock**, nested";
const SEMAPHORE: &str = "**Semaphore**";
const PERMITS: &str = "**Permits** (4)";

/// One operation of a peer that makes system calls takes as long as so many of the others.
const SYSTEM_CALLS_SHARE: u64 = 100;

pub(crate) fn run(
    report: &mut Report,
    quick: bool,
    python: Option<&CPython>,
    missing: &[String],
) -> multiproc::Result<()> {
    let (rounds, operations) = if quick { (5, 20_000) } else { (51, 200_000) };
    let std = Box::new(Std(Line(std::sync::Mutex::new(()))));
    let parking_lot = Box::new(ParkingLot(Line(parking_lot::Mutex::new(()))));
    let pthread = Pthread::new(libc::PTHREAD_MUTEX_STALLED);
    let robust = Pthread::new(libc::PTHREAD_MUTEX_ROBUST);
    let (raw_sync, sem, file) = (RawSync::new(), Posix::new(1), FileLock::new());
    #[cfg(boost)]
    let boost = crate::peers::Boost::new();
    let (lock, rlock, nested) = (Lock::new()?, RLock::new()?, RLock::new()?);
    let (semaphore, permits) = (Semaphore::new(1)?, Permits::new(4)?);

    let mut contestants = vec![
        Contestant::new(STD, |n| timed(n, &*std)),
        Contestant::new(PARKING_LOT, |n| timed(n, &*parking_lot)),
        Contestant::new(PTHREAD, |n| timed(n, &pthread)),
        Contestant::new(ROBUST, |n| timed(n, &robust)),
        Contestant::new(RAW_SYNC, |n| timed(n, &raw_sync)),
        Contestant::new(SEM, |n| timed(n, &sem)),
        #[cfg(boost)]
        Contestant::new(BOOST, |n| timed(n, &boost)),
        Contestant::new(FILE, |n| timed(n / SYSTEM_CALLS_SHARE, &file) * SYSTEM_CALLS_SHARE),
        Contestant::new(LOCK, |n| timed(n, &lock)),
        Contestant::new(RLOCK, |n| timed(n, &rlock)),
        Contestant::new(NESTED, |n| {
            let mut nanos = 0;
            nested.hold(|| nanos = timed(n, &nested));
            nanos
        }),
        Contestant::new(SEMAPHORE, |n| timed(n, &semaphore)),
        Contestant::new(PERMITS, |n| timed(n, &permits)),
    ];
    if let Some(python) = python {
        contestants.push(Contestant::new(CPYTHON, |n| python.run("lock", n)));
    }
    let figures = rounds::measure(&mut contestants, rounds, operations);
    print(report, &figures, missing);
    Ok(())
}

fn print(report: &mut Report, figures: &Figures, missing: &[String]) {
    report.section("## Uncontended acquire + release", "CPU time of one thread.");
    let peers = [STD, ROBUST, SEM];
    let rows = figures.names().iter().map(|name| {
        let mut row = vec![name.to_string(), format!("{:.1}", figures.nanos(name))];
        row.extend(peers.map(|peer| format!("{:.2}", figures.ratio(name, peer))));
        row
    });
    let absent = missing.iter().map(|what| vec![what.clone(), String::new(), String::new()]);
    let rows: Vec<_> = rows.chain(absent).collect();
    report.table(&["ns", "/ std", "/ pthread robust", "/ sem_t"], &rows);
    let targets = [
        (LOCK, STD, 1.3),
        (LOCK, ROBUST, 0.6),
        (NESTED, LOCK, 0.5),
        (PERMITS, LOCK, 2.0),
        (SEMAPHORE, SEM, 1.0),
    ];
    let targets = targets.map(|(name, peer, bound)| {
        (format!("{name} / {}", peer.replace('*', "")), figures.ratio(name, peer), Goal::AtMost(bound))
    });
    report.targets(&targets);
}

/// The CPU time of so many times acquire and release.
#[inline(never)]
fn timed(operations: u64, lock: &impl Mutual) -> u64 {
    cpu::timed(operations, || black_box(lock).hold(|| ()))
}
