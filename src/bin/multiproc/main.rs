//! `multiproc`: what is in the shared memory of this machine, and how fast its primitives are.

mod args;
mod bench;
mod holder;
mod listing;
mod table;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{Args, Command, Target};
use clap::Parser;
use holder::Held;
use multiproc::Segment;
use multiproc::inspect::{SegmentView, segments_of};

/// Whatever goes wrong, to be shown.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    match run(Args::parse().command, &mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("multiproc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::List { json } => listing::write_segments(out, &Segment::list()?, json)?,
        Command::Show { target, json } => listing::write_views(out, &look(&target)?, &Held::default(), json)?,
        Command::Watch(watch) => watch::watch(&watch, out)?,
        Command::Clean { names, dry_run, json } => {
            let mut stale: Vec<_> = Segment::list()?.into_iter().filter(|segment| !segment.in_use).collect();
            stale.retain(|segment| names.is_empty() || names.contains(&segment.name));
            let mut stale: Vec<_> = stale.into_iter().map(|segment| segment.name).collect();
            if !dry_run {
                // Somebody may have taken one over meanwhile.
                stale.retain(|name| Segment::remove_unused(name).is_ok_and(|gone| gone));
            }
            listing::write_stale(out, &stale, dry_run, json)?;
        }
        Command::Bench { json } => bench::bench(out, json)?,
    }
    Ok(())
}

/// Looks at what was asked for.
fn look(target: &Target) -> Result<Vec<SegmentView>, Failure> {
    match (&target.name, target.pid) {
        (Some(name), _) => Ok(vec![SegmentView::of_name(name)?]),
        (None, Some(pid)) => Ok(segments_of(pid)?),
        (None, None) => Err("a segment's name, or --pid, is needed".into()),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
