//! Compiles Boost's mutex and message queue where Boost is installed, and tells the benchmarks which compiler they are made with.

use std::path::Path;
use std::process::Command;

const SOURCES: [&str; 2] = ["locks/boost_mutex.cpp", "queue/boost_queue.cpp"];
const HEADER: &str = "/usr/include/boost/interprocess/sync/interprocess_mutex.hpp";

fn main() {
    SOURCES.iter().for_each(|source| println!("cargo::rerun-if-changed={source}"));
    println!("cargo::rerun-if-changed={HEADER}");
    if Path::new(HEADER).exists() {
        cc::Build::new().cpp(true).opt_level(3).files(SOURCES).compile("boost");
        println!("cargo::rustc-cfg=boost");
    }
    let rustc = std::env::var_os("RUSTC").expect("cargo says which compiler it uses");
    let version = Command::new(rustc).arg("--version").output().expect("the compiler runs").stdout;
    println!("cargo::rustc-env=RUSTC_VERSION={}", String::from_utf8_lossy(&version).trim());
}
