//! What the system tells in `/proc`: which boot and which PID namespace this process runs in, which decides whether a
//! thread id in a lease means anything here, whether this process has one thread, and how much memory is left.
//!
//! # References
//! pid_namespaces(7); proc(5) on `/proc/self/maps`, `/proc/sys/kernel/random/boot_id` and `/proc/meminfo`.

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

/// Whether the calling thread is certainly the only one of its process.
#[cfg(feature = "process")]
pub(crate) fn has_one_thread() -> bool {
    // ".", ".." and one task.
    rustix::fs::stat("/proc/self/task").is_ok_and(|tasks| tasks.st_nlink == 3)
}

/// Bytes that can still be had, swap space included, by the kernel's estimate.
///
/// # Errors
/// [`Error::Unsupported`] without a mounted `/proc`.
pub(crate) fn available_memory() -> Result<u64> {
    const PATH: &str = "/proc/meminfo";
    const KIB: u64 = 1024;
    let text = std::fs::read_to_string(PATH).map_err(|error| missing(PATH, error))?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let available = field("MemAvailable:").ok_or_else(|| missing(PATH, "no MemAvailable in it"))?;
    Ok(available.saturating_add(field("SwapFree:").unwrap_or(0)).saturating_mul(KIB))
}

/// Device and inode of the file that is mapped at `address`.
///
/// # Errors
/// [`Error::Unsupported`] without a mounted `/proc`, or if no file is mapped there.
#[cfg(feature = "shared_memory")]
pub(crate) fn mapped_file(address: usize) -> Result<(u64, u64)> {
    const PATH: &str = "/proc/self/maps";
    let text = std::fs::read_to_string(PATH).map_err(|error| missing(PATH, error))?;
    // `7f12a000-7f12b000 rw-s 00000000 00:1a 4711  /dev/shm/name`
    let file_in = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |digits| usize::from_str_radix(digits, 16).ok();
        if !(hex(start)?..hex(end)?).contains(&address) {
            return None;
        }
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let number = |digits| u32::from_str_radix(digits, 16).ok();
        let inode: u64 = fields.next()?.parse().ok()?;
        (inode != 0).then_some((rustix::fs::makedev(number(major)?, number(minor)?), inode))
    };
    text.lines().find_map(file_in).ok_or_else(|| missing(PATH, format_args!("no file at {address:#x}")))
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

    #[cfg(feature = "shared_memory")]
    #[test]
    fn the_file_of_a_mapping_is_the_one_that_was_mapped() {
        let fd = crate::sys::memfd::create("system-test", 8192).unwrap();
        let mapping = crate::sys::mapping::Mapping::new(&fd, 8192).unwrap();
        let start = mapping.region().start().as_ptr().addr();
        let key = crate::sys::memfd::facts(std::os::fd::AsFd::as_fd(&fd)).unwrap().key;
        assert_eq!(mapped_file(start).unwrap(), key);
        assert_eq!(mapped_file(start + 8191).unwrap(), key);
        assert!(mapped_file((&raw const key).addr()).is_err(), "the stack is no file");
    }

    #[test]
    fn some_memory_is_available_but_not_without_end() {
        assert!((1 << 20..1 << 46).contains(&available_memory().unwrap()));
    }

    #[test]
    fn the_namespace_is_the_one_that_the_link_names() {
        let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(link.to_str().unwrap(), format!("pid:[{}]", pid_namespace().unwrap()));
    }
}
