//! Deaths that the kernel marks late, elsewhere or not at all: whoever wants what the dead held gets it all the same.
//!
//! The slice stays on in this program: a death that nobody is woken for is found when a sleep ends.
#![cfg(feature = "auto-init")]
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use multiproc::{Error, Event, Lock, LockError, Permits, Process, RLock, Segment};
use serde::{Deserialize, Serialize};

/// Far more than it should take; a failure and not a measure.
const SOON: Duration = Duration::from_secs(30);

/// One of each kind, and word from the process that holds them.
#[derive(Clone, Serialize, Deserialize)]
struct Objects {
    lock: Lock,
    rlock: RLock,
    permits: Permits,
    held: Event,
}

impl Objects {
    fn new() -> Self {
        Self {
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            permits: Permits::new(2).unwrap(),
            held: Event::new().unwrap(),
        }
    }

    /// Takes everything for as long as the calling thread lives, and says so.
    fn hold(&self) {
        self.take();
        self.held.set();
    }

    /// The same, by a thread whose robust list the kernel loses.
    fn hold_unlisted(&self) {
        self.take();
        lose_robust_list();
        self.held.set();
    }

    fn take(&self) {
        std::mem::forget(self.lock.lock());
        for _ in 0..3 {
            std::mem::forget(self.rlock.lock());
        }
        for _ in 0..2 {
            std::mem::forget(self.permits.acquire());
        }
    }

    /// Whether everything is held, by threads other than this one.
    fn are_held(&self) -> bool {
        matches!(self.lock.try_lock(), Err(LockError::WouldBlock))
            && matches!(self.rlock.try_lock(), Err(LockError::WouldBlock))
            && self.permits.try_acquire().is_err()
    }

    /// Three threads that wait get everything, and what is told of deaths is told.
    fn pass_on(&self, death: &str) {
        let begun = Instant::now();
        let times = std::thread::scope(|scope| {
            let lock = scope.spawn(|| {
                assert!(matches!(self.lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))), "{death}");
                begun.elapsed()
            });
            let rlock = scope.spawn(|| {
                let taken = self.rlock.lock_timeout(SOON);
                assert!(matches!(taken, Err(LockError::OwnerDied(_))), "{death}: {taken:?}");
                begun.elapsed()
            });
            let permits = scope.spawn(|| {
                let (_first, _second) = (
                    self.permits.acquire_timeout(SOON).unwrap(),
                    self.permits.acquire_timeout(SOON).unwrap(),
                );
                begun.elapsed()
            });
            [lock.join().unwrap(), rlock.join().unwrap(), permits.join().unwrap()]
        });
        let [lock, rlock, permits] = times.map(|time| time.as_millis());
        println!("{death}: Lock after {lock} ms, RLock after {rlock} ms, two permits after {permits} ms");
        assert!(!self.lock.is_locked() && !self.rlock.is_locked());
        assert_eq!(self.permits.available(), 2);
    }
}

/// Runs `victim` in a process, which is killed when this is dropped.
struct Victim(Process<()>);

impl Victim {
    /// Comes back when the victim holds the objects.
    fn holding(objects: &Objects, victim: fn(Objects)) -> Self {
        let process = Self(Process::spawn(victim, objects.clone()).unwrap());
        assert!(objects.held.wait_timeout(SOON));
        process
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        assert!(self.0.join_timeout(SOON).is_err(), "killed");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

fn wait_for_ever() {
    loop {
        std::thread::park();
    }
}

/// Becomes a program that does nothing.
fn exec() {
    let error = Command::new("sleep").arg("1000").exec();
    unreachable!("exec: {error}");
}

/// Ends the calling thread alone, with what it holds.
fn exit_thread() {
    // SAFETY: the thread ends in the middle of this function; what its stack owns is leaked.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended");
}

/// Takes the calling thread's robust list from the kernel, as the OOM killer's reaper can before it is read.
fn lose_robust_list() {
    // An empty list: it ends in itself.
    let list: &'static mut [usize; 3] = Box::leak(Box::new([0; 3]));
    list[0] = list.as_ptr().addr();
    // SAFETY: the list is valid, and never freed.
    let status = unsafe { libc::syscall(libc::SYS_set_robust_list, list.as_ptr(), size_of_val(list)) };
    assert_eq!(status, 0);
}

#[test]
fn what_a_killed_process_held_is_passed_on() {
    let objects = Objects::new();
    let mut victim = Victim::holding(&objects, |objects| {
        objects.hold();
        wait_for_ever();
    });
    assert!(objects.are_held());
    victim.kill();
    objects.pass_on("killed");
}

#[test]
fn what_a_process_held_that_lost_its_robust_list_is_passed_on() {
    let objects = Objects::new();
    let mut victim = Victim::holding(&objects, |objects| {
        objects.hold_unlisted();
        wait_for_ever();
    });
    victim.kill();
    assert!(objects.are_held(), "the kernel has marked nothing");
    objects.pass_on("killed, its list lost");
}

#[test]
fn what_the_leader_held_when_it_called_exec_is_passed_on() {
    let objects = Objects::new();
    let _victim = Victim::holding(&objects, |objects| {
        objects.hold();
        exec();
    });
    // The thread lives on under its id, so nothing but the kernel's marking frees what it held.
    objects.pass_on("exec by the leader");
}

#[test]
fn what_another_thread_held_when_it_called_exec_is_passed_on() {
    let objects = Objects::new();
    let _victim = Victim::holding(&objects, |objects| {
        std::thread::spawn(move || {
            objects.hold();
            exec();
        });
        wait_for_ever();
    });
    objects.pass_on("exec by another thread");
}

#[test]
fn what_a_leader_held_that_has_exited_is_passed_on() {
    let objects = Objects::new();
    let _victim = Victim::holding(&objects, |objects| {
        std::thread::spawn(wait_for_ever);
        objects.hold();
        exit_thread();
    });
    objects.pass_on("exited leader");
}

#[test]
fn what_a_leader_held_that_has_exited_without_its_robust_list_is_passed_on() {
    let objects = Objects::new();
    let _victim = Victim::holding(&objects, |objects| {
        std::thread::spawn(wait_for_ever);
        objects.hold_unlisted();
        exit_thread();
    });
    // It stays a zombie as long as the other thread lives.
    objects.pass_on("exited leader, its list lost");
}

#[test]
fn what_a_process_held_is_passed_on_though_its_forked_child_lives() {
    let objects = Objects::new();
    let ended = Event::new().unwrap();
    let victim = |(objects, ended): (Objects, Event)| {
        objects.hold();
        // SAFETY: this process has one thread; the child waits and ends.
        if unsafe { libc::fork() } == 0 {
            let refused = objects.are_held();
            let _ = ended.wait_timeout(SOON);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!refused)) }
        }
        wait_for_ever();
    };
    let mut process = Process::spawn(victim, (objects.clone(), ended.clone())).unwrap();
    assert!(objects.held.wait_timeout(SOON));
    process.kill().unwrap();
    assert!(process.join_timeout(SOON).is_err());
    objects.pass_on("killed, its child alive");
    ended.set();
}

#[test]
fn a_forked_child_holds_nothing_of_its_parents() {
    let objects = Objects::new();
    let forked = |objects: Objects| {
        objects.hold();
        // SAFETY: this process has one thread; the child looks and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let short = Duration::from_millis(5);
            // SAFETY: asks for a number.
            let parent = unsafe { libc::getppid() }.unsigned_abs();
            let named = matches!(objects.rlock.lock_timeout(short), Err(LockError::TimedOut { owner }) if owner == parent);
            let refused = objects.are_held() && named;
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!refused)) }
        }
        let mut status = 0;
        // SAFETY: `status` is written to and outlives the call.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        (status, objects.rlock.try_lock().is_ok())
    };
    let mut process = Process::spawn(forked, objects.clone()).unwrap();
    assert_eq!(process.join().unwrap(), (0, true), "the child is refused, the parent nests");
    objects.pass_on("ended");
}

/// The bytes of a segment are attached to in another PID namespace, in a child of the calling process.
fn attach_elsewhere(unshares: bool) -> Result<(), String> {
    let segment = Segment::anonymous(1).map_err(|error| error.to_string())?;
    let fd = segment
        .descriptor()
        .expect("it has a file")
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    // So that the child finds it unmapped.
    drop(segment);
    // SAFETY: this process has one thread; its further children are born in the new namespace.
    if unshares && unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) } != 0 {
        return Err(format!("SKIP: unshare: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: as above.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = match Segment::from_fd(fd) {
            Ok(_) => 0,
            Err(Error::Mismatch { object, .. }) if object.contains("PID namespace") => 1,
            Err(_) => 2,
        };
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: `status` is written to and outlives the call.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        1 => Err("refused for its PID namespace".to_owned()),
        code => Err(format!("code {code}, status {status}")),
    }
}

#[test]
fn a_segment_of_another_pid_namespace_is_refused() {
    let attach = |unshares: bool| attach_elsewhere(unshares);
    let attached = Process::spawn(attach, false).unwrap().join().unwrap();
    assert_eq!(attached, Ok(()), "in its own namespace it is not");
    match Process::spawn(attach, true).unwrap().join().unwrap() {
        Err(skip) if skip.starts_with("SKIP") => println!("{skip}"),
        other => assert_eq!(other, Err("refused for its PID namespace".to_owned())),
    }
}

#[test]
fn the_1025th_nested_lock_is_an_error_and_nothing_leaks() {
    let locks: Vec<Lock> = (0..1025).map(|_| Lock::new().unwrap()).collect();
    let (last, first) = locks.split_last().unwrap();
    let rlock = RLock::new().unwrap();
    let permits = Permits::new(1).unwrap();
    for _ in 0..2 {
        let guards: Vec<_> = first.iter().map(|lock| lock.lock().unwrap()).collect();
        assert!(matches!(last.lock(), Err(LockError::TooManyHeld)));
        assert!(matches!(last.try_lock(), Err(LockError::TooManyHeld)));
        assert!(matches!(rlock.lock(), Err(LockError::TooManyHeld)));
        assert!(permits.acquire().is_err() && permits.available() == 1);
        assert!(!last.is_locked() && !rlock.is_locked());
        drop(guards);
        assert!(locks.iter().all(|lock| !lock.is_locked()));
        drop(last.lock().unwrap());
    }
}

#[test]
fn a_thread_that_dies_with_1024_locks_leaves_them_all() {
    let locks: Vec<Lock> = (0..1024).map(|_| Lock::new().unwrap()).collect();
    std::thread::scope(|scope| {
        // Joined: a scope ends before the kernel is done with its threads.
        scope.spawn(|| locks.iter().for_each(|lock| std::mem::forget(lock.lock()))).join().unwrap();
    });
    assert!(locks.iter().all(|lock| matches!(lock.try_lock(), Err(LockError::OwnerDied(_)))));
}
