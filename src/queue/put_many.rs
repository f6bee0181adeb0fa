//! [`Queue::put_many`], and why it put fewer.
#![allow(unsafe_code)]

use std::fmt;

use super::codec::Codec;
use super::queue::by;
use super::{PutError, Queue};
use crate::error::Error;
use crate::raw::{self, Fences, Wait};

/// A batch is put when it has as many items, or bytes.
const MOST_ITEMS: usize = 64;
const ENOUGH_BYTES: usize = 64 << 10;

/// Why [`Queue::put_many`] did not put all items. What it had not asked the iterator for is still there.
///
/// # Examples
/// ```
/// use multiproc::{PutError, Queue};
/// let queue = Queue::bounded(4)?;
/// queue.shutdown();
/// let error = queue.put_many([1, 2, 3]).unwrap_err();
/// assert!(error.put == 0 && matches!(error.error, PutError::Shutdown(1)));
/// assert_eq!(error.rest, [2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct PutManyError<T> {
    /// How many items were put.
    pub put: usize,
    /// Why the next one was not, with it.
    pub error: PutError<T>,
    /// Those behind it that the iterator had given already.
    pub rest: Vec<T>,
}

/// Items that are encoded and not put yet.
struct Batch<T> {
    items: Vec<T>,
    bytes: Vec<u8>,
    /// Where the bytes of each end.
    ends: Vec<usize>,
}

impl<T> Batch<T> {
    /// Where the bytes of item `index` lie.
    fn range(&self, index: usize) -> std::ops::Range<usize> {
        let end = |index: usize| self.ends.get(index).copied().unwrap_or(0);
        index.checked_sub(1).map_or(0, end)..end(index)
    }
}

impl<T: 'static, C: Codec<T>> Queue<T, C> {
    /// Puts all items, waiting for room for as long as it takes, and says how many they were. Faster than one by one.
    ///
    /// They are put in batches of up to 64, each when the iterator has given it: for one that waits, use
    /// [`put`](Self::put).
    ///
    /// # Errors
    /// As for [`put`](Self::put), with all the items that were taken from the iterator and not put.
    ///
    /// # Process death
    /// Killed here, the first so many items are put, each whole.
    ///
    /// # Examples
    /// ```
    /// let queue = multiproc::Queue::bounded(100)?;
    /// assert_eq!(queue.put_many(0..10)?, 10);
    /// let mut items = Vec::new();
    /// assert_eq!(queue.get_many(&mut items, 100)?, 10);
    /// assert_eq!(items, (0..10).collect::<Vec<_>>());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn put_many(&self, items: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        self.put_many_by(None, items)
    }

    /// [`put_many`](Self::put_many), also by who keeps the end.
    pub(super) fn put_many_by(
        &self,
        keeper: Option<Fences>,
        items: impl IntoIterator<Item = T>,
    ) -> Result<usize, PutManyError<T>> {
        let mut items = items.into_iter();
        let mut batch = Batch { items: Vec::new(), bytes: Vec::new(), ends: Vec::new() };
        let mut put = 0;
        loop {
            let refused = self.fill(&mut batch, &mut items);
            put += self
                .put_batch(keeper, &mut batch)
                .map_err(|error| PutManyError { put: put + error.put, ..error })?;
            match refused {
                Some(error) => return Err(PutManyError { put, error, rest: Vec::new() }),
                None if batch.ends.len() < MOST_ITEMS && batch.bytes.len() < ENOUGH_BYTES => return Ok(put),
                None => {}
            }
        }
    }

    /// Makes the next batch; an item that does not go through the queue ends it.
    fn fill(&self, batch: &mut Batch<T>, items: &mut impl Iterator<Item = T>) -> Option<PutError<T>> {
        batch.bytes.clear();
        batch.ends.clear();
        while batch.ends.len() < MOST_ITEMS && batch.bytes.len() < ENOUGH_BYTES {
            let item = items.next()?;
            let start = batch.bytes.len();
            if let Err(why) = C::encode(&item, |bytes| batch.bytes.extend_from_slice(bytes)) {
                return Some(PutError::Encode(item, why));
            }
            if batch.bytes.len() - start > self.max_message() {
                batch.bytes.truncate(start);
                return Some(PutError::TooLarge(item));
            }
            batch.ends.push(batch.bytes.len());
            batch.items.push(item);
        }
        None
    }

    fn put_batch(&self, keeper: Option<Fences>, batch: &mut Batch<T>) -> Result<usize, PutManyError<T>> {
        let mut put = 0;
        let error = loop {
            let left = batch.items.len().saturating_sub(put);
            if left == 0 {
                batch.items.clear();
                return Ok(put);
            }
            let length = |index: usize| batch.range(put + index).len();
            let fill = |index: usize, words: &_| raw::write(words, &batch.bytes[batch.range(put + index)]);
            let some = self.at_tail(|ring| {
                let ring = by(keeper, ring);
                // SAFETY: the handle keeps the memory mapped for as long as it is borrowed.
                unsafe { ring.put_many(Wait::Until(None), left, length, fill) }
            });
            match some {
                Ok(some) => put += some,
                Err(error) => break error,
            }
        };
        let mut rest = batch.items.drain(..).skip(put);
        match rest.next() {
            Some(item) => Err(PutManyError { put, error: PutError::new(item, error), rest: rest.collect() }),
            None => Ok(put),
        }
    }
}

impl<T> fmt::Display for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items were put, and not the next: {}", self.put, self.error)
    }
}

impl<T: fmt::Debug> std::error::Error for PutManyError<T> {}

impl<T> From<PutManyError<T>> for Error {
    fn from(error: PutManyError<T>) -> Self {
        error.error.into()
    }
}
