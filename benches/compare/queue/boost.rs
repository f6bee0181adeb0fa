//! Boost's message queue as a [`Wire`].

use std::ffi::{CString, c_char, c_void};
use std::hint::black_box;

use crate::topology::Wire;
use crate::wires::{capacity, read};

// SAFETY: what boost_queue.cpp defines.
unsafe extern "C" {
    fn boost_queue_new(name: *const c_char, messages: usize, bytes: usize) -> *mut c_void;
    fn boost_queue_send(queue: *mut c_void, message: *const u8, bytes: usize) -> bool;
    fn boost_queue_receive(queue: *mut c_void, message: *mut u8, bytes: usize) -> bool;
}

/// boost::interprocess::message_queue. Never unmapped.
pub(crate) struct BoostQueue(*mut c_void, usize);

// SAFETY: the queue is for several threads and processes.
unsafe impl Sync for BoostQueue {}

impl BoostQueue {
    pub(crate) fn new(size: usize) -> Self {
        let name = CString::new(format!("multiproc-compare-{}", std::process::id())).expect("no zero");
        // SAFETY: the name ends with a zero.
        let queue = unsafe { boost_queue_new(name.as_ptr(), capacity(size), size) };
        assert!(!queue.is_null(), "a message queue");
        Self(queue, size)
    }
}

impl Wire for BoostQueue {
    fn sender(&self) -> impl FnMut() {
        let message = black_box(vec![1; self.1]);
        // SAFETY: the message is as long.
        move || assert!(unsafe { boost_queue_send(self.0, message.as_ptr(), message.len()) })
    }
    fn receiver(&self) -> impl FnMut() {
        let mut message = vec![0; self.1];
        move || {
            // SAFETY: there is as much room.
            assert!(unsafe { boost_queue_receive(self.0, message.as_mut_ptr(), message.len()) });
            read(&message);
        }
    }
}
