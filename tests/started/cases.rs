//! `Process`: what a caller sees of it. Nothing in this program sets anything up.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use multiproc::{Error, ProcessError, StartMethod};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::spawn;
use crate::METHOD;
use crate::worker::children_of;

const LONG: Duration = Duration::from_secs(600);

fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

fn add((a, b): (u32, u32)) -> u32 {
    a + b
}

#[test]
fn a_function_returns_its_result() {
    let mut process = spawn(add, (1, 2)).unwrap();
    assert_eq!(process.join().unwrap(), 3);
    assert_eq!(process.exit_code(), Some(0));
    assert!(!process.is_alive());
}

#[test]
fn a_closure_that_captures_nothing_returns_its_result() {
    let mut process = spawn(|text: String| text.to_uppercase(), "abc".to_owned()).unwrap();
    assert_eq!(process.join().unwrap(), "ABC");
}

#[test]
fn it_is_another_process() {
    let mut process = spawn(|()| std::process::id(), ()).unwrap();
    let pid = process.join().unwrap();
    assert_eq!(pid, process.pid());
    assert_ne!(pid, std::process::id());
    assert!(process.name().starts_with("Process-"));
}

#[test]
fn a_process_spawns_processes() {
    let nested = |n: u32| spawn(add, (n, 1)).unwrap().join().unwrap();
    assert_eq!(spawn(nested, 5).unwrap().join().unwrap(), 6);
}

#[test]
fn the_result_is_handed_out_once() {
    let mut process = spawn(add, (1, 2)).unwrap();
    assert_eq!(process.join().unwrap(), 3);
    assert!(matches!(process.join(), Err(ProcessError::ResultTaken)));
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn a_panic_arrives_with_its_message_and_place_known_bad_40() {
    let mut process = spawn(|n: u32| -> u32 { panic!("boom {n}") }, 7).unwrap();
    for _ in 0..2 {
        let error = process.join().unwrap_err();
        assert!(error.to_string().ends_with("boom 7"), "{error}");
        let ProcessError::Panicked { message, location, .. } = error else { panic!("{error}") };
        assert_eq!(message, "boom 7");
        assert!(location.unwrap().contains("tests/started/cases.rs:"));
    }
    assert_eq!(process.exit_code(), Some(1));
}

#[test]
fn a_backtrace_arrives_if_asked_for() {
    let panicking = |()| {
        let _: u32 = spawn(|()| -> u32 { panic!("deep") }, ()).unwrap().join().unwrap();
    };
    let mut command = spawn(panicking, ()).unwrap();
    let backtrace = match command.join() {
        Err(ProcessError::Panicked { backtrace, .. }) => backtrace,
        other => panic!("{other:?}"),
    };
    let asked = std::env::var("RUST_BACKTRACE").is_ok_and(|value| value != "0");
    assert_eq!(backtrace.is_some_and(|text| text.contains("process")), asked);
}

#[test]
fn a_panic_raised_past_the_hook_arrives_too() {
    let raise = |()| -> () {
        let _ = std::panic::catch_unwind(|| panic!("caught"));
        std::panic::resume_unwind(Box::new("raised".to_owned()))
    };
    let error = spawn(raise, ()).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Panicked { ref message, .. } if message == "raised"), "{error}");
}

#[test]
fn an_exit_code_is_reported() {
    for code in [0, 1, 3, 255, 256, 300, -1] {
        let mut process = spawn(|code: i32| -> u8 { std::process::exit(code) }, code).unwrap();
        assert!(matches!(process.join(), Err(ProcessError::Exited(found)) if found == code & 0xff));
        assert_eq!(process.exit_code(), Some(code & 0xff));
    }
}

#[test]
fn a_signal_is_reported() {
    let mut process = spawn(|()| -> () { std::process::abort() }, ()).unwrap();
    assert!(matches!(process.join(), Err(ProcessError::Signaled(libc::SIGABRT))));
    assert_eq!(process.exit_code(), Some(-libc::SIGABRT));
}

#[test]
fn terminate_and_kill_end_a_process() {
    let mut first = spawn(sleep, LONG).unwrap();
    let mut second = spawn(sleep, LONG).unwrap();
    assert!(first.is_alive() && second.exit_code().is_none());
    first.terminate().unwrap();
    second.kill().unwrap();
    assert!(matches!(first.join(), Err(ProcessError::Signaled(libc::SIGTERM))));
    assert!(matches!(second.join(), Err(ProcessError::Signaled(libc::SIGKILL))));
    // To one that has ended, nothing is sent.
    first.terminate().unwrap();
    second.kill().unwrap();
}

#[test]
fn a_process_killed_before_its_code_runs_is_reported() {
    for _ in 0..30 {
        let mut process = spawn(sleep, LONG).unwrap();
        process.kill().unwrap();
        assert!(matches!(process.join(), Err(ProcessError::Signaled(libc::SIGKILL))));
    }
}

#[test]
fn a_timeout_leaves_the_process_to_be_joined() {
    let mut process = spawn(sleep, LONG).unwrap();
    let start = Instant::now();
    assert!(matches!(process.join_timeout(Duration::from_millis(50)), Err(ProcessError::TimedOut)));
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(matches!(process.join_timeout(Duration::ZERO), Err(ProcessError::TimedOut)));
    process.kill().unwrap();
    assert!(matches!(process.join(), Err(ProcessError::Signaled(_))));
}

const LARGE: usize = 16 << 20;

#[test]
fn large_arguments_and_results_arrive() {
    let text = "abcdefgh".repeat(LARGE / 8);
    let upper = |text: String| text.to_ascii_uppercase();
    let back = spawn(upper, text.clone()).unwrap().join().unwrap();
    assert!(back == text.to_ascii_uppercase());
}

#[test]
fn a_process_with_a_large_result_ends_when_it_is_only_polled() {
    let mut process = spawn(|len: usize| "x".repeat(len), LARGE).unwrap();
    while process.is_alive() {
        std::thread::yield_now();
    }
    assert!(process.join().unwrap() == "x".repeat(LARGE));
}

#[test]
fn a_process_killed_while_it_takes_large_arguments_is_reported() {
    let mut process = spawn(|text: String| text.len(), "x".repeat(LARGE)).unwrap();
    process.kill().unwrap();
    match process.join() {
        Ok(len) => assert_eq!(len, LARGE),
        Err(error) => assert!(matches!(error, ProcessError::Signaled(libc::SIGKILL)), "{error}"),
    }
}

#[test]
fn the_sentinel_is_readable_after_the_end() {
    let process = spawn(sleep, LONG).unwrap();
    let readable = |timeout| {
        let mut fds = [PollFd::from_borrowed_fd(process.sentinel(), PollFlags::IN)];
        poll(&mut fds, Some(&Duration::try_into(timeout).unwrap())).unwrap() == 1
    };
    assert!(!readable(Duration::ZERO));
    process.kill().unwrap();
    assert!(readable(LONG));
}

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        CONSTRUCTED.store(std::process::id(), Ordering::Relaxed);
    }
    construct
};

#[test]
fn constructors_of_the_program_run_before_the_function() {
    let mut process = spawn(|()| CONSTRUCTED.load(Ordering::Relaxed), ()).unwrap();
    let constructed = process.join().unwrap();
    assert!(constructed != 0 && constructed != std::process::id());
    // A zygote's have run before the process was there.
    assert_eq!(constructed == process.pid(), METHOD == StartMethod::Spawn);
}

static BUILT: AtomicU32 = AtomicU32::new(0);

#[ctor::ctor(unsafe)]
fn build() {
    BUILT.store(std::process::id(), Ordering::Relaxed);
}

struct Plugin(&'static str);

inventory::collect!(Plugin);
inventory::submit!(Plugin("one"));
inventory::submit!(Plugin("two"));

#[test]
fn constructors_by_ctor_and_inventory_have_run_before_the_function() {
    let look = |()| {
        let mut plugins: Vec<_> = inventory::iter::<Plugin>.into_iter().map(|plugin| plugin.0).collect();
        plugins.sort_unstable();
        (plugins.join(" "), BUILT.load(Ordering::Relaxed))
    };
    let mut process = spawn(look, ()).unwrap();
    let (plugins, built) = process.join().unwrap();
    assert_eq!(plugins, "one two");
    assert!(built != 0 && built != std::process::id());
    assert_eq!(built == process.pid(), METHOD == StartMethod::Spawn);
}

#[test]
fn a_process_finds_what_a_program_expects() {
    let look = |()| {
        let mut stdin = String::new();
        std::io::stdin().read_to_string(&mut stdin).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let ignored = u64::from_str_radix(ignored, 16).unwrap();
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        (
            stdin,
            std::fs::read_link("/proc/self/fd/0").unwrap(),
            std::env::vars_os().any(|(key, _)| key == "MULTIPROC_BOOTSTRAP"),
            ignored >> (libc::SIGPIPE - 1) & 1,
            std::env::args_os().collect::<Vec<_>>(),
            comm.trim_end().to_owned(),
        )
    };
    let (stdin, file, variable, sigpipe, args, comm) = spawn(look, ()).unwrap().join().unwrap();
    assert_eq!((stdin.as_str(), file.to_str(), variable, sigpipe), ("", Some("/dev/null"), false, 1));
    assert!(args.iter().eq(std::env::args_os().collect::<Vec<_>>().iter()));
    let program = std::env::current_exe().unwrap();
    assert!(program.file_name().unwrap().to_string_lossy().starts_with(&comm), "{comm}");
}

fn open_files() -> Vec<(std::ffi::OsString, std::path::PathBuf)> {
    let mut files: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter_map(|entry| Some((entry.file_name(), std::fs::read_link(entry.path()).ok()?)))
        .filter(|(_, target)| !target.ends_with("fd"))
        .collect();
    files.sort();
    files
}

fn children() -> Vec<u32> {
    children_of(std::process::id())
}

#[test]
fn fifty_processes_leave_neither_zombies_nor_descriptors() {
    // In a process of its own: other tests of this program have children and files, too.
    let spawn_many = |()| {
        // A zygote stays.
        spawn(add, (0, 0)).unwrap().join().unwrap();
        let before = (open_files(), children());
        for n in 0..50 {
            let mut process = spawn(add, (n, n)).unwrap();
            assert_eq!(process.join().unwrap(), 2 * n);
        }
        (before, (open_files(), children()))
    };
    let (before, after) = spawn(spawn_many, ()).unwrap().join().unwrap();
    assert_eq!(before, after);
    assert_eq!(before.1.len(), usize::from(METHOD == StartMethod::Zygote));
}

#[test]
fn a_child_inherits_no_descriptor() {
    let look = |()| {
        let _file = std::fs::File::open("/dev/zero").unwrap();
        spawn(|()| open_files(), ()).unwrap().join().unwrap()
    };
    let files = spawn(look, ()).unwrap().join().unwrap();
    assert!(!files.iter().any(|(_, target)| target.ends_with("zero")), "{files:?}");
    // Its own, and neither its parent's nor its grandparent's.
    let bootstrap = |(fd, target): &&(std::ffi::OsString, std::path::PathBuf)| {
        fd.to_string_lossy().parse::<u32>().unwrap() > 2 && target.to_string_lossy().starts_with("socket:")
    };
    assert_eq!(files.iter().filter(bootstrap).count(), 1, "{files:?}");
}

#[test]
fn dropped_children_are_reaped_at_the_next_spawn() {
    let drop_some = |()| {
        spawn(add, (0, 0)).unwrap().join().unwrap();
        let before = (open_files(), children());
        let mut pids = Vec::new();
        for _ in 0..5 {
            let process = spawn(sleep, LONG).unwrap();
            pids.push(process.pid());
            let fd = process.sentinel().try_clone_to_owned().unwrap();
            process.kill().unwrap();
            drop(process);
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        }
        let mut last = spawn(add, (1, 1)).unwrap();
        let left: Vec<u32> = children().into_iter().filter(|pid| *pid != last.pid()).collect();
        last.join().unwrap();
        drop(last);
        (left == before.1, before.0 == open_files())
    };
    assert_eq!(spawn(drop_some, ()).unwrap().join().unwrap(), (true, true));
}

#[test]
fn a_dropped_process_goes_on() {
    let directory = std::env::temp_dir().join(format!("multiproc-drop-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let write = |path: std::path::PathBuf| {
        std::fs::write(&path, "done").unwrap();
        // Blocks until the parent takes it, or can't any more.
        "x".repeat(LARGE)
    };
    let process = spawn(write, directory.join("file")).unwrap();
    let fd = process.sentinel().try_clone_to_owned().unwrap();
    drop(process);
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
    assert_eq!(std::fs::read_to_string(directory.join("file")).unwrap(), "done");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn sixteen_threads_spawn_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..16 {
            scope.spawn(move || {
                for n in 0..5 {
                    assert_eq!(spawn(add, (thread, n)).unwrap().join().unwrap(), thread + n);
                }
            });
        }
    });
}

#[test]
fn what_other_threads_have_locked_is_free_in_a_process_known_bad_33() {
    static LOCKED: std::sync::Mutex<u32> = std::sync::Mutex::new(0);
    let held = LOCKED.lock().unwrap();
    let lock = |()| LOCKED.try_lock().is_ok_and(|found| *found == 0);
    let free = std::thread::scope(|scope| scope.spawn(|| spawn(lock, ()).unwrap().join()).join().unwrap());
    assert!(free.unwrap());
    drop(held);
}

#[test]
fn a_child_that_somebody_else_waited_for_is_unknown_known_bad_32() {
    let steal = |()| {
        let mut killed = spawn(sleep, LONG).unwrap();
        killed.kill().unwrap();
        let (_, status) = waitpid(None, WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
        let unknown = matches!(killed.join(), Err(ProcessError::Unknown)) && killed.exit_code().is_none();
        // Its number may be another's by now: that one is not meant.
        assert!(!killed.is_alive());
        killed.terminate().and(killed.kill()).and(killed.kill_tree()).unwrap();
        // A result that has come is a result.
        let mut returned = spawn(add, (2, 3)).unwrap();
        waitpid(None, WaitOptions::empty()).unwrap();
        (unknown, returned.join().unwrap())
    };
    assert_eq!(spawn(steal, ()).unwrap().join().unwrap(), (true, 5));
}

#[test]
fn with_ignored_child_signals_results_still_arrive_known_bad_32() {
    let ignore = |()| {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let mut killed = spawn(sleep, LONG).unwrap();
        killed.kill().unwrap();
        let unknown = matches!(killed.join(), Err(ProcessError::Unknown));
        (unknown, spawn(add, (2, 3)).unwrap().join().unwrap())
    };
    assert_eq!(spawn(ignore, ()).unwrap().join().unwrap(), (true, 5));
}

#[test]
fn a_process_with_other_rights_than_its_users_starts_none() {
    let test = |()| {
        // SAFETY: this process has one thread.
        if unsafe { libc::setresuid(u32::MAX, 65534, 0) } != 0 {
            return "SKIP: other rights are not starting here".to_owned();
        }
        // The copy would run with AT_SECURE, and nothing but `main` in it.
        spawn(add, (1, 2)).unwrap_err().to_string()
    };
    let error = spawn(test, ()).unwrap().join().unwrap();
    assert!(error.contains("other rights"), "{error}");
}

#[test]
fn exhausted_descriptors_are_a_typed_error() {
    let exhaust = |()| {
        let hard = getrlimit(Resource::Nofile).maximum;
        let mut refused = 0;
        let mut spawned = 0;
        for limit in 3..24 {
            setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: hard }).unwrap();
            match spawn(add, (1, 1)) {
                // The child has the same limit and may fail of it: it ends, with a code.
                Ok(mut process) => match process.join() {
                    Ok(2) => spawned += 1,
                    Err(ProcessError::Exited(_)) => {}
                    other => panic!("limit {limit}: {other:?}"),
                },
                Err(Error::TooManyFiles { .. }) => refused += 1,
                Err(error) => panic!("limit {limit}: {error:?}"),
            }
        }
        (refused, spawned)
    };
    let (refused, spawned): (u32, u32) = spawn(exhaust, ()).unwrap().join().unwrap();
    assert!(refused > 0 && spawned > 0, "{refused} refused, {spawned} spawned");
}

/// Travels one way only.
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

/// Does not travel at all.
#[derive(Debug, Deserialize)]
struct Rooted;

impl Serialize for Rooted {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[test]
fn what_does_not_travel_is_an_error_where_it_happens() {
    assert!(matches!(spawn(|_: Rooted| (), Rooted), Err(Error::Encode(_))));
    let mut arguments = spawn(|_: Stubborn| (), Stubborn).unwrap();
    assert!(matches!(arguments.join(), Err(ProcessError::Arguments(_))));
    assert_eq!(arguments.exit_code(), Some(1));
    let mut result = spawn(|()| Rooted, ()).unwrap();
    assert!(matches!(result.join(), Err(ProcessError::Encode(_))));
    assert_eq!(result.exit_code(), Some(1));
    let mut decode = spawn(|()| Stubborn, ()).unwrap();
    assert!(matches!(decode.join(), Err(ProcessError::Decode(_))));
    assert_eq!(decode.exit_code(), Some(0));
}

#[test]
fn an_error_of_join_converts_for_the_question_mark() {
    fn run() -> multiproc::Result<u32> {
        Ok(spawn(|()| -> u32 { std::process::exit(9) }, ())?.join()?)
    }
    assert_eq!(run().unwrap_err().to_string(), "the process exited with code 9 before its function returned");
}

#[test]
fn what_a_function_prints_is_flushed() {
    // Through a pipe, where the standard library and C buffer; the harness would swallow it here.
    let run = |()| {
        let output = std::process::Command::new("/proc/self/exe")
            .args(["--exact", "started::cases::prints_from_a_process", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        (output.status.into_raw(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, printed) = spawn(run, ()).unwrap().join().unwrap();
    assert!(ExitStatus::from_raw(status).success());
    assert!(printed.contains("from the process, without a line's end"), "{printed}");
}

#[test]
#[ignore = "run by what_a_function_prints_is_flushed"]
fn prints_from_a_process() {
    spawn(|()| print!("from the process, without a line's end"), ()).unwrap().join().unwrap();
}
