//! [`Segment`]: memory that processes share.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use super::directory::{Directory, NAME_BYTES};
use super::header::{CHECKED_BYTES, STATE_OFFSET, SegmentHeader, Surroundings};
use super::info::{ObjectInfo, SegmentInfo};
use super::object::ObjectType;
use super::options::SegmentOptions;
use super::placed::{Placed, Shape, Site};
use super::registry::{self, Handle, Key, Mapped, find_or_map};
use super::share::Share;
use crate::error::{Error, Result};
use crate::plain::TypeCode;
use crate::sys::mapping::Mapping;
use crate::sys::region::Region;
use crate::sys::{memfd, named, system};

/// A span of memory that processes share, of fixed size, with all its pages reserved, and a directory of named objects.
///
/// A handle: cloning is cheap, every clone is the same memory, and the memory lives as long as a handle in any process. A
/// process maps a segment once, however often it receives or opens it. Core dumps leave it out, and its file descriptor
/// is closed on exec. A segment travels in process arguments and results, as the objects in it do.
///
/// # Process death
/// An anonymous segment goes with its last user, however that one ends. A named one stays until it is removed; the next
/// `create` of its name takes it over if nobody uses it any more. A process that dies while it makes a segment or an object
/// leaves none of that name.
///
/// # Examples
/// ```
/// use multiproc::{Segment, Value};
/// let segment = Segment::anonymous(1 << 20)?;
/// let hits = Value::new_in(&segment, "hits", 1u64)?;
/// hits.update(|hits| *hits += 1)?;
/// assert_eq!(Value::<u64>::open_in(&segment, "hits")?.get(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Segment {
    pub(super) handle: Handle,
}

impl Segment {
    /// A new segment of `size` bytes, its header and directory included, rounded up to whole pages.
    ///
    /// Its pages are reserved here, so that a lack of memory is an error now and not SIGBUS later. (A memory cgroup at
    /// its limit is the exception: the kernel kills instead of refusing.)
    ///
    /// An object that shall share its memory with no other is made in one by `new_in`: at the least it costs a page and
    /// a descriptor, where small objects made by `new` share both. Its handle keeps the segment.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for size 0, [`Error::OutOfMemory`] where memory or `RLIMIT_FSIZE` ends,
    /// [`Error::TooManyFiles`] if no descriptor is left, with the limit; [`Error::Unsupported`] without `/proc`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// assert!(matches!(Segment::anonymous(0), Err(Error::InvalidArgument { .. })));
    /// assert!(matches!(Segment::anonymous(usize::MAX), Err(Error::OutOfMemory { .. })));
    /// ```
    pub fn anonymous(size: usize) -> Result<Self> {
        SegmentOptions::new().size(size).anonymous()
    }

    /// A new segment that other programs of this user can open by its name: a file under `/dev/shm`, mode 0600, which is
    /// seen only when it is finished.
    ///
    /// A segment of that name that nobody uses is replaced; [`SegmentOptions::take_over`] forbids that.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name is in use, [`Error::Denied`] if another user has it,
    /// [`Error::InvalidArgument`] for an empty name, one with '/' or NUL, or one of more than 245 bytes; those of
    /// [`anonymous`](Self::anonymous).
    ///
    /// # Process death
    /// Killed here, a process leaves no segment of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// let name = format!("doc-create-{}", std::process::id());
    /// let segment = Segment::create(&name, 1 << 16)?;
    /// assert_eq!(Segment::open(&name)?.size(), 1 << 16);
    /// assert!(matches!(Segment::create(&name, 1), Err(Error::AlreadyExists { .. })));
    /// segment.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn create(name: &str, size: usize) -> Result<Self> {
        SegmentOptions::new().size(size).create(name)
    }

    /// The segment of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] if another user owns its file or may write to it; [`Error::Mismatch`], naming
    /// what was expected and found, if it has the header of another layout, boot, PID namespace or size.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// assert!(matches!(Segment::open("no such segment"), Err(Error::NotFound { .. })));
    /// ```
    pub fn open(name: &str) -> Result<Self> {
        let fd = named::open(name)?;
        Self::map(fd, Some(name), |_| Ok(()))
    }

    /// A new segment in memory of this process alone: for threads, and for tools that can't follow shared mappings.
    /// Objects in it don't travel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for size 0, [`Error::OutOfMemory`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, Segment};
    /// let segment = Segment::heap(4096)?;
    /// let lock = Lock::new_in(&segment, "lock")?;
    /// assert!(!lock.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn heap(size: usize) -> Result<Self> {
        SegmentOptions::new().size(size).heap()
    }

    /// How a new segment is made.
    ///
    /// # Examples
    /// ```
    /// let segment = multiproc::Segment::options().size(1 << 16).anonymous()?;
    /// assert_eq!(segment.size(), 1 << 16);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn options() -> SegmentOptions {
        SegmentOptions::new()
    }

    /// The segment behind a descriptor that another process sent: mapped, or found mapped already.
    ///
    /// # Errors
    /// [`Error::Unsealed`] if it is not sealed against shrinking: touching it could then raise SIGBUS.
    /// [`Error::Mismatch`], naming what was expected and found, if it lacks pages, or has the header of another layout,
    /// boot, PID namespace or size.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Segment, Value};
    /// let segment = Segment::anonymous(4096)?;
    /// Value::new_in(&segment, "hits", 7_u32)?;
    /// // As it comes over a socket, for instance.
    /// let descriptor = segment.descriptor().expect("it is no heap").try_clone_to_owned().expect("one is left");
    /// let received = Segment::from_fd(descriptor)?;
    /// assert_eq!(Value::<u32>::open_in(&received, "hits")?.get(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        Self::map(fd, None, keeps_its_size)
    }

    /// As [`from_fd`](Self::from_fd), for a file that is not sealed.
    ///
    /// # Errors
    /// As for [`from_fd`](Self::from_fd), but for `Unsealed`.
    ///
    /// # Safety
    /// Nobody shrinks the file while the segment, or an object in it, is used: that would raise SIGBUS.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    /// let name = format!("doc-unsealed-{}", std::process::id());
    /// let segment = Segment::create(&name, 4096)?;
    /// let descriptor = segment.descriptor().expect("it is no heap").try_clone_to_owned().expect("one is left");
    /// // SAFETY: nobody shrinks the file of a named segment.
    /// let same = unsafe { Segment::from_fd_unsealed(descriptor)? };
    /// assert_eq!(same.size(), 4096);
    /// segment.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub unsafe fn from_fd_unsealed(fd: OwnedFd) -> Result<Self> {
        Self::map(fd, None, |_| Ok(()))
    }

    /// As [`from_fd_unsealed`](Self::from_fd_unsealed), for a file.
    ///
    /// # Errors
    /// As for [`from_fd`](Self::from_fd), but for `Unsealed`.
    ///
    /// # Safety
    /// As for [`from_fd_unsealed`](Self::from_fd_unsealed).
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    /// let name = format!("doc-file-{}", std::process::id());
    /// let segment = Segment::create(&name, 4096)?;
    /// let path = format!("/dev/shm/multiproc-{name}");
    /// let file = std::fs::File::options().read(true).write(true).open(path).expect("it is there");
    /// // SAFETY: nobody shrinks the file of a named segment.
    /// let same = unsafe { Segment::from_file(file)? };
    /// assert_eq!(same.size(), 4096);
    /// segment.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub unsafe fn from_file(file: File) -> Result<Self> {
        Self::map(file.into(), None, |_| Ok(()))
    }

    /// Takes the name away from a named segment: it can't be opened any more, and goes with its last user.
    ///
    /// Does nothing if another segment has the name by now.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it has no name; [`Error::Os`].
    ///
    /// # Process death
    /// Killed here, a process has removed the name or has not.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Error, Segment};
    /// let name = format!("doc-remove-{}", std::process::id());
    /// let segment = Segment::create(&name, 4096)?;
    /// segment.remove()?;
    /// assert!(matches!(Segment::open(&name), Err(Error::NotFound { .. })));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "unlink")]
    pub fn remove(&self) -> Result<()> {
        match &self.handle.name {
            Some(name) => named::remove(name, self.key()),
            None => Err(Error::InvalidArgument {
                what: "segment",
                expected: "one with a name".to_owned(),
                found: "one without".to_owned(),
            }),
        }
    }

    /// The named segments of this user, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Os`] if `/dev/shm` can't be read.
    ///
    /// # Examples
    /// ```
    /// let segments = multiproc::Segment::list()?;
    /// assert!(segments.iter().all(|segment| !segment.name.is_empty()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn list() -> Result<Vec<SegmentInfo>> {
        let mut names = named::names()?;
        names.sort();
        Ok(names.into_iter().filter_map(describe).collect())
    }

    /// Removes those named segments of this user that nobody uses, and says which ones those were.
    ///
    /// # Errors
    /// [`Error::Os`] if `/dev/shm` can't be read.
    ///
    /// # Examples
    /// ```no_run
    /// for name in multiproc::Segment::remove_stale()? {
    ///     println!("{name}: removed");
    /// }
    /// assert!(multiproc::Segment::list()?.iter().all(|segment| segment.in_use));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn remove_stale() -> Result<Vec<String>> {
        let mut names = named::names()?;
        names.sort();
        names.retain(|name| {
            named::is_used(name) == Some(false) && named::remove_unused(name).is_ok_and(|removed| removed)
        });
        Ok(names)
    }

    /// Puts a structure of the caller's own into the segment, under a name.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::OutOfMemory`] if there is no room left; [`Error::InvalidArgument`] for a name
    /// that is empty or longer than 255 bytes; [`Error::Mismatch`] for a segment whose directory has no names.
    ///
    /// # Process death
    /// Killed here, a process leaves no object of that name, or a whole one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::raw::{RawMutex, RawSemaphore};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// #[repr(C)]
    /// struct Counters {
    ///     mutex: RawMutex,
    ///     requests: AtomicU64,
    /// }
    /// // SAFETY: repr(C), and all fields are raw primitives or atomics.
    /// unsafe impl multiproc::Share for Counters {}
    ///
    /// let segment = multiproc::Segment::anonymous(4096)?;
    /// let counters = Counters { mutex: RawMutex::new(), requests: AtomicU64::new(0) };
    /// let placed = segment.place("counters", counters)?;
    /// placed.requests.fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(segment.find::<Counters>("counters")?.requests.load(Ordering::Relaxed), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn place<T: Share>(&self, name: &str, value: T) -> Result<Placed<T>> {
        let shape = Shape::of_head::<T>(ObjectType::shared::<T>());
        Placed::make(Site::In(self, name), shape, |placed: &Placed<T>| {
            // SAFETY: the object is aligned and long enough (I4), and nobody else knows it yet.
            unsafe { placed.head().write(value) };
            Ok(())
        })
    }

    /// The caller's own structure of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Mismatch`] if it is something else, or a structure of another name, size or layout.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::AtomicU32;
    /// let segment = multiproc::Segment::anonymous(4096)?;
    /// segment.place("flag", AtomicU32::new(3))?;
    /// assert!(segment.find::<AtomicU32>("flag").is_ok());
    /// assert!(segment.find::<std::sync::atomic::AtomicU64>("flag").is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn find<T: Share>(&self, name: &str) -> Result<Placed<T>> {
        Placed::open(self.clone(), self.locate(name)?, &ObjectType::shared::<T>(), 1)
    }

    /// The named objects in the segment, in no order.
    ///
    /// # Examples
    /// ```
    /// let segment = multiproc::Segment::anonymous(4096)?;
    /// multiproc::Lock::new_in(&segment, "lock")?;
    /// let objects = segment.objects();
    /// assert_eq!((objects[0].name.as_str(), objects[0].kind.as_str()), ("lock", "Lock"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn objects(&self) -> Vec<ObjectInfo> {
        self.directory().objects().filter_map(|offset| self.describe_object(offset)).collect()
    }

    /// Bytes that the segment is long, its header and directory included.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiproc::Segment::anonymous(1 << 16)?.size(), 1 << 16);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn size(&self) -> usize {
        self.region().len()
    }

    /// The name by which it was created or opened.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    /// let name = format!("doc-name-{}", std::process::id());
    /// let segment = Segment::create(&name, 4096)?;
    /// assert_eq!(segment.name(), Some(name.as_str()));
    /// assert_eq!(Segment::anonymous(4096)?.name(), None);
    /// segment.remove()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.handle.name.as_deref()
    }

    /// The descriptor of its file; `None` if its memory is this process's alone.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    /// assert!(Segment::anonymous(4096)?.descriptor().is_some());
    /// assert!(Segment::heap(4096)?.descriptor().is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.handle.file.as_ref().map(AsFd::as_fd)
    }

    /// What identifies the segment in this system: device and inode of its file.
    pub(crate) fn key(&self) -> Key {
        self.handle.key
    }

    /// The segment `key`, if this process has it mapped and uses it.
    pub(super) fn mapped(key: Key) -> Option<Self> {
        Some(Self { handle: registry::find(key)? })
    }

    /// All of it.
    pub(crate) fn region(&self) -> Region<'_> {
        self.handle.mapping.region()
    }

    pub(super) fn directory(&self) -> Directory<'_> {
        Directory::at(self.region(), self.handle.buckets)
    }

    /// Where the header of the object `name` lies.
    pub(crate) fn locate(&self, name: &str) -> Result<u64> {
        let found = self.directory().find(name).and_then(|offset| u64::try_from(offset).ok());
        found.ok_or_else(|| Error::NotFound { what: format!("object {name:?} in {self:?}") })
    }

    /// The C type that the elements of the object at `offset` are of, which opening it as that checks.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if they are of none.
    pub(crate) fn code_at(&self, offset: u64) -> Result<TypeCode> {
        let code = || self.directory().header(usize::try_from(offset).ok()?)?.element_code();
        code().ok_or_else(|| Error::Mismatch {
            object: format!("object at offset {offset}"),
            expected: "elements of a type that has a code".to_owned(),
            found: "others".to_owned(),
        })
    }

    pub(super) fn make_anonymous(size: usize, buckets: usize) -> Result<Self> {
        let len = whole_pages(size)?;
        let file = memfd::create("multiproc", u64::try_from(len).map_err(|_| out_of_memory(size))?)?;
        Self::make(file, None, len, buckets, |header| header)
    }

    /// One whose file can grow behind it.
    pub(super) fn make_growing(size: usize) -> Result<Self> {
        let len = whole_pages(size)?;
        let file = memfd::create_growing("multiproc", u64::try_from(len).map_err(|_| out_of_memory(size))?)?;
        Self::make(file, None, len, 0, SegmentHeader::growing)
    }

    /// Whether its file can grow behind it.
    pub(crate) fn grows(&self) -> bool {
        self.handle.header.grows()
    }

    pub(super) fn make_named(name: &str, size: usize, buckets: usize, take_over: bool) -> Result<Self> {
        named::check_name(name)?;
        let len = whole_pages(size)?;
        let file = named::create(u64::try_from(len).map_err(|_| out_of_memory(size))?)?;
        let segment = Self::make(file, Some(name), len, buckets, |header| header)?;
        let file = segment.descriptor().ok_or_else(|| out_of_memory(size))?;
        named::publish(file, name, take_over)?;
        Ok(segment)
    }

    pub(super) fn make_heap(size: usize, buckets: usize) -> Result<Self> {
        let mapping = Mapping::of_heap(whole_pages(size)?)?;
        // No file has device 0.
        let address =
            u64::try_from(mapping.region().start().as_ptr().addr()).map_err(|_| out_of_memory(size))?;
        let key = (0, address);
        let handle = find_or_map(key, || set_up(key, None, mapping, buckets, |header| header))?;
        Ok(Self { handle })
    }

    /// Makes a segment of a new file of `len` zero bytes.
    fn make(
        file: OwnedFd,
        name: Option<&str>,
        len: usize,
        buckets: usize,
        kind: fn(SegmentHeader) -> SegmentHeader,
    ) -> Result<Self> {
        let key = memfd::facts(file.as_fd())?.key;
        let handle = find_or_map(key, || {
            let mapping = Mapping::new(&file, len)?;
            let mut mapped = set_up(key, Some(file), mapping, buckets, kind)?;
            mapped.name = name.map(ToOwned::to_owned);
            Ok(mapped)
        })?;
        Ok(Self { handle })
    }

    /// The segment that came in a message, with its name, if it has one.
    pub(super) fn received(fd: OwnedFd, name: Option<&str>) -> Result<Self> {
        match name {
            // A file with a name can't be sealed: it is trusted as `open` trusts it.
            Some(name) => Self::map(fd, Some(name), |fd| named::check_private(fd.as_fd(), name)),
            None => Self::from_fd(fd),
        }
    }

    /// Maps a file that has a segment in it, if `check` finds nothing against it, or finds it mapped.
    fn map(fd: OwnedFd, name: Option<&str>, check: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<Self> {
        let key = memfd::facts(fd.as_fd())?.key;
        let handle = find_or_map(key, || {
            check(&fd)?;
            if memfd::is_of_huge_pages(&fd) {
                return Err(mismatch("pages", "a file of plain pages".to_owned(), "huge pages".to_owned()));
            }
            // Asked now that the file keeps its size.
            let facts = memfd::facts(fd.as_fd())?;
            let size = size_in(&fd).filter(|&size| size <= facts.size).unwrap_or(facts.size);
            let len = usize::try_from(size).map_err(|_| too_short(size))?;
            if len < CHECKED_BYTES {
                return Err(too_short(len));
            }
            if facts.reserved < size {
                let found = format!("{} of them", facts.reserved);
                return Err(mismatch("pages", format!("{size} reserved bytes"), found));
            }
            let mapping = Mapping::new(&fd, len)?;
            let mut mapped = attach(key, Some(fd), mapping)?;
            mapped.name = name.map(ToOwned::to_owned);
            Ok(mapped)
        })?;
        Ok(Self { handle })
    }

    fn describe_object(&self, offset: usize) -> Option<ObjectInfo> {
        let header = self.directory().header(offset)?;
        let mut name = [0; NAME_BYTES];
        let name = name.get_mut(..header.name_len())?;
        self.region().load(offset.checked_add(header.name_offset())?, name)?;
        let ty = ObjectType::from_header(&header, &self.type_name(offset))?;
        Some(ObjectInfo {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            kind: ty.kind(),
            element: ty.type_name().to_owned(),
            length: header.length(),
        })
    }
}

/// Takes what another process has set up, if it may be used here.
pub(super) fn attach(key: Key, file: Option<OwnedFd>, mapping: Mapping) -> Result<Mapped> {
    let len = mapping.region().len();
    let size = u64::try_from(len).map_err(|_| out_of_memory(len))?;
    let mut bytes = [0; CHECKED_BYTES];
    mapping.region().load(0, &mut bytes).ok_or_else(|| too_short(len))?;
    let header = SegmentHeader::check(&bytes, &surroundings(size)?)?;
    let buckets = Directory::check(mapping.region())?.buckets();
    Ok(Mapped::new(key, file, mapping, header, buckets))
}

/// Writes the header and the directory of a new segment.
pub(super) fn set_up(
    key: Key,
    file: Option<OwnedFd>,
    mapping: Mapping,
    buckets: usize,
    kind: fn(SegmentHeader) -> SegmentHeader,
) -> Result<Mapped> {
    let len = mapping.region().len();
    let size = u64::try_from(len).map_err(|_| out_of_memory(len))?;
    let header = kind(SegmentHeader::new(&surroundings(size)?, std::process::id()));
    let bytes: [u8; CHECKED_BYTES] = bytemuck::cast(header.unfinished());
    Directory::set_up(mapping.region(), buckets).ok_or_else(|| Error::InvalidArgument {
        what: "segment size",
        expected: format!("room for a directory of {buckets} names"),
        found: len.to_string(),
    })?;
    mapping.region().store(0, &bytes).ok_or_else(|| out_of_memory(len))?;
    let state = mapping.region().word(STATE_OFFSET).ok_or_else(|| out_of_memory(len))?;
    // SYNC: Release -> `await_owner`'s Acquire: publishes header and directory to those who see them being made.
    state.store(header.state_word(), Ordering::Release);
    Ok(Mapped::new(key, file, mapping, header, buckets))
}

/// Bytes of the segment in a file that grows; `None` if it does not.
fn size_in(fd: &OwnedFd) -> Option<u64> {
    let mut bytes = [0; CHECKED_BYTES];
    let read = rustix::io::pread(fd, &mut bytes, 0).ok()?;
    let size = SegmentHeader::size_if_growing(&bytes).filter(|_| read == CHECKED_BYTES)?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    size.is_multiple_of(page).then_some(size)
}

fn keeps_its_size(fd: &OwnedFd) -> Result<()> {
    if memfd::is_sealed_against_shrinking(fd) { Ok(()) } else { Err(Error::Unsealed) }
}

/// What is known of a named segment without using it.
fn describe(name: String) -> Option<SegmentInfo> {
    let fd = named::look(&name).ok()??;
    let size = memfd::facts(fd.as_fd()).ok()?.size;
    let mut bytes = [0; CHECKED_BYTES];
    let whole = rustix::io::pread(&fd, &mut bytes, 0).is_ok_and(|read| read == CHECKED_BYTES);
    let header = surroundings(size).and_then(|here| SegmentHeader::check(&bytes, &here));
    let creator = header.ok().filter(|_| whole).map(|header| header.creator());
    let in_use = named::is_used(&name)?;
    Some(SegmentInfo { name, size, creator, in_use })
}

fn whole_pages(size: usize) -> Result<usize> {
    size.checked_next_multiple_of(rustix::param::page_size()).ok_or_else(|| out_of_memory(size))
}

fn out_of_memory(size: usize) -> Error {
    Error::beyond_addresses("create segment", size)
}

pub(super) fn too_short(found: impl fmt::Display) -> Error {
    mismatch("size", format!("{CHECKED_BYTES} or more"), found.to_string())
}

fn mismatch(what: &str, expected: String, found: String) -> Error {
    Error::Mismatch { object: format!("segment, {what}"), expected, found }
}

fn surroundings(size: u64) -> Result<Surroundings> {
    Ok(Surroundings { size, pid_namespace: system::pid_namespace()?, boot_id: system::boot_id()? })
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.name())
            .field("size", &self.size())
            .field("creator", &self.handle.header.creator())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duplicate(segment: &Segment) -> OwnedFd {
        segment.descriptor().unwrap().try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_segment_received_twice_is_mapped_once() {
        let segment = Segment::anonymous(1).unwrap();
        let received = Segment::from_fd(duplicate(&segment)).unwrap();
        assert_eq!(received.region().start(), segment.region().start());
        let fd = duplicate(&segment);
        drop((segment, received));
        let again = Segment::from_fd(fd).unwrap();
        assert_eq!(again.size(), rustix::param::page_size());
    }

    #[test]
    fn a_segment_dropped_and_received_at_once_is_never_lost_nor_mapped_twice() {
        let segment = Segment::anonymous(1).unwrap();
        let marked = segment.region().store(1024, b"mark");
        assert!(marked.is_some());
        let fds: Vec<OwnedFd> = (0..400).map(|_| duplicate(&segment)).collect();
        let (left, right) = fds.split_at(200);
        drop(segment);
        std::thread::scope(|scope| {
            for fds in [left, right] {
                scope.spawn(move || {
                    for fd in fds {
                        let one = Segment::from_fd(fd.try_clone().unwrap()).unwrap();
                        let two = Segment::from_fd(fd.try_clone().unwrap()).unwrap();
                        assert_eq!(one.region().start(), two.region().start());
                        let mut mark = [0; 4];
                        one.region().load(1024, &mut mark).unwrap();
                        assert_eq!(&mark, b"mark");
                    }
                });
            }
        });
    }

    #[test]
    fn a_file_of_huge_pages_is_refused() {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        // Some systems have none.
        if let Ok(fd) = memfd_create("huge", flags) {
            ftruncate(&fd, 1 << 30).unwrap();
            fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
            let error = Segment::from_fd(fd).unwrap_err().to_string();
            assert!(error.contains("expected a file of plain pages, found huge pages"), "{error}");
        }
    }

    #[test]
    fn a_peers_change_to_the_header_is_found_at_the_next_attach() {
        let segment = Segment::anonymous(1).unwrap();
        segment.region().store(12, &9u32.to_ne_bytes()).unwrap();
        let fd = duplicate(&segment);
        drop(segment);
        let error = Segment::from_fd(fd).unwrap_err().to_string();
        assert_eq!(error, "segment header, layout version: expected 1, found 9");
    }
}
