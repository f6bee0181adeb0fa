//! [`Watcher`]: waits for several tasks at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::sys::Deadline;

/// Is told of the end of tasks, each under a number, in the order of their ends.
#[derive(Default)]
pub(crate) struct Watcher {
    ended: Mutex<VecDeque<(usize, bool)>>,
    told: Condvar,
}

impl Watcher {
    /// The task of number `index` has ended; whether it has `failed`, which one that was cancelled has not.
    pub(crate) fn tell(&self, index: usize, failed: bool) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push_back((index, failed));
        self.told.notify_all();
    }

    /// The next one that has ended, waiting for it at most until `deadline`.
    pub(crate) fn next(&self, deadline: Option<Deadline>) -> Option<(usize, bool)> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(next) = ended.pop_front() {
                return Some(next);
            }
            ended = match deadline.map(Deadline::remaining) {
                None => self.told.wait(ended).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => self.told.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}
