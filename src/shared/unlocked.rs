//! [`Unlocked`]: an object of plain data that was opened, and whose lock is not known yet.

use crate::error::{Error, Result};
use crate::segment::{Kind, Placed, Share};
use crate::sync::ChosenLock;

/// An object with a lock of its own, or one under a lock elsewhere, as its header says.
pub(super) struct Unlocked<H> {
    object: Placed<H>,
    is_under_lock: bool,
}

impl<H: Share> Unlocked<H> {
    /// Opens the object by `open`, as the first of `kinds`, with a lock of its own, or as the second, under another's.
    pub(super) fn open(
        [own, under_lock]: [Kind; 2],
        open: impl Fn(Kind) -> Result<Placed<H>>,
    ) -> Result<Self> {
        match open(own) {
            Ok(object) => Ok(Self { object, is_under_lock: false }),
            Err(error) => {
                // Where it is neither, the error is about what was asked for.
                let object = open(under_lock).map_err(|_| error)?;
                Ok(Self { object, is_under_lock: true })
            }
        }
    }

    pub(super) fn object(&self) -> &Placed<H> {
        &self.object
    }

    /// The object, if `lock` can be its.
    ///
    /// # Errors
    /// [`Error::Mismatch`]: under two different locks it would be under none.
    pub(super) fn under(self, lock: &ChosenLock) -> Result<Placed<H>> {
        let is_elsewhere = !matches!(lock, ChosenLock::Own);
        if is_elsewhere != self.is_under_lock {
            let name = |elsewhere| if elsewhere { "a lock elsewhere" } else { "a lock of its own" };
            return Err(Error::Mismatch {
                object: format!("object at offset {}", self.object.offset()),
                expected: name(is_elsewhere).to_owned(),
                found: name(self.is_under_lock).to_owned(),
            });
        }
        Ok(self.object)
    }
}
