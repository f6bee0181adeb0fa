use multiproc::Share;
use std::sync::atomic::AtomicU32;

#[derive(Share)]
#[repr(C)]
union Either {
    a: std::mem::ManuallyDrop<AtomicU32>,
}

fn main() {}
