use multiproc::Share;

#[derive(Share)]
#[repr(C)]
struct Everything {
    pointer: *mut u8,
    reference: &'static u8,
    function: extern "C" fn(),
    bool: bool,
    flags: [bool; 4],
    char: char,
    usize: usize,
    isize: isize,
    owned: Box<u8>,
    string: String,
    vec: std::vec::Vec<u8>,
    tuple: (u8, u8),
    atomic_bool: std::sync::atomic::AtomicBool,
    atomic_usize: std::sync::atomic::AtomicUsize,
}

fn main() {}
