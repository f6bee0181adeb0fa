use multiproc::Share;
use std::sync::atomic::AtomicU32;

#[repr(C)]
struct Inner(AtomicU32);

#[derive(Share)]
#[repr(C)]
struct Outer {
    inner: Inner,
}

fn main() {}
