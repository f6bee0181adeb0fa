use multiproc::Share;

#[derive(Share)]
#[repr(C)]
enum State {
    Idle,
    Busy,
}

fn main() {}
