//! Where a traced operation allocates, and where its stack lies: at the same addresses each time, so that it makes the same
//! steps each time, whatever this process and its parent have allocated and freed before, and whoever called.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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

/// Calls `f` with the stack at the beginning of a page: how libc fills and copies bytes depends on whether they reach into
/// the next one.
pub(crate) fn at_a_page<F: FnOnce() -> R, R>(f: F) -> R {
    let mut call = Call { f: Some(f), outcome: None };
    // SAFETY: `run` takes a pointer to this call, and does not unwind.
    unsafe { call_at_a_page(Call::<F, R>::run, (&raw mut call).cast()) };
    match call.outcome {
        Some(Ok(result)) => result,
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("it was called"),
    }
}

struct Call<F, R> {
    f: Option<F>,
    outcome: Option<Result<R, Box<dyn Any + Send>>>,
}

impl<F: FnOnce() -> R, R> Call<F, R> {
    unsafe extern "C" fn run(call: *mut ()) {
        // SAFETY: the caller's promise.
        let call = unsafe { &mut *call.cast::<Self>() };
        call.outcome = call.f.take().map(|f| catch_unwind(AssertUnwindSafe(f)));
    }
}

/// # Safety
/// `function` may be called with `data`, and does not unwind.
#[unsafe(naked)]
unsafe extern "C" fn call_at_a_page(function: unsafe extern "C" fn(*mut ()), data: *mut ()) {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "and rsp, -4096",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "mov rsp, rbp",
        "pop rbp",
        "ret"
    )
}
