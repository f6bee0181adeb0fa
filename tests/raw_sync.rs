//! The interface of the crate `raw_sync`: its own examples with one line changed, and what it lacks: robustness.
#![cfg(feature = "raw_sync")]
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multiproc::compat::raw_sync::{Timeout, events::*, locks::*};

/// What the examples log by: the crates of these names, as far as they are used.
const LOG: &str = "#[macro_export] macro_rules! info { ($($all:tt)*) => { println!($($all)*) }; }";
const ENV_LOGGER: &str = "
    #[derive(Default)]
    pub struct Env;
    pub struct Builder;
    impl Env { pub fn default_filter_or(self, _: &str) -> Self { self } }
    impl Builder { pub fn init(self) {} }
    pub fn from_env(_: Env) -> Builder { Builder }";

/// Where cargo has the sources of `raw_sync`.
fn sources() -> PathBuf {
    // Those of other systems have not been fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--features", "raw_sync"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata = String::from_utf8(metadata.stdout).unwrap();
    let manifests = metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut ours = manifests.map(Path::new).filter(|path| path.parent().unwrap().ends_with("raw_sync-0.1.5"));
    ours.next().expect("raw_sync 0.1.5 is a dependency").parent().unwrap().to_owned()
}

/// Writes a package, and returns its directory.
fn package(directory: &Path, name: &str, rest: &str, sources: &BTreeMap<&str, String>) {
    fs::create_dir_all(directory.join("src/bin")).unwrap();
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2018\"\n{rest}");
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    for (path, source) in sources {
        fs::write(directory.join(path), source).unwrap();
    }
}

/// The examples, built with one line changed.
fn examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("raw_sync");
        let _ = fs::remove_dir_all(directory.join("program"));
        let program = directory.join("program");
        let changed = |name: &str| {
            let source = fs::read_to_string(sources().join("examples").join(name)).unwrap();
            assert_eq!(source.matches("raw_sync").count(), 1, "one line says where the interface is from");
            source.replacen("use raw_sync::", "use multiproc::compat::raw_sync::", 1)
        };
        let bins = BTreeMap::from([
            ("src/bin/locks.rs", changed("locks.rs")),
            ("src/bin/events.rs", changed("events.rs")),
        ]);
        let dependencies = format!(
            "[workspace]\n[dependencies]\nlog = {{ path = \"log\" }}\nenv_logger = {{ path = \"env_logger\" }}\n\
             multiproc = {{ path = {root:?}, default-features = false, features = [\"raw_sync\"] }}\n"
        );
        package(&program, "raw_sync_examples", &dependencies, &bins);
        package(&program.join("log"), "log", "", &BTreeMap::from([("src/lib.rs", LOG.to_owned())]));
        let env_logger = BTreeMap::from([("src/lib.rs", ENV_LOGGER.to_owned())]);
        package(&program.join("env_logger"), "env_logger", "", &env_logger);
        // The same versions of everything else, which are at hand without a network.
        fs::copy(Path::new(root).join("Cargo.lock"), program.join("Cargo.lock")).unwrap();
        let target = directory.join("target");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--quiet", "--target-dir"])
            .arg(&target)
            .current_dir(&program)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("debug")
    })
}

/// What an example says. Its threads' panics, which it ignores, are failures here.
fn run(example: &str) -> String {
    let output = Command::new(examples().join(example)).stdin(Stdio::null()).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{example}: {}: {complaints}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_of_locks_runs_with_one_line_changed() {
    let said = run("locks");
    let count = |what: &str| said.matches(what).count();
    assert_eq!(count("Done !"), 4, "{said}");
    // The other is refused after a second of the two, unless it starts late; then both count to 5 together.
    let (refused, held) = (count("Timed out !"), count("Holding lock for 2s"));
    assert!(refused + held == 4 && held >= 2, "{said}");
    assert!((10..=12).contains(&count("WRITE LOCKED")), "{said}");
    assert_eq!(count("WRITE LOCKED"), count("WRITE RELEASED"), "{said}");
}

#[test]
fn the_example_of_events_runs_with_one_line_changed() {
    let said = run("events");
    let count = |what: &str| said.matches(what).count();
    // Two events of each kind; in those that reset themselves, the second wait of the child times out, too.
    assert_eq!(count("\tDone"), 4, "{said}");
    assert_eq!(count("\ttimed out !"), 2, "{said}");
    assert_eq!(count("timed out !"), 6, "{said}");
    assert_eq!(count("\tSignaled !"), 6, "{said}");
}

/// Memory that a forked child shares.
fn shared() -> *mut u8 {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, which stays.
    let memory =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    memory.cast()
}

#[test]
fn the_lock_of_a_killed_holder_is_passed_on_with_the_news() {
    let memory = shared();
    let data = memory.wrapping_add(1024);
    // SAFETY: the mapping stays, and nobody else uses it.
    let (lock, used) = unsafe { Mutex::new(memory, data) }.unwrap();
    // SAFETY: as above.
    let (held, _) = unsafe { Event::new(memory.wrapping_add(used), false) }.unwrap();
    // SAFETY: the child uses primitives only, until it is killed.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let _guard = lock.lock();
        let _ = held.set(EventState::Signaled);
        loop {
            std::thread::park();
        }
    }
    held.wait(Timeout::Infinite).unwrap();
    let refused = lock.try_lock(Timeout::Val(Duration::from_millis(10))).err().unwrap().to_string();
    assert_eq!(refused, format!("timed out: the lock is held by thread {child}"));
    // SAFETY: the child was not waited for, so the number is its.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let mut guard = lock.lock().unwrap();
    assert!(guard.owner_died());
    guard.recover();
    drop(guard);
    assert!(!lock.rlock().unwrap().owner_died());
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

#[test]
fn a_lock_is_found_where_it_was_made_and_padded_as_it_says() {
    let memory = shared().wrapping_add(3);
    let mut data = 7u8;
    assert_eq!((RwLock::size_of(None), RwLock::size_of(Some(memory))), (40, 45));
    // SAFETY: the mapping stays, and nobody else uses it; `data` outlives the lock.
    let (first, used) = unsafe { RwLock::new(memory, &raw mut data) }.unwrap();
    // SAFETY: as above.
    let (second, found) = unsafe { RwLock::from_existing(memory, &raw mut data) }.unwrap();
    assert_eq!((used, found, first.as_raw()), (45, 45, second.as_raw()));
    let guard = first.rlock().unwrap();
    assert_eq!(*guard, (&raw const data));
    assert!(second.lock().is_err(), "this thread holds it");
    drop(guard);
    let mut guard = second.lock().unwrap();
    *guard = guard.wrapping_add(1);
    assert_eq!(*guard, (&raw mut data).wrapping_add(1));
    first.release().unwrap();
    drop(guard);
    assert!(first.release().unwrap_err().to_string().contains("does not hold"));
}

#[test]
fn what_is_no_event_is_refused() {
    let memory = shared();
    // SAFETY: the mapping stays, and nobody else uses it.
    unsafe { memory.write_bytes(9, 64) };
    // SAFETY: as above.
    let event = unsafe { Event::from_existing(memory) };
    // SAFETY: as above.
    let busy = unsafe { BusyEvent::from_existing(memory) };
    let refusals = [event, busy].map(|refusal| refusal.err().unwrap().to_string());
    assert!(refusals[0].ends_with("found 151587081") && refusals[1].ends_with("found 9"), "{refusals:?}");
}

#[test]
fn an_event_that_resets_itself_wakes_one_waiter_each_time() {
    fn check<E: EventInit>() {
        let memory = shared();
        let woken = AtomicU64::new(0);
        // SAFETY: the mapping stays, and nobody else uses it.
        let (event, _) = unsafe { E::new(memory, true) }.unwrap();
        let address = memory.expose_provenance();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let memory = std::ptr::with_exposed_provenance_mut(address);
                    // SAFETY: as above.
                    let (event, _) = unsafe { E::from_existing(memory) }.unwrap();
                    event.wait(Timeout::Infinite).unwrap();
                    woken.fetch_add(1, Ordering::Relaxed);
                });
            }
            for count in 1..=2 {
                event.set(EventState::Signaled).unwrap();
                while woken.load(Ordering::Relaxed) < count {
                    std::thread::yield_now();
                }
                assert!(event.wait(Timeout::Val(Duration::from_millis(5))).is_err());
            }
        });
    }
    check::<Event>();
    check::<BusyEvent>();
}

/// Foreign code that knows nothing of this crate.
fn foreign(event: &dyn raw_sync::events::EventImpl) -> bool {
    event.wait(raw_sync::Timeout::Val(Duration::ZERO)).is_ok()
}

#[test]
fn an_event_goes_where_one_of_raw_sync_is_asked_for() {
    // SAFETY: the mapping stays, and nobody else uses it.
    let (event, _) = unsafe { Event::new(shared(), false) }.unwrap();
    assert!(!foreign(&*event));
    event.set(EventState::Signaled).unwrap();
    assert!(foreign(&*event) && foreign(&*event));
    event.set(EventState::Clear).unwrap();
    assert!(!foreign(&*event));
}
