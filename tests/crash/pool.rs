//! Workers of a pool killed at every instruction: while they return a result, take a task, do it and return its result, go
//! to sleep for want of another, and sleep; in their initializer; and while what they get and give goes by the wire.
//!
//! The pool belongs to an *owner*, a fork of this process, since a pool has threads. Each death has a pool of its own, of two
//! workers: one is held by a task until the other is dead. This process seizes the victim in a task that waits for that,
//! and lets it go on from there step by step.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use multiproc::{AsyncResult, Event, Pool, RawArray, RawValue, TaskError, active_children};

use crate::scenario::{Report, Scenario};
use crate::trace::Trace;
use crate::tracer::Point;
use crate::victim::{Stop, Victim};
use crate::witness::{Gate, fork, kill_and_reap};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "pool::a_task_whose_worker_is_killed_anywhere_fails_alone",
        run: || kill_everywhere(Manner::Close, 1),
    },
    Scenario {
        name: "pool::a_retried_task_is_done_whenever_its_worker_is_killed",
        run: || kill_everywhere(Manner::Retry, 4),
    },
    Scenario {
        name: "pool::terminate_is_bounded_wherever_a_worker_was_killed",
        run: || kill_everywhere(Manner::Terminate, 4),
    },
    Scenario {
        name: "pool::a_worker_killed_in_its_initializer_is_replaced",
        run: || kill_everywhere(Manner::Initializer, 10),
    },
    Scenario {
        name: "pool::a_task_with_handles_whose_worker_is_killed_fails_alone",
        run: || kill_everywhere(Manner::Handles, 20),
    },
];

/// What the owner does with its pool, and the victim with its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// The pool is closed, and joined when everything else is done.
    Close,
    /// Tasks are given again.
    Retry,
    /// The pool is terminated at once, and joined.
    Terminate,
    /// The victim is seized in its initializer.
    Initializer,
    /// Arguments and results have handles.
    Handles,
}

/// How long the owner may take for anything.
const BOUND: Duration = Duration::from_secs(20);

/// Tasks for the victim, and for whoever comes after it.
const TASKS: usize = 2;

/// What an owner says of a death: which task had failed. More is a failure.
const CLASSES: [&str; 4] =
    ["no task lost", "the first task lost", "another task lost", "all done or terminated"];
const BAD: u64 = 100;

/// About so many kill points are taken at most. All where it is optimised: else there are more instructions.
const POINTS: usize = if cfg!(debug_assertions) { 12 } else { usize::MAX };
/// One of so many kill points is taken between the beginning of the last task and the sleep after it: what it does there
/// it has done before, or it looks for another task again and again.
const EVERY_OF_THE_REST: usize = 50;

/// The environment variable that has all instructions taken until the last task is begun.
const ALL: &str = "CRASH_POOL_ALL";

const RECORDINGS: usize = 6;
/// Deaths until one is where it was to be. Each is a death, wherever it is.
const TRIES: usize = 4;

/// What owner, workers and tracer share.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Common {
    words: RawArray<u64>,
    /// The survivor may go on.
    release: Event,
}

/// Words that all of them share.
const PID: usize = 0;
const GO: usize = 1;
const HELD: usize = 2;
const STARTS: usize = 3;
/// How often each task was run, from here on.
const RUNS: usize = 4;

impl Common {
    fn new() -> multiproc::Result<Self> {
        Ok(Self { words: RawArray::zeroed(RUNS + TASKS)?, release: Event::new()? })
    }

    fn load(&self, word: usize) -> u64 {
        self.words.load(word).unwrap_or(0)
    }

    fn store(&self, word: usize, value: u64) {
        let _ = self.words.store(word, value);
    }

    fn clear(&self) {
        (0..RUNS + TASKS).for_each(|word| self.store(word, 0));
        self.release.clear();
    }

    /// Waits until a word is not 0.
    fn wait(&self, word: usize) -> Result<u64, String> {
        let end = Instant::now() + BOUND;
        loop {
            match self.load(word) {
                0 if Instant::now() > end => return Err(format!("word {word} is still 0")),
                0 => std::thread::sleep(Duration::from_micros(20)),
                value => return Ok(value),
            }
        }
    }

    /// In a worker: waits for its tracer, if it is the first one here.
    fn arm(&self) {
        if self.load(GO) == 0 {
            self.store(PID, u64::from(std::process::id()));
            while self.load(GO) == 0 {
                std::thread::yield_now();
            }
            // SAFETY: a breakpoint, at which the tracer, which said GO, takes over.
            unsafe { std::arch::asm!("int3") };
        }
    }
}

/// In workers.
static COMMON: OnceLock<Common> = OnceLock::new();

fn initialize((common, seizes): (Common, bool)) {
    // The looks before a sleep are many kill points that are all alike.
    let _ = multiproc::testing::set_spins(16);
    // A process's first lease tries with a thread whether the kernel keeps its promise; the tracer sees to one thread only.
    drop(multiproc::Lock::new().map(|lock| lock.lock().map(drop).is_ok()));
    let is_first = common.words.fetch_add(STARTS, 1).is_ok_and(|starts| starts == 0);
    let common = COMMON.get_or_init(|| common);
    if seizes && is_first {
        common.arm();
    }
}

fn hold(_: ()) -> u64 {
    let common = COMMON.get().expect("initialized");
    common.store(HELD, 1);
    common.release.wait();
    0
}

fn arm(_: ()) -> u64 {
    COMMON.get().expect("initialized").arm();
    0
}

fn task(nth: usize) -> usize {
    let runs = COMMON.get().map(|common| common.words.fetch_add(RUNS + nth, 1));
    if runs.is_some() { nth + 1 } else { 0 }
}

fn task_with_handles((nth, value): (usize, RawValue<u64>)) -> (usize, RawValue<u64>) {
    (task(nth), value)
}

/// Kills victims, at one of `every` instructions, or at all if the environment asks for it, which takes some minutes.
fn kill_everywhere(manner: Manner, every: usize) -> Result<Report, String> {
    let every = if std::env::var_os(ALL).is_some() { 1 } else { every };
    let common = Common::new().map_err(|error| error.to_string())?;
    let gates = Gates { begin: Gate::new()?, ready: Gate::new()?, dead: Gate::new()?, verdict: Gate::new()? };
    let owner = fork(|| own(manner, &common, &gates))?;
    let report = drive(every, &common, &gates);
    // Its workers and its zygote end with it.
    kill_and_reap(owner);
    let report = report?;
    match manner {
        Manner::Close | Manner::Handles => report.demand(&CLASSES[..3]),
        Manner::Initializer => report.demand(&[CLASSES[0], CLASSES[2]]),
        Manner::Retry => report.demand(&CLASSES[..1]),
        Manner::Terminate => report.demand(&CLASSES[3..]),
    }
}

/// What owner and tracer tell each other in each round.
struct Gates {
    begin: Gate,
    /// The victim waits, and there are tasks.
    ready: Gate,
    dead: Gate,
    verdict: Gate,
}

/// A victim on its way.
struct Walk<'a> {
    common: &'a Common,
    victim: Victim,
    stop: Stop,
}

impl<'a> Walk<'a> {
    /// A victim that stands where its way begins.
    fn begin(common: &'a Common, gates: &Gates) -> Result<Self, String> {
        common.clear();
        gates.begin.open(1);
        gates.ready.pass(BOUND).map_err(|_| "the owner is not ready".to_owned())?;
        let pid = libc::pid_t::try_from(common.load(PID)).map_err(|error| error.to_string())?;
        let mut victim = Victim::seize(pid)?;
        common.store(GO, 1);
        victim.run_to_trap()?;
        Ok(Self { common, victim, stop: Stop::Trapped })
    }

    fn point(&self) -> Result<Point, String> {
        match self.stop {
            Stop::Asleep => Ok(Point::Asleep(0)),
            Stop::Trapped => self.victim.pc().map(Point::Before),
        }
    }

    /// Makes one step.
    fn step(&mut self) -> Result<(), String> {
        let stop = self.victim.step()?;
        self.stopped(stop)
    }

    /// Runs to an address, or into its sleep.
    fn run_to(&mut self, pc: u64) -> Result<(), String> {
        let stop = self.victim.run_to(pc)?;
        self.stopped(stop)
    }

    /// In a sleep it may wait for somebody who is at it. In the last one there is nothing more to do.
    fn stopped(&mut self, mut stop: Stop) -> Result<(), String> {
        while stop == Stop::Asleep && !self.has_run(TASKS - 1) {
            stop = self.victim.wait_until_there()?;
        }
        self.stop = stop;
        Ok(())
    }

    fn has_run(&self, nth: usize) -> bool {
        self.common.load(RUNS + nth) > 0
    }

    /// Goes to point `goal` of a recorded way, or elsewhere if this one is another; whether it came there.
    fn replay(&mut self, trace: &Trace, goal: usize) -> Result<bool, String> {
        let stop_at = trace.breakpoint(goal);
        if let Point::Before(pc) = trace.points[stop_at] {
            for _ in 0..trace.nth[stop_at] {
                if self.stop == Stop::Trapped {
                    self.run_to(pc)?;
                }
            }
        }
        for _ in stop_at..goal {
            if self.stop == Stop::Trapped {
                self.step()?;
            }
        }
        Ok(self.point()? == trace.points[goal])
    }

    /// Kills it here; the class of this death, as the owner sees it.
    fn die(self, gates: &Gates) -> Result<&'static str, String> {
        self.victim.kill()?;
        gates.dead.open(1);
        let verdict = gates.verdict.pass(BOUND).map_err(|_| "the owner hangs".to_owned())?;
        let class = usize::try_from(verdict - 1).ok().and_then(|class| CLASSES.get(class));
        class.copied().ok_or_else(|| "see above".to_owned())
    }
}

/// All points on a victim's way to its sleep, and how many of them come before it has begun its last task.
fn record(common: &Common, gates: &Gates) -> Result<(Trace, usize), String> {
    let mut walk = Walk::begin(common, gates)?;
    let (mut points, mut before) = (vec![walk.point()?], 0);
    while walk.stop == Stop::Trapped {
        walk.step()?;
        points.push(walk.point()?);
        if !walk.has_run(TASKS - 1) {
            before = points.len();
        }
    }
    walk.die(gates)?;
    Ok((Trace::of(points), before))
}

/// The points of a way that at least two recordings had, or the last one's.
fn record_often(common: &Common, gates: &Gates) -> Result<(Trace, usize), String> {
    let mut seen = Vec::new();
    loop {
        let recorded = record(common, gates)?;
        if seen.len() + 1 == RECORDINGS || seen.contains(&recorded) {
            return Ok(recorded);
        }
        seen.push(recorded);
    }
}

fn drive(every: usize, common: &Common, gates: &Gates) -> Result<Report, String> {
    let (trace, before) = record_often(common, gates)?;
    if before < 1000 {
        return Err(format!("hollow: only {before} instructions"));
    }
    let every = every.max(before.div_ceil(POINTS));
    // All that comes before the last task, some of what it does after that, and its sleep.
    let last = trace.points.len() - 1;
    let goals =
        (0..before).step_by(every).chain((before..last).step_by(every.max(EVERY_OF_THE_REST))).chain([last]);
    let mut report = Report { every, ..Report::default() };
    let mut strayed = 0;
    for goal in goals {
        let mut tries = 0;
        loop {
            let die = || {
                let mut walk = Walk::begin(common, gates)?;
                let is_there = walk.replay(&trace, goal)?;
                Ok::<_, String>((is_there, walk.die(gates)?))
            };
            let (is_there, class) = die().map_err(|why| format!("kill point {goal}: {why}"))?;
            report.add(class);
            tries += 1;
            if is_there {
                break;
            }
            if tries == TRIES {
                strayed += 1;
                break;
            }
        }
    }
    // Whether it has to wait for others, for one, depends on them.
    match strayed * 4 > report.kill_points {
        false => Ok(report),
        true => Err(format!("hollow: {strayed} kill points are on another way ({report})")),
    }
}

/// The owner: one round for each death. Returns its exit code, if it does.
fn own(manner: Manner, common: &Common, gates: &Gates) -> i32 {
    let mut files = None;
    while gates.begin.pass(BOUND).is_ok() {
        let verdict = round(manner, common, gates).and_then(|verdict| {
            nothing_is_left(&mut files)?;
            Ok(verdict)
        });
        let verdict = verdict.unwrap_or_else(|why| {
            eprintln!("an owner's pool: {why}");
            BAD
        });
        gates.verdict.open(verdict + 1);
    }
    1
}

/// No process but the zygote, and no more descriptors than after the first pool.
fn nothing_is_left(before: &mut Option<usize>) -> Result<(), String> {
    let end = Instant::now() + BOUND / 4;
    loop {
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let active = active_children().len();
        if active == 0 && files <= *before.get_or_insert(files) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("left are {active} processes and {files} descriptors of {before:?}"));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A pool whose worker dies. Says which task was lost.
fn round(manner: Manner, common: &Common, gates: &Gates) -> Result<u64, String> {
    let seizes = manner == Manner::Initializer;
    let retries = u32::from(manner == Manner::Retry);
    let pool =
        Pool::builder().processes(2).retries(retries).initializer(initialize, (common.clone(), seizes));
    let pool = pool.build().map_err(|error| error.to_string())?;
    if seizes {
        common.wait(PID)?;
    }
    let held = pool.apply_async(hold, ());
    common.wait(HELD)?;
    let armed = (!seizes).then(|| pool.apply_async(arm, ()));
    let victim = u32::try_from(common.wait(PID)?).map_err(|error| error.to_string())?;
    let plain: Vec<_> = match manner {
        Manner::Handles => Vec::new(),
        _ => (0..TASKS).map(|nth| pool.apply_async(task, nth)).collect(),
    };
    let value = RawValue::new(7_u64).map_err(|error| error.to_string())?;
    let with_handles: Vec<_> = match manner {
        Manner::Handles => {
            (0..TASKS).map(|nth| pool.apply_async(task_with_handles, (nth, value.clone()))).collect()
        }
        _ => Vec::new(),
    };
    gates.ready.open(1);
    gates.dead.pass(BOUND).map_err(|_| "nobody was killed".to_owned())?;
    match manner {
        Manner::Terminate => pool.terminate(),
        Manner::Retry => {}
        Manner::Close | Manner::Initializer | Manner::Handles => pool.close(),
    }
    common.release.set();
    let judge = Judge { manner, victim };
    let was_held = judge.of("the survivor's task", &held, |_| true)?;
    let mut lost = vec![match &armed {
        Some(armed) => judge.of("the first task", armed, |_| true)?,
        None => true,
    }];
    for (nth, result) in plain.iter().enumerate() {
        lost.push(judge.of("a task", result, |sum| *sum == nth + 1)?);
    }
    for (nth, result) in with_handles.iter().enumerate() {
        lost.push(judge.of("a task", result, |(sum, value)| *sum == nth + 1 && value.load() == 7)?);
    }
    if manner == Manner::Retry {
        let again = pool.apply(task, 0).map_err(|error| format!("a task after it: {error}"))?;
        if again != 1 {
            return Err("a wrong result".to_owned());
        }
        pool.terminate();
    }
    pool.join().map_err(|error| error.to_string())?;
    let starts = common.load(STARTS);
    if !(2..=3).contains(&starts) {
        return Err(format!("{starts} workers were started"));
    }
    if manner == Manner::Terminate {
        return Ok(3);
    }
    if !was_held {
        return Err("the survivor's task is lost".to_owned());
    }
    for (nth, done) in lost.iter().skip(1).enumerate() {
        let extra = u64::from(manner == Manner::Retry) * if nth == 0 { 2 } else { 1 };
        let runs = common.load(RUNS + nth);
        if runs > 1 + extra || (*done && runs == 0) {
            return Err(format!("task {nth} was run {runs} times, done: {done}"));
        }
    }
    match lost.iter().filter(|done| !**done).count() {
        0 => Ok(0),
        1 if manner == Manner::Retry => Err("a task is lost that was to be done again".to_owned()),
        1 => Ok(if lost.first() == Some(&false) { 1 } else { 2 }),
        count => Err(format!("{count} tasks are lost")),
    }
}

/// Looks at results.
struct Judge {
    manner: Manner,
    victim: u32,
}

impl Judge {
    /// Whether there is a result, a right one; `false` if the task died with the victim.
    fn of<R: 'static>(
        &self,
        what: &str,
        result: &AsyncResult<R>,
        is_right: impl Fn(&R) -> bool,
    ) -> Result<bool, String> {
        match result.get_timeout(BOUND / 2) {
            Ok(result) if is_right(result) => Ok(true),
            Ok(_) => Err(format!("{what} has a wrong result")),
            Err(TaskError::WorkerDied { pid, signal: 9 }) if *pid == self.victim => Ok(false),
            Err(TaskError::Terminated) if self.manner == Manner::Terminate => Ok(false),
            Err(error) => Err(format!("{what}: {error}")),
        }
    }
}
