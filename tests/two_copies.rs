//! Two copies of the library in one program: `tests/two_copies/` depends on it twice, under two names.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn both_copies_recover_beside_each_other_and_the_hosts_robust_mutexes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("two_copies");
    let (package, target) = (directory.join("program"), directory.join("target"));

    // The sources of an earlier run may have files that are gone by now.
    for stale in ["program", "first", "second"] {
        let _ = fs::remove_dir_all(directory.join(stale));
    }
    copy(&root.join("tests/two_copies"), &package);
    // The same versions of everything else, which are at hand without a network.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (library, _targets) = manifest.split_once("\n[[").unwrap();
    // Both use one copy of what derives: a lock file can't tell two of a version apart.
    let library = library.replacen("path = \"derive\"", "path = \"../derive\"", 1);
    copy(&root.join("derive/src"), &directory.join("derive/src"));
    fs::copy(root.join("derive/Cargo.toml"), directory.join("derive/Cargo.toml")).unwrap();
    let own = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(library.contains(&own));
    for (name, version) in [("first", own.as_str()), ("second", "version = \"0.0.0-copy\"")] {
        let library = library.replacen(&own, version, 1);
        copy(&root.join("src"), &directory.join(name).join("src"));
        fs::write(directory.join(name).join("Cargo.toml"), library).unwrap();
    }

    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(&package)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let run = Command::new(target.join("debug/two_copies")).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}\n{said}{}", run.status, String::from_utf8_lossy(&run.stderr));
    print!("{said}");
    assert!(said.ends_with("all done\n"), "{said}");
}
