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
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Codec, Plain};
    /// assert_eq!(<Plain as Codec<u64>>::NAME, "plain");
    /// ```
    const NAME: &'static str;

    /// How many bytes every item takes, if it is always as many: the queue then reserves no more for one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Codec, Plain};
    /// assert_eq!(<Plain as Codec<u64>>::BYTES, Some(8));
    /// ```
    const BYTES: Option<usize> = None;

    /// Where the bytes of an item go on their way out of the queue: `Vec<u8>`, unless they are always as many.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Codec, Plain, PlainBuffer};
    /// let room: <Plain as Codec<u64>>::Buffer = PlainBuffer::default();
    /// assert!(<Plain as Codec<u64>>::decode(room).is_err()); // Nothing was put there.
    /// ```
    type Buffer: Buffer;

    /// Passes the bytes of `item` to `put`.
    ///
    /// # Errors
    /// Why the item can't be encoded.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Codec, Plain};
    /// assert_eq!(Plain::encode(&7_u16, |bytes| bytes.to_vec()), Ok(7_u16.to_ne_bytes().to_vec()));
    /// ```
    fn encode<R>(item: &T, put: impl FnOnce(&[u8]) -> R) -> Result<R, String>;

    /// The item that these bytes are.
    ///
    /// # Errors
    /// Why they are none. The item is gone then.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Codec, Postcard};
    /// assert_eq!(<Postcard as Codec<bool>>::decode(vec![1].into()), Ok(true));
    /// assert!(<Postcard as Codec<bool>>::decode(vec![2].into()).is_err());
    /// ```
    fn decode(bytes: Self::Buffer) -> Result<T, String>;
}

/// Where a [`Codec`] has the bytes of an item put.
///
/// # Examples
/// ```
/// use multiproc::{Buffer, Codec, Payload, QueueOptions};
///
/// /// At most 4 bytes, without an allocation.
/// #[derive(Default)]
/// struct Four([u8; 4], usize);
///
/// impl Buffer for Four {
///     fn fill(&mut self, payload: Payload<'_>) {
///         self.1 = payload.len();
///         if let Some(bytes) = self.0.get_mut(..payload.len()) {
///             payload.copy_to(bytes);
///         }
///     }
/// }
///
/// struct Short;
///
/// impl Codec<String> for Short {
///     const NAME: &'static str = "short text";
///     type Buffer = Four;
///
///     fn encode<R>(item: &String, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
///         if item.len() > 4 { Err("more than 4 bytes".to_owned()) } else { Ok(put(item.as_bytes())) }
///     }
///
///     fn decode(Four(bytes, length): Four) -> Result<String, String> {
///         let bytes = bytes.get(..length).ok_or("more than 4 bytes")?;
///         String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
///     }
/// }
///
/// let queue = QueueOptions::new(4).codec(Short).queue()?;
/// queue.put("hi".to_owned())?;
/// assert_eq!(queue.get()?, "hi");
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait Buffer: Default {
    /// Takes the bytes of an item. It is empty before.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Buffer, Codec, Payload, QueueOptions};
    ///
    /// #[derive(Default)]
    /// struct Length(usize);
    ///
    /// impl Buffer for Length {
    ///     fn fill(&mut self, payload: Payload<'_>) {
    ///         self.0 = if payload.is_empty() { 0 } else { payload.len() };
    ///     }
    /// }
    ///
    /// /// Passes on how long an item was.
    /// struct OnlyLength;
    ///
    /// impl Codec<usize> for OnlyLength {
    ///     const NAME: &'static str = "only length";
    ///     type Buffer = Length;
    ///
    ///     fn encode<R>(item: &usize, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
    ///         Ok(put(&vec![0; *item]))
    ///     }
    ///
    ///     fn decode(Length(length): Length) -> Result<usize, String> {
    ///         Ok(length)
    ///     }
    /// }
    ///
    /// let queue = QueueOptions::new(4).codec(OnlyLength).queue()?;
    /// queue.put(100)?;
    /// assert_eq!(queue.get()?, 100);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    fn fill(&mut self, payload: Payload<'_>);
}

/// The bytes of an item while they are in the queue, where another process could change them: they can only be copied.
///
/// # Examples
/// ```
/// use multiproc::{Buffer, Codec, Payload, QueueOptions};
///
/// #[derive(Default)]
/// struct Room(Vec<u8>);
///
/// impl Buffer for Room {
///     fn fill(&mut self, payload: Payload<'_>) {
///         payload.append_to(&mut self.0);
///     }
/// }
///
/// # struct Text;
/// # impl Codec<String> for Text {
/// #     const NAME: &'static str = "text";
/// #     type Buffer = Room;
/// #     fn encode<R>(item: &String, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
/// #         Ok(put(item.as_bytes()))
/// #     }
/// #     fn decode(Room(bytes): Room) -> Result<String, String> {
/// #         String::from_utf8(bytes).map_err(|error| error.to_string())
/// #     }
/// # }
/// # let queue = QueueOptions::new(1).codec(Text).queue()?;
/// queue.put("hello".to_owned())?;
/// assert_eq!(queue.get()?, "hello");
/// # Ok::<(), multiproc::Error>(())
/// ```
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
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Buffer, Codec, Payload, QueueOptions};
    ///
    /// #[derive(Default)]
    /// struct Room(Vec<u8>);
    ///
    /// impl Buffer for Room {
    ///     fn fill(&mut self, payload: Payload<'_>) {
    ///         assert_eq!(payload.len(), 5);
    ///         payload.append_to(&mut self.0);
    ///     }
    /// }
    ///
    /// # struct Text;
    /// # impl Codec<String> for Text {
    /// #     const NAME: &'static str = "text";
    /// #     type Buffer = Room;
    /// #     fn encode<R>(item: &String, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
    /// #         Ok(put(item.as_bytes()))
    /// #     }
    /// #     fn decode(Room(bytes): Room) -> Result<String, String> {
    /// #         String::from_utf8(bytes).map_err(|error| error.to_string())
    /// #     }
    /// # }
    /// # let queue = QueueOptions::new(1).codec(Text).queue()?;
    /// queue.put("hello".to_owned())?;
    /// assert_eq!(queue.get()?, "hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        match self.place {
            Place::Bytes(bytes) => bytes.len(),
            Place::Words(_, length) => length,
        }
    }

    /// Whether there are none.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Buffer, Codec, Payload, QueueOptions};
    ///
    /// #[derive(Default)]
    /// struct Room(Vec<u8>);
    ///
    /// impl Buffer for Room {
    ///     fn fill(&mut self, payload: Payload<'_>) {
    ///         assert!(!payload.is_empty());
    ///         payload.append_to(&mut self.0);
    ///     }
    /// }
    ///
    /// # struct Text;
    /// # impl Codec<String> for Text {
    /// #     const NAME: &'static str = "text";
    /// #     type Buffer = Room;
    /// #     fn encode<R>(item: &String, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
    /// #         Ok(put(item.as_bytes()))
    /// #     }
    /// #     fn decode(Room(bytes): Room) -> Result<String, String> {
    /// #         String::from_utf8(bytes).map_err(|error| error.to_string())
    /// #     }
    /// # }
    /// # let queue = QueueOptions::new(1).codec(Text).queue()?;
    /// queue.put("hello".to_owned())?;
    /// assert_eq!(queue.get()?, "hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies them to the end of `bytes`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Buffer, Codec, Payload, QueueOptions};
    ///
    /// #[derive(Default)]
    /// struct Room(Vec<u8>);
    ///
    /// impl Buffer for Room {
    ///     fn fill(&mut self, payload: Payload<'_>) {
    ///         payload.append_to(&mut self.0);
    ///     }
    /// }
    ///
    /// # struct Text;
    /// # impl Codec<String> for Text {
    /// #     const NAME: &'static str = "text";
    /// #     type Buffer = Room;
    /// #     fn encode<R>(item: &String, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
    /// #         Ok(put(item.as_bytes()))
    /// #     }
    /// #     fn decode(Room(bytes): Room) -> Result<String, String> {
    /// #         String::from_utf8(bytes).map_err(|error| error.to_string())
    /// #     }
    /// # }
    /// # let queue = QueueOptions::new(1).codec(Text).queue()?;
    /// queue.put("hello".to_owned())?;
    /// assert_eq!(queue.get()?, "hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[inline]
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        match self.place {
            Place::Bytes(payload) => bytes.extend_from_slice(payload),
            // SAFETY: `in_words` was promised that the item is being got.
            Place::Words(words, length) => unsafe { raw::read_item(words, length, bytes) },
        }
    }

    /// Copies them to `bytes` if those are as many; false if they are not.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Buffer, Codec, Payload, QueueOptions};
    ///
    /// #[derive(Default)]
    /// struct Room(Vec<u8>);
    ///
    /// impl Buffer for Room {
    ///     fn fill(&mut self, payload: Payload<'_>) {
    ///         self.0 = vec![0; payload.len()];
    ///         assert!(payload.copy_to(&mut self.0));
    ///         assert!(!payload.copy_to(&mut [])); // Not as many.
    ///     }
    /// }
    ///
    /// # struct Text;
    /// # impl Codec<String> for Text {
    /// #     const NAME: &'static str = "text";
    /// #     type Buffer = Room;
    /// #     fn encode<R>(item: &String, put: impl FnOnce(&[u8]) -> R) -> Result<R, String> {
    /// #         Ok(put(item.as_bytes()))
    /// #     }
    /// #     fn decode(Room(bytes): Room) -> Result<String, String> {
    /// #         String::from_utf8(bytes).map_err(|error| error.to_string())
    /// #     }
    /// # }
    /// # let queue = QueueOptions::new(1).codec(Text).queue()?;
    /// queue.put("hello".to_owned())?;
    /// assert_eq!(queue.get()?, "hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
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

impl Payload<'_> {
    /// Copies them to the start of `room`, which they fit into; what is behind them there may change.
    #[inline(always)]
    pub(super) fn copy_short<const N: usize>(&self, room: &mut [u8; N]) {
        match self.place {
            Place::Bytes(payload) => room.iter_mut().zip(payload).for_each(|(to, from)| *to = *from),
            Place::Words(words, length) => raw::read_whole_words(words, length, room),
        }
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
///
/// # Examples
/// ```
/// use multiproc::{Codec, Plain, PlainBuffer};
/// let empty = PlainBuffer::<u32>::default();
/// let error = Plain::decode(empty).unwrap_err();
/// assert_eq!(error, "expected 4 bytes, found 0");
/// ```
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

    #[inline(always)] // Else the length is known at run time only.
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
