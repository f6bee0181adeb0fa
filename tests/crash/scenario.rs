//! The scenarios' names, the command line that selects among them, and the printed results.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// What a scenario that passed has done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Deaths, each at another point of the operation.
    pub(crate) kill_points: usize,
    /// Points in the middle of a spin, which are like those before and after them.
    pub(crate) left_out: usize,
    /// One of so many kill points was taken.
    pub(crate) every: usize,
    /// How many of the deaths were of which class, in the words of the scenario.
    pub(crate) notes: BTreeMap<&'static str, usize>,
}

impl Report {
    /// A scenario with one death, constructed rather than searched for.
    pub(crate) fn of_one(note: &'static str) -> Report {
        Report { kill_points: 1, left_out: 0, every: 1, notes: BTreeMap::from([(note, 1)]) }
    }

    /// Deaths of the class `note`.
    pub(crate) fn count(&self, note: &str) -> usize {
        self.notes.get(note).copied().unwrap_or(0)
    }

    /// Counts one more death, of the class `note`.
    pub(crate) fn add(&mut self, note: &'static str) {
        self.kill_points += 1;
        *self.notes.entry(note).or_default() += 1;
    }

    /// This report, provided that each class of `notes` occurs, if all kill points were taken: a scenario that never comes
    /// into the state it is about proves nothing.
    pub(crate) fn demand(self, notes: &[&str]) -> Result<Report, String> {
        match notes.iter().find(|note| self.count(note) == 0) {
            None => Ok(self),
            Some(_) if self.every > 1 => Ok(self),
            Some(missing) => Err(format!("hollow: no kill point of the class \"{missing}\" ({self})")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kill point{}", self.kill_points, if self.kill_points == 1 { "" } else { "s" })?;
        if self.every > 1 {
            write!(f, ", every {}th", self.every)?;
        }
        if self.left_out > 0 {
            write!(f, " and {} left out in the middle of a spin", self.left_out)?;
        }
        for (note, count) in &self.notes {
            write!(f, ", {count} with {note}")?;
        }
        Ok(())
    }
}

/// A named test of this binary.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// `file::what_is_claimed`, for the filter and the output.
    pub(crate) name: &'static str,
    /// Runs it in this process, which has no other thread.
    pub(crate) run: fn() -> Result<Report, String>,
}

/// The part of cargo test's command line that this binary honours.
#[derive(Default)]
struct Selection {
    list: bool,
    latencies: bool,
    exact: bool,
    ignored: bool,
    filters: Vec<String>,
    skip: Vec<String>,
}

impl Selection {
    fn from_args(mut args: impl Iterator<Item = String>) -> Selection {
        let mut selection = Selection::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => selection.list = true,
                "--latencies" => selection.latencies = true,
                "--exact" => selection.exact = true,
                "--ignored" => selection.ignored = true,
                "--skip" => selection.skip.extend(args.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(args.next()),
                flag if flag.starts_with('-') => {}
                _ => selection.filters.push(arg),
            }
        }
        selection
    }

    fn has(&self, name: &str) -> bool {
        let matches =
            |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        let wanted = self.filters.is_empty() || self.filters.iter().any(matches);
        wanted && !self.ignored && !self.skip.iter().any(matches)
    }
}

/// Runs the scenarios that the command line selects and prints one line for each; or prints the latencies instead.
pub(crate) fn run(
    scenarios: &[Scenario],
    available: fn() -> Result<(), String>,
    latencies: fn() -> Result<(), String>,
) -> ExitCode {
    let selection = Selection::from_args(std::env::args().skip(1));
    let selected = scenarios.iter().filter(|scenario| selection.has(scenario.name));
    if selection.list {
        selected.for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    if let Err(why) = available() {
        println!("SKIP: {why}");
        return ExitCode::from(u8::from(std::env::var_os("CI").is_some()));
    }
    if selection.latencies {
        let Err(why) = latencies() else { return ExitCode::SUCCESS };
        println!("FAILED: {why}");
        return ExitCode::FAILURE;
    }
    let (mut passed, mut failed) = (0, 0);
    for scenario in selected {
        print!("test {} ... ", scenario.name);
        // A child that this process forks must not inherit text that is still to be printed.
        flush();
        let begun = Instant::now();
        let result =
            catch_unwind(AssertUnwindSafe(scenario.run)).unwrap_or_else(|_| Err("panicked".to_owned()));
        let time = begun.elapsed().as_secs_f64();
        match result {
            Ok(report) => {
                passed += 1;
                println!("ok ({report}; {time:.1} s)");
            }
            Err(why) => {
                failed += 1;
                println!("FAILED ({why}; {time:.1} s)");
            }
        }
        flush();
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

fn flush() {
    if let Err(error) = std::io::stdout().flush() {
        eprintln!("crash: standard output: {error}");
    }
}
