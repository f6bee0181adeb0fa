//! Memory files with a name, under `/dev/shm`: made whole before they are seen, and known to be in use or not.
//!
//! A file is made without a name (`O_TMPFILE`) and linked when it is finished, so no death leaves half of one. Whoever has
//! it open holds a shared `flock` on it, which the kernel takes back when the last descriptor goes, however that happens:
//! who gets the exclusive one knows that nobody uses the file, and removes it while it holds that.
//!
//! # References
//! open(2) on `O_TMPFILE`, linkat(2), flock(2), shm_overview(7).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::memfd;
use crate::error::{Error, Result};

const DIRECTORY: &str = "/dev/shm";
/// What the files' names begin with.
const PREFIX: &str = "multiproc-";
/// Most bytes of a name: `NAME_MAX` without the prefix.
const MOST_BYTES: usize = 255 - PREFIX.len();
/// Whoever removes a file does so within microseconds, unless it was stopped: a second in all.
const ATTEMPTS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);
/// Who may read and write a file: its owner.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Makes a file of `bytes` zero bytes, all with their pages, that has no name yet. Held in use by the descriptor.
///
/// # Errors
/// [`Error::OutOfMemory`] where `/dev/shm` or a limit ends; [`Error::TooManyFiles`]; [`Error::Unsupported`] where
/// `/dev/shm` is no file system that can do this.
pub(crate) fn create(bytes: u64) -> Result<OwnedFd> {
    const OPERATION: &str = "create named segment";
    memfd::refuse_what_limits_forbid(OPERATION, bytes)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open(DIRECTORY, flags, PRIVATE).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::OPNOTSUPP | Errno::ISDIR => {
            Error::Unsupported { what: format!("a system without a tmpfs at {DIRECTORY} ({errno})") }
        }
        _ => Error::os(OPERATION, errno),
    })?;
    hold(&fd).map_err(|errno| Error::os(OPERATION, errno))?;
    memfd::reserve(fd.as_fd(), OPERATION, bytes)?;
    Ok(fd)
}

/// Gives the file `fd` the name `name`. A file of that name that nobody uses goes, if `take_over` says so.
///
/// # Errors
/// [`Error::AlreadyExists`]; [`Error::Denied`] if a file of that name is not this user's; [`Error::Os`].
pub(crate) fn publish(fd: BorrowedFd<'_>, name: &str, take_over: bool) -> Result<()> {
    const OPERATION: &str = "name segment";
    let path = path(name)?;
    loop {
        // Naming by descriptor alone (AT_EMPTY_PATH) needs a capability.
        let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match rustix::fs::linkat(CWD, own, CWD, &path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) if take_over => {
                if !remove_unused(name)? {
                    return Err(Error::AlreadyExists { what: format!("segment {name:?}, which is in use") });
                }
            }
            Err(Errno::EXIST) => return Err(Error::AlreadyExists { what: format!("segment {name:?}") }),
            Err(errno) => return Err(Error::os(OPERATION, errno)),
        }
    }
}

/// Opens the file `name` and holds it in use.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Denied`] if another user owns the file or may write to it; [`Error::Os`].
pub(crate) fn open(name: &str) -> Result<OwnedFd> {
    for _ in 0..ATTEMPTS {
        let Some((fd, _)) = open_own(name)? else {
            return Err(Error::NotFound { what: format!("segment {name:?}") });
        };
        match hold(&fd) {
            Ok(()) => {}
            // Somebody is removing it, or asks whether it is used.
            Err(Errno::WOULDBLOCK) => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(errno) => return Err(Error::os("open segment", errno)),
        }
        // Held, it is not removed any more by whoever finds it unused; before, it may have been.
        let stat = rustix::fs::fstat(&fd).map_err(|errno| Error::os("open segment", errno))?;
        if stat.st_nlink > 0 {
            return Ok(fd);
        }
    }
    Err(Error::os("open segment", Errno::WOULDBLOCK))
}

/// Removes the name if it belongs to the file with this device and inode; whoever uses the file keeps it.
///
/// # Errors
/// [`Error::Denied`], [`Error::Os`].
pub(crate) fn remove(name: &str, key: (u64, u64)) -> Result<()> {
    if let Some((_fd, stat)) = open_own(name)?
        && (stat.st_dev, stat.st_ino) == key
    {
        unlink(name)?;
    }
    Ok(())
}

/// Removes the file `name` unless somebody uses it; whether it is gone.
///
/// # Errors
/// [`Error::Denied`], [`Error::Os`].
pub(crate) fn remove_unused(name: &str) -> Result<bool> {
    let Some((fd, before)) = open_own(name)? else {
        return Ok(true);
    };
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(false),
        Err(errno) => return Err(Error::os("remove segment", errno)),
    }
    // The name may have gone to another file since; while this one's is locked and linked, it can't.
    if let Some((_fd, now)) = open_own(name)?
        && (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)
    {
        unlink(name)?;
    }
    Ok(true)
}

/// Whether somebody uses the file `name`; `None` if there is none of this user's.
pub(crate) fn is_used(name: &str) -> Option<bool> {
    let (fd, _) = open_own(name).ok()??;
    // A lock of the moment: whoever opens the file meanwhile tries again.
    Some(rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// The names that there are, of any user.
///
/// # Errors
/// [`Error::Os`] if the directory can't be read.
pub(crate) fn names() -> Result<Vec<String>> {
    let entries = std::fs::read_dir(DIRECTORY).map_err(|error| Error::os("list segments", error))?;
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_prefix(PREFIX)?.to_owned()))
        .collect())
}

/// A descriptor of the file `name`, not held in use, and what the system says about it.
pub(crate) fn look(name: &str) -> Result<Option<OwnedFd>> {
    Ok(open_own(name)?.map(|(fd, _)| fd))
}

/// The same, that can't be written through.
#[cfg(feature = "inspect")]
pub(crate) fn look_only(name: &str) -> Result<Option<OwnedFd>> {
    Ok(open_as(name, OFlags::RDONLY)?.map(|(fd, _)| fd))
}

fn open_own(name: &str) -> Result<Option<(OwnedFd, Stat)>> {
    open_as(name, OFlags::RDWR)
}

fn open_as(name: &str, access: OFlags) -> Result<Option<(OwnedFd, Stat)>> {
    const OPERATION: &str = "open segment";
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = match rustix::fs::open(path(name)?, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ACCESS | Errno::PERM) => {
            return Err(denied(name, "one that may not be opened".to_owned()));
        }
        Err(Errno::LOOP) => return Err(denied(name, "a symbolic link".to_owned())),
        Err(errno) => return Err(Error::os(OPERATION, errno)),
    };
    let stat = private(fd.as_fd(), name)?;
    Ok(Some((fd, stat)))
}

/// Checks that the file `fd`, called `name`, is one that only this user's programs can have made and can change.
///
/// # Errors
/// [`Error::Denied`], [`Error::Os`].
pub(crate) fn check_private(fd: BorrowedFd<'_>, name: &str) -> Result<()> {
    private(fd, name).map(drop)
}

fn private(fd: BorrowedFd<'_>, name: &str) -> Result<Stat> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| Error::os("open segment", errno))?;
    let others_write = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(denied(name, "no regular file".to_owned()));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() || others_write {
        let found = format!("one of user {}, mode {:04o}", stat.st_uid, stat.st_mode & 0o7777);
        return Err(denied(name, found));
    }
    Ok(stat)
}

fn denied(name: &str, found: String) -> Error {
    let user = rustix::process::geteuid().as_raw();
    let expected = format!("a file of user {user} that nobody else may write");
    Error::Denied { object: format!("segment {name:?}"), expected, found }
}

fn hold(fd: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::flock(fd, FlockOperation::NonBlockingLockShared)
}

fn unlink(name: &str) -> Result<()> {
    match rustix::fs::unlink(path(name)?) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::os("remove segment", errno)),
    }
}

/// The name of the segment in the file at `path`, if that is where named ones lie and it has not been removed.
#[cfg(feature = "inspect")]
pub(crate) fn name_of(path: &str) -> Option<String> {
    let name = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?.strip_prefix(PREFIX)?;
    (!name.contains('/') && !path.ends_with(" (deleted)")).then(|| name.to_owned())
}

/// Whether `name` can be a file's.
///
/// # Errors
/// [`Error::InvalidArgument`].
pub(crate) fn check_name(name: &str) -> Result<()> {
    let has = |byte: u8| name.bytes().any(|other| other == byte);
    if name.is_empty() || name.len() > MOST_BYTES || has(b'/') || has(0) {
        return Err(Error::InvalidArgument {
            what: "name of a segment",
            expected: format!("1 to {MOST_BYTES} bytes without '/' and NUL"),
            found: if name.len() > MOST_BYTES {
                format!("{} bytes", name.len())
            } else {
                format!("{name:?}")
            },
        });
    }
    Ok(())
}

fn path(name: &str) -> Result<PathBuf> {
    check_name(name)?;
    Ok(Path::new(DIRECTORY).join(format!("{PREFIX}{name}")))
}
