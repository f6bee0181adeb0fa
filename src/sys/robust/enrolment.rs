//! [`Enrolment`]: a thread that is known again without being looked up.

use super::Thread;

/// A thread, for later: remembered by whoever is bound to it, that is neither Send nor Sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enrolment {
    thread: Thread,
    stamp: u64,
}

impl Enrolment {
    /// That of the calling thread.
    pub(crate) fn of(thread: Thread) -> Self {
        Self { thread, stamp: thread.stamp() }
    }

    /// The calling thread; `None` in a forked child, where it is another one.
    #[inline(always)]
    pub(crate) fn thread(&self) -> Option<Thread> {
        (self.thread.stamp() == self.stamp).then_some(self.thread)
    }
}
