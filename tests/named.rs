//! Named segments, the objects in them, and what a wrong one is answered with.
#![allow(unsafe_code)]

mod name;

use std::fs;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use multiproc::{
    Array, Barrier, BoundedSemaphore, Condition, Error, Event, Lock, LockError, Permits, RLock, Segment,
    Semaphore, Value,
};
use name::Name;

impl Name {
    /// How opening it is refused.
    fn refusal(&self) -> String {
        Segment::open(&self.0).unwrap_err().to_string()
    }
}

#[test]
fn what_one_program_names_another_opens() {
    let name = Name::new();
    let segment = Segment::create(&name.0, 1 << 16).unwrap();
    assert_eq!(segment.name(), Some(name.0.as_str()));
    let value = Value::new_in(&segment, "value", 5u64).unwrap();
    let other = Segment::open(&name.0).unwrap();
    let opened = Value::<u64>::open_in(&other, "value").unwrap();
    value.set(6).unwrap();
    assert_eq!(opened.get(), 6);
    assert_eq!(fs::metadata(name.path()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[cfg(feature = "process")]
#[test]
fn a_named_segment_and_what_lies_in_it_travel_to_a_child() {
    fn child((value, segment): (Value<u64>, Segment)) -> Option<String> {
        value.update(|value| *value += 1).unwrap();
        Lock::new_in(&segment, "of the child").unwrap();
        segment.name().map(str::to_owned)
    }
    let name = Name::new();
    let segment = Segment::create(&name.0, 1 << 16).unwrap();
    let value = Value::new_in(&segment, "value", 1u64).unwrap();
    let mut process = multiproc::Process::spawn(child, (value.clone(), segment.clone())).unwrap();
    assert_eq!(process.join().unwrap(), Some(name.0.clone()));
    assert_eq!(value.get(), 2);
    assert!(Lock::open_in(&segment, "of the child").is_ok());
}

#[test]
fn a_segment_goes_with_its_name_and_its_last_user() {
    let name = Name::new();
    let segment = Segment::create(&name.0, 4096).unwrap();
    let lock = Lock::new_in(&segment, "lock").unwrap();
    segment.remove().unwrap();
    assert!(!name.path().exists());
    assert!(matches!(Segment::open(&name.0), Err(Error::NotFound { .. })));
    drop(segment);
    assert!(lock.lock().is_ok(), "its users keep it");
    // Another segment of that name is not removed by the first one.
    let second = Segment::create(&name.0, 4096).unwrap();
    let first = Segment::anonymous(1).unwrap();
    assert!(matches!(first.remove(), Err(Error::InvalidArgument { .. })));
    drop(second);
}

#[test]
fn a_name_in_use_is_refused_and_a_stale_one_is_taken_over() {
    let name = Name::new();
    let first = Segment::create(&name.0, 4096).unwrap();
    Value::new_in(&first, "value", 1u8).unwrap();
    assert!(matches!(Segment::create(&name.0, 4096), Err(Error::AlreadyExists { .. })));
    let key = |name: &str| Segment::list().unwrap().into_iter().find(|info| info.name == name);
    let info = key(&name.0).unwrap();
    assert_eq!((info.in_use, info.size, info.creator), (true, 4096, Some(std::process::id())));
    drop(first);
    assert!(!key(&name.0).unwrap().in_use);
    assert_eq!(Value::<u8>::open_in(&Segment::open(&name.0).unwrap(), "value").unwrap().get(), 1);
    let kept = Segment::options().size(8192).take_over(false).create(&name.0);
    assert!(matches!(kept, Err(Error::AlreadyExists { .. })));
    let second = Segment::create(&name.0, 8192).unwrap();
    assert!(matches!(Value::<u8>::open_in(&second, "value"), Err(Error::NotFound { .. })));
}

#[test]
fn a_forked_child_uses_the_segment_too_and_a_killed_one_does_not() {
    let name = Name::new();
    let segment = Segment::create(&name.0, 4096).unwrap();
    let event = Event::new_in(&segment, "event").unwrap();
    // SAFETY: the child waits with primitives only, until it is killed.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        event.set();
        loop {
            std::thread::park();
        }
    }
    event.wait();
    drop((segment, event));
    assert!(matches!(Segment::create(&name.0, 4096), Err(Error::AlreadyExists { .. })), "the child has it");
    // SAFETY: the child was not waited for, so the number is its.
    unsafe { libc::kill(child, libc::SIGKILL) };
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    // Other tests' forks have the descriptor for a moment.
    let begun = Instant::now();
    while Segment::create(&name.0, 4096).is_err() {
        assert!(begun.elapsed().as_secs() < 10);
    }
}

/// The bytes of a good segment's file.
fn good() -> Vec<u8> {
    let name = Name::new();
    let _segment = Segment::create(&name.0, 4096).unwrap();
    fs::read(name.path()).unwrap()
}

/// A good segment's bytes, changed.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = good();
    change(&mut bytes);
    bytes
}

/// How a file of these bytes is refused.
fn refusal(bytes: &[u8]) -> String {
    let name = Name::new();
    name.write(bytes);
    name.refusal()
}

fn refused(segment: Result<Segment, Error>) -> String {
    segment.unwrap_err().to_string()
}

/// What is asked for and what is there, each in its own words.
#[test]
fn each_wrong_segment_has_an_error_of_its_own() {
    let (free, taken) = (Name::new(), Name::new());
    let _taken = Segment::create(&taken.0, 4096).unwrap();
    let unsealed = Name::new().write(&good());
    let wrong_name = "name of a segment: expected 1 to 245 bytes without '/' and NUL, found";
    let cases = [
        (
            "zero length",
            refusal(&[]),
            "segment, size: expected 64 or more, found 0".to_owned(),
        ),
        (
            "unsealed",
            refused(Segment::from_fd(unsealed.into())),
            "segment: expected a memory file sealed against shrinking, found an unsealed file".to_owned(),
        ),
        (
            "huge",
            refused(Segment::create(&free.0, 1 << 63)),
            format!("create named segment: no memory for {} bytes: a file has at most 2^63 - 1", 1_u64 << 63),
        ),
        ("name with a slash", refused(Segment::open("a/b")), format!("{wrong_name} \"a/b\"")),
        ("name with a NUL", refused(Segment::create("a\0b", 1)), format!("{wrong_name} \"a\\0b\"")),
        (
            "existing name",
            refused(Segment::create(&taken.0, 4096)),
            format!("there is already: segment {:?}, which is in use", taken.0),
        ),
        ("missing name", free.refusal(), format!("there is no segment {:?}", free.0)),
        (
            "half initialised",
            refusal(&changed(|bytes| bytes[20..24].fill(0))),
            "segment header, state: expected 0x52445921 (ready), found 0x00000000 (its creator has not finished it)"
                .to_owned(),
        ),
        (
            "truncated",
            refusal(&changed(|bytes| bytes.truncate(2048))),
            "segment header, size: expected 2048, as the file has, found 4096".to_owned(),
        ),
        (
            "older layout version",
            refusal(&changed(|bytes| bytes[12] = 0)),
            "segment header, layout version: expected 1, found 0".to_owned(),
        ),
        (
            "other byte order",
            refusal(&changed(|bytes| bytes[8..12].reverse())),
            "segment header, byte order: expected 0x01020304, found 0x04030201".to_owned(),
        ),
    ];
    for (what, refusal, expected) in cases {
        assert_eq!(refusal, expected, "{what}");
    }
    assert!(!free.path().exists());
}

#[test]
fn a_segment_of_another_boot_is_refused_and_both_boots_are_named() {
    let here = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().replace('-', "");
    // A file on a disk outlives a boot; what it lies on is of no account here.
    let file = Name::new().write(&changed(|bytes| bytes[40..56].fill(0xab)));
    // SAFETY: nobody shrinks the file.
    let refusal = refused(unsafe { Segment::from_file(file) });
    let there = "ab".repeat(16);
    assert_eq!(refusal, format!("segment header, boot id: expected {here}, found {there}"));
}

#[test]
fn each_other_wrong_name_or_size_has_its_own_error() {
    let empty = "name of a segment: expected 1 to 245 bytes without '/' and NUL, found \"\"";
    assert_eq!(refused(Segment::create("", 1)), empty);
    assert_eq!(refused(Segment::open("")), empty);
    assert!(refused(Segment::create(&"x".repeat(246), 1)).ends_with("found 246 bytes"));
    let name = Name::new();
    assert_eq!(refused(Segment::create(&name.0, 0)), "segment size: expected at least 1 byte, found 0");
    assert!(!name.path().exists());
}

#[test]
fn each_other_wrong_file_has_its_own_error() {
    assert_eq!(refusal(&[0; 63]), "segment, size: expected 64 or more, found 63");
    assert_eq!(
        refusal(&changed(|bytes| bytes[0] = b'X')),
        "segment header, magic: expected MPROCSEG, found XPROCSEG"
    );
    let chains = refusal(&changed(|bytes| bytes[176] = 7));
    let expected = "segment directory: expected 0 or 2^n chains within 4096 bytes, found 7";
    assert!(chains.starts_with(expected), "{chains}");
    let name = Name::new();
    name.write(&good()).set_len(1 << 20).unwrap();
    let sparse = name.refusal();
    assert!(sparse.starts_with("segment, pages: expected 1048576 reserved bytes"), "{sparse}");
}

#[test]
fn a_file_that_others_may_write_or_a_link_is_denied() {
    let name = Name::new();
    name.write(&good());
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o622)).unwrap();
    assert!(matches!(Segment::open(&name.0), Err(Error::Denied { .. })));
    assert!(name.refusal().contains("mode 0622"), "{}", name.refusal());
    assert!(matches!(Segment::create(&name.0, 4096), Err(Error::Denied { .. })));
    let link = Name::new();
    symlink(name.path(), link.path()).unwrap();
    assert!(link.refusal().ends_with("found a symbolic link"), "{}", link.refusal());
    // SAFETY: asks who the user is.
    if unsafe { libc::geteuid() } == 0 {
        fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(name.path(), Some(65534), None).unwrap();
        assert!(name.refusal().contains("one of user 65534"), "{}", name.refusal());
    }
}

#[test]
fn an_unsealed_descriptor_and_a_file_are_for_those_who_promise() {
    let name = Name::new();
    let mut file = name.write(&good());
    let unsealed = Segment::from_fd(file.try_clone().unwrap().into());
    assert!(matches!(unsealed, Err(Error::Unsealed)));
    // SAFETY: nobody shrinks the file.
    let segment = unsafe { Segment::from_file(file.try_clone().unwrap()) }.unwrap();
    Value::new_in(&segment, "value", 3u16).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    // SAFETY: as above.
    let again = unsafe { Segment::from_fd_unsealed(file.into()) }.unwrap();
    assert_eq!(Value::<u16>::open_in(&again, "value").unwrap().get(), 3);
}

#[test]
fn every_kind_of_object_is_found_by_its_name_and_by_no_other() {
    let segment = Segment::anonymous(1 << 20).unwrap();
    Lock::new_in(&segment, "lock").unwrap();
    RLock::new_in(&segment, "rlock").unwrap();
    Semaphore::new_in(&segment, "semaphore", 2).unwrap();
    BoundedSemaphore::new_in(&segment, "bounded", 2).unwrap();
    Permits::new_in(&segment, "permits", 2).unwrap();
    Condition::new_in(&segment, "condition").unwrap();
    Event::new_in(&segment, "event").unwrap();
    Barrier::new_in(&segment, "barrier", 2).unwrap();
    Value::new_in(&segment, "value", 1i64).unwrap();
    Array::new_in(&segment, "array", &[1i32, 2]).unwrap();
    let mut found: Vec<_> = segment.objects().into_iter().map(|object| (object.name, object.kind)).collect();
    found.sort();
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "array",
        "barrier",
        "bounded",
        "condition",
        "event",
        "lock",
        "permits",
        "rlock",
        "semaphore",
        "value",
    ];
    assert_eq!(names, expected);
    assert!(matches!(Lock::new_in(&segment, "array"), Err(Error::AlreadyExists { .. })));
    for name in expected {
        assert_eq!(Lock::open_in(&segment, name).is_ok(), name == "lock");
        assert_eq!(Barrier::open_in(&segment, name).is_ok(), name == "barrier");
        assert_eq!(Array::<i32>::open_in(&segment, name).is_ok(), name == "array");
        assert!(Value::<f64>::open_in(&segment, name).is_err());
    }
    assert_eq!(Semaphore::open_in(&segment, "semaphore").unwrap().value(), 2);
    assert_eq!(Permits::open_in(&segment, "permits").unwrap().available(), 2);
    let lock = Lock::open_in(&segment, "lock").unwrap();
    let _guard = lock.lock().unwrap();
    assert!(matches!(Lock::open_in(&segment, "lock").unwrap().try_lock(), Err(LockError::Deadlock)));
    for name in ["", &"x".repeat(256)] {
        assert!(matches!(Lock::new_in(&segment, name), Err(Error::InvalidArgument { .. })));
        assert!(matches!(Lock::open_in(&segment, name), Err(Error::NotFound { .. })));
    }
    assert!(Lock::new_in(&segment, &"é".repeat(127)).is_ok());
}

#[test]
fn a_full_segment_is_out_of_memory_and_keeps_what_it_has() {
    let segment = Segment::anonymous(4096).unwrap();
    let made = (0..100).map_while(|n| Value::new_in(&segment, &n.to_string(), n).ok()).count();
    assert!((15..=22).contains(&made), "{made}");
    assert!(matches!(Value::new_in(&segment, "one more", 0), Err(Error::OutOfMemory { .. })));
    for n in 0..made {
        let n = i32::try_from(n).unwrap();
        assert_eq!(Value::<i32>::open_in(&segment, &n.to_string()).unwrap().get(), n);
    }
    assert_eq!(segment.objects().len(), made);
}

#[test]
fn a_hundred_thousand_objects_cost_little_and_are_found_quickly() {
    const COUNT: u32 = 100_000;
    let segment = Segment::anonymous(24 << 20).unwrap();
    for n in 0..COUNT {
        Value::new_in(&segment, &format!("object {n}"), n).unwrap();
    }
    let used = (0..).map_while(|n| Lock::new_in(&segment, &format!("lock {n}")).ok()).count() * 192;
    let each = (segment.size() - used) / COUNT as usize;
    assert!(each <= 192 + 8 + 8, "{each} bytes each, of which 4 are data and 5 the directory's");
    let begun = Instant::now();
    for n in (0..COUNT).step_by(7) {
        assert_eq!(Value::<u32>::open_in(&segment, &format!("object {n}")).unwrap().get(), n);
    }
    let nanos = begun.elapsed().as_nanos() / u128::from(COUNT / 7);
    println!("{each} bytes each; opened in {nanos} ns");
    assert!(nanos < 50_000, "{nanos} ns");
}

#[test]
fn ten_thousand_small_objects_take_few_descriptors() {
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    let locks: Vec<_> = (0..5_000).map(|_| Lock::new().unwrap()).collect();
    let values: Vec<_> = (0..5_000).map(|n| Value::new(n).unwrap()).collect();
    assert!(count() < before + 100, "{} for 10,000 objects", count() - before);
    assert!(values.iter().zip(0..).all(|(value, n)| value.get() == n));
    assert!(locks.iter().all(|lock| lock.try_lock().is_ok()));
}

#[test]
fn a_structure_of_ones_own_is_placed_and_found() {
    #[repr(C)]
    struct Counters {
        requests: AtomicU64,
        errors: AtomicU32,
    }
    // SAFETY: repr(C) and atomics only.
    unsafe impl multiproc::Share for Counters {}
    /// Of the same size, and other fields.
    #[repr(C)]
    struct Other(AtomicU64, AtomicU64);
    // SAFETY: as above.
    unsafe impl multiproc::Share for Other {
        const LAYOUT: u32 = 77;
    }

    let segment = Segment::anonymous(4096).unwrap();
    let counters = Counters { requests: AtomicU64::new(1), errors: AtomicU32::new(2) };
    let placed = segment.place("counters", counters).unwrap();
    placed.requests.fetch_add(10, Ordering::Relaxed);
    let found = segment.find::<Counters>("counters").unwrap();
    assert_eq!((found.requests.load(Ordering::Relaxed), found.errors.load(Ordering::Relaxed)), (11, 2));
    assert!(matches!(segment.find::<Other>("counters"), Err(Error::Mismatch { .. })));
    assert!(matches!(segment.find::<Counters>("others"), Err(Error::NotFound { .. })));
}

#[test]
fn memory_of_the_process_alone_has_objects_that_do_not_travel() {
    let segment = Segment::heap(1 << 16).unwrap();
    assert!(segment.descriptor().is_none());
    let lock = Lock::new_in(&segment, "lock").unwrap();
    std::thread::scope(|scope| {
        let guard = lock.lock().unwrap();
        let other = scope.spawn(|| assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock))));
        other.join().unwrap();
        drop(guard);
    });
    let other = Segment::heap(1 << 16).unwrap();
    assert!(matches!(Lock::open_in(&other, "lock"), Err(Error::NotFound { .. })));
}
