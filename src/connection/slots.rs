//! Messages that fill most of a packet: their bytes lie in memory that sender and receiver have mapped.
//!
//! For a packet of 64 KiB the kernel finds pages, fills them, has another core fetch them out of this one's caches, and gives
//! them back. Here a sender copies the bytes into a slot of its own memory, past its caches, and the packet says which slot
//! it is. The memory's descriptor rides along each time, for any process may receive the packet; one that has the memory
//! mapped closes it again. Who finds no slot free sends the bytes in the packet: nobody waits for a slot, and one that was
//! lost with a killed receiver is missed by nobody. When a slot has been passed by often, the sender makes a new memory.
//!
//! Which slots are taken is in [`Slots`].

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::ConnectionError;
use crate::Error;
use crate::raw::claims::Words;
use crate::raw::slots::Slots;
use crate::sys::mapping::Mapping;
use crate::sys::memfd;
use crate::sys::region::Region;

/// Slots of a memory.
const SLOTS: usize = 4;
/// Bytes of a slot.
pub(super) const SLOT: usize = 64 << 10;
/// Bytes before the slots, where each has a line with its word.
const HEAD: usize = 4096;
const LINE: usize = 64;
/// Bytes of a memory.
const LEN: usize = HEAD + SLOTS * SLOT;
/// Bytes of a packet that say which slot it is.
pub(super) const PLACE: usize = 4;
/// A slot that so many messages have found taken is lost: so many long ones are never on their way at once, so that its own has
/// been received long ago.
const LOST: u32 = 64;
/// The most memories that a receiver keeps mapped: of so many senders at the other end.
const MAPPED: usize = 8;

/// Messages from so many bytes on. The kernel is as fast with shorter ones.
static LEAST: AtomicUsize = AtomicUsize::new(32 << 10);
/// So many of them go without, for the memory takes as long to make as several of them to send.
static WITHOUT: AtomicU32 = AtomicU32::new(16);

/// Whether a message of that length is one for a slot.
#[inline]
pub(super) fn fits(len: usize) -> bool {
    // Relaxed: see `testing::set_slots`.
    len <= SLOT && len >= LEAST.load(Ordering::Relaxed)
}

/// A memory of slots, as this process has it mapped.
struct Memory {
    mapping: Mapping,
    /// The file's identity.
    key: (u64, u64),
}

impl Words for Memory {
    fn load(&self, index: usize) -> Option<u64> {
        // Relaxed: nobody asks for more than the number.
        self.word(index).map(|word| word.load(Ordering::Relaxed))
    }

    fn store(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            // SYNC: Release -> `change`'s CAS: the slot has been read.
            word.store(value, Ordering::Release);
        }
    }

    fn change(&self, index: usize, current: u64, new: u64) -> bool {
        // SYNC: the CAS acquires what `store` released: the slot has been read, and may be written over. SeqCst, as the model has
        // it: nothing here needs more than Acquire.
        self.word(index).is_some_and(|word| {
            word.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }
}

impl Memory {
    fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.mapping.region().word(index * LINE)
    }
}

/// A slot that is taken, until this is dropped.
pub(super) struct Slot {
    memory: Arc<Memory>,
    index: usize,
    is_ours: bool,
}

impl Slot {
    fn region(&self, len: usize) -> Option<Region<'_>> {
        if len > SLOT {
            return None;
        }
        self.memory.mapping.region().slice(HEAD + self.index * SLOT, len)
    }

    /// Fills `to` with the first bytes of the message.
    ///
    /// # Errors
    /// [`ConnectionError::Truncated`]: a slot is not so long.
    pub(super) fn read(&self, to: &mut [u8]) -> Result<(), ConnectionError> {
        let region = self.region(to.len()).ok_or(ConnectionError::Truncated)?;
        region.load(0, to).ok_or(ConnectionError::Truncated)
    }

    /// Appends the first `len` bytes of the message.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`ConnectionError::OutOfMemory`].
    pub(super) fn append(&self, len: usize, to: &mut Vec<u8>) -> Result<(), ConnectionError> {
        to.try_reserve_exact(len).map_err(|_| ConnectionError::OutOfMemory(len as u64))?;
        let begin = to.len();
        to.resize(begin + len, 0);
        self.read(&mut to[begin..])
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_ours {
            Slots { words: &*self.memory }.free(self.index);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A slot with a message that is to be sent, and free again if it is not.
pub(super) struct Held {
    slot: Slot,
    file: Arc<OwnedFd>,
}

impl Held {
    /// What the packet says.
    pub(super) fn place(&self) -> [u8; PLACE] {
        u32::try_from(self.slot.index).unwrap_or(u32::MAX).to_le_bytes()
    }

    /// What rides along.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// It is sent, and the receiver's.
    pub(super) fn hand_over(mut self) {
        self.slot.is_ours = false;
    }
}

/// The memory of a sending handle.
#[derive(Default)]
pub(super) struct Outbox {
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    memory: Option<(Arc<OwnedFd>, Arc<Memory>)>,
    /// Messages that went without, since there was no memory.
    without: u32,
    /// How many messages in a row have found each slot taken.
    passed: [u32; SLOTS],
}

impl Outbox {
    /// A slot that holds `bytes`; `None` if none is free, or there is no memory.
    pub(super) fn hold(&self, bytes: &[u8]) -> Option<Held> {
        let held = self.take()?;
        held.slot.region(bytes.len())?.store_past_caches(bytes)?;
        Some(held)
    }

    fn take(&self) -> Option<Held> {
        let mut own = self.own();
        if own.memory.is_none() {
            // Relaxed: see `testing::set_slots`.
            if own.without < WITHOUT.load(Ordering::Relaxed) {
                own.without += 1;
                return None;
            }
            // If that fails, there is another try after as many messages.
            own.without = 0;
            own.memory = Some(make()?);
            own.passed = [0; SLOTS];
        }
        let (file, memory) = own.memory.clone()?;
        // The first free one: the fewer are used, the fewer pages are.
        let found = (0..SLOTS).find(|index| Slots { words: &*memory }.take(*index));
        let (passed, rest) = own.passed.split_at_mut(found.unwrap_or(SLOTS));
        for count in passed.iter_mut() {
            *count += 1;
        }
        if let Some(count) = rest.first_mut() {
            *count = 0;
        }
        if own.passed.iter().any(|count| *count > LOST) {
            // The next message makes a new one. Who still reads this one keeps it.
            own.memory = None;
            own.without = u32::MAX;
        }
        found.map(|index| Held { slot: Slot { memory, index, is_ours: true }, file })
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make() -> Option<(Arc<OwnedFd>, Arc<Memory>)> {
    let file = memfd::create("multiproc-slots", LEN as u64).ok()?;
    let key = memfd::facts(file.as_fd()).ok()?.key;
    let mapping = Mapping::new(&file, LEN).ok()?;
    Some((Arc::new(file), Arc::new(Memory { mapping, key })))
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// The memories that a receiving handle has mapped.
#[derive(Default)]
pub(super) struct Inbox {
    mapped: Mutex<Vec<Arc<Memory>>>,
}

impl Inbox {
    /// The slot that a packet names, in the memory that came with it.
    ///
    /// # Errors
    /// [`ConnectionError::Decode`]: there is no such slot, or it is no such memory. [`ConnectionError::OutOfMemory`]: it can't be
    /// mapped.
    pub(super) fn open(&self, file: &OwnedFd, place: [u8; PLACE]) -> Result<Slot, ConnectionError> {
        let index = usize::try_from(u32::from_le_bytes(place)).ok().filter(|index| *index < SLOTS);
        let index = index.ok_or_else(malformed)?;
        let facts = memfd::facts(file.as_fd()).map_err(|_| malformed())?;
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is mapped exists, and no other one has its identity meanwhile.
        if let Some(memory) = mapped.iter().find(|memory| memory.key == facts.key) {
            return Ok(Slot { memory: memory.clone(), index, is_ours: true });
        }
        let is_whole = facts.size == LEN as u64 && facts.reserved >= LEN as u64;
        if !is_whole || !memfd::is_sealed_against_shrinking(file) || memfd::is_of_huge_pages(file) {
            return Err(malformed());
        }
        let mapping = Mapping::new(file, LEN).map_err(|error| match error {
            Error::OutOfMemory { .. } => ConnectionError::OutOfMemory(LEN as u64),
            _ => malformed(),
        })?;
        let memory = Arc::new(Memory { mapping, key: facts.key });
        if mapped.len() == MAPPED {
            mapped.remove(0);
        }
        mapped.push(memory.clone());
        Ok(Slot { memory, index, is_ours: true })
    }
}

fn malformed() -> ConnectionError {
    ConnectionError::malformed("a message came without the memory that holds it")
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// For this crate's tests of killed processes.
pub(crate) mod testing {
    use super::*;

    /// Sets from how many bytes on messages lie in slots, and how many of these go without first, for this process and its forks.
    pub fn set_slots(least: usize, without: u32) {
        // Relaxed: settings, which publish nothing.
        LEAST.store(least, Ordering::Relaxed);
        WITHOUT.store(without, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox that has its memory.
    fn outbox() -> Outbox {
        let outbox = Outbox::default();
        outbox.own().without = u32::MAX;
        outbox
    }

    fn bytes(slot: &Slot, len: usize) -> Vec<u8> {
        let mut bytes = vec![9];
        slot.append(len, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_handle_makes_its_memory_when_it_has_sent_some_messages() {
        let outbox = Outbox::default();
        let without = (0..100).take_while(|_| outbox.hold(&[1; 100]).is_none()).count();
        assert_eq!(without, 16);
    }

    #[test]
    fn a_message_is_read_where_it_was_written_and_its_slot_is_used_again() {
        let (outbox, inbox) = (outbox(), Inbox::default());
        for round in 0..10_u8 {
            let held: Vec<Held> = (0..4).map(|index| outbox.hold(&[round + index; 101]).unwrap()).collect();
            assert!(outbox.hold(&[1; 100]).is_none(), "there are four");
            for (index, held) in (0..).zip(held) {
                let slot = inbox.open(&held.file, held.place()).unwrap();
                assert_eq!(bytes(&slot, 101), [&[9][..], &[round + index; 101]].concat());
                let mut some = [0; 7];
                slot.read(&mut some).unwrap();
                assert_eq!(some, [round + index; 7]);
                held.hand_over();
            }
        }
        assert_eq!(inbox.mapped.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_was_not_sent_frees_its_slot() {
        let outbox = outbox();
        for _ in 0..10 {
            drop(outbox.hold(&[1; SLOT]).unwrap());
        }
        assert!(outbox.hold(&[1; SLOT + 1]).is_none());
        assert!(outbox.hold(&[1]).is_some());
    }

    #[test]
    fn a_memory_with_a_lost_slot_is_replaced() {
        let outbox = outbox();
        let key = |outbox: &Outbox| outbox.own().memory.as_ref().map(|(_, memory)| memory.key);
        outbox.hold(&[1]).unwrap().hand_over();
        let was = key(&outbox);
        for _ in 0..=LOST {
            assert!(outbox.hold(&[1]).is_some());
        }
        assert!(outbox.hold(&[1]).is_some());
        assert_ne!(key(&outbox), was);
        assert!(key(&outbox).is_some());
    }

    #[test]
    fn the_memories_of_many_senders_are_not_all_kept() {
        let inbox = Inbox::default();
        for _ in 0..2 * MAPPED {
            let held = outbox().hold(&[5; 10]).unwrap();
            assert_eq!(bytes(&inbox.open(&held.file, held.place()).unwrap(), 1), [9, 5]);
        }
        assert_eq!(inbox.mapped.lock().unwrap().len(), MAPPED);
    }

    #[test]
    fn what_is_no_memory_of_slots_is_refused() {
        let inbox = Inbox::default();
        let place = [0; PLACE];
        let short = memfd::create("short", LEN as u64 - 4096).unwrap();
        let unsealed = memfd::create_empty("unsealed").unwrap();
        memfd::reserve(unsealed.as_fd(), "test", LEN as u64).unwrap();
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for file in [short, unsealed, null] {
            assert!(matches!(inbox.open(&file, place), Err(ConnectionError::Decode(_))));
        }
        let held = outbox().hold(&[1]).unwrap();
        for index in [SLOTS as u32, u32::MAX] {
            assert!(matches!(inbox.open(&held.file, index.to_le_bytes()), Err(ConnectionError::Decode(_))));
        }
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held.file()));
        let read_only = OwnedFd::from(std::fs::File::open(path).unwrap());
        assert!(matches!(inbox.open(&read_only, place), Err(ConnectionError::Decode(_))));
        let slot = inbox.open(&held.file, place).unwrap();
        assert!(matches!(slot.read(&mut vec![0; SLOT + 1]), Err(ConnectionError::Truncated)));
    }
}
