//! The worker processes.

use multiproc::{JoinableQueue, Process, ProcessError, Queue, Result};

use crate::message::Message;
use crate::worker::{Assignment, work};

/// After so many deaths something else is wrong.
const MOST_DEATHS: usize = 16;

/// Worker processes; one that is killed is replaced.
pub struct Crew {
    jobs: JoinableQueue<Vec<u8>>,
    results: Queue<Message>,
    kill: bool,
    workers: Vec<Process<()>>,
    /// The numbers of the processes that were killed.
    pub killed: Vec<u32>,
}

impl Crew {
    pub fn new(jobs: &JoinableQueue<Vec<u8>>, results: &Queue<Message>, kill: bool) -> Self {
        let (jobs, results) = (jobs.clone(), results.clone());
        Self { jobs, results, kill, workers: Vec::new(), killed: Vec::new() }
    }

    pub fn start(&mut self, count: usize) -> Result<()> {
        for worker in 0..count {
            let process = self.spawn(worker)?;
            self.workers.push(process);
        }
        Ok(())
    }

    fn spawn(&self, worker: usize) -> Result<Process<()>> {
        let (jobs, results) = (self.jobs.clone(), self.results.clone());
        // Nobody waits for the work of a process whose parent was killed.
        Process::builder().daemon(true).spawn(work, Assignment { worker, kill: self.kill, jobs, results })
    }

    /// Kills a worker with `SIGKILL` and puts a new one in its place.
    pub fn kill(&mut self, worker: usize) -> Result<()> {
        self.workers[worker].kill()?;
        self.replace(worker)
    }

    /// Puts a new worker in the place of each one that somebody else has killed.
    pub fn replace_killed(&mut self) -> Result<()> {
        for worker in 0..self.workers.len() {
            if !self.workers[worker].is_alive() {
                self.replace(worker)?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, worker: usize) -> Result<()> {
        match self.workers[worker].join() {
            Err(ProcessError::Signaled(_)) if self.killed.len() < MOST_DEATHS => {
                self.killed.push(self.workers[worker].pid());
            }
            ended => ended?,
        }
        self.workers[worker] = self.spawn(worker)?;
        Ok(())
    }

    /// Waits until all workers have seen that there is nothing left to do.
    pub fn join(&mut self) -> Result<()> {
        for mut worker in self.workers.drain(..) {
            match worker.join() {
                // All is counted: whoever is killed now takes nothing along.
                Err(ProcessError::Signaled(_)) => self.killed.push(worker.pid()),
                ended => ended?,
            }
        }
        Ok(())
    }
}

impl Drop for Crew {
    /// Leaves nobody behind when the parent gives up.
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.join();
        }
    }
}
