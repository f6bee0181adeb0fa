//! [`Encoder`] and [`Decoder`]: several values in one message, one after the other.

use std::mem::take;
use std::os::fd::OwnedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{outside, why};
use super::packed::{Packer, Unfit, Unpacker};
use super::table::{Outgoing, Scope, Table};
use super::{failure, table};
use crate::{Error, Result};

/// Encodes values, one after the other; the handles in them put their descriptors beside.
#[derive(Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    outgoing: Outgoing,
}

impl Encoder {
    /// Encodes behind `bytes`.
    pub(crate) fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes, outgoing: Outgoing::default() }
    }

    /// Encodes a value. One that fails leaves no bytes. One with handles is asked twice.
    ///
    /// # Errors
    /// What a handle failed with, or [`Error::Encode`].
    #[inline]
    pub(crate) fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let start = self.bytes.len();
        // As a rule there are no handles in it, and nothing to set up; one that there is refuses.
        if self.outgoing.fds.is_empty() && table::is_absent() {
            match value.serialize(Packer(&mut self.bytes)) {
                Ok(()) => return Ok(()),
                Err(error) => self.refused(start, &error)?,
            }
        }
        self.push_with_handles(start, value)
    }

    /// Takes back what was encoded; an error that is not a handle's is the value's.
    #[cold]
    fn refused(&mut self, start: usize, error: &Unfit) -> Result<()> {
        self.bytes.truncate(start);
        match failure::take() {
            Some(failure) if matches!(*failure, Error::NotInTransfer) => Ok(()),
            failure => Err(why(failure, || Error::Encode(error.to_string()))),
        }
    }

    #[inline(never)]
    fn push_with_handles<T: Serialize + ?Sized>(&mut self, start: usize, value: &T) -> Result<()> {
        let scope = Scope::enter(Table::Sending(take(&mut self.outgoing)));
        let encoded = value.serialize(Packer(&mut self.bytes));
        let (table, failure) = scope.leave();
        if let Table::Sending(outgoing) = table {
            self.outgoing = outgoing;
        }
        encoded.map_err(|error| {
            self.bytes.truncate(start);
            why(failure, || Error::Encode(error.to_string()))
        })
    }

    /// Puts a word behind what was encoded.
    #[inline]
    pub(crate) fn push_word(&mut self, word: u64) {
        self.bytes.extend_from_slice(&word.to_ne_bytes());
    }

    /// Changes the word that was put behind so many bytes.
    #[inline]
    pub(crate) fn set_word(&mut self, at: usize, word: u64) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = word.to_ne_bytes();
        }
    }

    /// Takes back what was encoded from `length` bytes on.
    #[inline]
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, and the descriptors that belong to them.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<OwnedFd>) {
        (self.bytes, self.outgoing.fds)
    }
}

/// Decodes values, one after the other; the handles in them take their descriptors from beside.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
    fds: Vec<OwnedFd>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], fds: Vec<OwnedFd>) -> Self {
        Self { rest: bytes, fds }
    }

    /// The next value.
    ///
    /// # Errors
    /// What a handle failed with, or [`Error::Decode`]; what comes behind can't be decoded then.
    #[inline]
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        if self.fds.is_empty() && table::is_absent() {
            let decoded = T::deserialize(Unpacker(&mut self.rest));
            return decoded.map_err(|error| why(failure::take(), || Error::Decode(error.to_string())));
        }
        self.next_with_handles()
    }

    #[inline(never)]
    fn next_with_handles<T: DeserializeOwned>(&mut self) -> Result<T> {
        if self.fds.is_empty() {
            return outside(|| T::deserialize(Unpacker(&mut self.rest)), Error::Decode)
                .map_err(|error| *error);
        }
        let scope = Scope::enter(Table::Receiving(take(&mut self.fds)));
        let decoded = T::deserialize(Unpacker(&mut self.rest));
        let (table, failure) = scope.leave();
        if let Table::Receiving(fds) = table {
            self.fds = fds;
        }
        decoded.map_err(|error| why(failure, || Error::Decode(error.to_string())))
    }

    /// The next word.
    #[inline]
    pub(crate) fn next_word(&mut self) -> Option<u64> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_ne_bytes(*word))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_their_order() {
        let mut encoder = Encoder::behind(vec![9]);
        encoder.push(&1_u8).unwrap();
        encoder.push_word(7);
        encoder.push("text").unwrap();
        encoder.set_word(2, 8);
        let (bytes, fds) = encoder.into_parts();
        let mut decoder = Decoder::new(&bytes[1..], fds);
        assert_eq!(decoder.next::<u8>().unwrap(), 1);
        assert_eq!(decoder.next_word(), Some(8));
        assert_eq!(decoder.next::<String>().unwrap(), "text");
        assert!(decoder.next::<u32>().is_err() && decoder.next_word().is_none());
    }

    #[test]
    fn handles_in_several_values_find_their_descriptors() {
        let (one, two) =
            (crate::Value::new(1_u8).unwrap(), crate::RawArray::from_slice(&[2_u64; 4096]).unwrap());
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            encoder.push(&one).unwrap();
            encoder.push(&two).unwrap();
        }
        let (bytes, fds) = encoder.into_parts();
        assert_eq!(fds.len(), 2, "each file once");
        let mut decoder = Decoder::new(&bytes, fds);
        for _ in 0..2 {
            assert_eq!(decoder.next::<crate::Value<u8>>().unwrap().get(), 1);
            assert_eq!(decoder.next::<crate::RawArray<u64>>().unwrap().load(0).unwrap(), 2);
        }
    }

    #[test]
    fn a_value_that_fails_leaves_no_bytes() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error, SerializeTuple};
                let mut tuple = serializer.serialize_tuple(2)?;
                tuple.serialize_element(&1_u64)?;
                Err(S::Error::custom("on purpose"))
            }
        }
        let mut encoder = Encoder::default();
        encoder.push(&3_u8).unwrap();
        assert!(matches!(encoder.push(&Fails), Err(Error::Encode(_))));
        assert_eq!(encoder.bytes(), [3]);
    }
}
