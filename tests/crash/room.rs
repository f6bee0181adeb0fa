//! Where a traced operation allocates: at the same addresses each time, so that it makes the same steps each time,
//! whatever this process and its parent have allocated and freed before.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The system's allocator until [`begin`], and then the next bytes of a room that nobody has used yet. What is freed after
/// that stays where it is: its process is about to be killed. All blocks begin at a cache line, since how libc copies and
/// searches bytes depends on where they lie in one.
pub(crate) struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const BYTES: usize = 1 << 20;
const LINE: usize = 64;

#[repr(align(4096))]
struct Room(UnsafeCell<[u8; BYTES]>);

// SAFETY: its bytes are reached only through what `alloc` hands out, to one caller each.
unsafe impl Sync for Room {}

static ROOM: Room = Room(UnsafeCell::new([0; BYTES]));
static BEGUN: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// From here on this process, which has one thread and no heirs, allocates in the room.
pub(crate) fn begin() {
    BEGUN.store(true, Ordering::Relaxed);
}

fn begun() -> bool {
    BEGUN.load(Ordering::Relaxed) // Relaxed: one thread.
}

// SAFETY: before `begin` all is the system's. After it nothing is freed, and `NEXT` only grows, so that blocks don't overlap.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Ok(layout) = layout.align_to(LINE) else { return std::ptr::null_mut() };
        if !begun() {
            // SAFETY: the caller's promise; another alignment is a valid one.
            return unsafe { System.alloc(layout) };
        }
        let start = NEXT.load(Ordering::Relaxed).next_multiple_of(layout.align());
        let end = start + layout.size();
        if layout.align() > 4096 || end > BYTES {
            return std::ptr::null_mut();
        }
        NEXT.store(end, Ordering::Relaxed);
        ROOM.0.get().cast::<u8>().wrapping_add(start)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !begun() {
            // SAFETY: the caller's promise; nothing comes from the room before `begin`. The alignment is of no concern to the
            // system's `free`.
            unsafe { System.dealloc(block, layout) };
        }
    }
}
