//! [`Patience`]: how long an operation waits.

use std::time::{Duration, Instant};

use super::error::ConnectionError;
use crate::sys::Deadline;

/// How long an operation waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    Never,
    Until(Deadline),
    Forever,
}

impl Patience {
    pub(super) fn timeout(timeout: Duration) -> Self {
        Deadline::after(timeout).map_or(Self::Forever, Self::Until)
    }

    pub(super) fn deadline(deadline: Instant) -> Self {
        Deadline::at(deadline).map_or(Self::Forever, Self::Until)
    }

    /// Until when to wait; `None` is for ever.
    pub(super) fn until(self) -> Option<Deadline> {
        match self {
            Self::Never => Some(Deadline::now()),
            Self::Until(deadline) => Some(deadline),
            Self::Forever => None,
        }
    }

    pub(super) fn is_forever(self) -> bool {
        matches!(self, Self::Forever)
    }

    /// Whether there is no more time to wait.
    pub(super) fn is_exhausted(self) -> bool {
        match self {
            Self::Never => true,
            Self::Until(deadline) => deadline.has_passed(),
            Self::Forever => false,
        }
    }

    /// What an operation says that it has run out of.
    pub(super) fn is_over(self) -> ConnectionError {
        match self {
            Self::Never => ConnectionError::WouldBlock,
            Self::Until(_) | Self::Forever => ConnectionError::TimedOut,
        }
    }
}
