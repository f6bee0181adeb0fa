//! Framed messages with descriptors over a stream socket.
//!
//! A frame is a head of 16 bytes {tag u32, number of descriptors u32, length u64}, native endian since both ends are one
//! machine, then its bytes. The kernel takes at most 253 descriptors at once: the first lot rides with the head, each
//! further lot with one filler byte between head and bytes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv as recv_bytes, recvmsg, sendmsg,
};

use super::{Deadline, poll};
use crate::Error;

/// `SCM_MAX_FD`: the most descriptors that the kernel takes in one message.
const LOT: usize = 253;
const HEAD: usize = 16;
const CONTROL: usize = rustix::cmsg_space!(ScmRights(LOT));
/// Room for bytes grows with what has come, so that a length alone makes nobody allocate.
const FIRST_ROOM: usize = 256 * 1024;

/// A received frame.
#[derive(Debug)]
pub(crate) struct Frame {
    /// What the frame is, to its reader.
    pub(crate) tag: u32,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors, all close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Why a frame was not sent or received.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The other end is gone.
    Disconnected,
    /// The other end went away in the middle of a frame.
    Truncated,
    /// The deadline came.
    TimedOut,
    /// No room for the descriptors, in this process or on their way.
    TooManyFiles,
    /// The frame is longer than this end takes.
    TooLong { len: u64, max: u64 },
    /// Not as many descriptors came as the head said.
    WrongFds { expected: u32, found: usize },
    /// There is no memory for a frame of this length.
    OutOfMemory { len: u64 },
    /// The system refused.
    Os(Errno),
}

impl From<Errno> for FrameError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Disconnected,
            Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS => Self::TooManyFiles,
            errno => Self::Os(errno),
        }
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        const OPERATION: &str = "exchange a message with another process";
        match error {
            FrameError::Disconnected => Self::os(OPERATION, Errno::PIPE),
            FrameError::Truncated => Self::os(OPERATION, std::io::ErrorKind::UnexpectedEof),
            FrameError::TimedOut => Self::os(OPERATION, Errno::TIMEDOUT),
            FrameError::TooManyFiles => Self::too_many_files(OPERATION),
            FrameError::TooLong { len, max } => Self::InvalidArgument {
                what: "length of a message",
                expected: format!("at most {max} bytes"),
                found: format!("{len}"),
            },
            FrameError::WrongFds { expected, found } => Self::Mismatch {
                object: "message".into(),
                expected: format!("{expected} descriptors"),
                found: found.to_string(),
            },
            FrameError::OutOfMemory { len } => Self::out_of_memory(OPERATION, len, "the allocator has none"),
            FrameError::Os(errno) => Self::os(OPERATION, errno),
        }
    }
}

/// Sends one frame, waiting for room as long as the deadline allows. After an error the stream is of no use.
///
/// # Errors
/// Any [`FrameError`] but `WrongFds`, `OutOfMemory` and `Truncated`.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    tag: u32,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    deadline: Option<Deadline>,
) -> Result<(), FrameError> {
    let count = u32::try_from(fds.len()).map_err(|_| FrameError::TooManyFiles)?;
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&tag.to_ne_bytes());
    head[4..8].copy_from_slice(&count.to_ne_bytes());
    head[8..].copy_from_slice(&(bytes.len() as u64).to_ne_bytes());

    let (first, rest) = fds.split_at(fds.len().min(LOT));
    let mut prefix: &[u8] = &head;
    let mut lot = first;
    for next in rest.chunks(LOT) {
        send_all(socket, &mut [IoSlice::new(prefix)], lot, deadline)?;
        (prefix, lot) = (&[0], next);
    }
    send_all(socket, &mut [IoSlice::new(prefix), IoSlice::new(bytes)], lot, deadline)
}

/// Sends all of `slices`; `fds` ride with the first byte.
fn send_all(
    socket: BorrowedFd<'_>,
    mut slices: &mut [IoSlice<'_>],
    mut fds: &[BorrowedFd<'_>],
    deadline: Option<Deadline>,
) -> Result<(), FrameError> {
    let mut space = [MaybeUninit::uninit(); CONTROL];
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(FrameError::TooManyFiles);
        }
        match sendmsg(socket, slices, &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => {
                fds = &[];
                IoSlice::advance_slices(&mut slices, sent);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if !poll::wait(&[(socket, PollFlags::OUT)], deadline)? {
                    return Err(FrameError::TimedOut);
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// How far [`FrameReader::advance`] got.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There is nothing more to read at present.
    Pending,
    /// A whole frame.
    Frame(Frame),
    /// The other end closed between two frames.
    Closed,
}

/// Collects a frame from what has come, without waiting.
#[derive(Debug)]
pub(crate) struct FrameReader {
    max: u64,
    head: [u8; HEAD],
    head_len: usize,
    fillers: usize,
    /// Zeroed room, of which `filled` bytes have come.
    bytes: Vec<u8>,
    filled: usize,
    fds: Vec<OwnedFd>,
}

impl FrameReader {
    /// A reader that refuses frames of more than `max` bytes.
    pub(crate) fn new(max: u64) -> Self {
        Self { max, head: [0; HEAD], head_len: 0, fillers: 0, bytes: Vec::new(), filled: 0, fds: Vec::new() }
    }

    /// Waits for a whole frame; `None` when the other end closed between two frames.
    ///
    /// # Errors
    /// Any [`FrameError`]. After `TimedOut` the reader goes on where it was; after another the stream is of no use.
    pub(crate) fn read(
        &mut self,
        socket: BorrowedFd<'_>,
        deadline: Option<Deadline>,
    ) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.advance(socket)? {
                Progress::Frame(frame) => return Ok(Some(frame)),
                Progress::Closed => return Ok(None),
                Progress::Pending => {
                    if !poll::wait(&[(socket, PollFlags::IN)], deadline)? {
                        return Err(FrameError::TimedOut);
                    }
                }
            }
        }
    }

    /// Reads what has come, up to the end of a frame.
    ///
    /// # Errors
    /// Any [`FrameError`] but `TimedOut`. After one the stream is of no use.
    pub(crate) fn advance(&mut self, socket: BorrowedFd<'_>) -> Result<Progress, FrameError> {
        match self.step(socket) {
            Err(FrameError::Os(Errno::AGAIN)) => Ok(Progress::Pending),
            Err(FrameError::Disconnected) if self.head_len > 0 => Err(FrameError::Truncated),
            progress => progress,
        }
    }

    fn step(&mut self, socket: BorrowedFd<'_>) -> Result<Progress, FrameError> {
        while self.head_len < HEAD {
            let got = receive(socket, &mut self.head[self.head_len..], |fd| self.fds.push(fd))?;
            if got == 0 {
                return if self.head_len == 0 { Ok(Progress::Closed) } else { Err(FrameError::Truncated) };
            }
            self.head_len += got;
            if self.head_len == HEAD {
                let (_, count, len) = parse(&self.head);
                if len > self.max {
                    return Err(FrameError::TooLong { len, max: self.max });
                }
                self.refuse_surplus_fds()?;
                self.fillers = (count as usize).div_ceil(LOT).saturating_sub(1);
            }
        }
        while self.fillers > 0 {
            if receive(socket, &mut [0], |fd| self.fds.push(fd))? == 0 {
                return Err(FrameError::Truncated);
            }
            self.refuse_surplus_fds()?;
            self.fillers -= 1;
        }
        let (tag, count, len) = parse(&self.head);
        let len = usize::try_from(len).map_err(|_| FrameError::OutOfMemory { len })?;
        while self.filled < len {
            if self.filled == self.bytes.len() {
                let room = (len - self.filled).min(self.filled.max(FIRST_ROOM));
                self.bytes.try_reserve(room).map_err(|_| FrameError::OutOfMemory { len: len as u64 })?;
                self.bytes.resize(self.filled + room, 0);
            }
            let got = receive_bytes(socket, &mut self.bytes[self.filled..])?;
            if got == 0 {
                return Err(FrameError::Truncated);
            }
            self.filled += got;
        }
        if self.fds.len() != count as usize {
            return Err(FrameError::WrongFds { expected: count, found: self.fds.len() });
        }
        let bytes = std::mem::take(&mut self.bytes);
        let fds = std::mem::take(&mut self.fds);
        *self = Self::new(self.max);
        Ok(Progress::Frame(Frame { tag, bytes, fds }))
    }

    /// Descriptors are taken in before they are asked for: no more of them than the head says.
    fn refuse_surplus_fds(&self) -> Result<(), FrameError> {
        let (_, expected, _) = parse(&self.head);
        let found = self.fds.len();
        if found > expected as usize { Err(FrameError::WrongFds { expected, found }) } else { Ok(()) }
    }
}

/// Tag, number of descriptors, length.
fn parse(head: &[u8; HEAD]) -> (u32, u32, u64) {
    let [a, b, c, d, e, f, g, h, len @ ..] = *head;
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]), u64::from_ne_bytes(len))
}

/// Receives, without waiting or allocating, a frame of one descriptor and no bytes that was sent by one call: its tag and the
/// descriptor. `None`: it is another frame, or the end of the stream.
///
/// # Errors
/// `Os(AGAIN)`: nothing has come. Any but `TimedOut` and `OutOfMemory`.
pub(crate) fn receive_short(socket: BorrowedFd<'_>) -> Result<Option<(u32, OwnedFd)>, FrameError> {
    let mut head = [0; HEAD];
    let mut only = None;
    let got = receive(socket, &mut head, |fd| only = Some(fd))?;
    let (tag, count, len) = parse(&head);
    let is_short = got == HEAD && (count, len) == (1, 0);
    Ok(only.filter(|_| is_short).map(|fd| (tag, fd)))
}

/// Receives into `into` without waiting, and has the descriptors that ride with those bytes taken. 0 is the end of the stream.
fn receive(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
    mut take: impl FnMut(OwnedFd),
) -> Result<usize, FrameError> {
    let mut space = [MaybeUninit::uninit(); CONTROL];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, flags) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            received.for_each(&mut take);
        }
    }
    // The kernel drops the descriptors that this process has no room for, and says so only here.
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(FrameError::TooManyFiles);
    }
    Ok(message.bytes)
}

/// Receives into `into` without waiting. 0 is the end of the stream.
fn receive_bytes(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, FrameError> {
    loop {
        match recv_bytes(socket, &mut *into, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            received => return Ok(received?.1),
        }
    }
}

/// For this crate's own fuzz targets.
pub(crate) mod testing {
    use std::os::fd::{AsFd, OwnedFd};

    use super::{FrameReader, Progress};

    /// Reads what has come by `socket` as frames of at most `max` bytes: the lengths of their bytes, and how many
    /// descriptors they have.
    pub fn read_frames(socket: &OwnedFd, max: u64) -> Vec<(usize, usize)> {
        let mut reader = FrameReader::new(max);
        let mut frames = Vec::new();
        while let Ok(Progress::Frame(frame)) = reader.advance(socket.as_fd()) {
            frames.push((frame.bytes.len(), frame.fds.len()));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::super::socket::pair;
    use super::*;

    const MAX: u64 = 1 << 30;

    fn read(socket: &OwnedFd) -> Result<Option<Frame>, FrameError> {
        FrameReader::new(MAX).read(socket.as_fd(), Deadline::after(Duration::from_secs(10)))
    }

    #[test]
    fn descriptors_beyond_one_message_are_split() {
        let (left, right) = pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        for count in [0, 1, LOT, LOT + 1, 2 * LOT + 5] {
            let fds = vec![file.as_fd(); count];
            send(left.as_fd(), 9, b"abc", &fds, None).unwrap();
            send(left.as_fd(), 10, b"", &[], None).unwrap();
            let mut reader = FrameReader::new(MAX);
            let frame = reader.read(right.as_fd(), None).unwrap().unwrap();
            assert_eq!((frame.tag, frame.bytes.as_slice(), frame.fds.len()), (9, &b"abc"[..], count));
            let next = reader.read(right.as_fd(), None).unwrap().unwrap();
            assert_eq!((next.tag, next.bytes.len(), next.fds.len()), (10, 0, 0));
        }
    }

    #[test]
    fn a_large_frame_arrives_whole() {
        let (left, right) = pair().unwrap();
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| send(left.as_fd(), 1, &bytes, &[], None).unwrap());
            assert!(read(&right).unwrap().unwrap().bytes == bytes);
        });
    }

    #[test]
    fn an_end_is_told_from_a_truncated_frame() {
        let (left, right) = pair().unwrap();
        drop(left);
        assert!(read(&right).unwrap().is_none());

        for cut in [1, HEAD - 1, HEAD, HEAD + 2] {
            let (left, right) = pair().unwrap();
            let mut frame = Vec::new();
            frame.extend(1_u32.to_ne_bytes());
            frame.extend(0_u32.to_ne_bytes());
            frame.extend(3_u64.to_ne_bytes());
            frame.extend(b"abc");
            UnixStream::from(left).write_all(&frame[..cut]).unwrap();
            assert!(matches!(read(&right), Err(FrameError::Truncated)), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), 1, b"four", &[], None).unwrap();
        let refused = FrameReader::new(3).read(right.as_fd(), None);
        assert!(matches!(refused, Err(FrameError::TooLong { len: 4, max: 3 })));
    }

    #[test]
    fn descriptors_that_did_not_come_are_missed() {
        let (left, right) = pair().unwrap();
        let mut head = Vec::new();
        head.extend(1_u32.to_ne_bytes());
        head.extend(2_u32.to_ne_bytes());
        head.extend(0_u64.to_ne_bytes());
        UnixStream::from(left).write_all(&head).unwrap();
        assert!(matches!(read(&right), Err(FrameError::WrongFds { expected: 2, found: 0 })));
    }

    #[test]
    fn a_deadline_interrupts_a_frame_and_it_goes_on_later() {
        let (left, right) = pair().unwrap();
        let mut reader = FrameReader::new(MAX);
        let soon = || Deadline::after(Duration::from_millis(5));
        assert!(matches!(reader.read(right.as_fd(), soon()), Err(FrameError::TimedOut)));
        send(left.as_fd(), 3, b"x", &[], None).unwrap();
        assert_eq!(reader.read(right.as_fd(), None).unwrap().unwrap().tag, 3);
    }

    #[test]
    fn a_short_frame_has_one_descriptor_and_nothing_else() {
        let (left, right) = pair().unwrap();
        let receive = || receive_short(right.as_fd());
        assert!(matches!(receive(), Err(FrameError::Os(Errno::AGAIN))));
        send(left.as_fd(), 7, b"", &[left.as_fd()], None).unwrap();
        assert!(matches!(receive(), Ok(Some((7, _)))));
        send(left.as_fd(), 7, b"", &[], None).unwrap();
        assert!(matches!(receive(), Ok(None)), "no descriptor");
        send(left.as_fd(), 7, b"", &[left.as_fd(); 2], None).unwrap();
        assert!(matches!(receive(), Ok(None)), "two");
        drop(left);
        assert!(matches!(receive(), Ok(None)), "the end");
    }

    #[test]
    fn sending_to_a_closed_end_is_an_error_and_no_signal() {
        let (left, right) = pair().unwrap();
        drop(right);
        let sent = send(left.as_fd(), 1, b"x", &[], None);
        assert!(matches!(sent, Err(FrameError::Disconnected)));
    }
}
