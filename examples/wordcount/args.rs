//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread;

pub const USAGE: &str = "\
usage: wordcount [OPTION].. [PATH]..

Counts the words of the text files under each PATH (default: the current directory) in several processes.
A word is a run of letters and digits, in lower case. A file with a NUL in its first 8 KiB is binary and skipped.

  --workers N        worker processes; default: one per processor
  --verify           count once more in a single process, and compare
  --kill             SIGKILL a worker while it holds a task, twice; the count must come out exact
  --top N            how many of the commonest words to print; default: 10
  --task-bytes N     bytes of files in a task, about; default: 8388608
";

pub struct Args {
    pub paths: Vec<PathBuf>,
    pub workers: usize,
    pub verify: bool,
    pub kill: bool,
    pub top: u64,
    pub task_bytes: u64,
}

impl Args {
    /// The arguments after the program's name; `None` if help is asked for.
    pub fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let workers = thread::available_parallelism().map_or(1, |n| n.get());
        let mut args =
            Self { paths: Vec::new(), workers, verify: false, kill: false, top: 10, task_bytes: 8 << 20 };
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--verify") => args.verify = true,
                Some("--kill") => args.kill = true,
                Some("--workers") => args.workers = number("--workers", arguments.next())? as usize,
                Some("--top") => args.top = number("--top", arguments.next())?,
                Some("--task-bytes") => args.task_bytes = number("--task-bytes", arguments.next())?,
                Some("--") => args.paths.extend(arguments.by_ref().map(PathBuf::from)),
                Some(option) if option.starts_with('-') => return Err(format!("unknown option {option}")),
                _ => args.paths.push(argument.into()),
            }
        }
        if args.paths.is_empty() {
            args.paths.push(".".into());
        }
        Ok(Some(args))
    }
}

/// A number of 1 or more.
fn number(option: &str, argument: Option<OsString>) -> Result<u64, String> {
    let number = argument.and_then(|argument| argument.to_str()?.parse().ok());
    number.filter(|&n| n > 0).ok_or_else(|| format!("{option} takes a number of 1 or more"))
}
