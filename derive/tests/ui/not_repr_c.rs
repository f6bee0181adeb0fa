use multiproc::Share;
use std::sync::atomic::AtomicU32;

#[derive(Share)]
struct Counters {
    hits: AtomicU32,
}

#[derive(Share)]
#[repr(transparent)]
struct Wrapped(AtomicU32);

#[derive(Share)]
#[repr(C, packed)]
struct Packed(AtomicU32);

fn main() {}
