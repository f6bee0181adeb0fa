//! Where the contexts of all threads live: chunks that are never unmapped and that a fork wipes.
#![allow(unsafe_code)]

use core::iter;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::Unavailable;
use super::context::Context;
use crate::sys::wiped;

/// Contexts in the first chunk; each next chunk has twice as many.
const FIRST_CHUNK: usize = 32;
/// Enough for 32 * (2^16 - 1) threads.
const CHUNKS: usize = 16;

const OWNER_DIED: u32 = 1 << 30;
const TID_MASK: u32 = OWNER_DIED - 1;

/// The chunks' addresses are outside the chunks: a fork wipes those, and their contexts are free in the child.
static ARENA: [AtomicPtr<Context>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];

/// Claims a free context for the thread `tid`, the caller.
pub(super) fn claim(tid: u32) -> Result<*const Context, Unavailable> {
    claim_where(tid, is_free)
        // The kernel could not finish some dead thread's walk: its context is free although not marked.
        .or_else(|| claim_where(tid, |word| is_free(word) || is_gone(word)))
        // Others may take all of a new chunk.
        .or_else(|| iter::repeat_with(grow).map_while(|grown| grown).find_map(|()| claim_where(tid, is_free)))
        .ok_or(Unavailable("no memory for a thread's robust-list context"))
}

/// Whether any thread of this process holds a word that lies in `range`: a leaked guard.
pub(crate) fn holds_any_in(range: Range<usize>) -> bool {
    contexts().any(|context| !is_free(context.word().load(Ordering::Acquire)) && context.holds_any_in(&range))
}

fn claim_where(tid: u32, usable: impl Fn(u32) -> bool) -> Option<*const Context> {
    contexts().find(|context| try_claim(context.word(), tid, &usable)).map(ptr::from_ref)
}

fn try_claim(word: &AtomicU32, tid: u32, usable: impl Fn(u32) -> bool) -> bool {
    let seen = word.load(Ordering::Relaxed);
    // SYNC: Acquire <- the kernel's marking of the dead owner's word: its context is no longer read or written.
    usable(seen) && word.compare_exchange(seen, tid, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

fn is_free(word: u32) -> bool {
    word == 0 || word & OWNER_DIED != 0
}

/// Whether the thread in `word` no longer exists in this process.
fn is_gone(word: u32) -> bool {
    let process = std::process::id();
    // SAFETY: signal 0 only asks whether the thread exists.
    let status = unsafe { libc::syscall(libc::SYS_tgkill, process, word & TID_MASK, 0) };
    status == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// All contexts of the arena.
fn contexts() -> impl Iterator<Item = &'static Context> {
    ARENA.iter().enumerate().flat_map(|(index, chunk)| {
        // SYNC: Acquire <- `wiped::publish`'s Release: the chunk is mapped.
        let first = chunk.load(Ordering::Acquire).cast_const();
        let len = if first.is_null() { 0 } else { FIRST_CHUNK << index };
        (0..len).map(move |position| {
            let context = first.wrapping_add(position);
            // SAFETY: the chunk has `len` contexts, is never unmapped, and all-zero bytes are a valid context.
            unsafe { &*context }
        })
    })
}

/// Maps one more chunk; `None` without memory. Two threads may grow at once: one of the chunks goes.
fn grow() -> Option<()> {
    let (index, chunk) =
        ARENA.iter().enumerate().find(|(_, chunk)| chunk.load(Ordering::Relaxed).is_null())?;
    let bytes = (FIRST_CHUNK << index) * size_of::<Context>();
    wiped::publish(chunk, bytes)
}
