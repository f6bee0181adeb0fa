//! [`Room`]: where an item of a queue becomes postcard's bytes.
//!
//! The bytes are postcard's own, which reads them. Its serialiser puts a number together byte by byte in memory and has it
//! copied; whoever loads it as a word then waits until all its bytes have reached the cache. Here a number is made in a register
//! and stored at once.

use postcard::Error;
use serde::ser::{self, Serialize, Serializer};

use super::codec::spare;

/// Bytes of an item that need no memory from elsewhere: a line, as much as a short one takes in a queue.
const SHORT: usize = 64;

/// Room for an item: on the stack for a short one, in the thread's spare buffer for others.
pub(super) struct Room {
    /// A word more, for the zeros behind a number at the end.
    short: [u8; SHORT + 8],
    /// Of the bytes there; beyond all bounds if they are in `long`.
    length: usize,
    long: Vec<u8>,
}

impl Room {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { short: [0; SHORT + 8], length: 0, long: Vec::new() }
    }

    #[inline(always)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.short.get(..self.length).unwrap_or(&self.long)
    }

    /// The spare buffer, if it was taken.
    #[inline(always)]
    pub(super) fn into_long(self) -> Option<Vec<u8>> {
        (self.length > SHORT).then_some(self.long)
    }

    /// Adds the first `count` bytes of `value`, 1 to 8; the others are 0.
    #[inline(always)]
    fn put(&mut self, value: u64, count: usize) {
        let end = self.length.saturating_add(count);
        match self.short.get_mut(self.length..).and_then(|rest| rest.first_chunk_mut()) {
            Some(place) if end <= SHORT => {
                *place = value.to_le_bytes();
                self.length = end;
            }
            _ => self.put_long(value, count),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_long(&mut self, value: u64, count: usize) {
        self.extend_long(value.to_le_bytes().get(..count).unwrap_or_default());
    }

    /// Adds what `short` has no room for.
    #[inline(never)]
    fn extend_long(&mut self, bytes: &[u8]) {
        if let Some(short) = self.short.get(..self.length) {
            self.long = spare();
            self.long.extend_from_slice(short);
            self.length = usize::MAX;
        }
        self.long.extend_from_slice(bytes);
    }

    /// Adds a number in postcard's varying width: seven bits to a byte, the lowest first, and a bit that says whether more come.
    #[inline(always)]
    fn put_varying(&mut self, value: u64) {
        if value < 0x80 {
            return self.put(value, 1);
        }
        if value < 1 << 56 {
            let count = 64_u32.saturating_sub(value.leading_zeros()).div_ceil(7);
            let more = !(u64::MAX << (count.saturating_sub(1) * 8));
            return self.put(sevens(value) | (MORE & more), count as usize);
        }
        self.put(sevens(value & ((1 << 56) - 1)) | MORE, 8);
        let rest = value >> 56;
        if rest < 0x80 { self.put(rest, 1) } else { self.put(rest | 0x100, 2) }
    }

    /// As [`put_varying`](Self::put_varying).
    #[inline(never)]
    fn put_varying_128(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.put((value & 0x7f | 0x80) as u64, 1);
            value >>= 7;
        }
        self.put(value as u64, 1);
    }

    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        if bytes.len() > SHORT {
            return self.extend_long(bytes);
        }
        let (whole, rest) = bytes.as_chunks();
        whole.iter().for_each(|word| self.put(u64::from_le_bytes(*word), 8));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.put(u64::from_le_bytes(last), rest.len());
        }
    }

    #[inline]
    fn put_length(&mut self, length: Option<usize>) -> Result<&mut Self, Error> {
        self.put_varying(length.ok_or(Error::SerializeSeqLengthUnknown)? as u64);
        Ok(self)
    }

    #[inline]
    fn put_variant(&mut self, index: u32) -> &mut Self {
        self.put_varying(index.into());
        self
    }
}

/// In each byte, that more come.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Eight times seven bits, each in a byte of its own.
#[inline(always)]
fn sevens(value: u64) -> u64 {
    let value = value & 0x0fff_ffff | (value & 0x00ff_ffff_f000_0000) << 4;
    let value = value & 0x0000_3fff_0000_3fff | (value & 0x0fff_c000_0fff_c000) << 2;
    value & 0x007f_007f_007f_007f | (value & 0x3f80_3f80_3f80_3f80) << 1
}

/// A number whose lowest bit is the sign, so that small negative ones are short.
#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The methods for numbers of a type, as `put` puts them.
macro_rules! numbers {
    ($($method:ident($room:ident, $value:ident: $type:ty) $put:expr;)*) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<(), Error> {
            let $room = self;
            $put;
            Ok(())
        }
    )*};
}

impl Serializer for &mut Room {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_bool(room, value: bool) room.put(value.into(), 1);
        serialize_u8(room, value: u8) room.put(value.into(), 1);
        serialize_u16(room, value: u16) room.put_varying(value.into());
        serialize_u32(room, value: u32) room.put_varying(value.into());
        serialize_u64(room, value: u64) room.put_varying(value);
        serialize_u128(room, value: u128) room.put_varying_128(value);
        serialize_i8(room, value: i8) room.put(value.cast_unsigned().into(), 1);
        serialize_i16(room, value: i16) room.put_varying(zigzag(value.into()));
        serialize_i32(room, value: i32) room.put_varying(zigzag(value.into()));
        serialize_i64(room, value: i64) room.put_varying(zigzag(value));
        serialize_i128(room, value: i128) room.put_varying_128(((value << 1) ^ (value >> 127)).cast_unsigned());
        serialize_f32(room, value: f32) room.put(value.to_bits().into(), 4);
        serialize_f64(room, value: f64) room.put(value.to_bits(), 8);
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.put_length(Some(value.len()))?.put_bytes(value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.put(1, 1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Error> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self.put_variant(index))
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Error> {
        self.put_length(length)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        Ok(self.put_variant(index))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self, Error> {
        self.put_length(length)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        Ok(self.put_variant(index))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Values whose parts follow one another.
macro_rules! parts {
    ($($kind:ident: $($method:ident($($name:ident)?)),+;)*) => {$(
        impl ser::$kind for &mut Room {
            type Ok = ();
            type Error = Error;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? part: &T) -> Result<(), Error> {
                $(let _ = $name;)?
                part.serialize(&mut **self)
            })+

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(name);
    SerializeStructVariant: serialize_field(name);
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Serialize)]
    enum Kind {
        Unit,
        New(i32),
        Tuple(u8, i64),
        Struct { a: Option<char>, b: () },
    }

    #[derive(serde::Serialize)]
    struct All(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, bool);

    /// As postcard would have written it, at each place in a word and across the end of the stack's room.
    fn check<T: Serialize>(value: &T) {
        for before in [0, 1, 2, 3, 4, 5, 6, 7, 55, 56, 57, 62, 63, 64, 65, 100] {
            let value = (vec![true; before], value, 1_u8);
            let mut room = Room::new();
            value.serialize(&mut room).unwrap();
            assert_eq!(room.as_bytes(), postcard::to_stdvec(&value).unwrap(), "behind {before} bytes");
        }
    }

    #[test]
    fn numbers_of_every_width_are_postcards() {
        for shift in 0..128 {
            let power = 1_u128 << shift;
            for number in [power.wrapping_sub(1), power, power.wrapping_add(1), power.wrapping_neg(), !power]
            {
                check(&All(
                    number as i8,
                    number as i16,
                    number as i32,
                    number as i64,
                    number as i128,
                    number as u8,
                    number as u16,
                    number as u32,
                    number as u64,
                    number,
                    number & 1 == 1,
                ));
            }
        }
        check(&(f32::MIN, f64::NAN, -0.0_f32, 1.5_f64));
    }

    #[test]
    fn values_of_every_kind_are_postcards() {
        for kind in
            [Kind::Unit, Kind::New(-5), Kind::Tuple(9, i64::MIN), Kind::Struct { a: Some('é'), b: () }]
        {
            check(&kind);
        }
        let map: BTreeMap<_, _> = (0..40_u32).map(|key| (key, format!("number {key}"))).collect();
        check(&map);
        for length in [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 20_000] {
            check(&"x".repeat(length));
            check(&(vec![300_u16; length], Some([1_u8; 3]), None::<u8>));
        }
        check(&'\u{10ffff}');
        check(&std::net::Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn a_sequence_must_say_how_long_it_is() {
        assert!((&mut Room::new()).serialize_seq(None).is_err());
    }
}
