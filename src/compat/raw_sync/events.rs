//! Events with the interface of `raw_sync::events`, whose traits they implement.
#![allow(unsafe_code)]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

pub use ::raw_sync::events::{EventImpl, EventInit, EventState};

use super::{Result, Timeout, deadline, padding};
use crate::raw::{Deadline, RawEvent, RawSemaphore};

/// An event that is waited for asleep. One that resets itself wakes one waiter for each time that it is set.
///
/// # Process death
/// Nobody holds an event. A process that is killed while it sets one has set it and woken who waits, or neither. What a
/// process has taken from an event that resets itself goes with it. The original can be left locked for ever.
///
/// # Examples
/// ```
/// // Was: use raw_sync::{events::*, Timeout};
/// use multiproc::compat::raw_sync::{events::*, Timeout};
///
/// let mut memory = [0u64; 3]; // in real life, shared with others
/// // SAFETY: the memory outlives the event, and nobody else uses it.
/// let (event, used) = unsafe { Event::new(memory.as_mut_ptr().cast(), true)? };
/// assert_eq!(used, 24);
/// event.set(EventState::Signaled)?;
/// event.wait(Timeout::Infinite)?;
/// assert!(event.wait(Timeout::Val(std::time::Duration::ZERO)).is_err(), "it has reset itself");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Event {
    inner: *const InnerEvent,
    /// As it was when the event was made or found: what lies in memory is a peer's to change.
    auto_reset: bool,
}

/// An event that is waited for awake: for waits that are shorter than a system call.
///
/// # Process death
/// As for [`Event`].
///
/// # Examples
/// ```
/// use multiproc::compat::raw_sync::{events::*, Timeout};
///
/// let mut memory = [0u8; 2];
/// // SAFETY: the memory outlives the event, and nobody else uses it.
/// let (event, used) = unsafe { BusyEvent::new(memory.as_mut_ptr(), true)? };
/// assert_eq!(used, 2);
/// event.set(EventState::Signaled)?;
/// event.wait(Timeout::Infinite)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BusyEvent {
    inner: *const InnerBusy,
    auto_reset: bool,
}

/// How an event lies in memory.
#[repr(C)]
struct InnerEvent {
    /// 0 or 1.
    auto_reset: AtomicU32,
    manual: RawEvent,
    /// One that resets itself: a count of 0 or 1.
    auto: RawSemaphore,
}

/// How one that is polled lies in memory.
#[repr(C)]
struct InnerBusy {
    /// 0 or 1.
    signal: AtomicU8,
    /// 0 or 1.
    auto_reset: AtomicU8,
}

impl EventInit for Event {
    /// Bytes that the event takes, with the padding that it needs at `addr`.
    fn size_of(addr: Option<*mut u8>) -> usize {
        padding::<InnerEvent>(addr).saturating_add(size_of::<InnerEvent>())
    }

    /// Makes an event that is not set, and says how many bytes it took.
    ///
    /// # Safety
    /// The `size_of(Some(mem))` bytes at `mem` are writable, used for nothing else and by nobody else yet, and stay mapped
    /// and in place until the event is dropped.
    unsafe fn new(mem: *mut u8, auto_reset: bool) -> Result<(Box<dyn EventImpl>, usize)> {
        let inner = mem.wrapping_add(padding::<InnerEvent>(Some(mem))).cast::<InnerEvent>();
        let event = InnerEvent {
            auto_reset: AtomicU32::new(u32::from(auto_reset)),
            manual: RawEvent::new(),
            auto: RawSemaphore::bounded(0, 1),
        };
        // SAFETY: it is aligned, and within the bytes that the caller has given away.
        unsafe { inner.write(event) };
        Ok((Box::new(Self { inner, auto_reset }), Self::size_of(Some(mem))))
    }

    /// The event that somebody has made in `mem`, and how many bytes it takes. Any bytes there are memory safe.
    ///
    /// # Errors
    /// If there is no event.
    ///
    /// # Safety
    /// As for `new`, but that others use the event, too.
    unsafe fn from_existing(mem: *mut u8) -> Result<(Box<dyn EventImpl>, usize)> {
        let inner = mem.wrapping_add(padding::<InnerEvent>(Some(mem))).cast::<InnerEvent>();
        // SAFETY: the caller has promised that it is there; any bytes are a valid one.
        let auto_reset = match unsafe { &(*inner).auto_reset }.load(Ordering::Relaxed) {
            0 => false,
            1 => true,
            other => return Err(format!("an event: expected 0 or 1 in its first word, found {other}").into()),
        };
        Ok((Box::new(Self { inner, auto_reset }), Self::size_of(Some(mem))))
    }
}

impl Event {
    fn inner(&self) -> &InnerEvent {
        // SAFETY: who made the event has promised that it is there for as long as `self`; any bytes are a valid one.
        unsafe { &*self.inner }
    }
}

impl EventImpl for Event {
    /// Waits until the event is set, as long as `timeout` says.
    ///
    /// # Errors
    /// If it was not set in time.
    fn wait(&self, timeout: Timeout) -> Result<()> {
        let deadline = deadline(timeout);
        let inner = self.inner();
        in_time(if self.auto_reset { inner.auto.acquire(deadline) } else { inner.manual.wait(deadline) })
    }

    /// Sets or clears the event.
    ///
    /// # Errors
    /// None at present.
    fn set(&self, state: EventState) -> Result<()> {
        let inner = self.inner();
        match (state, self.auto_reset) {
            (EventState::Clear, false) => inner.manual.clear(),
            (EventState::Signaled, false) => inner.manual.set(),
            // Either has no effect where that is the state already.
            (EventState::Clear, true) => drop(inner.auto.try_acquire()),
            (EventState::Signaled, true) => drop(inner.auto.release()),
        }
        Ok(())
    }
}

impl EventInit for BusyEvent {
    /// Bytes that the event takes.
    fn size_of(_addr: Option<*mut u8>) -> usize {
        size_of::<InnerBusy>()
    }

    /// Makes an event that is not set, and says how many bytes it took.
    ///
    /// # Safety
    /// As for [`Event`].
    unsafe fn new(mem: *mut u8, auto_reset: bool) -> Result<(Box<dyn EventImpl>, usize)> {
        let inner = mem.cast::<InnerBusy>();
        let event = InnerBusy { signal: AtomicU8::new(0), auto_reset: AtomicU8::new(u8::from(auto_reset)) };
        // SAFETY: it is within the bytes that the caller has given away, and of single bytes.
        unsafe { inner.write(event) };
        Ok((Box::new(Self { inner, auto_reset }), Self::size_of(Some(mem))))
    }

    /// The event that somebody has made in `mem`, and how many bytes it takes. Any bytes there are memory safe.
    ///
    /// # Errors
    /// If there is no event.
    ///
    /// # Safety
    /// As for [`Event`].
    unsafe fn from_existing(mem: *mut u8) -> Result<(Box<dyn EventImpl>, usize)> {
        let inner = mem.cast::<InnerBusy>();
        // SAFETY: the caller has promised that it is there; any bytes are a valid one.
        let auto_reset = match unsafe { &(*inner).auto_reset }.load(Ordering::Relaxed) {
            0 => false,
            1 => true,
            other => {
                return Err(format!("an event: expected 0 or 1 in its second byte, found {other}").into());
            }
        };
        Ok((Box::new(Self { inner, auto_reset }), Self::size_of(Some(mem))))
    }
}

impl BusyEvent {
    fn signal(&self) -> &AtomicU8 {
        // SAFETY: who made the event has promised that it is there for as long as `self`; any bytes are a valid one.
        unsafe { &(*self.inner).signal }
    }

    /// Whether it is set; one that resets itself is not any more then.
    fn take(&self) -> bool {
        // SYNC: Acquire <- `set`'s Release: what the setter did before is seen.
        let is_set = self.signal().load(Ordering::Acquire) == 1;
        if !(is_set && self.auto_reset) {
            return is_set;
        }
        // SYNC: Acquire <- `set`'s Release: as above.
        self.signal().compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl EventImpl for BusyEvent {
    /// Waits until the event is set, as long as `timeout` says.
    ///
    /// # Errors
    /// If it was not set in time.
    fn wait(&self, timeout: Timeout) -> Result<()> {
        let deadline = deadline(timeout);
        while !self.take() {
            if deadline.is_some_and(Deadline::has_passed) {
                return in_time(false);
            }
            spin_loop();
        }
        Ok(())
    }

    /// Sets or clears the event.
    ///
    /// # Errors
    /// None at present.
    fn set(&self, state: EventState) -> Result<()> {
        let signal = u8::from(matches!(state, EventState::Signaled));
        // SYNC: Release -> `take`'s Acquire: publishes what the setter did before.
        self.signal().store(signal, Ordering::Release);
        Ok(())
    }
}

fn in_time(is_in_time: bool) -> Result<()> {
    if is_in_time { Ok(()) } else { Err("timed out: the event is not set".into()) }
}
