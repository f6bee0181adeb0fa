//! The two faces of a queue: [`Queue`], and the ring below it, whose operations are shorter.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use multiproc::raw::{Deadline, RawRing, Ring, RingError, RingShape};
use multiproc::{GetError, PutError, Queue, QueueOptions};

use crate::page::Page;

/// Why nothing was put or got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// It is full, or empty.
    NotNow,
    Shutdown,
    /// Too late, or broken.
    Failed,
}

/// How a queue is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) max_items: usize,
    /// 0: a [`RawFifo`] whose items are all of 8 bytes.
    pub(crate) ring_bytes: usize,
    /// Of a [`RawFifo`]'s items.
    pub(crate) item_bytes: usize,
}

/// A queue of numbers between processes.
pub(crate) trait Fifo: Sized {
    fn new(size: Size) -> Result<Self, String>;
    /// Waits for room, for ever without a timeout.
    fn put(&self, number: u64, timeout: Option<Duration>) -> Result<(), Refusal>;
    fn try_put(&self, number: u64) -> Result<(), Refusal>;
    /// Waits for an item, for ever without a timeout.
    fn get(&self, timeout: Option<Duration>) -> Result<u64, Refusal>;
    fn try_get(&self) -> Result<u64, Refusal>;
    fn len(&self) -> usize;
    fn shutdown(&self);

    /// The put that a victim is killed in, which waits for ever.
    fn victims_put(&self, number: u64) -> Result<(), Refusal> {
        self.put(number, None)
    }

    /// The get that a victim is killed in, which waits for ever.
    fn victims_get(&self) -> Result<u64, Refusal> {
        self.get(None)
    }

    /// Does each operation, so that later ones allocate what these gave back.
    fn rehearse(&self) {
        for number in [1, 2] {
            let done = self.put(number, None).is_ok() && self.get(None).is_ok();
            let tried = self.try_put(number).is_ok() && self.try_get().is_ok();
            assert!(done && tried, "a queue that nobody else uses works");
        }
    }
}

impl Fifo for Queue<u64> {
    fn new(size: Size) -> Result<Self, String> {
        let options = QueueOptions::new(size.max_items).max_message(64).ring_bytes(size.ring_bytes);
        options.queue().map_err(|error| error.to_string())
    }

    fn put(&self, number: u64, timeout: Option<Duration>) -> Result<(), Refusal> {
        match timeout {
            None => Queue::put(self, number),
            Some(timeout) => self.put_timeout(number, timeout),
        }
        .map_err(of_put)
    }

    fn try_put(&self, number: u64) -> Result<(), Refusal> {
        Queue::try_put(self, number).map_err(of_put)
    }

    fn get(&self, timeout: Option<Duration>) -> Result<u64, Refusal> {
        match timeout {
            None => Queue::get(self),
            Some(timeout) => self.get_timeout(timeout),
        }
        .map_err(|error| of_get(&error))
    }

    fn try_get(&self) -> Result<u64, Refusal> {
        Queue::try_get(self).map_err(|error| of_get(&error))
    }

    fn len(&self) -> usize {
        Queue::len(self)
    }

    fn shutdown(&self) {
        Queue::shutdown(self);
    }
}

pub(crate) fn of_put<T>(error: PutError<T>) -> Refusal {
    match error {
        PutError::Full(_) => Refusal::NotNow,
        PutError::Shutdown(_) => Refusal::Shutdown,
        _ => Refusal::Failed,
    }
}

pub(crate) fn of_get(error: &GetError) -> Refusal {
    match error {
        GetError::Empty => Refusal::NotNow,
        GetError::Shutdown => Refusal::Shutdown,
        _ => Refusal::Failed,
    }
}

/// As many words as any scenario has: 8 slots of 3 words, and data.
const WORDS: usize = 8 * 3 + 64;

/// A ring and its words in a page. An item is its number, filled up with zeros.
pub(crate) struct RawFifo {
    page: Page<(RawRing, [AtomicU64; WORDS])>,
    size: Size,
    /// Room for an item, so that nothing is allocated.
    buffer: RefCell<Vec<u8>>,
}

impl RawFifo {
    fn ring(&self) -> Ring<'_> {
        let (ring, words) = &*self.page;
        let shape = match self.size.ring_bytes {
            0 => RingShape::fixed(self.size.max_items, 8),
            // A number lies in its slot, a longer item in the data.
            data => RingShape::varying(self.size.max_items, 8, data),
        };
        ring.with_words(shape.expect("the size is one of a ring"), words).expect("enough words")
    }

    fn with_item<R>(
        &self,
        number: u64,
        put: impl FnOnce(&[u8]) -> Result<R, RingError>,
    ) -> Result<R, Refusal> {
        let mut item = [0; 80];
        item[..8].copy_from_slice(&number.to_le_bytes());
        put(&item[..self.size.item_bytes]).map_err(of_ring)
    }

    fn number(&self, get: impl FnOnce(&mut Vec<u8>) -> Result<(), RingError>) -> Result<u64, Refusal> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        get(&mut buffer).map_err(of_ring)?;
        match buffer.split_first_chunk() {
            Some((number, rest)) if rest.len() + 8 == self.size.item_bytes => Ok(u64::from_le_bytes(*number)),
            _ => Err(Refusal::Failed),
        }
    }
}

impl Fifo for RawFifo {
    fn new(size: Size) -> Result<Self, String> {
        let max_items = u64::try_from(size.max_items).map_err(|error| error.to_string())?;
        let page = Page::new((RawRing::new(max_items), [const { AtomicU64::new(0) }; WORDS]))?;
        Ok(RawFifo { page, size, buffer: RefCell::new(Vec::with_capacity(128)) })
    }

    fn put(&self, number: u64, timeout: Option<Duration>) -> Result<(), Refusal> {
        let deadline = timeout.and_then(Deadline::after);
        // SAFETY: the page is mapped for as long as `self` is borrowed.
        self.with_item(number, |item| unsafe { self.ring().put(item, deadline) })
    }

    fn try_put(&self, number: u64) -> Result<(), Refusal> {
        // SAFETY: as in `put`.
        self.with_item(number, |item| unsafe { self.ring().try_put(item) })
    }

    fn get(&self, timeout: Option<Duration>) -> Result<u64, Refusal> {
        let deadline = timeout.and_then(Deadline::after);
        // SAFETY: as in `put`.
        self.number(|item| unsafe { self.ring().get(item, deadline) })
    }

    fn try_get(&self) -> Result<u64, Refusal> {
        // SAFETY: as in `put`.
        self.number(|item| unsafe { self.ring().try_get(item) })
    }

    fn len(&self) -> usize {
        self.ring().len().map_or(usize::MAX, |len| usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn shutdown(&self) {
        // SAFETY: as in `put`.
        // What is not shut down is a survivor that puts.
        let _ = unsafe { self.ring().close(None) };
    }
}

fn of_ring(error: RingError) -> Refusal {
    match error {
        RingError::WouldBlock => Refusal::NotNow,
        RingError::Closed => Refusal::Shutdown,
        _ => Refusal::Failed,
    }
}
