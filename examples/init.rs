//! Without the constructor: `cargo run --no-default-features --features process --example init`.

use multiproc::Process;

fn main() -> multiproc::Result<()> {
    if std::env::args().nth(1).is_some_and(|argument| argument == "too-early") {
        // Refused when the constructor is off: the child would run `main` and get here again.
        Process::spawn(|n: u64| n + 1, 41)?;
    }
    multiproc::init();
    println!("{}", Process::spawn(|n: u64| n + 1, 41)?.join()?);
    Ok(())
}
