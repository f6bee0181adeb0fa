//! [`Watch`]: a waiter's patience with one owner.

/// How often one owner is seen before a waiter asks whether that thread still exists: a second, if nothing but the end
/// of a slice ends its sleeps. A count and not a time, so that a killed run can be repeated exactly; to ask too early
/// costs a system call and is otherwise harmless.
const PATIENCE: u32 = 10;

/// How often a waiter has seen one and the same owner, each time before it slept.
pub(crate) struct Watch {
    owner: u32,
    seen: u32,
}

impl Watch {
    /// One that has seen nobody.
    pub(crate) fn new() -> Self {
        Self { owner: 0, seen: 0 }
    }

    /// Notes that `owner`, not 0, is the owner now; whether patience with it has ended.
    pub(crate) fn is_due(&mut self, owner: u32) -> bool {
        let before = if self.owner == owner { self.seen } else { 0 };
        *self = Self { owner, seen: before.saturating_add(1) };
        before >= PATIENCE
    }

    /// Begins anew: the owner was found alive.
    pub(crate) fn restart(&mut self) {
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_due_after_ten_sleeps_behind_one_owner_and_once_restarted_not() {
        let mut watch = Watch::new();
        for _ in 0..2 {
            for _ in 0..PATIENCE {
                assert!(!watch.is_due(7));
            }
            assert!(watch.is_due(7) && watch.is_due(7), "until it is restarted");
            watch.restart();
        }
        assert!(!watch.is_due(7));
        for _ in 0..3 * PATIENCE {
            assert!(!watch.is_due(7) && !watch.is_due(8), "other owners come between");
        }
    }
}
