//! Two processes talk by a pipe that a third one gave them: `cargo run --example pipe_chat`.
//!
//! The parent has a pipe to each child. Through those it hands them the ends of one more pipe, and takes no part in what
//! they say by it. When both have told it the talk as they heard it, it compares.

use std::time::Duration;

use multiproc::{Connection, ConnectionError, Process, Result, connection, pipe};
use serde::{Deserialize, Serialize};

/// Longer than a talk takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the parent tells a child.
#[derive(Serialize, Deserialize)]
struct Introduction {
    name: String,
    /// The other end is the other child's.
    partner: Connection,
    /// What to say, line by line.
    lines: Vec<String>,
    begins: bool,
}

/// What was said, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    speaker: String,
    text: String,
}

/// A child: says its lines and listens in turn, then tells the parent all that was said.
fn talk(parent: Connection) -> Result<()> {
    let Introduction { name, partner, lines, begins } = parent.recv()?;
    let mut heard = Vec::new();
    if !begins {
        heard.push(partner.recv()?);
    }
    for text in lines {
        let line = Line { speaker: name.clone(), text };
        partner.send(&line)?;
        heard.push(line);
        match partner.recv() {
            Ok(line) => heard.push(line),
            // The other one had nothing more to say.
            Err(ConnectionError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    parent.send(&heard)?;
    Ok(())
}

/// A function for a process returns what can travel: of an error, its text.
fn child(parent: Connection) -> Option<String> {
    talk(parent).err().map(|error| error.to_string())
}

fn main() -> Result<()> {
    let (to_alice, of_alice) = pipe()?;
    let (to_bob, of_bob) = pipe()?;
    let mut alice = Process::spawn(child, of_alice)?;
    let mut bob = Process::spawn(child, of_bob)?;

    let (one, other) = pipe()?;
    let introduce = |to: &Connection, name: &str, partner, lines: &[&str], begins| {
        let (name, lines) = (name.to_owned(), lines.iter().map(|&line| line.to_owned()).collect());
        to.send(&Introduction { name, partner, lines, begins })
    };
    introduce(&to_alice, "alice", one, &["Is anybody there?", "What do you share with me?", "Bye."], true)?;
    introduce(&to_bob, "bob", other, &["I am, in another process.", "This pipe, and nothing else."], false)?;

    // Whoever is done first is read first; a child that was killed is ready, too.
    let mut reports: [Option<Vec<Line>>; 2] = [None, None];
    while reports.iter().any(Option::is_none) {
        let ends = [&to_alice, &to_bob];
        let waiting: Vec<usize> = (0..2).filter(|&child| reports[child].is_none()).collect();
        let objects: Vec<_> = waiting.iter().map(|&child| ends[child] as &dyn std::os::fd::AsFd).collect();
        let ready = connection::wait(&objects, Some(PATIENCE))?;
        assert!(!ready.is_empty(), "a talk takes no {PATIENCE:?}");
        for place in ready {
            let child = waiting[place];
            reports[child] = Some(ends[child].recv()?);
        }
    }
    if let Some(error) = [alice.join()?, bob.join()?].into_iter().flatten().next() {
        panic!("a child could not go on: {error}");
    }

    let [Some(of_alice), Some(of_bob)] = reports else { unreachable!("both have reported") };
    assert_eq!(of_alice, of_bob, "both heard the same");
    for Line { speaker, text } in &of_alice {
        println!("{speaker}: {text}");
    }
    println!("{} lines, heard alike by both", of_alice.len());
    Ok(())
}
