//! How long a survivor waits for what a killed process had: printed, not judged.
//!
//! The sleep slice is the default one, as in a program. The time is that from just before SIGKILL is sent until the survivor
//! has returned from its operation.
#![allow(unsafe_code)]

use std::time::Duration;

use multiproc::raw::{Acquired, Lease, RawBarrier, RawCondvar, RawMutex, RawPermits, RawRLock, RawSemaphore};

use crate::holes::is_wake;
use crate::mutex::rehearse;
use crate::page::Page;
use crate::victim::{Stop, Victim};
use crate::witness::{BOUND, Holder, Witness};

/// Deaths of each kind.
const DEATHS: usize = 51;

/// Has one death, and says how long the survivor took.
type Death = fn() -> Result<Duration, String>;

/// Prints a table of medians.
pub(crate) fn print() -> Result<(), String> {
    let kinds: [(&str, Death); 8] = [
        ("RawMutex: its holder", holder_of_a_mutex),
        ("RawRLock: its holder, two deep", holder_of_an_rlock),
        ("RawSemaphore: a releaser that has not woken anybody yet", releaser),
        ("RawSemaphore: a woken waiter", woken_acquirer),
        ("RawCondvar: a notifier that holds the lock", notifier),
        ("RawCondvar: a notified waiter", notified_waiter),
        ("RawBarrier: a party that waits", party),
        ("RawPermits: the holder of the only one", holder_of_a_permit),
    ];
    // A process's first use of a lease starts a thread, which a victim's must not.
    rehearse();
    println!("from SIGKILL to the return of a survivor, {DEATHS} deaths each, in ms\n");
    println!("| who is killed | median | least | most |\n|---|---|---|---|");
    for (name, death) in kinds {
        let times = (0..DEATHS).map(|_| death()).collect::<Result<Vec<_>, _>>();
        let mut times = times.map_err(|why| format!("{name}: {why}"))?;
        times.sort_unstable();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (least, median, most) = (times[0], times[DEATHS / 2], times[DEATHS - 1]);
        println!("| {name} | {:.2} | {:.2} | {:.2} |", millis(median), millis(least), millis(most));
    }
    Ok(())
}

/// The monotonic clock, which all processes share, in nanoseconds.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// A process that makes a `wait`, which puts it to sleep, and reports when that has returned.
fn survivor(wait: impl FnOnce()) -> Result<Witness, String> {
    let survivor = Witness::spawn(|| {
        wait();
        now()
    })?;
    survivor.wait_until_asleep()?;
    Ok(survivor)
}

/// The time from `death` until the survivor has gone on.
fn between(survivor: Witness, death: impl FnOnce() -> Result<(), String>) -> Result<Duration, String> {
    let begun = now();
    death()?;
    Ok(Duration::from_nanos(survivor.finish_within(BOUND)?.saturating_sub(begun)))
}

fn kill(holder: Holder) -> Result<(), String> {
    drop(holder);
    Ok(())
}

/// Takes the mutex, which lies in a page that this process keeps.
fn lock(mutex: &RawMutex) -> u64 {
    // SAFETY: as said.
    let acquired = unsafe { mutex.lock(None) };
    if acquired == Ok(Acquired::OwnerDied) {
        mutex.recover();
    }
    acquired.is_ok().into()
}

fn holder_of_a_mutex() -> Result<Duration, String> {
    let mutex = Page::new(RawMutex::new())?;
    let holder = Holder::spawn(|| lock(&mutex), || {})?;
    between(survivor(|| _ = lock(&mutex))?, || kill(holder))
}

fn holder_of_an_rlock() -> Result<Duration, String> {
    let nested = Page::new(RawRLock::new())?;
    // SAFETY: the lock lies in a page that this process keeps.
    let lock = || u64::from(unsafe { nested.lock(None) }.is_ok());
    let holder = Holder::spawn(|| lock() + lock(), || {})?;
    between(survivor(|| _ = lock())?, || kill(holder))
}

fn releaser() -> Result<Duration, String> {
    let semaphore = Page::new(RawSemaphore::new(0))?;
    let survivor = survivor(|| _ = semaphore.acquire(None))?;
    let mut releaser = Victim::spawn(rehearse, || _ = semaphore.release())?;
    releaser.run_until_syscall_entry(is_wake)?;
    between(survivor, || releaser.kill())
}

fn woken_acquirer() -> Result<Duration, String> {
    let semaphore = Page::new(RawSemaphore::new(0))?;
    let mut acquirer = Victim::spawn(rehearse, || _ = semaphore.acquire(None))?;
    acquirer.run_until_syscall_entry(|number, _| number == libc::SYS_futex)?;
    let asleep = acquirer.finish_syscall()?;
    let survivor = survivor(|| _ = semaphore.acquire(None))?;
    semaphore.release();
    if asleep != Stop::Asleep || acquirer.wait_until_there()? != Stop::Trapped {
        return Err("the victim did not sleep, or was not woken".to_owned());
    }
    between(survivor, || acquirer.kill())
}

/// A condition variable with its lock.
struct Shared {
    mutex: RawMutex,
    condvar: RawCondvar<4>,
}

impl Shared {
    fn new() -> Result<Page<Shared>, String> {
        Page::new(Shared { mutex: RawMutex::new(), condvar: RawCondvar::new() })
    }

    fn wait(&self) {
        lock(&self.mutex);
        // SAFETY: the condition variable and its lock lie in a page that this process keeps.
        let _ = unsafe { self.condvar.wait(&self.mutex, None) };
        let _ = self.mutex.unlock();
    }

    fn notify(&self) -> u64 {
        lock(&self.mutex) * self.condvar.notify(1) as u64
    }
}

fn notifier() -> Result<Duration, String> {
    let shared = Shared::new()?;
    let survivor = survivor(|| shared.wait())?;
    let notifier = Holder::spawn(|| shared.notify(), || {})?;
    between(survivor, || kill(notifier))
}

fn notified_waiter() -> Result<Duration, String> {
    let shared = Shared::new()?;
    let waiter = survivor(|| shared.wait())?;
    let survivor = survivor(|| shared.wait())?;
    waiter.stop()?;
    let notifier = Holder::spawn(|| shared.notify(), || _ = shared.mutex.unlock())?;
    notifier.release()?;
    between(survivor, || {
        waiter.kill();
        Ok(())
    })
}

fn party() -> Result<Duration, String> {
    let barrier = Page::new(RawBarrier::<4>::new(3))?;
    // SAFETY: the barrier lies in a page that this process keeps.
    let pass = || _ = unsafe { barrier.wait(None, || ()) };
    let (party, survivor) = (survivor(pass)?, survivor(pass)?);
    between(survivor, || {
        party.kill();
        Ok(())
    })
}

fn holder_of_a_permit() -> Result<Duration, String> {
    let permits = Page::new(RawPermits::<[Lease; 1]>::new())?;
    // SAFETY: the permit lies in a page that this process keeps.
    let acquire = || u64::from(unsafe { permits.acquire(None) }.is_ok());
    let holder = Holder::spawn(acquire, || {})?;
    between(survivor(|| _ = acquire())?, || kill(holder))
}
