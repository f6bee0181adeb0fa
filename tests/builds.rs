//! `Process::spawn` in builds that throw away whatever nobody seems to need.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

/// Builds in a target directory of its own, since cargo holds the lock of the usual one while tests run under it.
fn build(arguments: &[&str]) {
    let built = Command::new(env!("CARGO"))
        .args(["rustc", "--offline", "--target-dir"])
        .arg(directory())
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(directory().join(program)).args(arguments).output().unwrap()
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
    build(&["--profile=stripped", "--example=spawn", "--", "-C", &link]);
    let output = run("stripped/examples/spawn", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "144\npanicked: cannot square ten\n");
    // Once in the parent, once in each child.
    assert_eq!(stderr.matches("late\n").count(), 3, "{stderr}");
}

#[test]
fn without_the_constructor_init_does_it() {
    build(&["--no-default-features", "--features=process", "--example=init"]);
    let output = run("debug/examples/init", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");

    let output = run("debug/examples/init", &["too-early"]);
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("before multiproc::init() was called"), "{stderr}");
}
