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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use multiproc::{GetError, JoinableQueue, Queue};

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
fn count(args: &Args, bar: &ProgressBar) -> multiproc::Result<(Tally, Vec<u32>)> {
    let jobs = JoinableQueue::bounded(64)?;
    let results = Queue::bounded(64)?;
    let mut tally = Tally::new(args.workers)?;
    let mut crew = Crew::new(&jobs, &results, args.kill);
    let fed = AtomicUsize::new(0);

    let missing = thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(args, &jobs, &fed, bar));
        // Relaxed: what the feeder did is seen once it has finished.
        let tasks = || feeder.is_finished().then(|| fed.load(Ordering::Relaxed));
        let gathered = crew
            .start(args.workers)
            .and_then(|()| gather(&jobs, &results, &mut tally, &mut crew, bar, tasks));
        // Whatever came of it, the feeder need not wait for room any more, nor a worker for a task.
        jobs.shutdown();
        let missing = feeder.join().unwrap_or_else(|panic| resume_unwind(panic));
        gathered.and(missing)
    })?;
    crew.join()?;
    tally.totals.update(|totals| totals.unreadable += missing.len() as u64)?;
    tally.failures.extend(missing);
    Ok((tally, std::mem::take(&mut crew.killed)))
}

/// Puts all files into `jobs`, counting the tasks in `fed`; returns what could not be looked at.
fn feed(
    args: &Args,
    jobs: &JoinableQueue<Vec<u8>>,
    fed: &AtomicUsize,
    bar: &ProgressBar,
) -> multiproc::Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut bundle = Bundle::default();
    let put = |bundle: &mut Bundle| -> multiproc::Result<()> {
        jobs.put(std::mem::take(bundle).into_paths())?;
        // Relaxed: read when this thread has finished.
        fed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    files::walk(&args.paths, |path, size| {
        bar.inc_length(1);
        match size {
            Ok(size) => {
                if bundle.is_full(&path, size, args.task_bytes) {
                    put(&mut bundle)?;
                }
                bundle.add(&path, size);
            }
            Err(error) => missing.push(format!("{}: {error}", path.display())),
        }
        Ok(())
    })?;
    if !bundle.is_empty() {
        put(&mut bundle)?;
    }
    Ok(missing)
}

/// Adds up what the workers send until nothing is left to do; `tasks` says how many there are, once that is known.
fn gather(
    jobs: &JoinableQueue<Vec<u8>>,
    results: &Queue<Message>,
    tally: &mut Tally,
    crew: &mut Crew,
    bar: &ProgressBar,
    tasks: impl Fn() -> Option<usize>,
) -> multiproc::Result<()> {
    let started = Instant::now();
    loop {
        match results.get_timeout(TICK) {
            Ok(Message::Chunk(chunk)) => tally.take(chunk)?,
            Ok(Message::Holding(worker)) => crew.kill(worker)?,
            Err(GetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        crew.replace_killed()?;
        let totals = tally.totals.get();
        bar.set_position(totals.seen());
        bar.set_message(report::throughput(totals.bytes, started.elapsed()));
        // All are added; join sees whether each was also done, and not left by a worker that was killed.
        if tasks() == Some(tally.tasks()) && jobs.join_timeout(Duration::ZERO)? {
            return Ok(());
        }
    }
}
