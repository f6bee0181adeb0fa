//! `Process::spawn` in builds that throw away whatever nobody seems to need.

mod built;

use std::path::{Path, PathBuf};
use std::process::Command;

use built::example_with;

/// A constructor in an object at the end of the link: it comes after the library's own. It says that it ran.
const LATE: &str = r#"
#![no_std]
unsafe extern "C" { fn write(fd: i32, bytes: *const u8, len: usize) -> isize; }
extern "C" fn late() { unsafe { write(2, b"late\n".as_ptr(), 5) }; }
#[used]
#[unsafe(link_section = ".init_array")]
static LATE: extern "C" fn() = late;
"#;

fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn a_stripped_fat_lto_build_with_aborting_panics_spawns() {
    let directory = directory();
    let source = directory.join("late.rs");
    let object = directory.join("late.o");
    std::fs::write(&source, LATE).unwrap();
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=obj", "-Cpanic=abort", "-O", "-o"])
        .args([&object, &source])
        .status()
        .unwrap();
    assert!(compiled.success());

    let link = format!("link-arg={}", object.display());
    // In a target directory of its own: what is linked in is no business of other builds.
    let built = Command::new(env!("CARGO"))
        .args(["rustc", "--offline", "--profile=stripped", "--example=spawn", "--target-dir"])
        .arg(&directory)
        .args(["--", "-C", &link])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let output = Command::new(directory.join("stripped/examples/spawn")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "144\npanicked: cannot square ten\n");
    // Once in the parent, once in each child.
    assert_eq!(stderr.matches("late\n").count(), 3, "{stderr}");
}

#[test]
fn without_the_constructor_init_does_it() {
    // Not optimised, since nothing else wants the library with these features.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let program = example_with("init", "process", profile);
    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");

    let output = Command::new(&program).arg("too-early").output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("before multiproc::init() was called"), "{stderr}");
}
