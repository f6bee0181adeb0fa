//! [`Watch`]: a waiter's patience with one owner.

use std::time::Duration;

use super::Deadline;

/// How long one owner is seen before a waiter asks whether that thread still exists.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how long a waiter has seen one and the same owner.
pub(crate) struct Watch {
    owner: u32,
    due: Option<Deadline>,
}

impl Watch {
    /// One that has seen nobody.
    pub(crate) fn new() -> Self {
        Self { owner: 0, due: None }
    }

    /// Notes that `owner`, not 0, is the owner now; whether nobody else has been for as long as one is patient.
    pub(crate) fn is_due(&mut self, owner: u32) -> bool {
        if self.owner != owner {
            *self = Self { owner, due: Deadline::after(PATIENCE) };
        }
        self.due.is_some_and(Deadline::has_passed)
    }

    /// Begins anew: the owner was found alive.
    pub(crate) fn restart(&mut self) {
        self.owner = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_due_for_one_owner_only_and_once_restarted_not() {
        let mut watch = Watch { owner: 7, due: Some(Deadline::now()) };
        assert!(watch.is_due(7));
        assert!(watch.is_due(7));
        watch.restart();
        assert!(!watch.is_due(7), "patient again");
        let mut watch = Watch { owner: 7, due: Some(Deadline::now()) };
        assert!(!watch.is_due(8));
        assert!(!Watch::new().is_due(1));
    }
}
