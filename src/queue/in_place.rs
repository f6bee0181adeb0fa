//! [`Queue::put_with`] and [`Queue::get_with`]: bytes written and read where they lie in the queue.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;

use super::queue::by;
use super::{GetError, PutError, Queue};
use crate::raw::{Cursor, Fences, Wait};

impl<T, C> Queue<T, C> {
    /// Puts an item of `length` bytes, which `fill` writes where they will lie: nothing is copied. They must be what the
    /// queue's codec makes of an item; for byte strings, they are the item. What they are before is of no meaning.
    ///
    /// `fill` runs while no other producer can put. If it panics, nothing is put.
    ///
    /// # Errors
    /// [`PutError::TooLarge`], [`PutError::Shutdown`], [`PutError::Corrupt`]; [`PutError::Deadlock`] for a put into this
    /// queue from within `fill`.
    ///
    /// # Process death
    /// Killed here, also in `fill`, nothing is put, or the whole item.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::<Vec<u8>>::bounded(4)?;
    /// queue.put_with(3, |bytes| bytes.copy_from_slice(b"abc"))?;
    /// assert_eq!(queue.get_with(|bytes| bytes.len())?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_with(&self, length: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), PutError<()>> {
        self.put_with_by(None, Wait::Until(None), length, fill)
    }

    /// [`put_with`](Self::put_with), also by who keeps the end, and waiting as it is told.
    pub(super) fn put_with_by(
        &self,
        keeper: Option<Fences>,
        wait: Wait,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), PutError<()>> {
        if length > self.max_message() {
            return Err(PutError::TooLarge(()));
        }
        let mut fill = Some(fill);
        let mut put = |words: &[AtomicU64]| {
            let start = words.as_ptr().cast::<u8>().cast_mut();
            let length = length.min(size_of_val(words));
            // SAFETY: so many bytes lie there, in atomics, which may be written through a shared reference; the producers'
            // lease keeps everybody else who keeps to the protocol from them (I6), and so does this exclusive slice, which
            // ends before the item is committed.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start, length) };
            if let Some(fill) = fill.take() {
                fill(bytes);
            }
        };
        self.at_tail(|ring| {
            let ring = by(keeper, ring);
            // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
            unsafe { ring.put_with(wait, length, &mut put) }
        })
        .map_err(|error| PutError::new((), error))
    }

    /// Gets an item by giving its bytes, as the queue's codec made them, to `read` where they lie: nothing is copied.
    ///
    /// `read` runs while no other consumer can get. If it panics, the item stays.
    ///
    /// # Errors
    /// [`GetError::Shutdown`], [`GetError::Corrupt`]; [`GetError::Deadlock`] for a get from this queue from within `read`.
    ///
    /// # Process death
    /// Killed here, also in `read`, the item is still in the queue, or it is gone with the caller, who has read it.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::<Vec<u8>>::bounded(4)?;
    /// queue.put(vec![1, 2, 3])?;
    /// let sum: u32 = queue.get_with(|bytes| bytes.iter().map(|&byte| u32::from(byte)).sum())?;
    /// assert_eq!(sum, 6);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn get_with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Result<R, GetError> {
        self.get_with_by(None, Wait::Until(None), read)
    }

    /// [`get_with`](Self::get_with), also by who keeps the end, and waiting as it is told.
    pub(super) fn get_with_by<R>(
        &self,
        keeper: Option<&mut Cursor>,
        wait: Wait,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, GetError> {
        let mut read = Some(read);
        let get = |words: &[AtomicU64], length: usize| {
            let length = length.min(size_of_val(words));
            // SAFETY: so many bytes lie there; until the item is freed, which is after this, nobody who keeps to the protocol
            // writes to them (I6).
            let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), length) };
            read.take().map(|read| read(bytes))
        };
        // It is given one item.
        let got = match keeper {
            Some(cursor) => self.get_by_keeper(cursor, wait, get),
            None => self.get_by(wait, get),
        };
        got?.ok_or(GetError::Corrupt)
    }
}
