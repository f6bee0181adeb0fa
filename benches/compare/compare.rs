//! Runs the benchmarks of this directory, draws their plots and renews the README's figures:
//! `cargo run --release [-- --quick | --figures] [NAME…]`, all of them if none is named.
//!
//! Each writes its Markdown file, and the plots and the README's rows are made of these files alone: `--figures` measures
//! nothing and makes them anew. `--quick` takes less than two minutes after the build and writes nothing: at its end stands
//! each ratio beside its target, and it fails if one is missed by more than twice.

#[path = "compare/chart.rs"]
mod chart;
#[path = "compare/plots.rs"]
mod plots;
#[path = "compare/readme.rs"]
mod readme;
#[path = "compare/tables.rs"]
mod tables;
#[path = "report/target.rs"]
mod target;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use tables::Tables;
use target::Target;

const DIRECTORY: &str = env!("CARGO_MANIFEST_DIR");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (options, names): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |option: &str| options.iter().any(|other| other == option);
    if let Some(strange) = options.iter().find(|option| !["--quick", "--figures"].contains(&option.as_str()))
    {
        return Err(format!("{strange} is neither --quick nor --figures").into());
    }
    if !has("--figures") {
        let targets = run_benchmarks(&names, has("--quick"))?;
        if has("--quick") {
            return Ok(summary(&targets));
        }
    }
    renew_figures()?;
    Ok(ExitCode::SUCCESS)
}

/// Builds and runs those benchmarks, and returns the targets that they print.
fn run_benchmarks(names: &[String], quick: bool) -> Result<Vec<Target>, Box<dyn Error>> {
    let bench = |run: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["bench", "--all-features", "--manifest-path"]).arg(format!("{DIRECTORY}/Cargo.toml"));
        names.iter().for_each(|name| _ = command.args(["--bench", name]));
        command.args(run);
        command
    };
    if !bench(&["--no-run"]).status()?.success() {
        return Err("the benchmarks don't compile".into());
    }
    let begun = Instant::now();
    let run: &[&str] = if quick { &["--no-fail-fast", "--", "--quick"] } else { &["--no-fail-fast"] };
    let mut process = bench(run).stdout(Stdio::piped()).spawn()?;
    let mut targets = Vec::new();
    for line in BufReader::new(process.stdout.take().ok_or("a pipe")?).lines() {
        let line = line?;
        println!("{line}");
        targets.extend(Target::read(&line));
    }
    if !process.wait()?.success() {
        return Err("a benchmark failed".into());
    }
    println!("\nmeasured in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(targets)
}

/// Prints each target, and says whether one is missed by more than twice.
fn summary(targets: &[Target]) -> ExitCode {
    println!("\n# Targets\n");
    for target in targets {
        let is_far = if target.excess() > 2.0 { " (BY MORE THAN TWICE)" } else { "" };
        println!("{target}{is_far}");
    }
    let (met, far) = (targets.iter().filter(|target| target.excess() <= 1.0), |target: &&Target| {
        // Not a number: nothing was measured.
        target.excess().is_nan() || target.excess() > 2.0
    });
    let far = targets.iter().filter(far).count();
    println!("\n{} of {} met; {far} missed by more than twice", met.count(), targets.len());
    if far > 0 || targets.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Makes the plots and the README's figures of the files that were measured.
fn renew_figures() -> Result<(), Box<dyn Error>> {
    let tables = Tables::read(Path::new(DIRECTORY))?;
    let directory = Path::new(DIRECTORY).join("plots");
    fs::create_dir_all(&directory)?;
    for (file, plot) in plots::all(&tables) {
        fs::write(directory.join(file), plot)?;
    }
    let readme = fs::read_to_string(README)?;
    fs::write(README, readme::renew(&readme, &tables)?)?;
    Ok(())
}
