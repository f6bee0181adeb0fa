//! The error that a handle's `Serialize` or `Deserialize` met, carried past postcard, which drops custom texts.

use std::cell::RefCell;

use crate::Error;

thread_local! {
    static FAILURE: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// `error` for a serialiser: its text goes the way of serde, the error itself stays beside for [`take`].
pub(crate) fn ser_error<E: serde::ser::Error>(error: Error) -> E {
    let custom = E::custom(&error);
    put(Some(error));
    custom
}

/// `error` for a deserialiser: its text goes the way of serde, the error itself stays beside for [`take`].
pub(crate) fn de_error<E: serde::de::Error>(error: Error) -> E {
    let custom = E::custom(&error);
    put(Some(error));
    custom
}

/// The error left by the innermost transfer on this thread, if it left one.
pub(super) fn take() -> Option<Error> {
    put(None)
}

/// Leaves `error` and returns the one before, so that the old one is dropped only after the borrow has ended.
pub(super) fn put(error: Option<Error>) -> Option<Error> {
    FAILURE.try_with(|failure| failure.replace(error)).ok().flatten()
}
