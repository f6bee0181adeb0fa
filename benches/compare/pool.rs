//! `Pool` with two workers beside bare rings, threads, other crates' pools and CPython's:
//! `cargo bench --bench pool [-- --quick]` in this directory.
//!
//! Peers run interleaved with ours; figures are medians, ratios medians of ratios within a round. The task gives back a
//! number. A full run writes POOL.md.

#[allow(dead_code)] // Each benchmark uses a part.
mod cpython;
#[allow(dead_code)]
mod processes;
#[allow(dead_code)]
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::thread::yield_now;
use std::time::Instant;

use cpython::CPython;
use multiproc::{MapOptions, Pool, StartMethod, threads};
use processes::{Child, Shared};
use rayon::prelude::*;
use report::{Goal, Report};
use rounds::{Contestant, Figures};

const BARE: &str = "two workers on bare rings";
const SLEEPY: &str = "two workers on bare rings, asleep when idle";
const FUTEX: &str = "bare futex round trip, asleep";
const RAYON: &str = "rayon (threads)";
const POOL: &str = "**Pool**";
const SPAWN: &str = "**Pool**, Spawn";
const THREADS: &str = "**threads::Pool**";
const PROCSPAWN: &str = "procspawn Pool";
const PYTHON: &str = "CPython Pool";
const EXECUTOR: &str = "CPython ProcessPoolExecutor";
const LOKY: &str = "loky";

const WORKERS: usize = 2;
/// A slow peer does one of so many tasks.
const SHARE: u64 = 50;

fn main() {
    procspawn::init();
    let (tasks, rounds) = if rounds::is_quick() { (10_000, 1) } else { (100_000, 7) };
    // Forks come before threads.
    let bare = Bare::start();
    let sleepy = Sleepy::start();
    let futex = Futex::start();
    let python = CPython::start();
    let python = python.as_ref();
    let loky = python.filter(|python| python.run_all("has_loky", 1) == 1);
    let mut report = Report::default();
    report.head("Pools beside their peers", "pool", python);

    let pool = Pool::new(WORKERS).expect("a pool");
    let threads = threads::Pool::new(WORKERS).expect("a pool");
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("a pool");
    let procspawn = procspawn::Pool::new(WORKERS).expect("a pool");
    let one = MapOptions { chunk: Some(1), ..MapOptions::default() };

    let mut contestants = vec![
        Contestant::new(BARE, |n| timed(|| bare.map(n))),
        Contestant::new(SLEEPY, |n| timed(|| sleepy.map(n))),
        Contestant::new(RAYON, |n| timed(|| rayon_map(&rayon, n, 1))),
        Contestant::new(POOL, |n| timed(|| drop(pool.map_with(same, 0..n, one).expect("results")))),
        Contestant::new(THREADS, |n| timed(|| drop(threads.map_with(same, 0..n, one).expect("results")))),
        Contestant::new(PROCSPAWN, |n| {
            SHARE
                * timed(|| {
                    let handles: Vec<_> =
                        (0..n / SHARE).map(|n| procspawn::spawn!(in procspawn, (n) || n)).collect();
                    assert!(handles.into_iter().all(|handle| handle.join().is_ok()));
                })
        }),
    ];
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run("pool_one", n))));
    contestants.extend(python.map(|python| Contestant::new(EXECUTOR, |n| python.run("executor_one", n))));
    contestants.extend(loky.map(|python| Contestant::new(LOKY, |n| python.run("loky_one", n))));
    let figures = rounds::measure(&mut contestants, rounds, tasks);
    drop(contestants);
    report.section(
        &format!("## Tasks a second, {tasks} of them, chunks of one"),
        "From the call of `map` until all results are there. procspawn has no map: all are spawned, then joined. \
         Targets are against bare rings whose workers sleep when idle, as a pool's must. Those whose workers \
         spin for as long as the map runs are the limit, with a processor to each worker and nothing to recover.",
    );
    rates(&mut report, &figures);
    let of = |peer, goal| (format!("{POOL}, in tasks a second / {peer}"), figures.ratio(peer, POOL), goal);
    let mut targets = vec![of(SLEEPY, Goal::AtLeast(0.2))];
    if python.is_some() {
        targets.push(of(PYTHON, Goal::AtLeast(60.0)));
    }
    report.targets(&targets);

    let mut contestants = vec![
        Contestant::new(BARE, |n| timed(|| bare.map(n))),
        Contestant::new(SLEEPY, |n| timed(|| sleepy.map(n))),
        Contestant::new(RAYON, |n| timed(|| rayon_map(&rayon, n, usize::MAX))),
        Contestant::new(POOL, |n| timed(|| drop(pool.map(same, 0..n).expect("results")))),
        Contestant::new(THREADS, |n| timed(|| drop(threads.map(same, 0..n).expect("results")))),
    ];
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run_all("pool_automatic", n))));
    contestants
        .extend(python.map(|python| Contestant::new(EXECUTOR, |n| python.run_all("executor_chunks", n))));
    contestants.extend(loky.map(|python| Contestant::new(LOKY, |n| python.run_all("loky_chunks", n))));
    let figures = rounds::measure(&mut contestants, rounds, tasks);
    drop(contestants);
    report.section(
        &format!("## Tasks a second, {tasks} of them, automatic chunks"),
        "The executor of CPython, and loky, whose default is one, get the chunks that CPython's Pool makes.",
    );
    rates(&mut report, &figures);
    if python.is_some() {
        let ratio = figures.ratio(PYTHON, POOL);
        report.targets(&[(format!("{POOL}, in tasks a second / {PYTHON}"), ratio, Goal::AtLeast(10.0))]);
    }

    let mut contestants = vec![
        Contestant::new(BARE, |n| timed(|| bare.one_by_one(n))),
        Contestant::new(SLEEPY, |n| timed(|| sleepy.one_by_one(n))),
        Contestant::new(FUTEX, |n| SHARE * timed(|| (0..n / SHARE).for_each(|_| futex.ask()))),
        Contestant::new(RAYON, |n| timed(|| (0..n).for_each(|n| assert_eq!(rayon.install(|| same(n)), n)))),
        Contestant::new(POOL, |n| timed(|| (0..n).for_each(|n| assert_eq!(pool.apply(same, n), Ok(n))))),
        Contestant::new(THREADS, |n| {
            timed(|| (0..n).for_each(|n| assert_eq!(threads.apply(same, n), Ok(n))))
        }),
        Contestant::new(PROCSPAWN, |n| {
            let one = |n| procspawn::spawn!(in procspawn, (n) || n).join().expect("a result");
            SHARE * timed(|| (0..n / SHARE).for_each(|n: u64| assert_eq!(one(n), n)))
        }),
    ];
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run("pool_apply", n))));
    contestants.extend(python.map(|python| Contestant::new(EXECUTOR, |n| python.run("executor_submit", n))));
    contestants.extend(loky.map(|python| Contestant::new(LOKY, |n| python.run("loky_submit", n))));
    let figures = rounds::measure(&mut contestants, rounds, tasks / 10);
    drop(contestants);
    report.section(
        "## From a call to its result",
        "One task at a time. On two cores a caller and two workers that spin are one too many.",
    );
    let row = |name: &&'static str| {
        let micros = format!("{:.2}", figures.nanos(name) / 1e3);
        let ratios = [BARE, SLEEPY].map(|peer| format!("{:.2}", figures.ratio(name, peer)));
        [vec![name.to_string(), micros], ratios.to_vec()].concat()
    };
    let heads = ["us", "/ bare rings", "/ bare rings, asleep when idle"];
    report.table(&heads, &figures.names().iter().map(row).collect::<Vec<_>>());
    let ratio = figures.ratio(POOL, SLEEPY);
    report.targets(&[(format!("{POOL} / {SLEEPY}"), ratio, Goal::AtMost(3.0))]);

    let by = |method| {
        move || {
            let pool = Pool::builder().processes(WORKERS).start_method(method).build().expect("a pool");
            assert_eq!(pool.apply(same, 3), Ok(3));
            pool.close();
            pool.join().expect("it is closed");
        }
    };
    let mut contestants = vec![
        Contestant::new(BARE, |n| timed(|| (0..n).for_each(|_| Bare::start().end()))),
        Contestant::new(POOL, move |n| timed(|| (0..n).for_each(|_| by(StartMethod::Zygote)()))),
        Contestant::new(SPAWN, move |n| timed(|| (0..n).for_each(|_| by(StartMethod::Spawn)()))),
        Contestant::new(PROCSPAWN, |n| {
            timed(|| {
                for n in 0..n {
                    let pool = procspawn::Pool::new(WORKERS).expect("a pool");
                    assert_eq!(procspawn::spawn!(in pool, (n) || n).join().expect("a result"), n);
                    pool.shutdown();
                }
            })
        }),
    ];
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run_few("pool_start", n))));
    contestants
        .extend(python.map(|python| Contestant::new(EXECUTOR, |n| python.run_few("executor_start", n))));
    let figures = rounds::measure(&mut contestants, if rounds::is_quick() { 1 } else { 21 }, 10);
    drop(contestants);
    report.section(
        "## A pool of two from its start over its first result to its end",
        "The zygote runs already.",
    );
    let row = |name: &&'static str| {
        let millis = format!("{:.2}", figures.nanos(name) / 1e6);
        vec![name.to_string(), millis, format!("{:.2}", figures.ratio(name, BARE))]
    };
    report.table(&["ms", "/ bare rings"], &figures.names().iter().map(row).collect::<Vec<_>>());
    report.targets(&[(format!("{POOL} / {BARE}"), figures.ratio(POOL, BARE), Goal::AtMost(4.0))]);

    if !rounds::is_quick() {
        report.write("POOL.md");
    }
    procspawn.shutdown();
    bare.end();
    sleepy.end();
    futex.end();
}

fn rates(report: &mut Report, figures: &Figures) {
    let row = |name: &&'static str| {
        let rate = format!("{:.3}", 1e3 / figures.nanos(name));
        let ratios = [BARE, SLEEPY].map(|peer| format!("{:.3}", figures.ratio(peer, name)));
        [vec![name.to_string(), rate], ratios.to_vec()].concat()
    };
    let heads = ["M/s", "/ bare rings", "/ bare rings, asleep when idle"];
    report.table(&heads, &figures.names().iter().map(row).collect::<Vec<_>>());
}

/// The task.
fn same(n: u64) -> u64 {
    black_box(n)
}

/// By the clock.
fn timed(work: impl FnOnce()) -> u64 {
    let begun = Instant::now();
    work();
    u64::try_from(begun.elapsed().as_nanos()).expect("not for centuries")
}

fn rayon_map(pool: &rayon::ThreadPool, n: u64, chunk: usize) {
    let n = u32::try_from(n).expect("few");
    let map = || (0..n).into_par_iter().with_max_len(chunk).map(|n| same(u64::from(n))).collect::<Vec<_>>();
    drop(black_box(pool.install(map)));
}

/// Slots of a ring whose ends never sleep.
const SLOTS: usize = 1 << 10;
/// Slots of a ring where one sleeps that has looked in vain: all tasks find room, so that their producer never does.
const ROOM: usize = 1 << 17;
/// Looks before a yield, or a sleep.
const SPINS: u32 = 200;

/// A word on a cache line of its own.
#[repr(align(64))]
struct Line(AtomicU64);

/// Vyukov's ring, for any number of producers and consumers, without sleep: a slot is its sequence, and a number.
struct Ring<const N: usize> {
    slots: [[AtomicU64; 2]; N],
    head: Line,
    tail: Line,
}

impl<const N: usize> Ring<N> {
    fn new() -> Self {
        let zero = || Line(AtomicU64::new(0));
        let slots = std::array::from_fn(|slot| [slot as u64, 0].map(AtomicU64::new));
        Self { slots, head: zero(), tail: zero() }
    }

    /// Whether there was room.
    fn put(&self, value: u64) -> bool {
        self.pass(&self.tail.0, 0, |slot, at| {
            slot[1].store(value, Ordering::Relaxed);
            slot[0].store(at + 1, Ordering::Release);
        })
        .is_some()
    }

    fn get(&self) -> Option<u64> {
        self.pass(&self.head.0, 1, |slot, at| {
            let value = slot[1].load(Ordering::Relaxed);
            slot[0].store(at + N as u64, Ordering::Release);
            value
        })
    }

    /// Takes the next slot of an end if its sequence is the position and `ahead`.
    fn pass<R>(
        &self,
        end: &AtomicU64,
        ahead: u64,
        done: impl FnOnce(&[AtomicU64; 2], u64) -> R,
    ) -> Option<R> {
        let mut at = end.load(Ordering::Relaxed);
        loop {
            let slot = &self.slots[at as usize % N];
            let sequence = slot[0].load(Ordering::Acquire);
            if sequence == at + ahead {
                match end.compare_exchange_weak(at, at + 1, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Some(done(slot, at)),
                    Err(now) => at = now,
                }
            } else if sequence < at + ahead {
                return None;
            } else {
                at = end.load(Ordering::Relaxed);
            }
        }
    }
}

struct Rings {
    /// 0: workers sleep; 1: they look for tasks; 2: they end.
    stage: AtomicU32,
    tasks: Ring<SLOTS>,
    results: Ring<SLOTS>,
}

/// No safety, no death, no types: two rings for two processes.
struct Bare {
    shared: Shared<Rings>,
    workers: Vec<libc::pid_t>,
}

impl Bare {
    fn start() -> Self {
        let shared =
            Shared::new(Rings { stage: AtomicU32::new(0), tasks: Ring::new(), results: Ring::new() });
        let workers = fork_workers(|| work(&shared));
        let this = Self { shared, workers };
        this.one_by_one(1);
        this
    }

    fn say(&self, stage: u32) {
        self.shared.stage.store(stage, Ordering::Release);
        wake(&self.shared.stage);
    }

    /// All tasks at once, as far as there is room.
    fn map(&self, tasks: u64) {
        self.say(1);
        let mut results = vec![0; usize::try_from(tasks).expect("few")];
        let (mut next, mut done) = (0, 0);
        while done < tasks {
            let before = (next, done);
            while next < tasks && self.shared.tasks.put(next) {
                next += 1;
            }
            while let Some(result) = self.shared.results.get() {
                results[usize::try_from(result).expect("few")] = result;
                done += 1;
            }
            if (next, done) == before {
                yield_now();
            }
        }
        assert!((0..).zip(&results).all(|(n, result)| n == *result));
        self.say(0);
    }

    fn one_by_one(&self, tasks: u64) {
        self.say(1);
        for n in 0..tasks {
            assert!(self.shared.tasks.put(n));
            assert_eq!(self.shared.results.await_one(|| false), Some(n));
        }
        self.say(0);
    }

    fn end(self) {
        self.say(2);
        join_workers(self.workers);
    }
}

impl<const N: usize> Ring<N> {
    /// A value, unless it is the end before one comes.
    fn await_one(&self, is_end: impl Fn() -> bool) -> Option<u64> {
        loop {
            for _ in 0..SPINS {
                match self.get() {
                    None => spin_loop(),
                    value => return value,
                }
            }
            if is_end() {
                return None;
            }
            yield_now();
        }
    }
}

fn fork_workers(work: impl Fn()) -> Vec<libc::pid_t> {
    let fork = |_| {
        // SAFETY: the child touches shared memory only, makes system calls, and ends without exit handlers.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            // SAFETY: asks for a signal when the parent ends.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            work();
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        pid
    };
    (0..WORKERS).map(fork).collect()
}

fn join_workers(workers: Vec<libc::pid_t>) {
    for pid in workers {
        let mut status = 0;
        // SAFETY: `status` is a writable integer.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    }
}

/// A worker of bare rings.
fn work(rings: &Rings) {
    let stage = || rings.stage.load(Ordering::Acquire);
    loop {
        match rings.tasks.await_one(|| stage() != 1) {
            Some(task) => {
                while !rings.results.put(same(task)) {
                    yield_now();
                }
            }
            None if stage() == 2 => return,
            None => sleep(&rings.stage, 0),
        }
    }
}

/// Who sleeps at one end of a ring, and how often that end was woken.
#[repr(align(64))]
struct Sleepers {
    count: AtomicU32,
    wakes: AtomicU32,
}

impl Sleepers {
    fn new() -> Self {
        Self { count: AtomicU32::new(0), wakes: AtomicU32::new(0) }
    }

    /// Until `attempt` succeeds: asleep, after some looks.
    fn until<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        loop {
            for _ in 0..SPINS {
                if let Some(done) = attempt() {
                    return done;
                }
                spin_loop();
            }
            self.count.fetch_add(1, Ordering::SeqCst);
            let wakes = self.wakes.load(Ordering::SeqCst);
            let done = attempt();
            if done.is_none() {
                sleep(&self.wakes, wakes);
            }
            self.count.fetch_sub(1, Ordering::SeqCst);
            if let Some(done) = done {
                return done;
            }
        }
    }

    /// Wakes one, if there is one: what it waits for was stored before.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) != 0 {
            self.wakes.fetch_add(1, Ordering::SeqCst);
            // SAFETY: wakes a sleeper of a word that stays mapped.
            unsafe { libc::syscall(libc::SYS_futex, self.wakes.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }
}

/// A [`Ring`] at whose ends one sleeps that has looked often enough.
struct SleepyRing {
    ring: Ring<ROOM>,
    producers: Sleepers,
    consumers: Sleepers,
}

impl SleepyRing {
    fn new() -> Self {
        Self { ring: Ring::new(), producers: Sleepers::new(), consumers: Sleepers::new() }
    }

    fn try_put(&self, value: u64) -> bool {
        let put = self.ring.put(value);
        if put {
            self.consumers.wake();
        }
        put
    }

    fn put(&self, value: u64) {
        self.producers.until(|| self.try_put(value).then_some(()));
    }

    fn try_get(&self) -> Option<u64> {
        let value = self.ring.get()?;
        self.producers.wake();
        Some(value)
    }

    fn get(&self) -> u64 {
        self.consumers.until(|| self.try_get())
    }
}

/// [`Bare`], whose workers do not look for ever.
struct Sleepy {
    rings: Shared<[SleepyRing; 2]>,
    workers: Vec<libc::pid_t>,
}

impl Sleepy {
    /// The task on which a worker ends.
    const END: u64 = u64::MAX;

    fn start() -> Self {
        let rings = Shared::new([SleepyRing::new(), SleepyRing::new()]);
        let [tasks, results] = &*rings;
        let work = || {
            loop {
                match tasks.get() {
                    Self::END => return,
                    task => results.put(same(task)),
                }
            }
        };
        let workers = fork_workers(work);
        Self { rings, workers }
    }

    /// All tasks at once, as far as there is room.
    fn map(&self, count: u64) {
        let [tasks, ready] = &*self.rings;
        let mut results = vec![0; usize::try_from(count).expect("few")];
        let (mut next, mut done) = (0, 0);
        let mut take = |result| results[usize::try_from(result).expect("few")] = result;
        while done < count {
            let before = (next, done);
            while next < count && tasks.try_put(next) {
                next += 1;
            }
            while let Some(result) = ready.try_get() {
                take(result);
                done += 1;
            }
            if (next, done) == before {
                take(ready.get());
                done += 1;
            }
        }
        assert!((0..).zip(&results).all(|(n, result)| n == *result));
    }

    fn one_by_one(&self, count: u64) {
        let [tasks, ready] = &*self.rings;
        for n in 0..count {
            tasks.put(n);
            assert_eq!(ready.get(), n);
        }
    }

    fn end(self) {
        let [tasks, _] = &*self.rings;
        self.workers.iter().for_each(|_| tasks.put(Self::END));
        join_workers(self.workers);
    }
}

fn wake(word: &AtomicU32) {
    // SAFETY: wakes sleepers of a word that stays mapped.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

fn sleep(word: &AtomicU32, expected: u32) {
    // SAFETY: sleeps on a word that stays mapped.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, 0) };
}

/// A process that sleeps until it is asked, and an asker that sleeps until it is answered.
struct Futex {
    word: Shared<AtomicU32>,
    partner: Child,
}

impl Futex {
    fn start() -> Self {
        let word = Shared::new(AtomicU32::new(0));
        let partner = Child::fork(|| {
            loop {
                match word.load(Ordering::Acquire) {
                    1 => {
                        word.store(0, Ordering::Release);
                        wake(&word);
                    }
                    2 => return,
                    other => sleep(&word, other),
                }
            }
        });
        Self { word, partner }
    }

    fn ask(&self) {
        self.word.store(1, Ordering::Release);
        wake(&self.word);
        while self.word.load(Ordering::Acquire) == 1 {
            sleep(&self.word, 1);
        }
    }

    fn end(self) {
        self.word.store(2, Ordering::Release);
        wake(&self.word);
        self.partner.join();
    }
}
