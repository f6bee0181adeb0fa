//! Sockets, and what rides along in a packet.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use arbitrary::Arbitrary;
use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};

/// A descriptor that a peer might send.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Ride {
    /// A memory file of so many bytes.
    Memory(u16),
    /// Something that is no memory.
    Null,
    /// A socket of packets, in which some descriptors lie.
    Lots(u8),
    /// A socket of a stream.
    Stream,
}

impl Ride {
    /// Opens it.
    ///
    /// # Panics
    /// Without descriptors or memory.
    #[must_use]
    pub fn open(&self) -> OwnedFd {
        match *self {
            Self::Memory(len) => {
                let memory = rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory");
                rustix::fs::ftruncate(&memory, len.into()).expect("memory");
                memory
            }
            Self::Null => std::fs::File::open("/dev/null").expect("a descriptor").into(),
            Self::Lots(count) => {
                let (outside, inside) = seqpacket();
                let null = Self::Null.open();
                for _ in 0..count % 4 {
                    use std::os::fd::AsFd;
                    send_packet(inside.as_fd(), &[0], &[null.as_fd()]);
                }
                outside
            }
            Self::Stream => std::os::unix::net::UnixStream::pair().expect("descriptors").0.into(),
        }
    }
}

/// Two connected sockets of packets.
///
/// # Panics
/// Without descriptors.
#[must_use]
pub fn seqpacket() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("descriptors")
}

/// Sends bytes, and descriptors with them, without waiting.
///
/// # Panics
/// Where there is no room.
pub fn send_packet(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).expect("room");
}
