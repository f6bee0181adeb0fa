//! Which boot and which PID namespace this process runs in: what decides whether a thread id in a lease means anything here.
//!
//! # References
//! pid_namespaces(7), proc(5) on `/proc/sys/kernel/random/boot_id`.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The inode that names this process's PID namespace.
///
/// # Errors
/// [`Error::Unsupported`] without a mounted `/proc`.
pub(crate) fn pid_namespace() -> Result<u64> {
    // Asked anew each time: a child of a process that called unshare(2) is in another namespace.
    rustix::fs::stat("/proc/self/ns/pid")
        .map(|stat| stat.st_ino)
        .map_err(|errno| missing("/proc/self/ns/pid", errno))
}

/// The random id of this boot of the machine.
///
/// # Errors
/// [`Error::Unsupported`] without a mounted `/proc`.
pub(crate) fn boot_id() -> Result<[u8; 16]> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    static BOOT_ID: OnceLock<[u8; 16]> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(*id);
    }
    let text = std::fs::read_to_string(PATH).map_err(|error| missing(PATH, error))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).map_err(|error| missing(PATH, error))?;
    Ok(*BOOT_ID.get_or_init(|| id.to_be_bytes()))
}

fn missing(path: &str, why: impl std::fmt::Display) -> Error {
    Error::Unsupported { what: format!("a system without {path} ({why})") }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_that_of_the_kernel() {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let ours: String = boot_id().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(ours, text.trim().replace('-', ""));
    }

    #[test]
    fn the_namespace_is_the_one_that_the_link_names() {
        let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(link.to_str().unwrap(), format!("pid:[{}]", pid_namespace().unwrap()));
    }
}
