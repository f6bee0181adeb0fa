use multiproc::Share;
use std::sync::atomic::AtomicU32;

#[derive(Share)]
#[repr(C)]
struct Counters {
    hits: AtomicU32,
    misses: u32,
    more: [u64; 8],
}

fn main() {}
