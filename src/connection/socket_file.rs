//! [`SocketFile`]: the file of a listening Unix socket, which goes with its listener.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, lstat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::Pid;

use crate::sys::Deadline;
use crate::{Error, Result};

const OPERATION: &str = "listen on a Unix socket";
/// How long another process may take to bind in the same directory.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket file that this process made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another listener's file of that name is another.
    key: (u64, u64),
    owner: Pid,
}

impl SocketFile {
    /// Binds `socket` to `path`, which only this user may connect to, and listens. A file that a dead listener left is
    /// replaced; nothing else is.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Os`].
    pub(super) fn listen(socket: &OwnedFd, path: &Path, backlog: i32) -> Result<Self> {
        let os = |errno: Errno| Error::os(OPERATION, errno);
        let address = SocketAddrUnix::new(path).map_err(os)?;
        // Two that find a dead one's file must not each take the other's for it, and one that is bound and does not listen
        // yet looks dead.
        let turn = take_turn(path)?;
        // The file gets this mode, less the umask.
        rustix::fs::fchmod(socket, Mode::RUSR | Mode::WUSR).map_err(os)?;
        match bind(socket, &address) {
            Err(Errno::ADDRINUSE) => {
                if !is_dead(path, &address)? {
                    return Err(Error::AlreadyExists { what: format!("unix:{}", path.display()) });
                }
                rustix::fs::unlink(path).map_err(os)?;
                bind(socket, &address).map_err(os)?;
            }
            bound => bound.map_err(os)?,
        }
        listen(socket, backlog).map_err(os)?;
        let stat = lstat(path).map_err(os)?;
        drop(turn);
        let key = (stat.st_dev, stat.st_ino);
        Ok(Self { path: path.to_owned(), key, owner: rustix::process::getpid() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.owner != rustix::process::getpid() {
            return;
        }
        let turn = take_turn(&self.path);
        let is_ours = lstat(&self.path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.key);
        if is_ours {
            // What can't be removed is replaced by the next listener.
            let _ = rustix::fs::unlink(&self.path);
        }
        drop(turn);
    }
}

/// The turn to make or remove socket files in the directory of `path`, among processes that ask for it.
fn take_turn(path: &Path) -> Result<Option<OwnedFd>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(directory, flags, Mode::empty()) else {
        // It may be searched and not read: then nobody of this user gets a turn.
        return Ok(None);
    };
    let deadline = Deadline::after(PATIENCE);
    loop {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory)),
            Err(Errno::AGAIN) if !deadline.is_some_and(Deadline::has_passed) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(Error::os(OPERATION, Errno::TIMEDOUT)),
            // A file system without locks.
            Err(_) => return Ok(None),
        }
    }
}

/// Whether the file is a socket that nobody listens on.
fn is_dead(path: &Path, address: &SocketAddrUnix) -> Result<bool> {
    let is_socket = lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    if !is_socket {
        return Ok(false);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|errno| Error::os(OPERATION, errno))?;
    Ok(connect(probe.as_fd(), address) == Err(Errno::CONNREFUSED))
}
