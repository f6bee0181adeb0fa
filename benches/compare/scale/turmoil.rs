//! 1 to 64 processes on the cores that there are, with one lock, one queue, one event.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use multiproc::{Event, Lock, Queue};

use crate::processes::{Child, Cores, Shared, pin};
use crate::report::{Goal, Report};
use crate::{median, rounds};

const MOST: usize = 64;
const COUNTS: [usize; 7] = [1, 2, 4, 8, 16, 32, MOST];

/// Alone on its cache lines.
#[repr(align(128))]
struct Line<T>(T);

/// What the processes share beside what they contend for.
struct Scene {
    ready: Line<AtomicU64>,
    is_over: Line<AtomicBool>,
    counts: [Line<AtomicU64>; MOST],
    /// Who has not answered to the event yet.
    missing: Line<AtomicU64>,
}

/// What so many processes did.
struct Outcome {
    per_second: f64,
    /// Of the process that did least, in multiples of an equal share.
    least: f64,
}

impl Scene {
    fn new() -> Shared<Self> {
        let zero = || Line(AtomicU64::new(0));
        let is_over = Line(AtomicBool::new(false));
        Shared::new(Self { ready: zero(), is_over, counts: std::array::from_fn(|_| zero()), missing: zero() })
    }

    fn is_over(&self) -> bool {
        self.is_over.0.load(Ordering::Relaxed)
    }
}

/// Lets `count` processes do `step` again and again, until it says no, for some time. `end` lets those go on that wait:
/// each process calls it when it has seen that it is over, since its last step may have made others wait.
fn contest(cores: &Cores, count: usize, step: impl Fn(usize, &Scene) -> bool, end: impl Fn()) -> Outcome {
    let time = Duration::from_millis(if rounds::is_quick() { 60 } else { 300 });
    let scene = Scene::new();
    let act = |actor: usize| {
        pin(cores.of(actor));
        scene.ready.0.fetch_add(1, Ordering::AcqRel);
        while scene.ready.0.load(Ordering::Acquire) < count as u64 {
            std::thread::yield_now();
        }
        let mut done = 0;
        while !scene.is_over() && step(actor, &scene) {
            done += 1;
            scene.counts[actor].0.store(done, Ordering::Relaxed);
        }
        end();
    };
    let actors: Vec<_> = (0..count).map(|actor| Child::fork(|| act(actor))).collect();
    while scene.ready.0.load(Ordering::Acquire) < count as u64 {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    std::thread::sleep(time);
    let counts: Vec<_> =
        scene.counts[..count].iter().map(|count| count.0.load(Ordering::Relaxed) as f64).collect();
    let seconds = begun.elapsed().as_secs_f64();
    scene.is_over.0.store(true, Ordering::Relaxed);
    end();
    actors.into_iter().for_each(Child::join);
    let all: f64 = counts.iter().sum();
    let least = counts.iter().copied().fold(f64::INFINITY, f64::min) * count as f64 / all.max(1.0);
    Outcome { per_second: all / seconds, least }
}

/// So many processes that lock and unlock.
fn lock(cores: &Cores, count: usize) -> multiproc::Result<Outcome> {
    let lock = Lock::new()?;
    Ok(contest(cores, count, |_, _| lock.lock().is_ok(), || ()))
}

/// As many producers as consumers of numbers; one process alone is both.
fn queue(cores: &Cores, count: usize) -> multiproc::Result<Outcome> {
    let queue = Queue::plain(1024)?;
    let step = |actor: usize, _: &Scene| {
        let (puts, gets) = (count == 1 || actor.is_multiple_of(4) || actor % 4 == 3, count == 1);
        // Of four, one producer and one consumer on each of two cores; of two, one of each.
        match (puts, gets) {
            (true, true) => queue.put(1_u64).is_ok() && queue.get().is_ok(),
            (true, false) => queue.put(1).is_ok(),
            _ => queue.get().is_ok(),
        }
    };
    let mut outcome = contest(cores, count, step, || queue.shutdown());
    if count > 1 {
        // Each item was put and got.
        outcome.per_second /= 2.0;
    }
    Ok(outcome)
}

/// One process sets an event, all others wait for it and answer, and when all have, it begins anew.
fn event(cores: &Cores, count: usize) -> multiproc::Result<Outcome> {
    let (turns, all_there) = ([Event::new()?, Event::new()?], Event::new()?);
    let others = count as u64 - 1;
    let round = |scene: &Scene, actor: usize| scene.counts[actor].0.load(Ordering::Relaxed) as usize % 2;
    let step = |actor: usize, scene: &Scene| {
        let turn = &turns[round(scene, actor)];
        if actor > 0 {
            turn.wait();
            if scene.missing.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                all_there.set();
            }
            return true;
        }
        scene.missing.0.store(others, Ordering::Release);
        turn.set();
        if others > 0 {
            all_there.wait();
            all_there.clear();
        }
        turn.clear();
        true
    };
    let outcome = contest(cores, count, step, || turns.iter().chain([&all_there]).for_each(Event::set));
    // Rounds, not the processes' parts in them.
    Ok(Outcome { per_second: outcome.per_second / count as f64, ..outcome })
}

pub(crate) fn run(report: &mut Report, cores: &Cores) -> multiproc::Result<()> {
    let runs = if rounds::is_quick() { 1 } else { 3 };
    let middle = |run: &dyn Fn() -> multiproc::Result<Outcome>| {
        let outcomes = (0..runs).map(|_| run()).collect::<multiproc::Result<Vec<_>>>()?;
        let of = |part: fn(&Outcome) -> f64| median(outcomes.iter().map(part).collect());
        Ok::<_, multiproc::Error>(Outcome {
            per_second: of(|outcome| outcome.per_second),
            least: of(|outcome| outcome.least),
        })
    };
    let mut rows = Vec::new();
    let mut rates = Vec::new();
    for count in COUNTS {
        let (lock, queue, event) = (
            middle(&|| lock(cores, count))?,
            middle(&|| queue(cores, count))?,
            middle(&|| event(cores, count))?,
        );
        let round = 1e6 / event.per_second;
        rows.push(vec![
            count.to_string(),
            format!("{:.2}", lock.per_second / 1e6),
            format!("{:.2}", lock.least),
            format!("{:.2}", queue.per_second / 1e6),
            format!("{round:.2}"),
            format!("{:.2}", round / (count - 1).max(1) as f64),
        ]);
        rates.push((lock.per_second, queue.per_second));
    }
    report.section(
        "## Processes",
        "So many processes with one lock, that they take and give back at once; with one `PlainQueue` of 1024 numbers, half of \
         them producers; with one event, that one sets when all others have answered to the last time, in microseconds. The \
         least is what the process that got the lock least often had, in multiples of an equal share. With more processes than \
         cores each that waits for the event costs a change of processes, some microseconds: the kernel's price, and it grows \
         no faster than they do. The lock is not fair: the process that has a core takes it again and again, and in \
         some hundredths of a second some of many get nothing.",
    );
    report.table(&["lock, M/s", "least", "queue, M/s", "event, us", "us for each"], &rows);
    let [_, few, .., many] = &rates[..] else { return Ok(()) };
    report.targets(&[
        ("**Lock**, 64 processes / 2".to_owned(), many.0 / few.0, Goal::AtLeast(0.5)),
        ("**PlainQueue**, 64 processes / 2".to_owned(), many.1 / few.1, Goal::AtLeast(0.5)),
    ]);
    Ok(())
}
