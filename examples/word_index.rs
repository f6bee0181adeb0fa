//! An index of words that processes of two programs fill: which lines of which files a word stands in.
//!
//! `word_index` indexes a few lines with two children. To see two programs:
//! ```sh
//! export WORD_INDEX_KEY=secret
//! cargo run --features manager --example word_index -- serve tcp:127.0.0.1:4000 &
//! cargo run --features manager --example word_index -- fill tcp:127.0.0.1:4000 README.md CHANGELOG.md
//! cargo run --features manager --example word_index -- find tcp:127.0.0.1:4000 lock
//! cargo run --features manager --example word_index -- stop tcp:127.0.0.1:4000
//! ```
//! Whoever has the address and the key finds the dictionary by its name.

use std::path::PathBuf;
use std::process::ExitCode;

use multiproc::manager::{DictProxy, EventProxy, ManagerError};
use multiproc::{Address, AuthKey, Error, Manager, Process, Result};

const USAGE: &str = "word_index\nword_index serve ADDRESS\nword_index fill ADDRESS FILE...\n\
                     word_index find ADDRESS WORD\nword_index stop ADDRESS";
/// By what names the objects are found.
const INDEX: &str = "index";
const STOP: &str = "stop";

/// Where a word stands: file, and number of the line.
type Places = Vec<(String, u32)>;
type Index = DictProxy<String, Places>;

/// The key that both programs know.
fn key() -> Result<AuthKey> {
    let key = std::env::var("WORD_INDEX_KEY");
    key.map(AuthKey::new).map_err(|_| Error::NotFound { what: "variable WORD_INDEX_KEY".to_owned() })
}

/// Adds a text to the index; how many words are in it.
fn add(index: &Index, name: &str, text: &str) -> Result<usize> {
    let mut words = 0;
    for (line, number) in text.lines().zip(1..) {
        for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let place = (name.to_owned(), number);
            // Atomic: nobody's place is lost, whoever adds one at the same time.
            index.update(&word.to_lowercase(), |places| {
                let mut places = places.unwrap_or_default();
                places.push(place.clone());
                Some(places)
            })?;
            words += 1;
        }
    }
    Ok(words)
}

/// What a child does: indexes a file.
fn index_file((index, path): (Index, PathBuf)) -> Result<usize, String> {
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    add(&index, &path.display().to_string(), &text).map_err(|error| error.to_string())
}

/// Indexes files, each in a process of its own; how many words are in them.
fn fill(index: &Index, paths: &[PathBuf]) -> Result<usize> {
    let start = |path: &PathBuf| Process::spawn(index_file, (index.clone(), path.clone()));
    let children = paths.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut words = 0;
    for mut child in children {
        words += child.join()?.map_err(|what| Error::NotFound { what })?;
    }
    Ok(words)
}

fn find(index: &Index, word: &str) -> Result<()> {
    let mut places = index.get(&word.to_lowercase())?.unwrap_or_default();
    places.sort();
    places.dedup();
    for (name, line) in places {
        println!("{name}:{line}");
    }
    Ok(())
}

/// Serves an index until it is told to stop.
fn serve(address: Address) -> Result<()> {
    let manager = Manager::builder().address(address).authkey(key()?).start()?;
    let (index, stop): (Index, _) = (manager.dict()?, manager.event()?);
    manager.publish(INDEX, &index)?;
    manager.publish(STOP, &stop)?;
    println!("serving at {}", manager.address());
    stop.wait()?;
    println!("{} words", index.len()?);
    Ok(())
}

/// All by itself: two children with a line each.
fn demonstrate() -> Result<()> {
    fn child((index, name, text): (Index, String, String)) -> usize {
        add(&index, &name, &text).unwrap_or(0)
    }
    let manager = Manager::start()?;
    let index: Index = manager.dict()?;
    let lines = [
        ("hamlet", "To be, or not to be"),
        ("lear", "Nothing will come of nothing\nMend your speech, or be silent"),
    ];
    let start = |(name, text): (&str, &str)| Process::spawn(child, (index.clone(), name.into(), text.into()));
    let children = lines.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    for mut child in children {
        child.join()?;
    }
    println!("{} words; \"be\" and \"nothing\" stand in", index.len()?);
    find(&index, "be")?;
    find(&index, "nothing")
}

fn run(arguments: &[String]) -> Result<()> {
    // Children have this process's key: so they get at a server that is another program's.
    let connect = |address: &str| {
        let key = key()?;
        multiproc::current_process().set_authkey(key.clone());
        Ok::<_, Error>(Manager::connect(address.parse()?, key)?)
    };
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demonstrate(),
        ["serve", address] => serve(address.parse()?),
        ["fill", address, files @ ..] => {
            let paths: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            println!("{} words added", fill(&connect(address)?.find(INDEX)?, &paths)?);
            Ok(())
        }
        ["find", address, word] => find(&connect(address)?.find(INDEX)?, word),
        ["stop", address] => match connect(address)?.find::<EventProxy>(STOP)?.set() {
            // It ends at once, perhaps before it has answered.
            Ok(()) | Err(ManagerError::Disconnected) => Ok(()),
            Err(error) => Err(error.into()),
        },
        _ => Err(Error::NotFound { what: format!("such command\n{USAGE}") }),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("word_index: {error}");
            ExitCode::FAILURE
        }
    }
}
