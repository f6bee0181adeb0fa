//! The error that a handle's `Serialize` or `Deserialize` met, carried past postcard, which drops custom texts.

use std::cell::Cell;

use crate::Error;

thread_local! {
    static FAILURE: Cell<Option<Box<Error>>> = const { Cell::new(None) };
    /// Whether there is one. By itself: it is looked at for every item of every queue, and has no destructor to register.
    static IS_LEFT: Cell<bool> = const { Cell::new(false) };
}

/// `error` for a serialiser: its text goes the way of serde, the error itself stays beside for [`take`].
pub(crate) fn ser_error<E: serde::ser::Error>(error: Error) -> E {
    let custom = E::custom(&error);
    put(Some(Box::new(error)));
    custom
}

/// `error` for a deserialiser: its text goes the way of serde, the error itself stays beside for [`take`].
pub(crate) fn de_error<E: serde::de::Error>(error: Error) -> E {
    let custom = E::custom(&error);
    put(Some(Box::new(error)));
    custom
}

/// Whether the innermost transfer on this thread left an error.
#[inline]
pub(super) fn is_left() -> bool {
    IS_LEFT.get()
}

/// The error left by the innermost transfer on this thread, if it left one.
pub(super) fn take() -> Option<Box<Error>> {
    IS_LEFT.set(false);
    FAILURE.try_with(Cell::take).ok().flatten()
}

/// Leaves `error` instead of the one before.
pub(super) fn put(error: Option<Box<Error>>) {
    IS_LEFT.set(error.is_some());
    let earlier = FAILURE.try_with(|failure| failure.replace(error));
    // Not while the variable is in use.
    drop(earlier);
}
