//! The binary `multiproc`: what it shows of segments that this test made, and how it refuses.

mod name;
mod random;
mod worker;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use multiproc::inspect::SegmentView;
use multiproc::{
    Array, Barrier, BoundedSemaphore, Condition, Event, JoinableQueue, Lock, Permits, Queue, QueueOptions,
    RLock, RawArray, RawValue, Segment, Semaphore, Value,
};
use name::Name;
use random::Random;
use serde_json::Value as Json;
use worker::{SOON, Worker};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// What it prints where it succeeds.
fn said(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Json {
    serde_json::from_str(&said(args)).unwrap()
}

/// What it says where it refuses.
fn refusal(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The object of that name in the only segment of a listing.
fn object<'a>(listing: &'a Json, name: &str) -> &'a Json {
    let objects = listing[0]["objects"].as_array().unwrap();
    objects.iter().find(|object| object["name"] == name).unwrap_or_else(|| panic!("no {name} in {listing}"))
}

/// The leases of that object.
fn leases<'a>(listing: &'a Json, name: &str) -> Vec<&'a Json> {
    let offset = &object(listing, name)["offset"];
    let leases = listing[0]["leases"].as_array().unwrap();
    leases.iter().filter(|lease| lease["offset"] == *offset).collect()
}

fn small() -> QueueOptions {
    QueueOptions::new(8).ring_bytes(2048).max_message(512).max_taken(4).max_dead_letters(4)
}

/// Says that it has what it wants to hold, and waits to be killed.
fn hold((segment, begun): (Segment, Event)) {
    let door = Lock::open_in(&segment, "door").unwrap();
    let tasks = JoinableQueue::<String>::open_in(&segment, "tasks").unwrap();
    let permits = Permits::open_in(&segment, "permits").unwrap();
    let _guard = door.lock().unwrap();
    let _task = tasks.take().unwrap();
    let _permit = permits.acquire().unwrap();
    begun.set();
    Event::new().unwrap().wait();
}

#[test]
fn every_kind_of_object_is_shown_and_who_holds_what() {
    let name = Name::new();
    let segment = Segment::create(&name.0, 1 << 20).unwrap();
    Lock::new_in(&segment, "door").unwrap();
    let rlock = RLock::new_in(&segment, "rlock").unwrap();
    Value::new_in(&segment, "value", 5u64).unwrap();
    Array::new_in(&segment, "array", &[1.5f64; 30]).unwrap();
    RawValue::new_in(&segment, "raw value", 5u32).unwrap();
    RawArray::<u16>::zeroed_in(&segment, "raw array", 7).unwrap();
    Permits::new_in(&segment, "permits", 3).unwrap();
    Semaphore::new_in(&segment, "semaphore", 4).unwrap();
    BoundedSemaphore::new_in(&segment, "bounded", 2).unwrap().acquire();
    Event::new_in(&segment, "event").unwrap().set();
    Condition::new_in(&segment, "condition").unwrap();
    Barrier::new_in(&segment, "barrier", 2).unwrap();
    segment.place("own", multiproc::raw::RawEvent::new()).unwrap();
    let queue = small().queue_in::<u32>(&segment, "queue").unwrap();
    for number in 0..5 {
        queue.put(number).unwrap();
    }
    queue.get().unwrap();
    let tasks = small().joinable_queue_in::<String>(&segment, "tasks").unwrap();
    tasks.put("first".to_owned()).unwrap();
    tasks.put("second".to_owned()).unwrap();
    let begun = Event::new().unwrap();
    let holder = Worker::spawn(hold, (segment.clone(), begun.clone()));
    let pid = holder.pid();
    assert!(begun.wait_timeout(SOON));
    let twice = (rlock.lock().unwrap(), rlock.lock().unwrap());

    let before = fs::read(name.path()).unwrap();
    let listing = json(&["show", &name.0, "--json"]);
    let text = said(&["show", &name.0]);
    assert_eq!(fs::read(name.path()).unwrap(), before, "looking has changed something");

    assert_eq!(listing[0]["name"], name.0);
    assert_eq!(listing[0]["size"], 1 << 20);
    assert_eq!(listing[0]["creator"], std::process::id());
    let kinds = [
        ("door", "Lock", "", 1),
        ("rlock", "RLock", "", 1),
        ("value", "Value", "u64", 1),
        ("array", "Array", "f64", 30),
        ("raw value", "RawValue", "u32", 1),
        ("raw array", "RawArray", "u16", 7),
        ("permits", "Permits", "", 3),
        ("semaphore", "Semaphore", "", 1),
        ("bounded", "BoundedSemaphore", "", 1),
        ("event", "Event", "", 1),
        ("own", "Struct", "RawEvent", 1),
        ("queue", "Queue", "postcard: u32", 1),
        ("tasks", "JoinableQueue", "postcard: String", 1),
    ];
    for (name, kind, element, length) in kinds {
        let object = object(&listing, name);
        assert_eq!((&object["kind"], &object["type"]), (&kind.into(), &element.into()), "{object}");
        assert_eq!(object["length"], length, "{object}");
        assert!(object["damage"].is_null(), "{object}");
        let row = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row.contains(kind), "{row}");
    }
    assert_eq!(object(&listing, "semaphore")["counts"]["value"], 4);
    assert_eq!(object(&listing, "bounded")["counts"]["value"], 1);
    assert_eq!(object(&listing, "event")["counts"]["set"], 1);
    assert_eq!(object(&listing, "permits")["counts"]["available"], 2);
    assert_eq!(object(&listing, "barrier")["counts"]["parties"], 2);
    assert_eq!(object(&listing, "condition")["counts"]["waiting"], 0);
    let queue = &object(&listing, "queue")["queue"];
    assert_eq!(
        (&queue["items"], &queue["puts"], &queue["gets"]),
        (&4.into(), &5.into(), &1.into()),
        "{queue}"
    );
    assert_eq!((&queue["max_items"], &queue["is_shut_down"]), (&8.into(), &false.into()), "{queue}");
    let queue = &object(&listing, "tasks")["queue"];
    assert_eq!(
        (&queue["items"], &queue["taken"], &queue["orphaned"]),
        (&1.into(), &1.into(), &0.into()),
        "{queue}"
    );

    for (name, role) in [("door", "lock"), ("tasks", "task"), ("permits", "permit")] {
        let [lease] = leases(&listing, name)[..] else { panic!("{listing}") };
        assert_eq!((&lease["role"], &lease["holder"]), (&role.into(), &"alive".into()), "{lease}");
        // It has taken them on its main thread.
        assert_eq!((&lease["thread"], &lease["pid"]), (&pid.into(), &pid.into()), "{lease}");
        assert!(lease["held_at_most"].as_f64().unwrap() < 600.0, "{lease}");
        assert!(lease["seen_held_for"].is_null(), "one look says nothing about that: {lease}");
    }
    let [lease] = leases(&listing, "rlock")[..] else { panic!("{listing}") };
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    assert_eq!((&lease["thread"], &lease["pid"]), (&own.into(), &std::process::id().into()), "{lease}");
    assert!(text.contains("at most"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("door") && line.contains(&pid.to_string())), "{text}");
    drop(twice);

    holder.kill();
    let listing = json(&["show", &name.0, "--json"]);
    let [lease] = leases(&listing, "door")[..] else { panic!("{listing}") };
    assert_eq!((&lease["holder"], &lease["thread"]), (&"died".into(), &Json::Null), "{lease}");
    let queue = &object(&listing, "tasks")["queue"];
    assert_eq!((&queue["taken"], &queue["orphaned"]), (&0.into(), &1.into()), "{queue}");
    assert!(leases(&listing, "rlock").is_empty(), "{listing}");
    segment.remove().unwrap();
}

#[test]
fn anonymous_memory_is_shown_by_process() {
    let (lock, queue) = (Lock::new().unwrap(), Queue::<u64>::unbounded().unwrap());
    for number in 0..100_000 {
        queue.put(number).unwrap();
    }
    let _guard = lock.lock().unwrap();
    let pid = std::process::id().to_string();
    let segments = json(&["show", "--pid", &pid, "--json"]);
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    let segments = segments.as_array().unwrap();
    let mut leases = segments.iter().flat_map(|segment| segment["leases"].as_array().unwrap());
    assert!(leases.any(|lease| lease["thread"] == own && lease["role"] == "lock"), "{segments:?}");
    let mut objects = segments.iter().flat_map(|segment| segment["objects"].as_array().unwrap());
    let queue = objects.find(|object| object["queue"]["puts"] == 100_000).unwrap();
    assert_eq!((&queue["queue"]["items"], &queue["name"]), (&100_000.into(), &"".into()), "{queue}");
    assert_eq!(queue["queue"]["max_items"], Json::Null);
    assert!(said(&["show", "--pid", &pid]).contains("(anonymous)"));
}

#[test]
fn named_segments_are_listed() {
    let name = Name::new();
    let segment = Segment::create(&name.0, 4096).unwrap();
    let find = |listing: &Json| {
        let mut segments = listing.as_array().unwrap().iter();
        segments.find(|segment| segment["name"] == name.0).cloned().unwrap()
    };
    let listed = find(&json(&["list", "--json"]));
    let expected = serde_json::json!({
        "name": name.0, "size": 4096, "creator": std::process::id(), "in_use": true
    });
    assert_eq!(listed, expected);
    let text = said(&["list"]);
    let row = text.lines().find(|line| line.starts_with(&name.0)).unwrap();
    assert!(row.contains("4096") && row.contains(&std::process::id().to_string()), "{row}");
    drop(segment);
    assert_eq!(find(&json(&["list", "--json"]))["in_use"], false);
}

fn create_and_wait((name, begun): (String, Event)) {
    let _segment = Segment::create(&name, 4096).unwrap();
    begun.set();
    Event::new().unwrap().wait();
}

#[test]
fn the_name_of_a_killed_process_is_stale_and_is_removed() {
    let (name, used) = (Name::new(), Name::new());
    let begun = Event::new().unwrap();
    let child = Worker::spawn(create_and_wait, (name.0.clone(), begun.clone()));
    assert!(begun.wait_timeout(SOON));
    let _used = Segment::create(&used.0, 4096).unwrap();
    let clean = |args: &[&str]| json(&[&["clean", &name.0, &used.0, "--json"], args].concat());
    assert_eq!(clean(&[]), serde_json::json!({ "removed": [] }));
    child.kill();
    assert_eq!(clean(&["--dry-run"]), serde_json::json!({ "stale": [name.0] }));
    let all = json(&["clean", "--dry-run", "--json"]);
    assert!(all["stale"].as_array().unwrap().contains(&name.0.as_str().into()), "{all}");
    assert!(name.path().exists());
    assert_eq!(clean(&[]), serde_json::json!({ "removed": [name.0] }));
    assert!(!name.path().exists() && used.path().exists());
    assert_eq!(said(&["clean", &name.0]), "no stale segments\n");
}

#[test]
fn a_watch_says_how_long_a_lease_was_seen_held() {
    let name = Name::new();
    let segment = Segment::create(&name.0, 1 << 16).unwrap();
    let door = Lock::new_in(&segment, "door").unwrap();
    let guard = door.lock().unwrap();
    let looks = said(&["watch", &name.0, "--interval", "0.05", "--count", "3", "--json"]);
    let looks: Vec<Json> = looks.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 3);
    let seen = |look: &Json| leases(look, "door")[0]["seen_held_for"].as_f64().unwrap();
    assert!(seen(&looks[0]) < seen(&looks[1]) && seen(&looks[1]) < seen(&looks[2]), "{looks:?}");
    drop(guard);
    let text = said(&["watch", &name.0, "--count", "1"]);
    assert!(text.contains("no lease is held"), "{text}");
}

#[test]
fn a_watch_ends_on_interrupt() {
    let name = Name::new();
    let _segment = Segment::create(&name.0, 1 << 16).unwrap();
    let mut watch =
        command(&["watch", &name.0, "--interval", "0.05"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with(&name.0));
    let pid = rustix::process::Pid::from_child(&watch);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = watch.wait().unwrap();
    assert_eq!(status.signal(), Some(2), "{status}");
}

#[test]
fn what_is_not_there_or_is_something_else_is_refused() {
    let name = Name::new();
    assert_eq!(refusal(&["show", &name.0]), format!("multiproc: there is no segment {:?}\n", name.0));
    let file = name.write(&[0x55; 8192]);
    let error = refusal(&["show", &name.0]);
    assert!(error.contains("segment header, magic: expected MPROCSEG, found UUUUUUUU"), "{error}");
    file.set_len(100).unwrap();
    assert!(refusal(&["show", &name.0]).contains("size: expected"), "too short");
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let error = refusal(&["show", &name.0]);
    assert!(error.contains("that nobody else may write") && error.contains("mode 0666"), "{error}");
    assert!(refusal(&["show", "a/b"]).contains("without '/'"));
    // Linux has no process ids beyond 2^22.
    assert_eq!(refusal(&["show", "--pid", "4194305"]), "multiproc: there is no process 4194305\n");
    assert_eq!(run(&["show"]).status.code(), Some(2));
    assert_eq!(run(&["watch", &name.0, "--interval", "0"]).status.code(), Some(2));
}

#[test]
fn another_users_process_is_refused() {
    // Root may see everybody's; others may not see root's.
    let mut show = command(&["show", "--pid", "1"]);
    if rustix::process::geteuid().is_root() {
        show.uid(65_534);
    }
    match show.output() {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(error.contains("process 1: expected one of this user"), "{error}");
        }
        Err(error) => println!("not run: the binary lies where nobody else may run it: {error}"),
    }
}

/// A segment with something of everything in it, and an end of its objects.
fn full() -> (Vec<u8>, usize) {
    let segment = Segment::anonymous(1 << 15).unwrap();
    let door = Lock::new_in(&segment, "door").unwrap();
    Permits::new_in(&segment, "permits", 3).unwrap();
    Condition::new_in(&segment, "condition").unwrap();
    Barrier::new_in(&segment, "barrier", 2).unwrap();
    Array::new_in(&segment, "array", &[1.5f64; 30]).unwrap();
    Value::new_in(&segment, "value", 5u64).unwrap();
    let tasks = small().joinable_queue_in::<u64>(&segment, "tasks");
    tasks.unwrap().put(1).unwrap();
    let _guard = door.lock().unwrap();
    let mut bytes = vec![0; 1 << 15];
    let read = rustix::io::pread(segment.descriptor().unwrap(), &mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    (bytes, end)
}

#[test]
fn nonsense_in_a_segment_is_an_error_or_a_listing_and_never_the_end() {
    let (bytes, end) = full();
    let mut outcomes = [0_u32; 3];
    let begun = Instant::now();
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let mut copy = bytes.clone();
        for _ in 0..=random.below(30) {
            // The first half of the header stays: else it is refused at once.
            let at = 128 + random.index(end - 128);
            let at = at / 8 * 8;
            let word = match random.below(4) {
                0 => 0,
                1 => u64::from(random.next()) << 32 | u64::from(random.next()),
                2 => random.below(1 << 15),
                _ => u64::MAX >> random.below(64),
            };
            copy[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        }
        let file = memory(&copy);
        match SegmentView::of_file(file.into()) {
            Err(_) => outcomes[0] += 1,
            Ok(view) if view.objects.iter().any(|object| object.damage.is_some()) => outcomes[1] += 1,
            Ok(_) => outcomes[2] += 1,
        }
    }
    assert!(outcomes.iter().all(|&count| count > 20), "all are seen: {outcomes:?}");
    assert!(begun.elapsed() < Duration::from_secs(120), "a look takes a bounded time");
    let name = Name::new();
    let mut copy = bytes;
    copy[200..end].fill(0xff);
    let _file = name.write(&copy);
    assert_eq!(json(&["show", &name.0, "--json"])[0]["objects"], serde_json::json!([]));
}

/// A file in memory with these bytes.
fn memory(bytes: &[u8]) -> File {
    let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(fd);
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_file_that_shrinks_while_it_is_looked_at_is_an_error() {
    let (bytes, _) = full();
    let file = memory(&bytes);
    let other = file.try_clone().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut outcomes = [0_u32; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                other.set_len(4096).unwrap();
                rustix::io::pwrite(&other, &bytes, 0).unwrap();
            }
        });
        let begun = Instant::now();
        while outcomes.contains(&0) && begun.elapsed() < SOON {
            let view = SegmentView::of_file(file.try_clone().unwrap().into());
            outcomes[usize::from(view.is_ok())] += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(outcomes[0] > 0, "{outcomes:?}");
}

#[test]
fn a_short_measurement_has_a_figure_for_each_operation() {
    let figures = json(&["bench", "--json"]);
    let figures = figures.as_array().unwrap();
    assert!(figures.len() > 8, "{figures:?}");
    for figure in figures {
        let nanos = |name: &str| figure[name].as_f64().unwrap();
        assert!(0.0 < nanos("least") && nanos("least") <= nanos("median"), "{figure}");
        assert!(nanos("median") <= nanos("most"), "{figure}");
    }
}
