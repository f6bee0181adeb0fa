//! Short measurements of locks, values and queues on this machine, as it is now: for orders of magnitude.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use multiproc::{Event, Lock, Process, Queue, RLock, RawValue, Semaphore, Value};
use serde_json::json;

use super::Failure;
use super::table::Table;

/// Each figure is the median of so many rounds.
const ROUNDS: usize = 9;
/// About how long a round takes.
const ROUND: Duration = Duration::from_millis(15);

struct Measurement {
    what: &'static str,
    /// Nanoseconds for one operation, a round each, in ascending order.
    nanos: Vec<f64>,
}

impl Measurement {
    /// Runs `operation` so often that a round takes long enough to be timed.
    fn of(what: &'static str, mut operation: impl FnMut() -> Result<(), Failure>) -> Result<Self, Failure> {
        let mut timed = |count: u32| {
            let begin = Instant::now();
            for _ in 0..count {
                operation()?;
            }
            Ok::<_, Failure>(begin.elapsed())
        };
        let mut count = 1;
        while timed(count)? < ROUND && count < 1 << 24 {
            count *= 2;
        }
        let mut nanos = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            nanos.push(timed(count)?.as_secs_f64() * 1e9 / f64::from(count));
        }
        nanos.sort_by(f64::total_cmp);
        Ok(Self { what, nanos })
    }

    fn median(&self) -> f64 {
        self.nanos[ROUNDS / 2]
    }
}

pub(crate) fn bench(out: &mut dyn Write, json: bool) -> Result<(), Failure> {
    let mut measurements = in_this_process()?;
    measurements.extend(with_a_child()?);
    if json {
        let measurement = |one: &Measurement| json!({ "what": one.what, "median": one.median(), "least": one.nanos[0], "most": one.nanos[ROUNDS - 1] });
        let all: serde_json::Value = measurements.iter().map(measurement).collect();
        writeln!(out, "{all}")?;
        return Ok(());
    }
    let numbers = &["MEDIAN ns", "LEAST ns", "MOST ns"];
    let mut table = Table::new(&["OPERATION", "MEDIAN ns", "LEAST ns", "MOST ns"], numbers);
    for one in &measurements {
        let figure = |nanos: f64| format!("{nanos:.1}");
        table.row(vec![
            one.what.to_owned(),
            figure(one.median()),
            figure(one.nanos[0]),
            figure(one.nanos[ROUNDS - 1]),
        ]);
    }
    table.write(out)?;
    writeln!(
        out,
        "\n{ROUNDS} rounds of at least {} ms; one thread where no child is named",
        ROUND.as_millis()
    )?;
    Ok(())
}

fn in_this_process() -> Result<Vec<Measurement>, Failure> {
    let lock = Lock::new()?;
    let rlock = RLock::new()?;
    let semaphore = Semaphore::new(1)?;
    let event = Event::new()?;
    let value = Value::new(0u64)?;
    let raw = RawValue::new(0u64)?;
    let plain = Queue::plain(64)?;
    let texts = Queue::<String>::bounded(64)?;
    let text = "a line of text, as they come".to_owned();
    Ok(vec![
        Measurement::of("Lock: lock, unlock", || {
            let _ = lock.lock().map_err(|_| "Lock")?;
            Ok(())
        })?,
        Measurement::of("RLock: lock, unlock", || {
            let _ = rlock.lock().map_err(|_| "RLock")?;
            Ok(())
        })?,
        Measurement::of("Semaphore: acquire, release", || {
            semaphore.acquire();
            semaphore.release();
            Ok(())
        })?,
        Measurement::of("Event: set, clear", || {
            event.set();
            event.clear();
            Ok(())
        })?,
        Measurement::of("Value: get", || {
            black_box(value.get());
            Ok(())
        })?,
        Measurement::of("Value: update", || Ok(value.update(|value| *value += 1).map_err(|_| "Value")?))?,
        Measurement::of("RawValue: fetch_add", || {
            black_box(raw.fetch_add(1));
            Ok(())
        })?,
        Measurement::of("Queue of u64, plain: put, get", || {
            plain.put(1u64)?;
            black_box(plain.get()?);
            Ok(())
        })?,
        Measurement::of("Queue of String: put, get", || {
            texts.put(text.clone())?;
            black_box(texts.get()?);
            Ok(())
        })?,
    ])
}

/// Sends back what it gets, until there is no more.
fn echo((from, to): (Queue<u64>, Queue<u64>)) {
    while let Ok(number) = from.get() {
        if to.put(number).is_err() {
            return;
        }
    }
}

fn nothing((): ()) {}

fn with_a_child() -> Result<Vec<Measurement>, Failure> {
    let (there, back) = (Queue::bounded(64)?, Queue::bounded(64)?);
    let mut child = Process::builder().daemon(true).spawn(echo, (there.clone(), back.clone()))?;
    let round_trip = Measurement::of("Queue of u64: to a child and back", || {
        there.put(1)?;
        back.get()?;
        Ok(())
    });
    there.shutdown();
    child.join()?;
    let start = Measurement::of("Process: spawn, join", || Ok(Process::spawn(nothing, ())?.join()?))?;
    Ok(vec![round_trip?, start])
}
