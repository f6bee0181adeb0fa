//! [`QueueStats`]: a queue's counts, for monitoring.

use super::{GetError, Queue};
use crate::sys::memfd;

/// The counts of a queue at one moment, as [`Queue::stats`](super::Queue::stats) finds them. Each is exact when nobody moves
/// items; meanwhile they may belong to moments that lie a little apart.
///
/// # Examples
/// ```
/// let queue = multiproc::Queue::bounded(4)?;
/// queue.put_many([1, 2, 3])?;
/// queue.get()?;
/// let stats = queue.stats()?;
/// assert_eq!((stats.items, stats.puts, stats.gets), (2, 3, 1));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Items in the queue.
    pub items: u64,
    /// Items ever put.
    pub puts: u64,
    /// Items ever got or taken.
    pub gets: u64,
    /// How often a task was taken that somebody else had given up or died with.
    pub redeliveries: u64,
    /// Bytes of memory that the queue takes: of one that grows, at this moment.
    pub bytes: u64,
    /// Whether somebody waits for room; a hint.
    pub producers_wait: bool,
    /// Whether somebody waits for an item; a hint.
    pub consumers_wait: bool,
}

impl<T, C> Queue<T, C> {
    /// How much is in the queue and has gone through it. It takes no lock and changes nothing.
    ///
    /// # Errors
    /// [`GetError::Corrupt`].
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(4)?;
    /// queue.put(1)?;
    /// queue.put(2)?;
    /// queue.get()?;
    /// let stats = queue.stats()?;
    /// assert_eq!((stats.items, stats.puts, stats.gets), (1, 2, 1));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stats(&self) -> Result<QueueStats, GetError> {
        let (items, puts, gets) = self.at_tail(|ring| Ok((ring.len()?, ring.puts()?, ring.gets()?)))?;
        let (producers_wait, consumers_wait) = self.placed.ring.waiters();
        let redeliveries = self.placed.tasks.redeliveries();
        let file = self.placed.segment().descriptor().filter(|_| self.layout.grows());
        let grown = file.and_then(|file| memfd::facts(file).ok()).map(|facts| facts.reserved);
        let bytes = grown.unwrap_or(self.placed.bytes() as u64);
        Ok(QueueStats { items, puts, gets, redeliveries, bytes, producers_wait, consumers_wait })
    }
}
