//! [`Setting`]: what a process that is no copy of its parent has to be told, where `posix_spawn` would let it inherit.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, fchdir, setpgid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::plan::{Changes, Plan};
use crate::{Error, Result};

const OPERATION: &str = "set up a process";
/// Descriptors below are the standard streams.
const FIRST_FD: i32 = 3;

/// The surroundings of a process. The working directory, standard output and standard error come as descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setting {
    /// `None`: that of all zygotes.
    environment: Option<Bytes>,
    /// The file mode creation mask.
    mask: u32,
    /// The process group: 0 is one of its own, `None` can't be named here, and is the zygote's.
    group: Option<i32>,
    /// Which of the two are open.
    has_stdout: bool,
    has_stderr: bool,
}

impl Setting {
    /// The surroundings according to the plan, and the descriptors that belong to them.
    ///
    /// # Errors
    /// [`Error::Os`]: there is no such directory. [`Error::TooManyFiles`].
    pub(super) fn new(plan: &mut Plan, mask: u32) -> Result<(Self, Vec<OwnedFd>)> {
        let directory = plan.directory.as_deref().unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // With a component behind it, so that a directory that may not be entered is refused here.
        let directory = rustix::fs::open(directory.join("."), flags, Mode::empty())
            .map_err(|errno| Error::os("enter the directory of a process", errno))?;
        let own = |given: Option<OwnedFd>, own| match given {
            Some(file) => Ok(Some(file)),
            None => match fcntl_dupfd_cloexec(own, FIRST_FD) {
                Ok(file) => Ok(Some(file)),
                Err(Errno::BADF) => Ok(None),
                Err(errno) => Err(Error::os(OPERATION, errno)),
            },
        };
        let stdout = own(plan.stdout.take(), stdout())?;
        let stderr = own(plan.stderr.take(), stderr())?;
        let environment = packed(&plan.environment);
        let setting = Self {
            environment: (environment != common_environment()).then_some(Bytes(environment)),
            mask,
            group: if plan.own_group { Some(0) } else { group() },
            has_stdout: stdout.is_some(),
            has_stderr: stderr.is_some(),
        };
        Ok((setting, [Some(directory), stdout, stderr].into_iter().flatten().collect()))
    }

    /// Makes these the surroundings of this process.
    ///
    /// # Errors
    /// [`Error::Decode`]: the message lacks a descriptor. [`Error::Os`].
    ///
    /// # Safety
    /// There is no other thread, which might be reading the environment.
    pub(super) unsafe fn establish(self, fds: &mut impl Iterator<Item = OwnedFd>) -> Result<()> {
        let mut next = || fds.next().ok_or_else(|| Error::Decode("a descriptor is missing".into()));
        let failed = |errno| Error::os(OPERATION, errno);
        fchdir(next()?).map_err(failed)?;
        // The zygote's is as when that was started.
        if let Some(group) = self.group.filter(|wanted| Some(*wanted) != *OWN_GROUP.get_or_init(group)) {
            setpgid(None, Pid::from_raw(group)).map_err(failed)?;
        }
        umask(Mode::from_raw_mode(self.mask));
        if self.has_stdout {
            dup2_stdout(next()?).map_err(failed)?;
        }
        if self.has_stderr {
            dup2_stderr(next()?).map_err(failed)?;
        }
        if let Some(Bytes(environment)) = self.environment {
            // SAFETY: the caller's promise.
            unsafe { replace_environment(environment) };
        }
        Ok(())
    }
}

/// The environment that all zygotes of this process have, and so their copies, unless they are told another one: this
/// process's when it started the first.
pub(super) fn common_environment() -> &'static [u8] {
    static COMMON: OnceLock<Vec<u8>> = OnceLock::new();
    COMMON.get_or_init(|| packed(&Changes::default()))
}

/// This process's environment with changes, as strings that end with a zero byte.
fn packed(changes: &Changes) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, value) in changes.apply() {
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            packed.extend_from_slice(part);
        }
    }
    packed
}

/// The group of a zygote, which nobody can change any more, and of its copies in their beginning.
static OWN_GROUP: OnceLock<Option<i32>> = OnceLock::new();

/// Has the copies of this process know their group.
pub(super) fn note_group() {
    let _ = OWN_GROUP.set(group());
}

/// This process's group; `None` if it is one of another PID namespace, which nobody here can join.
// Not rustix's: its type for the number can't hold the 0 of such a group.
fn group() -> Option<i32> {
    // SAFETY: asks for a number.
    let group = unsafe { libc::getpgrp() };
    (group != 0).then_some(group)
}

/// # Safety
/// There is no other thread.
pub(super) unsafe fn replace_environment(variables: Vec<u8>) {
    // C's, and the standard library reads it.
    unsafe extern "C" {
        static mut environ: *const *const c_char;
    }
    // Both stay: who has asked for a variable may keep the answer.
    let mut rest: &'static [u8] = variables.leak();
    let mut pointers: Vec<*const c_char> = Vec::with_capacity(64);
    while let Ok(variable) = CStr::from_bytes_until_nul(rest) {
        pointers.push(variable.as_ptr());
        rest = &rest[variable.count_bytes() + 1..];
    }
    pointers.push(ptr::null());
    // SAFETY: an array of strings that end with a zero byte, with a null pointer behind the last, none of which goes away.
    // Nobody reads it meanwhile (the caller's promise).
    unsafe { environ = pointers.leak().as_ptr() };
}

/// Bytes that are encoded as such, not one by one.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker;
        impl Visitor<'_> for Taker {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Taker)
    }
}
