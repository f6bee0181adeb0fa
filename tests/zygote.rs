//! `Process` by `StartMethod::Zygote`: what holds with any method, and the helper behind it.
#![cfg(feature = "auto-init")]
#![allow(unsafe_code)]

mod started;
mod worker;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use multiproc::{Error, Event, Lock, LockError, ProcessError, Queue, StartMethod, parent_process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getpgrp, getppid, getrlimit, kill_process, pidfd_open,
    setpgid, setrlimit,
};
use started::{builder, spawn};
use worker::{SOON, Worker, children_of};

const METHOD: StartMethod = StartMethod::Zygote;
const LONG: Duration = Duration::from_secs(600);

fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

fn add((a, b): (u32, u32)) -> u32 {
    a + b
}

/// The zygote of this process, which has no other child, but for a former zygote that ends.
fn zygote() -> u32 {
    let begun = Instant::now();
    loop {
        spawn(add, (1, 1)).unwrap().join().unwrap();
        if let [zygote] = children_of(std::process::id())[..] {
            return zygote;
        }
        assert!(begun.elapsed() < SOON, "one child is left: the zygote");
    }
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn pidfd(pid: u32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Whether it ends soon.
fn ends(pidfd: &OwnedFd) -> bool {
    let soon = Timespec { tv_sec: SOON.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&soon)).unwrap() == 1
}

#[test]
fn processes_are_copies_of_one_helper_and_children_of_their_parent() {
    let many = |()| {
        let zygote = zygote();
        let own = std::process::id();
        let parents = |()| (getppid().unwrap().as_raw_nonzero().get(), parent_process().unwrap().pid());
        let mut processes: Vec<_> = (0..5).map(|_| spawn(parents, ()).unwrap()).collect();
        for process in &mut processes {
            assert_eq!(process.join().unwrap(), (own.cast_signed(), own));
        }
        assert_eq!(children_of(own), [zygote]);
        let about = |what: &str| std::fs::read_dir(format!("/proc/{zygote}/{what}")).unwrap().count();
        let before = about("fd");
        for n in 0..50 {
            assert_eq!(spawn(add, (n, 1)).unwrap().join().unwrap(), n + 1);
        }
        assert_eq!((about("fd"), about("task")), (before, 1));
        assert_eq!(children_of(own), [zygote]);
    };
    Worker::spawn(many, ()).join();
}

#[test]
fn threads_that_begin_at_once_start_one_helper() {
    let many = |()| {
        std::thread::scope(|scope| {
            for thread in 0..16 {
                scope.spawn(move || {
                    for n in 0..3 {
                        assert_eq!(spawn(add, (thread, n)).unwrap().join().unwrap(), thread + n);
                    }
                });
            }
        });
        children_of(std::process::id()).len()
    };
    assert_eq!(Worker::spawn(many, ()).join(), 1);
}

#[test]
fn a_killed_helper_takes_nobody_along_and_is_replaced() {
    let test = |()| {
        let first = zygote();
        let go = Event::new().unwrap();
        let wait = |go: Event| {
            go.wait();
            7
        };
        let mut waiting = spawn(wait, go.clone()).unwrap();
        let killed = spawn(sleep, LONG).unwrap();
        let end = pidfd(first);
        kill(first, Signal::KILL);
        assert!(ends(&end));
        // How those end that it made is known as ever.
        assert!(waiting.is_alive() && killed.is_alive());
        go.set();
        assert_eq!((waiting.join().unwrap(), waiting.exit_code()), (7, Some(0)));
        let mut killed = killed;
        killed.kill().unwrap();
        assert!(matches!(killed.join(), Err(ProcessError::Signaled(9))));
        let second = zygote();
        assert_ne!(first, second);
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn signals_to_the_group_leave_the_helper_alone() {
    let test = |()| {
        setpgid(None, None).unwrap();
        let first = zygote();
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::TSTP] {
            kill(first, signal);
        }
        let mut process = spawn(|()| getpgrp().as_raw_nonzero().get(), ()).unwrap();
        assert_eq!(process.join().unwrap(), std::process::id().cast_signed());
        assert_eq!(zygote(), first);
        // Processes take them as ever.
        let mut interrupted = spawn(sleep, LONG).unwrap();
        interrupted.interrupt().unwrap();
        assert!(matches!(interrupted.join(), Err(ProcessError::Signaled(2))));
    };
    Worker::spawn(test, ()).join();
}

/// Starts a process by a zygote, says the zygote's number, and does not end.
fn own_a_zygote((pids, forks): (Queue<u32>, bool)) {
    pids.put(zygote()).unwrap();
    // SAFETY: this process has one thread.
    if forks && unsafe { libc::fork() } == 0 {
        // It has a copy of the socket to the zygote.
        pids.put(std::process::id()).unwrap();
    }
    sleep(LONG);
}

#[test]
fn the_helper_ends_with_its_owner_even_if_a_fork_of_that_goes_on() {
    for forks in [false, true] {
        let pids = Queue::bounded(2).unwrap();
        let owner = Worker::spawn(own_a_zygote, (pids.clone(), forks));
        let zygote = pidfd(pids.get_timeout(SOON).unwrap());
        let fork = forks.then(|| pids.get_timeout(SOON).unwrap());
        owner.kill();
        let ended = ends(&zygote);
        if let Some(fork) = fork {
            kill(fork, Signal::KILL);
        }
        assert!(ended, "forks: {forks}");
    }
}

#[test]
fn a_fork_uses_a_helper_of_its_own() {
    let test = |()| {
        let own = zygote();
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let other = zygote();
            let socket = |fd: &std::fs::DirEntry| {
                std::fs::read_link(fd.path())
                    .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
            };
            // This process's to its parent, and the one to the new zygote: not that to the old one.
            let sockets = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter(socket).count();
            let code = i32::from(other == own || sockets != 2);
            // SAFETY: ends this process.
            unsafe { libc::_exit(code) };
        }
        let (_, status) =
            rustix::process::waitpid(Pid::from_raw(child), rustix::process::WaitOptions::empty())
                .unwrap()
                .unwrap();
        assert_eq!(status.exit_status(), Some(0));
        assert_eq!(zygote(), own);
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn a_process_has_the_surroundings_of_the_moment() {
    let test = |()| {
        let first = zygote();
        let (mut printed, output) = std::io::pipe().unwrap();
        std::env::set_current_dir("/proc").unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
        setpgid(None, None).unwrap();
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("MULTIPROC_TEST_LATE", "set") };
        rustix::stdio::dup2_stdout(&output).unwrap();
        let look = |()| {
            println!("here");
            (
                std::env::current_dir().unwrap(),
                rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode(),
                getpgrp().as_raw_nonzero().get(),
                std::env::var("MULTIPROC_TEST_LATE").ok(),
                std::env::vars().count(),
            )
        };
        let (directory, mask, group, variable, variables) = spawn(look, ()).unwrap().join().unwrap();
        rustix::stdio::dup2_stdout(rustix::stdio::stdin()).unwrap();
        drop(output);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut printed, &mut text).unwrap();
        assert_eq!((directory.to_str(), mask, text.as_str()), (Some("/proc"), 0o027, "here\n"));
        assert_eq!(group, std::process::id().cast_signed());
        assert_eq!((variable.as_deref(), variables), (Some("set"), std::env::vars().count()));
        let own_group = builder().process_group().spawn(|()| getpgrp().as_raw_nonzero().get(), ());
        let mut own_group = own_group.unwrap();
        assert_eq!(own_group.join().unwrap(), own_group.pid().cast_signed());
        assert_eq!(zygote(), first, "no reason for another one");
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn a_large_environment_gets_there() {
    let large = "x".repeat(1 << 20);
    let len = |()| std::env::var("MULTIPROC_TEST_LARGE").map(|value| value.len()).ok();
    let mut process = builder().env("MULTIPROC_TEST_LARGE", &large).spawn(len, ()).unwrap();
    assert_eq!(process.join().unwrap(), Some(large.len()));
}

#[test]
fn each_process_has_the_environment_that_its_parent_has_then() {
    let test = |()| {
        let look = |()| (std::env::var("MULTIPROC_TEST_TURNS").ok(), std::env::vars().count());
        for turn in [None, Some("one"), Some("two"), None, Some("one")] {
            match turn {
                // SAFETY: this process has one thread.
                Some(value) => unsafe { std::env::set_var("MULTIPROC_TEST_TURNS", value) },
                // SAFETY: as above.
                None => unsafe { std::env::remove_var("MULTIPROC_TEST_TURNS") },
            }
            let (found, count) = spawn(look, ()).unwrap().join().unwrap();
            assert_eq!((found.as_deref(), count), (turn, std::env::vars().count()));
        }
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn what_constructors_do_to_the_environment_of_the_helper_is_not_seen() {
    let test = |()| {
        let look = |()| std::env::var("MULTIPROC_TEST_CONSTRUCTED").ok();
        (look(()), spawn(look, ()).unwrap().join().unwrap())
    };
    let middle = multiproc::Process::builder().env("MULTIPROC_TEST_CONSTRUCTED", "");
    let (own, copys) = middle.spawn(test, ()).unwrap().join().unwrap();
    assert_eq!((own.as_deref(), copys.as_deref()), (Some("x"), Some("x")), "one constructor, not two");
}

/// Does something to this process that its children inherit; whether that could be tried here.
fn change(what: u32) -> bool {
    let nobody = 65534;
    match what {
        0 => {
            let hard = getrlimit(Resource::Nproc).maximum;
            setrlimit(Resource::Nproc, Rlimit { current: hard.map(|most| most - 1), maximum: hard }).is_ok()
        }
        // SAFETY: as all below: this process has one thread, and nothing of it relies on what is changed.
        1 => unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 },
        // SAFETY: see above.
        2 => unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) != libc::SIG_ERR },
        // SAFETY: see above.
        3 => unsafe { libc::unshare(libc::CLONE_NEWUTS) == 0 },
        // SAFETY: see above.
        4 => unsafe { libc::setgroups(1, &4711) == 0 },
        // SAFETY: see above.
        5 => unsafe { libc::prctl(libc::PR_CAPBSET_DROP, 22, 0, 0, 0) == 0 },
        // SAFETY: see above.
        6 => unsafe { libc::setsid() != -1 },
        // SAFETY: see above.
        _ => unsafe { libc::setresuid(nobody, nobody, nobody) == 0 },
    }
}

#[test]
fn a_helper_with_another_identity_is_replaced() {
    let test = |what: u32| {
        let first = zygote();
        if !change(what) {
            eprintln!("SKIP: change {what} is not allowed here");
            return;
        }
        let look = |()| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let lines = ["Uid:", "Groups:", "SigIgn:", "CapBnd:", "NoNewPrivs:", "NSsid:"];
            let lines = status.lines().filter(|line| lines.iter().any(|name| line.starts_with(name)));
            let namespace = std::fs::read_link("/proc/self/ns/uts").unwrap();
            let limit = getrlimit(Resource::Nproc).current;
            (lines.collect::<Vec<_>>().join("\n"), namespace, limit)
        };
        assert_eq!(spawn(look, ()).unwrap().join().unwrap(), look(()), "change {what}");
        let second = zygote();
        assert_ne!(first, second, "change {what}");
        assert_eq!(zygote(), second, "change {what}");
    };
    for what in 0..8 {
        Worker::spawn(test, what).join();
    }
}

#[test]
fn a_lock_whose_holder_is_killed_is_passed_on() {
    let lock = Lock::new().unwrap();
    let held = Event::new().unwrap();
    let hold = |(lock, held): (Lock, Event)| {
        let _guard = lock.lock().unwrap();
        held.set();
        sleep(LONG);
    };
    let mut holder = spawn(hold, (lock.clone(), held.clone())).unwrap();
    assert!(held.wait_timeout(SOON));
    holder.kill().unwrap();
    assert!(matches!(holder.join(), Err(ProcessError::Signaled(9))));
    assert!(matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))));
}

#[test]
fn mutexes_of_c_know_who_holds_them() {
    let check = |()| {
        let mut mutex = libc::PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
        let mutex = &raw mut mutex;
        // SAFETY: initialised, and it stays where it is; so below.
        let lock = || unsafe { libc::pthread_mutex_lock(mutex) };
        // SAFETY: see above.
        let unlock = || unsafe { libc::pthread_mutex_unlock(mutex) };
        let codes = [lock(), lock(), unlock(), lock()];
        // SAFETY: the third integer of glibc's mutex is its owner's thread id.
        let owner = unsafe { mutex.cast::<[u32; 3]>().read() }[2];
        (codes, owner)
    };
    let mut process = spawn(check, ()).unwrap();
    let (codes, owner) = process.join().unwrap();
    assert_eq!((codes, owner), ([0, libc::EDEADLK, 0, 0], process.pid()));
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        if std::env::var_os("MULTIPROC_TEST_THREAD").is_some() {
            std::thread::spawn(|| sleep(LONG));
        }
        if let Ok(before) = std::env::var("MULTIPROC_TEST_CONSTRUCTED") {
            // SAFETY: there is no other thread before `main`.
            unsafe { std::env::set_var("MULTIPROC_TEST_CONSTRUCTED", before + "x") };
        }
    }
    construct
};

#[test]
fn constructors_that_start_threads_are_an_error() {
    let test = |()| match spawn(add, (1, 2)) {
        Err(Error::Unsupported { what }) => what,
        other => panic!("{other:?}"),
    };
    let middle = multiproc::Process::builder().env("MULTIPROC_TEST_THREAD", "1");
    let what = middle.spawn(test, ()).unwrap().join().unwrap();
    assert!(what.contains("constructors start threads"), "{what}");
}
