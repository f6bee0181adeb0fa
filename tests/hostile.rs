//! A peer that scribbles random bytes over every primitive: operations with a deadline end, in a result or a typed error,
//! and what a thread holds stays its own to give up.
//!
//! Two seconds, or as many as the environment variable `STRESS_SECONDS` says. `.ci/run` runs it under AddressSanitizer.
#![allow(unsafe_code)]

mod random;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use multiproc::raw::{
    AcquireError, Acquired, Deadline, Lease, RawBarrier, RawCondvar, RawEvent, RawMutex, RawPermits,
    RawRLock, RawSemaphore,
};
use random::{Random, stress_time};

const THREADS: usize = 3;
/// Longer than anything takes here that ends at all.
const SOON: Duration = Duration::from_secs(60);
/// Every operation waits up to this long.
const WAIT: Duration = Duration::from_micros(200);

/// What the peer writes to. All of it is valid whatever its bytes are.
#[repr(C)]
struct Objects {
    mutex: RawMutex,
    rlock: RawRLock,
    semaphore: RawSemaphore,
    permits: RawPermits<[Lease; 4]>,
    event: RawEvent,
    condvar: RawCondvar<8>,
    barrier: RawBarrier<8>,
}

impl Objects {
    fn new() -> Self {
        Self {
            mutex: RawMutex::new(),
            rlock: RawRLock::new(),
            semaphore: RawSemaphore::bounded(2, 3),
            permits: RawPermits::<[Lease; 4]>::new(),
            event: RawEvent::new(),
            condvar: RawCondvar::new(),
            barrier: RawBarrier::new(2),
        }
    }

    /// In memory that a forked child shares, and that is never unmapped.
    fn shared() -> &'static Self {
        let len = size_of::<Self>().next_multiple_of(4096);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping overlaps nothing.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        let objects = NonNull::new(memory.cast::<Self>()).unwrap();
        // SAFETY: the mapping is page-aligned and long enough.
        unsafe { objects.write(Self::new()) };
        // SAFETY: it was just written, and is never unmapped.
        unsafe { objects.as_ref() }
    }

    /// Its bytes as words.
    fn words(&self) -> &[std::sync::atomic::AtomicU32] {
        let len = size_of::<Self>() / 4;
        // SAFETY: all fields are atomics, which any bits are valid for; the alignment is larger than 4.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), len) }
    }
}

/// Writes nonsense for ever, more or less like what could be there.
fn scribble(objects: &Objects, owner: u32) -> ! {
    let mut random = Random::new(1 << 20);
    loop {
        let word = &objects.words()[random.index(objects.words().len())];
        let old = word.load(Ordering::Relaxed);
        let new = match random.index(8) {
            0 | 1 => 0,
            2 => u32::MAX,
            3 => old ^ (1 << random.index(32)),
            4 => old.wrapping_add(1),
            5 => owner,
            6 => 1 << random.index(32),
            _ => random.next(),
        };
        word.store(new, Ordering::Relaxed);
        // The objects work for a while in between.
        for _ in 0..random.index(20_000) {
            std::hint::spin_loop();
        }
    }
}

/// What a thread may use only while it holds the mutex of its own.
struct Own {
    mutex: RawMutex,
    outcomes: [usize; 2],
}

impl Own {
    fn count<T, E>(&mut self, result: &Result<T, E>) {
        self.outcomes[usize::from(result.is_err())] += 1;
    }

    /// One operation of any primitive, which must end soon.
    fn operate(&mut self, objects: &Objects, random: &mut Random) {
        let deadline = Deadline::after(WAIT);
        match random.index(10) {
            0 | 1 => {
                // SAFETY: the objects are never unmapped, here and below.
                let taken = unsafe { objects.mutex.lock(deadline) };
                self.count(&taken);
                if taken.is_ok() {
                    objects.mutex.recover();
                    release(objects.mutex.unlock(), objects.mutex.is_held());
                }
            }
            2 => {
                // SAFETY: as above.
                let taken = unsafe { objects.rlock.lock(deadline) };
                self.count(&taken);
                if taken.is_ok() {
                    // SAFETY: as above.
                    assert!(unsafe { objects.rlock.try_lock() }.is_ok(), "its own word does not matter");
                    assert_eq!(objects.rlock.unlock(), Ok(()));
                    release(objects.rlock.unlock(), objects.rlock.is_held());
                }
            }
            3 => {
                if objects.semaphore.acquire(deadline) {
                    let _ = objects.semaphore.release();
                }
                let _ = objects.semaphore.value();
            }
            4 => {
                // SAFETY: as above.
                let taken = unsafe { objects.permits.acquire(deadline) };
                self.count(&taken);
                if let Ok(permit) = taken {
                    release(objects.permits.release(permit), objects.permits.is_held(permit));
                }
            }
            5 => {
                let _ = objects.event.wait(deadline);
                objects.event.set();
                objects.event.clear();
            }
            6 | 7 => {
                // SAFETY: as above.
                unsafe { self.mutex.lock(None) }.map(drop::<Acquired>).unwrap();
                // SAFETY: as above.
                let waited = unsafe { objects.condvar.wait(&self.mutex, deadline) };
                self.count(&waited);
                assert_eq!(self.mutex.unlock(), Ok(()), "nobody writes to this one");
            }
            8 => {
                let _ = objects.condvar.notify(random.index(3));
                let _ = objects.condvar.waiting();
            }
            _ => {
                // SAFETY: as above.
                let waited = unsafe { objects.barrier.wait(deadline, || ()) };
                self.count(&waited);
                if random.index(8) == 0 {
                    objects.barrier.abort();
                }
            }
        }
    }
}

/// What a holder's unlock may say, after which it holds nothing.
fn release(unlocked: Result<(), AcquireError>, still_held: bool) {
    assert!(matches!(unlocked, Ok(()) | Err(AcquireError::Corrupt)), "{unlocked:?}");
    assert!(!still_held);
}

/// A forked child, which is killed and reaped when dropped.
struct Peer(libc::pid_t);

impl Peer {
    fn scribbling_over(objects: &Objects) -> Self {
        let owner = std::process::id();
        // SAFETY: the child writes to shared words only, until it is killed.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            scribble(objects, owner);
        }
        Self(pid)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: the child has not been reaped, so the number is its.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

#[test]
fn a_peer_that_scribbles_over_everything_makes_errors_and_nothing_worse() {
    let time = stress_time(Duration::from_secs(2));
    let objects = Objects::shared();
    let peer = Peer::scribbling_over(objects);
    let stop = AtomicBool::new(false);
    let progress: [AtomicUsize; THREADS] = Default::default();
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|index| {
                let (stop, progress) = (&stop, &progress[index]);
                scope.spawn(move || {
                    let mut own = Own { mutex: RawMutex::new(), outcomes: [0; 2] };
                    let mut random = Random::new(index as u64);
                    while !stop.load(Ordering::Relaxed) {
                        own.operate(objects, &mut random);
                        progress.fetch_add(1, Ordering::Relaxed);
                    }
                    own.outcomes
                })
            })
            .collect();
        let progresses_for = |time: Duration| {
            let begun = Instant::now();
            progresses_until(&progress, || begun.elapsed() >= time);
        };
        progresses_for(time);
        // What it wrote last stays.
        drop(peer);
        progresses_for(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        progresses_until(&progress, || workers.iter().all(std::thread::ScopedJoinHandle::is_finished));
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for [done, refused] in outcomes {
        assert!(done > 100 && refused > 100, "both are seen: {done} done, {refused} refused");
    }
}

/// Waits until `ended`, while no thread may stand still.
fn progresses_until(progress: &[AtomicUsize; THREADS], ended: impl Fn() -> bool) {
    let mut seen = [(usize::MAX, Instant::now()); THREADS];
    while !ended() {
        for (progress, seen) in progress.iter().zip(&mut seen) {
            let now = progress.load(Ordering::Relaxed);
            if now != seen.0 {
                *seen = (now, Instant::now());
            }
            if seen.1.elapsed() > SOON {
                eprintln!("an operation does not end");
                // A panic would wait for it too.
                std::process::abort();
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
