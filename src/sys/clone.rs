//! [`sibling`]: a copy of this process that is its parent's child.
//!
//! glibc's `fork` can't make one, so the system call is made here, and what glibc does in a fork's child for the calling
//! thread is done here too: its id, which mutexes compare, and its robust list, which the kernel takes from the copy.
//! Functions given to `pthread_atfork` are not called.
#![allow(unsafe_code)]

use std::ffi::c_long;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::Pid;

/// On which side [`sibling`] returned.
#[derive(Debug)]
pub(crate) enum Copy {
    /// In the new process.
    Child,
    /// In the process that was copied.
    Original {
        /// The number of the new one.
        pid: Pid,
        /// The new one; close-on-exec.
        pidfd: OwnedFd,
    },
}

/// The end of glibc's `struct pthread` that a fork's child has to set: as glibc has laid it out since 2.5.
#[repr(C)]
struct Descriptor {
    tid: AtomicU32,
    _unused: u32,
    robust_prev: AtomicU64,
    robust_head: RobustHead,
}

/// `struct robust_list_head` of the kernel's ABI.
#[repr(C)]
struct RobustHead {
    first: AtomicU64,
    futex_offset: i64,
    pending: AtomicU64,
}

/// Copies the calling process, which has one thread; the copy is a child of this one's parent.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`, `EMFILE`; `EINVAL` for the first process of a PID namespace; `ENOSYS` with a libc that lays out its
/// threads in another way.
///
/// # Safety
/// There is no other thread: what one had locked would stay locked in the copy.
///
/// # References
/// clone(2); glibc's sysdeps/nptl/_Fork.c and nptl/descr.h.
pub(crate) unsafe fn sibling() -> Result<Copy, Errno> {
    let own = descriptor()?;
    let flags =
        libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    let mut pidfd: libc::c_int = -1;
    let none: c_long = 0;
    let (to, tid) = (&raw mut pidfd, own.tid.as_ptr());
    // The last two change places from machine to machine.
    let (fourth, fifth) =
        if cfg!(target_arch = "x86_64") { (tid as c_long, none) } else { (none, tid as c_long) };
    // SAFETY: without CLONE_VM the copy has memory of its own and goes on, on its copy of this stack, as a fork does. The
    // kernel writes one integer to each of the two addresses; the latter is this thread's id, and written in the copy.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone, c_long::from(flags), none, to as c_long, fourth, fifth) };
    match pid {
        0 => {
            own.empty_robust_list();
            Ok(Copy::Child)
        }
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
            // SAFETY: the kernel has opened it for this process, and nobody else knows of it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Copy::Original { pid, pidfd })
        }
    }
}

/// The calling thread's descriptor, found by the robust list in it and known by its id.
fn descriptor() -> Result<&'static Descriptor, Errno> {
    let mut head: *const RobustHead = ptr::null();
    let mut len = 0_usize;
    // SAFETY: get_robust_list writes one pointer and one size, to the two variables given.
    let status = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    if status != 0 || head.is_null() || len != size_of::<RobustHead>() {
        return Err(Errno::NOSYS);
    }
    let own = head.wrapping_byte_sub(std::mem::offset_of!(Descriptor, robust_head)).cast::<Descriptor>();
    // SAFETY: glibc's head lies within a much larger descriptor, with more than these 16 bytes before it; all of it is
    // mapped, aligned for pointers, and stays as long as this thread.
    let own = unsafe { &*own };
    let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    // Relaxed: written by this thread, or before it began.
    if own.tid.load(Ordering::Relaxed) == tid { Ok(own) } else { Err(Errno::NOSYS) }
}

impl Descriptor {
    /// What the original held, the copy doesn't.
    fn empty_robust_list(&self) {
        let head = &raw const self.robust_head;
        // Relaxed: read by this thread, and by the kernel at its end.
        self.robust_prev.store(head.addr() as u64, Ordering::Relaxed);
        self.robust_head.first.store(head.addr() as u64, Ordering::Relaxed);
        self.robust_head.pending.store(0, Ordering::Relaxed);
        // SAFETY: registers the head that glibc keeps for this thread, which ends with it.
        unsafe { libc::syscall(libc::SYS_set_robust_list, head, size_of::<RobustHead>()) };
    }
}
