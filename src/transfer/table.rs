//! The descriptor table of the transfer in progress on this thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;

use super::failure;
use crate::{Error, Result};

/// Duplicates never land on a standard stream that happens to be closed.
const FIRST_FD: i32 = 3;

thread_local! {
    static CURRENT: RefCell<Table> = const { RefCell::new(Table::Absent) };
}

/// What handles on this thread find.
#[derive(Debug, Default)]
pub(super) enum Table {
    /// No transfer: handles can't travel.
    #[default]
    Absent,
    /// A message is being encoded.
    Sending(Outgoing),
    /// A message is being decoded: the descriptors that came with it.
    Receiving(Vec<OwnedFd>),
}

/// Descriptors collected so far.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) fds: Vec<OwnedFd>,
    index_of: BTreeMap<(u64, u64), u32>,
}

/// Installs a table for its own lifetime; the outer table and the outer failure come back with its drop.
pub(super) struct Scope {
    outer: Table,
    outer_failure: Option<Box<Error>>,
}

impl Scope {
    pub(super) fn enter(table: Table) -> Self {
        Self { outer: replace(table), outer_failure: failure::take() }
    }

    /// Ends the scope and returns its table and what a handle failed with.
    pub(super) fn leave(self) -> (Table, Option<Box<Error>>) {
        (replace(Table::Absent), failure::take())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        failure::put(self.outer_failure.take());
        let outer = std::mem::take(&mut self.outer);
        drop(replace(outer));
    }
}

/// Whether there is no transfer in progress on this thread.
pub(super) fn is_absent() -> bool {
    // One that is in use right now belongs to a transfer.
    CURRENT.try_with(|current| matches!(current.try_borrow().as_deref(), Ok(Table::Absent))).unwrap_or(true)
}

fn replace(table: Table) -> Table {
    CURRENT.try_with(|current| current.replace(table)).unwrap_or_default()
}

/// Puts `fd` in the message being encoded and returns its index there.
///
/// `key` says which file it is (device and inode): a file that several handles share rides once.
///
/// # Errors
/// [`Error::NotInTransfer`] outside of an encode, [`Error::TooManyFiles`] when `fd` can't be duplicated.
pub(crate) fn attach(key: (u64, u64), fd: BorrowedFd<'_>) -> Result<u32> {
    sending(|outgoing| {
        if let Some(&index) = outgoing.index_of.get(&key) {
            return Ok(index);
        }
        let index = outgoing.add(fd)?;
        outgoing.index_of.insert(key, index);
        Ok(index)
    })
}

/// As [`attach`], for a descriptor that rides by itself: two of one file may differ in position and access.
///
/// # Errors
/// As `attach`.
pub(crate) fn attach_own(fd: BorrowedFd<'_>) -> Result<u32> {
    sending(|outgoing| outgoing.add(fd))
}

fn sending(put: impl FnOnce(&mut Outgoing) -> Result<u32>) -> Result<u32> {
    CURRENT
        .try_with(|current| match &mut *current.borrow_mut() {
            Table::Sending(outgoing) => put(outgoing),
            Table::Absent | Table::Receiving(_) => Err(Error::NotInTransfer),
        })
        .unwrap_or(Err(Error::NotInTransfer))
}

impl Outgoing {
    fn add(&mut self, fd: BorrowedFd<'_>) -> Result<u32> {
        const OPERATION: &str = "attach a handle to a message";
        let index = u32::try_from(self.fds.len()).map_err(|_| Error::too_many_files(OPERATION))?;
        let fd = fcntl_dupfd_cloexec(fd, FIRST_FD).map_err(|errno| Error::os(OPERATION, errno))?;
        self.fds.push(fd);
        Ok(index)
    }
}

/// A duplicate of the descriptor with this index in the message being decoded.
///
/// # Errors
/// [`Error::NotInTransfer`] outside of a decode, [`Error::Decode`] when the message has no such descriptor,
/// [`Error::TooManyFiles`] when it can't be duplicated.
pub(crate) fn detach(index: u32) -> Result<OwnedFd> {
    CURRENT
        .try_with(|current| {
            let current = current.borrow();
            let Table::Receiving(fds) = &*current else {
                return Err(Error::NotInTransfer);
            };
            let fd = usize::try_from(index).ok().and_then(|index| fds.get(index)).ok_or_else(|| {
                Error::Decode(format!("a handle names descriptor {index} of {} in the message", fds.len()))
            })?;
            fcntl_dupfd_cloexec(fd.as_fd(), FIRST_FD)
                .map_err(|errno| Error::os("take a handle from a message", errno))
        })
        .unwrap_or(Err(Error::NotInTransfer))
}
