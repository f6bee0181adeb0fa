//! Writes inputs for `segment_header` that come far: good segments. `cargo run --example seeds -- DIRECTORY`.

use std::path::PathBuf;

use multiproc_fuzz::{Memory, PAGE, populate};

fn main() -> std::io::Result<()> {
    let directory: PathBuf = std::env::args_os().nth(1).expect("a directory").into();
    let empty = Memory::good(PAGE, 8, |_| ());
    let full = Memory::good(4 * PAGE, 8, |segment| drop(populate(segment)));
    for (name, flags, bytes) in
        [("seed-empty", 7, &empty), ("seed-full", 3, &full), ("seed-making", 7, &full)]
    {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        std::fs::write(directory.join(name), [&[flags], &bytes[..used]].concat())?;
    }
    Ok(())
}
