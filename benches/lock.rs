//! Uncontended lock + unlock beside std's mutex and pthread's robust one: `cargo bench --bench lock [-- --quick]`.
//!
//! Time is the thread's CPU time, so that what else the machine does is not counted. A full run fails if a ratio is over
//! its limit.
#![allow(unsafe_code)]

#[path = "rounds/cpu.rs"]
mod cpu;
#[path = "rounds/pthread.rs"]
mod pthread;
mod rounds;

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::process::ExitCode;

use cpu::timed;
use multiproc::Lock;
use multiproc::raw::RawMutex;
use rounds::{Contestant, Figures};

const STD: &str = "std::sync::Mutex";
const PTHREAD: &str = "pthread process-shared";
const ROBUST: &str = "pthread robust";
const LOCK: &str = "multiproc::Lock";
const RAW: &str = "multiproc::raw::RawMutex";

/// A peer, and how many times its time our locks may take and should take.
const LIMITS: [(&str, f64, f64); 2] = [(STD, 1.4, 1.3), (ROBUST, 0.7, 0.6)];

/// Each lock on cache lines of its own.
#[repr(align(128))]
struct Line<T>(T);

fn main() -> ExitCode {
    let quick = rounds::is_quick();
    let (rounds, operations) = if quick { (3, 20_000) } else { (101, 200_000) };

    let std = Box::new(Line(std::sync::Mutex::new(())));
    let shared = PthreadMutex::new(libc::PTHREAD_MUTEX_STALLED);
    let robust = PthreadMutex::new(libc::PTHREAD_MUTEX_ROBUST);
    let raw = Box::new(Line(RawMutex::new()));
    let lock = Lock::new().expect("a lock");

    let mut contestants = [
        Contestant::new(STD, |n| timed(n, || drop(black_box(&std.0).lock().expect("not poisoned")))),
        Contestant::new(PTHREAD, |n| timed(n, || black_box(&shared).lock_and_unlock())),
        Contestant::new(ROBUST, |n| timed(n, || black_box(&robust).lock_and_unlock())),
        Contestant::new(RAW, |n| timed(n, || lock_and_unlock(black_box(&raw.0)))),
        Contestant::new(LOCK, |n| timed(n, || drop(black_box(&lock).lock().expect("uncontended")))),
    ];
    let figures = rounds::measure(&mut contestants, rounds, operations);
    print_table(&figures);
    if quick || within_limits(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_table(figures: &Figures) {
    println!("uncontended lock + unlock, medians of interleaved rounds\n");
    println!("| | ns | / std | / pthread robust |\n|---|---|---|---|");
    for name in figures.names() {
        let (std, robust) = (figures.ratio(name, STD), figures.ratio(name, ROBUST));
        println!("| {name} | {:.1} | {std:.2} | {robust:.2} |", figures.nanos(name));
    }
    println!();
}

/// Prints how the limits were kept.
fn within_limits(figures: &Figures) -> bool {
    let mut within = true;
    for (peer, limit, goal) in LIMITS {
        for name in [RAW, LOCK] {
            let ratio = figures.ratio(name, peer);
            let verdict = match ratio {
                ratio if ratio <= goal => "goal reached",
                ratio if ratio <= limit => "within the limit, goal missed",
                _ => "OVER THE LIMIT",
            };
            within &= ratio <= limit;
            println!("{name} / {peer}: {ratio:.2} (limit {limit}, goal {goal}): {verdict}");
        }
    }
    within
}

#[inline]
fn lock_and_unlock(mutex: &RawMutex) {
    // SAFETY: the mutex stays in its box until it is unlocked.
    unsafe { mutex.lock(None) }.map(|_| ()).expect("uncontended");
    mutex.unlock().expect("held");
}

/// A process-shared pthread mutex.
struct PthreadMutex(Box<Line<UnsafeCell<libc::pthread_mutex_t>>>);

impl PthreadMutex {
    fn new(robustness: libc::c_int) -> Self {
        let mutex = Box::new(Line(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        // SAFETY: nobody uses the mutex yet, and it stays in its box.
        unsafe { pthread::init(mutex.0.get(), robustness) };
        Self(mutex)
    }

    #[inline]
    fn lock_and_unlock(&self) {
        let mutex = self.0.0.get();
        // SAFETY: the mutex was initialised.
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
        // SAFETY: this thread has just locked it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex) }, 0);
    }
}
