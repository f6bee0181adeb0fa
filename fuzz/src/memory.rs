//! [`Memory`]: the file of a segment, which the fuzzer writes to as a peer would.

use std::os::fd::OwnedFd;

use multiproc::Segment;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

/// Segments consist of pages.
pub const PAGE: usize = 4096;

/// Where the word of the directory's mutex lies.
const DIRECTORY: usize = 128;
const LINE: usize = 64;
/// The bits of a lease that name its holder.
const TID: u32 = (1 << 30) - 1;
/// The kind of object with a lock that only an operation without a deadline takes.
const BARRIER: u32 = 12;

/// A sealed memory file.
pub struct Memory {
    file: OwnedFd,
    len: usize,
}

impl Memory {
    /// A file with these bytes, whole pages of them.
    pub fn new(bytes: &[u8]) -> Self {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("fuzz", flags).expect("memfd_create");
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes.len() as u64).expect("fallocate");
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).expect("seals");
        let memory = Self { file, len: bytes.len() };
        memory.write(0, bytes);
        memory
    }

    /// A good segment of `len` bytes with `names` chains in its directory, which `fill` was applied to.
    pub fn good(len: usize, names: usize, fill: impl FnOnce(&Segment)) -> Vec<u8> {
        let segment = Segment::options().size(len).names(names).anonymous().expect("segment");
        fill(&segment);
        let mut bytes = vec![0; len];
        let file = segment.descriptor().expect("descriptor");
        assert_eq!(rustix::io::pread(file, &mut bytes, 0), Ok(len));
        bytes
    }

    /// Overwrites what lies at `at`, as far as that is in the file.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let room = self.len.saturating_sub(at).min(bytes.len());
        let written = rustix::io::pwrite(&self.file, &bytes[..room], at as u64);
        assert_eq!(written, Ok(room));
    }

    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        let room = self.len.saturating_sub(at).min(bytes.len());
        assert_eq!(rustix::io::pread(&self.file, &mut bytes[..room], at as u64), Ok(room));
    }

    /// Attaches to the segment, if it is one.
    ///
    /// # Errors
    /// Those of [`Segment::from_fd`].
    pub fn attach(&self) -> multiproc::Result<Segment> {
        Segment::from_fd(self.file.try_clone().expect("dup"))
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nobody has the right to name objects.
    pub fn can_name(&self) -> bool {
        let mut word = [0; 4];
        self.read(DIRECTORY, &mut word);
        u32::from_ne_bytes(word) & TID == 0
    }

    /// Whether no barrier, or what could be taken for one, is locked.
    pub fn can_reset(&self) -> bool {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        let u32 = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let is_locked = |at: usize| {
            let data = usize::try_from(u64::from(u32(at + 32)?) | u64::from(u32(at + 36)?) << 32).ok()?;
            (u32(at + 4)? == BARRIER && u32(at.checked_add(data)?)? & TID != 0).then_some(())
        };
        (0..self.len).step_by(LINE).all(|at| is_locked(at).is_none())
    }
}
