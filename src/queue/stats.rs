//! [`QueueStats`]: a queue's counts, for monitoring.

/// The counts of a queue at one moment, as [`Queue::stats`](super::Queue::stats) finds them. Each is exact when nobody moves
/// items; meanwhile they may belong to moments that lie a little apart.
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
