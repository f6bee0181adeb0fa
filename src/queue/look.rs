//! What is seen of a queue by who only reads.

use std::cell::OnceCell;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;

use super::layout::{Layout, QueueHead};
use super::stats::QueueStats;
use crate::error::{Error, Result};
use crate::raw::{Chunk, Growth, LeaseInfo, Ring, RingError, TaskCounts, TaskEntry};
use crate::segment::{ObjectType, Placed, Segment};
use crate::sys::memfd;

/// The longest chunk that is copied: sixteen times as long as one that isn't made for a single long item.
const MOST_BYTES: usize = 64 << 20;
/// How many chunks one look uses: those of both ends, and more while they move.
const KEPT: usize = 4;

/// A queue as it was seen.
pub(crate) struct Look {
    pub(crate) stats: QueueStats,
    /// `u64::MAX` or so: as many as memory allows.
    pub(crate) max_items: u64,
    pub(crate) is_shut_down: bool,
    pub(crate) tasks: TaskCounts,
}

/// Looks at the queue at `offset` of the copied `segment`, whose file is `file`, and adds its leases that are not free to
/// `leases`.
///
/// # Errors
/// [`Error::Mismatch`] if its memory is not what its header says; [`Error::Operation`] if it is overwritten, or changed
/// while it was copied.
pub(crate) fn look(
    segment: &Segment,
    file: BorrowedFd<'_>,
    offset: u64,
    ty: &ObjectType,
    leases: &mut Vec<LeaseInfo>,
) -> Result<Look> {
    let placed: Placed<QueueHead> = Placed::open(segment.clone(), offset, ty, 64)?;
    let layout = Layout::of(&placed)?;
    placed.ring.look(leases);
    let copied = Copied { placed: &placed, layout, file, kept: [const { OnceCell::new() }; KEPT] };
    let ring = if layout.grows() {
        placed.ring.growing(layout.shape(), placed.ring.tail_chunk(), &copied)
    } else {
        layout.ring(&placed)
    };
    let counts = |ring: Ring<'_>| Ok((ring.len()?, ring.puts()?, ring.gets()?));
    let (items, puts, gets) = ring.and_then(counts).map_err(Error::operation)?;
    let (producers_wait, consumers_wait) = placed.ring.waiters();
    let redeliveries = placed.tasks.redeliveries();
    let bytes = match memfd::facts(file) {
        Ok(facts) if layout.grows() => facts.reserved,
        _ => u64::try_from(placed.bytes()).unwrap_or(u64::MAX),
    };
    let stats = QueueStats { items, puts, gets, redeliveries, bytes, producers_wait, consumers_wait };
    let tasks = TaskEntry::look(layout.entries(&placed).unwrap_or_default(), leases);
    Ok(Look { stats, max_items: placed.ring.max_items(), is_shut_down: placed.ring.is_closed(), tasks })
}

/// The chunks of a queue that grows, as they are read from its file.
struct Copied<'a> {
    placed: &'a Placed<QueueHead>,
    layout: Layout,
    file: BorrowedFd<'a>,
    kept: [OnceCell<(Chunk, Vec<AtomicU64>)>; KEPT],
}

impl Copied<'_> {
    fn read(&self, chunk: Chunk) -> Result<Vec<AtomicU64>, RingError> {
        let bytes = chunk.words().checked_mul(8).filter(|&bytes| (1..=MOST_BYTES).contains(&bytes));
        let bytes = bytes.ok_or(RingError::Corrupt)?;
        let mut copy = vec![0; bytes];
        let mut done = 0;
        while let Some(rest) = copy.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = chunk.offset().checked_add(done as u64).ok_or(RingError::Corrupt)?;
            match rustix::io::pread(self.file, rest, at) {
                // It was punched meanwhile, or lies behind the end.
                Ok(0) | Err(_) => return Err(RingError::Corrupt),
                Ok(read) => done += read,
            }
        }
        let (words, _) = copy.as_chunks();
        Ok(words.iter().map(|word| AtomicU64::new(u64::from_ne_bytes(*word))).collect())
    }
}

impl Growth for Copied<'_> {
    fn words(&self, chunk: Chunk) -> Result<&[AtomicU64], RingError> {
        if chunk.is_home() {
            return self.layout.words(self.placed);
        }
        for kept in &self.kept {
            if let Some((copied, words)) = kept.get() {
                if *copied == chunk {
                    return Ok(words);
                }
                continue;
            }
            let words = self.read(chunk)?;
            return Ok(&kept.get_or_init(|| (chunk, words)).1);
        }
        Err(RingError::Moved)
    }

    fn reserve(&self, _: Chunk) -> Result<(), RingError> {
        Err(RingError::Unsupported("a change to a copy"))
    }

    fn release(&self, _: Chunk) {}

    fn release_through(&self, _: Chunk) {}
}
