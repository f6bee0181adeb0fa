//! [`Codec`]: how an item becomes bytes and an item again.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;

use bytemuck::Pod;

use crate::raw;

/// How the items of a queue become bytes, and items again.
///
/// Encoding happens in `put`, in the caller: what can't be encoded is an error there, and the queue is unchanged. Both ends
/// of a queue use the same codec; opening it with another is [`Error::Mismatch`](crate::Error::Mismatch).
///
/// # Examples
/// ```
/// use multiproc::{Codec, QueueOptions};
///
/// /// Numbers as text.
/// struct Decimal;
///
/// impl Codec<u32> for Decimal {
///     const NAME: &'static str = "decimal";
///     type Buffer = Vec<u8>;
///
///     fn encode<R>(item: &u32, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
///         Ok(put(item.to_string().as_bytes()))
///     }
///
///     fn decode(bytes: Vec<u8>) -> Result<u32, String> {
///         let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
///         text.parse().map_err(|_| format!("expected a number, found {text:?}"))
///     }
/// }
///
/// let queue = QueueOptions::new(4).codec(Decimal).queue()?;
/// queue.put(1234)?;
/// assert_eq!(queue.get()?, 1234);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait Codec<T>: 'static {
    /// What tells its queues from those of other codecs: part of the type that is checked when one is opened.
    const NAME: &'static str;

    /// How many bytes every item takes, if it is always as many: the queue then reserves no more for one.
    const BYTES: Option<usize> = None;

    /// Where the bytes of an item go on their way out of the queue: `Vec<u8>`, unless they are always as many.
    type Buffer: Buffer;

    /// Passes the bytes of `item` to `put`.
    ///
    /// # Errors
    /// Why the item can't be encoded.
    fn encode<R>(item: &T, put: impl FnOnce(&[u8]) -> R) -> Result<R, String>;

    /// The item that these bytes are.
    ///
    /// # Errors
    /// Why they are none. The item is gone then.
    fn decode(bytes: Self::Buffer) -> Result<T, String>;
}

/// Where a [`Codec`] has the bytes of an item put.
pub trait Buffer: Default {
    /// Takes the bytes of an item. It is empty before.
    fn fill(&mut self, payload: Payload<'_>);
}

/// The bytes of an item while they are in the queue, where another process could change them: they can only be copied.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    place: Place<'a>,
}

/// Where a payload is.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Bytes(&'a [u8]),
    /// In words of the ring that hold so many bytes.
    Words(&'a [AtomicU64], usize),
}

impl<'a> Payload<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { place: Place::Bytes(bytes) }
    }

    /// # Safety
    /// For as long as it lives, the words are those of an item that the calling thread is getting.
    #[inline]
    pub(super) unsafe fn in_words(words: &'a [AtomicU64], length: usize) -> Self {
        Self { place: Place::Words(words, length) }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        match self.place {
            Place::Bytes(bytes) => bytes.len(),
            Place::Words(_, length) => length,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies them to the end of `bytes`.
    #[inline]
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        match self.place {
            Place::Bytes(payload) => bytes.extend_from_slice(payload),
            // SAFETY: `in_words` was promised that the item is being got.
            Place::Words(words, length) => unsafe { raw::read_item(words, length, bytes) },
        }
    }

    /// Copies them to `bytes` if those are as many; false if they are not.
    #[inline]
    pub fn copy_to(&self, bytes: &mut [u8]) -> bool {
        let fits = bytes.len() == self.len();
        if fits {
            match self.place {
                Place::Bytes(payload) => bytes.copy_from_slice(payload),
                // SAFETY: as in `append_to`.
                Place::Words(words, _) => unsafe { raw::read_item_to(words, bytes) },
            }
        }
        fits
    }
}

impl Buffer for Vec<u8> {
    #[inline]
    fn fill(&mut self, payload: Payload<'_>) {
        payload.append_to(self);
    }
}

/// The codec of plain data: the bytes that an item consists of, all of one length. The fastest.
///
/// # Examples
/// ```
/// let queue = multiproc::Queue::plain(16)?;
/// queue.put([1.0f32, 2.0])?;
/// assert_eq!(queue.get()?, [1.0, 2.0]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

/// Room for one item of plain data.
#[derive(Clone, Copy, Debug)]
pub struct PlainBuffer<T> {
    item: T,
    /// Of the payload.
    length: usize,
}

impl<T: Pod> Default for PlainBuffer<T> {
    #[inline]
    fn default() -> Self {
        Self { item: T::zeroed(), length: 0 }
    }
}

impl<T: Pod> Buffer for PlainBuffer<T> {
    #[inline]
    fn fill(&mut self, payload: Payload<'_>) {
        self.length = payload.len();
        payload.copy_to(bytemuck::bytes_of_mut(&mut self.item));
    }
}

impl<T: Pod> Codec<T> for Plain {
    const NAME: &'static str = "plain";
    const BYTES: Option<usize> = Some(size_of::<T>());
    type Buffer = PlainBuffer<T>;

    #[inline]
    fn encode<R>(item: &T, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
        Ok(put(bytemuck::bytes_of(item)))
    }

    #[inline]
    fn decode(bytes: PlainBuffer<T>) -> Result<T, String> {
        if bytes.length == size_of::<T>() { Ok(bytes.item) } else { Err(wrong_length::<T>(bytes.length)) }
    }
}

#[cold]
fn wrong_length<T>(found: usize) -> String {
    format!("expected {} bytes, found {found}", size_of::<T>())
}
