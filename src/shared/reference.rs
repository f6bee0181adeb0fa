//! How a handle of plain data is written in a message: its object, and its lock, if that is somebody else's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use crate::segment::{Segment, open_reference};
use crate::sync::ChosenLock;

/// Reads an object, which `open` opens, and its lock, and passes both to `join`. Their errors reach whoever decodes the
/// message.
pub(super) fn open<'de, D: Deserializer<'de>, O, T>(
    deserializer: D,
    open: impl FnOnce(Segment, u64) -> crate::error::Result<O>,
    join: impl FnOnce(O, ChosenLock) -> crate::error::Result<T>,
) -> Result<T, D::Error> {
    let (object, lock) = deserializer.deserialize_tuple(2, ObjectAndLock(open))?;
    join(object, lock).map_err(crate::transfer::de_error)
}

/// `open` for the object of an object and a lock.
struct ObjectAndLock<F>(F);

/// `open` for an object.
struct Object<F>(F);

impl<'de, O, F> Visitor<'de> for ObjectAndLock<F>
where
    F: FnOnce(Segment, u64) -> crate::error::Result<O>,
{
    type Value = (O, ChosenLock);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object and a lock")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let object = parts.next_element_seed(Object(self.0))?;
        let object = object.ok_or_else(|| A::Error::invalid_length(0, &"an object"))?;
        let lock = parts.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &"a lock"))?;
        Ok((object, lock))
    }
}

impl<'de, O, F> DeserializeSeed<'de> for Object<F>
where
    F: FnOnce(Segment, u64) -> crate::error::Result<O>,
{
    type Value = O;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<O, D::Error> {
        open_reference(deserializer, self.0)
    }
}
