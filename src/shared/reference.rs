//! How a handle of plain data is written in a message: its object, and its lock, if that is somebody else's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use crate::plain::TypeCode;
use crate::segment::{HEADER_BYTES, Segment, element_code, open_reference};
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

/// The C type that the elements of the object at `offset` are of, which opening it as that checks.
///
/// # Errors
/// [`Mismatch`](crate::error::Error::Mismatch) if they are of none.
pub(super) fn code_at(segment: &Segment, offset: u64) -> crate::error::Result<TypeCode> {
    let load = || {
        let mut header = [0; HEADER_BYTES];
        segment.region().load(usize::try_from(offset).ok()?, &mut header)?;
        element_code(&header)
    };
    load().ok_or_else(|| crate::error::Error::Mismatch {
        object: format!("object at offset {offset}"),
        expected: "elements of a type that has a code".to_owned(),
        found: "others".to_owned(),
    })
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
