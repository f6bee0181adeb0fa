//! What can be asked for on the command line.

use std::time::Duration;

use clap::{Parser, Subcommand};

/// Looks into the shared memory of multiproc: takes no lock, and writes nothing.
#[derive(Parser)]
#[command(name = "multiproc", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the named segments of this user
    List {
        /// As JSON: an array of segments
        #[arg(long)]
        json: bool,
    },
    /// Shows what is in a segment: objects, who holds which lease, queues
    Show {
        #[command(flatten)]
        target: Target,
        /// As JSON: an array of segments
        #[arg(long)]
        json: bool,
    },
    /// Shows that again and again, until Ctrl-C
    Watch(Watch),
    /// Removes the named segments that nobody uses
    Clean {
        /// Only these
        names: Vec<String>,
        /// Only says which
        #[arg(long)]
        dry_run: bool,
        /// As JSON: an object with an array of names
        #[arg(long)]
        json: bool,
    },
    /// Measures locks, values and queues, a few seconds in all
    Bench {
        /// As JSON: an array of measurements, times in nanoseconds
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// A named segment
    pub(crate) name: Option<String>,
    /// All segments that a process has open, anonymous ones too
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

#[derive(clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Seconds between two looks
    #[arg(long, default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Ends after so many looks
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// As JSON, a line for each look
    #[arg(long)]
    pub(crate) json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.01..=86_400.0).contains(&seconds) {
        return Err("not from 0.01 to 86400".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
