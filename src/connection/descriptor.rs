//! [`Descriptor`]: a file descriptor that travels in messages.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::transfer;

/// A file descriptor that travels in messages, in process arguments and in results: the receiver gets a descriptor of
/// its own of the same open file, close-on-exec.
///
/// # Examples
/// ```
/// use multiproc::connection::Descriptor;
/// use std::io::Read;
/// use std::os::fd::OwnedFd;
///
/// let (reader, mut writer) = std::io::pipe().expect("a free descriptor");
/// let (left, right) = multiproc::pipe()?;
/// left.send(&Descriptor::from(OwnedFd::from(reader)))?;
/// let received: OwnedFd = right.recv::<Descriptor>()?.into();
///
/// std::io::Write::write_all(&mut writer, b"hello").expect("somebody reads");
/// drop(writer);
/// let mut text = String::new();
/// std::fs::File::from(received).read_to_string(&mut text).expect("a text");
/// assert_eq!(text, "hello");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
pub struct Descriptor(OwnedFd);

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Descriptor> for OwnedFd {
    fn from(descriptor: Descriptor) -> Self {
        descriptor.0
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = transfer::attach_own(self.as_fd()).map_err(transfer::ser_error)?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        transfer::detach(index).map(Self).map_err(transfer::de_error)
    }
}
