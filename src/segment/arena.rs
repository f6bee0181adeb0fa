//! Memory that small objects without a name share, so that a thousand of them don't take a thousand descriptors.
//!
//! An arena is an anonymous segment of 64 KiB from which room is taken by an atomic in the segment itself: a forked child
//! goes on in its parent's arena, beside it. It goes when the last handle of an object in it goes; room in it is not used
//! twice. Whoever receives one object of an arena could overwrite the others.

use std::sync::{Mutex, PoisonError};

use super::registry::Key;
use super::segment::Segment;
use crate::error::Result;

const BYTES: usize = 64 << 10;

/// The newest one. Not a handle: that would keep it for ever.
static NEWEST: Mutex<Option<Key>> = Mutex::new(None);

/// An arena which, unless others are quicker, has `bytes` left.
///
/// # Errors
/// As for [`Segment::anonymous`].
pub(super) fn current(bytes: usize) -> Result<Segment> {
    let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
    let there = newest.and_then(Segment::mapped).filter(|arena| arena.directory().room() >= bytes);
    if let Some(arena) = there {
        return Ok(arena);
    }
    let arena = Segment::make_anonymous(BYTES, 0)?;
    *newest = Some(arena.key());
    Ok(arena)
}
