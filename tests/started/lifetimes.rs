//! How processes are started, who they are, and what becomes of them when their parent ends.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::{builder, spawn};
use crate::worker::{SOON, Worker};
use multiproc::{
    AuthKey, Error, Event, ProcessError, Queue, Value, active_children, cpu_count, current_process,
    parent_process,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const LONG: Duration = Duration::from_secs(600);

fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// A descriptor for process `pid`, which is still there.
fn pidfd(pid: u32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Whether it ends soon.
fn ends(pidfd: &OwnedFd) -> bool {
    let soon = Timespec { tv_sec: SOON.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&soon)).unwrap() == 1
}

fn is_alive(pidfd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).unwrap() == 0
}

#[test]
fn a_builder_sets_name_environment_directory_and_streams() {
    let (input, mut typed) = std::io::pipe().unwrap();
    let (mut printed, output) = std::io::pipe().unwrap();
    let (mut complained, errors) = std::io::pipe().unwrap();
    let look = |()| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).unwrap();
        println!("out");
        eprintln!("err");
        let variables = ["ADDED", "CARGO_MANIFEST_DIR"].map(|name| std::env::var(name).ok());
        (text, variables, std::env::current_dir().unwrap(), current_process().name().to_owned())
    };
    let plan = builder().name("looker").env("ADDED", "yes").env_remove("CARGO_MANIFEST_DIR");
    let plan = plan.current_dir("/").stdin(input).stdout(output).stderr(errors);
    let mut process = plan.spawn(look, ()).unwrap();
    typed.write_all(b"typed").unwrap();
    drop(typed);
    let (text, variables, directory, name) = process.join().unwrap();
    assert_eq!((text.as_str(), name.as_str(), process.name()), ("typed", "looker", "looker"));
    assert_eq!(variables, [Some("yes".to_owned()), None]);
    assert_eq!(directory.to_str(), Some("/"));
    let [mut out, mut err] = [String::new(), String::new()];
    printed.read_to_string(&mut out).unwrap();
    complained.read_to_string(&mut err).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    let bare = builder().env_clear().spawn(|()| std::env::vars_os().count(), ());
    assert_eq!(bare.unwrap().join().unwrap(), 0, "what the bootstrap needs is not seen");
}

#[test]
fn a_process_knows_itself_and_its_parent() {
    let child = |()| {
        let grandchild = |()| current_process().name().to_owned();
        let parent = parent_process().unwrap();
        let first = spawn(grandchild, ()).unwrap().join().unwrap();
        (
            current_process().name().to_owned(),
            first,
            parent.pid(),
            parent.name().to_owned(),
            parent.is_alive(),
        )
    };
    let mut process = spawn(child, ()).unwrap();
    let (own, first, parent, parent_name, alive) = process.join().unwrap();
    assert_eq!((own.as_str(), first), (process.name(), format!("{own}:1")));
    assert_eq!((parent, parent_name.as_str(), alive), (std::process::id(), "MainProcess", true));
    assert_eq!((current_process().name(), current_process().daemon()), ("MainProcess", false));
    assert!(parent_process().is_none() && cpu_count() >= 1);
}

#[test]
fn a_child_notices_its_parents_death() {
    let start = |(told, died): (Event, Event)| {
        let watch = |(told, died): (Event, Event)| {
            told.set();
            let parent = parent_process().unwrap();
            parent.join();
            assert!(!parent.is_alive() && parent.join_timeout(Duration::ZERO));
            died.set();
        };
        let _child = spawn(watch, (told, died));
        sleep(LONG);
    };
    let (told, died) = (Event::new().unwrap(), Event::new().unwrap());
    let parent = Worker::spawn(start, (told.clone(), died.clone()));
    assert!(told.wait_timeout(SOON));
    assert!(!died.is_set());
    parent.kill();
    assert!(died.wait_timeout(SOON));
}

/// Starts a daemon, says its number, and then ends as it is told: by returning, or not at all.
fn start_daemon((pids, looked, returns): (Queue<u32>, Event, bool)) {
    let daemon = builder().daemon(true).spawn(sleep, LONG).unwrap();
    pids.put(daemon.pid()).unwrap();
    if returns {
        looked.wait();
    } else {
        sleep(LONG);
    }
}

#[test]
fn a_daemon_ends_with_its_parent_however_that_ends_known_bad_30() {
    for returns in [true, false] {
        let (pids, looked) = (Queue::bounded(1).unwrap(), Event::new().unwrap());
        let parent = Worker::spawn(start_daemon, (pids.clone(), looked.clone(), returns));
        let daemon = pidfd(pids.get_timeout(SOON).unwrap());
        looked.set();
        if returns {
            parent.join();
        } else {
            assert!(is_alive(&daemon));
            parent.kill();
        }
        assert!(ends(&daemon), "returns: {returns}");
    }
}

#[test]
fn a_daemon_lives_on_when_the_thread_that_started_it_ends() {
    let (go, done) = (Event::new().unwrap(), Event::new().unwrap());
    let wait = |(go, done): (Event, Event)| {
        go.wait();
        done.set();
        (current_process().daemon(), spawn(sleep, LONG).map(drop).map_err(|error| error.to_string()))
    };
    let arguments = (go.clone(), done.clone());
    let start = || builder().daemon(true).spawn(wait, arguments).unwrap();
    let mut daemon = std::thread::scope(|scope| scope.spawn(start).join().unwrap());
    assert!(daemon.daemon() && daemon.is_alive());
    go.set();
    assert!(done.wait_timeout(SOON));
    let (is_daemon, children) = daemon.join().unwrap();
    assert!(is_daemon);
    assert!(children.unwrap_err().contains("starting a process from a daemon"));
}

/// Starts a process that goes on for a while, and ends by returning or by `exit`.
fn leave_a_child_behind((ready, done, exits): (Event, Value<u8>, bool)) {
    let work = |(ready, done): (Event, Value<u8>)| {
        ready.set();
        sleep(Duration::from_millis(100));
        done.set(1).unwrap();
        // More than a socket takes, and nobody reads it.
        "x".repeat(1 << 20)
    };
    drop(spawn(work, (ready.clone(), done)).unwrap());
    ready.wait();
    if exits {
        std::process::exit(3);
    }
}

#[test]
fn children_are_waited_for_at_a_normal_end() {
    for exits in [false, true] {
        let (ready, done) = (Event::new().unwrap(), Value::new(0).unwrap());
        let mut parent = spawn(leave_a_child_behind, (ready, done.clone(), exits)).unwrap();
        match parent.join_timeout(SOON) {
            Ok(()) => assert!(!exits),
            Err(ProcessError::Exited(3)) => assert!(exits),
            other => panic!("{other:?}"),
        }
        assert_eq!(done.get(), 1, "exits: {exits}");
    }
}

#[test]
fn the_key_is_inherited_unless_it_is_given() {
    let look = |()| current_process().authkey().unwrap().as_bytes().to_vec();
    let own = current_process().authkey().unwrap();
    assert_eq!((own.as_bytes().len(), own == AuthKey::random().unwrap()), (32, false));
    assert_eq!(spawn(look, ()).unwrap().join().unwrap(), own.as_bytes());
    let given = builder().authkey(AuthKey::new("given")).spawn(look, ());
    assert_eq!(given.unwrap().join().unwrap(), b"given");
    assert_eq!(format!("{own:?}"), "AuthKey(..)");

    // Set later, it is that of children started from then on, and theirs.
    let set = |()| {
        current_process().set_authkey(AuthKey::new("set"));
        let look = |()| current_process().authkey().unwrap().as_bytes().to_vec();
        let nested = |()| {
            let look = |()| current_process().authkey().unwrap().as_bytes().to_vec();
            spawn(look, ()).unwrap().join().unwrap()
        };
        (spawn(look, ()).unwrap().join().unwrap(), spawn(nested, ()).unwrap().join().unwrap())
    };
    let (child, grandchild) = spawn(set, ()).unwrap().join().unwrap();
    assert_eq!((child.as_slice(), grandchild.as_slice()), (&b"set"[..], &b"set"[..]));
    assert_eq!(current_process().authkey().unwrap(), own);
}

#[test]
fn processors_are_counted_by_affinity() {
    let count = |()| {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..1024).find(|cpu| allowed.is_set(*cpu)).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        (cpu_count(), allowed.count())
    };
    let (one, all) = Worker::spawn(count, ()).join();
    assert_eq!(one, 1);
    assert!((1..=usize::try_from(all).unwrap()).contains(&cpu_count()));
}

#[test]
fn a_tree_is_killed_with_its_root_known_bad_31() {
    let branch = |pids: Queue<u32>| {
        let leaf = |pids: Queue<u32>| {
            pids.put(std::process::id()).unwrap();
            sleep(LONG);
        };
        let _leaves = [(); 2].map(|()| spawn(leaf, pids.clone()).unwrap());
        sleep(LONG);
    };
    let pids = Queue::bounded(2).unwrap();
    let mut root = spawn(branch, pids.clone()).unwrap();
    let leaves = [(); 2].map(|()| pidfd(pids.get_timeout(SOON).unwrap()));
    root.kill_tree().unwrap();
    assert!(matches!(root.join_timeout(SOON), Err(ProcessError::Signaled(9))));
    assert!(leaves.iter().all(ends));
    root.kill_tree().unwrap();
}

#[test]
fn an_interrupt_is_a_signal_like_others() {
    let ready = Event::new().unwrap();
    let wait = |ready: Event| {
        ready.set();
        sleep(LONG);
    };
    let mut process = builder().process_group().spawn(wait, ready.clone()).unwrap();
    assert!(ready.wait_timeout(SOON));
    let active = active_children().into_iter().find(|active| active.pid() == process.pid()).unwrap();
    assert!(active.is_alive() && !active.daemon() && active.name() == process.name());
    process.interrupt().unwrap();
    assert!(active.wait_timeout(SOON));
    assert!(matches!(process.join(), Err(ProcessError::Signaled(2))));
    assert_eq!(process.exit_code(), Some(-2));
    assert!(!active_children().iter().any(|active| active.pid() == process.pid()));
}

#[test]
fn a_missing_directory_is_an_error_that_says_so() {
    let refused = builder().current_dir("/no such directory").spawn(sleep, LONG);
    assert!(matches!(refused, Err(Error::Os { .. })), "{refused:?}");
}

#[test]
fn a_thousand_processes_end_as_they_should_and_leave_nothing() {
    let many = |()| {
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
        // A zygote stays.
        spawn(|()| (), ()).unwrap().join().unwrap();
        let before = (files(), children());
        for _ in 0..10 {
            let mut processes: Vec<_> = (0..90).map(|n| spawn(|n: u32| n + 1, n).unwrap()).collect();
            let mut doomed = Vec::new();
            for _ in 0..10 {
                // At once: as a rule before its code runs.
                let process = spawn(sleep, LONG).unwrap();
                process.terminate().unwrap();
                doomed.push(process);
            }
            for (n, process) in (0..).zip(&mut processes) {
                assert_eq!((process.join().unwrap(), process.exit_code()), (n + 1, Some(0)));
            }
            for process in &mut doomed {
                assert!(matches!(process.join(), Err(ProcessError::Signaled(15))));
                assert_eq!(process.exit_code(), Some(-15));
            }
        }
        assert!(active_children().is_empty());
        (before, (files(), children()))
    };
    let (before, after) = Worker::spawn(many, ()).join();
    assert_eq!(before, after);
}
