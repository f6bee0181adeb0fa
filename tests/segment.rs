//! Segments: what they refuse, and how they fail where a limit is reached.

mod limited;

use std::fs::File;
use std::os::fd::OwnedFd;

use limited::{is_limited, passes_under};
use multiproc::{Array, Error, Lock, Segment};
use rustix::fs::{MemfdFlags, SealFlags};

/// A memory file of `size` zero bytes with `seals`.
fn file(size: u64, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("test", flags).unwrap();
    rustix::fs::ftruncate(&fd, size).unwrap();
    if size > 0 {
        rustix::fs::fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
    }
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

fn refusal(fd: OwnedFd) -> String {
    match Segment::from_fd(fd) {
        Err(error @ (Error::Mismatch { .. } | Error::Unsealed)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_beyond_the_file_size_limit_is_an_error_and_no_signal() {
    if !is_limited() {
        passes_under("ulimit -f 1024", "a_segment_beyond_the_file_size_limit_is_an_error_and_no_signal");
        return;
    }
    let error = Segment::anonymous(64 << 20).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { bytes: 0x400_0000, .. }), "{error}");
    assert!(matches!(Array::<u64>::zeroed(8 << 20), Err(Error::OutOfMemory { .. })));
    assert!(Lock::new().is_ok(), "what is below the limit still works");
}

#[test]
fn an_object_in_a_segment_of_its_own_costs_a_page_and_a_descriptor_and_their_end_names_the_limit() {
    if !is_limited() {
        let name =
            "an_object_in_a_segment_of_its_own_costs_a_page_and_a_descriptor_and_their_end_names_the_limit";
        passes_under("ulimit -n 32", name);
        return;
    }
    let own = || {
        let segment = Segment::anonymous(1)?;
        assert_eq!(segment.size(), rustix::param::page_size());
        // The handle keeps the segment.
        Lock::new_in(&segment, "lock")
    };
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    drop(Lock::new().unwrap().lock());
    let before = open();
    let mut locks = vec![own().unwrap()];
    assert_eq!(open(), before + 1);
    let error = loop {
        match own() {
            Ok(lock) => locks.push(lock),
            Err(error) => break error,
        }
        assert!(locks.len() < 32);
    };
    assert!(matches!(error, Error::TooManyFiles { .. }), "{error}");
    assert_eq!(error.to_string(), "create segment: too many open files: RLIMIT_NOFILE is 32");
    drop(locks);
    assert!(own().is_ok(), "a dropped handle gives its descriptor back");
}

#[test]
fn a_size_is_rounded_up_to_pages_and_zero_is_refused() {
    let page = rustix::param::page_size();
    assert_eq!(Segment::anonymous(1).unwrap().size(), page);
    assert_eq!(Segment::anonymous(page + 1).unwrap().size(), 2 * page);
    assert!(matches!(Segment::anonymous(0), Err(Error::InvalidArgument { .. })));
}

#[test]
fn a_file_that_could_shrink_is_refused() {
    let message = refusal(file(4096, SealFlags::GROW));
    assert_eq!(message, "segment: expected a memory file sealed against shrinking, found an unsealed file");
    assert!(refusal(File::open("/dev/null").unwrap().into()).contains("sealed against"));
    let (pipe, _writer) = std::io::pipe().unwrap();
    assert!(refusal(pipe.into()).contains("sealed against"));
}

#[test]
fn a_sealed_file_that_is_no_segment_is_refused() {
    assert!(refusal(file(0, SealFlags::SHRINK)).contains("segment, size: expected 64 or more, found 0"));
    assert!(refusal(file(63, SealFlags::SHRINK)).contains("found 63"));
    assert!(refusal(file(4096, SealFlags::SHRINK)).contains("segment header, magic: expected MPROCSEG"));
}

#[test]
fn a_file_with_holes_is_refused() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("sparse", flags).unwrap();
    rustix::fs::ftruncate(&fd, 1 << 30).unwrap();
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    assert!(refusal(fd).starts_with("segment, pages: expected 1073741824 reserved bytes"));
}

#[test]
fn a_header_is_checked_against_the_true_size_of_the_file() {
    let segment = Segment::anonymous(4096).unwrap();
    let mut bytes = vec![0; 4096];
    rustix::io::pread(segment.descriptor().unwrap(), &mut bytes, 0).unwrap();
    let larger = file(8192, SealFlags::empty());
    rustix::io::pwrite(&larger, &bytes, 0).unwrap();
    rustix::fs::fcntl_add_seals(&larger, SealFlags::SHRINK).unwrap();
    assert_eq!(refusal(larger), "segment header, size: expected 8192, as the file has, found 4096");
}

#[test]
fn clones_are_one_memory_and_dropping_them_closes_it() {
    if !is_limited() {
        // Alone in a process, so that no other test opens a file meanwhile.
        passes_under("true", "clones_are_one_memory_and_dropping_them_closes_it");
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:multiproc").count();
    let before = (open(), mapped());
    let segment = Segment::anonymous(1).unwrap();
    let clone = segment.clone();
    let received = Segment::from_fd(segment.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!((open(), mapped()), (before.0 + 1, before.1 + 1));
    drop((segment, clone));
    assert_eq!(received.size(), rustix::param::page_size());
    drop(received);
    assert_eq!((open(), mapped()), before);
}
