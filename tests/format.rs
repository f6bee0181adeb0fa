//! The layout of everything that processes share, byte for byte: programs of two builds meet in one segment.
//!
//! A test that fails here says that a layout or protocol has changed: raise `LAYOUT_VERSION` in `src/segment/header.rs`
//! (SAFETY.md, section 6) and then write down the new layout here.

use std::collections::BTreeMap;

use multiproc::raw::{
    Lease, RawBarrier, RawCondvar, RawEvent, RawMutex, RawPermits, RawRLock, RawRing, RawSemaphore, RawTasks,
    TaskEntry,
};
use multiproc::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, Permits, RLock, RawArray, RawValue, Segment,
    Semaphore, Value,
};

/// The version that this file describes.
const VERSION: u32 = 1;
const SIZE: usize = 1 << 16;
/// Chains of the directory.
const CHAINS: usize = 16;
/// Stands for an address in the memory of the process that held a lease last, which differs from run to run.
const LINK: u64 = u64::MAX;
/// What an address of a process is, and no other word in these segments.
const ADDRESSES: std::ops::Range<u64> = 1 << 40..1 << 48;

/// Fails with what to do about it.
#[track_caller]
fn golden<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) {
    assert!(
        found == expected,
        "the layout has changed, {what}: expected {expected:x?}, found {found:x?}.\nRaise LAYOUT_VERSION in \
         src/segment/header.rs, then write the new layout down in tests/format.rs"
    );
}

/// All bytes of a segment, as its file has them.
struct Image(Vec<u8>);

impl Image {
    fn of(segment: &Segment) -> Self {
        let mut bytes = vec![0; segment.size()];
        let read = rustix::io::pread(segment.descriptor().unwrap(), &mut bytes, 0).unwrap();
        assert_eq!(read, bytes.len());
        Self(bytes)
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().unwrap()
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.bytes(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(at))
    }

    fn word(&self, at: usize) -> usize {
        usize::try_from(self.u64(at)).unwrap()
    }

    fn text(&self, at: usize, len: usize) -> &str {
        std::str::from_utf8(&self.0[at..at + len]).unwrap()
    }

    /// Where the header of the object `name` lies: found as `src/segment/directory.rs` documents it.
    fn find(&self, name: &str) -> usize {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let chain = usize::try_from((hash ^ (hash >> 32)) % CHAINS as u64).unwrap();
        let mut offset = self.word(192 + 8 * chain);
        while offset != 0 {
            if self.name(offset) == name {
                return offset;
            }
            offset = self.word(offset + 48);
        }
        panic!("the layout has changed: no object {name:?} in chain {chain}; see the head of tests/format.rs")
    }

    fn type_name(&self, offset: usize) -> &str {
        self.text(offset + 64, self.u16(offset + 56).into())
    }

    fn name(&self, offset: usize) -> &str {
        self.text(offset + 64 + usize::from(self.u16(offset + 56)), self.u16(offset + 58).into())
    }

    /// The words of the object `name` that are not zero, by their offset in it; addresses are [`LINK`].
    fn words(&self, name: &str) -> BTreeMap<usize, u64> {
        let header = self.find(name);
        let (data, len) = (header + self.word(header + 32), self.word(header + 40));
        let words = (0..len / 8).map(|word| (word * 8, self.u64(data + word * 8)));
        let named = words.map(|(at, word)| (at, if ADDRESSES.contains(&word) { LINK } else { word }));
        named.filter(|&(_, word)| word != 0).collect()
    }
}

fn empty() -> Segment {
    Segment::options().size(SIZE).names(CHAINS).anonymous().unwrap()
}

fn own_tid() -> u64 {
    u64::from(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned())
}

/// Demands these words of the object `name` of `segment`, and zero in all others.
#[track_caller]
fn golden_words(segment: &Segment, name: &str, expected: &[(usize, u64)]) {
    golden(name, Image::of(segment).words(name), expected.iter().copied().collect());
}

#[test]
fn the_header_of_a_segment_is_as_written_down() {
    let image = Image::of(&empty());
    golden("magic", image.text(0, 8), "MPROCSEG");
    golden("byte order", image.u32(8), 0x0102_0304);
    golden("layout version", image.u32(12), VERSION);
    golden("pointer width", image.u32(16), 64);
    golden("state", image.u32(20), 0x5244_5921);
    golden("size", image.word(24), SIZE);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = u128::from_str_radix(boot.trim().replace('-', "").as_str(), 16).unwrap();
    golden("boot id", u128::from_be_bytes(image.bytes(40)), boot);
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap();
    golden("PID namespace", image.u64(32), std::os::unix::fs::MetadataExt::ino(&namespace));
    golden("creator", image.u32(56), std::process::id());
    golden("flags", image.u32(60), 0);
    golden("reaper and what is unused", image.bytes::<64>(64), [0; 64]);
}

#[test]
fn a_directory_is_as_written_down() {
    let segment = empty();
    golden("next, of an empty segment", Image::of(&segment).u64(168), 320);
    Lock::new_in(&segment, "lock").unwrap();
    let image = Image::of(&segment);
    golden("the word of the mutex", image.u32(128), 0);
    golden("next", image.u64(168), 512);
    golden("buckets", image.word(176), CHAINS);
    golden("reserved", image.u64(184), 0);
    let heads: Vec<_> = (0..CHAINS).map(|chain| image.u64(192 + 8 * chain)).collect();
    golden("heads", heads, vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 320]);
    let default = Image::of(&Segment::anonymous(SIZE).unwrap());
    golden("chains of a segment of 64 KiB", default.word(176), 128);
}

#[test]
fn the_header_of_an_object_is_as_written_down() {
    let segment = empty();
    Array::new_in(&segment, "an array", &[1i64, 2, 3]).unwrap();
    let image = Image::of(&segment);
    let at = image.find("an array");
    golden("where the first object lies", at, 320);
    golden("magic", image.text(at, 4), "MPOB");
    golden("kind", image.u32(at + 4), 4);
    golden("type code", image.u32(at + 8), u32::from('q'));
    golden("alignment of an element", image.u32(at + 12), 8);
    golden("size of an element", image.u64(at + 16), 8);
    golden("length", image.u64(at + 24), 3);
    golden("data", image.u64(at + 32), 128);
    golden("bytes", image.u64(at + 40), 48 + 3 * 8);
    golden("next", image.u64(at + 48), 0);
    golden("lengths of type name and name", (image.u16(at + 56), image.u16(at + 58)), (3, 8));
    golden("reserved", image.u32(at + 60), 0);
    golden("type name and name", image.text(at + 64, 12), "i64an array\0");
}

/// Kind, type code, alignment, size, length, bytes.
type Row = (u32, u32, u32, u64, u64, u64);

/// Demands this row, and these kind and type names, of the object `name`.
#[track_caller]
fn golden_object(segment: &Segment, name: &str, names: (&str, &str), expected: Row) {
    let image = Image::of(segment);
    let at = image.find(name);
    let (u32, u64) = (|by| image.u32(at + by), |by| image.u64(at + by));
    golden(name, (u32(4), u32(8), u32(12), u64(16), u64(24), u64(40)), expected);
    golden(name, image.type_name(at), names.1);
    let info = segment.objects().into_iter().find(|object| object.name == name).unwrap();
    golden(name, (info.kind.as_str(), info.element.as_str()), names);
    assert!(at.is_multiple_of(64) && u64(32).is_multiple_of(64), "{name} at {at}");
}

#[test]
fn each_kind_of_object_is_as_written_down() {
    let segment = empty();
    Lock::new_in(&segment, "lock").unwrap();
    Event::new_in(&segment, "event").unwrap();
    Value::new_in(&segment, "value", [1u64, 2]).unwrap();
    Value::new_in(&segment, "word", 1u32).unwrap();
    Array::new_in(&segment, "array", &[1u16, 2, 3]).unwrap();
    RLock::new_in(&segment, "rlock").unwrap();
    Permits::new_in(&segment, "permits", 3).unwrap();
    Semaphore::new_in(&segment, "semaphore", 5).unwrap();
    BoundedSemaphore::new_in(&segment, "bounded", 5).unwrap();
    Condition::new_in(&segment, "condition").unwrap();
    Barrier::new_in(&segment, "barrier", 3).unwrap();
    RawValue::new_in(&segment, "raw value", 7u32).unwrap();
    RawArray::<i64>::zeroed_in(&segment, "raw array", 3).unwrap();
    segment.place("own", std::sync::atomic::AtomicU32::new(7)).unwrap();
    golden_object(&segment, "lock", ("Lock", ""), (1, 0, 0, 0, 1, 40));
    golden_object(&segment, "event", ("Event", ""), (2, 0, 0, 0, 1, 8));
    golden_object(&segment, "value", ("Value", "[u64; 2]"), (3, 0, 8, 16, 1, 48 + 2 * 16));
    golden_object(&segment, "word", ("Value", "u32"), (3, u32::from('I'), 4, 4, 1, 48 + 8));
    golden_object(&segment, "array", ("Array", "u16"), (4, u32::from('H'), 2, 2, 3, 48 + 3 * 2));
    golden_object(&segment, "rlock", ("RLock", ""), (7, 0, 0, 0, 1, 40));
    golden_object(&segment, "permits", ("Permits", ""), (8, 0, 0, 0, 3, 48 + 3 * 40));
    golden_object(&segment, "semaphore", ("Semaphore", ""), (9, 0, 0, 0, 1, 16));
    golden_object(&segment, "bounded", ("BoundedSemaphore", ""), (10, 0, 0, 0, 1, 16));
    golden_object(&segment, "condition", ("Condition", ""), (11, 0, 0, 0, 64, 48 + 64 * 80));
    golden_object(&segment, "barrier", ("Barrier", ""), (12, 0, 0, 0, 6, 48 + 6 * 48));
    golden_object(&segment, "raw value", ("RawValue", "u32"), (14, u32::from('I'), 4, 4, 1, 8));
    golden_object(&segment, "raw array", ("RawArray", "i64"), (15, u32::from('q'), 8, 8, 3, 48 + 3 * 8));
    golden_object(&segment, "own", ("Struct", "AtomicU32"), (13, 0, 4, 4, 1, 8));
}

#[cfg(feature = "serde")]
#[test]
fn both_queues_are_as_written_down() {
    let segment = empty();
    let options = multiproc::QueueOptions::new(4).ring_bytes(512).max_message(64).max_taken(2);
    let queue = options.queue_in::<u32>(&segment, "queue").unwrap();
    golden_object(&segment, "queue", ("Queue", "postcard: u32"), (5, 0, 0, 0, 1, 640 + 768));
    golden_words(&segment, "queue", &[(0x180, 4), (0x240, 4), (0x248, 8), (0x250, 64)]);
    queue.put(77).unwrap();
    golden_words(
        &segment,
        "queue",
        &[
            // The producers' lease, their tail; the settings: max_items; the shape: slots, words of each, of the data.
            (0x20, LINK),
            (0x28, 1),
            (0x180, 4),
            (0x240, 4),
            (0x248, 8),
            (0x250, 64),
            // The slot of item 0: ready, 1 byte, the payload.
            (0x280, 0x2000_0000_4000_0000),
            (0x288, 1),
            (0x290, 77),
        ],
    );
    let jobs = options.joinable_queue_in::<u64>(&segment, "jobs").unwrap();
    golden_object(&segment, "jobs", ("JoinableQueue", "postcard: u64"), (6, 0, 0, 0, 1, 640 + 768 + 256));
    let shape = [(0x180, 4), (0x240, 4), (0x248, 8), (0x250, 64)];
    golden_words(&segment, "jobs", &[shape.as_slice(), &[(0x260, 2), (0x268, 8)]].concat());
    jobs.put(77).unwrap();
    jobs.put(78).unwrap();
    let task = jobs.take().unwrap();
    golden_words(
        &segment,
        "jobs",
        &[
            // As above, and the consumers' lease and head; `takes`; max_taken and the words of a payload.
            (0x20, LINK),
            (0x28, 2),
            (0x60, LINK),
            (0x68, 1),
            (0x180, 4),
            (0x210, 1),
            (0x240, 4),
            (0x248, 8),
            (0x250, 64),
            (0x260, 2),
            (0x268, 8),
            // Free for item 4; ready.
            (0x280, 0x8000_0000_2000_0004),
            (0x288, 1),
            (0x290, 77),
            (0x2c0, 0x2000_0001_4000_0000),
            (0x2c8, 1),
            (0x2d0, 78),
            // The task's entry: lease, number + 1, attempt and length; its payload.
            (0x580, own_tid()),
            (0x5a0, LINK),
            (0x5a8, 1),
            (0x5b0, 0x0000_0001_0000_0001),
            (0x600, 77),
        ],
    );
    task.done();
}

#[test]
fn the_words_of_primitives_are_as_written_down() {
    let segment = empty();
    let lock = Lock::new_in(&segment, "lock").unwrap();
    golden_words(&segment, "lock", &[]);
    let guard = lock.lock().unwrap();
    golden_words(&segment, "lock", &[(0, own_tid()), (32, LINK)]);
    drop(guard);
    golden_words(&segment, "lock", &[(32, LINK)]);

    let rlock = RLock::new_in(&segment, "rlock").unwrap();
    let guards = (rlock.lock().unwrap(), rlock.lock().unwrap());
    golden_words(&segment, "rlock", &[(0, own_tid()), (32, LINK)]);
    drop(guards);

    let permits = Permits::new_in(&segment, "permits", 1).unwrap();
    let permit = permits.try_acquire().unwrap();
    golden_words(&segment, "permits", &[(48, own_tid()), (80, LINK)]);
    drop(permit);

    let event = Event::new_in(&segment, "event").unwrap();
    golden_words(&segment, "event", &[]);
    event.set();
    golden_words(&segment, "event", &[(0, 1)]);

    Semaphore::new_in(&segment, "semaphore", 5).unwrap();
    golden_words(&segment, "semaphore", &[(0, 0x5_4000_0000)]);
    BoundedSemaphore::new_in(&segment, "bounded", 5).unwrap();
    golden_words(&segment, "bounded", &[(0, 0x5_4000_0000), (8, 0xffff_fffa)]);
    Condition::new_in(&segment, "condition").unwrap();
    golden_words(&segment, "condition", &[]);
    Barrier::new_in(&segment, "barrier", 3).unwrap();
    golden_words(&segment, "barrier", &[(40, 0x3_0000_0000)]);
}

#[test]
fn the_words_of_values_and_arrays_are_as_written_down() {
    let segment = empty();
    let value = Value::new_in(&segment, "value", [1u64, 2]).unwrap();
    golden_words(&segment, "value", &[(48, 1), (56, 2)]);
    value.set([3, 4]).unwrap();
    golden_words(&segment, "value", &[(32, LINK), (40, 1), (48, 1), (56, 2), (64, 3), (72, 4)]);
    let word = Value::new_in(&segment, "word", 1u64).unwrap();
    word.set(2).unwrap();
    golden_words(&segment, "word", &[(32, LINK), (48, 2)]);
    Array::new_in(&segment, "array", &[5u64, 6]).unwrap();
    golden_words(&segment, "array", &[(48, 5), (56, 6)]);
    RawValue::new_in(&segment, "raw value", 7u64).unwrap();
    golden_words(&segment, "raw value", &[(0, 7)]);
    RawArray::<u64>::zeroed_in(&segment, "raw array", 2).unwrap().fill(8);
    golden_words(&segment, "raw array", &[(48, 8), (56, 8)]);
}

#[test]
fn raw_primitives_have_the_sizes_written_down() {
    let layout = |size, align| (size, align);
    macro_rules! layouts {
        ($($type:ty: $expected:expr),* $(,)?) => {
            $(golden(stringify!($type), layout(size_of::<$type>(), align_of::<$type>()), $expected);)*
        };
    }
    layouts! {
        Lease: (40, 8),
        RawMutex: (40, 8),
        RawRLock: (40, 8),
        RawEvent: (4, 4),
        RawSemaphore: (16, 8),
        RawPermits<[Lease; 1]>: (48 + 40, 8),
        RawPermits<[Lease; 3]>: (48 + 3 * 40, 8),
        RawCondvar<1>: (8 + 80, 8),
        RawCondvar: (8 + 64 * 80, 8),
        RawBarrier<1>: (48 + 48, 8),
        RawBarrier: (48 + 64 * 48, 8),
        RawRing: (512, 64),
        RawTasks: (64, 64),
        TaskEntry: (64, 64),
    }
}
