//! Which segments this process has mapped: each once, since a thread knows the leases it holds by their address.
//!
//! The last handle of a segment takes it out under the registry's lock, and only there does the count of handles reach
//! zero; so whoever finds a segment in the registry finds it alive, and a mapping that was taken out holds no lease: a new
//! one may be made while it is still being unmapped. A segment in which a thread of this process holds a lease (a leaked
//! guard, or the kernel is still busy with the thread's end) stays, mapped, to be found again; it goes with a later one.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::header::{REAPER_OFFSET, SegmentHeader};
use crate::error::Result;
use crate::sys::mapping::Mapping;
use crate::sys::reaper::Registration;

/// Device and inode of a segment's file.
pub(crate) type Key = (u64, u64);

static MAPPED: Mutex<Registry> = Mutex::new(Registry { segments: BTreeMap::new(), pinned: Vec::new() });

struct Registry {
    segments: BTreeMap<Key, Arc<Mapped>>,
    /// Those among them that had a lease held in them when their last handle went.
    pinned: Vec<Key>,
}

/// A segment as this process has it.
pub(crate) struct Mapped {
    pub(crate) key: Key,
    /// None if the memory is this process's alone.
    pub(crate) file: Option<OwnedFd>,
    /// Of a named one.
    pub(crate) name: Option<String>,
    /// Before the mapping, and so dropped before it.
    _reaper: Option<Registration>,
    pub(crate) mapping: Mapping,
    pub(crate) header: SegmentHeader,
    /// Of the directory.
    pub(crate) buckets: usize,
    handles: AtomicUsize,
}

/// One counted handle of a mapped segment.
pub(crate) struct Handle(Arc<Mapped>);

impl Mapped {
    /// A segment that nobody has a handle of yet.
    pub(crate) fn new(
        key: Key,
        file: Option<OwnedFd>,
        mapping: Mapping,
        header: SegmentHeader,
        buckets: usize,
    ) -> Self {
        // SAFETY: the registration is dropped before the mapping is; the header reserves those bytes for the reaper.
        let reaper = unsafe { Registration::new(mapping.region(), REAPER_OFFSET) };
        let handles = AtomicUsize::new(0);
        Self { key, file, name: None, _reaper: reaper, mapping, header, buckets, handles }
    }
}

/// A handle of the segment `key`: the one that is mapped already, or else the one that `map` makes.
///
/// # Errors
/// What `map` returns.
pub(crate) fn find_or_map(key: Key, map: impl FnOnce() -> Result<Mapped>) -> Result<Handle> {
    let mut registry = registry();
    registry.sweep();
    let mapped = match registry.segments.get(&key) {
        Some(mapped) => Arc::clone(mapped),
        None => {
            let mapped = Arc::new(map()?);
            registry.segments.insert(key, Arc::clone(&mapped));
            mapped
        }
    };
    // Relaxed: the registry's lock orders it against the only place where the count may reach zero.
    mapped.handles.fetch_add(1, Ordering::Relaxed);
    Ok(Handle(mapped))
}

impl Registry {
    /// Lets go of the pinned segments in which no lease is held any more.
    fn sweep(&mut self) {
        let Self { segments, pinned } = self;
        pinned.retain(|key| {
            // SYNC: Acquire <- `Handle::drop`'s Release: the leases that were taken through the handles are seen.
            let Some(mapped) = segments.get(key).filter(|mapped| mapped.handles.load(Ordering::Acquire) == 0)
            else {
                return false; // found again, meanwhile
            };
            let is_pinned = mapped.mapping.is_pinned();
            if !is_pinned {
                segments.remove(key);
            }
            is_pinned
        });
    }
}

/// One more handle of the segment `key`, if it is mapped and has any.
pub(crate) fn find(key: Key) -> Option<Handle> {
    let mapped = Arc::clone(registry().segments.get(&key)?);
    let one_more = |handles: usize| if handles > 0 { handles.checked_add(1) } else { None };
    // Relaxed: as in `find_or_map`.
    mapped.handles.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
    Some(Handle(mapped))
}

fn registry() -> MutexGuard<'static, Registry> {
    // No code of a user runs under this lock, and its holder leaves the map whole at every step.
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::ops::Deref for Handle {
    type Target = Mapped;

    fn deref(&self) -> &Mapped {
        &self.0
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        // Relaxed: `self` keeps the count above zero, and the Arc orders the memory itself.
        self.0.handles.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let others = |handles: usize| if handles > 1 { handles.checked_sub(1) } else { None };
        // SYNC: Release -> the last one's Acquire: a lease that was taken through this handle is seen to be held.
        if self.0.handles.fetch_update(Ordering::Release, Ordering::Relaxed, others).is_ok() {
            return;
        }
        let mut registry = registry();
        // SYNC: Release -> `sweep`'s Acquire, for a handle that was found meanwhile.
        if self.0.handles.fetch_sub(1, Ordering::Release) == 1 {
            registry.pinned.push(self.0.key);
            registry.sweep();
        }
    }
}
