//! Time does not pass in a model: a waiter is impatient once a thread has died unseen.

use super::liveness;

pub(crate) struct Watch;

impl Watch {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn is_due(&mut self, _owner: u32) -> bool {
        liveness::any_died()
    }

    pub(crate) fn restart(&mut self) {}
}
