use multiproc::Share;

#[derive(Share)]
#[repr(C)]
struct Borrowed<'a> {
    text: std::marker::PhantomData<&'a ()>,
}

fn main() {}
