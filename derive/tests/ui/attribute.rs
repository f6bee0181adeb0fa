use multiproc::Share;
use std::sync::atomic::AtomicU32;

#[derive(Share)]
#[repr(C)]
#[share(krate = multiproc)]
struct Counters(AtomicU32);

fn main() {}
