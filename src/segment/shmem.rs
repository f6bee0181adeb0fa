//! [`Segment::from_shmem`]: a segment in memory that the crate `shared_memory` has mapped.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use shared_memory::Shmem;

use super::directory::buckets_for;
use super::header::{CHECKED_BYTES, STATE_OFFSET, SegmentHeader};
use super::registry::find_or_map;
use super::segment::{Segment, attach, set_up, too_short};
use crate::error::{Error, Result};
use crate::sys::Deadline;
use crate::sys::mapping::Mapping;
use crate::sys::region::Region;
use crate::sys::system;

/// How long others wait for the owner to set the segment up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks. There is nothing to sleep on: the memory may be anything as yet.
const PAUSE: Duration = Duration::from_millis(1);

impl Segment {
    /// A segment in memory that the crate `shared_memory` has mapped. With the feature `shared_memory`.
    ///
    /// Its owner, the process that `create`d it, sets the segment up; the others wait for that, up to 5 s. The segment
    /// keeps `shmem`, and with it the owner's promise to remove its name at the end. Where this process has the same file
    /// as a segment already, it is that segment, and `shmem` is dropped. Objects in it don't travel in messages: others
    /// open the memory by its identifier.
    ///
    /// # Errors
    /// [`Error::Mismatch`], naming what was expected and found, if the memory is shorter than a header, has other
    /// content, or the header of another layout, boot, PID namespace or size, or if its owner has not set it up in time.
    /// [`Error::InvalidArgument`] if it has no room for a directory, [`Error::OutOfMemory`] if there are no pages for it,
    /// [`Error::Unsupported`] without `/proc`.
    ///
    /// # Safety
    /// While the segment or an object in it is used, nobody shrinks the file, which would raise SIGBUS, and nobody in
    /// this process touches its bytes in any other way but atomically: a pointer from `as_ptr` is not read or written.
    /// On kernels before 5.14 there is room in `/dev/shm` for all of it.
    ///
    /// # Process death
    /// If the owner dies before it has set the segment up, nobody can use the memory. The name of an owner that is killed
    /// stays in `/dev/shm`: a named segment ([`create`](Self::create)) is better at that.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Segment, Value};
    /// use shared_memory::ShmemConf;
    ///
    /// let shmem = ShmemConf::new().size(1 << 16).create()?;
    /// let id = shmem.get_os_id().to_owned();
    /// // SAFETY: nobody shrinks it, and nobody uses its bytes otherwise.
    /// let segment = unsafe { Segment::from_shmem(shmem) }?;
    /// let hits = Value::new_in(&segment, "hits", 1u64)?;
    ///
    /// // In another process:
    /// let shmem = ShmemConf::new().os_id(id).open()?;
    /// // SAFETY: as above.
    /// let segment = unsafe { Segment::from_shmem(shmem) }?;
    /// assert_eq!(Value::<u64>::open_in(&segment, "hits")?.get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn from_shmem(shmem: Shmem) -> Result<Self> {
        let is_owner = shmem.is_owner();
        let mapping = Mapping::of_shmem(shmem)?;
        let region = mapping.region();
        let sets_up = is_owner && is_blank(region)?;
        if !sets_up {
            // Not under the registry's lock: the owner may be a thread of this process.
            await_owner(region)?;
        }
        let buckets = buckets_for(region.len());
        let key = system::mapped_file(region.start().as_ptr().addr())?;
        let handle = find_or_map(key, || {
            if sets_up {
                set_up(key, None, mapping, buckets, |header| header)
            } else {
                attach(key, None, mapping)
            }
        })?;
        Ok(Self { handle })
    }
}

/// Whether nobody has finished setting the memory up, as a segment or as something else.
fn is_blank(region: Region<'_>) -> Result<bool> {
    Ok(!SegmentHeader::is_foreign(&header_bytes(region)?) && !is_ready(region))
}

/// Waits until the owner has set the segment up.
///
/// # Errors
/// [`Error::Mismatch`] if it has something else in it, or is not ready in time.
fn await_owner(region: Region<'_>) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    while !is_ready(region) {
        if SegmentHeader::is_foreign(&header_bytes(region)?) {
            return Ok(()); // to be refused for what it is
        }
        if deadline.is_none_or(Deadline::has_passed) {
            return Err(Error::Mismatch {
                object: "segment in shared memory".to_owned(),
                expected: format!("one that its owner sets up within {PATIENCE:?}"),
                found: "one that is not ready".to_owned(),
            });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn is_ready(region: Region<'_>) -> bool {
    // SYNC: Acquire <- `set_up`'s Release: the header and the directory are seen.
    region.word(STATE_OFFSET).is_some_and(|word| SegmentHeader::is_ready(word.load(Ordering::Acquire)))
}

fn header_bytes(region: Region<'_>) -> Result<[u8; CHECKED_BYTES]> {
    let mut bytes = [0; CHECKED_BYTES];
    region.load(0, &mut bytes).ok_or_else(|| too_short(region.len()))?;
    Ok(bytes)
}
