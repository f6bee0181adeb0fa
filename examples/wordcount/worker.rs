//! The function that worker processes run.

use std::thread;

use multiproc::{JoinableQueue, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::count::Counter;
use crate::files;
use crate::message::{Chunk, Message, Outcome};

/// What a worker is given. The queues are handles: the worker's are the parent's queues, not copies.
#[derive(Serialize, Deserialize)]
pub struct Assignment {
    pub worker: usize,
    pub kill: bool,
    pub jobs: JoinableQueue<Vec<u8>>,
    pub results: Queue<Message>,
}

/// Takes tasks until there are no more.
///
/// A task is leased: when this process dies before `done`, the queue gives it to another worker. So a task may be
/// worked on twice, and it may even be reported twice, if this process dies between its last chunk and `done`.
pub fn work(assignment: Assignment) {
    let Assignment { worker, kill, jobs, results } = assignment;
    let mut counter = Counter::new();
    for task in jobs.tasks() {
        counter.clear();
        files::paths(&task).for_each(|path| counter.add_file(path));
        let hold = if kill { Hold::at(&task) } else { None };
        let outcome = Outcome::encode(&counter);
        for chunk in Chunk::cut(worker, task.number(), task.attempt(), &outcome) {
            if chunk.last && hold == Some(Hold::BeforeLastChunk) {
                wait_to_be_killed(worker, &results);
            }
            results.put(Message::Chunk(chunk)).expect("the parent reads until the last worker has ended");
        }
        if hold == Some(Hold::BeforeDone) {
            wait_to_be_killed(worker, &results);
        }
        task.done();
    }
}

/// Where `--kill` strikes: a result that is reported by half, and one that is reported but not done.
#[derive(PartialEq)]
enum Hold {
    BeforeLastChunk,
    BeforeDone,
}

impl Hold {
    /// The first two attempts at the first task come to grief, whoever makes them.
    fn at(task: &Task<Vec<u8>>) -> Option<Self> {
        match (task.number(), task.attempt()) {
            (0, 1) => Some(Self::BeforeLastChunk),
            (0, 2) => Some(Self::BeforeDone),
            _ => None,
        }
    }
}

fn wait_to_be_killed(worker: usize, results: &Queue<Message>) {
    let _ = results.put(Message::Holding(worker));
    loop {
        thread::park();
    }
}
