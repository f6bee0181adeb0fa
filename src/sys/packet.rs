//! Packets with descriptors over a Unix seqpacket socket.
//!
//! A packet is sent, and received, by one system call: it is on its way whole or not at all, whoever is killed, and those
//! of several senders never mix.
#![allow(unsafe_code)]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};

/// `SCM_MAX_FD`: the most descriptors that the kernel takes in one packet.
pub(crate) const LOT: usize = 253;
const CONTROL: usize = rustix::cmsg_space!(ScmRights(LOT));

/// Two connected seqpacket sockets, both close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends `head` and `body` as one packet, with at most [`LOT`] descriptors.
///
/// # Errors
/// `EAGAIN`, unless it is to `wait` and the socket is a blocking one: there is no room. `EPIPE`, without a signal;
/// `EMSGSIZE`; `ETOOMANYREFS`; and others.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    head: &[u8],
    body: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> Result<(), Errno> {
    let flags = if wait { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
    if fds.is_empty() && head.len() + body.len() <= SHORT {
        return send_short(socket, head, body, flags);
    }
    let mut space = [MaybeUninit::uninit(); CONTROL];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::TOOMANYREFS);
        }
        match sendmsg(socket, &[IoSlice::new(head), IoSlice::new(body)], &mut control, flags) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// To copy so many bytes costs less than to have the kernel gather them.
const SHORT: usize = 512;

fn send_short(socket: BorrowedFd<'_>, head: &[u8], body: &[u8], flags: SendFlags) -> Result<(), Errno> {
    let mut bytes = [0; SHORT];
    let (first, rest) = bytes.split_at_mut(head.len());
    first.copy_from_slice(head);
    rest[..body.len()].copy_from_slice(body);
    loop {
        match rustix::net::send(socket, &bytes[..head.len() + body.len()], flags) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Room for a packet's control data, as the kernel wants it aligned.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; CONTROL]);

/// Receives one packet: its first bytes into `head`, the next into `body`, and what goes beyond into the free capacity of
/// `rest`, which becomes so long. Returns the packet's length; 0 is the end of the stream. Each part that is not empty
/// costs the kernel as much time as copying a kilobyte.
///
/// # Errors
/// `EAGAIN`, unless it is to `wait` and the socket is a blocking one: there is no packet. `EMSGSIZE`: the packet was longer
/// than all that, and is gone. `EMFILE`: it is gone, for this process has no room for its descriptors. And others.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    head: &mut [u8],
    body: &mut [u8],
    rest: &mut Vec<u8>,
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> Result<usize, Errno> {
    rest.clear();
    let free = rest.spare_capacity_mut();
    let beyond = libc::iovec { iov_base: free.as_mut_ptr().cast(), iov_len: free.len() };
    let mut parts = [beyond; 3];
    let mut count = 0;
    for part in [&mut *head, &mut *body] {
        if !part.is_empty() {
            parts[count] = libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() };
            count += 1;
        }
    }
    let parts = &mut parts[..=count];
    let mut control = Control([MaybeUninit::uninit(); CONTROL]);
    // SAFETY: all zeros is a valid value of this C structure: null pointers, no lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len();
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL;
    let flags = if wait { libc::MSG_CMSG_CLOEXEC } else { libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT };
    let length = loop {
        // SAFETY: the parts are exclusively borrowed memory of the lengths given, into which the kernel writes bytes, and so
        // is `control`.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(received) {
            Ok(length) => break length,
            Err(_) => match last_error() {
                Errno::INTR => message.msg_controllen = CONTROL,
                errno => return Err(errno),
            },
        }
    };
    take_descriptors(&message, fds);
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        // The kernel has dropped the descriptors that this process has no room for, and says so only here.
        return Err(Errno::MFILE);
    }
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(Errno::MSGSIZE);
    }
    let beyond = length.saturating_sub(head.len() + body.len());
    // SAFETY: the kernel has written so many bytes into the free capacity, having filled the parts before it.
    unsafe { rest.set_len(beyond) };
    Ok(length)
}

/// Takes over the descriptors that the kernel has opened for a packet.
fn take_descriptors(message: &libc::msghdr, fds: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel has filled in `message`, whose control data outlives this call.
    let mut part = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !part.is_null() {
        // SAFETY: it points to a header that the kernel has written, aligned as `Control` is.
        let header = unsafe { part.read() };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the data of that header.
            let data = unsafe { libc::CMSG_DATA(part) }.cast::<RawFd>();
            let offset = data.addr() - part.addr();
            let count = header.cmsg_len.saturating_sub(offset) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: the kernel has written `count` numbers there.
                let fd = unsafe { data.wrapping_add(index).read_unaligned() };
                // SAFETY: it has just opened that descriptor for whoever receives this packet.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: as for the first.
        part = unsafe { libc::CMSG_NXTHDR(message, part) };
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// A packet's first two bytes, its next four, and the rest; and the number of its descriptors.
    fn receive_all(socket: &OwnedFd, room: usize) -> Result<(usize, Vec<u8>, Vec<u8>, usize), Errno> {
        let (mut head, mut body) = ([0; 2], [0; 4]);
        let (mut rest, mut fds) = (Vec::with_capacity(room), Vec::new());
        let length = receive(socket.as_fd(), &mut head, &mut body, &mut rest, &mut fds, false)?;
        Ok((length, [&head[..], &body[..]].concat(), rest, fds.len()))
    }

    #[test]
    fn a_packet_fills_one_part_after_the_other() {
        let (left, right) = pair().unwrap();
        for length in [1_usize, 2, 3, 6, 7, 16] {
            let bytes: Vec<u8> = (1..=16).take(length).collect();
            send(left.as_fd(), &bytes[..1], &bytes[1..], &[], false).unwrap();
            let (received, mut all, rest, fds) = receive_all(&right, 10).unwrap();
            all.truncate(length);
            all.extend(rest);
            assert_eq!((received, all, fds), (length, bytes, 0));
        }
        assert_eq!(receive_all(&right, 10), Err(Errno::AGAIN));
    }

    #[test]
    fn a_packet_that_is_too_long_is_gone() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), b"ab", &[0; 100], &[], false).unwrap();
        send(left.as_fd(), b"c", b"", &[], false).unwrap();
        assert_eq!(receive_all(&right, 10), Err(Errno::MSGSIZE));
        assert_eq!(receive_all(&right, 10).unwrap().0, 1);
        drop(left);
        assert_eq!(receive_all(&right, 10).unwrap().0, 0);
    }

    #[test]
    fn a_lot_of_descriptors_rides_along() {
        let (left, right) = pair().unwrap();
        let fds = [left.as_fd(); LOT];
        send(left.as_fd(), b"a", b"", &fds, false).unwrap();
        assert_eq!(receive_all(&right, 0).unwrap().3, LOT);
        assert!(send(left.as_fd(), b"a", b"", &[left.as_fd(); LOT + 1], false).is_err());
    }

    #[test]
    fn nobody_is_signalled_for_a_closed_end() {
        let (left, right) = pair().unwrap();
        drop(right);
        assert_eq!(send(left.as_fd(), b"a", b"", &[], true), Err(Errno::PIPE));
    }
}
