//! [`Stream`]: results of a pool's map as they come, of an input that is taken as they do.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ManagerError;
use super::pool_proxy::PoolProxy;
use super::remote_result::{Next, Pending, results_of};
use crate::sys::Deadline;

/// Results of a pool's map. Dropped, it forgets those that have not come.
pub(super) struct Stream<I: Iterator, R> {
    pool: PoolProxy,
    function: fn(I::Item) -> R,
    /// What has not been taken yet.
    items: Option<I>,
    /// Items of a job.
    chunk: usize,
    /// Items that are on their way, and that may be.
    underway: usize,
    most: usize,
    deadline: Option<Deadline>,
    next: Next,
    /// `None` after the end.
    pending: Option<Pending>,
    came: std::vec::IntoIter<Result<R, ManagerError>>,
}

/// How a [`Stream`] goes on.
pub(super) struct Pace {
    pub(super) chunk: usize,
    pub(super) most: usize,
    pub(super) deadline: Option<Deadline>,
    pub(super) next: Next,
}

impl<I, R> Stream<I, R>
where
    I: Iterator,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    /// Has the first calls made. That it can't be done is the only result then.
    pub(super) fn new(
        pool: PoolProxy,
        function: fn(I::Item) -> R,
        items: I,
        pace: Result<Pace, ManagerError>,
    ) -> Self {
        let (pace, error) = match pace {
            Ok(pace) => (pace, None),
            Err(error) => (Pace { chunk: 1, most: 1, deadline: None, next: Pending::next }, Some(error)),
        };
        let Pace { chunk, most, deadline, next } = pace;
        let pending = Some(pool.pending());
        let (items, came) = (Some(items), Vec::new().into_iter());
        let mut stream =
            Self { pool, function, items, chunk, underway: 0, most, deadline, next, pending, came };
        if let Some(error) = error.or_else(|| stream.fill().err()) {
            stream.fail(error);
        }
        stream
    }

    /// Takes items, if half of those that may be on their way have come back.
    fn fill(&mut self) -> Result<(), ManagerError> {
        let (Some(pending), Some(items)) = (&mut self.pending, &mut self.items) else { return Ok(()) };
        if self.underway > self.most / 2 {
            return Ok(());
        }
        let room = self.most - self.underway;
        let taken: Vec<I::Item> = items.take(room).collect();
        if taken.len() < room {
            self.items = None;
        }
        if !taken.is_empty() {
            pending.append(self.pool.submit(self.function, &taken, self.chunk)?);
            self.underway += taken.len();
        }
        Ok(())
    }

    /// The server fails, and not a task: this is the last result.
    fn fail(&mut self, error: ManagerError) {
        self.pending = None;
        self.came = vec![Err(error)].into_iter();
    }
}

impl<I, R> Iterator for Stream<I, R>
where
    I: Iterator,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Item = Result<R, ManagerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.came.next() {
                return Some(result);
            }
            if let Err(error) = self.fill() {
                self.fail(error);
                continue;
            }
            let left = self.deadline.map(Deadline::remaining);
            match (self.next)(self.pending.as_mut()?, left)? {
                Ok(chunk) => {
                    self.underway -= chunk.1;
                    self.came = results_of(chunk).into_iter();
                }
                Err(error) => self.fail(error),
            }
        }
    }
}
