//! The main example as its user runs it: exact whoever is killed, and clear about what it can't read.
#![cfg(feature = "auto-init")]

mod built;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use built::example;
use rustix::process::{Pid, Signal, kill_process};

/// Built once for all tests.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example("wordcount"))
}

fn command(arguments: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).args(["--top", "1000000000", "--"]).args(paths);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], paths: &[&Path]) -> Output {
    command(arguments, paths).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An empty directory for one test.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wordcount").join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// What a run has to find.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    files: u64,
    binary: u64,
    bytes: u64,
    words: BTreeMap<String, u64>,
}

impl Expected {
    /// Counts in the most obvious way.
    fn under(directory: &Path) -> Self {
        let mut expected = Self::default();
        expected.add(directory);
        expected
    }

    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| self.add(&entry.unwrap().path()));
            return;
        }
        let bytes = fs::read(path).unwrap();
        if bytes.iter().take(8192).any(|&byte| byte == 0) {
            self.binary += 1;
            return;
        }
        self.files += 1;
        self.bytes += bytes.len() as u64;
        let mut word = String::new();
        for c in String::from_utf8_lossy(&bytes).chars().chain([' ']) {
            if c.is_alphanumeric() {
                word.extend(c.to_lowercase());
            } else if !word.is_empty() {
                *self.words.entry(std::mem::take(&mut word)).or_default() += 1;
            }
        }
    }

    /// Compares everything that the program printed.
    fn assert_printed(&self, output: &Output) {
        let printed = text(&output.stdout);
        let all: u64 = self.words.values().sum();
        let head = format!(
            "{all} words, {} different ones, in {} files; {} binary files skipped",
            self.words.len(),
            self.files,
            self.binary
        );
        assert_eq!(printed.lines().next(), Some(&*head), "{}", text(&output.stderr));
        let megabytes = format!("{:.1} MB in ", self.bytes as f64 / 1e6);
        assert!(printed.lines().nth(1).unwrap().starts_with(&megabytes), "{printed:.200}");

        let words: BTreeMap<_, _> = section(&printed, "the commonest words").collect();
        assert!(words == self.words, "the words differ");
        let mut lengths = BTreeMap::<usize, u64>::new();
        for (word, count) in &self.words {
            *lengths.entry(word.chars().count().min(24)).or_default() += count;
        }
        let found: BTreeMap<usize, u64> = section(&printed, "words by length")
            .map(|(line, count)| (line.split(['+', ' ']).find_map(|n| n.parse().ok()).unwrap(), count))
            .collect();
        assert_eq!(found, lengths);
        let by_workers: u64 = section(&printed, "workers")
            .map(|(line, _)| line.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(by_workers, all);
    }
}

/// The lines below a heading: a number, two spaces, and the rest.
fn section<'a>(printed: &'a str, heading: &str) -> impl Iterator<Item = (String, u64)> + use<'a> {
    let below = printed.split_once(&format!("\n{heading}\n")).unwrap().1;
    below.lines().map_while(|line| {
        let (count, rest) = line.trim_start().split_once("  ")?;
        Some((rest.to_owned(), count.parse().ok()?))
    })
}

/// A number that looks random, the next in the sequence of a linear congruential generator.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Text of that many words, from a few hundred different ones in several scripts and many that are rare.
fn prose(seed: u64, words: u64) -> Vec<u8> {
    let scripts =
        ["the", "Fn", "x86_64", "Straße", "ÄRGER", "λόγος", "ΣΑΣ", "слово", "Ⅳ", "言葉", "don't", "e\u{301}"];
    let separators = [" ", "\n", ", ", "<p>", "\u{a0}", "—", "-", ""];
    let mut state = seed;
    let mut text = String::new();
    for _ in 0..words {
        match next(&mut state) % 4 {
            0 => text.push_str(&format!("W{:x}", next(&mut state))),
            1 => text.push_str(&format!("item{}", next(&mut state) % 300)),
            _ => text.push_str(scripts[next(&mut state) as usize % scripts.len()]),
        }
        text.push_str(separators[next(&mut state) as usize % separators.len()]);
    }
    text.into_bytes()
}

/// A tree with everything in it that could be counted wrongly.
fn tree(name: &str) -> (PathBuf, Expected) {
    let root = directory(name);
    for n in 0..40 {
        let deep = root.join(format!("{}/{}", n % 3, n % 7));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join(format!("{n}.txt")), prose(n, 50 * n)).unwrap();
    }
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("one word"), b"word").unwrap();
    fs::write(root.join("separators"), b"\n\n--\n").unwrap();
    fs::write(root.join("not UTF-8"), b"caf\xe9 na\xefve \xff\xfe abc\xe2\x82def \xe2\x82\xac1").unwrap();
    fs::write(root.join("a late NUL"), [vec![b'n'; 9000], vec![0], b"after".to_vec()].concat()).unwrap();
    // Longer than a message, than a block of a file, and across their borders.
    fs::write(root.join("a long word"), "Langes".repeat(300_000)).unwrap();
    let many = (0..60_000).flat_map(|n| format!("rare{n} ").into_bytes()).collect::<Vec<_>>();
    fs::write(root.join("many words"), many).unwrap();
    let wide = "ünïcödé—".repeat(200_000);
    fs::write(root.join("blocks end within characters"), &wide[2..]).unwrap();
    let expected = Expected::under(&root);
    (root, expected)
}

#[test]
fn it_counts_what_a_naive_count_finds() {
    let (root, expected) = tree("exact");
    for arguments in
        [&["--workers", "1"][..], &["--workers", "3", "--task-bytes", "20000"], &["--task-bytes", "1"]]
    {
        let output = run(arguments, &[&root]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        expected.assert_printed(&output);
    }
}

#[test]
fn workers_killed_holding_a_task_change_nothing() {
    let (root, expected) = tree("killed");
    for workers in ["1", "2"] {
        for task_bytes in ["100000000", "20000"] {
            let arguments = ["--kill", "--verify", "--workers", workers, "--task-bytes", task_bytes];
            let output = run(&arguments, &[&root]);
            let printed = text(&output.stdout);
            assert!(output.status.success(), "{}", text(&output.stderr));
            // Once with half of a result reported, once with all of it, but not done.
            assert_eq!(printed.matches(" was killed").count(), 2, "{workers} workers");
            assert!(printed.contains("verified"));
            expected.assert_printed(&output);
        }
    }
}

#[test]
fn workers_killed_by_somebody_else_change_nothing() {
    let (root, expected) = tree("killed_by_somebody_else");
    let child = command(&["--workers", "2", "--task-bytes", "5000"], &[&root]).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let mut deaths = 0;
    while deaths < 8 {
        let list = fs::read_to_string(&children).unwrap();
        match list.split_ascii_whitespace().last() {
            Some(worker) => {
                kill_process(Pid::from_raw(worker.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
                deaths += 1;
                std::thread::sleep(Duration::from_millis(30));
            }
            // All have ended, or the first has not been started.
            None if deaths > 0 => break,
            None => assert!(is_running(&child), "it ended without a worker"),
        }
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(" was killed"));
    expected.assert_printed(&output);
}

/// Whether it is neither gone nor a zombie.
fn is_running(child: &Child) -> bool {
    fs::read_link(format!("/proc/{}/exe", child.id())).is_ok()
}

#[test]
fn a_path_that_is_not_there_is_named_and_the_rest_is_counted() {
    let root = directory("missing");
    fs::write(root.join("there"), "some words").unwrap();
    let missing = root.join("not there");
    let output = run(&[], &[&root.join("there"), &missing]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = format!("wordcount: {}: No such file or directory (os error 2)\n", missing.display());
    assert_eq!(text(&output.stderr), complaint);
    Expected::under(&root).assert_printed(&output);
}

#[test]
fn a_file_that_a_worker_cannot_read_is_named_and_the_rest_is_counted() {
    let root = directory("unreadable");
    fs::write(root.join("readable"), "some words").unwrap();
    // Page 0 of a process is not mapped, so not even root can read it.
    let output = run(&["--verify"], &[&root, Path::new("/proc/self/mem")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "wordcount: /proc/self/mem: Input/output error (os error 5)\n");
    Expected::under(&root).assert_printed(&output);
}

#[test]
fn what_is_no_file_is_refused_when_named_and_skipped_when_found() {
    let root = directory("special");
    fs::write(root.join("file"), "a b c").unwrap();
    let named = run(&[], &[Path::new("/dev/null")]);
    assert_eq!(named.status.code(), Some(1));
    assert_eq!(text(&named.stderr), "wordcount: /dev/null: neither a file nor a directory\n");
    std::os::unix::fs::symlink("..", root.join("loop")).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let found = run(&[], &[&root]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert!(text(&found.stdout).starts_with("3 words, 3 different ones, in 1 files; 0 binary"));
}

#[test]
fn binary_files_are_skipped() {
    let root = directory("binary");
    fs::write(root.join("text"), "words").unwrap();
    fs::write(root.join("program"), b"\x7fELF\0words").unwrap();
    fs::write(root.join("NUL at the end of the probe"), [vec![b'a'; 8191], vec![0]].concat()).unwrap();
    let output = run(&["--verify"], &[&root]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let expected = Expected::under(&root);
    assert_eq!((expected.files, expected.binary), (1, 2));
    expected.assert_printed(&output);
}

#[test]
fn any_file_name_will_do() {
    let root = directory("names");
    let names: [&[u8]; 6] = [b"\xff\xfe", b"new\nline", b"-- kill", b"--kill", b" ", &[b'n'; 255]];
    for name in names {
        let inner = root.join(OsStr::from_bytes(name));
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join(OsStr::from_bytes(name)), "found it").unwrap();
    }
    let output = run(&["--task-bytes", "1"], &[&root]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let expected = Expected::under(&root);
    assert_eq!(expected.words["found"], 6);
    expected.assert_printed(&output);
}

#[test]
fn the_default_is_the_current_directory() {
    let root = directory("current");
    fs::write(root.join("here"), "here").unwrap();
    let output = Command::new(program()).current_dir(&root).output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("1 words, 1 different ones, in 1 files"));
}

#[test]
fn killing_without_a_task_to_hold_is_said() {
    let output = run(&["--kill"], &[&directory("nothing")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "wordcount: there was no task, so no worker was killed\n");
}

#[test]
fn a_wrong_option_gets_the_usage() {
    for arguments in [&["--workers", "0"][..], &["--workers"], &["--wrong"]] {
        let output = Command::new(program()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("\nusage: wordcount"));
    }
}
