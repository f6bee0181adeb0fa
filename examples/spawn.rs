//! Runs a function in two processes: `cargo run --example spawn`.

use multiproc::{Process, ProcessError};

fn square(n: u64) -> u64 {
    eprintln!("process {} squares {n}", std::process::id());
    n * n
}

fn main() -> multiproc::Result<()> {
    let mut twelve = Process::spawn(square, 12)?;
    let mut failing =
        Process::spawn(|text: String| -> u64 { panic!("cannot square {text}") }, "ten".to_owned())?;
    println!("{}", twelve.join()?);
    match failing.join() {
        Err(ProcessError::Panicked { message, .. }) => println!("panicked: {message}"),
        other => println!("{other:?}"),
    }
    Ok(())
}
