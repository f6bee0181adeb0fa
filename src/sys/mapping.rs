//! [`Mapping`]: a file's bytes in this process's memory, shared with whoever else maps the file.
//!
//! # References
//! mmap(2), madvise(2) on `MADV_DONTDUMP`; mlock(2) on what is mapped later.
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{NonNull, null_mut};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::io::Errno;
use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

use crate::error::{Error, Result};
use crate::sys::region::Region;
use crate::sys::robust;

/// Memory that leases may lie in: a shared, readable and writable mapping of a whole file, which core dumps leave out, or
/// memory of this process alone.
///
/// It is unmapped when dropped, unless a thread of this process still holds a lease in it: the kernel walks the lease's
/// node when that thread ends, so the memory must stay.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    memory: ManuallyDrop<Memory>,
}

/// What keeps the memory.
#[expect(dead_code, reason = "held to be dropped")]
enum Memory {
    File(MmapRaw),
    Part(Part),
    Heap(Vec<Page>),
    #[cfg(feature = "shared_memory")]
    Shmem(shared_memory::Shmem),
}

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

// SAFETY: `start` belongs to `memory`, which is Send (a `Shmem` is a mapping, a descriptor and a name, of any thread, a `Part`
// a mapping); the bytes are reached through regions only, atomically.
unsafe impl Send for Mapping {}
// SAFETY: as above: a region's accesses are atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which must have them and keep them: sealed against shrinking.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the address space or the count of mappings is exhausted.
    pub(crate) fn new(file: impl AsFd, len: usize) -> Result<Self> {
        let map = || {
            let memory = MmapOptions::new().len(len).map_raw(file.as_fd().as_raw_fd())?;
            memory.advise(Advice::DontDump)?;
            let start = NonNull::new(memory.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((start, memory))
        };
        let (start, memory) = map().map_err(|error| refused(error, len))?;
        Ok(Self { start, len, memory: ManuallyDrop::new(Memory::File(memory)) })
    }

    /// Maps `len` bytes of `file` at `offset`, a multiple of the page size; as for [`new`](Self::new). Of pages that the file
    /// has given back it gets none before they are touched, also where all that is mapped is locked.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn part(file: impl AsFd, offset: u64, len: usize) -> Result<Self> {
        let part = Part::map(file, offset, len).map_err(|errno| refused(errno.into(), len))?;
        Ok(Self { start: part.start, len, memory: ManuallyDrop::new(Memory::Part(part)) })
    }

    /// At least `len` zero bytes of the heap.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn of_heap(len: usize) -> Result<Self> {
        let count = len.div_ceil(size_of::<Page>());
        let mut pages = Vec::new();
        pages
            .try_reserve_exact(count)
            .map_err(|error| Error::out_of_memory("allocate segment", len, error.to_string()))?;
        pages.resize(count, Page([0; size_of::<Page>()]));
        let start = NonNull::from(pages.as_mut_slice()).cast();
        Ok(Self { start, len, memory: ManuallyDrop::new(Memory::Heap(pages)) })
    }

    /// `len` zero bytes of this process alone, which take memory only where they are written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[cfg(feature = "inspect")]
    pub(crate) fn of_zeroes(len: usize) -> Result<Self> {
        let refused = |error: io::Error| Error::out_of_memory("copy segment", len, error.to_string());
        let memory: MmapRaw =
            MmapOptions::new().len(len).no_reserve_swap().map_anon().map_err(refused)?.into();
        let start = NonNull::new(memory.as_mut_ptr())
            .ok_or_else(|| refused(io::ErrorKind::AddrNotAvailable.into()))?;
        Ok(Self { start, len, memory: ManuallyDrop::new(Memory::File(memory)) })
    }

    /// What the crate `shared_memory` has mapped, with all its pages, which core dumps leave out from now on.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there are no pages for it.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn of_shmem(shmem: shared_memory::Shmem) -> Result<Self> {
        use rustix::mm::{Advice, madvise};

        const OPERATION: &str = "reserve shared memory";
        let len = shmem.len();
        let refused = |errno| match errno {
            Errno::FAULT | Errno::NOMEM | Errno::HWPOISON => {
                Error::out_of_memory(OPERATION, len, errno.to_string())
            }
            _ => Error::os(OPERATION, errno),
        };
        let start = NonNull::new(shmem.as_ptr()).ok_or_else(|| refused(Errno::FAULT))?;
        let advise = |advice| {
            loop {
                // SAFETY: the mapping is `shmem`'s; neither piece of advice changes any byte in it.
                match unsafe { madvise(start.as_ptr().cast(), len, advice) } {
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    other => return other,
                }
            }
        };
        match advise(Advice::LinuxPopulateWrite) {
            // Kernels before 5.14 can't; the caller of `from_shmem` has promised that there is room.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(refused(errno)),
        }
        advise(Advice::LinuxDontDump).map_err(refused)?;
        Ok(Self { start, len, memory: ManuallyDrop::new(Memory::Shmem(shmem)) })
    }

    /// All of it.
    pub(crate) fn region(&self) -> Region<'_> {
        // SAFETY: the mapping is readable and writable for as long as `self`; the crate touches plain bytes in it only
        // through regions and under leases (I3).
        unsafe { Region::new(self.start, self.len) }
    }

    /// Whether a thread of this process holds a lease in it.
    pub(crate) fn is_pinned(&self) -> bool {
        robust::holds_any_in(self.addresses())
    }

    fn addresses(&self) -> Range<usize> {
        let start = self.start.as_ptr().addr();
        start..start.saturating_add(self.len)
    }
}

fn refused(error: io::Error, len: usize) -> Error {
    const OPERATION: &str = "map segment";
    match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            Error::out_of_memory(OPERATION, len, "RLIMIT_AS, vm.max_map_count or the address space ends")
        }
        _ => Error::os(OPERATION, error),
    }
}

/// A mapping of a part of a file.
struct Part {
    start: NonNull<u8>,
    len: usize,
}

impl Part {
    /// Under `mlockall(MCL_FUTURE)` mmap gives a new mapping all its pages, unless nobody may touch it.
    fn map(file: impl AsFd, offset: u64, len: usize) -> Result<Self, Errno> {
        // SAFETY: a new mapping, where none is.
        let start =
            unsafe { mm::mmap(null_mut(), len, ProtFlags::empty(), MapFlags::SHARED, file.as_fd(), offset) }?;
        let part = Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, len };
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: it is this part's, and nobody has it yet.
        unsafe { mm::mprotect(start, len, access) }?;
        // SAFETY: as above.
        unsafe { mm::madvise(start, len, mm::Advice::LinuxDontDump) }?;
        Ok(part)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // SAFETY: it was mapped, and nobody has it any more. It fails for nothing that is mapped.
        let _ = unsafe { mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.is_pinned() {
            // SAFETY: this is the only place that drops it, and it runs once.
            unsafe { ManuallyDrop::drop(&mut self.memory) }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::memfd;

    #[test]
    fn two_mappings_of_a_file_show_the_same_bytes() {
        let fd = memfd::create("mapping-test", 4096).unwrap();
        let first = Mapping::new(&fd, 4096).unwrap();
        let second = Mapping::new(&fd, 4096).unwrap();
        first.region().store(100, b"shared").unwrap();
        let mut seen = [0; 6];
        second.region().load(100, &mut seen).unwrap();
        assert_eq!(&seen, b"shared");
    }

    #[test]
    fn more_than_the_address_space_is_out_of_memory() {
        let fd = memfd::create("mapping-test", 4096).unwrap();
        let len = 1 << 60;
        assert!(matches!(Mapping::new(&fd, len), Err(Error::OutOfMemory { operation: "map segment", .. })));
    }

    #[cfg(feature = "process")]
    #[test]
    fn a_part_gets_no_page_before_it_is_touched_where_all_that_is_mapped_is_locked() {
        const LEN: u64 = 1 << 20;
        let pages = |()| {
            let fd = memfd::create_growing("mapping-test", 2 * LEN).unwrap();
            memfd::release_part(fd.as_fd(), LEN, LEN).unwrap();
            let is_allowed = mm::mlockall(mm::MlockAllFlags::FUTURE).is_ok();
            let part = Mapping::part(&fd, LEN, LEN as usize).unwrap();
            let mapped = memfd::facts(fd.as_fd()).unwrap().reserved;
            part.region().store(100, b"shared").unwrap();
            (is_allowed, mapped, memfd::facts(fd.as_fd()).unwrap().reserved)
        };
        let (is_allowed, mapped, touched) = crate::Process::spawn(pages, ()).unwrap().join().unwrap();
        assert!(is_allowed || std::env::var_os("CI").is_none(), "mlockall is forbidden");
        assert_eq!((mapped, touched), (LEN, LEN + 4096));
    }

    #[test]
    fn a_mapping_is_left_out_of_core_dumps() {
        let fd = memfd::create("mapping-dontdump", 4096).unwrap();
        for mapping in [Mapping::new(&fd, 4096).unwrap(), Mapping::part(&fd, 0, 4096).unwrap()] {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let start = format!("{:08x}-", mapping.addresses().start);
            let flags =
                smaps.split(&start).nth(1).unwrap().lines().find(|line| line.starts_with("VmFlags")).unwrap();
            assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
        }
    }
}
