use multiproc::Share;
use std::sync::atomic::AtomicU32;

#[derive(Share)]
#[repr(C)]
struct Counters {
    hits: AtomicU32,
}

impl Drop for Counters {
    fn drop(&mut self) {}
}

fn main() {}
