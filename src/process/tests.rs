//! What only the inside can test: descriptors in arguments, bootstraps that nobody should believe, reports at once.
#![allow(unsafe_code)]

use std::env::current_exe;
use std::fs::{File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bootstrap::VARIABLE;
use super::image::Image;
use super::report::Failure;
use super::{Process, constructor, exit, reporter};
use crate::Event;
use crate::sys::{Deadline, pidfd, poll, socket};
use crate::transfer::{attach, de_error, detach, encode, ser_error};

/// An anonymous file that travels.
#[derive(Debug)]
struct Shared(File);

impl Shared {
    fn new() -> Self {
        let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        Self(fd.into())
    }

    fn append(&mut self, text: &str) {
        self.0.seek(std::io::SeekFrom::End(0)).unwrap();
        self.0.write_all(text.as_bytes()).unwrap();
    }

    fn text(&mut self) -> String {
        self.0.rewind().unwrap();
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let meta = self.0.metadata().unwrap();
        let index = attach((meta.dev(), meta.ino()), self.0.as_fd()).map_err(ser_error)?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fd = detach(u32::deserialize(deserializer)?).map_err(de_error)?;
        Ok(Self(fd.into()))
    }
}

#[test]
fn descriptors_travel_in_arguments_and_results() {
    let mut there = Shared::new();
    there.append("from the parent;");
    let copy = Shared(there.0.try_clone().unwrap());
    let append = |mut shared: Shared| {
        shared.append("from the child;");
        let mut back = Shared::new();
        back.append("made by the child");
        (shared, back)
    };
    let (mut same, mut made) = Process::spawn(append, copy).unwrap().join().unwrap();
    assert_eq!(there.text(), "from the parent;from the child;");
    assert_eq!(same.text(), there.text());
    assert_eq!(made.text(), "made by the child");
}

#[test]
fn more_descriptors_than_one_message_takes_travel() {
    let many: Vec<Shared> = (0..300).map(|_| Shared::new()).collect();
    let count = |many: Vec<Shared>| many.iter().map(|one| one.0.metadata().unwrap().ino()).collect();
    let there: Vec<u64> = Process::spawn(count, many).unwrap().join().unwrap();
    assert_eq!(there.len(), 300);
}

/// This test program with a bootstrap variable meant for it, printing its list of tests if it runs as usual.
fn program(path: &Path, stdin: Stdio) -> Command {
    let anchor = Image::main().offset_of(constructor::anchor()).unwrap();
    let mut command = Command::new(path);
    command.arg("--list").env(VARIABLE, format!("{anchor:x}")).stdin(stdin);
    command
}

fn ran_as_usual(command: &mut Command) -> bool {
    let output = command.output().unwrap();
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("ran_as_usual_knows_both")
}

/// Runs its arguments as a child of its own.
fn through_a_shell(program: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#""$0" "$@"; exit $?"#]).arg(program.get_program()).args(program.get_args());
    shell.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell
}

#[test]
fn ran_as_usual_knows_both() {
    let (ours, theirs) = socket::pair().unwrap();
    drop(ours);
    // From its parent, closed at once: it took over and failed.
    assert!(!ran_as_usual(&mut program(&current_exe().unwrap(), theirs.into())));
}

#[test]
fn a_program_without_a_socket_runs_as_usual() {
    assert!(ran_as_usual(&mut program(&current_exe().unwrap(), Stdio::null())));
}

#[test]
fn a_bootstrap_from_a_stranger_is_refused() {
    let (_ours, theirs) = socket::pair().unwrap();
    let program = program(&current_exe().unwrap(), Stdio::null());
    // The shell is the program's parent; this process made the socket.
    assert!(ran_as_usual(through_a_shell(&program).stdin(Stdio::from(theirs))));
}

#[test]
fn a_child_whose_parent_has_ended_does_not_run_main() {
    let (ours, theirs) = socket::pair().unwrap();
    drop(ours);
    let program = program(&current_exe().unwrap(), Stdio::null());
    assert!(!ran_as_usual(through_a_shell(&program).stdin(Stdio::from(theirs))));
}

/// Starts a copy of this program that waits for orders, forks, and ends: the fork keeps the socket open. Returns the
/// numbers of the copy and of the fork.
fn leave_a_fork_behind((output, waits): (PathBuf, bool)) -> (u32, i32) {
    let (_ours, theirs) = socket::pair().unwrap();
    let mut command = program(&current_exe().unwrap(), theirs.into());
    let copy = command.stdout(File::create(output).unwrap()).spawn().unwrap().id();
    let is_waiting = || {
        let stdin = std::fs::read_link(format!("/proc/{copy}/fd/0")).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{copy}/stat")).unwrap();
        stdin == Path::new("/dev/null") && stat.contains(") S ")
    };
    while waits && !is_waiting() {
        std::thread::yield_now();
    }
    // SAFETY: this process has one thread; the fork only waits to be killed.
    match unsafe { libc::fork() } {
        0 => loop {
            std::thread::park();
        },
        fork => (copy, fork),
    }
}

#[test]
fn a_child_notices_its_parents_end_though_a_fork_keeps_the_socket_open() {
    for waits in [false, true] {
        let output = std::env::temp_dir().join(format!("multiproc-fork-{}-{waits}", std::process::id()));
        let mut parent = Process::spawn(leave_a_fork_behind, (output.clone(), waits)).unwrap();
        let (copy, fork) = parent.join().unwrap();
        let ended = match pidfd::open(Pid::from_raw(copy.cast_signed()).unwrap()) {
            Err(_) => true,
            Ok(copy) => {
                let soon = Deadline::after(Duration::from_secs(20));
                poll::wait(&[(copy.as_fd(), PollFlags::IN)], soon).unwrap()
            }
        };
        for pid in [fork, copy.cast_signed()].into_iter().take(2 - usize::from(ended)) {
            let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        let printed = std::fs::read_to_string(&output).unwrap();
        std::fs::remove_file(&output).unwrap();
        assert!(ended, "waits: {waits}");
        assert_eq!(printed, "", "main has run: {waits}");
    }
}

/// Reports from two threads, of which the second fails while the first is sending.
fn report_twice(begun: Event) -> Vec<u8> {
    let result = encode(&vec![7_u8; 4 << 20]).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        reporter::report(Ok(result))
    });
    let stat = format!("/proc/self/task/{}/stat", told.recv().unwrap());
    // Nobody reads before the event is set.
    while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
        std::thread::yield_now();
    }
    begun.set();
    let failure = Failure::Panicked { message: "late".to_owned(), location: None, backtrace: None };
    exit::exit(reporter::report(Err(failure)))
}

#[test]
fn a_report_that_is_being_sent_is_not_cut_by_another() {
    let begun = Event::new().unwrap();
    let mut process = Process::spawn(report_twice, begun.clone()).unwrap();
    begun.wait();
    assert!(process.join().unwrap() == vec![7; 4 << 20]);
    assert_eq!(process.exit_code(), Some(1));
}

#[test]
fn a_program_with_raised_rights_takes_no_orders() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: only root can make a program that runs as another user");
        return;
    }
    let directory = std::env::temp_dir().join(format!("multiproc-secure-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("program");
    // Not by this process: a child that another test starts meanwhile would hold the copy open for writing.
    assert!(Command::new("cp").arg(current_exe().unwrap()).arg(&path).status().unwrap().success());
    const NOBODY: u32 = 65534;
    std::os::unix::fs::chown(&path, Some(NOBODY), None).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o4755)).unwrap();
    let (_ours, theirs) = socket::pair().unwrap();
    // It runs with the rights of nobody, started by root. Had it taken over, it would wait for a message.
    let ordered = program(&path, theirs.into()).output();
    let usual = ran_as_usual(&mut program(&path, Stdio::null()));
    std::fs::remove_dir_all(&directory).unwrap();
    let output = ordered.unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("more rights than its parent"));
    assert!(usual);
}
