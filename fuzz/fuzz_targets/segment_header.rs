//! Any bytes as the file of a segment: its header, its directory, and whatever objects it claims to have.
//!
//! The first byte of the input says how much is made good: what no fuzzer guesses (boot id, inode of the namespace).
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use multiproc::{Lock, Value};
use multiproc_fuzz::{Handles, Manner, Memory, PAGE};

/// Bytes of the header that are checked.
const HEADER: usize = 64;
/// Behind the directory's fixed part.
const HEADS: usize = 192;
const MOST_PAGES: usize = 4;
/// Objects of one input that are operated on.
const MOST_OBJECTS: usize = 20;

const GOOD_HEADER: u8 = 1;
const GOOD_DIRECTORY: u8 = 2;
const MAKE_OBJECTS: u8 = 4;

/// The first bytes of a good segment of so many pages.
fn good(pages: usize) -> &'static [u8] {
    static GOOD: [OnceLock<Vec<u8>>; MOST_PAGES] = [const { OnceLock::new() }; MOST_PAGES];
    GOOD[pages - 1].get_or_init(|| Memory::good(pages * PAGE, 8, |_| ()))
}

fuzz_target!(|input: &[u8]| {
    let Some((&flags, contents)) = input.split_first() else { return };
    let pages = contents.len().div_ceil(PAGE).clamp(1, MOST_PAGES);
    let mut bytes = vec![0; pages * PAGE];
    let length = contents.len().min(bytes.len());
    bytes[..length].copy_from_slice(&contents[..length]);
    if flags & GOOD_HEADER != 0 {
        bytes[..HEADER].copy_from_slice(&good(pages)[..HEADER]);
    }
    if flags & GOOD_DIRECTORY != 0 {
        bytes[HEADER..HEADS].copy_from_slice(&good(pages)[HEADER..HEADS]);
    }
    let memory = Memory::new(&bytes);
    let Ok(segment) = memory.attach() else { return };
    assert_eq!(segment.size(), bytes.len());
    let objects = segment.objects();
    let mut manner = Manner { wait: Duration::ZERO, memory: &memory, meanwhile: &mut || () };
    for object in objects.iter().take(MOST_OBJECTS) {
        Handles::open(&segment, |_| object.name.as_str()).operate_all(&mut manner);
    }
    if flags & MAKE_OBJECTS != 0 && memory.can_name() {
        drop(Lock::new_in(&segment, "made"));
        if memory.can_name() {
            // A peer that moved `next` back gets what it wrote there into the new object; still, the object is whole.
            let _ = Value::new_in(&segment, "made too", [1u64, 2]).map(|value| value.get());
        }
    }
});
