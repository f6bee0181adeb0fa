//! A manager's dictionary beside Redis and CPython's Manager, each a process of its own behind a Unix socket:
//! `cargo bench --bench manager [-- --quick]` in this directory. Redis is `redis-server`, where that is installed.
//!
//! The servers are pinned alike, to the client's core or to another. Peers run interleaved with ours; figures are medians,
//! ratios medians of ratios within a round. A full run writes MANAGER.md.

mod cpython;
#[path = "processes.rs"]
#[allow(dead_code)] // Each benchmark uses a part.
mod processes;
#[allow(dead_code)] // Each benchmark uses a part.
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child as Program, Command, Stdio};
use std::time::{Duration, Instant};

use cpython::CPython;
use multiproc::Manager;
use multiproc::manager::DictProxy;
use processes::{Cores, pin};
use report::{Goal, Report};
use rounds::Contestant;

const OURS: &str = "**DictProxy**";
const PIPELINE: &str = "**DictProxy**, Pipeline of 64";
const MANY: &str = "**DictProxy**, get_many or set_many of 64";
const REDIS: &str = "Redis";
const REDIS_PIPELINE: &str = "Redis, pipeline of 64";
const PYTHON: &str = "CPython Manager";

const KEYS: usize = 1000;
const BATCH: usize = 64;

fn main() {
    let python = CPython::start();
    let cores = Cores::allowed();
    let mut report = Report::default();
    report.head("A manager's dictionary beside its peers", "manager", python.as_ref());
    for apart in [false, true] {
        if apart && !cores.are_several() {
            continue;
        }
        compare(&mut report, &cores, python.as_ref(), apart);
    }
    if !rounds::is_quick() {
        report.write("MANAGER.md");
    }
}

/// Rounds, and operations in each.
fn size(operations: u64) -> (usize, u64) {
    if rounds::is_quick() { (3, operations.div_ceil(20)) } else { (11, operations) }
}

fn key(n: u64) -> String {
    format!("key:{:08}", n as usize % KEYS)
}

fn value(n: u64) -> String {
    format!("value:{n:026}")
}

fn compare(report: &mut Report, cores: &Cores, python: Option<&CPython>, apart: bool) {
    // Servers have the core of the thread that starts them.
    pin(cores.of(usize::from(apart)));
    let manager = Manager::start().expect("a server");
    let redis = Redis::start();
    pin(cores.of(0));
    let dict = manager.dict::<String, String>().expect("a dictionary");
    dict.set_many((0..KEYS as u64).map(|n| (key(n), value(n)))).expect("a server");
    if let Some(redis) = &redis {
        (0..KEYS as u64).for_each(|n| redis.set(n));
    }
    let place = if apart { "on two cores" } else { "on one core" };
    for (what, is_get) in [("get", true), ("set", false)] {
        round_trips(report, &dict, redis.as_ref(), python, (what, is_get, place, apart));
        throughput(report, &manager, &dict, redis.as_ref(), (what, is_get, place));
    }
    drop(dict);
    drop(manager);
    cores.unpin();
}

fn timed(count: u64, mut operation: impl FnMut(u64)) -> u64 {
    let start = Instant::now();
    (0..count).for_each(&mut operation);
    start.elapsed().as_nanos() as u64
}

fn round_trips(
    report: &mut Report,
    dict: &DictProxy<String, String>,
    redis: Option<&Redis>,
    python: Option<&CPython>,
    (what, is_get, place, apart): (&str, bool, &str, bool),
) {
    let ours = |n| {
        timed(n, |n| match is_get {
            true => assert!(dict.get(&key(n)).expect("a server").is_some()),
            false => dict.set(&key(n), &value(n)).expect("a server"),
        })
    };
    let mut contestants = vec![Contestant::new(OURS, ours)];
    contestants.extend(redis.map(|redis| {
        let ask = move |n| if is_get { redis.get(n) } else { redis.set(n) };
        Contestant::new(REDIS, move |n| timed(n, ask))
    }));
    let in_python = match (is_get, apart) {
        (true, false) => "manager_get",
        (true, true) => "manager_get_apart",
        (false, false) => "manager_set",
        (false, true) => "manager_set_apart",
    };
    contestants.extend(python.map(|python| Contestant::new(PYTHON, |n| python.run(in_python, n))));
    let (rounds, operations) = size(10_000);
    let figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(&format!("## {what}, round trip, {place}"), "Microseconds; less is better.");
    let peers: Vec<&str> = figures.names().iter().copied().filter(|name| *name != OURS).collect();
    let row = |name: &&'static str| {
        let mut row = vec![name.to_string(), format!("{:.2}", figures.nanos(name) / 1e3)];
        row.extend(peers.iter().map(|peer| format!("{:.2}", figures.ratio(name, peer))));
        row
    };
    let heads: Vec<String> = peers.iter().map(|peer| format!("/ {peer}")).collect();
    let heads: Vec<&str> = std::iter::once("us").chain(heads.iter().map(String::as_str)).collect();
    report.table(&heads, &figures.names().iter().map(row).collect::<Vec<_>>());
    let goals = [(REDIS, 0.9), (PYTHON, 0.35)].into_iter().filter(|(peer, _)| peers.contains(peer));
    let goal = |(peer, most)| (format!("{OURS} / {peer}"), figures.ratio(OURS, peer), Goal::AtMost(most));
    report.targets(&goals.map(goal).collect::<Vec<_>>());
}

fn throughput(
    report: &mut Report,
    manager: &Manager,
    dict: &DictProxy<String, String>,
    redis: Option<&Redis>,
    (what, is_get, place): (&str, bool, &str),
) {
    let batches = |n: u64| n / BATCH as u64;
    let of = |batch: u64| batch * BATCH as u64..(batch + 1) * BATCH as u64;
    let pipelined = |n| {
        timed(batches(n), |batch| {
            let mut pipeline = manager.pipeline();
            if is_get {
                let tickets: Vec<_> =
                    of(batch).map(|n| pipeline.get(dict, &key(n)).expect("a key")).collect();
                let answers = pipeline.run().expect("a server");
                let found = tickets.into_iter().map(|ticket| answers.take(ticket).expect("a value"));
                assert!(found.filter(Option::is_some).count() == BATCH);
            } else {
                for n in of(batch) {
                    let _ticket = pipeline.set(dict, &key(n), &value(n)).expect("a key");
                }
                pipeline.run().expect("a server").check().expect("they are set");
            }
        })
    };
    let many = |n| {
        timed(batches(n), |batch| {
            if is_get {
                let keys: Vec<String> = of(batch).map(key).collect();
                assert_eq!(dict.get_many(&keys).expect("a server").len(), BATCH);
            } else {
                dict.set_many(of(batch).map(|n| (key(n), value(n)))).expect("a server");
            }
        })
    };
    let mut contestants = vec![Contestant::new(PIPELINE, pipelined), Contestant::new(MANY, many)];
    contestants.extend(redis.map(|redis| {
        Contestant::new(REDIS_PIPELINE, move |n| timed(batches(n), |batch| redis.pipeline(of(batch), is_get)))
    }));
    let (rounds, operations) = size(64 * 2_000);
    let figures = rounds::measure(&mut contestants, rounds, operations);
    report.section(&format!("## {what}, throughput, {place}"), "Thousands a second; more is better.");
    let has_redis = redis.is_some();
    let row = |name: &&'static str| {
        let mut row = vec![name.to_string(), format!("{:.0}", 1e6 / figures.nanos(name))];
        row.extend(has_redis.then(|| format!("{:.2}", figures.ratio(REDIS_PIPELINE, name))));
        row
    };
    let heads: &[&str] = if has_redis { &["k/s", "/ Redis"] } else { &["k/s"] };
    report.table(heads, &figures.names().iter().map(row).collect::<Vec<_>>());
    if has_redis {
        let goal = |name: &'static str| {
            (format!("{name} / Redis"), figures.ratio(REDIS_PIPELINE, name), Goal::AtLeast(1.0))
        };
        report.targets(&[goal(PIPELINE), goal(MANY)]);
    }
}

/// A Redis server of this benchmark's, and a connection to it.
struct Redis {
    program: Program,
    directory: PathBuf,
    stream: RefCell<(UnixStream, BufReader<UnixStream>)>,
}

impl Redis {
    /// `None` where there is no `redis-server`.
    fn start() -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("multiproc-redis-{}", std::process::id()));
        std::fs::create_dir_all(&directory).ok()?;
        let socket = directory.join("socket");
        let program = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn();
        let Ok(program) = program else {
            let _ = std::fs::remove_dir_all(&directory); // It is empty.
            return None;
        };
        let end = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < end, "Redis does not listen: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
        Some(Self { program, directory, stream: RefCell::new((stream, reader)) })
    }

    fn get(&self, n: u64) {
        assert_eq!(self.ask(&command(&["GET", &key(n)]), 1), 1);
    }

    fn set(&self, n: u64) {
        assert_eq!(self.ask(&command(&["SET", &key(n), &value(n)]), 1), 1);
    }

    fn pipeline(&self, numbers: std::ops::Range<u64>, is_get: bool) {
        let mut commands = Vec::new();
        for n in numbers {
            commands.extend(if is_get {
                command(&["GET", &key(n)])
            } else {
                command(&["SET", &key(n), &value(n)])
            });
        }
        assert_eq!(self.ask(&commands, BATCH), BATCH);
    }

    /// Sends commands and receives so many replies; how many were values or OK. A value becomes a text, as ours do.
    fn ask(&self, commands: &[u8], replies: usize) -> usize {
        let (stream, reader) = &mut *self.stream.borrow_mut();
        stream.write_all(commands).expect("Redis listens");
        let mut good = 0;
        let mut line = String::new();
        for _ in 0..replies {
            line.clear();
            reader.read_line(&mut line).expect("Redis answers");
            if let Some(len) = line.strip_prefix('$') {
                let len: usize = len.trim().parse().expect("there is a value");
                let mut text = vec![0; len + 2];
                reader.read_exact(&mut text).expect("Redis answers");
                text.truncate(len);
                let text = String::from_utf8(text).expect("a text");
                good += usize::from(!text.is_empty());
            } else {
                good += usize::from(line == "+OK\r\n");
            }
        }
        good
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.program.kill(); // It has ended already, or ends now.
        let _ = self.program.wait();
        let _ = std::fs::remove_dir_all(&self.directory); // Only the socket is in it.
    }
}

/// A command as Redis reads it.
fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}
