//! What tests of the queue need and its users don't: its memory, and forms of operations that do not wait.

use std::os::fd::BorrowedFd;

use super::{Codec, GetError, PutError, Queue};
use crate::raw::Wait;

/// The file in which a queue lies, and where in it its object begins. Chunks lie behind the segment.
pub fn queue_file<T, C>(queue: &Queue<T, C>) -> Option<(BorrowedFd<'_>, usize)> {
    Some((queue.placed.segment().descriptor()?, queue.placed.offset()))
}

/// [`Queue::get_many`] if there is an item.
///
/// # Errors
/// Those of `get_many`, and [`GetError::Empty`].
pub fn try_get_many<T: 'static, C: Codec<T>>(
    queue: &Queue<T, C>,
    items: &mut Vec<T>,
    max: usize,
) -> Result<usize, GetError> {
    queue.get_many_of(None, Wait::Never, items, max)
}

/// [`Queue::get_with`] if there is an item.
///
/// # Errors
/// Those of `get_with`, and [`GetError::Empty`].
pub fn try_get_with<T, C, R>(queue: &Queue<T, C>, read: impl FnOnce(&[u8]) -> R) -> Result<R, GetError> {
    queue.get_with_by(None, Wait::Never, read)
}

/// [`Queue::put_with`] if there is room.
///
/// # Errors
/// Those of `put_with`, and [`PutError::Full`].
pub fn try_put_with<T, C>(
    queue: &Queue<T, C>,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result<(), PutError<()>> {
    queue.put_with_by(None, Wait::Never, length, fill)
}
