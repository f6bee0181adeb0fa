//! The first bytes of a segment: what it is, who made it, and whether this process may use it.
//!
//! ```text
//!   0  magic        8 bytes "MPROCSEG"      32  pid namespace  u64, its inode
//!   8  byte order   u32, 0x01020304         40  boot id        16 bytes
//!  12  version      u32, of the layout      56  creator        u32, its process id
//!  16  width        u32, bits of a pointer  60  flags          u32: 0, or 1 if the file grows
//!  20  state        u32, READY when made    64  reaper         40 bytes, a lease (0: free); 24 unused
//!  24  size         u64, of the segment     128 the directory (`directory.rs`)
//! ```
//! Checking is a pure function over bytes: it is given a copy, since a peer may write the original at any time.

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

/// Bytes of the header that are checked; the reaper's lease follows them.
pub(crate) const CHECKED_BYTES: usize = size_of::<SegmentHeader>();
/// Where the reaper's lease lies (`sys::reaper`).
pub(crate) const REAPER_OFFSET: usize = CHECKED_BYTES;

const MAGIC: [u8; 8] = *b"MPROCSEG";
const BYTE_ORDER: u32 = 0x0102_0304;
const LAYOUT_VERSION: u32 = 1;
const WIDTH: u32 = usize::BITS;
const READY: u32 = 0x5244_5921;

/// The header as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    magic: [u8; 8],
    byte_order: u32,
    layout_version: u32,
    width: u32,
    state: u32,
    size: u64,
    pid_namespace: u64,
    boot_id: [u8; 16],
    creator: u32,
    flags: u32,
}

/// In the flags: the file is longer than the segment, or will be.
const GROWS: u32 = 1;

/// Where the word lies that is written last: the width of a pointer, and the state.
pub(super) const STATE_OFFSET: usize = std::mem::offset_of!(SegmentHeader, width);

/// What the header must agree with: the segment's true size and this process's surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) size: u64,
    pub(crate) pid_namespace: u64,
    pub(crate) boot_id: [u8; 16],
}

impl SegmentHeader {
    /// The header of a finished segment that process `creator` makes in these surroundings.
    pub(crate) fn new(here: &Surroundings, creator: u32) -> Self {
        Self {
            magic: MAGIC,
            byte_order: BYTE_ORDER,
            layout_version: LAYOUT_VERSION,
            width: WIDTH,
            state: READY,
            size: here.size,
            pid_namespace: here.pid_namespace,
            boot_id: here.boot_id,
            creator,
            flags: 0,
        }
    }

    /// The same of a segment whose file grows.
    pub(super) fn growing(self) -> Self {
        Self { flags: GROWS, ..self }
    }

    /// Whether its file grows.
    pub(crate) fn grows(&self) -> bool {
        self.flags == GROWS
    }

    /// Bytes of the segment in a file that grows, of which these are the first; unchecked. `None` if it does not.
    pub(super) fn size_if_growing(bytes: &[u8; CHECKED_BYTES]) -> Option<u64> {
        let header: Self = bytemuck::pod_read_unaligned(bytes);
        (header.magic == MAGIC && header.grows()).then_some(header.size)
    }

    /// How it lies in memory while the segment is being made.
    pub(super) fn unfinished(self) -> Self {
        Self { state: 0, ..self }
    }

    /// The word at [`STATE_OFFSET`], which finishes it.
    pub(super) fn state_word(&self) -> u64 {
        bytemuck::cast([self.width, self.state])
    }

    /// Whether the word at [`STATE_OFFSET`] says that the segment is finished.
    #[cfg(feature = "shared_memory")]
    pub(super) fn is_ready(state_word: u64) -> bool {
        let [_width, state]: [u32; 2] = bytemuck::cast(state_word);
        state == READY
    }

    /// Whether these bytes are no header at all, nor the beginning of one that is being written.
    #[cfg(feature = "shared_memory")]
    pub(super) fn is_foreign(bytes: &[u8; CHECKED_BYTES]) -> bool {
        let Self { magic, .. } = bytemuck::pod_read_unaligned(bytes);
        magic != MAGIC && magic != [0; 8]
    }

    /// The header in `bytes`, if it belongs to a segment that a process in these surroundings may use.
    ///
    /// # Errors
    /// [`Error::Mismatch`] names the first field that differs, what it should be and what it is.
    pub(crate) fn check(bytes: &[u8; CHECKED_BYTES], here: &Surroundings) -> Result<Self> {
        let header: Self = bytemuck::pod_read_unaligned(bytes);
        if header.magic != MAGIC {
            return Err(mismatch("magic", MAGIC.escape_ascii(), header.magic.escape_ascii()));
        }
        if header.byte_order != BYTE_ORDER {
            return Err(mismatch("byte order", hex(BYTE_ORDER), hex(header.byte_order)));
        }
        if header.layout_version != LAYOUT_VERSION {
            return Err(mismatch("layout version", LAYOUT_VERSION, header.layout_version));
        }
        if header.width != WIDTH {
            return Err(mismatch("pointer width", WIDTH, header.width));
        }
        if header.state != READY {
            return Err(mismatch(
                "state",
                format_args!("{} (ready)", hex(READY)),
                format_args!("{} (its creator has not finished it)", hex(header.state)),
            ));
        }
        if header.size != here.size {
            return Err(mismatch("size", format_args!("{}, as the file has", here.size), header.size));
        }
        if header.boot_id != here.boot_id {
            return Err(mismatch("boot id", hex_bytes(here.boot_id), hex_bytes(header.boot_id)));
        }
        if header.pid_namespace != here.pid_namespace {
            return Err(mismatch("PID namespace", here.pid_namespace, header.pid_namespace));
        }
        if header.creator == 0 {
            return Err(mismatch("creator", "a process id", header.creator));
        }
        if header.flags & !GROWS != 0 {
            return Err(mismatch("flags", "0 or 1", header.flags));
        }
        Ok(header)
    }

    /// The process that made the segment.
    pub(crate) fn creator(&self) -> u32 {
        self.creator
    }
}

fn mismatch(field: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
    Error::Mismatch {
        object: format!("segment header, {field}"),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn hex(word: u32) -> String {
    format!("{word:#010x}")
}

fn hex_bytes(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Surroundings = Surroundings { size: 4096, pid_namespace: 4_026_531_836, boot_id: [7; 16] };

    fn bytes(header: &SegmentHeader) -> [u8; CHECKED_BYTES] {
        bytemuck::cast(*header)
    }

    fn good() -> SegmentHeader {
        SegmentHeader::new(&HERE, 42)
    }

    #[test]
    fn a_header_made_here_is_accepted() {
        assert_eq!(SegmentHeader::check(&bytes(&good()), &HERE).unwrap(), good());
    }

    #[test]
    fn each_wrong_field_has_its_own_error_with_expected_and_found() {
        type Change = fn(&mut SegmentHeader);
        let cases: [(&str, Change, &str, &str); 10] = [
            ("magic", |h| h.magic = *b"MPROCXYZ", "MPROCSEG", "MPROCXYZ"),
            ("byte order", |h| h.byte_order = BYTE_ORDER.swap_bytes(), "0x01020304", "0x04030201"),
            ("layout version", |h| h.layout_version = 7, "1", "7"),
            ("pointer width", |h| h.width = 32, "64", "32"),
            ("state", |h| h.state = 0, "ready", "not finished"),
            ("size", |h| h.size = 8192, "4096", "8192"),
            ("boot id", |h| h.boot_id = [1; 16], "0707", "0101"),
            ("PID namespace", |h| h.pid_namespace = 5, "4026531836", "5"),
            ("creator", |h| h.creator = 0, "a process id", "0"),
            ("flags", |h| h.flags = 9, "0", "9"),
        ];
        for (field, change, should, is) in cases {
            let mut header = good();
            change(&mut header);
            match SegmentHeader::check(&bytes(&header), &HERE) {
                Err(Error::Mismatch { object, expected, found }) => {
                    assert_eq!(object, format!("segment header, {field}"));
                    assert!(expected.contains(should), "{field}: {expected}");
                    assert!(found.contains(is), "{field}: {found}");
                }
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_single_bit_but_the_creators_and_a_flag_matters() {
        let creator = std::mem::offset_of!(SegmentHeader, creator);
        let grows = std::mem::offset_of!(SegmentHeader, flags) * 8;
        for bit in 0..CHECKED_BYTES * 8 {
            let mut changed = bytes(&good());
            changed[bit / 8] ^= 1 << (bit % 8);
            let accepted = SegmentHeader::check(&changed, &HERE).is_ok();
            let free = (creator..creator + 4).contains(&(bit / 8)) || bit == grows;
            assert_eq!(accepted, free, "bit {bit}");
        }
    }

    #[test]
    fn the_layout_is_as_documented() {
        assert_eq!(CHECKED_BYTES, 64);
        assert_eq!(std::mem::offset_of!(SegmentHeader, size), 24);
        assert_eq!(std::mem::offset_of!(SegmentHeader, boot_id), 40);
        assert_eq!(std::mem::offset_of!(SegmentHeader, creator), 56);
    }
}
