//! Segments in memory of the crate `shared_memory`: the owner sets them up, the others wait, and deaths are survived.
#![cfg(feature = "shared_memory")]
#![allow(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use multiproc::{Error, Event, Lock, LockError, Result, Segment, Value};
use shared_memory::{Shmem, ShmemConf};

fn create(size: usize) -> Shmem {
    ShmemConf::new().size(size).create().unwrap()
}

fn open(id: &str) -> Shmem {
    ShmemConf::new().os_id(id).open().unwrap()
}

fn id_of(shmem: &Shmem) -> String {
    shmem.get_os_id().to_owned()
}

fn path(id: &str) -> PathBuf {
    Path::new("/dev/shm").join(id.trim_start_matches('/'))
}

fn segment(shmem: Shmem) -> Result<Segment> {
    // SAFETY: no test shrinks the file of a segment or uses its bytes otherwise.
    unsafe { Segment::from_shmem(shmem) }
}

#[test]
fn a_killed_holder_is_survived_in_another_process() {
    const VARIABLE: &str = "SHMEM_OF_A_KILLED_HOLDER";
    if let Ok(id) = std::env::var(VARIABLE) {
        let segment = segment(open(&id)).unwrap();
        let lock = Lock::open_in(&segment, "lock").unwrap();
        let _guard = lock.lock().unwrap();
        Event::open_in(&segment, "held").unwrap().set();
        loop {
            std::thread::park();
        }
    }
    let shmem = create(1 << 16);
    let id = id_of(&shmem);
    let segment = segment(shmem).unwrap();
    let lock = Lock::new_in(&segment, "lock").unwrap();
    let held = Event::new_in(&segment, "held").unwrap();
    let name = "a_killed_holder_is_survived_in_another_process";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let mut child = child.args(["--exact", name]).env(VARIABLE, &id).spawn().unwrap();
    held.wait();
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
    drop((segment, lock, held));
    assert!(!path(&id).exists(), "the owner removes the name");
}

#[test]
fn others_wait_until_the_owner_has_set_it_up() {
    let owner = create(1 << 16);
    let id = id_of(&owner);
    let (opened, has_opened) = mpsc::channel();
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            let shmem = open(&id);
            opened.send(()).unwrap();
            Value::<u64>::open_in(&segment(shmem).unwrap(), "late").err().map(|error| error.to_string())
        });
        has_opened.recv().unwrap();
        let segment = segment(owner).unwrap();
        let error = other.join().unwrap().unwrap();
        assert!(error.starts_with("there is no object \"late\""), "{error}");
        drop(segment);
    });
}

#[test]
fn what_the_owner_never_sets_up_is_refused_in_the_end() {
    let owner = create(1 << 16);
    let begun = Instant::now();
    let refusal = segment(open(owner.get_os_id())).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "segment in shared memory: expected one that its owner sets up within 5s, found one that is not ready"
    );
    assert!((5..30).contains(&begun.elapsed().as_secs()));
}

#[test]
fn other_content_is_refused_at_once_and_kept() {
    let mut owner = create(1 << 16);
    // SAFETY: nobody else uses it.
    let bytes = unsafe { owner.as_slice_mut() };
    bytes[..8].copy_from_slice(b"somebody");
    let id = id_of(&owner);
    let expected = "segment header, magic: expected MPROCSEG, found somebody";
    assert_eq!(segment(open(&id)).unwrap_err().to_string(), expected);
    let other = open(&id);
    assert_eq!(segment(owner).unwrap_err().to_string(), expected, "the owner does not overwrite it");
    // SAFETY: nobody writes to it.
    assert_eq!(&unsafe { other.as_slice() }[..8], b"somebody");
}

#[test]
fn the_same_memory_is_one_segment_however_often_it_is_opened() {
    let owner = create(5000);
    let id = id_of(&owner);
    let first = segment(owner).unwrap();
    assert_eq!((first.size(), first.name(), first.descriptor().is_none()), (5000, None, true));
    let lock = Lock::new_in(&first, "lock").unwrap();
    let second = segment(open(&id)).unwrap();
    let _guard = lock.lock().unwrap();
    let again = Lock::open_in(&second, "lock").unwrap();
    assert!(matches!(again.try_lock(), Err(LockError::Deadlock)), "one lease at one address");
}

#[test]
fn a_new_owner_takes_over_what_is_set_up() {
    let owner = create(1 << 16);
    let id = id_of(&owner);
    let mut heir = open(&id);
    let first = segment(owner).unwrap();
    let value = Value::new_in(&first, "value", 3u32).unwrap();
    heir.set_owner(true);
    assert_eq!(Value::<u32>::open_in(&segment(heir).unwrap(), "value").unwrap().get(), 3);
    drop((first, value));
    assert!(!path(&id).exists());
}

#[test]
fn memory_that_is_too_short_is_refused() {
    for (size, expected) in [
        (63, "segment, size: expected 64 or more, found 63"),
        (64, "segment size: expected room for a directory"),
    ] {
        let refusal = segment(create(size)).unwrap_err();
        assert!(refusal.to_string().starts_with(expected), "{refusal}");
        assert!(matches!(refusal, Error::Mismatch { .. } | Error::InvalidArgument { .. }));
    }
}
