//! Counts the words of real files with several processes, exactly, whoever is killed:
//! `cargo run --release --example wordcount -- --workers 4 --kill --verify /usr/share/doc`
//!
//! | file | what |
//! |---|---|
//! | `files.rs` | finds files and bundles their paths into tasks |
//! | `worker.rs` | the function that worker processes run: takes leased tasks, counts, sends the outcome in chunks |
//! | `tally.rs` | the parent adds up: why work done at least once gives exact totals |
//! | `crew.rs` | the processes; a killed one is replaced |
//!
//! Both queues are bounded, so memory is too, whatever the size of the tree. A thread feeds the one while the parent
//! empties the other: were one thread to do both, it could wait for room for tasks while the workers wait for room for
//! their results.
#![allow(unreachable_pub, reason = "a program is reached by nobody")]

mod args;
mod count;
mod crew;
mod files;
mod message;
mod report;
mod tally;
mod worker;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use multiproc::{GetError, JoinableQueue, Queue, Result};

use args::{Args, USAGE};
use crew::Crew;
use files::Bundle;
use message::Message;
use tally::Tally;

/// How often the parent looks after its workers while no results come.
const TICK: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprint!("wordcount: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts and reports; `false` if something was wrong that the report names.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let bar =
        ProgressBar::new(0).with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} files, {msg}")?);
    let started = Instant::now();
    let (tally, killed) = count(args, &bar)?;
    let elapsed = started.elapsed();
    bar.finish_and_clear();

    for failure in &tally.failures {
        eprintln!("wordcount: {failure}");
    }
    match report::print(&mut io::stdout().lock(), &tally, args.top, &killed, elapsed) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    let mut right = tally.failures.is_empty();
    if args.kill && killed.is_empty() {
        eprintln!("wordcount: there was no task, so no worker was killed");
        right = false;
    }
    if args.verify {
        let differences = report::verify(&args.paths, &tally)?;
        for difference in &differences {
            eprintln!("wordcount: {difference}");
        }
        right &= differences.is_empty();
    }
    Ok(right)
}

/// Counts with worker processes, and says which processes were killed.
fn count(args: &Args, bar: &ProgressBar) -> Result<(Tally, Vec<u32>)> {
    let jobs = JoinableQueue::bounded(64)?;
    let results = Queue::bounded(64)?;
    let mut tally = Tally::new(args.workers)?;
    let mut crew = Crew::new(&jobs, &results, args.kill);
    thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(args, &jobs, bar));
        let gathered = crew
            .start(args.workers)
            .and_then(|()| gather(feeder, &jobs, &results, &mut crew, &mut tally, bar));
        // Whatever came of it, the feeder need not wait for room any more, nor a worker for a task.
        jobs.shutdown();
        gathered
    })?;
    crew.join()?;
    Ok((tally, std::mem::take(&mut crew.killed)))
}

/// What the feeder has found.
struct Fed {
    tasks: usize,
    /// What could not be looked at, and why.
    failures: Vec<String>,
}

/// Puts all files into `jobs`.
fn feed(args: &Args, jobs: &JoinableQueue<Vec<u8>>, bar: &ProgressBar) -> Result<Fed> {
    let mut fed = Fed { tasks: 0, failures: Vec::new() };
    let mut bundle = Bundle::default();
    files::walk(&args.paths, |path, size| {
        bar.inc_length(1);
        match size {
            Ok(size) => {
                if bundle.is_full(&path, size, args.task_bytes) {
                    jobs.put(bundle.take())?;
                    fed.tasks += 1;
                }
                bundle.add(&path, size);
            }
            Err(error) => fed.failures.push(format!("{}: {error}", path.display())),
        }
        Ok(())
    })?;
    if !bundle.is_empty() {
        jobs.put(bundle.take())?;
        fed.tasks += 1;
    }
    Ok(fed)
}

/// Adds up what the workers send until nothing is left to do.
fn gather(
    feeder: ScopedJoinHandle<'_, Result<Fed>>,
    jobs: &JoinableQueue<Vec<u8>>,
    results: &Queue<Message>,
    crew: &mut Crew,
    tally: &mut Tally,
    bar: &ProgressBar,
) -> Result<()> {
    let started = Instant::now();
    let mut feeder = Some(feeder);
    let mut tasks = None;
    loop {
        match results.get_timeout(TICK) {
            Ok(Message::Chunk(chunk)) => tally.take(chunk)?,
            Ok(Message::Holding(worker)) => crew.kill(worker)?,
            Err(GetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        crew.replace_killed()?;
        if let Some(feeder) = feeder.take_if(|feeder| feeder.is_finished()) {
            let fed = feeder.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            tally.add_failures(fed.failures)?;
            tasks = Some(fed.tasks);
        }
        let totals = tally.totals.get();
        bar.set_position(totals.seen());
        bar.set_message(report::throughput(totals.bytes, started.elapsed()));
        // All are added; join sees whether each was done too, and not left by a worker that was killed.
        if tasks == Some(tally.tasks()) && jobs.join_timeout(Duration::ZERO)? {
            return Ok(());
        }
    }
}
