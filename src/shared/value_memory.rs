//! [`ValueMemory`]: one plain value that is never seen half written, as bytes.
//!
//! A value of 1, 2, 4 or 8 bytes is one word, read and written by one load and one store. Any other is two copies and a
//! 64-bit *version*; the copy that counts is `version & 1`.
//!
//! | who | what |
//! |---|---|
//! | `get` | reads the version, copies the copy that counts, reads the version again; again from the start iff it changed |
//! | a writer, under the lock | fills the idle copy word by word, then commits with one store of version + 1 |
//! | a writer that is killed, or rolls back | has changed only the idle copy |
//!
//! # Notes about memory ordering
//! Owed: `get` returns a value that one commit wrote, whole. A reader of version v copies what commit v published: its
//! Acquire load pairs with the commit's Release store (V1). The copy may be overwritten meanwhile, by the writer of
//! v + 2, which fills the same copy only after v + 1 was committed. That writer puts a Release fence before its words,
//! and the reader an Acquire fence behind its own: a reader that saw one of those words sees v + 1 or later in its
//! second look (V2), and starts again. A single word is whole by itself; the fences make a reader that saw it see what its
//! writer did before (V3), as V1 does.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytemuck::Pod;

use super::hold::{Flag, Hold, OwnLock, Taken};
use super::unlocked::Unlocked;
use crate::error::{Error, Result};
use crate::raw::{Deadline, RawMutex};
use crate::segment::{Kind, ObjectType, Placed, Segment, Shape, Share, Site};
use crate::sync::{ChosenLock, LockError};

/// Copies lie at multiples of this, so that their words are aligned.
pub(super) const WORD: usize = size_of::<u64>();

/// A holder that died changed nothing but the idle copy, or a word at once.
const FLAG: Flag = Flag::Cleared;

/// What stands before the copies.
#[repr(C)]
pub(super) struct ValueHead {
    /// Unless the value is under somebody else's.
    mutex: RawMutex,
    pub(super) version: AtomicU64,
}

// SAFETY: repr(C), a raw primitive and an atomic; zeros are an unlocked mutex and version 0.
unsafe impl Share for ValueHead {}

impl OwnLock for ValueHead {
    #[inline]
    fn own_lock(&self) -> &RawMutex {
        &self.mutex
    }
}

/// A value of some size, which each operation is told by the bytes that it is given, and its lock.
#[derive(Clone)]
pub(super) struct ValueMemory {
    pub(super) placed: Placed<ValueHead>,
    pub(super) lock: ChosenLock,
}

impl ValueMemory {
    /// A new value `bytes`, of type `ty`.
    pub(super) fn create(
        site: Site<'_>,
        ty: impl FnOnce(Kind) -> ObjectType,
        lock: ChosenLock,
        bytes: &[u8],
    ) -> Result<Self> {
        let out_of_memory = || Error::beyond_addresses("create value", bytes.len());
        let tail = copies_bytes(bytes.len()).ok_or_else(out_of_memory)?;
        let shape = Shape::new::<ValueHead>(ty(kind(&lock)), 1, tail, WORD);
        let placed = Placed::make(site, shape, |placed: &Placed<ValueHead>| {
            placed.tail().store(0, bytes).ok_or_else(out_of_memory)
        })?;
        Ok(Self { placed, lock })
    }

    /// The value of type `ty`, of `size` bytes, at `offset`; its lock is still to come.
    pub(super) fn open(
        segment: &Segment,
        offset: u64,
        ty: impl Fn(Kind) -> ObjectType,
        size: usize,
    ) -> Result<Unlocked<ValueHead>> {
        let placed = Unlocked::open([Kind::Value, Kind::ValueUnderLock], |kind| {
            Placed::<ValueHead>::open(segment.clone(), offset, &ty(kind), WORD)
        })?;
        let room = placed.object().tail().len();
        if copies_bytes(size).is_none_or(|bytes| room < bytes) {
            return Err(Error::Mismatch {
                object: format!("object at offset {offset}"),
                expected: format!("{} with room for its copies", ty(Kind::Value)),
                found: format!("{room} bytes"),
            });
        }
        Ok(placed)
    }

    /// The value with its lock.
    pub(super) fn join(value: Unlocked<ValueHead>, lock: ChosenLock) -> Result<Self> {
        Ok(Self { placed: value.under(&lock)?, lock })
    }

    /// Copies the last committed value into `bytes`. Never waits.
    #[inline]
    pub(super) fn get(&self, bytes: &mut [u8]) {
        if is_word(bytes.len()) {
            self.load(0, bytes);
            // SYNC: Acquire fence <- `publish`'s Release fence (V3): what came before the word is seen.
            fence(Ordering::Acquire);
            return;
        }
        loop {
            // SYNC: Acquire <- `publish`'s Release store (V1): the words of this version are seen.
            let version = self.placed.version.load(Ordering::Acquire);
            self.load(version, bytes);
            // SYNC: Acquire fence <- `publish`'s Release fence (V2): if one of the words was a later writer's, the next
            // load sees that the version has moved.
            fence(Ordering::Acquire);
            // Relaxed: the fence above orders it.
            if self.placed.version.load(Ordering::Relaxed) == version {
                return;
            }
        }
    }

    /// Takes the lock, waiting until `deadline`.
    #[inline(always)]
    pub(super) fn hold(&self, deadline: Option<Deadline>) -> Result<Hold<'_>, LockError<Hold<'_>>> {
        Hold::lock(&self.lock, &self.placed, FLAG, deadline)
    }

    /// Takes the lock if nobody alive holds it.
    pub(super) fn try_hold(&self) -> Result<Hold<'_>, LockError<Hold<'_>>> {
        Hold::try_lock(&self.lock, &self.placed, FLAG)
    }

    /// Runs `body` under the lock.
    #[inline(always)]
    pub(super) fn during<R>(&self, body: impl FnOnce(Taken) -> R) -> Result<R, LockError<()>> {
        Hold::during(&self.lock, &self.placed, FLAG, body)
    }

    /// Runs `body` under the lock, which gives a result, a version and what the value is to be after it, if not in a forked
    /// child.
    #[inline(always)]
    pub(super) fn change<R, T: Pod>(
        &self,
        body: impl FnOnce(Taken) -> (R, (u64, T)),
    ) -> Result<R, LockError<()>> {
        let commit = |(version, value): (u64, T)| {
            self.publish(version.wrapping_add(1), bytemuck::bytes_of(&value));
        };
        Hold::change(&self.lock, &self.placed, FLAG, body, commit)
    }

    /// Copies the value as the holder of the lock sees it, and says which version that is.
    #[inline]
    pub(super) fn get_held(&self, _taken: Taken, bytes: &mut [u8]) -> u64 {
        let version = self.version_held(bytes.len());
        self.load(version, bytes);
        version
    }

    /// Makes `bytes` the value after `version`. A lock that somebody else took, as in a forked child, changes nothing.
    #[inline]
    pub(super) fn commit(&self, taken: Taken, version: u64, bytes: &[u8]) {
        if taken.is_own() {
            self.publish(version.wrapping_add(1), bytes);
        }
    }

    /// Makes `bytes` the value, where nobody can have forked since the lock was taken.
    #[inline]
    pub(super) fn set_held(&self, _taken: Taken, bytes: &[u8]) {
        self.publish(self.version_held(bytes.len()).wrapping_add(1), bytes);
    }

    /// The version of a value of `size` bytes, as the holder of the lock sees it. That of a word is of no concern.
    #[inline]
    fn version_held(&self, size: usize) -> u64 {
        // Relaxed: only a holder of the lock changes it, and the lock orders holders.
        if is_word(size) { 0 } else { self.placed.version.load(Ordering::Relaxed) }
    }

    /// Makes `bytes` the value, as `version`.
    #[inline]
    fn publish(&self, version: u64, bytes: &[u8]) {
        // SYNC: Release fence -> `get`'s Acquire fence (V2, V3): whoever sees a word stored below sees that the version has
        // moved past the one that it read, and what came before.
        fence(Ordering::Release);
        // The offset was in range when the object was made or opened, and still is.
        let stored = self.placed.tail().store(copy_offset(version, bytes.len()), bytes);
        debug_assert!(stored.is_some());
        if !is_word(bytes.len()) {
            // SYNC: Release -> `get`'s Acquire load (V1): publishes the words above. The one store that commits.
            self.placed.version.store(version, Ordering::Release);
        }
    }

    /// The copy that counts in `version`. Whoever wants it whole checks the version afterwards.
    #[inline]
    fn load(&self, version: u64, bytes: &mut [u8]) {
        let loaded = self.placed.tail().load(copy_offset(version, bytes.len()), bytes);
        debug_assert!(loaded.is_some());
    }
}

/// What the header says: whoever opens a value brings the lock that it is under.
fn kind(lock: &ChosenLock) -> Kind {
    match lock {
        ChosenLock::Own => Kind::Value,
        ChosenLock::Lock(_) | ChosenLock::RLock(_) => Kind::ValueUnderLock,
    }
}

/// Whether a value of so many bytes is stored at once, and has one copy only.
#[inline]
fn is_word(size: usize) -> bool {
    matches!(size, 1 | 2 | 4 | 8)
}

/// Bytes of all copies.
fn copies_bytes(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(WORD)?.checked_mul(if is_word(size) { 1 } else { 2 })
}

/// Where the copy lies that counts in `version`.
#[inline]
pub(super) fn copy_offset(version: u64, size: usize) -> usize {
    if version & 1 == 0 || is_word(size) { 0 } else { size.next_multiple_of(WORD) }
}
