//! [`segments_of`]: the segments that a process has open.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::segment::SegmentView;
use crate::error::{Error, Result};
use crate::sys::{memfd, named};

/// Looks at the segments that process `pid` has open: named ones, and anonymous memory, in which the objects lie that were
/// made without a segment of one's own. In the order of their first descriptors. What is no segment of this layout, boot
/// and PID namespace is passed over, and so is what goes while this looks.
///
/// # Errors
/// [`Error::NotFound`] if there is no such process; [`Error::Denied`] if it is not this user's.
///
/// # Examples
/// ```
/// let lock = multiproc::Lock::new()?;
/// let guard = lock.lock().unwrap();
/// let segments = multiproc::inspect::segments_of(std::process::id())?;
/// let held = segments.iter().flat_map(|segment| &segment.objects).flat_map(|object| &object.leases);
/// assert!(held.count() > 0);
/// # drop(guard);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub fn segments_of(pid: u32) -> Result<Vec<SegmentView>> {
    let directory = format!("/proc/{pid}/fd");
    let refused = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Error::NotFound { what: format!("process {pid}") },
        ErrorKind::PermissionDenied => Error::Denied {
            object: format!("process {pid}"),
            expected: "one of this user".to_owned(),
            found: "one whose files may not be seen".to_owned(),
        },
        _ => Error::os("list files of process", error),
    };
    let entries = fs::read_dir(&directory).map_err(refused)?;
    let numbers: BTreeSet<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // A process that ends shows no descriptors any more.
    if numbers.is_empty() {
        fs::read_dir(&directory).map_err(refused)?;
    }
    let (mut seen, mut views) = (BTreeSet::new(), Vec::new());
    for number in numbers {
        let Some((file, name)) = open(Path::new(&format!("{directory}/{number}"))) else { continue };
        let Ok(facts) = memfd::facts(file.as_fd()) else { continue };
        if seen.insert(facts.key)
            && let Ok(view) = SegmentView::look(file, name)
        {
            views.push(view);
        }
    }
    Ok(views)
}

/// The file behind a link in `/proc/pid/fd`, if it can be a segment's, and the segment's name. Others are not opened, since
/// that can have effects on a device or a pipe.
fn open(link: &Path) -> Option<(OwnedFd, Option<String>)> {
    let target = fs::read_link(link).ok()?;
    let target = target.to_str()?;
    let name = named::name_of(target);
    if name.is_none() && !target.starts_with("/memfd:") && !target.starts_with("/dev/shm/") {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(link, flags, Mode::empty()).ok()?;
    Some((file, name))
}
