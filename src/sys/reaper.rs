//! Which lease serialises the thieves of a mapping: a table from mapped memory to the mapping's *reaper*.
//!
//! A waiter that has found a lease's owner dead, though the kernel never marked the lease, takes it only while it holds
//! the reaper of the memory that the lease lies in: two thieves that don't know of each other could rob a thread that was
//! born with the dead one's id. (Segments register their memory here; in memory that nobody registered nothing is taken.)
//!
//! A reader takes no lock, for it may be a forked child of a thread that held one: it reads a slot between two looks at
//! the slot's version. The slot that a reader is looking for does not change, as its lease keeps the memory mapped.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use super::region::Region;
use super::robust::Node;

/// Slots in the first chunk; each next chunk has twice as many.
const FIRST_CHUNK: usize = 64;
/// Enough for 64 * (2^24 - 1) mappings: the kernel allows fewer.
const CHUNKS: usize = 24;

static TABLE: [AtomicPtr<Slot>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];
/// Slots that are in no use.
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

/// Mapped memory and its reaper. An empty one contains no address.
#[derive(Default)]
struct Slot {
    /// Odd while the slot is being changed.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    reaper: AtomicPtr<Node>,
}

/// Memory whose reaper is known for as long as this lives.
pub(crate) struct Registration {
    slot: &'static Slot,
}

impl Registration {
    /// Makes the bytes at `offset` of `memory` its reaper; `None` if no node lies there.
    ///
    /// # Safety
    /// The memory stays mapped until the registration is dropped; the node there is used as a reaper only.
    pub(crate) unsafe fn new(memory: Region<'_>, offset: usize) -> Option<Self> {
        let reaper = memory.slice(offset, size_of::<Node>())?.start().cast::<Node>();
        if !reaper.is_aligned() {
            return None;
        }
        let start = memory.start().as_ptr().addr();
        let end = start.checked_add(memory.len())?;
        let slot = free_slot()?;
        slot.change(start, end, reaper.as_ptr());
        Some(Self { slot })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.slot.change(0, 0, ptr::null_mut());
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

/// The reaper of the memory that `lease` lies in.
pub(crate) fn of(lease: &Node) -> Option<&Node> {
    let reaper = slots().find_map(|slot| slot.reaper_of(ptr::from_ref(lease).addr()))?;
    // SAFETY: the node lies, aligned, in the memory that the lease lies in, which stays mapped as long as the lease is
    // borrowed; any bytes are a valid node.
    Some(unsafe { reaper.as_ref() })
}

impl Slot {
    /// Only whoever took the slot out of [`FREE`] calls this.
    fn change(&self, start: usize, end: usize, reaper: *mut Node) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // SYNC: Release -> the fence of `reaper_of`: who sees one of these values sees that the version was odd.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.reaper.store(reaper, Ordering::Relaxed);
        // SYNC: Release -> `reaper_of`'s Acquire: the values belong together.
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    fn reaper_of(&self, address: usize) -> Option<NonNull<Node>> {
        // SYNC: Acquire <- `change`'s last store: the values belong together.
        let version = self.version.load(Ordering::Acquire);
        let memory = self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        let reaper = self.reaper.load(Ordering::Relaxed);
        // SYNC: Acquire <- `change`'s fence: values of a later change come with its version.
        fence(Ordering::Acquire);
        let whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        if whole && memory.contains(&address) { NonNull::new(reaper) } else { None }
    }
}

/// All slots there are.
fn slots() -> impl Iterator<Item = &'static Slot> {
    TABLE.iter().enumerate().flat_map(|(index, chunk)| -> &'static [Slot] {
        // SYNC: Acquire <- `free_slot`'s Release: the chunk is initialised.
        let first = chunk.load(Ordering::Acquire).cast_const();
        if first.is_null() {
            return &[];
        }
        // SAFETY: the chunk was leaked with this length.
        unsafe { std::slice::from_raw_parts(first, FIRST_CHUNK << index) }
    })
}

/// A slot for the caller alone; adds a chunk if there is none.
fn free_slot() -> Option<&'static Slot> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    if free.is_empty() {
        let (index, chunk) =
            TABLE.iter().enumerate().find(|(_, chunk)| chunk.load(Ordering::Relaxed).is_null())?;
        let slots: &'static [Slot] =
            (0..FIRST_CHUNK << index).map(|_| Slot::default()).collect::<Vec<_>>().leak();
        free.extend(slots);
        // SYNC: Release -> `slots`' Acquire: the chunk is initialised.
        chunk.store(slots.as_ptr().cast_mut(), Ordering::Release);
    }
    free.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three nodes, of which the second is the reaper.
    struct Memory([Node; 3]);

    impl Memory {
        fn new() -> Box<Self> {
            Box::new(Self(std::array::from_fn(|_| Node::new())))
        }

        fn register(&self) -> Registration {
            let start = NonNull::from(self).cast();
            // SAFETY: the box outlives the registration, and all of it is atomic.
            let region = unsafe { Region::new(start, size_of::<Self>()) };
            // SAFETY: as above, and nothing else uses the node.
            unsafe { Registration::new(region, size_of::<Node>()) }.unwrap()
        }
    }

    #[test]
    fn a_registered_leases_reaper_is_found_and_no_others() {
        let (ours, other) = (Memory::new(), Memory::new());
        let first = ours.register();
        let second = other.register();
        assert!(ptr::eq(of(&ours.0[2]).unwrap(), &ours.0[1]));
        assert!(ptr::eq(of(&other.0[0]).unwrap(), &other.0[1]));
        drop(first);
        assert!(of(&ours.0[2]).is_none());
        assert!(ptr::eq(of(&other.0[0]).unwrap(), &other.0[1]));
        drop(second);
        assert!(of(&other.0[0]).is_none());
    }

    #[test]
    fn a_reaper_outside_the_memory_is_refused() {
        let memory = Memory::new();
        let start = NonNull::from(&*memory).cast();
        // SAFETY: the box outlives the registrations, and all of it is atomic.
        let region = unsafe { Region::new(start, size_of::<Memory>()) };
        for offset in [81, 120, usize::MAX] {
            // SAFETY: as above.
            assert!(unsafe { Registration::new(region, offset) }.is_none(), "{offset}");
        }
    }

    #[test]
    fn a_lookup_while_others_come_and_go_finds_its_own() {
        let ours = Memory::new();
        let _registration = ours.register();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let memories: Vec<_> = (0..8).map(|_| Memory::new()).collect();
                        let registrations: Vec<_> = memories.iter().map(|memory| memory.register()).collect();
                        drop(registrations);
                    }
                });
            }
            for _ in 0..20_000 {
                assert!(ptr::eq(of(&ours.0[0]).unwrap(), &ours.0[1]));
            }
        });
    }
}
