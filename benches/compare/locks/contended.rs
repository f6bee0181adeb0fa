//! Two processes, each on a core of its own, that want one lock all the time. std's and parking_lot's locks, which only
//! threads can share, are used by two threads.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use multiproc::{Lock, Permits, RLock, Semaphore};

use crate::peers::{Line, Mutual, ParkingLot, Posix, Pthread, RawSync, Std};
use crate::processes::{Child, Cores, Shared, pin};
use crate::report::{Goal, Report};
use crate::rounds::{self, Contestant, Figures};

const STD: &str = "std::sync::Mutex, threads";
const PARKING_LOT: &str = "parking_lot::Mutex, threads";
const PTHREAD: &str = "pthread process-shared";
const ROBUST: &str = "pthread robust";
const RAW_SYNC: &str = "raw_sync Mutex";
const SEM: &str = "POSIX sem_t";
#[cfg(boost)]
const BOOST: &str = "Boost interprocess_mutex";
const LOCK: &str = "**Lock**, contended";
const RLOCK: &str = "**RLock**, contended";
const SEMAPHORE: &str = "**Semaphore**, contended";
const PERMITS: &str = "**Permits** (1), contended";

/// What `measure` is asked for; each run lasts as long as it lasts and is scaled to this.
const OPERATIONS: u64 = 1_000_000;

/// What each process does for ever: so much work with the lock held, and so much without it.
#[derive(Clone, Copy)]
struct Mix {
    name: &'static str,
    hold: u64,
    gap: u64,
}

/// What the two share beside the lock.
struct Contest {
    ready: AtomicU32,
    is_over: AtomicBool,
    /// Written under the lock, in two steps.
    protected: Line<AtomicU64>,
    counts: [Line<AtomicU64>; 2],
}

impl Contest {
    fn new() -> Self {
        Self {
            ready: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
            protected: Line(AtomicU64::new(0)),
            counts: [0, 0].map(|zero| Line(AtomicU64::new(zero))),
        }
    }

    fn act(&self, actor: usize, core: usize, lock: &impl Mutual, mix: Mix) {
        pin(core);
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < 2 {
            std::hint::spin_loop();
        }
        let mut count = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            lock.hold(|| {
                let before = self.protected.0.load(Ordering::Relaxed);
                work(mix.hold);
                self.protected.0.store(before + 1, Ordering::Relaxed);
            });
            work(mix.gap);
            count += 1;
            self.counts[actor].0.store(count, Ordering::Relaxed);
        }
    }

    /// Waits for the end of the contest, and returns the nanoseconds and what was done meanwhile.
    fn referee(&self, time: Duration) -> (u64, [u64; 2]) {
        while self.ready.load(Ordering::Acquire) < 2 {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        std::thread::sleep(time);
        let counts = self.counts();
        let nanos = begun.elapsed().as_nanos();
        self.is_over.store(true, Ordering::Relaxed);
        (u64::try_from(nanos).expect("a short time"), counts)
    }

    fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.0.load(Ordering::Relaxed))
    }

    fn assert_exclusion(&self) {
        assert_eq!(self.protected.0.load(Ordering::Relaxed), self.counts().iter().sum::<u64>());
    }
}

/// One contestant's place: how long, what, and where its share in each run goes.
struct Arena<'a> {
    cores: &'a Cores,
    mix: Mix,
    time: Duration,
    /// The smaller process's part of all operations, per run; as many lists as contestants.
    shares: &'a RefCell<Vec<(&'static str, f64)>>,
}

impl Arena<'_> {
    fn threads(&self, name: &'static str, lock: &(impl Mutual + Sync)) -> u64 {
        let contest = Contest::new();
        let outcome = std::thread::scope(|scope| {
            for actor in 0..2 {
                let contest = &contest;
                let (core, mix) = (self.cores.of(actor), self.mix);
                scope.spawn(move || contest.act(actor, core, lock, mix));
            }
            contest.referee(self.time)
        });
        contest.assert_exclusion();
        self.note(name, outcome)
    }

    fn processes(&self, name: &'static str, lock: &impl Mutual) -> u64 {
        let contest = Shared::new(Contest::new());
        let children =
            [0, 1].map(|actor| Child::fork(|| contest.act(actor, self.cores.of(actor), lock, self.mix)));
        let outcome = contest.referee(self.time);
        children.into_iter().for_each(Child::join);
        contest.assert_exclusion();
        self.note(name, outcome)
    }

    fn note(&self, name: &'static str, (nanos, [one, other]): (u64, [u64; 2])) -> u64 {
        let all = (one + other).max(1);
        self.shares.borrow_mut().push((name, one.min(other) as f64 / all as f64));
        (nanos as f64 * OPERATIONS as f64 / all as f64) as u64
    }
}

/// What one mix showed.
struct Outcome {
    mix: Mix,
    figures: Figures,
    shares: Vec<(&'static str, f64)>,
}

impl Outcome {
    /// How many times as many operations as `peer` did, `name` did.
    fn ratio(&self, name: &str, peer: &str) -> f64 {
        self.figures.ratio(peer, name)
    }

    /// The median of what the less lucky process had.
    fn share(&self, name: &str) -> f64 {
        let mut own: Vec<_> =
            self.shares.iter().filter(|(whose, _)| *whose == name).map(|(_, share)| *share).collect();
        own.sort_by(f64::total_cmp);
        own[own.len() / 2]
    }
}

pub(crate) fn run(
    report: &mut Report,
    quick: bool,
    cores: &Cores,
    missing: &[String],
) -> multiproc::Result<()> {
    let (rounds, time) = if quick { (5, 5) } else { (41, 10) };
    let time = Duration::from_millis(time);
    let per_microsecond = work_per_microsecond();
    let micros = |time: f64| (time * per_microsecond) as u64;
    let mixes = [
        Mix { name: "2 / 10 steps", hold: 2, gap: 10 },
        Mix { name: "2.5 / 2.5 us", hold: micros(2.5), gap: micros(2.5) },
        Mix { name: "5 / 0 us", hold: micros(5.0), gap: 0 },
        Mix { name: "25 / 25 us", hold: micros(25.0), gap: micros(25.0) },
    ];
    let outcomes = mixes.map(|mix| measure(cores, mix, rounds, time));
    let outcomes = outcomes.into_iter().collect::<multiproc::Result<Vec<_>>>()?;
    print(report, &outcomes, missing);
    Ok(())
}

fn measure(cores: &Cores, mix: Mix, rounds: usize, time: Duration) -> multiproc::Result<Outcome> {
    let std = Box::new(Std(Line(std::sync::Mutex::new(()))));
    let parking_lot = Box::new(ParkingLot(Line(parking_lot::Mutex::new(()))));
    let pthread = Pthread::new(libc::PTHREAD_MUTEX_STALLED);
    let robust = Pthread::new(libc::PTHREAD_MUTEX_ROBUST);
    let (raw_sync, sem) = (RawSync::new(), Posix::new(1));
    #[cfg(boost)]
    let boost = crate::peers::Boost::new();
    let (lock, rlock, semaphore, permits) =
        (Lock::new()?, RLock::new()?, Semaphore::new(1)?, Permits::new(1)?);

    let shares = RefCell::default();
    let arena = Arena { cores, mix, time, shares: &shares };
    let mut contestants = [
        Contestant::new(STD, |_| arena.threads(STD, &*std)),
        Contestant::new(PARKING_LOT, |_| arena.threads(PARKING_LOT, &*parking_lot)),
        Contestant::new(PTHREAD, |_| arena.processes(PTHREAD, &pthread)),
        Contestant::new(ROBUST, |_| arena.processes(ROBUST, &robust)),
        Contestant::new(RAW_SYNC, |_| arena.processes(RAW_SYNC, &raw_sync)),
        Contestant::new(SEM, |_| arena.processes(SEM, &sem)),
        #[cfg(boost)]
        Contestant::new(BOOST, |_| arena.processes(BOOST, &boost)),
        Contestant::new(LOCK, |_| arena.processes(LOCK, &lock)),
        Contestant::new(RLOCK, |_| arena.processes(RLOCK, &rlock)),
        Contestant::new(SEMAPHORE, |_| arena.processes(SEMAPHORE, &semaphore)),
        Contestant::new(PERMITS, |_| arena.processes(PERMITS, &permits)),
    ];
    let figures = rounds::measure(&mut contestants, rounds, OPERATIONS);
    drop(contestants);
    Ok(Outcome { mix, figures, shares: shares.into_inner() })
}

fn print(report: &mut Report, outcomes: &[Outcome], missing: &[String]) {
    report.section(
        "## Contended by two processes",
        "Each process, on a core of its own, works with the lock held and then without it: the *mix*. A step is a turn of \
         an empty loop, about a cycle. More is better; the share is that of the process that got less.",
    );
    for outcome in outcomes {
        let Outcome { mix, figures, .. } = outcome;
        report.line(&format!("\n### {}\n", mix.name));
        let mut rows = Vec::new();
        for name in figures.names() {
            let share = format!("{:.0} %", outcome.share(name) * 100.0);
            let mut row = vec![name.to_string(), format!("{:.3}", 1e3 / figures.nanos(name)), share];
            row.extend([STD, ROBUST, SEM].map(|peer| format!("{:.2}", outcome.ratio(name, peer))));
            rows.push(row);
        }
        rows.extend(missing.iter().map(|what| vec![what.clone()]));
        report.table(&["M/s", "smaller share", "/ std", "/ pthread robust", "/ sem_t"], &rows);
    }
    print_summary(report, outcomes);
    let mut targets = Vec::new();
    for outcome in outcomes {
        for peer in [STD, ROBUST] {
            let what = format!("{LOCK} / {peer}, {}", outcome.mix.name);
            targets.push((what, outcome.ratio(LOCK, peer), Goal::AtLeast(0.95)));
        }
    }
    let what = format!("{LOCK} / {ROBUST}, geometric mean");
    targets.push((what, geometric_mean(outcomes, LOCK, ROBUST), Goal::AtLeast(1.2)));
    report.targets(&targets);
}

fn print_summary(report: &mut Report, outcomes: &[Outcome]) {
    report.line("\n### All four mixes\n\nGeometric means, and the smallest share of any mix.\n");
    let [first, ..] = outcomes else { return };
    let rows = first.figures.names().iter().map(|name| {
        let means = [STD, ROBUST, SEM].map(|peer| format!("{:.2}", geometric_mean(outcomes, name, peer)));
        let share = outcomes.iter().map(|outcome| outcome.share(name)).fold(1.0, f64::min);
        let mut row = vec![name.to_string()];
        row.extend(means);
        row.push(format!("{:.0} %", share * 100.0));
        row
    });
    report.table(&["/ std", "/ pthread robust", "/ sem_t", "smallest share"], &rows.collect::<Vec<_>>());
}

fn geometric_mean(outcomes: &[Outcome], name: &str, peer: &str) -> f64 {
    let product: f64 = outcomes.iter().map(|outcome| outcome.ratio(name, peer)).product();
    product.powf(1.0 / outcomes.len() as f64)
}

/// So many steps that no compiler leaves out.
#[inline]
fn work(steps: u64) {
    for step in 0..steps {
        black_box(step);
    }
}

fn work_per_microsecond() -> f64 {
    const STEPS: u64 = 1_000_000;
    // The fastest of some: others may have the core meanwhile.
    let nanos = (0..20).map(|_| {
        let begun = Instant::now();
        work(STEPS);
        begun.elapsed().as_nanos()
    });
    STEPS as f64 * 1e3 / nanos.min().unwrap_or(1).max(1) as f64
}
