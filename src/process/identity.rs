//! [`Identity`]: what a process inherits that its parent can give up, or change, for itself: a zygote that has another one
//! than whoever asks it for a process would give that process other rights.

use std::ffi::CStr;

use rustix::fs::{Mode, OFlags, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::{Error, Result};

/// Lines of `/proc/thread-self/status`: ids, groups, session, ignored signals, capabilities, sandboxes.
const LINES: [&str; 12] = [
    "Uid:",
    "Gid:",
    "Groups:",
    "NSsid:",
    "SigIgn:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp",
];

/// In `/proc/thread-self`. Which of them there are depends on the kernel.
const NAMESPACES: [&CStr; 8] = [
    c"ns/cgroup",
    c"ns/ipc",
    c"ns/mnt",
    c"ns/net",
    c"ns/pid_for_children",
    c"ns/time_for_children",
    c"ns/user",
    c"ns/uts",
];

/// More than such a link says, which is a word and an inode's number, with its length before it.
const LONGEST: usize = 64;

/// All limits of resources.
const LIMITS: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Of the calling thread: in Linux each has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    status: String,
    /// What the links say, one behind the other, which takes the kernel half as long as looking at what they lead to.
    namespaces: Vec<u8>,
    /// Device and inode.
    root: (u64, u64),
    limits: [(Option<u64>, Option<u64>); LIMITS.len()],
}

impl Identity {
    /// The calling thread's identity, and its process's file mode creation mask.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`], [`Error::Os`]: `/proc` is not mounted.
    pub(super) fn now() -> Result<(Self, u32)> {
        let failed = |errno| Error::os("read /proc/thread-self", errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::open("/proc/thread-self", flags, Mode::empty()).map_err(failed)?;
        let file = openat(&own, "status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let text = read(&file).map_err(failed)?;
        let is_ours = |line: &&str| LINES.iter().any(|name| line.starts_with(name));
        let status = text.lines().filter(is_ours).collect::<Vec<_>>().join("\n");
        let mask = text.lines().find_map(|line| line.strip_prefix("Umask:"));
        let mask = mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
        let mask = mask.ok_or_else(|| failed(Errno::NODATA))?;
        // One that the kernel doesn't have, or doesn't show, is the same as ever.
        let mut namespaces = Vec::with_capacity(LONGEST * NAMESPACES.len());
        for name in NAMESPACES {
            let mut link = [0; LONGEST];
            let length = readlinkat_raw(&own, name, &mut link[1..]).unwrap_or(0);
            link[0] = u8::try_from(length).unwrap_or(0);
            namespaces.extend_from_slice(&link[..=length]);
        }
        let root = rustix::fs::stat("/").map_or((0, 0), |stat| (stat.st_dev, stat.st_ino));
        let limits = LIMITS.map(|resource| {
            let limit = getrlimit(resource);
            (limit.current, limit.maximum)
        });
        Ok((Self { status, namespaces, root, limits }, mask))
    }
}

fn read(file: &impl std::os::fd::AsFd) -> Result<String, Errno> {
    let mut bytes = vec![0; 4096];
    let mut filled = 0;
    loop {
        match rustix::io::read(file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if filled == bytes.len() {
            bytes.resize(2 * filled, 0);
        }
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).map_err(|_| Errno::ILSEQ)
}
