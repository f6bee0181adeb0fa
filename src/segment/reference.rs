//! How a handle is written in a message: the descriptor that rides along, and the object's offset in that segment.

use std::os::fd::AsFd;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::placed::Placed;
use super::segment::Segment;
use super::share::Share;
use crate::error::{Error, Result};
use crate::transfer;

/// Reads such a reference and passes it to `open`, whose error reaches whoever decodes the message.
pub(crate) fn open_reference<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    open: impl FnOnce(Segment, u64) -> Result<T>,
) -> Result<T, D::Error> {
    let (index, offset) = <(u32, u64)>::deserialize(deserializer)?;
    let segment = transfer::detach(index).and_then(Segment::from_fd);
    segment.and_then(|segment| open(segment, offset)).map_err(transfer::de_error)
}

impl<H: Share> Placed<H> {
    fn attach(&self) -> Result<(u32, u64)> {
        let index = transfer::attach(self.segment().key(), self.segment().as_fd())?;
        let offset = u64::try_from(self.offset()).map_err(|error| Error::Encode(error.to_string()))?;
        Ok((index, offset))
    }
}

impl<H: Share> Serialize for Placed<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.attach().map_err(transfer::ser_error)?.serialize(serializer)
    }
}
