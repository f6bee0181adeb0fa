//! [`Postcard`]: any serde type.

use super::codec::{Buffer, Payload};

/// The codec of every type that serde can serialise, in the [postcard](https://docs.rs/postcard) format; the default.
///
/// `Vec<u8>`, `Box<[u8]>` and `String` go as the bytes that they are, at the speed of a copy; inside of other types they
/// do so with `serde_bytes`. Needs the feature `serde`.
///
/// # Examples
/// ```
/// let queue = multiproc::Queue::bounded(4)?; // Its codec is `Postcard`.
/// queue.put(("any type".to_owned(), Some(1)))?;
/// assert_eq!(queue.get()?, ("any type".to_owned(), Some(1)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

/// Bytes of an item that need no memory from elsewhere: as many as lie in a slot.
const SHORT: usize = 48;

/// Room for the bytes of one item of any length, without an allocation if they are few.
///
/// # Examples
/// ```
/// use multiproc::{Codec, Postcard, PostcardBuffer};
/// let bytes = PostcardBuffer::from(vec![2, b'h', b'i']);
/// assert_eq!(<Postcard as Codec<(String,)>>::decode(bytes), Ok(("hi".to_owned(),)));
/// ```
#[derive(Clone, Debug)]
pub struct PostcardBuffer {
    short: [u8; SHORT],
    /// Bytes in all.
    length: usize,
    /// All of them, if they are too many.
    long: Vec<u8>,
}

#[cfg(feature = "serde")]
impl PostcardBuffer {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self.short.get(..self.length).unwrap_or(&self.long)
    }

    fn into_vec(self) -> Vec<u8> {
        match self.short.get(..self.length) {
            Some(bytes) => bytes.to_vec(),
            None => self.long,
        }
    }
}

impl Default for PostcardBuffer {
    #[inline]
    fn default() -> Self {
        Self { short: [0; SHORT], length: 0, long: Vec::new() }
    }
}

impl From<Vec<u8>> for PostcardBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        let mut buffer = Self::default();
        buffer.fill(Payload::new(&bytes));
        buffer
    }
}

impl Buffer for PostcardBuffer {
    #[inline(always)]
    fn fill(&mut self, payload: Payload<'_>) {
        self.length = payload.len();
        match self.short.get(..payload.len()) {
            Some(_) => payload.copy_short(&mut self.short),
            None => payload.append_to(&mut self.long),
        }
    }
}

#[cfg(feature = "serde")]
mod implementation {
    use std::any::{Any, TypeId};

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::{Postcard, PostcardBuffer};
    use crate::error::Error;
    use crate::queue::Codec;
    use crate::transfer;

    impl<T: Serialize + DeserializeOwned + 'static> Codec<T> for Postcard {
        const NAME: &'static str = "postcard";
        type Buffer = PostcardBuffer;

        #[inline(always)] // As with `Plain`: results stay in registers.
        fn encode<R>(item: &T, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
            match as_bytes(item) {
                Some(bytes) => Ok(put(bytes)),
                None => transfer::encode_item(item, put).map_err(|error| text(*error)),
            }
        }

        #[inline(always)]
        fn decode(bytes: PostcardBuffer) -> Result<T, String> {
            if is_bytes::<T>() {
                return from_bytes(bytes);
            }
            transfer::decode_item(bytes.as_bytes()).map_err(|error| text(*error))
        }
    }

    /// The bytes of a byte string or a text. (Which types those are is known when this is compiled.)
    #[inline]
    fn as_bytes<T: 'static>(item: &T) -> Option<&[u8]> {
        let item = item as &dyn Any;
        let vector = item.downcast_ref::<Vec<u8>>().map(Vec::as_slice);
        let boxed = || item.downcast_ref::<Box<[u8]>>().map(AsRef::as_ref);
        let text = || item.downcast_ref::<String>().map(String::as_bytes);
        vector.or_else(boxed).or_else(text)
    }

    /// Whether it is a byte string or a text.
    #[inline(always)]
    fn is_bytes<T: 'static>() -> bool {
        let id = TypeId::of::<T>();
        [TypeId::of::<Vec<u8>>(), TypeId::of::<Box<[u8]>>(), TypeId::of::<String>()].contains(&id)
    }

    /// The byte string or the text of these bytes.
    fn from_bytes<T: 'static>(bytes: PostcardBuffer) -> Result<T, String> {
        let mut item = None::<T>;
        let slot = &mut item as &mut dyn Any;
        if let Some(vector) = slot.downcast_mut::<Option<Vec<u8>>>() {
            *vector = Some(bytes.into_vec());
        } else if let Some(boxed) = slot.downcast_mut::<Option<Box<[u8]>>>() {
            *boxed = Some(bytes.into_vec().into_boxed_slice());
        } else if let Some(text) = slot.downcast_mut::<Option<String>>() {
            *text = Some(String::from_utf8(bytes.into_vec()).map_err(|error| error.to_string())?);
        }
        item.ok_or_else(|| "no byte string".to_owned())
    }

    /// Why, without the operation, which the queue's own error names.
    #[cold]
    #[inline(never)]
    fn text(error: Error) -> String {
        match error {
            Error::Encode(why) | Error::Decode(why) => why,
            other => other.to_string(),
        }
    }
}
