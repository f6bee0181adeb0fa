//! Rings written by hand as [`Wire`]s, without API and recovery: what is possible, and what one would write without a library.

use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::processes::Shared;
use crate::pthread;
use crate::topology::Wire;
use crate::wires::{CAPACITY, CAPACITY_BYTES, capacity, read};

/// As little as one producer and one consumer need: slots, and a position of each that the other looks at when its copy of
/// it says full or empty. No waiting but spinning, and no recovery.
pub(crate) struct Bare {
    positions: Shared<[Line; 2]>,
    slots: Shared<[AtomicU64; CAPACITY_BYTES / 8]>,
    size: usize,
}

#[repr(align(128))]
struct Line(AtomicU64);

impl Bare {
    pub(crate) fn new(size: usize) -> Self {
        let positions = Shared::new([0, 0].map(|zero| Line(AtomicU64::new(zero))));
        Self { positions, slots: Shared::zeroed(), size }
    }

    fn slot(&self, position: u64) -> *mut u8 {
        let index = usize::try_from(position).expect("64 bits") % capacity(self.size);
        self.slots[index * self.size / 8].as_ptr().cast()
    }
}

impl Wire for Bare {
    fn sender(&self) -> impl FnMut() {
        let (mut own, mut other) = (0, 0);
        let message = black_box(vec![1; self.size]);
        move || {
            while own - other == capacity(self.size) as u64 {
                other = self.positions[1].0.load(Ordering::Acquire);
                spin_loop();
            }
            // SAFETY: the slot is as long, and the consumer has left it.
            unsafe { self.slot(own).copy_from_nonoverlapping(message.as_ptr(), self.size) };
            own += 1;
            self.positions[0].0.store(own, Ordering::Release);
        }
    }
    fn receiver(&self) -> impl FnMut() {
        let (mut own, mut other) = (0, 0);
        move || {
            while own == other {
                other = self.positions[0].0.load(Ordering::Acquire);
                spin_loop();
            }
            // SAFETY: the slot is as long, and the producer has left it.
            read(unsafe { std::slice::from_raw_parts(self.slot(own), self.size) });
            own += 1;
            self.positions[1].0.store(own, Ordering::Release);
        }
    }
}

/// Vyukov's ring for many producers and consumers: slots with a number of their own, a compare-and-swap of each end's position,
/// and a futex for whoever has spun in vain.
pub(crate) struct Vyukov {
    ends: Shared<[Line; 2]>,
    sleepers: Shared<[Sleepers; 2]>,
    slots: Shared<[AtomicU64; CAPACITY_BYTES / 8 + CAPACITY * 8]>,
    size: usize,
}

/// Who sleeps at one end, and how often that end was woken.
#[derive(Default)]
#[repr(align(128))]
struct Sleepers {
    count: AtomicU32,
    wakes: AtomicU32,
}

impl Sleepers {
    const SPINS: u32 = 200;

    /// Until `attempt` succeeds.
    fn until(&self, mut attempt: impl FnMut() -> bool) {
        loop {
            for _ in 0..Self::SPINS {
                if attempt() {
                    return;
                }
                spin_loop();
            }
            self.count.fetch_add(1, Ordering::SeqCst);
            let wakes = self.wakes.load(Ordering::SeqCst);
            let done = attempt();
            if !done {
                // SAFETY: sleeps on a word that stays mapped.
                unsafe {
                    libc::syscall(
                        libc::SYS_futex,
                        self.wakes.as_ptr(),
                        libc::FUTEX_WAIT,
                        wakes,
                        std::ptr::null::<u8>(),
                    )
                };
            }
            self.count.fetch_sub(1, Ordering::SeqCst);
            if done {
                return;
            }
        }
    }

    /// Wakes one, behind a sequentially consistent store.
    fn wake(&self) {
        if self.count.load(Ordering::SeqCst) != 0 {
            self.wakes.fetch_add(1, Ordering::SeqCst);
            // SAFETY: wakes sleepers of a word that stays mapped.
            unsafe { libc::syscall(libc::SYS_futex, self.wakes.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }
}

impl Vyukov {
    pub(crate) fn new(size: usize) -> Self {
        let ring = Self {
            ends: Shared::new([0, 0].map(|zero| Line(AtomicU64::new(zero)))),
            sleepers: Shared::new(std::array::from_fn(|_| Sleepers::default())),
            slots: Shared::zeroed(),
            size,
        };
        (0..capacity(size) as u64).for_each(|number| ring.slot(number).store(number, Ordering::Relaxed));
        ring
    }

    /// The number of the slot at a position, with the message behind it.
    fn slot(&self, position: u64) -> &AtomicU64 {
        let index = usize::try_from(position).expect("64 bits") % capacity(self.size);
        &self.slots[index * (self.size / 8 + 1)]
    }

    /// Does `step` to the message of the slot that this end is at, if the slot's number is `ahead` of the position; adds
    /// `after` to that number.
    fn at(&self, end: usize, ahead: u64, after: u64, step: &mut impl FnMut(*mut u8)) -> bool {
        let own = &self.ends[end].0;
        loop {
            let position = own.load(Ordering::Relaxed);
            let slot = self.slot(position);
            let number = slot.load(Ordering::Acquire);
            if number != position + ahead {
                if number.wrapping_sub(position + ahead).cast_signed() < 0 {
                    return false;
                }
                continue;
            }
            if own
                .compare_exchange_weak(position, position + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            step(slot.as_ptr().wrapping_add(1).cast());
            slot.swap(number + after, Ordering::SeqCst);
            self.sleepers[1 - end].wake();
            return true;
        }
    }
}

impl Wire for Vyukov {
    fn sender(&self) -> impl FnMut() {
        let message = black_box(vec![1; self.size]);
        move || {
            // SAFETY: the slot is as long, and this producer's until its number moves on.
            let mut write = |to: *mut u8| unsafe { to.copy_from_nonoverlapping(message.as_ptr(), self.size) };
            self.sleepers[0].until(|| self.at(0, 0, 1, &mut write));
        }
    }
    fn receiver(&self) -> impl FnMut() {
        move || {
            let lap = capacity(self.size) as u64 - 1;
            // SAFETY: the slot is as long, and this consumer's until its number moves on.
            let mut take = |from: *mut u8| read(unsafe { std::slice::from_raw_parts(from, self.size) });
            self.sleepers[1].until(|| self.at(1, 1, lap, &mut take));
        }
    }
}

/// A ring under a process-shared pthread mutex, with a condition for each end.
pub(crate) struct Locked {
    lock: Shared<Lock>,
    slots: Shared<[AtomicU64; CAPACITY_BYTES / 8]>,
    size: usize,
}

struct Lock {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    /// Of the producers, of the consumers.
    conditions: UnsafeCell<[libc::pthread_cond_t; 2]>,
    /// Messages put, messages taken. Under the mutex.
    positions: [AtomicUsize; 2],
}

// SAFETY: the mutex and the conditions are process-shared, and used by pthread's functions only.
unsafe impl Sync for Lock {}

impl Locked {
    pub(crate) fn new(size: usize) -> Self {
        let lock = Shared::new(Lock {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            conditions: UnsafeCell::new([libc::PTHREAD_COND_INITIALIZER; 2]),
            positions: [AtomicUsize::new(0), AtomicUsize::new(0)],
        });
        // SAFETY: nobody uses the mutex yet, and it is never moved.
        unsafe { pthread::init(lock.mutex.get(), libc::PTHREAD_MUTEX_STALLED) };
        let ring = Self { lock, slots: Shared::zeroed(), size };
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises the attributes.
        assert_eq!(unsafe { libc::pthread_condattr_init(attributes.as_mut_ptr()) }, 0);
        let attributes = attributes.as_mut_ptr();
        // SAFETY: they are initialised.
        let shared = unsafe { libc::pthread_condattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        assert_eq!(shared, 0);
        for end in 0..2 {
            // SAFETY: as above; nobody uses the condition yet, and it is never moved.
            assert_eq!(unsafe { libc::pthread_cond_init(ring.condition(end), attributes) }, 0);
        }
        ring
    }

    fn condition(&self, end: usize) -> *mut libc::pthread_cond_t {
        self.lock.conditions.get().cast::<libc::pthread_cond_t>().wrapping_add(end)
    }

    /// Does `step` to the next slot of this end, when `ready` says so of the number of messages that are there.
    fn at(&self, end: usize, ready: impl Fn(usize) -> bool, step: impl FnOnce(*mut u8)) {
        let (mutex, positions) = (self.lock.mutex.get(), &self.lock.positions);
        // SAFETY: it was initialised, here and below.
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
        let [put, taken] = positions;
        while !ready(put.load(Ordering::Relaxed) - taken.load(Ordering::Relaxed)) {
            // SAFETY: this thread has locked the mutex.
            assert_eq!(unsafe { libc::pthread_cond_wait(self.condition(end), mutex) }, 0);
        }
        let position = positions[end].fetch_add(1, Ordering::Relaxed);
        step(self.slots[position % capacity(self.size) * self.size / 8].as_ptr().cast());
        // SAFETY: the other end's condition was initialised.
        assert_eq!(unsafe { libc::pthread_cond_signal(self.condition(1 - end)) }, 0);
        // SAFETY: this thread has locked it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex) }, 0);
    }
}

impl Wire for Locked {
    fn sender(&self) -> impl FnMut() {
        let message = black_box(vec![1; self.size]);
        move || {
            self.at(
                0,
                |there| there < capacity(self.size),
                |to| {
                    // SAFETY: the slot is as long, and under the mutex.
                    unsafe { to.copy_from_nonoverlapping(message.as_ptr(), self.size) };
                },
            );
        }
    }
    fn receiver(&self) -> impl FnMut() {
        || {
            // SAFETY: the slot is as long, and under the mutex.
            self.at(
                1,
                |there| there > 0,
                |from| read(unsafe { std::slice::from_raw_parts(from, self.size) }),
            );
        }
    }
}
