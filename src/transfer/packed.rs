//! [`Packer`] and [`Unpacker`]: serde's values between processes of one program, which read back what they know the type of.
//!
//! Numbers have their own width and this machine's order of bytes, so that writing one is a store, and reading it a look at
//! the length and a load: of a map over many small items, nothing else is left to do. In postcard's varying width each takes
//! a loop.
//!
//! ```text
//! number, bool, char   its bytes; a bool is one of 0 or 1, a char four
//! text, bytes          how many, in eight bytes, then they
//! option               one byte of 0; or of 1, and the value
//! sequence, map        how many, in eight bytes, then the elements, or keys and values by turns
//! tuple, struct        the fields, one after the other
//! enum                 the number of the variant in four bytes, then what it has
//! unit                 nothing
//! ```

use std::error::Error;
use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde::{Deserializer, Serialize, Serializer, ser};

/// Why a value can't be packed, or unpacked.
#[derive(Debug)]
pub(super) struct Unfit(Box<str>);

impl Unfit {
    #[cold]
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string().into_boxed_str())
    }

    #[cold]
    fn too_short() -> Self {
        Self::new("the message ends within a value")
    }

    #[cold]
    fn untyped() -> Self {
        Self::new("the message does not say of what type a value is")
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unfit {}

impl ser::Error for Unfit {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why)
    }
}

impl de::Error for Unfit {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why)
    }
}

/// Writes a value behind the bytes.
pub(super) struct Packer<'a>(pub(super) &'a mut Vec<u8>);

impl<'a> Packer<'a> {
    #[inline]
    fn put(self, bytes: &[u8]) -> Result<(), Unfit> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn put_length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_ne_bytes());
    }

    /// Elements whose number is put in front at the end.
    #[inline]
    fn counted(mut self) -> Parts<'a> {
        let place = self.0.len();
        self.put_length(0);
        Parts { bytes: self.0, count: Some((place, 0)) }
    }

    #[inline]
    fn uncounted(self) -> Parts<'a> {
        Parts { bytes: self.0, count: None }
    }

    #[inline]
    fn variant(self, index: u32) -> Parts<'a> {
        self.0.extend_from_slice(&index.to_ne_bytes());
        self.uncounted()
    }
}

/// The methods for types that are put as their bytes.
macro_rules! put_numbers {
    ($($method:ident: $type:ty,)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), Unfit> {
            self.put(&value.to_ne_bytes())
        }
    )*};
}

impl<'a> Serializer for Packer<'a> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    put_numbers! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Unfit> {
        self.put(&[u8::from(value)])
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), Unfit> {
        self.put(&u32::from(value).to_ne_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Unfit> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(mut self, value: &[u8]) -> Result<(), Unfit> {
        self.put_length(value.len());
        self.put(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Unfit> {
        self.put(&[0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unfit> {
        self.0.push(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Unfit> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unfit> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Unfit> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        self.variant(index).part(value)
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Unfit> {
        Ok(self.counted())
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Unfit> {
        Ok(self.uncounted())
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Unfit> {
        Ok(self.uncounted())
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Unfit> {
        Ok(self.variant(index))
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Unfit> {
        Ok(self.counted())
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Unfit> {
        Ok(self.uncounted())
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Unfit> {
        Ok(self.variant(index))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Writes the parts of a value, one after the other.
pub(super) struct Parts<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where their number is to be, and what it is so far.
    count: Option<(usize, u64)>,
}

impl Parts<'_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        value.serialize(Packer(self.bytes))
    }

    #[inline]
    fn counted_part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        if let Some((_, count)) = &mut self.count {
            *count += 1;
        }
        self.part(value)
    }

    #[inline]
    fn finish(self) -> Result<(), Unfit> {
        if let Some((place, count)) = self.count
            && let Some(place) = self.bytes.get_mut(place..).and_then(|rest| rest.first_chunk_mut())
        {
            *place = count.to_ne_bytes();
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = Unfit;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.counted_part(value)
    }

    #[inline]
    fn end(self) -> Result<(), Unfit> {
        self.finish()
    }
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Unfit;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        self.counted_part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.part(value)
    }

    #[inline]
    fn end(self) -> Result<(), Unfit> {
        self.finish()
    }
}

/// Values whose parts follow one another, and nothing says how many they are.
macro_rules! uncounted {
    ($($kind:ident $method:ident),*) => {$(
        impl ser::$kind for Parts<'_> {
            type Ok = ();
            type Error = Unfit;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Result<(), Unfit> {
                self.finish()
            }
        }
    )*};
}

uncounted!(SerializeTuple serialize_element, SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

/// As [`uncounted`], of fields with names, which are not written.
macro_rules! named {
    ($($kind:ident),*) => {$(
        impl ser::$kind for Parts<'_> {
            type Ok = ();
            type Error = Unfit;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Unfit> {
                self.part(value)
            }

            /// What is left out here is missing there, where nothing says so.
            fn skip_field(&mut self, name: &'static str) -> Result<(), Unfit> {
                Err(Unfit::new(format_args!("the field {name} is left out, which the message could not say")))
            }

            #[inline]
            fn end(self) -> Result<(), Unfit> {
                self.finish()
            }
        }
    )*};
}

named!(SerializeStruct, SerializeStructVariant);

/// Reads a value from the front of the bytes.
pub(super) struct Unpacker<'b, 'de>(pub(super) &'b mut &'de [u8]);

impl<'de> Unpacker<'_, 'de> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unfit> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or_else(Unfit::too_short)?;
        *self.0 = rest;
        Ok(*bytes)
    }

    #[inline]
    fn take_length(&mut self) -> Result<u64, Unfit> {
        self.take().map(u64::from_ne_bytes)
    }

    #[inline]
    fn take_bytes(&mut self) -> Result<&'de [u8], Unfit> {
        let length = usize::try_from(self.take_length()?).map_err(|_| Unfit::too_short())?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(Unfit::too_short)?;
        *self.0 = rest;
        Ok(bytes)
    }

    fn take_text(&mut self) -> Result<&'de str, Unfit> {
        std::str::from_utf8(self.take_bytes()?).map_err(Unfit::new)
    }

    #[inline]
    fn parts(&mut self, left: u64) -> Left<'_, 'de> {
        Left { bytes: self.0, left }
    }
}

/// The methods for types that are taken as their bytes.
macro_rules! take_numbers {
    ($($method:ident $visit:ident: $type:ty,)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
            visitor.$visit(<$type>::from_ne_bytes(self.take()?))
        }
    )*};
}

impl<'de> Deserializer<'de> for Unpacker<'_, 'de> {
    type Error = Unfit;

    take_numbers! {
        deserialize_i8 visit_i8: i8,
        deserialize_i16 visit_i16: i16,
        deserialize_i32 visit_i32: i32,
        deserialize_i64 visit_i64: i64,
        deserialize_i128 visit_i128: i128,
        deserialize_u8 visit_u8: u8,
        deserialize_u16 visit_u16: u16,
        deserialize_u32 visit_u32: u32,
        deserialize_u64 visit_u64: u64,
        deserialize_u128 visit_u128: u128,
        deserialize_f32 visit_f32: f32,
        deserialize_f64 visit_f64: f64,
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        match self.take()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            [other] => Err(Unfit::new(format_args!("a bool is {other}"))),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        let code = u32::from_ne_bytes(self.take()?);
        let value = char::from_u32(code).ok_or_else(|| Unfit::new(format_args!("a char is {code:#x}")))?;
        visitor.visit_char(value)
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_borrowed_str(self.take_text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        match self.take()? {
            [0] => visitor.visit_none(),
            [1] => visitor.visit_some(self),
            [other] => Err(Unfit::new(format_args!("an option is {other}"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        let count = self.take_length()?;
        visitor.visit_seq(self.parts(count))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(mut self, length: usize, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_seq(self.parts(length as u64))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        let count = self.take_length()?;
        visitor.visit_map(self.parts(count))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit::untyped())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit::untyped())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit::untyped())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a value that are still to be read.
struct Left<'b, 'de> {
    bytes: &'b mut &'de [u8],
    left: u64,
}

impl<'de> Left<'_, 'de> {
    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unfit> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(Unpacker(self.bytes)).map(Some)
    }

    /// What room is made for: no more than could be there.
    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(usize::try_from(self.left).unwrap_or(usize::MAX).min(self.bytes.len()))
    }
}

impl<'de> de::SeqAccess<'de> for Left<'_, 'de> {
    type Error = Unfit;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unfit> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> de::MapAccess<'de> for Left<'_, 'de> {
    type Error = Unfit;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unfit> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Unfit> {
        seed.deserialize(Unpacker(self.bytes))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> de::EnumAccess<'de> for Unpacker<'_, 'de> {
    type Error = Unfit;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<(S::Value, Self), Unfit> {
        let index: U32Deserializer<Unfit> = u32::from_ne_bytes(self.take()?).into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Unpacker<'_, 'de> {
    type Error = Unfit;

    #[inline]
    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Unfit> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::net::IpAddr;
    use std::time::Duration;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn pack(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.serialize(Packer(&mut bytes)).unwrap();
        bytes
    }

    fn unpack<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, Unfit> {
        T::deserialize(Unpacker(&mut bytes)).inspect(|_| assert!(bytes.is_empty(), "left over: {bytes:?}"))
    }

    /// It comes back as it is, and from no part of its bytes.
    fn travels<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let bytes = pack(value);
        assert_eq!(&unpack::<T>(&bytes).unwrap(), value);
        for end in 0..bytes.len() {
            assert!(T::deserialize(Unpacker(&mut &bytes[..end])).is_err(), "{value:?} from {end} bytes");
        }
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Shape {
        Unit,
        Newtype(Box<Shape>),
        Tuple(u8, i64),
        Struct { name: String, at: Option<(f32, f64)> },
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Unit;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Newtype(u128);

    #[test]
    fn every_kind_of_value_comes_back() {
        travels(&(1_u8, -2_i8, 3_u16, -4_i16, 5_u32, -6_i32, 7_u64, -8_i64, (9_u128, -10_i128)));
        travels(&(u64::MAX, usize::MAX, i128::MIN, 0.1_f32, f64::MIN_POSITIVE));
        travels(&(true, false, 'x', '\u{10ffff}', (), Unit, Newtype(11)));
        travels(&("text ä".to_owned(), String::new(), [1_u16; 4], Some(Some(3)), Some(None::<u8>)));
        travels(&vec![vec![], vec![(1, "a".to_owned())], vec![(2, String::new()); 40]]);
        travels(&BTreeMap::from([(1, vec!["one".to_owned()]), (2, Vec::new())]));
        let named = |at| Shape::Struct { name: "s".to_owned(), at };
        travels(&[
            Shape::Unit,
            Shape::Newtype(Box::new(Shape::Tuple(1, -2))),
            named(None),
            named(Some((1.0, 2.0))),
        ]);
        travels(&(Duration::new(3, 4), "::1".parse::<IpAddr>().unwrap(), Ok::<u8, String>(5), 1..9_u32));
        assert_eq!(pack(&[1_u64; 3]).len(), 24);
    }

    #[test]
    fn what_does_not_say_how_long_it_is_comes_back() {
        struct Odd(Vec<u32>);
        impl Serialize for Odd {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().filter(|number| *number % 2 == 1))
            }
        }
        assert_eq!(unpack::<Vec<u32>>(&pack(&Odd(vec![1, 2, 3, 4, 5]))).unwrap(), [1, 3, 5]);
    }

    #[test]
    fn bytes_that_are_no_such_value_are_refused() {
        assert!(unpack::<bool>(&[2]).is_err() && unpack::<Option<u8>>(&[2, 0]).is_err());
        assert!(unpack::<char>(&0xd800_u32.to_ne_bytes()).is_err());
        assert!(unpack::<Shape>(&9_u32.to_ne_bytes()).is_err());
        let not_text = [1_u64.to_ne_bytes().as_slice(), &[0xff]].concat();
        assert!(unpack::<String>(&not_text).is_err());
        for long in [9_u64, u64::MAX] {
            assert!(unpack::<String>(&long.to_ne_bytes()).is_err());
            assert!(unpack::<Vec<u64>>(&long.to_ne_bytes()).is_err());
        }
    }

    #[test]
    fn a_type_that_asks_what_comes_is_refused_by_name() {
        #[derive(Serialize, Deserialize, Debug)]
        #[serde(untagged)]
        enum Either {
            Number(u8),
        }
        let why = unpack::<Either>(&pack(&Either::Number(1))).unwrap_err().to_string();
        assert!(why.contains("does not say of what type"), "{why}");
        #[derive(Serialize)]
        struct Gaps {
            #[serde(skip_serializing_if = "Option::is_none")]
            gap: Option<u8>,
        }
        let why = Gaps { gap: None }.serialize(Packer(&mut Vec::new())).unwrap_err().to_string();
        assert!(why.contains("the field gap"), "{why}");
    }
}
