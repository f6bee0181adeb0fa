//! [`Wire`]: the socket between a pool and one of its workers, for what does not go through the rings: descriptors, and
//! messages that are too long.
//!
//! A message is up to two frames. Long bytes come first, as an array in memory of their own, so that no frame fills the
//! socket and nobody waits for a stopped reader:
//! ```text
//! LONG   a `RawArray<u8>`, which is the bytes of the message that follows
//! tag    head, then the bytes if they are short; with the message's descriptors
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys::frame::{self, FrameReader, Progress};
use crate::sys::{Deadline, memfd};
use crate::transfer::{self, Message, attach, de_error, detach, ser_error};
use crate::{Error, RawArray, Result};

/// Frame: the bytes of the next one.
const LONG: u32 = 0x4d50_0101;
/// Frame: a worker asks for the arguments of the task whose id this is.
pub(super) const ASK: u32 = 0x4d50_0102;
/// Frame: arguments, behind the task's id.
pub(super) const ARGUMENTS: u32 = 0x4d50_0103;
/// Frame: a result, behind its head.
pub(super) const RESULT: u32 = 0x4d50_0104;

/// More bytes are long.
const SHORT: usize = 16 << 10;
/// A worker that does not read for so long is as good as dead: what it was to be sent is small.
const PATIENCE: Duration = Duration::from_secs(5);

/// One end of the socket.
pub(super) struct Wire {
    socket: OwnedFd,
    reader: FrameReader,
    long: Option<Vec<u8>>,
}

/// What came.
pub(super) struct Parcel {
    pub(super) tag: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// What a look at the socket gave.
pub(super) enum Look {
    Parcel(Parcel),
    /// Nothing so far.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

impl Wire {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, reader: FrameReader::new(u64::MAX), long: None }
    }

    /// Sends `head` and `bytes`, with descriptors.
    ///
    /// # Errors
    /// The other end is gone, or a limit of descriptors or memory is reached.
    pub(super) fn send(&self, tag: u32, head: &[u8], bytes: &[u8], fds: &[OwnedFd]) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if bytes.len() <= SHORT {
            return Ok(frame::send(self.as_fd(), tag, &[head, bytes].concat(), &fds, deadline)?);
        }
        let long = transfer::encode(&RawArray::from_slice(bytes)?)?;
        let long_fds: Vec<_> = long.fds.iter().map(AsFd::as_fd).collect();
        frame::send(self.as_fd(), LONG, &long.bytes, &long_fds, deadline)?;
        Ok(frame::send(self.as_fd(), tag, head, &fds, deadline)?)
    }

    /// What has come, without waiting.
    ///
    /// # Errors
    /// It is not what [`send`](Self::send) sends.
    pub(super) fn look(&mut self) -> Result<Look> {
        loop {
            let frame = match self.reader.advance(self.socket.as_fd()) {
                Ok(Progress::Frame(frame)) => frame,
                Ok(Progress::Pending) => return Ok(Look::Nothing),
                // It died while it sent something.
                Ok(Progress::Closed)
                | Err(frame::FrameError::Disconnected | frame::FrameError::Truncated) => {
                    return Ok(Look::Closed);
                }
                Err(error) => return Err(error.into()),
            };
            let frame::Frame { tag, mut bytes, fds } = frame;
            if tag == LONG {
                let array: RawArray<u8> = transfer::decode(Message { bytes, fds })?;
                self.long = Some(array.to_vec());
                continue;
            }
            bytes.extend(self.long.take().unwrap_or_default());
            return Ok(Look::Parcel(Parcel { tag, bytes, fds }));
        }
    }

    /// Waits for what comes next; `None` if nothing will.
    ///
    /// # Errors
    /// As for [`look`](Self::look).
    pub(super) fn read(&mut self) -> Result<Option<Parcel>> {
        loop {
            match self.look()? {
                Look::Parcel(parcel) => return Ok(Some(parcel)),
                Look::Closed => return Ok(None),
                Look::Nothing => {
                    let fds = [(self.as_fd(), rustix::event::PollFlags::IN)];
                    crate::sys::poll::wait(&fds, None)
                        .map_err(|errno| Error::os("read from a pool", errno))?;
                }
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// It travels in the arguments of a worker.
impl Serialize for Wire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let facts = memfd::facts(self.as_fd()).map_err(ser_error)?;
        let index = attach(facts.key, self.as_fd()).map_err(ser_error)?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(detach(u32::deserialize(deserializer)?).map_err(de_error)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_messages_arrive_with_their_descriptors() {
        let (left, right) = crate::sys::socket::pair().unwrap();
        let (left, mut right) = (Wire::new(left), Wire::new(right));
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        for length in [0, 10, SHORT, SHORT + 1, 3_000_000] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            left.send(RESULT, b"head", &bytes, std::slice::from_ref(&file)).unwrap();
            let parcel = right.read().unwrap().unwrap();
            assert_eq!((parcel.tag, parcel.fds.len()), (RESULT, 1));
            assert!(parcel.bytes.strip_prefix(b"head").unwrap() == bytes);
        }
        assert!(matches!(right.look(), Ok(Look::Nothing)));
        drop(left);
        // Not at once: a fork that another test made just now has the other end, too.
        assert!(right.read().unwrap().is_none());
    }
}
