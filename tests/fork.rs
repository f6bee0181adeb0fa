//! `Process::fork`: each test in a process of its own, which has one thread.
#![cfg(feature = "auto-init")]
#![allow(unsafe_code)] // In what `ctor` and `inventory` make.

mod worker;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use multiproc::{
    Error, Event, ForkError, JoinableQueue, Lock, Process, ProcessError, Queue, StartMethod, Value,
    active_children, current_process, parent_process,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use worker::{SOON, Worker};

const LONG: Duration = Duration::from_secs(600);

fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn a_closure_that_captures_returns_its_result() {
    let test = |()| {
        let table: Vec<u32> = (0..1000).collect();
        let total = Value::new(0_u32).unwrap();
        let counted = total.clone();
        let mut process = Process::fork(move || {
            counted.set(table.iter().sum()).unwrap();
            (table.len(), std::process::id(), parent_process().unwrap().pid())
        })
        .unwrap();
        let (len, pid, parent) = process.join().unwrap();
        assert_eq!((len, pid, parent), (1000, process.pid(), std::process::id()));
        assert_eq!((total.get(), process.exit_code()), (499_500, Some(0)));
        assert!(active_children().is_empty());
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn how_it_ends_is_reported() {
    let test = |()| {
        let mut panics = Process::fork(|| -> u8 { panic!("boom {}", 7) }).unwrap();
        match panics.join() {
            Err(ProcessError::Panicked { message, .. }) => assert_eq!(message, "boom 7"),
            other => panic!("{other:?}"),
        }
        assert_eq!(panics.exit_code(), Some(1));
        let mut exits = Process::fork(|| -> u8 { std::process::exit(9) }).unwrap();
        assert!(matches!(exits.join(), Err(ProcessError::Exited(9))));
        let mut killed = Process::fork(|| sleep(LONG)).unwrap();
        killed.kill().unwrap();
        assert!(matches!(killed.join(), Err(ProcessError::Signaled(9))));
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn a_process_with_threads_is_not_forked_known_bad_33() {
    // This one: the harness has threads.
    assert!(matches!(Process::fork(|| 1), Err(ForkError::Threads)));
}

#[test]
fn a_thread_that_holds_something_does_not_fork() {
    let test = |()| {
        let lock = Lock::new().unwrap();
        let jobs = JoinableQueue::bounded(2).unwrap();
        jobs.put(1_u8).unwrap();
        let guard = lock.lock().unwrap();
        assert!(matches!(Process::fork(|| 1), Err(ForkError::Holding { held: 1, .. })));
        drop(guard);
        let task = jobs.take().unwrap();
        let refused: Error = Process::fork(|| 1).unwrap_err().into();
        assert!(refused.to_string().contains("holds 1 locks"), "{refused}");
        task.done();
        // What it has let go is no obstacle, and the copy can take it.
        let mut process = Process::fork(move || drop(lock.lock().unwrap())).unwrap();
        process.join().unwrap();
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn forks_know_who_they_are_and_fork_and_spawn_themselves() {
    let test = |()| {
        let inner = || {
            let name = current_process().name().to_owned();
            let mut fork = Process::fork(|| current_process().name().to_owned()).unwrap();
            let mut spawned = Process::spawn(|()| current_process().name().to_owned(), ()).unwrap();
            let builder = Process::builder().start_method(StartMethod::Zygote);
            let mut copied = builder.spawn(|()| current_process().name().to_owned(), ()).unwrap();
            let parent = parent_process().unwrap().name().to_owned();
            (name, parent, [fork.join().unwrap(), spawned.join().unwrap(), copied.join().unwrap()])
        };
        let mut process = Process::fork(inner).unwrap();
        let (name, parent, names) = process.join().unwrap();
        assert_eq!((name.as_str(), parent.as_str()), (process.name(), current_process().name()));
        assert_eq!(names, ["1", "2", "3"].map(|number| format!("{name}:{number}")));
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn a_fork_keeps_no_daemon_of_its_parents_alive() {
    let start = |(pids, forked): (Queue<u32>, Event)| {
        let daemon = Process::builder().daemon(true).spawn(sleep, LONG).unwrap();
        let fork = Process::fork(move || {
            forked.set();
            sleep(LONG);
        })
        .unwrap();
        pids.put(daemon.pid()).unwrap();
        pids.put(fork.pid()).unwrap();
        sleep(LONG);
    };
    let (pids, forked) = (Queue::bounded(2).unwrap(), Event::new().unwrap());
    let parent = Worker::spawn(start, (pids.clone(), forked.clone()));
    let pidfd =
        |pid: u32| pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    let [daemon, fork] = [(); 2].map(|()| pidfd(pids.get_timeout(SOON).unwrap()));
    assert!(forked.wait_timeout(SOON));
    parent.kill();
    let soon = Timespec { tv_sec: SOON.as_secs().cast_signed(), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&daemon, PollFlags::IN)], Some(&soon)).unwrap() == 1;
    rustix::process::pidfd_send_signal(&fork, rustix::process::Signal::KILL).unwrap();
    assert!(ended);
}

#[test]
fn the_parents_processes_are_not_the_forks() {
    let test = |()| {
        let go = Event::new().unwrap();
        let wait = |go: Event| {
            go.wait();
            5
        };
        let mut waiting = Process::spawn(wait, go.clone()).unwrap();
        // It ends without waiting for a process that is not its child, whose result it neither takes nor spoils.
        let mut fork = Process::fork(|| active_children().len()).unwrap();
        assert_eq!(fork.join().unwrap(), 0);
        go.set();
        assert_eq!(waiting.join().unwrap(), 5);
    };
    Worker::spawn(test, ()).join();
}

#[test]
fn what_was_printed_before_a_fork_is_printed_once() {
    let test = |()| {
        let (mut printed, output) = std::io::pipe().unwrap();
        rustix::stdio::dup2_stdout(&output).unwrap();
        drop(output);
        print!("before ");
        let mut fork = Process::fork(|| {
            print!("in the fork ");
            let mut typed = String::new();
            std::io::stdin().read_to_string(&mut typed).unwrap();
            typed
        })
        .unwrap();
        assert_eq!(fork.join().unwrap(), "");
        print!("after");
        std::io::stdout().flush().unwrap();
        rustix::stdio::dup2_stdout(rustix::stdio::stdin()).unwrap();
        let mut text = String::new();
        printed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before in the fork after");
    };
    Worker::spawn(test, ()).join();
}

static BUILT: AtomicU32 = AtomicU32::new(0);

#[ctor::ctor(unsafe)]
fn build() {
    BUILT.fetch_add(1, Ordering::Relaxed);
}

struct Plugin(&'static str);

inventory::collect!(Plugin);
inventory::submit!(Plugin("one"));

#[test]
fn constructors_by_ctor_and_inventory_have_run_once() {
    let test = |()| {
        let look = || {
            let plugins: Vec<_> = inventory::iter::<Plugin>.into_iter().map(|plugin| plugin.0).collect();
            (plugins.join(" "), BUILT.load(Ordering::Relaxed))
        };
        assert_eq!(Process::fork(look).unwrap().join().unwrap(), ("one".to_owned(), 1));
    };
    Worker::spawn(test, ()).join();
}
